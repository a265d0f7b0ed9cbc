//! The store: operations, events, deployments and targets, with the same SQL on SQLite and PostgreSQL.
//!
//! One server owns a store at a time. The lock is one that the operating system (SQLite) or the database
//! (PostgreSQL) frees at once when the server dies. When the store is lost, [`Store::lost`] is cancelled and
//! nothing more is done.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backon::{ConstantBuilder, Retryable};
use jiff::Timestamp;
use secrecy::ExposeSecret;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions, AnyRow};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AnyConnection, AnyPool, ConnectOptions, Connection, Row, SqlSafeStr};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::config::value::Database;
use crate::id::OperationId;
use record::Unreadable;

pub mod audit;
pub mod backlog;
pub mod build_options;
pub mod calls;
pub mod conversation_state;
mod copy;
pub mod deployments;
pub mod events;
pub mod keys;
pub mod operation_summaries;
pub mod operations;
pub mod page;
pub mod record;
pub mod retention;
pub mod saga;
pub mod secrets;
pub mod sessions;
mod statement;
pub mod steps;
pub mod stored_answers;
pub mod terraform;
pub mod unreadable;

/// How long SQLite waits for its turn to write, in milliseconds. A turn ends when the disk has it, which takes many seconds
/// where others write much, and a write that is refused counts as a store that is lost.
const BUSY_TIMEOUT: &str = "PRAGMA busy_timeout = 60000";
/// How long one of its connections is waited for: longer, as all of them may wait for their turn.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(90);
/// Number of the PostgreSQL advisory lock that marks a store as owned ("odi" in ASCII).
const ADVISORY_LOCK: i64 = 0x6f_64_69;

/// How long closing may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// How often the connection that holds the PostgreSQL lock is checked.
const LOCK_CHECK: Duration = Duration::from_secs(2);

/// How long that connection may take to answer before the lock counts as lost.
const LOCK_ANSWER: Duration = Duration::from_secs(10);

/// Pause before a lock that somebody holds is tried again.
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// How often it is tried again.
const LOCK_TRIES: usize = 30;

/// The store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pool: AnyPool,
    /// It is PostgreSQL.
    is_postgres: bool,
    lost: CancellationToken,
    followers: Arc<Mutex<HashMap<OperationId, watch::Sender<i64>>>>,
    /// Tells that something which people look at has changed.
    changed: watch::Sender<()>,
    /// Held from `MAX(sequence) + 1` until the commit: two transactions would otherwise take the same number.
    append_lock: Arc<tokio::sync::Mutex<()>>,
    _lock: Arc<Option<File>>,
}

/// Says why the store cannot be used or does not hold what it should.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another server works on this store.
    #[error(
        "another server already works on the store `{0}`; stop it, or give this one a store of its own with `DATABASE_URL` or `PERSISTENT_WORKSPACE_BASE_DIR`"
    )]
    Owned(String),
    /// The file or folder of the store cannot be made or opened.
    #[error("cannot use the store file `{path}`; check the folder's permissions")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A newer version of this program has changed the schema.
    #[error(
        "the store was written by a newer version of this program (its schema is {found}, this one knows {known}); start that version, or restore a backup from before the upgrade"
    )]
    Newer {
        /// The newest migration in the store.
        found: i64,
        /// The newest one of this program.
        known: i64,
    },
    /// The schema cannot be brought up to date.
    #[error("cannot bring the store's schema up to date")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The database refuses or does not answer.
    #[error("the store does not answer as it should")]
    Database(#[source] sqlx::Error),
    /// A row cannot be read by this version. All others can.
    #[error("the {row} cannot be read: {cause}")]
    Unreadable {
        /// Which one, such as ``operation `op_1` ``.
        row: String,
        /// What of it, and who can.
        cause: Unreadable,
    },
    /// A step was begun again by somebody else, to whom it belongs from then on.
    #[error("the step `{step}` was begun again by another server")]
    Superseded {
        /// Its name.
        step: String,
    },
    /// A stored value cannot be read.
    #[error("the store holds a value for `{what}` that cannot be read")]
    Corrupt {
        /// Table and column.
        what: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        // The database has answered: with a value of another kind.
        let is_of_value = matches!(error, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_));
        if is_of_value { Self::corrupt("row", error) } else { Self::Database(error) }
    }
}

impl StoreError {
    /// Whether it is about one row, and says nothing against the store itself.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        match self {
            Self::Corrupt { .. } | Self::Unreadable { .. } => true,
            Self::Owned(_)
            | Self::File { .. }
            | Self::Newer { .. }
            | Self::Migrate(_)
            | Self::Database(_)
            | Self::Superseded { .. } => false,
        }
    }

    fn corrupt(what: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Corrupt { what, source: source.into() }
    }
}

impl Store {
    /// Looks at a store that is there, and changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Newer`] when a newer version of this program has worked on it; else what the database says.
    pub async fn examine(database: &Database) -> Result<(), StoreError> {
        sqlx::any::install_default_drivers();
        let options = match database {
            Database::Sqlite(path) => sqlite_options(path, "ro")?,
            Database::Postgres(url) => postgres_options(url.expose_secret())?,
        };
        check_schema(&options).await
    }

