//! The record of who did what: appended, listed, and pruned from its beginning.

use futures_util::{Stream, stream};
use jiff::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::statement::Statement;
use super::{Store, StoreError};
use crate::audit::{AuditEntry, AuditEvent, AuditRecord, Head};
use crate::id::{Action, DeploymentId, OperationId};

/// Which entries are wanted; all that is given must fit.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Only of this principal.
    pub principal: Option<String>,
    /// Only of this kind.
    pub event: Option<AuditEvent>,
    /// Only about this action.
    pub action: Option<Action>,
    /// Only about this deployment.
    pub deployment: Option<DeploymentId>,
    /// Only about this operation.
    pub operation: Option<OperationId>,
    /// Only from this moment on.
    pub since: Option<Timestamp>,
    /// Only before this moment.
    pub until: Option<Timestamp>,
}

/// In which order entries are read, and beginning after which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditOrder {
    /// Oldest first, as they are chained.
    Chained {
        /// The one before the first.
        after: i64,
    },
    /// Newest first.
    NewestFirst {
        /// The one after the first; without it the newest.
        before: Option<i64>,
    },
}

/// An entry as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditLine {
    /// Its number.
    pub sequence: i64,
    /// All of it, as JSON.
    pub line: String,
}

/// How many entries are read at once.
const BATCH: u32 = 2000;

impl Store {
    /// Appends an entry on its own.
    ///
    /// # Errors
    /// What the database says.
    pub async fn append_audit(&self, entry: &AuditEntry) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        append(&mut transaction, entry).await?;
        Ok(transaction.commit().await?)
    }

    /// The lines of so many entries.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when a row says something else than its line; else what the database says.
    pub async fn audit_lines(
        &self,
        filter: &AuditFilter,
        order: AuditOrder,
        limit: u32,
    ) -> Result<Vec<AuditLine>, StoreError> {
        let mut statement = Statement::new("SELECT * FROM audit");
        let texts = [
            ("principal =", filter.principal.clone()),
            ("event =", filter.event.map(|it| it.as_str().to_owned())),
            ("action =", filter.action.map(|it| it.as_str().to_owned())),
            ("deployment_id =", filter.deployment.map(|it| it.to_string())),
            ("operation_id =", filter.operation.map(|it| it.to_string())),
        ];
        let (place, by) = match order {
            AuditOrder::Chained { after } => (Some(format!("sequence > {after}")), "sequence"),
            AuditOrder::NewestFirst { before } => (before.map(|it| format!("sequence < {it}")), "sequence DESC"),
        };
        let since = filter.since.map(|it| format!("at_ms >= {}", it.as_millisecond()));
        let until = filter.until.map(|it| format!("at_ms < {}", it.as_millisecond()));
        for (condition, value) in texts {
            if let Some(value) = value {
                statement.condition().push(condition).push(" ").bind(value);
            }
        }
        for condition in [place, since, until].into_iter().flatten() {
            statement.condition().push(&condition);
        }
        statement.push(&format!(" ORDER BY {by} LIMIT {limit}"));
        statement.fetch(&self.pool).await?.iter().map(line).collect()
    }

    /// All entries, oldest first, many at a time.
    pub fn all_audit_lines(
        self,
        filter: AuditFilter,
    ) -> impl Stream<Item = Result<Vec<AuditLine>, StoreError>> + Send + 'static {
        stream::try_unfold((self, filter, 0), async |(store, filter, after)| {
            let lines = store.audit_lines(&filter, AuditOrder::Chained { after }, BATCH).await?;
            let last = lines.last().map(|it| it.sequence);
            Ok(last.map(|last| (lines, (store, filter, last))))
        })
    }

    /// The last entry.
    ///
    /// # Errors
    /// What the database says.
    pub async fn audit_head(&self) -> Result<Head, StoreError> {
        let query = "SELECT sequence, hash FROM audit_head WHERE id = 1";
        head(sqlx::query(query).fetch_optional(&self.pool).await?)
    }

    /// Removes the beginning of the record in which all entries are older, and leaves a checkpoint that tells of the last of
    /// them. Says how many were removed.
    ///
    /// # Errors
    /// What the database says.
    pub async fn prune_audit(&self, before: Timestamp) -> Result<u64, StoreError> {
        let mut transaction = self.pool.begin().await?;
        lock(&mut transaction).await?;
        // The beginning in which all are older: a single wrong time, of a clock that was off, takes nothing along.
        let last = sqlx::query(
            "SELECT * FROM audit WHERE sequence <
                 COALESCE((SELECT MIN(sequence) FROM audit WHERE at_ms >= $1), 9223372036854775807)
             ORDER BY sequence DESC LIMIT 1",
        )
        .bind(before.as_millisecond())
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(last) = last else { return Ok(0) };
        let record: AuditRecord =
            serde_json::from_str(&line(&last)?.line).map_err(|error| StoreError::corrupt("audit.line", error))?;
        let removed = sqlx::query("DELETE FROM audit WHERE sequence <= $1")
            .bind(record.sequence)
            .execute(&mut *transaction)
            .await?;
        let removed_through = Some(Head { sequence: record.sequence, hash: record.hash });
        let checkpoint = AuditEntry {
            removed_through,
            removed_before: Some(before),
            ..AuditEntry::of("server".to_owned(), AuditEvent::Checkpoint)
        };
        append(&mut transaction, &checkpoint).await?;
        transaction.commit().await?;
        Ok(removed.rows_affected())
    }
}

