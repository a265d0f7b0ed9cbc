//! The tools that are about operations.

use std::time::Duration;

use futures_util::StreamExt;
use jiff::Timestamp;
use rmcp::model::{CallToolResult, ProgressNotificationParam, ProgressToken};
use rmcp::service::RequestContext;
use rmcp::{Peer, RoleServer};
use serde_json::Map;

use super::result::{OperationResult, answer};
use crate::access::Caller;
use crate::app::App;
use crate::event::{EventKind, OperationState};
use crate::http::chat::dispatch::limits;
use crate::http::error::ApiError;
use crate::http::operations::OperationObject;
use crate::id::OperationId;
use crate::intent::fields;
use crate::reply::narration::Narrator;
use crate::reply::operation;
use crate::store::record::Operation;

/// An operation, as it stands.
#[derive(Debug)]
pub struct Told {
    /// The operation.
    pub operation: Operation,
    /// As an object.
    pub object: OperationObject,
    /// In words.
    pub words: String,
}

impl Told {
    /// What to do next, while it has not ended.
    #[must_use]
    pub fn next_step(&self) -> Option<String> {
        let id = self.operation.id;
        match self.operation.state {
            OperationState::Queued | OperationState::Running => {
                Some(format!("Call `operation_wait` with the id `{id}`, and again until it has ended."))
            }
            OperationState::Waiting => Some(format!(
                "It waits for something outside, which its steps name. When that is done, call `operation_resume` with the id `{id}`."
            )),
            OperationState::Stuck => Some(format!(
                "A person has to look at what its error says. After that, call `operation_resume` with the id `{id}`."
            )),
            OperationState::Succeeded | OperationState::Undone | OperationState::Failed | OperationState::Cancelled => {
                None
            }
        }
    }

    /// As the answer of a tool.
    #[must_use]
    pub fn answer(self) -> CallToolResult {
        let next_step = self.next_step();
        let words = in_words(&self.words, next_step.as_deref());
        answer(words, &OperationResult { operation: self.object, next_step })
    }
}

/// Words, and what to do next.
#[must_use]
pub fn in_words(words: &str, next_step: Option<&str>) -> String {
    [Some(words), next_step].into_iter().flatten().collect::<Vec<_>>().join("\n\n")
}

/// Looks at an operation.
///
/// # Errors
/// [`ApiError::OperationNotFound`].
pub async fn tell(app: &App, caller: &Caller, id: OperationId) -> Result<Told, ApiError> {
    let operation = find(app, caller, id).await?;
    let view = app.operation_view(operation.clone()).await?;
    let deployment = view.deployment.as_ref().and_then(|it| it.as_ref().ok());
    let words = if operation.state.is_ended() {
        operation::render(&operation, deployment, &[])
    } else {
        operation::progress(&operation, deployment, &view.steps)
    };
    Ok(Told { operation, object: view.into(), words })
}

/// Waits until an operation has ended, waits itself, or the time is up; tells of its progress where that was asked for.
///
/// # Errors
/// [`ApiError::OperationNotFound`].
pub async fn wait(
    app: &App,
    caller: &Caller,
    id: OperationId,
    timeout: Duration,
    context: &RequestContext<RoleServer>,
) -> Result<Told, ApiError> {
    let began = Timestamp::now();
    let operation = find(app, caller, id).await?;
    let events = app.follow(&operation, 0).take_until(app.shutdown_token().cancelled_owned());
    let mut events = std::pin::pin!(events.take_until(tokio::time::sleep(timeout)));
    let mut progress = context.meta.get_progress_token().map(|token| Progress::new(context.peer.clone(), token));
    let mut narrator = Narrator::new();
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            // Nobody hears the answer any more.
            () = context.ct.cancelled() => None,
        };
        let Some(event) = event.transpose()? else { break };
        let is_waiting = matches!(event.kind, EventKind::OperationState { state: OperationState::Waiting });
        if is_waiting && find(app, caller, id).await?.state == OperationState::Waiting {
            break;
        }
        narrator.push(&event);
        if let Some(progress) = &mut progress
            && event.at >= began
            && let Some(status) = narrator.status()
        {
            progress.tell(find(app, caller, id).await?.progress, status).await;
        }
    }
    tell(app, caller, id).await
}

/// Cancels an operation.
///
/// # Errors
/// [`ApiError`] when there is none, it has ended, or the caller may not.
pub async fn cancel(app: &App, caller: &Caller, id: OperationId) -> Result<Told, ApiError> {
    app.cancel(caller, id).await?;
    tell(app, caller, id).await
}

/// Resumes an operation, with the secrets of its own request.
///
/// # Errors
/// [`ApiError`] when there is none, there is nothing to resume, or the caller may not.
pub async fn resume(app: &App, caller: &Caller, id: OperationId) -> Result<Told, ApiError> {
    app.resume(caller, id, fields::parse_resume(&Map::new(), &limits(app))?).await?;
    tell(app, caller, id).await
}

async fn find(app: &App, caller: &Caller, id: OperationId) -> Result<Operation, ApiError> {
    app.operation(caller, id).await?.ok_or_else(|| ApiError::OperationNotFound(id.to_string()))
}

/// Notifications of progress, which have to grow from one to the next.
struct Progress {
    peer: Peer<RoleServer>,
    token: ProgressToken,
    told: f64,
    message: String,
}

impl Progress {
    /// How much it grows when the share of the work that is done does not.
    const LEAST: f64 = 0.01;

    fn new(peer: Peer<RoleServer>, token: ProgressToken) -> Self {
        Self { peer, token, told: 0.0, message: String::new() }
    }

    async fn tell(&mut self, percent: u8, message: &str) {
        if self.message == message {
            return;
        }
        message.clone_into(&mut self.message);
        // In hundredths, which add up without a tail of digits.
        self.told = f64::from(percent).max(((self.told + Self::LEAST) * 100.0).round() / 100.0);
        let progress =
            ProgressNotificationParam::new(self.token.clone(), self.told).with_total(100.0).with_message(message);
        // The operation goes on, whoever hears of it.
        let _ = self.peer.notify_progress(progress).await;
    }
}
