//! What became of a request, in words: as it happens into a stream, else at the end.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior};

use super::answer::{AnswerError, AnswerSink, Completion};
use super::outcome::Outcome;
use crate::access::Caller;
use crate::app::{App, AppError};
use crate::event::{Event, EventKind, OperationState};
use crate::id::OperationId;
use crate::reply::narration::Narrator;
use crate::reply::view::{Proposal, Report};
use crate::reply::{costs, operation, removal, report};
use crate::store::record::{Deployment, Operation};

/// How often something is said about a step that is only slow.
const TICK: Duration = Duration::from_secs(1);
/// Fences a streamed log. Its lines are not known yet, so the fence cannot be longer than the longest run of backticks
/// in them (as `reply::code_block` makes it): four, one more than usual.
const FENCE: &str = "````";

/// How an operation stands, and what there is to say about it.
#[derive(Debug)]
pub(super) struct OperationSummary {
    pub(super) text: String,
    pub(super) operation: Operation,
    pub(super) deployment: Option<Deployment>,
}

impl Outcome {
    /// Writes what there is to say, to the end.
    ///
    /// # Errors
    /// [`AnswerError`] when the answer breaks off.
    pub(super) async fn render<S: AnswerSink>(
        self,
        app: &App,
        caller: &Caller,
        sink: &mut S,
    ) -> Result<Completion, AnswerError> {
        let until = Instant::now() + app.settings().server.answer_within;
        match self {
            Self::Text(text) => {
                sink.write(text).await;
                Ok(Completion::default())
            }
            Self::Operation(id) => {
                follow_operation(app, caller, id, until, sink).await?;
                let OperationSummary { mut text, operation, deployment } = summarize_operation(app, caller, id).await?;
                if sink.has_content() {
                    text.insert(0, '\n');
                }
                sink.status(None).await;
                sink.write(text).await;
                Ok(Completion { operation: Some((id, operation.state)), deployment, ..Completion::default() })
            }
            Self::Operations(ids) => render_operations(app, caller, &ids, until, sink).await,
            Self::Plan(proposal) => {
                sink.proposal(&proposal).await;
                let text = match &proposal {
                    Proposal::Change(plan) => report::plan(plan),
                    Proposal::Removals(removals) => removal::plan(removals),
                };
                sink.write(text).await;
                Ok(Completion::default())
            }
            Self::Confirmation(proposal) => {
                sink.proposal(&proposal).await;
                let text = match &proposal {
                    Proposal::Change(plan) => report::confirmation(plan),
                    Proposal::Removals(removals) => removal::confirmation(removals),
                };
                sink.write(text).await;
                Ok(Completion::default())
            }
            Self::Report(answer) => render_report(app, caller, answer, sink).await,
        }
    }
}

/// Tells of several operations, which run at the same time, one after another. The answer is about the first that is not
/// well, else about the last.
async fn render_operations<S: AnswerSink>(
    app: &App,
    caller: &Caller,
    ids: &[OperationId],
    until: Instant,
    sink: &mut S,
) -> Result<Completion, AnswerError> {
    let mut summaries = Vec::new();
    for id in ids {
        if sink.is_streaming() {
            let name = summarize_operation(app, caller, *id).await?.deployment.map(|it| it.name.to_string());
            let rule = if sink.has_content() { "\n\n" } else { "" };
            sink.write(format!("{rule}**`{}`**\n\n", name.unwrap_or_else(|| id.to_string()))).await;
        }
        follow_operation(app, caller, *id, until, sink).await?;
        let summary = summarize_operation(app, caller, *id).await?;
        let rule = if sink.has_content() { "\n\n" } else { "" };
        sink.write(format!("{rule}{}", summary.text)).await;
        summaries.push(summary);
    }
    sink.status(None).await;
    let operations: Vec<&Operation> = summaries.iter().map(|it| &it.operation).collect();
    sink.write(format!("\n\n{}", removal::outcome(&operations))).await;
    let is_well = |it: &OperationSummary| it.operation.state == OperationState::Succeeded;
    let about = summaries.iter().position(|it| !is_well(it)).unwrap_or(summaries.len().saturating_sub(1));
    Ok(summaries.into_iter().nth(about).map_or_else(Completion::default, |it| Completion {
        operation: Some((it.operation.id, it.operation.state)),
        deployment: it.deployment,
        ..Completion::default()
    }))
}

