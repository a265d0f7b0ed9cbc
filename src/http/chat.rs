//! `POST /v1/chat/completions`: understand, accept, answer.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::app::App;
use crate::conversation::{self, Ask, Ending, Opening};
use crate::http::auth::Caller;
use crate::http::body::JsonObject;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::limit::Streams;
use crate::http::models;
use crate::http::request_id::RequestId;
use crate::llm::Model;

pub mod intake;
pub mod key;
pub mod page;
pub mod passage;
pub mod request;
pub mod stream;
pub mod whole;
pub mod wire;

use intake::Asked;
use request::ChatRequest;
use stream::Writer;
use whole::Whole;
use wire::{ChatCompletion, Head};

/// Answers a conversation: with words, or by carrying out what it asks for.
///
/// # Errors
/// [`ApiError`] when the request cannot be accepted. Work that fails is an answer.
#[utoipa::path(post, path = "/v1/chat/completions", tag = "chat", request_body = super::openapi::ChatBody,
    responses((status = 200, content((ChatCompletion = "application/json"), (super::openapi::Frame = "text/event-stream")),
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
    models::find(&chat.model)?.preset(&mut body);
    let writer = if chat.stream { Some(Writer::open(&streams, &chat, &headers, request_id)?) } else { None };
    let reply = Reply { chat, writer };
    if let Some(text) = page::background_answer(&headers, &reply.chat) {
        return reply.task(&app, &body, text).await;
    }
    let principal = caller.principal.clone();
    let opening = match intake::read(&body, &app)? {
        Asked::Model(model) => return reply.pass(&model, &body).await,
        Asked::Request(request) => {
            let key = key::of(&caller, &headers, &body, key::Subject::Fields(&request.intent))?;
            conversation::carry_out(&app, &principal, key, *request).await?
        }
        Asked::Conversation(facts, limits) => {
            let messages = reply.chat.messages.clone();
            let key = key::of(&caller, &headers, &body, key::Subject::Words(reply.chat.last_words()))?;
            conversation::open(&app, Ask { principal, key, messages, body, facts: *facts, limits }).await?
        }
    };
    reply.tell(app, opening).await
}

/// How the answer is given: whole, or through a writer.
struct Reply {
    chat: ChatRequest,
    writer: Option<Writer>,
}

impl Reply {
    async fn tell(self, app: App, opening: Opening) -> Result<Response, ApiError> {
        let head = match &opening {
            // Every answer about one operation has the same head, so that those who attach get the same answer.
            Opening::Operation(id) => {
                let began = id.uuid().get_timestamp().map_or(0, |it| it.to_unix().0);
                self.head(id.uuid(), i64::try_from(began).unwrap_or(0))
            }
            Opening::Words(_)
            | Opening::Plan(_)
            | Opening::Confirmation(_)
            | Opening::Report(_)
            | Opening::Model(_) => self.new_head(),
        };
        if let Some(writer) = self.writer {
            return Ok(writer.tell(head, app, opening));
        }
        let mut whole = Whole::default();
        // Boxed: the future is large, and the handler is copied around with it.
        let ending = Box::pin(opening.tell(&app, &mut whole)).await?;
        Ok(Json(ChatCompletion::new(&head, whole.text, ending)).into_response())
    }

    /// The answer of the model, as it gives it.
    async fn pass(self, model: &Model, body: &Map<String, Value>) -> Result<Response, ApiError> {
        let head = self.new_head();
        match self.writer {
            None => Ok(Json(passage::whole(model, body, &head).await?).into_response()),
            Some(writer) => {
                let chunks = passage::chunks(model, body, self.chat.include_usage).await?;
                Ok(writer.pass(head, chunks))
            }
        }
    }

    /// What a chat page asks by itself: the model answers it, without any tool; `text` does when it cannot.
    async fn task(self, app: &App, body: &Map<String, Value>, text: String) -> Result<Response, ApiError> {
        let head = self.new_head();
        let answered = match app.model() {
            Some(model) => passage::whole(model, &page::without_tools(body), &head).await.ok(),
            None => None,
        };
        match (answered, self.writer) {
            (Some(answer), None) => Ok(Json(answer).into_response()),
            (None, None) => Ok(Json(ChatCompletion::new(&head, text, Ending::default())).into_response()),
            (answer, Some(writer)) => {
                let text = answer.and_then(ChatCompletion::into_text).unwrap_or(text);
                Ok(writer.tell(head, app.clone(), Opening::Words(text)))
            }
        }
    }

    fn new_head(&self) -> Head {
        self.head(Uuid::now_v7(), Timestamp::now().as_second())
    }

    fn head(&self, id: Uuid, created: i64) -> Head {
        let chat = &self.chat;
        Head {
            id: format!("chatcmpl-{}", id.simple()),
            created,
            model: chat.model.clone(),
            prompt_tokens: chat.tokens(),
        }
    }
}
