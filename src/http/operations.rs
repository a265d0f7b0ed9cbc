//! `/v1/operations`: list, show, follow, cancel and resume operations.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::Event as SseEvent;
use futures_util::StreamExt;
use jiff::Timestamp;
use serde::Serialize;

use crate::access::Caller;
use crate::app::App;
use crate::event::{Failure, OperationState};
use crate::http::body::OptionalJsonObject;
use crate::http::chat::dispatch::limits;
use crate::http::chat::schema::ResumeBody;
use crate::http::deployments::DeploymentObject;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::limit::Streams;
use crate::http::list::{List, ListQuery, PageParams};
use crate::http::path::PathId;
use crate::http::request_id::RequestId;
use crate::http::sse;
use crate::http::unreadable::UnreadableObject;
use crate::id::{Action, DeploymentId, OperationId};
use crate::intent::fields;
use crate::reply::view::{OperationView, Resumed, StepView};
use crate::store::operations::OperationFilter;
use crate::store::record::{Operation, Unreadable};
use crate::store::unreadable::UnreadableOperation;

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
    pub action: Option<Action>,
    /// Where it stands.
    pub state: OperationState,
    /// Share of the work that is done, in percent.
    pub progress: u8,
    /// Its steps as they stand.
    pub steps: Vec<StepView>,
    /// Why it failed.
    pub error: Option<FailureObject>,
    /// What the person should know, which stopped nothing.
    pub warnings: Vec<String>,
    /// The deployment that it changes.
    pub deployment: Option<DeploymentObject>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Only there while it is stuck and keeps the secrets of its request, sealed: until when it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secrets_kept_until: Option<Timestamp>,
    /// Only there when this version of the server cannot read all of it; what it cannot read is null or left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<UnreadableObject>,
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
    fn unreadable(it: UnreadableOperation) -> Self {
        // Of a state that is not known a person has to make something.
        let (state, failure) = match it.state {
            Some(state) => (state, it.failure),
            None => (OperationState::Stuck, Some(it.failure.unwrap_or_else(|| unreadable_failure(&it.cause)))),
        };
        Self {
            object: "operation",
            id: it.id,
            action: it.action,
            state,
            progress: it.progress,
            steps: Vec::new(),
            error: failure.map(Into::into),
            warnings: Vec::new(),
            deployment: None,
            created_at: it.created_at,
            ended_at: it.ended_at,
            secrets_kept_until: None,
            unreadable: None,
        }
    }
}

impl From<OperationView> for OperationObject {
    fn from(OperationView { operation, steps, deployment, unreadable, secrets_kept_until }: OperationView) -> Self {
        let object = match operation {
            Ok(it) => Self {
                object: "operation",
                id: it.id,
                action: Some(it.action),
                state: it.state,
                progress: it.progress,
                steps,
                error: it.failure.map(Into::into),
                warnings: it.warnings,
                deployment: None,
                created_at: it.created_at,
                ended_at: it.ended_at,
                secrets_kept_until,
                unreadable: None,
            },
            Err(it) => Self::unreadable(it),
        };
        let deployment = deployment.map(|it| it.as_ref().map_or_else(DeploymentObject::from, DeploymentObject::from));
        Self { deployment, unreadable: unreadable.map(Into::into), ..object }
    }
}

