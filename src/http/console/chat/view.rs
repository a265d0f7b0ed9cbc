//! What the page of a chat shows.

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::answers_in_progress::AnswersInProgress;
use super::kept::{Answer, Chat, DeploymentLink, Fault, Turn};
use super::progress::Progress;
use crate::access::Caller;
use crate::app::{App, AppError};
use crate::event::OperationState;
use crate::http::console::plan_card::PlanCard;
use crate::id::OperationId;
use crate::reply::strip_ansi;
use crate::secret::Redactor;

/// The live part of the page.
#[derive(Debug, Serialize)]
pub(super) struct View {
    page_title: &'static str,
    page_state: &'static str,
    chat: Uuid,
    /// The number of the next message.
    next: usize,
    turns: Vec<TurnView>,
    /// What the answer that is being made has said so far.
    words: String,
    /// Something on it changes by itself.
    pub(super) is_alive: bool,
}

/// A message with its answer.
#[derive(Debug, Serialize)]
struct TurnView {
    number: usize,
    /// What the person said, in lines.
    said: Vec<String>,
    /// Its answer is being made.
    is_open: bool,
    answer: Option<AnswerView>,
}

/// An answer.
#[derive(Debug, Serialize)]
struct AnswerView {
    /// Markdown.
    text: Option<String>,
    plan: Option<PlanCard>,
    /// It can be said yes to now.
    asks: bool,
    operations: Vec<OperationView>,
    deployment: Option<DeploymentLink>,
    fault: Option<Fault>,
}

/// An operation as it stands.
#[derive(Debug, Serialize)]
struct OperationView {
    id: OperationId,
    action: &'static str,
    deployment: Option<String>,
    state: OperationState,
    progress: u8,
    is_ended: bool,
    created_at: Timestamp,
    /// Markdown; nothing when the answer says the same.
    text: Option<String>,
}

impl View {
    /// The chat as it stands.
    pub(super) async fn of(
        app: &App,
        answers: &AnswersInProgress,
        caller: &Caller,
        id: Uuid,
        chat: &Chat,
    ) -> Result<Self, AppError> {
        let redactor = Redactor::from_settings(app.settings());
        let within = app.settings().server.answer_within;
        let mut turns = Vec::new();
        for (number, turn) in chat.turns.iter().enumerate() {
            let is_last = number + 1 == chat.turns.len();
            let answer = match &turn.answer {
                Some(answer) => Some(AnswerView::of(app, caller, answer, is_last).await?),
                None => None,
            };
            turns.push(TurnView { number, said: lines(&redactor, turn), is_open: turn.is_open(within), answer });
        }
        Ok(Self {
            page_title: "Chat",
            page_state: turns.last().map_or("idle", TurnView::page_state),
            chat: id,
            next: turns.len(),
            words: answers.words(caller, id).unwrap_or_default(),
            is_alive: turns.iter().any(TurnView::is_alive),
            turns,
        })
    }
}

impl TurnView {
    fn operations(&self) -> impl Iterator<Item = &OperationView> {
        self.answer.iter().flat_map(|it| &it.operations)
    }

    fn is_alive(&self) -> bool {
        self.is_open || self.operations().any(|it| !it.is_ended)
    }

    fn page_state(&self) -> &'static str {
        let is_well = |it: &OperationView| matches!(it.state, OperationState::Succeeded | OperationState::Cancelled);
        if self.is_alive() {
            "running"
        } else if self.operations().any(|it| !is_well(it)) {
            "failed"
        } else {
            "idle"
        }
    }
}

impl AnswerView {
    async fn of(app: &App, caller: &Caller, answer: &Answer, is_last: bool) -> Result<Self, AppError> {
        let mut operations = Vec::new();
        for id in &answer.operations {
            // What is out of sight by now is not shown any more.
            let Some(progress) = Progress::load(app, caller, *id).await? else { continue };
            let text = Some(progress.shown()).filter(|it| *it != answer.text);
            let Progress { operation, deployment, .. } = progress;
            operations.push(OperationView {
                id: operation.id,
                action: operation.action.as_str(),
                deployment: deployment.map(|it| it.name.to_string()),
                state: operation.state,
                progress: operation.progress,
                is_ended: operation.state.is_ended(),
                created_at: operation.created_at,
                text,
            });
        }
        // The card has all of the plan.
        let text = if answer.plan.is_some() { &answer.before_plan } else { &answer.text };
        Ok(Self {
            text: Some(text.clone()).filter(|it| !it.is_empty()),
            plan: answer.plan.clone(),
            asks: answer.asks && is_last,
            operations,
            deployment: answer.deployment.clone(),
            fault: answer.fault.clone(),
        })
    }
}

/// What was said, without what looks like a secret: the page may be looked at by others.
fn lines(redactor: &Redactor, turn: &Turn) -> Vec<String> {
    redactor.redact(&turn.said).lines().map(strip_ansi).collect()
}
