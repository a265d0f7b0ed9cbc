//! `/v1/operations`: list, show, follow, cancel and resume operations.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::Event as SseEvent;
use futures_util::StreamExt;
use jiff::Timestamp;
use serde::Serialize;

use crate::app::App;
use crate::event::{Failure, OperationState};
use crate::http::auth::Caller;
use crate::http::deployments::DeploymentObject;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::limit::Streams;
use crate::http::list::{List, ListQuery, PageParams};
use crate::http::path::PathId;
use crate::http::request_id::RequestId;
use crate::http::sse;
use crate::id::{Action, DeploymentId, OperationId};
use crate::reply::view::{Resumed, StepView};
use crate::store::operations::OperationFilter;
use crate::store::record::Operation;

/// One run of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct OperationObject {
    /// Always `operation`.
    #[schema(value_type = String)]
    pub object: &'static str,
    /// Its id.
    #[schema(value_type = String)]
    pub id: OperationId,
    /// What it does.
    pub action: Action,
    /// Where it stands.
    pub state: OperationState,
    /// Share of the work that is done, in percent.
    pub progress: u8,
    /// Its steps as they stand.
    pub steps: Vec<StepView>,
    /// Why it failed.
    pub error: Option<FailureObject>,
    /// The deployment that it changes.
    pub deployment: Option<DeploymentObject>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// Why an operation failed and what to do about it.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[schema(as = OperationFault)]
pub struct FailureObject {
    /// OpenAI's class of errors.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    pub kind: &'static str,
    /// The stable cause, such as `out_of_memory`.
    pub code: String,
    /// The cause in one or two sentences.
    pub message: String,
    /// What a person can do next.
    pub next_step: String,
    /// Last lines of output that show the cause.
    pub output: Vec<String>,
}

impl From<Failure> for FailureObject {
    fn from(Failure { code, message, next_step, output }: Failure) -> Self {
        Self { kind: "server_error", code, message, next_step, output }
    }
}

/// An operation that was resumed, and what it does again.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ResumedOperation {
    /// The operation.
    #[serde(flatten)]
    pub operation: OperationObject,
    /// What it does again: `check` looks for what it waits for, `undo` takes back what could not be taken back.
    pub resumed: Resumed,
}

impl OperationObject {
    fn new(operation: Operation, steps: Vec<StepView>, deployment: Option<DeploymentObject>) -> Self {
        Self {
            object: "operation",
            id: operation.id,
            action: operation.action,
            state: operation.state,
            progress: operation.progress,
            steps,
            error: operation.failure.map(Into::into),
            deployment,
            created_at: operation.created_at,
            ended_at: operation.ended_at,
        }
    }
}

/// Lists operations, newest first.
///
/// # Errors
/// [`ApiError`] when the query is wrong or the store fails.
#[utoipa::path(get, path = "/v1/operations", tag = "operations",
    params(PageParams, ("state" = Option<OperationState>, Query, description = "Only in this state"),
        ("deployment" = Option<String>, Query, description = "Only on the deployment with this id")),
    responses((status = 200, body = List<OperationObject>), (status = 400, body = ErrorBody)))]
pub async fn list(
    State(app): State<App>,
    _: Caller,
    query: ListQuery,
) -> Result<Json<List<OperationObject>>, ApiError> {
    let states = "`queued`, `running`, `waiting`, `succeeded`, `undone`, `failed`, `cancelled` or `stuck`";
    let filter = OperationFilter {
        state: query.read("state", states, OperationState::parse)?,
        deployment: query.read("deployment", "the id of a deployment", |text| DeploymentId::parse(text).ok())?,
    };
    let page = app.operations(&filter, &query.page("the id of an operation", OperationId::parse)?).await?;
    let mut deployments = BTreeMap::new();
    let mut data = Vec::with_capacity(page.items.len());
    for operation in page.items {
        let deployment = match deployments.entry(operation.deployment) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                unknown.insert(app.deployment(operation.deployment).await?.as_ref().map(DeploymentObject::from))
            }
        };
        let deployment = deployment.clone();
        let steps = app.steps(&operation).await?;
        data.push(OperationObject::new(operation, steps, deployment));
    }
    Ok(Json(List::new(data, page.has_more, |it| it.id.to_string())))
}

