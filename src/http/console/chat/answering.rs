//! The answer to a message: what the conversation comes to, as for every chat page, until it begins an operation.
//!
//! It is made beside the request that asked for it, and waits for no operation: that tells of itself on the page.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::kept::{Answer, Chat, DeploymentLink, Fault};
use super::progress::Progress;
use crate::access::Caller;
use crate::app::{App, AppError};
use crate::conversation::AnswerSink;
use crate::http::chat::intake::{self, Intake};
use crate::http::chat::open_webui;
use crate::http::chat::request::ChatRequest;
use crate::http::console::plan_card::PlanCard;
use crate::http::error::ApiError;
use crate::http::request_id::RequestId;
use crate::http::sse;
use crate::id::OperationId;
use crate::reply::view::Proposal;

/// Makes the answer to the last message of a chat, and keeps it.
pub(super) async fn give(app: App, caller: Caller, request_id: RequestId, id: Uuid, chat: Chat) {
    let within = app.settings().server.answer_within;
    let work = sse::caught(Box::pin(answer(&app, &caller, id, &chat)));
    let made = tokio::select! {
        made = tokio::time::timeout(within, work) => made.unwrap_or_else(|_| Ok(too_late(within))),
        () = app.shutdown_token().cancelled_owned() => Err(ApiError::ShuttingDown),
    };
    let answer = made.unwrap_or_else(|error| {
        let told = error.body(request_id.as_str()).error;
        Answer { fault: Some(Fault { message: told.message, code: told.code.into_owned() }), ..Answer::default() }
    });
    if let Err(error) = keep(&app, &caller, id, &chat, answer).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "the answer to a message in a chat is not kept");
    }
}

fn too_late(within: Duration) -> Answer {
    let message = format!("no answer came within {} s; say it again", within.as_secs());
    Answer { fault: Some(Fault { message, code: "request_timeout".to_owned() }), ..Answer::default() }
}

/// Keeps an answer, unless another message has taken the place of the one that it is for.
async fn keep(app: &App, caller: &Caller, id: Uuid, asked: &Chat, answer: Answer) -> Result<(), AppError> {
    let when = |chat: &Chat| -> Vec<Timestamp> { chat.turns.iter().map(|it| it.at).collect() };
    let Some(mut chat) = Chat::load(app, caller, id).await?.filter(|it| when(it) == when(asked)) else { return Ok(()) };
    if let Some(turn) = chat.turns.last_mut() {
        turn.answer = Some(answer);
    }
    chat.keep(app, caller, id).await
}

async fn answer(app: &App, caller: &Caller, id: Uuid, chat: &Chat) -> Result<Answer, ApiError> {
    let messages = messages(app, caller, chat).await?;
    let body = Map::from_iter([("messages".to_owned(), Value::Array(messages))]);
    let request = ChatRequest::read(&body)?;
    let headers = open_webui::chat_headers(id, chat.turns.len());
    let pending = match intake::take_in(app, caller, &headers, &request, body).await? {
        Intake::Answer(pending) => pending,
        // What was pasted looks like what chat pages ask by themselves.
        Intake::BackgroundTask(_, text) => return Ok(Answer { text, ..Answer::default() }),
        Intake::Passthrough(..) => {
            return Err(ApiError::Internal("words without a field asked for the model alone".into()));
        }
    };
    let operations = pending.operations();
    if !operations.is_empty() {
        return Ok(Answer { operations, ..Answer::default() });
    }
    let mut listener = Listener::default();
    let begun = listener.begun.clone();
    let rendered = tokio::select! {
        biased;
        rendered = Box::pin(pending.render(app, caller, &mut listener)) => Some(rendered?),
        () = begun.cancelled() => None,
    };
    let Listener { text, proposal, operation, begun: _ } = listener;
    if let Some(id) = operation {
        return Ok(Answer { operations: vec![id], ..Answer::default() });
    }
    let completion = rendered.unwrap_or_default();
    let plan = match &proposal {
        Some(Proposal::Change(plan)) => Some(PlanCard::from(plan)),
        Some(Proposal::Removals(_)) | None => None,
    };
    let is_empty = text.trim().is_empty();
    Ok(Answer {
        text: if is_empty { "The chat model said nothing. Please ask again.".to_owned() } else { text },
        plan,
        asks: proposal.is_some(),
        operations: completion.operation.map(|(id, _)| id).into_iter().collect(),
        deployment: completion.deployment.map(|it| DeploymentLink { id: it.id, name: it.name.to_string() }),
        fault: None,
    })
}

/// The conversation as a chat page sends it. Messages that got no answer are left out, but for the last: nothing came
/// of them, and a plan is agreed to by the words right after it.
async fn messages(app: &App, caller: &Caller, chat: &Chat) -> Result<Vec<Value>, AppError> {
    let mut messages = Vec::new();
    let Some((last, before)) = chat.turns.split_last() else { return Ok(messages) };
    for turn in before {
        let Some(answer) = turn.answer.as_ref().filter(|it| it.fault.is_none()) else { continue };
        let mut told = vec![answer.text.clone()];
        for id in &answer.operations {
            told.extend(Progress::load(app, caller, *id).await?.map(|it| it.told()));
        }
        told.retain(|it| !it.is_empty());
        told.dedup();
        messages.push(json!({"role": "user", "content": turn.said}));
        messages.push(json!({"role": "assistant", "content": told.join("\n\n")}));
    }
    messages.push(json!({"role": "user", "content": last.said}));
    Ok(messages)
}

/// Hears an answer until it begins an operation.
#[derive(Debug, Default)]
struct Listener {
    text: String,
    proposal: Option<Proposal>,
    operation: Option<OperationId>,
    begun: CancellationToken,
}

impl AnswerSink for Listener {
    fn is_streaming(&self) -> bool {
        false
    }

    fn has_content(&self) -> bool {
        !self.text.is_empty()
    }

    async fn write(&mut self, text: String) {
        self.text.push_str(&text);
    }

    async fn status(&mut self, _: Option<&str>) {}

    async fn operation(&mut self, id: OperationId) {
        self.operation = Some(id);
        self.begun.cancel();
    }

    async fn proposal(&mut self, proposal: &Proposal) {
        self.proposal = Some(proposal.clone());
    }
}