async fn render_report<S: AnswerSink>(
    app: &App,
    caller: &Caller,
    answer: Report,
    sink: &mut S,
) -> Result<Completion, AnswerError> {
    match answer {
        Report::Deployments(deployments) => {
            sink.write(report::deployments(&deployments)).await;
            Ok(Completion::default())
        }
        Report::Costs(costs) => {
            sink.write(costs::render(&costs)).await;
            Ok(Completion::default())
        }
        Report::LastOperation { operation, deployment } => {
            sink.write(operation::render(&operation, Some(&deployment), &[])).await;
            let about = Some((operation.id, operation.state));
            Ok(Completion { operation: about, deployment: Some(*deployment), ..Completion::default() })
        }
        Report::Status { deployment, live, failure } => {
            sink.write(report::status(&deployment, &live, failure.as_ref())).await;
            Ok(Completion { deployment: Some(deployment), ..Completion::default() })
        }
        Report::Logs { deployment, follow, tail, aws } => {
            let follow = follow && sink.is_followed();
            let mut lines = app.logs(&deployment, tail, follow, aws.as_ref()).await?;
            if follow {
                sink.write(format!("{}\n\n{FENCE}text\n", report::logs_headline(&deployment))).await;
                let mut lines = std::pin::pin!(lines.take_until(app.shutdown_token().cancelled_owned()));
                while let Some(line) = lines.next().await {
                    sink.write(format!("{}\n", line?)).await;
                }
                sink.write(format!("{FENCE}\n")).await;
            } else {
                let mut all = Vec::new();
                while let Some(line) = lines.try_next().await? {
                    all.push(line);
                }
                sink.write(report::logs(&deployment, &all)).await;
            }
            Ok(Completion { deployment: Some(deployment), ..Completion::default() })
        }
        Report::Cancelled(id) => {
            let state = app.operation(caller, id).await?.map(|operation| operation.state);
            if state == Some(OperationState::Stuck) {
                let OperationSummary { text, .. } = summarize_operation(app, caller, id).await?;
                sink.write(format!("{}\n\n{text}", report::SECRETS_ERASED)).await;
            } else {
                sink.write(report::cancelled(id)).await;
            }
            Ok(Completion { operation: state.map(|state| (id, state)), ..Completion::default() })
        }
    }
}

/// Waits until an operation has ended, or the time is up, or the server stops; a stream gets what happens, without a
/// limit of time. The operation goes on in any case.
pub(super) async fn follow_operation<S: AnswerSink>(
    app: &App,
    caller: &Caller,
    id: OperationId,
    until: Instant,
    sink: &mut S,
) -> Result<(), AppError> {
    let operation = visible_operation(app, caller, id).await?;
    sink.operation(id).await;
    let events = app.follow(&operation, 0).take_until(app.shutdown_token().cancelled_owned());
    let mut events = std::pin::pin!(events);
    if !sink.is_streaming() {
        let ended = async {
            while let Some(event) = events.try_next().await? {
                if is_waiting(app, caller, id, &event).await? {
                    break;
                }
            }
            Ok::<_, AppError>(())
        };
        return tokio::time::timeout_at(until, ended).await.unwrap_or(Ok(()));
    }
    let mut narrator = Narrator::new();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let lines = tokio::select! {
            biased;
            event = events.next() => match event {
                Some(event) => {
                    let event = event?;
                    if is_waiting(app, caller, id, &event).await? {
                        return Ok(());
                    }
                    narrator.push(&event)
                }
                None => return Ok(()),
            },
            _ = ticks.tick() => narrator.advance(Timestamp::now()),
        };
        for line in lines {
            sink.write(format!("{line}\n")).await;
        }
        if let Some(status) = narrator.status() {
            sink.status(Some(status)).await;
        }
    }
}

/// Whether an operation waits on a person now: nothing more happens before that one has read what is missing.
async fn is_waiting(app: &App, caller: &Caller, id: OperationId, event: &Event) -> Result<bool, AppError> {
    let is_told = matches!(event.kind, EventKind::OperationState { state: OperationState::Waiting });
    Ok(is_told && app.operation(caller, id).await?.is_some_and(|it| it.state == OperationState::Waiting))
}

/// What there is to say about an operation as it stands now.
pub(super) async fn summarize_operation(
    app: &App,
    caller: &Caller,
    id: OperationId,
) -> Result<OperationSummary, AppError> {
    let operation = visible_operation(app, caller, id).await?;
    let deployment = app.deployment(caller, operation.deployment).await?;
    let steps = if operation.state.is_ended() { Vec::new() } else { app.steps(&operation).await? };
    let text = operation::render(&operation, deployment.as_ref(), &steps);
    Ok(OperationSummary { text, operation, deployment })
}

async fn visible_operation(app: &App, caller: &Caller, id: OperationId) -> Result<Operation, AppError> {
    let operation = app.operation(caller, id).await?;
    operation.ok_or(AppError::OperationNotFound(id))
}
