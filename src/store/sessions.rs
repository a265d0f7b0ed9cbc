//! Browsers that are signed in to the console.

use jiff::{SignedDuration, Timestamp};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Store, StoreError, parse, timestamp};
use crate::id::key::Role;

/// After how long without a request a session is over.
pub const IDLE: SignedDuration = SignedDuration::from_hours(12);
/// How long a session lasts at the most. Browsers forget its cookie then, too.
pub const LONGEST: SignedDuration = SignedDuration::from_hours(7 * 24);

/// One browser that is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// SHA-256 of its cookie, hexadecimal.
    pub id: String,
    /// Whose it is.
    pub owner: SessionOwner,
    /// When it signed in.
    pub created_at: Timestamp,
    /// When it was last seen, to a minute.
    pub used_at: Timestamp,
}

/// Whose a session is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionOwner {
    /// It is of a key.
    Key {
        /// SHA-256 of the secret that was shown, hexadecimal.
        secret_hash: String,
    },
    /// It is of somebody whom the issuer has signed in.
    Person(Person),
}

/// Somebody whom an issuer has signed in, as its token said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The issuer.
    pub issuer: String,
    /// Who it is, on record.
    pub principal: String,
    /// What that one is called.
    pub name: Option<String>,
    /// What that one may do.
    pub role: Role,
    /// When the token ends, and the session with it.
    pub ends_at: Timestamp,
}

impl Store {
    /// Keeps a session.
    ///
    /// # Errors
    /// What the database says.
    pub async fn insert_session(&self, session: &Session) -> Result<(), StoreError> {
        let (secret_hash, person) = match &session.owner {
            SessionOwner::Key { secret_hash } => (Some(secret_hash.as_str()), None),
            SessionOwner::Person(person) => (None, Some(person)),
        };
        sqlx::query(
            "INSERT INTO sessions (id, secret_hash, issuer, principal, name, role, ends_ms, created_ms, used_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(&session.id)
        .bind(secret_hash)
        .bind(person.map(|it| it.issuer.as_str()))
        .bind(person.map(|it| it.principal.as_str()))
        .bind(person.and_then(|it| it.name.as_deref()))
        .bind(person.map(|it| it.role.as_str()))
        .bind(person.map(|it| it.ends_at.as_millisecond()))
        .bind(session.created_at.as_millisecond())
        .bind(session.used_at.as_millisecond())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The session with this id.
    ///
    /// # Errors
    /// What the database says.
    pub async fn session(&self, id: &str) -> Result<Option<Session>, StoreError> {
        let row = sqlx::query("SELECT * FROM sessions WHERE id = $1").bind(id).fetch_optional(&self.pool).await?;
        row.as_ref().map(read).transpose()
    }

    /// Notes that a session is in use.
    ///
    /// # Errors
    /// What the database says.
    pub async fn touch_session(&self, id: &str, now: Timestamp) -> Result<(), StoreError> {
        sqlx::query("UPDATE sessions SET used_ms = $2 WHERE id = $1")
            .bind(id)
            .bind(now.as_millisecond())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Ends a session.
    ///
    /// # Errors
    /// What the database says.
    pub async fn delete_session(&self, id: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM sessions WHERE id = $1").bind(id).execute(&self.pool).await?;
        Ok(())
    }

    /// Forgets the sessions that are over at a moment.
    ///
    /// # Errors
    /// What the database says.
    pub async fn delete_sessions(&self, now: Timestamp) -> Result<(), StoreError> {
        let before = |age| now.saturating_sub(age).unwrap_or(Timestamp::MIN);
        sqlx::query("DELETE FROM sessions WHERE used_ms < $1 OR created_ms < $2 OR ends_ms <= $3")
            .bind(before(IDLE).as_millisecond())
            .bind(before(LONGEST).as_millisecond())
            .bind(now.as_millisecond())
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

fn read(row: &AnyRow) -> Result<Session, StoreError> {
    let owner = match row.try_get::<Option<String>, _>("secret_hash")? {
        Some(secret_hash) => SessionOwner::Key { secret_hash },
        None => SessionOwner::Person(Person {
            issuer: row.try_get("issuer")?,
            principal: row.try_get("principal")?,
            name: row.try_get("name")?,
            role: parse(row, "role", Role::parse)?,
            ends_at: timestamp(row.try_get("ends_ms")?, "sessions.ends_ms")?,
        }),
    };
    Ok(Session {
        id: row.try_get("id")?,
        owner,
        created_at: timestamp(row.try_get("created_ms")?, "sessions.created_ms")?,
        used_at: timestamp(row.try_get("used_ms")?, "sessions.used_ms")?,
    })
}
