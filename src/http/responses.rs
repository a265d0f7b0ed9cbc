//! `POST /v1/responses`: OpenAI's Responses API, a second surface of the same conversation.
//!
//! It translates and decides nothing: a request becomes the same request of chat completions (`translation`), goes the same
//! way in (`chat::intake`), and its answer becomes items and events (`object`).

use axum::Json;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use crate::access::Caller;
use crate::app::App;
use crate::conversation::{Outcome, PendingAnswer, passthrough_prompt};
use crate::http::body::JsonObject;
use crate::http::chat::intake::{self, Intake};
use crate::http::chat::passthrough;
use crate::http::chat::request::ChatRequest;
use crate::http::chat::wire;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::limit::{OpenStream, Streams};
use crate::http::models;
use crate::http::request_id::RequestId;
use crate::http::sse;

pub mod item;
pub mod live;
pub mod making;
pub mod object;
pub mod record;
pub mod schema;
pub mod stored;
pub mod tool;
pub mod translation;

use live::{LiveGuard, LiveResponses, frame};
use making::{Making, Work};
use object::{ResponseBuilder, response_id};
use record::{Record, StoredResponse};
use schema::{ResponseObject, ResponsesBody};
use translation::ResponsesRequest;

/// Answers what is said: with words, or by carrying out what it asks for.
///
/// # Errors
/// [`ApiError`] when the request cannot be accepted. Work that fails is an answer.
#[utoipa::path(post, path = "/v1/responses", tag = "responses", request_body = ResponsesBody,
    responses((status = 200, content((ResponseObject = "application/json"), (sse::Frame = "text/event-stream")),
            description = "The response; with `stream` as events, and `[DONE]` in the last"),
        (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 408, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody),
        (status = 422, body = ErrorBody)))]
pub async fn create(
    State(app): State<App>,
    State(streams): State<Streams>,
    State(live): State<LiveResponses>,
    caller: Caller,
    request_id: RequestId,
    headers: HeaderMap,
    JsonObject(body): JsonObject,
) -> Result<Response, ApiError> {
    let mut request = ResponsesRequest::read(body.clone())?;
    let before = stored::context(&app, &live, &caller, &mut request).await?;
    request.check_calls(&before)?;
    let mut chat_body = request.to_chat(&before);
    let chat = ChatRequest::read(&chat_body)?;
    models::find_for_chat(&app, &chat.model)?.preset(&mut chat_body);
    let open = if request.stream || request.background { Some(streams.open()?) } else { None };
    let taken = intake::take_in(&app, &caller, &headers, &chat, chat_body).await.map_err(own_names)?;
    let work = work(&app, taken, request.stream).await?;

    let operations = if let Work::Answer(answer) = &work { answer.operations() } else { Vec::new() };
    let (id, created) = wire::identity(operations.first().copied().filter(|_| operations.len() == 1));
    if request.store
        && !operations.is_empty()
        && let Some(stored) = stored::settled(&app, &caller, id).await?
    {
        return Ok(match open {
            Some(open) if request.stream => stored::told_again(id, &stored, 0, open),
            Some(_) | None => Json(stored.object).into_response(),
        });
    }
    let guard = match &open {
        Some(_) if request.store => live.begin(&caller, &response_id(id)),
        Some(_) | None => None,
    };
    let is_alone = guard.is_none();
    let builder = ResponseBuilder::new(id, created, request.echo(), request.tools.custom.clone(), chat.tokens());
    let input = item::listed(&request.input, id);
    let record = request.store.then(|| Record::new(&app, id, &body, input, operations));
    let guard = guard.unwrap_or_else(LiveGuard::alone);
    let (background, streaming) = (request.background, open.is_some());
    let mut making = Making { app, caller, request_id, builder, guard, record, background, streaming };
    match open {
        None => Ok(Json(Box::pin(making.whole(work)).await?).into_response()),
        Some(open) if request.stream => {
            making.begin().await?;
            Ok(streamed(making, work, open))
        }
        Some(open) => {
            making.begin().await?;
            let (app, caller) = (making.app.clone(), making.caller.clone());
            // The same request, sent before, is at it already.
            let is_told_elsewhere = is_alone && live.get(&caller, &response_id(id)).is_some();
            if !is_told_elsewhere {
                tokio::spawn(
                    async move {
                        let _open = open;
                        making.tell_all(work).await;
                    }
                    .in_current_span(),
                );
            }
            let stored = StoredResponse::load(&app, &caller, id).await?;
            let stored = stored.ok_or_else(|| ApiError::ResponseNotFound { id: response_id(id), param: None })?;
            Ok(Json(stored::shown_object(&app, &caller, stored).await?).into_response())
        }
    }
}

/// What the answer comes from.
async fn work(app: &App, taken: Intake, stream: bool) -> Result<Work, ApiError> {
    Ok(match taken {
        Intake::Answer(answer) => Work::Answer(answer),
        Intake::Passthrough(model, body) if stream => {
            Work::Chunks(passthrough::streamed(&model, &body, true).await.map_err(own_names)?.boxed())
        }
        Intake::Passthrough(model, body) => Work::Whole(model, body),
        Intake::BackgroundTask(body, text) => {
            let said = match app.model() {
                Some(model) => model.complete(&passthrough_prompt(model, &body)).await.ok(),
                None => None,
            };
            let text = said.map_or(text, |it| it.text().to_owned());
            Work::Answer(Box::new(PendingAnswer::Outcome(Outcome::Text(text))))
        }
    })
}

/// The events of a response as they come. One that is kept goes on when its client leaves, unless it has no end of its own.
fn streamed(making: Making, work: Work, open: OpenStream) -> Response {
    let events = making.guard.live().follow(0);
    let is_detached = making.record.is_some() && !work.is_endless();
    let task = tokio::spawn(making.tell_all(work).in_current_span());
    let task = if is_detached { None } else { Some(AbortOnDropHandle::new(task)) };
    let frames = events.map(frame).chain(stream::iter([sse::done()])).map(move |frame| {
        let _ = &task;
        frame
    });
    sse::respond(frames, open)
}

/// An error about a field that has another name here.
fn own_names(error: ApiError) -> ApiError {
    if let ApiError::NoChatModel { param: "response_format" } = error {
        ApiError::NoChatModel { param: "text.format" }
    } else {
        error
    }
}

/// What OpenAI has beside it and this server does not serve.
pub async fn unserved(request: Request) -> ApiError {
    let path: String = request.uri().path().chars().take(80).collect();
    ApiError::RouteNotFound(format!("{} {path}", request.method()))
}
