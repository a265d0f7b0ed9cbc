//! `/operations`: every operation that is in sight, newest first.

use axum::extract::State;
use axum::response::Html;
use jiff::Timestamp;
use serde::Serialize;
use strum::VariantArray;

use super::history::ms_between;
use super::naming::{deployment_name, who};
use super::render::{self, Heading};
use super::session::Viewer;
use super::text::{self, one_of, verb};
use crate::access::Caller;
use crate::app::App;
use crate::event::OperationState;
use crate::http::error::ApiError;
use crate::http::list::ListQuery;
use crate::id::{DeploymentId, OperationId};
use crate::reply::view::OperationView;
use crate::store::operations::OperationFilter;
use crate::store::page::PageRequest;

/// How many operations a page has.
const PAGE: u32 = 50;

/// The page.
#[derive(Debug, Serialize)]
struct Operations {
    rows: Vec<Row>,
    states: &'static [OperationState],
    /// Only those in this state.
    state: Option<OperationState>,
    /// Only those of this deployment.
    deployment: Option<DeploymentId>,
    /// The first page, when this is another one.
    first_page: Option<String>,
    next_page: Option<String>,
}

/// An operation in the list.
#[derive(Debug, Serialize)]
struct Row {
    id: OperationId,
    action: &'static str,
    deployment: Option<DeploymentId>,
    /// Its name, or its id when it cannot be read.
    name: Option<String>,
    /// None of an operation whose state this version does not know.
    state: Option<OperationState>,
    progress: u8,
    is_ended: bool,
    created_at: Timestamp,
    took_ms: u64,
    /// Whose request it was, as far as the viewer is told.
    who: Option<String>,
    unreadable: Option<String>,
}

/// The list.
pub(super) async fn show(State(app): State<App>, viewer: Viewer, query: ListQuery) -> Result<Html<String>, ApiError> {
    let states: Vec<&str> = OperationState::VARIANTS.iter().map(|it| it.as_str()).collect();
    let filter = OperationFilter {
        state: query.read("state", &one_of(&states), OperationState::parse)?,
        undone_is_failed: true,
        deployment: query.read("deployment", "the id of a deployment", |text| DeploymentId::parse(text).ok())?,
    };
    let after = query.read("after", "the id of an operation", |text| OperationId::parse(text).ok())?;
    let page = app.operations(&viewer.caller, &filter, &PageRequest { after, limit: PAGE }).await?;
    let now = Timestamp::now();
    let rows: Vec<Row> = page.items.into_iter().map(|it| row(&app, &viewer.caller, it, now)).collect();
    let last = rows.last().map(|it| it.id).filter(|_| page.has_more);
    let values = Operations {
        states: OperationState::VARIANTS,
        state: filter.state,
        deployment: filter.deployment,
        first_page: after.map(|_| address(&filter, None)),
        next_page: last.map(|it| address(&filter, Some(it))),
        rows,
    };
    render::page(&viewer, "operations.html", Heading { title: "Operations", place: "/operations" }, values)
}

/// The address of a page of the same list.
fn address(filter: &OperationFilter, after: Option<OperationId>) -> String {
    let values = [
        ("state", filter.state.map(|it| it.as_str().to_owned())),
        ("deployment", filter.deployment.map(|it| it.to_string())),
        ("after", after.map(|it| it.to_string())),
    ];
    text::address("/operations", values)
}

fn row(app: &App, caller: &Caller, view: OperationView, now: Timestamp) -> Row {
    let OperationView { operation, deployment, unreadable, .. } = view;
    let name = deployment.as_ref().map(deployment_name);
    let unreadable = unreadable.map(|it| it.to_string());
    match operation {
        Ok(it) => Row {
            id: it.id,
            action: verb(it.action.as_str()),
            deployment: Some(it.deployment),
            name,
            state: Some(it.state),
            progress: it.progress,
            is_ended: it.state.is_ended(),
            created_at: it.created_at,
            took_ms: ms_between(it.created_at, it.ended_at.unwrap_or(now)),
            who: who(app, caller, &it.principal),
            unreadable,
        },
        Err(it) => Row {
            id: it.id,
            action: it.action.map_or("an operation of another version", |action| verb(action.as_str())),
            deployment: it.deployment,
            name,
            state: it.state,
            progress: it.progress,
            // Nobody here carries on with it.
            is_ended: true,
            created_at: it.created_at,
            took_ms: ms_between(it.created_at, it.ended_at.unwrap_or(now)),
            who: None,
            unreadable,
        },
    }
}
