//! Where an answer is written to, and how it ends.

use std::future::Future;

use crate::app::AppError;
use crate::event::OperationState;
use crate::id::OperationId;
use crate::llm::{LlmError, ToolCall, Usage};
use crate::reply::view::Proposal;
use crate::store::record::Deployment;

/// How an answer ended, besides its words.
#[derive(Debug, Clone, Default)]
pub struct Completion {
    /// The operation that it is about, and where it stood.
    pub operation: Option<(OperationId, OperationState)>,
    /// The deployment that it is about.
    pub deployment: Option<Deployment>,
    /// Why the model ended its answer; `stop` when the words are ours.
    pub finish_reason: Option<String>,
    /// What the model counted; nothing when the words are ours.
    pub usage: Option<Usage>,
    /// What the caller has to do before the answer goes on.
    pub caller_calls: Option<CallerCalls>,
}

/// Calls of the caller's own tools.
#[derive(Debug, Clone)]
pub enum CallerCalls {
    /// Of its `tools`.
    Tools(Vec<ToolCall>),
    /// Of one of its `functions`, the form before `tools`.
    Function(ToolCall),
}

/// Where an answer is written to.
pub trait AnswerSink: Send {
    /// Whether the answer is sent while it is made.
    fn is_streaming(&self) -> bool;
    /// Whether the answer may go on until somebody leaves: a log that is followed.
    fn is_followed(&self) -> bool {
        self.is_streaming()
    }
    /// Whether anything was written.
    fn has_content(&self) -> bool;
    /// Writes the next words.
    fn write(&mut self, text: String) -> impl Future<Output = ()> + Send;
    /// Tells what is going on, for a page with a place for it; nothing any more without a text.
    fn status(&mut self, description: Option<&str>) -> impl Future<Output = ()> + Send;
    /// Hears which operation the answer is going to tell of.
    fn operation(&mut self, _: OperationId) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
    /// Hears which plan the answer is going to show.
    fn proposal(&mut self, _: &Proposal) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
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
