//! Stored chat completions (`store: true`): list, show, change their metadata, delete, and list what was said.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::access::Caller;
use crate::app::App;
use crate::http::body::JsonObject;
use crate::http::chat::request::boolean;
use crate::http::chat::wire::ChatCompletion;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::kept;
use crate::http::list::{List, ListQuery};
use crate::http::path::PathId;
use crate::secret::Redactor;
use crate::store::stored_answers::{AnswerKind, AnswerPage};

/// So many are read at once when a list is filtered.
const BATCH: u32 = 100;

/// A chat completion as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct StoredCompletion {
    completion: Value,
    messages: Vec<Value>,
}

/// Keeps the answer to one request.
#[derive(Debug)]
pub struct Keeper {
    app: App,
    caller: Caller,
    redactor: Redactor,
    messages: Value,
    metadata: Value,
}

impl Keeper {
    /// One for a request whose answer is to be kept.
    ///
    /// # Errors
    /// [`ApiError`] when its metadata is none.
    pub fn of(app: &App, caller: &Caller, body: &Map<String, Value>) -> Result<Option<Self>, ApiError> {
        if !body.get("store").and_then(boolean).unwrap_or(false) {
            return Ok(None);
        }
        let mut metadata = metadata(body)?.unwrap_or_else(|| json!({}));
        let redactor = kept::redactor(app.settings(), body);
        let mut messages = body.get("messages").cloned().unwrap_or_default();
        kept::redact(&redactor, &mut messages);
        kept::redact(&redactor, &mut metadata);
        Ok(Some(Self { app: app.clone(), caller: caller.clone(), redactor, messages, metadata }))
    }

    /// Keeps the answer.
    ///
    /// # Errors
    /// [`ApiError`] when the store fails.
    pub async fn keep(self, answer: &ChatCompletion) -> Result<(), ApiError> {
        let mut completion = serde_json::to_value(answer).map_err(|error| ApiError::Internal(error.into()))?;
        kept::redact(&self.redactor, &mut completion);
        completion["metadata"] = self.metadata;
        let id = completion["id"].as_str().unwrap_or_default().to_owned();
        let messages = self.messages.as_array().cloned().unwrap_or_default();
        let stored = StoredCompletion { completion, messages };
        let (app, caller) = (&self.app, &self.caller);
        // An equal request, sent again, may have more to tell of the same operation.
        if !app.update_answer(caller, AnswerKind::ChatCompletion, &id, &stored).await? {
            app.keep_answer(caller, AnswerKind::ChatCompletion, &id, &stored).await?;
        }
        Ok(())
    }
}

/// What `DELETE` answers.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct DeletedCompletion {
    id: String,
    /// Always `chat.completion.deleted`.
    #[schema(value_type = String)]
    object: &'static str,
    deleted: bool,
}

/// What a stored completion is changed to.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "the API document; the body is read with errors of our own")]
pub struct MetadataBody {
    /// At most 16 texts.
    metadata: std::collections::BTreeMap<String, String>,
}

/// Lists stored chat completions, the first first.
///
/// # Errors
/// [`ApiError`] when the query is wrong or the store fails.
#[utoipa::path(get, path = "/v1/chat/completions", tag = "chat",
    params(("limit" = Option<u32>, Query, description = "How many, from 1 to 100"),
        ("after" = Option<String>, Query, description = "`last_id` of the page before"),
        ("order" = Option<String>, Query, description = "`asc`, or `desc` for the last first"),
        ("model" = Option<String>, Query, description = "Only of this model")),
    responses((status = 200, body = List<ChatCompletion>), (status = 400, body = ErrorBody)))]
pub async fn list(State(app): State<App>, caller: Caller, query: ListQuery) -> Result<Json<List<Value>>, ApiError> {
    let wanted = query.page("the id of a chat completion", |text| Ok::<_, ApiError>(text.to_owned()))?;
    let model = query.read("model", "the name of a model", |text| Some(text.to_owned()))?;
    let limit = usize::try_from(wanted.limit).unwrap_or(usize::MAX);
    let mut page = AnswerPage { after: wanted.after, limit: BATCH, newest_first: newest_first(&query)? };
    let mut data = Vec::new();
    // One more than is wanted tells whether there is a next page.
    while data.len() <= limit {
        let rows = app.kept_answers::<StoredCompletion>(&caller, AnswerKind::ChatCompletion, &page).await?;
        let Some((last, _)) = rows.last() else { break };
        page.after = Some(last.clone());
        let found = rows.into_iter().filter_map(|(_, stored)| Some(stored?.completion));
        data.extend(found.filter(|it| {
            model.as_ref().is_none_or(|model| it["model"] == **model)
                && query.entries("metadata").all(|(key, value)| it["metadata"][key] == *value)
        }));
    }
    let has_more = data.len() > limit;
    data.truncate(limit);
    Ok(Json(List::new(data, has_more, id_of)))
}

