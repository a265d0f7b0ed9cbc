//! What became of a request, in words: as it happens to who listens, else at the end.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior};

use super::{AnswerError, Ending, Listener, Opening};
use crate::app::{App, AppError};
use crate::event::{Event, EventKind, OperationState};
use crate::id::OperationId;
use crate::reply::narration::Narrator;
use crate::reply::view::Report;
use crate::reply::{outcome, plain, report};
use crate::store::record::{Deployment, Operation};

/// How often something is said about a step that is only slow.
const TICK: Duration = Duration::from_secs(1);
/// A fence that output rarely contains.
const FENCE: &str = "````";

/// How an operation stands, and what there is to say about it.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) text: String,
    pub(super) operation: Operation,
    pub(super) deployment: Option<Deployment>,
}

impl Opening {
    /// Says what there is to say, to the end.
    ///
    /// # Errors
    /// [`AnswerError`] when the answer breaks off.
    pub async fn tell<L: Listener>(self, app: &App, listener: &mut L) -> Result<Ending, AnswerError> {
        let until = Instant::now() + app.settings().server.answer_within;
        match self {
            Self::Words(text) => {
                listener.say(text).await;
                Ok(Ending::default())
            }
            Self::Operation(id) => {
                follow(app, id, until, listener).await?;
                let Outcome { mut text, operation, deployment } = outcome(app, id).await?;
                if listener.has_heard() {
                    text.insert(0, '\n');
                }
                listener.status(None).await;
                listener.say(text).await;
                Ok(Ending { operation: Some((id, operation.state)), deployment, ..Ending::default() })
            }
            Self::Plan(plan) => {
                listener.say(report::plan(&plan)).await;
                Ok(Ending::default())
            }
            Self::Confirmation(plan) => {
                listener.say(report::confirmation(&plan)).await;
                Ok(Ending::default())
            }
            Self::Report(answer) => tell_report(app, answer, listener).await,
            Self::Model(rounds) => rounds.run(app, until, listener).await,
        }
    }
}

async fn tell_report<L: Listener>(app: &App, answer: Report, listener: &mut L) -> Result<Ending, AnswerError> {
    match answer {
        Report::Deployments(deployments) => {
            listener.say(report::deployments(&deployments)).await;
            Ok(Ending::default())
        }
        Report::Past { operation, deployment } => {
            listener.say(outcome::outcome(&operation, Some(&deployment), &[])).await;
            let about = Some((operation.id, operation.state));
            Ok(Ending { operation: about, deployment: Some(*deployment), ..Ending::default() })
        }
        Report::Status { deployment, live, why } => {
            listener.say(report::status(&deployment, &live, why.as_ref())).await;
            Ok(Ending { deployment: Some(deployment), ..Ending::default() })
        }
        Report::Logs { deployment, follow, tail, aws } => {
            let follow = follow && listener.is_live();
            let mut lines = app.logs(&deployment, tail, follow, aws.as_ref()).await?;
            if follow {
                listener.say(format!("{}\n\n{FENCE}text\n", report::logs_headline(&deployment))).await;
                let mut lines = std::pin::pin!(lines.take_until(app.shutdown_token().cancelled_owned()));
                while let Some(line) = lines.next().await {
                    listener.say(format!("{}\n", plain(&line?))).await;
                }
                listener.say(format!("{FENCE}\n")).await;
            } else {
                let mut all = Vec::new();
                while let Some(line) = lines.try_next().await? {
                    all.push(line);
                }
                listener.say(report::logs(&deployment, &all)).await;
            }
            Ok(Ending { deployment: Some(deployment), ..Ending::default() })
        }
        Report::Cancelled(id) => {
            listener.say(report::cancelled(id)).await;
            let state = app.operation(id).await?.map(|operation| operation.state);
            Ok(Ending { operation: state.map(|state| (id, state)), ..Ending::default() })
        }
    }
}

/// Waits until an operation has ended, or the time is up, or the server stops; who listens hears what happens, without
/// a limit of time. The operation goes on in any case.
pub(super) async fn follow<L: Listener>(
    app: &App,
    id: OperationId,
    until: Instant,
    listener: &mut L,
) -> Result<(), AppError> {
    let events = app.follow(id, 0).take_until(app.shutdown_token().cancelled_owned());
    let mut events = std::pin::pin!(events);
    if !listener.is_live() {
        let ended = async {
            while let Some(event) = events.try_next().await? {
                if waits(app, id, &event).await? {
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
                    if waits(app, id, &event).await? {
                        return Ok(());
                    }
                    narrator.hear(&event)
                }
                None => return Ok(()),
            },
            _ = ticks.tick() => narrator.advance(Timestamp::now()),
        };
        for line in lines {
            listener.say(format!("{line}\n")).await;
        }
        if let Some(status) = narrator.status() {
            listener.status(Some(status)).await;
        }
    }
}

/// Whether an operation waits on a person now: nothing more happens before that one has read what is missing.
async fn waits(app: &App, id: OperationId, event: &Event) -> Result<bool, AppError> {
    let is_told = matches!(event.kind, EventKind::OperationState { state: OperationState::Waiting });
    Ok(is_told && app.operation(id).await?.is_some_and(|it| it.state == OperationState::Waiting))
}

/// What there is to say about an operation as it stands now.
pub(super) async fn outcome(app: &App, id: OperationId) -> Result<Outcome, AppError> {
    let operation = app.operation(id).await?;
    let operation = operation.ok_or_else(|| AppError::NotFound { message: format!("there is no operation `{id}`") })?;
    let deployment = app.deployment(operation.deployment).await?;
    let steps = if operation.state.is_ended() { Vec::new() } else { app.steps(&operation).await? };
    let text = outcome::outcome(&operation, deployment.as_ref(), &steps);
    Ok(Outcome { text, operation, deployment })
}
