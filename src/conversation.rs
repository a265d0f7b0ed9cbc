//! A conversation: from what is said to what is done, and to the words that answer it.
//!
//! Without a model, sentences are read (`intent::sentence`) and answered in the built-in words. With one, it has the
//! word (`tool_loop`): what this server can do is offered to it as tools, its calls are checked like any other request,
//! and what became of them goes back to it for the final wording. Whatever the model does, two things stay here: what
//! is done at all, and what is asked first (`confirmation`). When it fails, the built-in words carry on.
//!
//! `render` puts into words what became of a request, as it happens or at the end; `model_options` says which fields of
//! a request are for the model.

use std::future::Future;

use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::app::{Accepted, App, AppError};
use crate::event::OperationState;
use crate::id::OperationId;
use crate::intent::partial::PartialRequest;
use crate::intent::sentence::{self, Reading, Role};
use crate::intent::{Limits, Request, question};
use crate::llm::{LlmError, Model, Prompt, Usage};
use crate::reply::view::{PlanView, Report};
use crate::store::operations::{KeyKind, RequestKey};
use crate::store::record::Deployment;

mod confirmation;
pub mod model_options;
mod prompt;
mod tool_loop;
mod render;

use tool_loop::ToolLoop;

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Who said it.
    pub role: Role,
    /// The text of all its parts.
    pub text: String,
}

/// What a person says, with all that came before.
#[derive(Debug, Clone)]
pub struct ConversationRequest {
    /// Who asks.
    pub principal: String,
    /// By what the same request is recognised when it is sent again.
    pub key: RequestKey,
    /// The conversation, what is said now last.
    pub messages: Vec<Message>,
    /// The request as it came: `model_options` says what of it the model gets.
    pub body: Map<String, Value>,
    /// Explicit fields, which complete what is said.
    pub fields: PartialRequest,
    /// What a request may ask for.
    pub limits: Limits,
}

/// What came of a request, or who answers it.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one per request, and it is taken apart at once")]
pub enum Outcome {
    /// There is something to say, and no more.
    Text(String),
    /// An operation was begun, or the same request was sent before.
    Operation(OperationId),
    /// A plan was asked for.
    Plan(PlanView),
    /// A plan has to be confirmed before it is carried out.
    Confirmation(PlanView),
    /// Something was looked up.
    Report(Report),
    /// The model has the word.
    ToolLoop(Box<ToolLoop>),
}

/// How an answer ended, besides its words.
#[derive(Debug, Default)]
pub struct Completion {
    /// The operation that it is about, and where it stood.
    pub operation: Option<(OperationId, OperationState)>,
    /// The deployment that it is about.
    pub deployment: Option<Deployment>,
    /// Why the model ended its answer; `stop` when the words are ours.
    pub finish_reason: Option<String>,
    /// What the model counted; nothing when the words are ours.
    pub usage: Option<Usage>,
}

/// Where an answer is written to.
pub trait AnswerSink: Send {
    /// Whether the answer is sent while it is made.
    fn is_streaming(&self) -> bool;
    /// Whether anything was written.
    fn has_content(&self) -> bool;
    /// Writes the next words.
    fn write(&mut self, text: String) -> impl Future<Output = ()> + Send;
    /// Tells what is going on, for a page with a place for it; nothing any more without a text.
    fn status(&mut self, description: Option<&str>) -> impl Future<Output = ()> + Send;
}

/// Says why an answer broke off, or was not begun.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// What was asked for cannot be carried out.
    #[error(transparent)]
    App(#[from] AppError),
    /// The model refuses what the caller sent to it.
    #[error(transparent)]
    Model(#[from] LlmError),
}

/// Takes in what is said.
///
/// # Errors
/// [`AppError`] says why it cannot be carried out. With a model, that is something to talk about instead.
pub async fn answer(app: &App, conversation: ConversationRequest) -> Result<Outcome, AppError> {
    // A model may read the same message differently the second time, so the key of a header, of a chat or of a declared
    // retry attaches before the model is asked; the hash of a body is looked up when the request is carried out.
    let may_be_known = app.model().is_some() && conversation.key.kind != KeyKind::Hash { is_retry: false };
    if may_be_known && let Some(id) = app.operation_for_key(&conversation.principal, &conversation.key).await? {
        return Ok(Outcome::Operation(id));
    }
    if let Some(outcome) = confirmation::confirm(app, &conversation).await? {
        return Ok(outcome);
    }
    match app.model() {
        Some(model) => Ok(Outcome::ToolLoop(Box::new(ToolLoop::new(model.clone(), conversation)))),
        None => answer_without_model(app, &conversation).await,
    }
}

/// Carries out a request, or says what stands before it.
///
/// # Errors
/// [`AppError`] says why it cannot be carried out.
pub async fn execute(app: &App, principal: &str, key: RequestKey, request: Request) -> Result<Outcome, AppError> {
    // Boxed: the future of `App::accept` holds the state of all that it awaits, and every caller that awaits it by
    // value would hold that state in its own future.
    Ok(match Box::pin(app.accept(principal, Some(key), request)).await? {
        Accepted::Operation { id, attached: _ } => Outcome::Operation(id),
        Accepted::Plan(plan) => Outcome::Plan(plan),
        Accepted::Unconfirmed(plan) => Outcome::Confirmation(plan),
        Accepted::Report(report) => Outcome::Report(report),
    })
}

/// Reads what is said without a model, and carries it out.
async fn answer_without_model(app: &App, conversation: &ConversationRequest) -> Result<Outcome, AppError> {
    match sentence::read(&turns(&conversation.messages), &conversation.fields, &conversation.limits) {
        Reading::Request(request) => execute(app, &conversation.principal, conversation.key.clone(), request).await,
        Reading::Question(question) => Ok(Outcome::Text(question.text())),
        Reading::Help => Ok(Outcome::Text(question::help())),
        Reading::Unclear(unclear) => Ok(Outcome::Text(unclear.text())),
    }
}

/// What the model is told when a request passes through as it is.
#[must_use]
pub fn passthrough_prompt(model: &Model, body: &Map<String, Value>) -> Prompt {
    prompt::for_passthrough(model, body)
}

fn turns(messages: &[Message]) -> Vec<sentence::Turn<'_>> {
    messages.iter().map(|it| sentence::Turn { role: it.role, text: it.without_context() }).collect()
}

impl Message {
    /// What was said, without the documents that Open WebUI puts before the question as `<context>...</context>`. The
    /// last `</context>` counts, because a document may hold one itself, so that its text passes for the person's
    /// words.
    fn without_context(&self) -> &str {
        const MARKS: (&str, &str) = ("<context>", "</context>");
        let text = self.text.as_str();
        let Some(begin) = text.find(MARKS.0).filter(|_| self.role == Role::User) else { return text };
        let after = text.rfind(MARKS.1).filter(|end| *end > begin).map(|end| text[end + MARKS.1.len()..].trim());
        after.filter(|it| !it.is_empty()).unwrap_or(&text[..begin])
    }
}

impl ConversationRequest {
    /// Secrets that came with the request.
    fn secrets(&self) -> impl Iterator<Item = &SecretString> {
        let aws = self.fields.aws.iter().flat_map(|it| {
            [Some(&it.access_key_id), Some(&it.secret_access_key), it.session_token.as_ref()].into_iter().flatten()
        });
        let environment = self.fields.environment.iter().flat_map(|it| it.values());
        self.fields.git_token.iter().chain(environment).chain(aws)
    }
}