/// Shows a stored chat completion.
///
/// # Errors
/// [`ApiError::CompletionNotFound`].
#[utoipa::path(get, path = "/v1/chat/completions/{id}", tag = "chat",
    params(("id" = String, Path, description = "Id of the chat completion")),
    responses((status = 200, body = ChatCompletion), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub async fn show(State(app): State<App>, caller: Caller, PathId(id): PathId) -> Result<Json<Value>, ApiError> {
    Ok(Json(load(&app, &caller, &id).await?.completion))
}

/// Changes the metadata of a stored chat completion.
///
/// # Errors
/// [`ApiError::CompletionNotFound`], or what is wrong with the metadata.
#[utoipa::path(post, path = "/v1/chat/completions/{id}", tag = "chat",
    params(("id" = String, Path, description = "Id of the chat completion")), request_body = MetadataBody,
    responses((status = 200, body = ChatCompletion), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 408, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub async fn update(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId,
    JsonObject(body): JsonObject,
) -> Result<Json<Value>, ApiError> {
    let mut stored = load(&app, &caller, &id).await?;
    let Some(mut metadata) = metadata(&body)? else {
        let message = "`metadata` is missing: it is all that can be changed".to_owned();
        return Err(ApiError::MissingParameter { param: Some("metadata".into()), message });
    };
    kept::redact(&kept::redactor(app.settings(), &body), &mut metadata);
    stored.completion["metadata"] = metadata;
    if app.update_answer(&caller, AnswerKind::ChatCompletion, &id, &stored).await? {
        return Ok(Json(stored.completion));
    }
    Err(not_found(&id))
}

/// Forgets a stored chat completion. What it began goes on, and stays.
///
/// # Errors
/// [`ApiError::CompletionNotFound`].
#[utoipa::path(delete, path = "/v1/chat/completions/{id}", tag = "chat",
    params(("id" = String, Path, description = "Id of the chat completion")),
    responses((status = 200, body = DeletedCompletion), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub async fn delete(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId,
) -> Result<Json<DeletedCompletion>, ApiError> {
    if app.delete_answer(&caller, AnswerKind::ChatCompletion, &id).await? {
        return Ok(Json(DeletedCompletion { id, object: "chat.completion.deleted", deleted: true }));
    }
    Err(not_found(&id))
}

/// Lists what was said to a stored chat completion, the first first.
///
/// # Errors
/// [`ApiError::CompletionNotFound`], or what is wrong with the query.
#[utoipa::path(get, path = "/v1/chat/completions/{id}/messages", tag = "chat",
    params(("id" = String, Path, description = "Id of the chat completion"),
        ("limit" = Option<u32>, Query, description = "How many, from 1 to 100"),
        ("after" = Option<String>, Query, description = "`last_id` of the page before"),
        ("order" = Option<String>, Query, description = "`asc`, or `desc` for the last first")),
    responses((status = 200, body = List<Value>), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub async fn messages(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId,
    query: ListQuery,
) -> Result<Json<List<Value>>, ApiError> {
    let page = query.page("the id of a message", |text| Ok::<_, ApiError>(text.to_owned()))?;
    let newest_first = newest_first(&query)?;
    let stored = load(&app, &caller, &id).await?;
    let mut messages: Vec<Value> =
        stored.messages.into_iter().enumerate().map(|(index, it)| message(&id, index, it)).collect();
    if newest_first {
        messages.reverse();
    }
    kept::page(messages, &page, id_of).map(Json)
}

fn message(id: &str, index: usize, mut message: Value) -> Value {
    if message["content"].is_array() {
        message["content_parts"] = message["content"].take();
    } else {
        message["content_parts"] = Value::Null;
    }
    message["id"] = json!(format!("{id}-{index}"));
    message
}

fn id_of(it: &Value) -> String {
    it["id"].as_str().unwrap_or_default().to_owned()
}

fn newest_first(query: &ListQuery) -> Result<bool, ApiError> {
    let order = |text: &str| ["asc", "desc"].contains(&text).then(|| text == "desc");
    Ok(query.read("order", "`asc` or `desc`", order)?.unwrap_or(false))
}

fn metadata(body: &Map<String, Value>) -> Result<Option<Value>, ApiError> {
    match body.get("metadata") {
        None | Some(Value::Null) => Ok(None),
        Some(value) if kept::is_metadata(value) => Ok(Some(value.clone())),
        Some(_) => {
            let message = "`metadata` must be an object of at most 16 strings of at most 512 characters";
            Err(ApiError::invalid("metadata", message))
        }
    }
}

async fn load(app: &App, caller: &Caller, id: &str) -> Result<StoredCompletion, ApiError> {
    app.kept_answer(caller, AnswerKind::ChatCompletion, id).await?.ok_or_else(|| not_found(id))
}

fn not_found(id: &str) -> ApiError {
    ApiError::CompletionNotFound(id.chars().take(80).collect())
}
