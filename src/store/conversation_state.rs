//! What one request of a conversation leaves for the next, for an hour.

use jiff::Timestamp;

use super::{Store, StoreError};

/// How long it is kept: a caller's tool that takes longer is answered without it.
const STATE_TTL_MS: i64 = 60 * 60 * 1000;

impl Store {
    /// Keeps something sealed for one principal under an id, in place of what was there, and forgets what is too old.
    ///
    /// # Errors
    /// What the database says.
    pub async fn keep_conversation_state(
        &self,
        principal: &str,
        id: &str,
        sealed: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let now_ms = now.as_millisecond();
        sqlx::query("DELETE FROM conversation_state WHERE created_ms < $1")
            .bind(now_ms - STATE_TTL_MS)
            .execute(&self.pool)
            .await?;
        let insert = "INSERT INTO conversation_state (principal, id, sealed, created_ms) VALUES ($1, $2, $3, $4)
             ON CONFLICT (principal, id) DO UPDATE SET sealed = excluded.sealed, created_ms = excluded.created_ms";
        sqlx::query(insert).bind(principal).bind(id).bind(sealed).bind(now_ms).execute(&self.pool).await?;
        Ok(())
    }

    /// Forgets what is kept for this principal under an id.
    ///
    /// # Errors
    /// What the database says.
    pub async fn forget_conversation_state(&self, principal: &str, id: &str) -> Result<(), StoreError> {
        let delete = "DELETE FROM conversation_state WHERE id = $1 AND principal = $2";
        sqlx::query(delete).bind(id).bind(principal).execute(&self.pool).await?;
        Ok(())
    }

    /// What is kept for this principal under an id.
    ///
    /// # Errors
    /// What the database says.
    pub async fn conversation_state(
        &self,
        principal: &str,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<String>, StoreError> {
        let query = "SELECT sealed FROM conversation_state WHERE id = $1 AND principal = $2 AND created_ms >= $3";
        let sealed = sqlx::query_scalar(query)
            .bind(id)
            .bind(principal)
            .bind(now.as_millisecond() - STATE_TTL_MS)
            .fetch_optional(&self.pool)
            .await?;
        Ok(sealed)
    }
}
