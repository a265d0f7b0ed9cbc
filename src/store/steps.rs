//! What the steps of operations have come to, one row for each: the truth, whatever engine calls them.
//!
//! Whoever begins a step or its undo raises the attempt of its row. Everything that is written later names the attempt
//! that it comes from and is refused when there is a newer one: a server that was frozen meanwhile changes nothing when it
//! goes on. A row changes in one transaction with the event that tells of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::any::AnyRow;
use sqlx::{Any, Row, Transaction};
use strum::{EnumString, IntoStaticStr};

use super::record::VERSION;
use super::{Store, StoreError, parse, timestamp, to_json};
use crate::event::{EventKind, Failure, OperationState};
use crate::id::OperationId;

/// The steps of an operation that were ever begun, by name.
pub type StepRecords = BTreeMap<String, StepRecord>;

/// What is on record of a step that was begun.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRecord {
    /// How often it or its undo was begun.
    pub attempt: i64,
    /// How far it is.
    pub phase: StepPhase,
    /// What it left behind; it stays when the step is taken back.
    pub output: Option<Value>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// Why it could not be taken back.
    pub undo_failure: Option<Failure>,
    /// When it was first begun.
    pub begun_at: Timestamp,
    /// How long it waits on something outside at the most.
    pub waits_until: Option<Timestamp>,
    /// When it came to its output or its failure.
    pub ended_at: Option<Timestamp>,
}

impl StepRecord {
    /// One that has just begun.
    #[must_use]
    pub fn begun(begun_at: Timestamp) -> Self {
        Self {
            attempt: 1,
            phase: StepPhase::Running,
            output: None,
            failure: None,
            undo_failure: None,
            begun_at,
            waits_until: None,
            ended_at: None,
        }
    }
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum StepPhase {
    /// Begun; it may be waiting on something that comes by itself.
    Running,
    /// It waits on something that somebody has to do.
    Waiting,
    /// It left its output.
    Succeeded,
    /// It failed.
    Failed,
    /// It is being taken back.
    Undoing,
    /// It was taken back.
    Undone,
    /// It could not be taken back.
    UndoFailed,
}

/// One call of a step or of its undo: what it writes names it.
#[derive(Debug, Clone)]
pub struct StepAttempt {
    operation: OperationId,
    step: String,
    number: i64,
    /// When the step was first begun.
    pub begun_at: Timestamp,
    /// Until when it waits, when it has begun to.
    pub waits_until: Option<Timestamp>,
}

/// What the steps left behind, by name.
#[must_use]
pub fn outputs(steps: &StepRecords) -> BTreeMap<String, Value> {
    steps.iter().filter_map(|(name, it)| Some((name.clone(), it.output.clone()?))).collect()
}

/// What of a row an attempt changes; what is `None` stays.
struct Change<'a> {
    phase: StepPhase,
    output: Option<&'a Value>,
    failure: Option<&'a Failure>,
    undo_failure: Option<&'a Failure>,
    waits_until: Option<Timestamp>,
}

impl Change<'_> {
    fn to(phase: StepPhase) -> Self {
        Self { phase, output: None, failure: None, undo_failure: None, waits_until: None }
    }
}