fn unreadable_failure(cause: &Unreadable) -> Failure {
    Failure {
        code: "operation_unreadable".to_owned(),
        message: format!("the operation cannot be read: {cause}"),
        next_step: "Was the server updated in between? Look at it with the version that wrote it".to_owned(),
        output: Vec::new(),
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
    caller: Caller,
    query: ListQuery,
) -> Result<Json<List<OperationObject>>, ApiError> {
    let states = "`queued`, `running`, `waiting`, `succeeded`, `undone`, `failed`, `cancelled` or `stuck`";
    let filter = OperationFilter {
        state: query.read("state", states, OperationState::parse)?,
        undone_is_failed: false,
        deployment: query.read("deployment", "the id of a deployment", |text| DeploymentId::parse(text).ok())?,
    };
    let page = app.operations(&caller, &filter, &query.page("the id of an operation", OperationId::parse)?).await?;
    let data = page.items.into_iter().map(OperationObject::from).collect();
    Ok(Json(List::new(data, page.has_more, |it| it.id.to_string())))
}

/// Shows one operation.
///
/// # Errors
/// [`ApiError::OperationNotFound`], or [`ApiError::Unreadable`] when another version wrote it.
#[utoipa::path(get, path = "/v1/operations/{id}", tag = "operations",
    params(("id" = String, Path, description = "Id of the operation")),
    responses((status = 200, body = OperationObject), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub async fn show(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId,
) -> Result<Json<OperationObject>, ApiError> {
    let operation = find(&app, &caller, &id).await?;
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
    responses((status = 200, content_type = "text/event-stream", body = sse::Frame), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub async fn events(
    State(app): State<App>,
    State(streams): State<Streams>,
    caller: Caller,
    request_id: RequestId,
    PathId(id): PathId,
    query: ListQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let number = |text: &str| text.parse::<i64>().ok().filter(|it| *it >= 0);
    let in_header = headers.get("last-event-id").and_then(|value| number(value.to_str().ok()?));
    let after = in_header.or(query.read("after", "the number of an event", number)?).unwrap_or(0);
    let operation = find(&app, &caller, &id).await?;
    let open = streams.open()?;
    let events = app.follow(&operation, after).take_until(app.shutdown_token().cancelled_owned());
    let events = events.map(move |event| match event {
        Ok(event) => sse::data(&event).id(event.sequence.to_string()).event(<&str>::from(&event.kind)),
        Err(error) => SseEvent::event(sse::data(&ApiError::from(error).body(request_id.as_str())), "error"),
    });
    Ok(sse::respond(events, open))
}

/// Stops an operation; what it did is taken back. One that is stuck stays so, and its sealed secrets are erased.
///
/// # Errors
/// [`ApiError`] when there is no such operation or it has ended.
#[utoipa::path(post, path = "/v1/operations/{id}/cancel", tag = "operations",
    params(("id" = String, Path, description = "Id of the operation")),
    responses((status = 200, body = OperationObject), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub async fn cancel(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId,
) -> Result<Json<OperationObject>, ApiError> {
    let operation = app.cancel(&caller, parse(&id)?).await?;
    object(&app, operation).await.map(Json)
}

/// Goes on with an operation: looks again for what a waiting one waits for, or tries the undo of a stuck one again, with
/// the secrets of its request or those that come in the body.
///
/// # Errors
/// [`ApiError`] when there is no such operation or nothing to resume, or when its credentials do not fit.
#[utoipa::path(post, path = "/v1/operations/{id}/resume", tag = "operations",
    params(("id" = String, Path, description = "Id of the operation")), request_body = Option<ResumeBody>,
    responses((status = 200, body = ResumedOperation), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub async fn resume(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId,
    OptionalJsonObject(body): OptionalJsonObject,
) -> Result<Json<ResumedOperation>, ApiError> {
    let secrets = fields::parse_resume(&body, &limits(&app))?;
    let (operation, resumed) = app.resume(&caller, parse(&id)?, secrets).await?;
    Ok(Json(ResumedOperation { operation: object(&app, operation).await?, resumed }))
}

async fn find(app: &App, caller: &Caller, id: &str) -> Result<Operation, ApiError> {
    let found = app.operation(caller, parse(id)?).await?;
    found.ok_or_else(|| ApiError::OperationNotFound(id.to_owned()))
}

/// What is no id is the id of nothing.
///
/// # Errors
/// [`ApiError::OperationNotFound`].
pub(super) fn parse(id: &str) -> Result<OperationId, ApiError> {
    OperationId::parse(id).map_err(|_| ApiError::OperationNotFound(id.chars().take(80).collect()))
}

async fn object(app: &App, operation: Operation) -> Result<OperationObject, ApiError> {
    Ok(app.operation_view(operation).await?.into())
}
