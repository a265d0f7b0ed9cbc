//! The answer to a message: what the conversation comes to, as for every chat page, until it begins an operation. What it
//! says is heard at once ([`AnswerInProgress`]), and kept when it is whole.
//!
//! It is made beside the request that asked for it, and waits for no operation: that tells of itself on the page.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::answers_in_progress::AnswerInProgress;
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
pub(super) async fn give(
    app: App,
    caller: Caller,
    request_id: RequestId,
    id: Uuid,
    chat: Chat,
    in_progress: AnswerInProgress,
) {
    let within = app.settings().server.answer_within;
    let work = sse::caught(Box::pin(answer(&app, &caller, id, &chat, &in_progress)));
    let made = tokio::select! {
        made = tokio::time::timeout(within, work) => made.unwrap_or_else(|_| Ok(too_late(within, in_progress.said()))),
        () = app.shutdown_token().cancelled_owned() => Err(ApiError::ShuttingDown),
    };
    let answer = made.unwrap_or_else(|error| {
        let told = error.body(request_id.as_str()).error;
        let fault = Some(Fault { message: told.message, code: told.code.into_owned() });
        Answer { text: in_progress.said(), fault, ..Answer::default() }
    });
    if let Err(error) = keep(&app, &caller, id, &chat, answer).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "the answer to a message in a chat is not kept");
    }
}

fn too_late(within: Duration, text: String) -> Answer {
    let message = format!("no whole answer came within {} s; say it again", within.as_secs());
    Answer { text, fault: Some(Fault { message, code: "request_timeout".to_owned() }), ..Answer::default() }
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

async fn answer(
    app: &App,
    caller: &Caller,
    id: Uuid,
    chat: &Chat,
    in_progress: &AnswerInProgress,
) -> Result<Answer, ApiError> {
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
    let begun = CancellationToken::new();
    let mut listener =
        Listener { in_progress, plan_words: String::new(), proposal: None, operation: None, begun: begun.clone() };
    let rendered = tokio::select! {
        biased;
        rendered = Box::pin(pending.render(app, caller, &mut listener)) => Some(rendered?),
        () = begun.cancelled() => None,
    };
    let Listener { plan_words, proposal, operation, .. } = listener;
    let said = in_progress.said();
    let before_plan = if proposal.is_some() { said.trim().to_owned() } else { String::new() };
    let text = said + &plan_words;
    if let Some(id) = operation {
        return Ok(Answer { text: text.trim().to_owned(), operations: vec![id], ..Answer::default() });
    }
    let completion = rendered.unwrap_or_default();
    let plan = match &proposal {
        Some(Proposal::Change(plan)) => Some(PlanCard::from(plan)),
        Some(Proposal::Removals(_)) | None => None,
    };
    let is_empty = text.trim().is_empty();
    Ok(Answer {
        text: if is_empty { "The chat model said nothing. Please ask again.".to_owned() } else { text },
        before_plan,
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
#[derive(Debug)]
struct Listener<'a> {
    in_progress: &'a AnswerInProgress,
    /// What is said from the proposal on. Pages show it as a card when it is kept, and no words before.
    plan_words: String,
    proposal: Option<Proposal>,
    operation: Option<OperationId>,
    begun: CancellationToken,
}

impl AnswerSink for Listener<'_> {
    fn is_streaming(&self) -> bool {
        true
    }

    /// It is kept when it is whole, which it never would be; the page of the logs follows them.
    fn is_followed(&self) -> bool {
        false
    }

    fn has_content(&self) -> bool {
        self.in_progress.has_words() || !self.plan_words.is_empty()
    }

    async fn write(&mut self, text: String) {
        if self.proposal.is_some() {
            self.plan_words.push_str(&text);
        } else if self.operation.is_none() {
            self.in_progress.say(&text);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Surface;
    use crate::http::console::chat::answers_in_progress::AnswersInProgress;
    use crate::id::PlanHash;
    use crate::reply::view::RemovalView;

    #[tokio::test]
    async fn the_words_of_a_plan_are_not_shown_as_they_come() {
        let caller = Caller::administrator("a".to_owned(), "127.0.0.1".to_owned(), Surface::Console);
        let (answers, chat) = (AnswersInProgress::default(), Uuid::new_v4());
        let in_progress = answers.begin(&caller, chat);
        let (plan_words, begun) = (String::new(), CancellationToken::new());
        let mut listener = Listener { in_progress: &in_progress, plan_words, proposal: None, operation: None, begun };
        let hash = PlanHash::of(&[0xab; 32]);
        let removals = RemovalView { hash, plan_changed: false, deployments: Vec::new(), busy: Vec::new() };

        listener.write("This is what I would do.".to_owned()).await;
        listener.proposal(&Proposal::Removals(removals)).await;
        listener.write("Take all away?".to_owned()).await;

        assert_eq!(answers.words(&caller, chat).as_deref(), Some("This is what I would do."));
        assert_eq!(listener.plan_words, "Take all away?");
    }
}
