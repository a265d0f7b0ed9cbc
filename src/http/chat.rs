//! `POST /v1/chat/completions`: understand, accept, answer.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::access::Caller;
use crate::app::App;
use crate::conversation::{Completion, Outcome, PendingAnswer};
use crate::http::body::JsonObject;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::limit::Streams;
use crate::http::models;
use crate::http::request_id::RequestId;
use crate::http::sse;
use crate::llm::Model;

pub mod buffered;
pub mod dispatch;
pub mod idempotency;
pub mod intake;
pub mod open_webui;
pub mod passthrough;
pub mod request;
pub mod schema;
pub mod stored;
pub mod stream;
pub mod wire;

use buffered::Buffered;
use intake::Intake;
use request::ChatRequest;
use stored::Keeper;
use stream::StreamResponder;
use wire::{ChatCompletion, CompletionMeta};

/// Answers a conversation: with words, or by carrying out what it asks for.
///
/// # Errors
/// [`ApiError`] when the request cannot be accepted. Work that fails is an answer.
#[utoipa::path(post, path = "/v1/chat/completions", tag = "chat", request_body = schema::ChatBody,
    responses((status = 200, content((ChatCompletion = "application/json"), (sse::Frame = "text/event-stream")),
            description = "The answer; with `stream` in chunks, one in the data of each event, and `[DONE]` in the last"),
        (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 408, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody),
        (status = 422, body = ErrorBody)))]
pub async fn complete(
    State(app): State<App>,
    State(streams): State<Streams>,
    caller: Caller,
    request_id: RequestId,
    headers: HeaderMap,
    JsonObject(mut body): JsonObject,
) -> Result<Response, ApiError> {
    let chat = ChatRequest::read(&body)?;
    models::find_for_chat(&app, &chat.model)?.preset(&mut body);
    let stream = if chat.stream { Some(StreamResponder::open(&streams, &chat, &headers, request_id)?) } else { None };
    let keeper = Keeper::of(&app, &caller, &body)?;
    let responder = Responder { chat, stream, keeper };
    match intake::take_in(&app, &caller, &headers, &responder.chat, body).await? {
        Intake::Passthrough(model, body) => responder.passthrough(&model, &body).await,
        Intake::BackgroundTask(body, text) => responder.background_task(&app, caller, &body, text).await,
        Intake::Answer(answer) => responder.respond(app, caller, *answer).await,
    }
}

/// How the answer is given: in one piece, or as a stream.
struct Responder {
    chat: ChatRequest,
    stream: Option<StreamResponder>,
    keeper: Option<Keeper>,
}

impl Responder {
    async fn respond(self, app: App, caller: Caller, answer: PendingAnswer) -> Result<Response, ApiError> {
        let meta = self.meta(wire::identity(answer.operation()));
        if let Some(stream) = self.stream {
            return Ok(stream.keeping(self.keeper).respond(meta, app, caller, answer));
        }
        let mut buffered = Buffered::default();
        // Boxed: axum moves the future of a handler several times, and this part of it is large.
        let completion = Box::pin(answer.render(&app, &caller, &mut buffered)).await?;
        let answer = ChatCompletion::new(&meta, buffered.text, completion);
        if let Some(keeper) = self.keeper {
            keeper.keep(&answer).await?;
        }
        Ok(Json(answer).into_response())
    }

    /// The answer of the model, as it gives it.
    async fn passthrough(self, model: &Model, body: &Map<String, Value>) -> Result<Response, ApiError> {
        let meta = self.new_meta();
        match self.stream {
            None => {
                let answer = passthrough::buffered(model, body, &meta).await?;
                if let Some(keeper) = self.keeper {
                    keeper.keep(&answer).await?;
                }
                Ok(Json(answer).into_response())
            }
            Some(stream) => {
                let chunks = passthrough::streamed(model, body, self.chat.include_usage).await?;
                Ok(stream.keeping(self.keeper).passthrough(meta, chunks))
            }
        }
    }

    /// What a chat page asks by itself: the model answers it, without any tool; `text` does when it cannot.
    async fn background_task(
        self,
        app: &App,
        caller: Caller,
        body: &Map<String, Value>,
        text: String,
    ) -> Result<Response, ApiError> {
        let meta = self.new_meta();
        let answered = match app.model() {
            Some(model) => passthrough::buffered(model, body, &meta).await.ok(),
            None => None,
        };
        match (answered, self.stream) {
            (Some(answer), None) => Ok(Json(answer).into_response()),
            (None, None) => Ok(Json(ChatCompletion::new(&meta, text, Completion::default())).into_response()),
            (answer, Some(stream)) => {
                let text = answer.and_then(ChatCompletion::into_text).unwrap_or(text);
                Ok(stream.respond(meta, app.clone(), caller, PendingAnswer::Outcome(Outcome::Text(text))))
            }
        }
    }

    fn new_meta(&self) -> CompletionMeta {
        self.meta(wire::identity(None))
    }

    fn meta(&self, (id, created): (Uuid, i64)) -> CompletionMeta {
        let chat = &self.chat;
        CompletionMeta {
            id: format!("chatcmpl-{}", id.simple()),
            created,
            model: chat.model.clone(),
            prompt_tokens: chat.tokens(),
        }
    }
}
