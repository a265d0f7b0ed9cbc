//! The way in of every surface: what a request comes to, whatever API it was sent to.

use axum::http::HeaderMap;
use serde_json::{Map, Value};

use crate::access::Caller;
use crate::app::App;
use crate::conversation::{self, ConversationRequest, PendingAnswer};
use crate::http::chat::dispatch::{self, Dispatch};
use crate::http::chat::request::ChatRequest;
use crate::http::chat::{idempotency, open_webui};
use crate::http::error::ApiError;
use crate::intent::{Confirmation, Request};
use crate::llm::Model;

/// What a request came to.
pub enum Intake {
    /// An answer that is yet to be given.
    Answer(Box<PendingAnswer>),
    /// The caller's own use of the model, with this request.
    Passthrough(Model, Map<String, Value>),
    /// Something that a chat page asks by itself: the model answers this request, without any tool; the text does when it
    /// cannot.
    BackgroundTask(Map<String, Value>, String),
}

/// Takes a request in.
///
/// # Errors
/// [`ApiError`] when it cannot be accepted.
pub async fn take_in(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    chat: &ChatRequest,
    body: Map<String, Value>,
) -> Result<Intake, ApiError> {
    if let Some(text) = open_webui::background_answer(headers, chat) {
        return Ok(Intake::BackgroundTask(open_webui::without_tools(&body), text));
    }
    match dispatch::dispatch(chat, &body, app)? {
        Dispatch::Passthrough(model) => Ok(Intake::Passthrough(model, body)),
        Dispatch::Request(request) => {
            let key = idempotency::request_key(caller, headers, &body, idempotency::KeyBasis::Fields(&request.intent))?;
            let request = with_agreement(caller, chat, *request);
            let outcome = conversation::execute(app, caller, Some(key), request).await?;
            Ok(Intake::Answer(Box::new(PendingAnswer::Outcome(outcome))))
        }
        Dispatch::Conversation(fields, limits) => {
            let messages = chat.messages.clone();
            let basis = idempotency::KeyBasis::Words(chat.last_words());
            let key = idempotency::request_key(caller, headers, &body, basis)?;
            let caller = caller.clone();
            let conversation = ConversationRequest { caller, key, messages, body, fields: *fields, limits };
            Ok(Intake::Answer(Box::new(conversation::answer(app, conversation).await?)))
        }
    }
}

/// A key that asks acts by fields, too, when the conversation ends with a person's yes to the plan that was shown.
fn with_agreement(caller: &Caller, chat: &ChatRequest, request: Request) -> Request {
    match conversation::agreed_plan(&chat.messages).filter(|_| caller.asks) {
        Some(plan) => Request { confirmation: Confirmation::Agreed(plan), ..request },
        None => request,
    }
}
