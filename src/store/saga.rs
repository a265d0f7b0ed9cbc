//! The log of the embedded engine: which node of its graph is next.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row;

use super::{Store, StoreError, parse_json, to_json};
use crate::id::OperationId;

impl Store {
    /// Appends an entry to the log of an operation's saga.
    ///
    /// # Errors
    /// What the database says.
    pub async fn append_saga_event(
        &self,
        id: OperationId,
        node_id: u32,
        event: &(impl Serialize + Sync),
    ) -> Result<(), StoreError> {
        let _appending = self.append_lock.lock().await;
        sqlx::query(
            "INSERT INTO saga_log (operation_id, position, node_id, event)
             SELECT $1, COALESCE(MAX(position), 0) + 1, $2, $3 FROM saga_log WHERE operation_id = $1",
        )
        .bind(id.to_string())
        .bind(i64::from(node_id))
        .bind(to_json(event))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The log of an operation's saga, oldest entry first, as (node, entry).
    ///
    /// # Errors
    /// What the database says.
    pub async fn saga_events<T: DeserializeOwned>(&self, id: OperationId) -> Result<Vec<(u32, T)>, StoreError> {
        let rows = sqlx::query("SELECT node_id, event FROM saga_log WHERE operation_id = $1 ORDER BY position")
            .bind(id.to_string())
            .fetch_all(&self.pool)
            .await?;
        rows.iter()
            .map(|row| {
                let node: i64 = row.try_get("node_id")?;
                let node = u32::try_from(node).map_err(|error| StoreError::corrupt("node_id", error))?;
                Ok((node, parse_json(row, "event")?))
            })
            .collect()
    }

    /// Removes every entry of a saga's log that is exactly this one (used to try a failed undo again).
    ///
    /// # Errors
    /// What the database says.
    pub async fn remove_saga_event(
        &self,
        id: OperationId,
        node_id: u32,
        event: &(impl Serialize + Sync),
    ) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM saga_log WHERE operation_id = $1 AND node_id = $2 AND event = $3")
            .bind(id.to_string())
            .bind(i64::from(node_id))
            .bind(to_json(event))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Keeps the graph that the engine made of an operation's plan.
    ///
    /// # Errors
    /// What the database says.
    pub async fn set_saga_dag(&self, id: OperationId, dag: &serde_json::Value) -> Result<(), StoreError> {
        sqlx::query("UPDATE operations SET dag = $2 WHERE id = $1")
            .bind(id.to_string())
            .bind(to_json(dag))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The graph that the engine made of an operation's plan; none when it was never begun.
    ///
    /// # Errors
    /// What the database says.
    pub async fn saga_dag(&self, id: OperationId) -> Result<Option<serde_json::Value>, StoreError> {
        let dag: Option<Option<String>> = sqlx::query_scalar("SELECT dag FROM operations WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(&self.pool)
            .await?;
        dag.flatten()
            .map(|text| serde_json::from_str(&text).map_err(|error| StoreError::corrupt("operations.dag", error)))
            .transpose()
    }
}
