//! What the store forgets when nobody needs it any more, so that it does not grow for ever.

use jiff::Timestamp;
use sqlx::Row;

use super::operations::KEY_TTL_MS;
use super::{Store, StoreError};
use crate::event::OperationState;
use crate::id::OperationId;

/// How long after the end of an operation its history tells every detail.
const DETAIL_RETENTION_MS: i64 = 30 * 24 * 60 * 60 * 1000;
/// How many rows are deleted at once: others wait for their turn to write meanwhile.
const BATCH_ROWS: i64 = 500;

impl Store {
    /// Forgets what is too old: progress, retries and steps of operations that ended a month ago, keys of requests that are no
    /// longer valid, and the logs and calls of stuck operations that cannot be resumed any more. Says how many rows that were.
    ///
    /// # Errors
    /// What the database says.
    pub async fn delete_expired(&self, now: Timestamp) -> Result<u64, StoreError> {
        let now_ms = now.as_millisecond();
        let details = self
            .delete_in_batches(
                "DELETE FROM operation_events WHERE (operation_id, sequence) IN (
                     SELECT e.operation_id, e.sequence FROM operation_events e JOIN operations o ON o.id = e.operation_id
                     WHERE o.ended_ms < $1
                         AND (e.event LIKE '{\"type\":\"step_progress\"%' OR e.event LIKE '{\"type\":\"step_retrying\"%')
                     LIMIT $2)",
                now_ms - DETAIL_RETENTION_MS,
            )
            .await?;
        // A stuck operation that can be resumed goes on from them.
        let steps = self
            .delete_in_batches(
                "DELETE FROM operation_steps WHERE (operation_id, step) IN (
                     SELECT s.operation_id, s.step FROM operation_steps s JOIN operations o ON o.id = s.operation_id
                         JOIN deployments d ON d.id = o.deployment_id
                     WHERE o.ended_ms < $1 AND (o.state <> 'stuck' OR d.operation_id <> o.id)
                     LIMIT $2)",
                now_ms - DETAIL_RETENTION_MS,
            )
            .await?;
        let keys = self
            .delete_in_batches(
                "DELETE FROM request_keys WHERE created_ms < $1 AND (principal, request_key) IN (
                     SELECT k.principal, k.request_key FROM request_keys k JOIN operations o ON o.id = k.operation_id
                     WHERE k.created_ms < $1 AND o.ended_ms < $1
                     LIMIT $2)",
                now_ms - KEY_TTL_MS,
            )
            .await?;
        let logs = self
            .delete_in_batches(
                "DELETE FROM saga_log WHERE (operation_id, position) IN (
                     SELECT l.operation_id, l.position FROM saga_log l JOIN operations o ON o.id = l.operation_id
                         JOIN deployments d ON d.id = o.deployment_id
                     WHERE o.state = 'stuck' AND o.ended_ms < $1 AND d.operation_id <> o.id
                     LIMIT $2)",
                now_ms,
            )
            .await?;
        let calls = self
            .delete_in_batches(
                "DELETE FROM calls WHERE run_id IN (
                     SELECT c.run_id FROM calls c JOIN operations o ON o.id = c.operation_id
                         JOIN deployments d ON d.id = o.deployment_id
                     WHERE o.state = 'stuck' AND o.ended_ms < $1 AND d.operation_id <> o.id
                     LIMIT $2)",
                now_ms,
            )
            .await?;
        Ok(details + steps + keys + logs + calls)
    }

    /// Whether nothing that an operation left in the workspace is needed any more: it has ended and cannot be resumed.
    ///
    /// # Errors
    /// What the database says.
    pub async fn is_expired(&self, id: OperationId) -> Result<bool, StoreError> {
        let query = "SELECT o.state, d.operation_id AS latest
             FROM operations o JOIN deployments d ON d.id = o.deployment_id WHERE o.id = $1";
        let row = sqlx::query(query).bind(id.to_string()).fetch_optional(&self.pool).await?;
        let Some(row) = row else { return Ok(false) };
        let is_latest = row.try_get::<String, _>("latest")? == id.to_string();
        Ok(match OperationState::parse(&row.try_get::<String, _>("state")?) {
            // What a state means that this version does not know, the one that wrote it knows.
            None | Some(OperationState::Queued | OperationState::Running | OperationState::Waiting) => false,
            Some(OperationState::Stuck) => !is_latest,
            Some(
                OperationState::Succeeded | OperationState::Undone | OperationState::Failed | OperationState::Cancelled,
            ) => true,
        })
    }

    /// Runs a deletion of limited size until it finds nothing more.
    pub(super) async fn delete_in_batches(&self, statement: &'static str, before_ms: i64) -> Result<u64, StoreError> {
        let mut all = 0;
        loop {
            let deleted = sqlx::query(statement).bind(before_ms).bind(BATCH_ROWS).execute(&self.pool).await?;
            all += deleted.rows_affected();
            if deleted.rows_affected() == 0 {
                return Ok(all);
            }
        }
    }
}