    /// Takes the lock of the store, opens it, and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Owned`] when another server has it, [`StoreError::Newer`] when a newer version of this program has
    /// worked on it; else what the file system or the database says.
    pub async fn open(database: &Database) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let lost = CancellationToken::new();
        let (pool, lock) = match database {
            Database::Sqlite(path) => {
                let lock = until_free(|| async { lock_file(path) }).await?;
                (open_sqlite(path).await?, Some(lock))
            }
            Database::Postgres(url) => {
                let options = postgres_options(url.expose_secret())?;
                check_schema(&options).await?;
                let pool = AnyPoolOptions::new().max_connections(8).connect_with(options.clone()).await?;
                until_free(|| hold_advisory_lock(&options, lost.clone())).await?;
                (pool, None)
            }
        };
        migrations().run(&pool).await?;
        let is_postgres = matches!(database, Database::Postgres(_));
        Ok(Self {
            pool,
            is_postgres,
            lost,
            followers: Arc::default(),
            changed: watch::Sender::default(),
            append_lock: Arc::default(),
            _lock: Arc::new(lock),
        })
    }

    /// Cancelled when the store is lost for good: whoever works on its behalf stops.
    #[must_use]
    pub fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// Tells of changes to deployments, targets, operations and their events, as far as this server makes them.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Tells those who listen to [`Store::changes`] that something has changed.
    fn note_change(&self) {
        self.changed.send_replace(());
    }

    /// Asks the database for a sign of life.
    ///
    /// # Errors
    /// What the database says.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Whether the connection to the database is encrypted; a file is none.
    ///
    /// # Errors
    /// What the database says.
    pub async fn is_encrypted(&self) -> Result<bool, StoreError> {
        let query = "SELECT CAST(ssl AS TEXT) FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        let told: Option<String> = sqlx::query_scalar(query).fetch_optional(&self.pool).await?;
        Ok(told.is_some_and(|it| it == "true" || it == "t"))
    }

    /// Drops a schema that a tool made in the database, when the store is one that has schemas.
    ///
    /// # Errors
    /// What the database says.
    pub async fn drop_schema(&self, name: &str) -> Result<(), StoreError> {
        let is_plain =
            !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if self.is_postgres && is_plain {
            let statement = format!("DROP SCHEMA IF EXISTS {name} CASCADE");
            sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&self.pool).await?;
        }
        Ok(())
    }

    /// Closes all connections and frees the lock. One that hangs is left to the end of the program.
    pub async fn close(&self) {
        // `Pool::close` waits for every connection in use. One that waits for an answer of an unreachable database is
        // in use until its own timeout.
        let _ = tokio::time::timeout(CLOSE_LIMIT, self.pool.close()).await;
    }
}

fn migrations() -> Migrator {
    let start = include_str!("store/migrations/0001_start.sql").into_sql_str();
    let instances = include_str!("store/migrations/0002_instances.sql").into_sql_str();
    let clusters = include_str!("store/migrations/0003_clusters.sql").into_sql_str();
    let conversations = include_str!("store/migrations/0004_conversation_state.sql").into_sql_str();
    let directories = include_str!("store/migrations/0005_source_directory.sql").into_sql_str();
    let writers = include_str!("store/migrations/0006_written_by.sql").into_sql_str();
    let ownership = include_str!("store/migrations/0007_ownership.sql").into_sql_str();
    let access = include_str!("store/migrations/0008_access.sql").into_sql_str();
    let answers = include_str!("store/migrations/0009_stored_answers.sql").into_sql_str();
    let steps = include_str!("store/migrations/0010_operation_steps.sql").into_sql_str();
    let sessions = include_str!("store/migrations/0011_sessions.sql").into_sql_str();
    let removed = include_str!("store/migrations/0012_removed_deployments.sql").into_sql_str();
    Migrator::with_migrations(vec![
        Migration::new(1, "start".into(), MigrationType::Simple, start, false),
        Migration::new(2, "instances".into(), MigrationType::Simple, instances, false),
        Migration::new(3, "clusters".into(), MigrationType::Simple, clusters, false),
        Migration::new(4, "conversation state".into(), MigrationType::Simple, conversations, false),
        Migration::new(5, "source directory".into(), MigrationType::Simple, directories, false),
        Migration::new(6, "written by".into(), MigrationType::Simple, writers, false),
        Migration::new(7, "ownership".into(), MigrationType::Simple, ownership, false),
        Migration::new(8, "access".into(), MigrationType::Simple, access, false),
        Migration::new(9, "stored answers".into(), MigrationType::Simple, answers, false),
        Migration::new(10, "operation steps".into(), MigrationType::Simple, steps, false),
        Migration::new(11, "sessions".into(), MigrationType::Simple, sessions, false),
        Migration::new(12, "removed deployments".into(), MigrationType::Simple, removed, false),
    ])
}

