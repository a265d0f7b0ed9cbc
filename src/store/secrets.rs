//! Sealed secrets of operations: they go when the operation has ended. A stuck one keeps its own until it is resolved, or
//! they are erased.

use jiff::Timestamp;
use sqlx::{Any, Row, Transaction};

use super::{Store, StoreError, audit, parse, timestamp, to_json};
use crate::audit::AuditEntry;
use crate::id::{DeploymentId, OperationId};

/// A stuck operation that keeps secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StuckOperation {
    /// Its id.
    pub id: OperationId,
    /// Since when it is stuck.
    pub ended_at: Timestamp,
}

/// A warning that takes the place of earlier ones on the same subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// How it begins.
    pub subject: &'static str,
    /// How it goes on.
    pub rest: String,
}

impl Warning {
    fn text(&self) -> String {
        format!("{} {}", self.subject, self.rest)
    }
}

impl Store {
    /// A sealed secret of an operation.
    ///
    /// # Errors
    /// What the database says.
    pub async fn sealed_secret(&self, id: OperationId, name: &str) -> Result<Option<String>, StoreError> {
        Ok(sqlx::query_scalar("SELECT sealed FROM secrets WHERE operation_id = $1 AND name = $2")
            .bind(id.to_string())
            .bind(name)
            .fetch_optional(&self.pool)
            .await?)
    }

    /// The names of an operation's sealed secrets.
    ///
    /// # Errors
    /// What the database says.
    pub async fn secret_names(&self, id: OperationId) -> Result<Vec<String>, StoreError> {
        Ok(sqlx::query_scalar("SELECT name FROM secrets WHERE operation_id = $1 ORDER BY name")
            .bind(id.to_string())
            .fetch_all(&self.pool)
            .await?)
    }

    /// Keeps sealed secrets of an operation, in the place of those that have their names.
    ///
    /// # Errors
    /// What the database says.
    pub async fn replace_secrets(&self, id: OperationId, secrets: &[(String, String)]) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        insert_secrets(&mut transaction, id, secrets).await?;
        transaction.commit().await?;
        self.note_change();
        Ok(())
    }

    /// Erases the secrets of a stuck operation, which says so in a warning, and in the record when somebody asked for it.
    /// Without them it can only be taken back, which is stored too. False when it is not stuck or keeps none.
    ///
    /// # Errors
    /// What the database says.
    pub async fn erase_secrets(
        &self,
        id: OperationId,
        warning: &Warning,
        entry: Option<&AuditEntry>,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.pool.begin().await?;
        // The first statement writes: a SQLite transaction that begins by reading can lose its turn to write.
        let erased = sqlx::query(
            "DELETE FROM secrets WHERE operation_id = (SELECT id FROM operations WHERE id = $1 AND state = 'stuck')",
        )
        .bind(id.to_string())
        .execute(&mut *transaction)
        .await?;
        if erased.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query("UPDATE operations SET cancel_asked = 1 WHERE id = $1")
            .bind(id.to_string())
            .execute(&mut *transaction)
            .await?;
        set_warning(&mut transaction, id, warning).await?;
        if let Some(entry) = entry {
            audit::append(&mut transaction, entry).await?;
        }
        transaction.commit().await?;
        self.note_change();
        Ok(true)
    }

    /// The stuck operations that keep secrets, those that are stuck longest first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn stuck_with_secrets(&self) -> Result<Vec<StuckOperation>, StoreError> {
        let query = "SELECT id, ended_ms FROM operations
             WHERE state = 'stuck' AND ended_ms IS NOT NULL AND id IN (SELECT operation_id FROM secrets)
             ORDER BY ended_ms";
        let rows = sqlx::query(query).fetch_all(&self.pool).await?;
        rows.iter()
            .map(|row| {
                let ended_at = timestamp(row.try_get("ended_ms")?, "ended_ms")?;
                Ok(StuckOperation { id: parse(row, "id", OperationId::parse)?, ended_at })
            })
            .collect()
    }

    /// Has a stuck operation say a warning; false when it says it, or is stuck no more.
    ///
    /// # Errors
    /// What the database says.
    pub async fn warn_of_stuck(&self, id: OperationId, warning: &Warning) -> Result<bool, StoreError> {
        let mut transaction = self.pool.begin().await?;
        // Writes nothing, but takes the turn to write.
        sqlx::query("UPDATE operations SET state = state WHERE id = $1")
            .bind(id.to_string())
            .execute(&mut *transaction)
            .await?;
        let is_new = set_warning(&mut transaction, id, warning).await?;
        transaction.commit().await?;
        self.note_change();
        Ok(is_new)
    }
}

/// Puts a warning in the place of the one on the same subject; false when it was there, or the operation is not stuck.
async fn set_warning(
    transaction: &mut Transaction<'_, Any>,
    id: OperationId,
    warning: &Warning,
) -> Result<bool, StoreError> {
    let query = "SELECT warnings FROM operations WHERE id = $1 AND state = 'stuck'";
    let stored: Option<String> =
        sqlx::query_scalar(query).bind(id.to_string()).fetch_optional(&mut **transaction).await?;
    let Some(stored) = stored else { return Ok(false) };
    let mut warnings: Vec<String> =
        serde_json::from_str(&stored).map_err(|error| StoreError::corrupt("warnings", error))?;
    if warnings.contains(&warning.text()) {
        return Ok(false);
    }
    warnings.retain(|it| !it.starts_with(warning.subject));
    warnings.push(warning.text());
    sqlx::query("UPDATE operations SET warnings = $2 WHERE id = $1")
        .bind(id.to_string())
        .bind(to_json(&warnings))
        .execute(&mut **transaction)
        .await?;
    Ok(true)
}

pub(super) async fn insert_secrets(
    transaction: &mut Transaction<'_, Any>,
    id: OperationId,
    secrets: &[(String, String)],
) -> Result<(), StoreError> {
    for (name, sealed) in secrets {
        sqlx::query(
            "INSERT INTO secrets (operation_id, name, sealed) VALUES ($1, $2, $3)
             ON CONFLICT (operation_id, name) DO UPDATE SET sealed = excluded.sealed",
        )
        .bind(id.to_string())
        .bind(name)
        .bind(sealed)
        .execute(&mut **transaction)
        .await?;
    }
    Ok(())
}

/// Erases the secrets of the stuck operations on a deployment: a later one is accepted, so none of them can be resumed.
pub(super) async fn erase_resolved(
    transaction: &mut Transaction<'_, Any>,
    deployment: DeploymentId,
) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM secrets WHERE operation_id IN
             (SELECT id FROM operations WHERE deployment_id = $1 AND ended_ms IS NOT NULL)",
    )
    .bind(deployment.to_string())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