/// Takes the turn to append, which lasts until the transaction ends.
async fn lock(connection: &mut AnyConnection) -> Result<Head, StoreError> {
    let query = "UPDATE audit_head SET sequence = sequence WHERE id = 1 RETURNING sequence, hash";
    head(sqlx::query(query).fetch_optional(connection).await?)
}

fn head(row: Option<AnyRow>) -> Result<Head, StoreError> {
    let row = row.ok_or_else(|| StoreError::corrupt("audit_head", "the row of the last entry is missing"))?;
    Ok(Head { sequence: row.try_get("sequence")?, hash: row.try_get("hash")? })
}

/// Appends an entry in a transaction: it is there when what it tells of is, and not otherwise.
pub(super) async fn append(connection: &mut AnyConnection, entry: &AuditEntry) -> Result<(), StoreError> {
    let (line, head) = lock(&mut *connection).await?.append(entry);
    sqlx::query(
        "INSERT INTO audit (sequence, at_ms, event, principal, action, deployment_id, operation_id, line)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(head.sequence)
    .bind(entry.at.as_millisecond())
    .bind(entry.event.as_str())
    .bind(&entry.principal)
    .bind(entry.action.map(Action::as_str))
    .bind(entry.deployment.map(|it| it.to_string()))
    .bind(entry.operation.map(|it| it.to_string()))
    .bind(&line)
    .execute(&mut *connection)
    .await?;
    sqlx::query("UPDATE audit_head SET sequence = $1, hash = $2 WHERE id = 1")
        .bind(head.sequence)
        .bind(&head.hash)
        .execute(connection)
        .await?;
    Ok(())
}

/// The line of a row, whose other columns must say the same: entries are looked up by them.
fn line(row: &AnyRow) -> Result<AuditLine, StoreError> {
    let line: String = row.try_get("line")?;
    let sequence: i64 = row.try_get("sequence")?;
    let differs = |what: &str| StoreError::corrupt("audit", format!("{what} of entry {sequence} was altered"));
    let Ok(AuditRecord { sequence: told, entry, .. }) = serde_json::from_str(&line) else {
        return Ok(AuditLine { sequence, line });
    };
    let columns = [
        ("the event", Some(entry.event.as_str().to_owned()), Some(row.try_get::<String, _>("event")?)),
        ("the principal", Some(entry.principal), Some(row.try_get::<String, _>("principal")?)),
        ("the action", entry.action.map(|it| it.as_str().to_owned()), row.try_get("action")?),
        ("the deployment", entry.deployment.map(|it| it.to_string()), row.try_get("deployment_id")?),
        ("the operation", entry.operation.map(|it| it.to_string()), row.try_get("operation_id")?),
    ];
    if let Some((what, ..)) = columns.iter().find(|(_, told, stored)| told != stored) {
        return Err(differs(what));
    }
    if told != sequence || entry.at.as_millisecond() != row.try_get::<i64, _>("at_ms")? {
        return Err(differs("the number or time"));
    }
    Ok(AuditLine { sequence, line })
}