/// Takes a lock. A server that was killed a moment ago may still seem to hold it: by a program that it was just beginning,
/// or by a connection whose end the database has not seen yet.
async fn until_free<T, F>(take: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let patience = ConstantBuilder::new().with_delay(LOCK_PAUSE).with_max_times(LOCK_TRIES);
    take.retry(patience).when(|error| matches!(error, StoreError::Owned(_))).await
}

fn lock_file(database: &Path) -> Result<File, StoreError> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    let path = database.with_extension("lock");
    let at_path = |source| StoreError::File { path: path.clone(), source };
    if let Some(folder) = database.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at_path)?;
    }
    let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(at_path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::Owned(database.display().to_string())),
        Err(std::fs::TryLockError::Error(source)) => Err(at_path(source)),
    }
}

async fn open_sqlite(path: &Path) -> Result<AnyPool, StoreError> {
    use std::os::unix::fs::OpenOptionsExt;
    // Made before SQLite does, so that nobody else can read it.
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(|source| StoreError::File { path: path.to_owned(), source })?;
    let options = sqlite_options(path, "rwc")?;
    // A pool would try again for half a minute to connect to a file that is no database, and would not say why.
    check_schema(&options).await?;
    let pool = AnyPoolOptions::new()
        // Whoever waits for a turn to write holds one; the rest is for those who read.
        .max_connections(8)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A commit survives a power cut: with `NORMAL` a request that was accepted could be lost while what it made runs.
        .after_connect(|connection, _| {
            Box::pin(async move {
                for pragma in
                    ["PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", BUSY_TIMEOUT, "PRAGMA foreign_keys = ON"]
                {
                    sqlx::query(pragma).execute(&mut *connection).await?;
                }
                Ok(())
            })
        })
        .connect_with(options)
        .await?;
    Ok(pool)
}

fn sqlite_options(path: &Path, mode: &str) -> Result<AnyConnectOptions, StoreError> {
    Ok(format!("sqlite://{}?mode={mode}", path.display()).parse()?)
}

/// Checks that the database can be read, and that its schema is not newer than this program.
async fn check_schema(options: &AnyConnectOptions) -> Result<(), StoreError> {
    let mut connection = AnyConnection::connect_with(options).await?;
    let newest = sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations").fetch_one(&mut connection).await;
    connection.close().await?;
    let known = migrations().iter().map(|it| it.version).max().unwrap_or_default();
    match newest {
        Ok(Some(found)) if found > known => Err(StoreError::Newer { found, known }),
        Ok(_) => Ok(()),
        Err(sqlx::Error::Database(error)) if is_missing_table(&*error) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// PostgreSQL has a code of its own for this (`undefined_table`, 42P01); SQLite has only words.
fn is_missing_table(error: &dyn sqlx::error::DatabaseError) -> bool {
    error.code().as_deref() == Some("42P01") || error.message().starts_with("no such table")
}

/// How PostgreSQL is connected to.
///
/// For each statement and each notice sqlx asks `tracing::enabled!`. That evaluates the filters of tracing-subscriber's
/// layers without an event; a refusal stays in the `FilterState` of the thread, and suppresses the thread's next event
/// whose call site is always enabled. So notices are off (`client_min_messages`) and statements are not logged.
fn postgres_options(url: &str) -> Result<AnyConnectOptions, StoreError> {
    let mut url = Url::parse(url).map_err(|error| sqlx::Error::Configuration(error.into()))?;
    url.query_pairs_mut().append_pair("options[client_min_messages]", "warning");
    Ok(url.as_str().parse::<AnyConnectOptions>()?.disable_statement_logging())
}

/// Takes the advisory lock on a connection of its own and watches that connection for as long as the program runs.
async fn hold_advisory_lock(options: &AnyConnectOptions, lost: CancellationToken) -> Result<(), StoreError> {
    let mut connection = AnyConnection::connect_with(options).await?;
    let taken: bool =
        sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(ADVISORY_LOCK).fetch_one(&mut connection).await?;
    if !taken {
        return Err(StoreError::Owned("DATABASE_URL".to_owned()));
    }
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(LOCK_CHECK).await;
            let alive = tokio::time::timeout(LOCK_ANSWER, sqlx::query("SELECT 1").execute(&mut connection)).await;
            if let Err(error) = alive.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
                tracing::error!(error = &error as &dyn std::error::Error, "the store is lost: nothing more is done");
                lost.cancel();
                return;
            }
        }
    });
    Ok(())
}

fn timestamp(ms: i64, what: &'static str) -> Result<Timestamp, StoreError> {
    Timestamp::from_millisecond(ms).map_err(|error| StoreError::corrupt(what, error))
}

/// Reads a text column and turns it into a value.
fn parse<T, E>(row: &AnyRow, column: &'static str, parse: impl FnOnce(&str) -> Result<T, E>) -> Result<T, StoreError>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let text: String = row.try_get(column).map_err(|error| StoreError::corrupt(column, error))?;
    parse(&text).map_err(|error| StoreError::corrupt(column, error))
}

fn parse_json<T: serde::de::DeserializeOwned>(row: &AnyRow, column: &'static str) -> Result<T, StoreError> {
    parse(row, column, |text| serde_json::from_str(text))
}

fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("records hold only what JSON can say")
}

#[cfg(test)]
mod tests;