impl Store {
    /// The steps of an operation that were ever begun.
    ///
    /// # Errors
    /// What the database says, or that a row cannot be read.
    pub async fn steps(&self, id: OperationId) -> Result<StepRecords, StoreError> {
        let rows = sqlx::query(
            "SELECT step, attempt, phase, output, failure, undo_failure, begun_ms, waits_until_ms, ended_ms
             FROM operation_steps WHERE operation_id = $1",
        )
        .bind(id.to_string())
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| Ok((row.try_get("step")?, read(row)?))).collect()
    }

    /// Begins a step, for the first time or again after the one who was at it is gone.
    ///
    /// # Errors
    /// [`StoreError::Superseded`] when somebody else has brought it to an end; else what the database says.
    pub async fn begin_step(&self, id: OperationId, step: &str, event: &EventKind) -> Result<StepAttempt, StoreError> {
        let appending = self.append_lock.lock().await;
        let mut transaction = self.pool.begin().await?;
        let row = sqlx::query(
            "INSERT INTO operation_steps (operation_id, step, attempt, phase, begun_ms) VALUES ($1, $2, 1, 'running', $3)
             ON CONFLICT (operation_id, step) DO UPDATE SET attempt = operation_steps.attempt + 1
                 WHERE operation_steps.phase IN ('running', 'waiting')
             RETURNING attempt, begun_ms, waits_until_ms",
        )
        .bind(id.to_string())
        .bind(step)
        .bind(Timestamp::now().as_millisecond())
        .fetch_optional(&mut *transaction)
        .await?;
        let attempt = attempt(id, step, &row.ok_or_else(|| superseded(step))?)?;
        self.commit_with(transaction, appending, id, &[event]).await?;
        Ok(attempt)
    }

    /// Begins to take a step back; `None` when there is nothing to take back, because it was never begun or is taken back
    /// already.
    ///
    /// # Errors
    /// What the database says.
    pub async fn begin_undo(
        &self,
        id: OperationId,
        step: &str,
        event: &EventKind,
    ) -> Result<Option<StepAttempt>, StoreError> {
        let appending = self.append_lock.lock().await;
        let mut transaction = self.pool.begin().await?;
        let row = sqlx::query(
            "UPDATE operation_steps SET attempt = attempt + 1, phase = 'undoing', undo_failure = NULL
             WHERE operation_id = $1 AND step = $2 AND phase <> 'undone'
             RETURNING attempt, begun_ms, waits_until_ms",
        )
        .bind(id.to_string())
        .bind(step)
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let attempt = attempt(id, step, &row)?;
        // One that waited for something outside waits no more.
        let running = EventKind::OperationState { state: OperationState::Running };
        let resumed = wait_or_run(&mut transaction, id, OperationState::Running).await?;
        let events: &[&EventKind] = if resumed { &[&running, event] } else { &[event] };
        self.commit_with(transaction, appending, id, events).await?;
        Ok(Some(attempt))
    }

    /// Keeps what a step has come to. An operation that has waited on this one alone runs again.
    ///
    /// # Errors
    /// [`StoreError::Superseded`] when a newer attempt has begun; else what the database says.
    pub async fn end_step(
        &self,
        attempt: &StepAttempt,
        result: Result<&Value, &Failure>,
        event: EventKind,
    ) -> Result<(), StoreError> {
        let change = match result {
            Ok(output) => Change { output: Some(output), ..Change::to(StepPhase::Succeeded) },
            Err(failure) => Change { failure: Some(failure), ..Change::to(StepPhase::Failed) },
        };
        self.change(attempt, &change, vec![event]).await
    }

    /// Keeps that a step was taken back, or why it could not be.
    ///
    /// # Errors
    /// [`StoreError::Superseded`] when a newer attempt has begun; else what the database says.
    pub async fn end_undo(
        &self,
        attempt: &StepAttempt,
        result: Result<(), &Failure>,
        event: EventKind,
    ) -> Result<(), StoreError> {
        let change = match result {
            Ok(()) => Change::to(StepPhase::Undone),
            Err(failure) => Change { undo_failure: Some(failure), ..Change::to(StepPhase::UndoFailed) },
        };
        self.change(attempt, &change, vec![event]).await
    }

    /// Keeps until when a step waits. With the event that tells what somebody has to do, the operation waits too: who sees
    /// that it does finds the event before it.
    ///
    /// # Errors
    /// [`StoreError::Superseded`] when a newer attempt has begun; else what the database says.
    pub async fn park_step(
        &self,
        attempt: &StepAttempt,
        until: Option<Timestamp>,
        missing: Option<EventKind>,
    ) -> Result<(), StoreError> {
        let phase = if missing.is_some() { StepPhase::Waiting } else { StepPhase::Running };
        self.change(attempt, &Change { waits_until: until, ..Change::to(phase) }, missing.into_iter().collect()).await
    }

    /// Changes the row of a step, and with it the state of its operation, and publishes the events.
    async fn change(
        &self,
        attempt: &StepAttempt,
        change: &Change<'_>,
        mut events: Vec<EventKind>,
    ) -> Result<(), StoreError> {
        let StepAttempt { operation, step, number, .. } = attempt;
        let appending = self.append_lock.lock().await;
        let mut transaction = self.pool.begin().await?;
        let (has_ended, state) = match change.phase {
            StepPhase::Waiting => (false, Some(OperationState::Waiting)),
            StepPhase::Running => (false, Some(OperationState::Running)),
            StepPhase::Succeeded | StepPhase::Failed => (true, Some(OperationState::Running)),
            StepPhase::Undoing | StepPhase::Undone | StepPhase::UndoFailed => (false, None),
        };
        let changed = sqlx::query(
            "UPDATE operation_steps SET phase = $4, output = COALESCE($5, output), failure = COALESCE($6, failure),
                 undo_failure = COALESCE($7, undo_failure), waits_until_ms = COALESCE($8, waits_until_ms),
                 ended_ms = COALESCE($9, ended_ms)
             WHERE operation_id = $1 AND step = $2 AND attempt = $3",
        )
        .bind(operation.to_string())
        .bind(step)
        .bind(number)
        .bind(<&str>::from(change.phase))
        .bind(change.output.map(to_json))
        .bind(change.failure.map(to_json))
        .bind(change.undo_failure.map(to_json))
        .bind(change.waits_until.map(Timestamp::as_millisecond))
        .bind(has_ended.then(|| Timestamp::now().as_millisecond()))
        .execute(&mut *transaction)
        .await?;
        if changed.rows_affected() == 0 {
            return Err(superseded(step));
        }
        if let Some(state) = state
            && wait_or_run(&mut transaction, *operation, state).await?
        {
            // What somebody has to do is told before the operation waits for it, and what came of it after that.
            let place = if state == OperationState::Waiting { events.len() } else { 0 };
            events.insert(place, EventKind::OperationState { state });
        }
        self.commit_with(transaction, appending, *operation, &events.iter().collect::<Vec<_>>()).await
    }

    /// Keeps what an earlier version has recorded of the steps of an operation elsewhere.
    ///
    /// # Errors
    /// What the database says.
    pub async fn import_steps(&self, id: OperationId, steps: &StepRecords) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        for (step, record) in steps {
            sqlx::query(
                "INSERT INTO operation_steps (operation_id, step, attempt, phase, output, failure, undo_failure, begun_ms,
                     waits_until_ms, ended_ms)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            )
            .bind(id.to_string())
            .bind(step)
            .bind(record.attempt)
            .bind(<&str>::from(record.phase))
            .bind(record.output.as_ref().map(to_json))
            .bind(record.failure.as_ref().map(to_json))
            .bind(record.undo_failure.as_ref().map(to_json))
            .bind(record.begun_at.as_millisecond())
            .bind(record.waits_until.map(Timestamp::as_millisecond))
            .bind(record.ended_at.map(Timestamp::as_millisecond))
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// The operations that an engine keeps a log of, and of whose steps nothing is on record here.
    ///
    /// # Errors
    /// What the database says.
    pub async fn operations_without_steps(&self) -> Result<Vec<OperationId>, StoreError> {
        let rows = sqlx::query(
            "SELECT DISTINCT operation_id FROM saga_log
             WHERE operation_id NOT IN (SELECT operation_id FROM operation_steps)",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| parse(row, "operation_id", OperationId::parse)).collect()
    }
}

