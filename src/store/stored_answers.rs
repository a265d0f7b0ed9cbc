//! Answers that are kept for the one who asked.

use jiff::Timestamp;
use sqlx::Row;
use strum::IntoStaticStr;

use super::statement::Statement;
use super::{Store, StoreError};

/// What kind of answer is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum AnswerKind {
    /// Of `/v1/responses`.
    Response,
    /// Of `/v1/chat/completions`.
    ChatCompletion,
}

/// Which page of a list of answers is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerPage {
    /// Only those that come after the one with this id.
    pub after: Option<String>,
    /// How many at the most.
    pub limit: u32,
    /// The newest first.
    pub newest_first: bool,
}

impl Store {
    /// Keeps an answer; one that is there already stays as it is.
    ///
    /// # Errors
    /// What the database says.
    pub async fn insert_answer(
        &self,
        principal: &str,
        kind: AnswerKind,
        id: &str,
        sealed: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO stored_answers (principal, kind, id, sealed, created_ms) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (principal, kind, id) DO NOTHING",
        )
        .bind(principal)
        .bind(<&str>::from(kind))
        .bind(id)
        .bind(sealed)
        .bind(now.as_millisecond())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Puts an answer in the place of what is kept of it; false when nothing is.
    ///
    /// # Errors
    /// What the database says.
    pub async fn update_answer(
        &self,
        principal: &str,
        kind: AnswerKind,
        id: &str,
        sealed: &str,
    ) -> Result<bool, StoreError> {
        let query = "UPDATE stored_answers SET sealed = $4 WHERE principal = $1 AND kind = $2 AND id = $3";
        let update = sqlx::query(query).bind(principal).bind(<&str>::from(kind)).bind(id).bind(sealed);
        Ok(update.execute(&self.pool).await?.rows_affected() > 0)
    }

    /// What is kept of an answer.
    ///
    /// # Errors
    /// What the database says.
    pub async fn answer(&self, principal: &str, kind: AnswerKind, id: &str) -> Result<Option<String>, StoreError> {
        let query = "SELECT sealed FROM stored_answers WHERE principal = $1 AND kind = $2 AND id = $3";
        let query = sqlx::query_scalar(query).bind(principal).bind(<&str>::from(kind)).bind(id);
        Ok(query.fetch_optional(&self.pool).await?)
    }

    /// Forgets an answer; false when there is none.
    ///
    /// # Errors
    /// What the database says.
    pub async fn delete_answer(&self, principal: &str, kind: AnswerKind, id: &str) -> Result<bool, StoreError> {
        let query = "DELETE FROM stored_answers WHERE principal = $1 AND kind = $2 AND id = $3";
        let delete = sqlx::query(query).bind(principal).bind(<&str>::from(kind)).bind(id);
        Ok(delete.execute(&self.pool).await?.rows_affected() > 0)
    }

    /// Answers of one principal, in the order of their ids, which is that of their time.
    ///
    /// # Errors
    /// What the database says.
    pub async fn answers(
        &self,
        principal: &str,
        kind: AnswerKind,
        page: &AnswerPage,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let mut statement = Statement::new("SELECT id, sealed FROM stored_answers WHERE principal = ");
        statement.bind(principal).push(" AND kind = ").bind(<&str>::from(kind));
        let (comparison, order) = if page.newest_first { (" AND id < ", "DESC") } else { (" AND id > ", "ASC") };
        if let Some(after) = &page.after {
            statement.push(comparison).bind(after.as_str());
        }
        statement.push(&format!(" ORDER BY id {order} LIMIT {}", page.limit));
        let rows = statement.fetch(&self.pool).await?;
        rows.iter().map(|row| Ok((row.try_get("id")?, row.try_get("sealed")?))).collect()
    }

    /// Forgets answers that were made before a moment. Says how many.
    ///
    /// # Errors
    /// What the database says.
    pub async fn prune_answers(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.delete_in_batches(
            "DELETE FROM stored_answers WHERE created_ms < $1 AND (principal, kind, id) IN (
                 SELECT principal, kind, id FROM stored_answers WHERE created_ms < $1 LIMIT $2)",
            before.as_millisecond(),
        )
        .await
    }
}
