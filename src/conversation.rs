//! A conversation: from what is said to what is done, and to the words that answer it.
//!
//! Without a model, sentences are read (`intent::sentence`) and answered in the built-in words. With one, it has the
//! word (`tool_loop`): what this server can do is offered to it as tools, its calls are checked like any other request,
//! and what became of them goes back to it for the final wording. Tools that the caller brings are offered beside them
//! (`caller_tools`); what the caller does not know of such a conversation is kept for its next request (`tool_round`).
//! Whatever the model does, two things stay here: what is done at all, and what is asked first (`confirmation`). When
//! it fails, the built-in words carry on.
//!
//! `refusal` says what stands in the way of what was said; `render` puts into words what became of a request, as it
//! happens or at the end; `model_options` says which fields of a request are for the model.

use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::access::Caller;
use crate::app::{App, AppError};
use crate::id::OperationId;
use crate::intent::Intent;
use crate::intent::sentence::Reading;
use crate::llm::{Model, Prompt};
use crate::reply::view::Report;
use crate::store::operations::KeyKind;

mod answer;
mod caller_tools;
mod confirmation;
pub mod model_options;
mod outcome;
mod prompt;
mod refusal;
mod render;
mod request;
mod tool_loop;
mod tool_round;

pub use answer::{AnswerError, AnswerSink, CallerCalls, Completion};
pub use confirmation::agreed_plan;
pub use outcome::{Outcome, execute};
pub use request::{ConversationRequest, Message};
pub use tool_loop::ToolLoop;

use outcome::answer_without_model;
use tool_round::ToolRounds;

/// An answer that is yet to be given.
#[derive(Debug)]
pub enum PendingAnswer {
    /// What came of a request by fields is put into words.
    Outcome(Outcome),
    /// The same for what was said: also what stands in its way is an answer.
    Spoken(Outcome),
    /// The model has the word.
    ToolLoop(Box<ToolLoop>),
}

impl PendingAnswer {
    /// Writes the answer, to its end.
    ///
    /// # Errors
    /// [`AnswerError`] when the answer breaks off.
    pub async fn render<S: AnswerSink>(
        self,
        app: &App,
        caller: &Caller,
        sink: &mut S,
    ) -> Result<Completion, AnswerError> {
        let rendered = match self {
            Self::Outcome(outcome) => return outcome.render(app, caller, sink).await,
            Self::Spoken(outcome) => outcome.render(app, caller, sink).await,
            Self::ToolLoop(tool_loop) => {
                let until = Instant::now() + app.settings().server.answer_within;
                tool_loop.run(app, until, sink).await
            }
        };
        match rendered {
            Err(AnswerError::App(error)) => {
                sink.write(refusal::in_words(error)?).await;
                Ok(Completion::default())
            }
            rendered => rendered,
        }
    }

    /// Whether it goes on until somebody leaves: a log that is followed.
    #[must_use]
    pub fn is_endless(&self) -> bool {
        match self {
            Self::Outcome(outcome) | Self::Spoken(outcome) => {
                matches!(outcome, Outcome::Report(Report::Logs { follow: true, .. }))
            }
            Self::ToolLoop(_) => false,
        }
    }

    /// The one operation that it is about.
    #[must_use]
    pub fn operation(&self) -> Option<OperationId> {
        match self {
            Self::Outcome(Outcome::Operation(id)) | Self::Spoken(Outcome::Operation(id)) => Some(*id),
            Self::Outcome(_) | Self::Spoken(_) | Self::ToolLoop(_) => None,
        }
    }

    /// All operations that it is known to be about.
    #[must_use]
    pub fn operations(&self) -> Vec<OperationId> {
        match self {
            Self::Outcome(Outcome::Operations(ids)) | Self::Spoken(Outcome::Operations(ids)) => ids.clone(),
            Self::Outcome(_) | Self::Spoken(_) | Self::ToolLoop(_) => self.operation().into_iter().collect(),
        }
    }
}

/// Takes in what is said.
///
/// # Errors
/// [`AppError`] when the request itself cannot be accepted. What stands in the way of what is said is an answer.
pub async fn answer(app: &App, conversation: ConversationRequest) -> Result<PendingAnswer, AppError> {
    match understand(app, conversation).await {
        Err(error) => refusal::in_words(error).map(|text| PendingAnswer::Spoken(Outcome::Text(text))),
        answer => answer,
    }
}

async fn understand(app: &App, conversation: ConversationRequest) -> Result<PendingAnswer, AppError> {
    // A model may read the same message differently the second time, so the key of a header, of a chat or of a declared
    // retry attaches before the model is asked; the hash of a body is looked up when the request is carried out.
    // What goes on with the results of a caller's tools has the key of the request before, and is another one.
    let may_be_known = app.model().is_some()
        && conversation.key.kind != KeyKind::Hash { is_retry: false }
        && !conversation.reads_tool_results();
    if may_be_known {
        let before = app.operations_for_key(&conversation.caller, &conversation.key).await?;
        if !before.is_empty() {
            return Ok(PendingAnswer::Spoken(Outcome::from_operations(before)));
        }
    }
    let agreed = match app.model() {
        Some(_) => confirmation::agreed_call(app, &conversation).await?,
        None => None,
    };
    if agreed.is_none()
        && let Some(outcome) = confirmation::confirm(app, &conversation).await?
    {
        return Ok(PendingAnswer::Spoken(outcome));
    }
    match app.model() {
        // A tool changes one deployment. The removal of all is asked back in any case, so it needs no model.
        Some(_) if removes_all(app, &conversation).await? => {
            answer_without_model(app, &conversation).await.map(PendingAnswer::Spoken)
        }
        Some(model) => {
            let rounds = ToolRounds::load(app, &conversation).await?;
            Ok(PendingAnswer::ToolLoop(Box::new(ToolLoop::new(model.clone(), conversation, &rounds, agreed))))
        }
        None => answer_without_model(app, &conversation).await.map(PendingAnswer::Spoken),
    }
}

/// Whether a plain sentence asks for the removal of all deployments that fit.
async fn removes_all(app: &App, conversation: &ConversationRequest) -> Result<bool, AppError> {
    let reading = outcome::read(app, conversation, &conversation.messages).await?;
    Ok(matches!(reading, Reading::Request(request) if matches!(request.intent, Intent::DecommissionAll(_))))
}

/// What the model is told when a request passes through as it is.
#[must_use]
pub fn passthrough_prompt(model: &Model, body: &Map<String, Value>) -> Prompt {
    prompt::for_passthrough(model, body)
}