/// Lets an operation wait, or run again when none of its steps waits; false when it did already.
async fn wait_or_run(
    transaction: &mut Transaction<'_, Any>,
    id: OperationId,
    state: OperationState,
) -> Result<bool, StoreError> {
    let statement = if state == OperationState::Waiting {
        "UPDATE operations SET state = $2, written_by = $3 WHERE id = $1 AND state <> $2 AND ended_ms IS NULL"
    } else {
        "UPDATE operations SET state = $2, written_by = $3 WHERE id = $1 AND state = 'waiting'
             AND NOT EXISTS (SELECT 1 FROM operation_steps WHERE operation_id = $1 AND phase = 'waiting')"
    };
    let changed = sqlx::query(statement)
        .bind(id.to_string())
        .bind(state.as_str())
        .bind(VERSION)
        .execute(&mut **transaction)
        .await?;
    Ok(changed.rows_affected() > 0)
}

fn superseded(step: &str) -> StoreError {
    StoreError::Superseded { step: step.to_owned() }
}

fn attempt(operation: OperationId, step: &str, row: &AnyRow) -> Result<StepAttempt, StoreError> {
    Ok(StepAttempt {
        operation,
        step: step.to_owned(),
        number: row.try_get("attempt")?,
        begun_at: timestamp(row.try_get("begun_ms")?, "begun_ms")?,
        waits_until: time(row, "waits_until_ms")?,
    })
}

fn read(row: &AnyRow) -> Result<StepRecord, StoreError> {
    Ok(StepRecord {
        attempt: row.try_get("attempt")?,
        phase: parse(row, "phase", str::parse)?,
        output: json(row, "output")?,
        failure: json(row, "failure")?,
        undo_failure: json(row, "undo_failure")?,
        begun_at: timestamp(row.try_get("begun_ms")?, "begun_ms")?,
        waits_until: time(row, "waits_until_ms")?,
        ended_at: time(row, "ended_ms")?,
    })
}

fn json<T: DeserializeOwned>(row: &AnyRow, column: &'static str) -> Result<Option<T>, StoreError> {
    let text: Option<String> = row.try_get(column)?;
    text.map(|text| serde_json::from_str(&text).map_err(|error| StoreError::corrupt(column, error))).transpose()
}

fn time(row: &AnyRow, column: &'static str) -> Result<Option<Timestamp>, StoreError> {
    row.try_get::<Option<i64>, _>(column)?.map(|ms| timestamp(ms, column)).transpose()
}