/// Shows one operation.
///
/// # Errors
/// [`ApiError::OperationNotFound`].
#[utoipa::path(get, path = "/v1/operations/{id}", tag = "operations",
    params(("id" = String, Path, description = "Id of the operation")),
    responses((status = 200, body = OperationObject), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub async fn show(State(app): State<App>, _: Caller, PathId(id): PathId) -> Result<Json<OperationObject>, ApiError> {
    let operation = find(&app, &id).await?;
    object(&app, operation).await.map(Json)
}

/// Replays the events of an operation and follows it until it ends. `Last-Event-ID` (or `after`) goes on from there.
///
/// # Errors
/// [`ApiError`] when there is no such operation or no room for another stream.
#[utoipa::path(get, path = "/v1/operations/{id}/events", tag = "operations",
    params(("id" = String, Path, description = "Id of the operation"),
        ("Last-Event-ID" = Option<i64>, Header, description = "Only events after this one"),
        ("after" = Option<i64>, Query, description = "The same, for clients that cannot set headers")),
    responses((status = 200, content_type = "text/event-stream", body = sse::Frame), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub async fn events(
    State(app): State<App>,
    State(streams): State<Streams>,
    _: Caller,
    request_id: RequestId,
    PathId(id): PathId,
    query: ListQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let number = |text: &str| text.parse::<i64>().ok().filter(|it| *it >= 0);
    let in_header = headers.get("last-event-id").and_then(|value| number(value.to_str().ok()?));
    let after = in_header.or(query.read("after", "the number of an event", number)?).unwrap_or(0);
    let operation = find(&app, &id).await?;
    let open = streams.open()?;
    let events = app.follow(operation.id, after).take_until(app.shutdown_token().cancelled_owned());
    let events = events.map(move |event| match event {
        Ok(event) => sse::data(&event).id(event.sequence.to_string()).event(<&str>::from(&event.kind)),
        Err(error) => SseEvent::event(sse::data(&ApiError::from(error).body(request_id.as_str())), "error"),
    });
    Ok(sse::respond(events, open))
}

/// Stops an operation; what it did is taken back.
///
/// # Errors
/// [`ApiError`] when there is no such operation or it has ended.
#[utoipa::path(post, path = "/v1/operations/{id}/cancel", tag = "operations",
    params(("id" = String, Path, description = "Id of the operation")),
    responses((status = 200, body = OperationObject), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub async fn cancel(State(app): State<App>, _: Caller, PathId(id): PathId) -> Result<Json<OperationObject>, ApiError> {
    let operation = find(&app, &id).await?;
    let operation = app.cancel(operation.id).await?;
    object(&app, operation).await.map(Json)
}

/// Goes on with an operation: looks again for what a waiting one waits for, or tries the undo of a stuck one again.
///
/// # Errors
/// [`ApiError`] when there is no such operation or nothing to resume.
#[utoipa::path(post, path = "/v1/operations/{id}/resume", tag = "operations",
    params(("id" = String, Path, description = "Id of the operation")),
    responses((status = 200, body = ResumedOperation), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub async fn resume(State(app): State<App>, _: Caller, PathId(id): PathId) -> Result<Json<ResumedOperation>, ApiError> {
    let operation = find(&app, &id).await?;
    let (operation, resumed) = app.resume(operation.id).await?;
    Ok(Json(ResumedOperation { operation: object(&app, operation).await?, resumed }))
}

async fn find(app: &App, id: &str) -> Result<Operation, ApiError> {
    let found = match OperationId::parse(id) {
        Ok(id) => app.operation(id).await?,
        Err(_) => None,
    };
    found.ok_or_else(|| ApiError::OperationNotFound(id.chars().take(80).collect()))
}

async fn object(app: &App, operation: Operation) -> Result<OperationObject, ApiError> {
    let steps = app.steps(&operation).await?;
    let deployment = app.deployment(operation.deployment).await?;
    Ok(OperationObject::new(operation, steps, deployment.as_ref().map(DeploymentObject::from)))
}
