//! Stored responses: show, follow, list what was said, cancel, delete; and the chain that a new one goes on from.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use serde::Serialize;
use serde_json::{Value, json};
use tracing::Instrument;
use uuid::Uuid;

use crate::access::Caller;
use crate::app::{App, AppError};
use crate::conversation::{Outcome, PendingAnswer};
use crate::event::OperationState;
use crate::http::chat::wire::{self, OperationLink};
use crate::http::error::{ApiError, ErrorBody, ErrorObject};
use crate::http::kept;
use crate::http::limit::{OpenStream, Streams};
use crate::http::list::{List, ListQuery};
use crate::http::path::PathId;
use crate::http::request_id::RequestId;
use crate::http::responses::item;
use crate::http::responses::live::{LiveGuard, LiveResponses, frame};
use crate::http::responses::making::{Making, Work};
use crate::http::responses::object::{ResponseBuilder, parse_response_id, replay, response_id};
use crate::http::responses::record::{Record, StoredResponse};
use crate::http::responses::schema::ResponseObject;
use crate::http::responses::translation::ResponsesRequest;
use crate::http::sse;
use crate::id::OperationId;
use crate::store::stored_answers::AnswerKind;

/// So many responses of one conversation are gone back.
const MAX_CHAIN: usize = 500;
/// So much of what they say, as JSON.
const MAX_CHAIN_BYTES: usize = 8 << 20;
/// How long a request waits for the end of the response that it goes on from, when only its words are left to be told.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What `DELETE` answers.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct DeletedResponse {
    id: String,
    /// Always `response`.
    #[schema(value_type = String)]
    object: &'static str,
    deleted: bool,
}

/// What was said before a request: the chain of responses that it goes on from. Puts the items that it refers to in
/// their places.
///
/// # Errors
/// [`ApiError::ResponseNotFound`] when one of them is not stored for the caller.
pub async fn context(
    app: &App,
    live: &LiveResponses,
    caller: &Caller,
    request: &mut ResponsesRequest,
) -> Result<Vec<Value>, ApiError> {
    let mut chain = Vec::new();
    let mut previous = request.previous.clone();
    let mut size = 0;
    while let Some(id) = previous {
        let (_, stored) = Box::pin(ended(app, live, caller, &id)).await.map_err(|error| {
            if let ApiError::ResponseNotFound { id, .. } = error {
                ApiError::ResponseNotFound { id, param: Some("previous_response_id") }
            } else {
                error
            }
        })?;
        if !stored.is_ended() {
            let message = format!("response `{id}` has not ended yet: wait for it, or cancel it");
            return Err(ApiError::Conflict { param: Some("previous_response_id"), message });
        }
        previous = stored.object["previous_response_id"].as_str().map(str::to_owned);
        let items = stored.into_items();
        size += serde_json::to_string(&items).map_or(0, |it| it.len());
        chain.push(items);
        if chain.len() > MAX_CHAIN || size > MAX_CHAIN_BYTES {
            let message = "the conversation before `previous_response_id` is too long: begin a new one".to_owned();
            return Err(ApiError::invalid("previous_response_id", message));
        }
    }
    resolve(app, caller, request, MAX_CHAIN_BYTES.saturating_sub(size)).await?;
    Ok(chain.into_iter().rev().flatten().collect())
}

/// Puts items in the places that stand for them, as long as all of them together fit into `room` bytes.
async fn resolve(app: &App, caller: &Caller, request: &mut ResponsesRequest, mut room: usize) -> Result<(), ApiError> {
    let wanted: Vec<String> = request.references().map(str::to_owned).collect();
    let mut responses: HashMap<Uuid, Vec<Value>> = HashMap::new();
    let mut found = HashMap::new();
    for id in wanted {
        let not_found = || ApiError::ResponseNotFound { id: shown(&id), param: Some("input") };
        let response = item::response_of(&id).ok_or_else(not_found)?;
        if let Entry::Vacant(entry) = responses.entry(response) {
            let stored = StoredResponse::load(app, caller, response).await?.ok_or_else(not_found)?;
            entry.insert(stored.into_items());
        }
        let item = responses[&response].iter().find(|it| it["id"] == *id).cloned().ok_or_else(not_found)?;
        room = room.checked_sub(item.to_string().len()).ok_or_else(|| {
            ApiError::invalid("input", "the items that `input` refers to are too long together; send fewer")
        })?;
        found.insert(id, item);
    }
    request.resolve(|id| found.get(id).cloned());
    Ok(())
}

