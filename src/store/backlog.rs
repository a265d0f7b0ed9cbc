//! How many operations are open, and since when: what whoever runs the server is to be told of.

use jiff::Timestamp;
use sqlx::Row;

use super::{Store, StoreError, parse, timestamp};
use crate::event::OperationState;

/// The open operations of one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenOperations {
    /// `queued`, `running`, `waiting` or `stuck`.
    pub state: OperationState,
    /// How many there are.
    pub count: i64,
    /// When the oldest of them was accepted; of those that are stuck, when the oldest got stuck.
    pub oldest: Timestamp,
}

impl Store {
    /// The operations that have not ended, and those that are stuck and not resolved, by state. A state without any is left
    /// out.
    ///
    /// # Errors
    /// What the database says.
    pub async fn open_operations(&self) -> Result<Vec<OpenOperations>, StoreError> {
        // Both parts find their rows by an index: all operations that ever were, with their plans, are too much to read.
        let rows = sqlx::query(
            "SELECT state, COUNT(*) AS count, MIN(since_ms) AS oldest_ms FROM (
                 SELECT state, created_ms AS since_ms FROM operations WHERE ended_ms IS NULL
                 UNION ALL
                 SELECT o.state, o.ended_ms FROM deployments d JOIN operations o ON o.id = d.operation_id
                 WHERE o.state = 'stuck' AND o.ended_ms IS NOT NULL
             ) AS open_ones GROUP BY state",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(OpenOperations {
                    state: parse(row, "state", str::parse)?,
                    count: row.try_get("count")?,
                    oldest: timestamp(row.try_get("oldest_ms")?, "oldest_ms")?,
                })
            })
            .collect()
    }
}
