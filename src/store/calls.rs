//! Programs that outlive the server, by the step that called them: what was begun, and which process it is.

use jiff::Timestamp;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Store, StoreError};
use crate::id::OperationId;

/// The calls of one step of an operation, in the store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CallLog {
    store: Store,
    operation: OperationId,
    step: &'static str,
}

/// A call that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BegunCall {
    /// Its id, which no other call has.
    pub run: String,
    /// Tells the calls of one step apart.
    pub name: String,
    /// The boot of the machine that it runs on; `None` for a machine that is reached by ssh.
    pub boot: Option<String>,
    /// Number and start time of its supervisor's process, once they are known.
    pub process: Option<(i64, i64)>,
    /// How many seconds the program may take to end after its SIGINT.
    pub grace_s: i64,
    /// How many seconds it may take.
    pub timeout_s: i64,
    /// Whether the program has ended. Its process number may be another program's by now.
    pub has_ended: bool,
}

impl CallLog {
    /// The log of a step.
    #[must_use]
    pub fn new(store: Store, operation: OperationId, step: &'static str) -> Self {
        Self { store, operation, step }
    }

    /// Keeps a call before it is made.
    ///
    /// # Errors
    /// What the database says.
    pub async fn begin(&self, call: &BegunCall) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO calls (run_id, operation_id, step, name, boot_id, process_id, process_start, grace_s, timeout_s,
                 begun_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(&call.run)
        .bind(self.operation.to_string())
        .bind(self.step)
        .bind(&call.name)
        .bind(&call.boot)
        .bind(call.process.map(|it| it.0))
        .bind(call.process.map(|it| it.1))
        .bind(call.grace_s)
        .bind(call.timeout_s)
        .bind(Timestamp::now().as_millisecond())
        .execute(&self.store.pool)
        .await?;
        Ok(())
    }

    /// Keeps which process a call is.
    ///
    /// # Errors
    /// What the database says.
    pub async fn set_process(&self, run: &str, (id, start): (i64, i64)) -> Result<(), StoreError> {
        sqlx::query("UPDATE calls SET process_id = $2, process_start = $3 WHERE run_id = $1")
            .bind(run)
            .bind(id)
            .bind(start)
            .execute(&self.store.pool)
            .await?;
        Ok(())
    }

    /// Keeps that the program of a call has ended.
    ///
    /// # Errors
    /// What the database says.
    pub async fn end(&self, run: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE calls SET ended_ms = $2 WHERE run_id = $1")
            .bind(run)
            .bind(Timestamp::now().as_millisecond())
            .execute(&self.store.pool)
            .await?;
        Ok(())
    }

    /// All calls that the step ever began.
    ///
    /// # Errors
    /// What the database says.
    pub async fn begun(&self) -> Result<Vec<BegunCall>, StoreError> {
        let rows = sqlx::query("SELECT * FROM calls WHERE operation_id = $1 AND step = $2 ORDER BY run_id")
            .bind(self.operation.to_string())
            .bind(self.step)
            .fetch_all(&self.store.pool)
            .await?;
        rows.iter().map(read).collect()
    }
}

fn read(row: &AnyRow) -> Result<BegunCall, StoreError> {
    let (id, start): (Option<i64>, Option<i64>) = (row.try_get("process_id")?, row.try_get("process_start")?);
    Ok(BegunCall {
        run: row.try_get("run_id")?,
        name: row.try_get("name")?,
        boot: row.try_get("boot_id")?,
        process: id.zip(start),
        grace_s: row.try_get("grace_s")?,
        timeout_s: row.try_get("timeout_s")?,
        has_ended: row.try_get::<Option<i64>, _>("ended_ms")?.is_some(),
    })
}