/// Shows a response as it stands; with `stream` the events that tell of it, also of one that is being made.
///
/// # Errors
/// [`ApiError::ResponseNotFound`].
#[utoipa::path(get, path = "/v1/responses/{id}", tag = "responses",
    params(("id" = String, Path, description = "Id of the response"),
        ("stream" = Option<bool>, Query, description = "Its events instead"),
        ("starting_after" = Option<u64>, Query, description = "Only events after this number")),
    responses((status = 200, content((ResponseObject = "application/json"), (sse::Frame = "text/event-stream"))),
        (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub async fn show(
    State(app): State<App>,
    State(streams): State<Streams>,
    State(live): State<LiveResponses>,
    caller: Caller,
    request_id: RequestId,
    PathId(id): PathId,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let stream = query.read("stream", "`true` or `false`", |text| text.parse::<bool>().ok())?.unwrap_or(false);
    let after = query.read("starting_after", "the number of an event", |text| text.parse::<usize>().ok())?;
    let (uuid, stored) = current(&app, &live, &caller, &id).await?;
    if !stream {
        return Ok(Json(shown_object(&app, &caller, stored).await?).into_response());
    }
    let open = streams.open()?;
    let from = after.map_or(0, |it| it.saturating_add(1));
    if stored.is_ended() {
        return Ok(told_again(uuid, &stored, from, open));
    }
    let making = match live.get(&caller, &response_id(uuid)) {
        Some(making) => making,
        None => match live.begin(&caller, &response_id(uuid)) {
            Some(guard) => {
                let making = guard.live().clone();
                carry_on(app, caller, request_id, guard, uuid, stored);
                making
            }
            // Another request was faster.
            None => live.get(&caller, &response_id(uuid)).ok_or_else(|| not_found(&id))?,
        },
    };
    Ok(sse::respond(making.follow(from).map(frame).chain(stream::iter([sse::done()])), open))
}

/// Forgets a response. What it began goes on, and stays.
///
/// # Errors
/// [`ApiError::ResponseNotFound`].
#[utoipa::path(delete, path = "/v1/responses/{id}", tag = "responses",
    params(("id" = String, Path, description = "Id of the response")),
    responses((status = 200, body = DeletedResponse), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub async fn delete(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId,
) -> Result<Json<DeletedResponse>, ApiError> {
    let uuid = parse_response_id(&id).ok_or_else(|| not_found(&id))?;
    let id = response_id(uuid);
    if app.delete_answer(&caller, AnswerKind::Response, &id).await? {
        return Ok(Json(DeletedResponse { id, object: "response", deleted: true }));
    }
    Err(not_found(&id))
}

/// Lists what was said to a response, the last first.
///
/// # Errors
/// [`ApiError::ResponseNotFound`], or what is wrong with the query.
#[utoipa::path(get, path = "/v1/responses/{id}/input_items", tag = "responses",
    params(("id" = String, Path, description = "Id of the response"),
        ("limit" = Option<u32>, Query, description = "How many, from 1 to 100"),
        ("after" = Option<String>, Query, description = "`last_id` of the page before"),
        ("order" = Option<String>, Query, description = "`desc`, or `asc` for the first first")),
    responses((status = 200, body = List<Value>), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub async fn input_items(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId,
    query: ListQuery,
) -> Result<Json<List<Value>>, ApiError> {
    let order = |text: &str| ["asc", "desc"].contains(&text).then(|| text == "desc");
    let newest_first = query.read("order", "`asc` or `desc`", order)?.unwrap_or(true);
    let page = query.page("the id of an item", |text| Ok::<_, ApiError>(text.to_owned()))?;
    let mut items = load(&app, &caller, &id).await?.input;
    if newest_first {
        items.reverse();
    }
    kept::page(items, &page, |it| it["id"].as_str().unwrap_or_default().to_owned()).map(Json)
}

/// Cancels what a response has begun; what its operation did is taken back. One that has ended stays as it is.
///
/// # Errors
/// [`ApiError::ResponseNotFound`], or why the operation cannot be cancelled.
#[utoipa::path(post, path = "/v1/responses/{id}/cancel", tag = "responses",
    params(("id" = String, Path, description = "Id of the response")),
    responses((status = 200, body = ResponseObject), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub async fn cancel(
    State(app): State<App>,
    State(live): State<LiveResponses>,
    caller: Caller,
    PathId(id): PathId,
) -> Result<Json<Value>, ApiError> {
    let (uuid, stored) = current(&app, &live, &caller, &id).await?;
    if stored.is_ended() {
        return Ok(Json(shown_object(&app, &caller, stored).await?));
    }
    let making = live.get(&caller, &response_id(uuid));
    let mark = |is_cancelled: bool| {
        if let Some(making) = &making {
            making.is_cancelled.store(is_cancelled, Ordering::Relaxed);
        }
    };
    let mut is_cancelled = stored.operations.is_empty();
    for operation in &stored.operations {
        if state_of(&app, &caller, *operation).await?.is_some_and(|it| !it.is_ended()) {
            // Before, so that whoever tells of its end knows.
            mark(true);
            if let Err(error) = app.cancel(&caller, *operation).await {
                mark(false);
                return Err(error.into());
            }
            is_cancelled = true;
        }
    }
    if stored.operations.is_empty()
        && let Some(making) = &making
    {
        mark(true);
        making.abort.cancel();
    }
    let _writing = match &making {
        Some(making) => Some(making.writing.lock().await),
        None => None,
    };
    // It may have ended meanwhile, by itself.
    let stored = StoredResponse::load(&app, &caller, uuid).await?.ok_or_else(|| not_found(&id))?;
    if stored.is_ended() || !is_cancelled {
        return Ok(Json(shown_object(&app, &caller, stored).await?));
    }
    let stored = StoredResponse { cancelled: true, ..stored };
    stored.update(&app, &caller, uuid).await?;
    Ok(Json(shown_object(&app, &caller, stored).await?))
}

/// As [`current`]; one of which all is done but the last words is waited for.
async fn ended(app: &App, live: &LiveResponses, caller: &Caller, id: &str) -> Result<(Uuid, StoredResponse), ApiError> {
    let (uuid, stored) = current(app, live, caller, id).await?;
    if stored.is_ended() || !states(app, caller, &stored).await?.iter().all(|it| it.is_ended()) {
        return Ok((uuid, stored));
    }
    if let Some(making) = live.get(caller, &response_id(uuid)) {
        // Too long is said by whoever asked: the record has not ended.
        let _ = tokio::time::timeout(LAST_WORDS, making.ended()).await;
    }
    Ok((uuid, load(app, caller, id).await?))
}

/// The record of a response, brought to its end when what it tells of has ended while nobody was there to say so.
async fn current(
    app: &App,
    live: &LiveResponses,
    caller: &Caller,
    id: &str,
) -> Result<(Uuid, StoredResponse), ApiError> {
    let stored = load(app, caller, id).await?;
    let uuid = parse_response_id(id).ok_or_else(|| not_found(id))?;
    if stored.is_ended() || live.get(caller, &response_id(uuid)).is_some() {
        return Ok((uuid, stored));
    }
    let states = states(app, caller, &stored).await?;
    let is_there = !states.is_empty();
    if !states.iter().all(|it| it.is_ended()) {
        return Ok((uuid, stored));
    }
    // Its maker may have just ended it.
    let Some(guard) = live.begin(caller, &response_id(uuid)) else { return Ok((uuid, stored)) };
    let stored = load(app, caller, id).await?;
    if stored.is_ended() {
        return Ok((uuid, stored));
    }
    let mut making = resumed(app.clone(), caller.clone(), RequestId::of(&HeaderMap::new()), guard, uuid, stored);
    if is_there {
        let work = Work::Answer(Box::new(PendingAnswer::Outcome(outcome(making.operations()))));
        making.builder.begin();
        Box::pin(making.tell_all(work)).await;
    } else {
        let message = "the answer was cut off before its end: its client left, or the server was stopped".to_owned();
        let error = ErrorObject { message, kind: "server_error", param: None, code: "internal_error".into() };
        making.builder.begin();
        making.fail(&ErrorBody { error }).await?;
    }
    Ok((uuid, load(app, caller, id).await?))
}

/// Makes a response go on that a server before this one began.
fn carry_on(app: App, caller: Caller, request_id: RequestId, guard: LiveGuard, id: Uuid, stored: StoredResponse) {
    let mut making = resumed(app, caller, request_id, guard, id, stored);
    let work = Work::Answer(Box::new(PendingAnswer::Outcome(outcome(making.operations()))));
    making.builder.begin();
    tokio::spawn(making.tell_all(work).in_current_span());
}

fn resumed(
    app: App,
    caller: Caller,
    request_id: RequestId,
    guard: LiveGuard,
    id: Uuid,
    stored: StoredResponse,
) -> Making {
    let mut echo = stored.object.as_object().cloned().unwrap_or_default();
    echo.remove("operation");
    let created = stored.object["created_at"].as_i64().unwrap_or_default();
    let said: usize = stored.input.iter().map(|it| it.to_string().len()).sum();
    let tokens = wire::tokens(said).max(1);
    guard.live().is_cancelled.store(stored.cancelled, Ordering::Relaxed);
    let builder = ResponseBuilder::new(id, created, echo, BTreeSet::new(), tokens);
    let record = Some(Record::of(&app, id, stored));
    Making { app, caller, request_id, builder, guard, record, background: true, streaming: true }
}

fn outcome(operations: &[OperationId]) -> Outcome {
    match operations {
        [only] => Outcome::Operation(*only),
        _ => Outcome::Operations(operations.to_vec()),
    }
}

/// The object of a record, with what its operation is at now.
pub(super) async fn shown_object(app: &App, caller: &Caller, stored: StoredResponse) -> Result<Value, ApiError> {
    let is_ended = stored.is_ended();
    let mut object = stored.object;
    if is_ended {
        // It was answered while its operation went on.
        let told = object["operation"]["id"].as_str().and_then(|it| OperationId::parse(it).ok());
        let told = told.filter(|_| !has_ended(&object["operation"]["state"]));
        if let Some(id) = told
            && let Some(state) = state_of(app, caller, id).await?
        {
            object["operation"] = json!(OperationLink::new(id, state));
        }
        return Ok(object);
    }
    if let Some(id) = stored.operations.last()
        && let Some(state) = state_of(app, caller, *id).await?
    {
        object["operation"] = json!(OperationLink::new(*id, state));
        if state == OperationState::Queued {
            object["status"] = json!("queued");
        }
    }
    if stored.cancelled {
        object["status"] = json!("cancelled");
    }
    Ok(object)
}

fn has_ended(state: &Value) -> bool {
    state.as_str().and_then(OperationState::parse).is_some_and(OperationState::is_ended)
}

/// What is kept of a response that has ended for good: a request that is sent again gets the same.
pub(super) async fn settled(app: &App, caller: &Caller, id: Uuid) -> Result<Option<StoredResponse>, AppError> {
    let stored = StoredResponse::load(app, caller, id).await?;
    Ok(stored.filter(|it| {
        let operation = &it.object["operation"]["state"];
        it.is_ended() && (it.object["status"] == "cancelled" || has_ended(operation))
    }))
}

/// A stored response as the events that tell of it.
pub(super) fn told_again(id: Uuid, stored: &StoredResponse, from: usize, open: OpenStream) -> Response {
    let events = replay(id, &stored.object, &stored.pieces).into_iter().skip(from).map(frame);
    sse::respond(stream::iter(events.chain([sse::done()])), open)
}

/// What the operations are at that a response has begun.
async fn states(app: &App, caller: &Caller, stored: &StoredResponse) -> Result<Vec<OperationState>, AppError> {
    let mut states = Vec::new();
    for operation in &stored.operations {
        states.extend(state_of(app, caller, *operation).await?);
    }
    Ok(states)
}

async fn state_of(app: &App, caller: &Caller, id: OperationId) -> Result<Option<OperationState>, AppError> {
    Ok(app.operation(caller, id).await?.map(|it| it.state))
}

async fn load(app: &App, caller: &Caller, id: &str) -> Result<StoredResponse, ApiError> {
    let uuid = parse_response_id(id).ok_or_else(|| not_found(id))?;
    StoredResponse::load(app, caller, uuid).await?.ok_or_else(|| not_found(id))
}

fn not_found(id: &str) -> ApiError {
    ApiError::ResponseNotFound { id: shown(id), param: None }
}

fn shown(id: &str) -> String {
    id.chars().take(80).collect()
}
