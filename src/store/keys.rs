//! Keys of callers, and the hashes of their secrets.

use jiff::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{Any, Row, Transaction};

use super::page::readable;
use super::{Store, StoreError, audit, parse, parse_json, timestamp, to_json};
use crate::audit::AuditEntry;
use crate::id::KeyId;
use crate::id::key::{KeyName, Right, Role};

/// A key: who holds it and what that one may do. Its secrets are stored apart, as hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub id: KeyId,
    /// Its name; that of a revoked key may be used again.
    pub name: KeyName,
    /// What kind of thing it may do.
    pub role: Role,
    /// Where.
    pub rights: Vec<Right>,
    /// Whatever destroys or costs waits for a person's yes.
    pub asks: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was taken out of use.
    pub revoked_at: Option<Timestamp>,
}

impl ApiKey {
    /// Whether it opens anything at a moment.
    #[must_use]
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|it| it > now)
    }
}

/// One secret of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySecret {
    /// SHA-256 of it, hexadecimal.
    pub hash: String,
    /// The key.
    pub key: KeyId,
    /// Until when it counts beside the one that took its place.
    pub expires_at: Option<Timestamp>,
}

/// The name is that of another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameTaken;

impl Store {
    /// All keys, newest first, but for those that this version cannot read: they open nothing.
    ///
    /// # Errors
    /// What the database says.
    pub async fn keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        let rows = sqlx::query("SELECT * FROM api_keys ORDER BY id DESC").fetch_all(&self.pool).await?;
        Ok(readable(&rows, read))
    }

    /// The secrets of all keys.
    ///
    /// # Errors
    /// What the database says.
    pub async fn key_secrets(&self) -> Result<Vec<KeySecret>, StoreError> {
        let rows = sqlx::query("SELECT * FROM api_key_secrets").fetch_all(&self.pool).await?;
        Ok(readable(&rows, read_secret))
    }

    /// Whether there is any key at all, also one that cannot be read.
    ///
    /// # Errors
    /// What the database says.
    pub async fn has_keys(&self) -> Result<bool, StoreError> {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM api_keys").fetch_one(&self.pool).await?;
        Ok(count > 0)
    }

    /// Keeps a new key with its first secret.
    ///
    /// # Errors
    /// What the database says.
    pub async fn create_key(
        &self,
        key: &ApiKey,
        hash: &str,
        entry: &AuditEntry,
    ) -> Result<Result<(), NameTaken>, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let inserted = sqlx::query(
            "INSERT INTO api_keys (id, name, role, rights, asks, created_ms, expires_ms, revoked_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, NULL) ON CONFLICT (name) WHERE revoked_ms IS NULL DO NOTHING",
        )
        .bind(key.id.to_string())
        .bind(key.name.as_str())
        .bind(key.role.as_str())
        .bind(to_json(&key.rights))
        .bind(i64::from(key.asks))
        .bind(key.created_at.as_millisecond())
        .bind(key.expires_at.map(Timestamp::as_millisecond))
        .execute(&mut *transaction)
        .await?;
        if inserted.rows_affected() == 0 {
            return Ok(Err(NameTaken));
        }
        insert_secret(&mut transaction, key.id, hash, key.created_at).await?;
        audit::append(&mut transaction, entry).await?;
        transaction.commit().await?;
        Ok(Ok(()))
    }

    /// Gives a key another secret. Those before count until `overlap_until`, and no longer than they would have.
    ///
    /// # Errors
    /// What the database says.
    pub async fn rotate_key(
        &self,
        key: &ApiKey,
        hash: &str,
        now: Timestamp,
        overlap_until: Timestamp,
        entry: &AuditEntry,
    ) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query(
            "UPDATE api_key_secrets SET expires_ms = $2 WHERE key_id = $1 AND (expires_ms IS NULL OR expires_ms > $2)",
        )
        .bind(key.id.to_string())
        .bind(overlap_until.as_millisecond())
        .execute(&mut *transaction)
        .await?;
        sqlx::query("UPDATE api_keys SET expires_ms = $2 WHERE id = $1")
            .bind(key.id.to_string())
            .bind(key.expires_at.map(Timestamp::as_millisecond))
            .execute(&mut *transaction)
            .await?;
        insert_secret(&mut transaction, key.id, hash, now).await?;
        audit::append(&mut transaction, entry).await?;
        Ok(transaction.commit().await?)
    }

    /// Takes a key out of use, for good.
    ///
    /// # Errors
    /// What the database says.
    pub async fn revoke_key(&self, id: KeyId, now: Timestamp, entry: &AuditEntry) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("UPDATE api_keys SET revoked_ms = $2 WHERE id = $1 AND revoked_ms IS NULL")
            .bind(id.to_string())
            .bind(now.as_millisecond())
            .execute(&mut *transaction)
            .await?;
        audit::append(&mut transaction, entry).await?;
        Ok(transaction.commit().await?)
    }
}

async fn insert_secret(
    transaction: &mut Transaction<'_, Any>,
    key: KeyId,
    hash: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO api_key_secrets (hash, key_id, created_ms, expires_ms) VALUES ($1, $2, $3, NULL)")
        .bind(hash)
        .bind(key.to_string())
        .bind(now.as_millisecond())
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

fn read(row: &AnyRow) -> Result<ApiKey, StoreError> {
    Ok(ApiKey {
        id: parse(row, "id", KeyId::parse)?,
        name: parse(row, "name", |text| KeyName::parse(text))?,
        role: parse(row, "role", Role::parse)?,
        rights: parse_json(row, "rights")?,
        asks: row.try_get::<i64, _>("asks")? != 0,
        created_at: timestamp(row.try_get("created_ms")?, "created_ms")?,
        expires_at: optional_timestamp(row, "expires_ms")?,
        revoked_at: optional_timestamp(row, "revoked_ms")?,
    })
}

fn read_secret(row: &AnyRow) -> Result<KeySecret, StoreError> {
    Ok(KeySecret {
        hash: row.try_get("hash")?,
        key: parse(row, "key_id", KeyId::parse)?,
        expires_at: optional_timestamp(row, "expires_ms")?,
    })
}

fn optional_timestamp(row: &AnyRow, column: &'static str) -> Result<Option<Timestamp>, StoreError> {
    row.try_get::<Option<i64>, _>(column)?.map(|it| timestamp(it, column)).transpose()
}
