//! `GET /v1/audit`: who did what, for administrators.

use std::convert::Infallible;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderName;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use jiff::Timestamp;
use serde_json::json;

use crate::access::Caller;
use crate::app::{App, AppError};
use crate::audit::{AuditEvent, AuditRecord};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::list::{List, ListQuery, PageParams};
use crate::http::request_id;
use crate::id::{Action, DeploymentId, OperationId};
use crate::store::audit::AuditFilter;

/// The last entry that there was when an export began.
pub const X_AUDIT_HEAD: HeaderName = HeaderName::from_static("x-audit-head");

/// Lists entries, newest first; with `format=jsonl` all of them as lines of JSON, oldest first, as they are chained.
///
/// # Errors
/// [`ApiError`] when the query is wrong or the caller is not an administrator.
#[utoipa::path(get, path = "/v1/audit", tag = "audit",
    params(PageParams, ("principal" = Option<String>, Query, description = "Only of this key, by its id"),
        ("event" = Option<AuditEvent>, Query, description = "Only of this kind"),
        ("action" = Option<Action>, Query, description = "Only about this action"),
        ("deployment" = Option<String>, Query, description = "Only about the deployment with this id"),
        ("operation" = Option<String>, Query, description = "Only about the operation with this id"),
        ("since" = Option<String>, Query, description = "Only from this moment on"),
        ("until" = Option<String>, Query, description = "Only before this moment"),
        ("format" = Option<String>, Query, description = "`jsonl` for all entries as lines")),
    responses((status = 200, content((List<AuditRecord> = "application/json"), (String = "application/jsonl"))),
        (status = 400, body = ErrorBody)))]
pub async fn list(State(app): State<App>, caller: Caller, query: ListQuery) -> Result<Response, ApiError> {
    let filter = filter(&query, |text| text.parse().ok())?;
    let as_lines = query.read("format", "`json` or `jsonl`", |text| match text {
        "json" => Some(false),
        "jsonl" => Some(true),
        _ => None,
    })?;
    if as_lines == Some(true) {
        let (head, lines) = app.audit_lines(&caller, filter).await?;
        let request_id = request_id::current();
        // An error in the middle is a line of its own: the answer has begun.
        let lines = lines.map(move |lines| {
            let text: String = match lines {
                Ok(lines) => lines.into_iter().flat_map(|it| [it.line, "\n".to_owned()]).collect(),
                Err(error) => {
                    let body = ApiError::from(AppError::from(error)).body(&request_id);
                    json!(body).to_string() + "\n"
                }
            };
            Ok::<_, Infallible>(Bytes::from(text))
        });
        let headers = [(CONTENT_TYPE, "application/jsonl".to_owned()), (X_AUDIT_HEAD, head.to_string())];
        return Ok((headers, Body::from_stream(lines)).into_response());
    }
    let page = app.audit(&caller, filter, &query.page("the number of an entry", str::parse::<i64>)?).await?;
    Ok(Json(List::new(page.items, page.has_more, |it| it.sequence.to_string())).into_response())
}

/// Which entries a query asks for, with moments as `moment` reads them.
pub(super) fn filter(query: &ListQuery, moment: fn(&str) -> Option<Timestamp>) -> Result<AuditFilter, ApiError> {
    let rule = "a moment such as `2027-01-31T12:00:00Z`";
    Ok(AuditFilter {
        principal: query.read("principal", "the id of a key", |text| Some(text.to_owned()))?,
        event: query.read("event", &format!("one of {}", AuditEvent::names()), |text| text.parse().ok())?,
        action: query.read("action", "an action", |text| Action::parse(text).ok())?,
        deployment: query.read("deployment", "the id of a deployment", |text| DeploymentId::parse(text).ok())?,
        operation: query.read("operation", "the id of an operation", |text| OperationId::parse(text).ok())?,
        since: query.read("since", rule, moment)?,
        until: query.read("until", rule, moment)?,
    })
}
