//! Tasks are operations: the id of one is the id of the other, and what is told of it is what the store knows. So a task
//! outlives its connection and the server.

use rmcp::ErrorData;
use rmcp::model::{
    CallToolResult, CreateTaskResult, DetailedTask, GetTaskResult, JsonObject, Task, TaskPayload, TaskStatus,
};
use serde_json::Value;

use super::operation::{self, Told, in_words};
use super::result::{ChangeOutcome, ChangeResult, answer};
use crate::access::Caller;
use crate::app::{App, AppError};
use crate::event::OperationState;
use crate::http::error::ApiError;
use crate::id::OperationId;
use crate::reply::narration::Narrator;

/// How often a client should ask, in milliseconds.
const POLL_MS: u64 = 2000;

/// The operation of a change as the answer of its tool.
#[must_use]
pub fn result(told: Told, outcome: ChangeOutcome) -> CallToolResult {
    let next_step = told.next_step();
    let words = in_words(&told.words, next_step.as_deref());
    let operation = Some(told.object.into());
    answer(words, &ChangeResult { outcome, operation, plan: None, next_step })
}

/// The same for a client that knows tasks.
///
/// # Errors
/// [`ApiError::Internal`] when the store fails.
pub async fn created(app: &App, told: &Told) -> Result<CreateTaskResult, ApiError> {
    Ok(CreateTaskResult::new(task(app, told).await?))
}

/// How a task stands.
///
/// # Errors
/// When there is none.
pub async fn get(app: &App, caller: &Caller, id: &str) -> Result<GetTaskResult, ErrorData> {
    let told = find(app, caller, id).await?;
    let task = task(app, &told).await.map_err(in_protocol)?;
    let payload = if task.status == TaskStatus::Completed {
        TaskPayload::Completed { result: completed(told) }
    } else if task.status == TaskStatus::Cancelled {
        TaskPayload::Cancelled
    } else {
        TaskPayload::Working
    };
    Ok(GetTaskResult::new(DetailedTask::new(task, payload)))
}

/// Cancels a task. One that has ended stays as it is.
///
/// # Errors
/// When there is none, or the caller may not.
pub async fn cancel(app: &App, caller: &Caller, id: &str) -> Result<(), ErrorData> {
    let told = find(app, caller, id).await?;
    match app.cancel(caller, told.operation.id).await {
        Ok(_) => Ok(()),
        Err(AppError::Conflict { .. }) if told.operation.state.is_ended() => Ok(()),
        Err(error) => Err(in_protocol(error.into())),
    }
}

/// Takes answers to questions of a task, of which there are none: what has to be asked is asked before it begins.
///
/// # Errors
/// When there is no such task.
pub async fn update(app: &App, caller: &Caller, id: &str) -> Result<(), ErrorData> {
    find(app, caller, id).await.map(drop)
}

async fn find(app: &App, caller: &Caller, id: &str) -> Result<Told, ErrorData> {
    let unknown = || {
        let shown: String = id.chars().take(80).collect();
        ErrorData::invalid_params(format!("there is no task `{shown}`"), None)
    };
    let id = OperationId::parse(id).map_err(|_| unknown())?;
    match operation::tell(app, caller, id).await {
        Err(ApiError::OperationNotFound(_)) => Err(unknown()),
        told => told.map_err(in_protocol),
    }
}

async fn task(app: &App, told: &Told) -> Result<Task, ApiError> {
    let operation = &told.operation;
    let status = match operation.state {
        OperationState::Queued | OperationState::Running | OperationState::Waiting => TaskStatus::Working,
        OperationState::Cancelled => TaskStatus::Cancelled,
        OperationState::Succeeded | OperationState::Undone | OperationState::Failed | OperationState::Stuck => {
            TaskStatus::Completed
        }
    };
    let events = app.events(operation).await?;
    let mut narrator = Narrator::new();
    for event in &events {
        narrator.push(event);
    }
    let updated = operation.ended_at.or(events.last().map(|it| it.at)).unwrap_or(operation.created_at);
    let task = Task::new(operation.id.to_string(), status, operation.created_at.to_string(), updated.to_string());
    let task = task.with_poll_interval_ms(POLL_MS);
    Ok(match narrator.status() {
        Some(message) if !operation.state.is_ended() => task.with_status_message(message),
        Some(_) | None => task.with_status_message(operation.state.as_str()),
    })
}

/// What the call of the tool came to.
fn completed(told: Told) -> JsonObject {
    let is_error = told.operation.state != OperationState::Succeeded;
    let mut result = result(told, ChangeOutcome::Operation);
    result.is_error = Some(is_error);
    match serde_json::to_value(result) {
        Ok(Value::Object(result)) => result,
        Ok(_) | Err(_) => JsonObject::new(),
    }
}

/// An error where the protocol has no room for the answer of a tool.
#[must_use]
pub fn in_protocol(error: ApiError) -> ErrorData {
    if let ApiError::Internal(_) = &error {
        return ErrorData::internal_error(error.body("").error.message, None);
    }
    ErrorData::invalid_params(error.to_string(), None)
}
