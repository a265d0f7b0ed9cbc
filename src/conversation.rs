//! A conversation: from what is said to what is done, and to the words that answer it.
//!
//! Without a model, sentences are read (`intent::sentence`) and answered in the built-in words. With one, it has the
//! word (`tool_loop`): what this server can do is offered to it as tools, its calls are checked like any other request,
//! and what became of them goes back to it for the final wording. Whatever the model does, two things stay here: what
//! is done at all, and what is asked first (`confirmation`). When it fails, the built-in words carry on.
//!
//! `render` puts into words what became of a request, as it happens or at the end; `model_options` says which fields of
//! a request are for the model.

use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::app::{App, AppError};
use crate::llm::{Model, Prompt};
use crate::store::operations::KeyKind;

mod answer;
mod confirmation;
pub mod model_options;
mod outcome;
mod prompt;
mod render;
mod request;
mod tool_loop;

pub use answer::{AnswerError, AnswerSink, Completion};
pub use outcome::{Outcome, execute};
pub use request::{ConversationRequest, Message};
pub use tool_loop::ToolLoop;

use outcome::answer_without_model;

/// An answer that is yet to be given.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one per request, and it is taken apart at once")]
pub enum PendingAnswer {
    /// What came of the request is put into words.
    Outcome(Outcome),
    /// The model has the word.
    ToolLoop(Box<ToolLoop>),
}

impl PendingAnswer {
    /// Writes the answer, to its end.
    ///
    /// # Errors
    /// [`AnswerError`] when the answer breaks off.
    pub async fn render<S: AnswerSink>(self, app: &App, sink: &mut S) -> Result<Completion, AnswerError> {
        match self {
            Self::Outcome(outcome) => outcome.render(app, sink).await,
            Self::ToolLoop(tool_loop) => {
                let until = Instant::now() + app.settings().server.answer_within;
                tool_loop.run(app, until, sink).await
            }
        }
    }
}

/// Takes in what is said.
///
/// # Errors
/// [`AppError`] says why it cannot be carried out. With a model, that is something to talk about instead.
pub async fn answer(app: &App, conversation: ConversationRequest) -> Result<PendingAnswer, AppError> {
    // A model may read the same message differently the second time, so the key of a header, of a chat or of a declared
    // retry attaches before the model is asked; the hash of a body is looked up when the request is carried out.
    let may_be_known = app.model().is_some() && conversation.key.kind != KeyKind::Hash { is_retry: false };
    if may_be_known && let Some(id) = app.operation_for_key(&conversation.principal, &conversation.key).await? {
        return Ok(PendingAnswer::Outcome(Outcome::Operation(id)));
    }
    if let Some(outcome) = confirmation::confirm(app, &conversation).await? {
        return Ok(PendingAnswer::Outcome(outcome));
    }
    match app.model() {
        Some(model) => Ok(PendingAnswer::ToolLoop(Box::new(ToolLoop::new(model.clone(), conversation)))),
        None => answer_without_model(app, &conversation).await.map(PendingAnswer::Outcome),
    }
}

/// What the model is told when a request passes through as it is.
#[must_use]
pub fn passthrough_prompt(model: &Model, body: &Map<String, Value>) -> Prompt {
    prompt::for_passthrough(model, body)
}
