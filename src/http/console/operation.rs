//! `/operations/{id}`: one operation. What went wrong comes first, then what can be done, then the plan and its steps.

use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use futures_util::{StreamExt, stream};
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_stream::wrappers::IntervalStream;
use tokio_util::sync::CancellationToken;

use super::history::History;
use super::open_pages::OpenPages;
use super::page_form::PageForm;
use super::render::{self, Heading};
use super::session::Viewer;
use super::{body, live};
use crate::access::Caller;
use crate::app::{App, AppError};
use crate::event::EventKind;
use crate::http::chat::dispatch::limits;
use crate::http::error::ApiError;
use crate::http::limit::Streams;
use crate::http::operations::parse;
use crate::http::path::PathId;
use crate::id::OperationId;
use crate::intent::fields;
use crate::store::record::{Deployment, Operation};

mod asked;
mod view;

use view::Seen;

/// How often the times of what is under way are shown anew, and what no event tells of.
const TICK: Duration = Duration::from_secs(5);

/// What a page knows of the operation that it follows.
struct Followed {
    history: History,
    /// The operation as it was read and drawn last; none when there is more to tell since than lines of its steps.
    seen: Option<Arc<Seen>>,
}

/// Where the form of a new deployment is filled with what a stored request asks for, but for secrets.
pub(super) fn form_again(intent: &Value) -> String {
    asked::form(&asked::given(intent))
}

/// The page.
pub(super) async fn show(State(app): State<App>, viewer: Viewer, PathId(id): PathId) -> Result<Html<String>, ApiError> {
    page(&app, &viewer, parse(&id)?, None).await
}

/// Sends the live part of the page until the operation has ended.
pub(super) async fn follow(
    State(app): State<App>,
    State(streams): State<Streams>,
    State(pages): State<OpenPages>,
    viewer: Viewer,
    PathId(id): PathId,
) -> Result<Response, ApiError> {
    let id = parse(&id)?;
    let operation = find(&app, &viewer.caller, id).await?;
    let history = replayed(&app, &operation).await?;
    let news = app.follow(&operation, history.last);
    let followed = Arc::new(Mutex::new(Followed { history, seen: None }));
    let over = CancellationToken::new();
    let mut ticks = interval_at(Instant::now() + TICK, TICK);
    // Whoever was slow needs no second look at once.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let aged = Arc::clone(&followed);
    let ticks = IntervalStream::new(ticks).map(move |_| lock(&aged).seen = None);
    let ticks = ticks.take_until(over.clone().cancelled_owned());
    let heard = Arc::clone(&followed);
    let events = news.map(move |event| {
        // When the store fails, the part cannot be made either, and that ends the stream.
        if let Ok(event) = event {
            let mut followed = lock(&heard);
            followed.history.apply(&event);
            if !matches!(event.kind, EventKind::StepProgress { .. }) {
                followed.seen = None;
            }
        }
    });
    let ended = Arc::clone(&followed);
    let end = stream::once(ready(())).map(move |()| {
        lock(&ended).seen = None;
        over.cancel();
    });
    let changes = stream::select(events.chain(end), ticks);
    let browser = viewer.browser.clone();
    let made = app.clone();
    live::stream(&app, &streams, &pages, &browser, changes, move || {
        let (app, viewer, followed) = (made.clone(), viewer.clone(), Arc::clone(&followed));
        async move {
            let known = lock(&followed).seen.clone();
            let seen = if let Some(seen) = known {
                seen
            } else {
                let (operation, deployment) = read(&app, &viewer.caller, id).await?;
                let mut followed = lock(&followed);
                let seen = Arc::new(Seen::new(&viewer, operation, deployment, &followed.history)?);
                followed.seen = Some(Arc::clone(&seen));
                seen
            };
            let view = seen.view(&app, &viewer.caller, &lock(&followed).history);
            render::part(&viewer, "operation_live.html", view)
        }
    })
}

fn lock(followed: &Mutex<Followed>) -> MutexGuard<'_, Followed> {
    followed.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the events of an operation tell so far.
async fn replayed(app: &App, operation: &Operation) -> Result<History, ApiError> {
    let mut history = History::default();
    app.replay(operation, |event| history.apply(&event)).await?;
    Ok(history)
}

/// Stops the operation; has the secrets of a stuck one erased.
pub(super) async fn cancel(State(app): State<App>, viewer: Viewer, PathId(id): PathId) -> Result<Response, ApiError> {
    let id = parse(&id)?;
    let done = app.cancel(&viewer.caller, id).await;
    answer(&app, &viewer, id, done.map(drop).map_err(ApiError::from)).await
}

/// Goes on with the operation.
pub(super) async fn resume(
    State(app): State<App>,
    viewer: Viewer,
    PathId(id): PathId,
    form: PageForm,
) -> Result<Response, ApiError> {
    let id = parse(&id)?;
    let done = match fields::parse_resume(&body::of_credentials(&form), &limits(&app)) {
        Ok(secrets) => app.resume(&viewer.caller, id, secrets).await.map(drop).map_err(ApiError::from),
        Err(error) => Err(error.into()),
    };
    answer(&app, &viewer, id, done).await
}

/// Leads back to the page; what was refused for a reason that somebody can mend is told there.
async fn answer(app: &App, viewer: &Viewer, id: OperationId, done: Result<(), ApiError>) -> Result<Response, ApiError> {
    let Err(error) = done else {
        return Ok(Redirect::to(&format!("/operations/{id}")).into_response());
    };
    let status = if matches!(error, ApiError::Conflict { .. }) {
        StatusCode::CONFLICT
    } else if matches!(
        error,
        ApiError::InvalidValue { .. } | ApiError::MissingParameter { .. } | ApiError::UnknownParameter { .. }
    ) {
        StatusCode::BAD_REQUEST
    } else {
        return Err(error);
    };
    Ok((status, page(app, viewer, id, Some(error.to_string())).await?).into_response())
}

async fn page(app: &App, viewer: &Viewer, id: OperationId, refusal: Option<String>) -> Result<Html<String>, ApiError> {
    let (operation, deployment) = read(app, &viewer.caller, id).await?;
    let history = replayed(app, &operation).await?;
    let mut view = Seen::new(viewer, operation, deployment, &history)?.view(app, &viewer.caller, &history);
    view.refusal = refusal;
    let title = view.page_title.clone();
    render::page(viewer, "operation.html", Heading { title: &title, place: "/operations" }, view)
}

async fn find(app: &App, caller: &Caller, id: OperationId) -> Result<Operation, ApiError> {
    app.operation(caller, id).await?.ok_or_else(|| ApiError::OperationNotFound(id.to_string()))
}

/// An operation, and its deployment.
async fn read(app: &App, caller: &Caller, id: OperationId) -> Result<(Operation, Option<Deployment>), ApiError> {
    let operation = find(app, caller, id).await?;
    let deployment = deployment_of(app, caller, &operation).await?;
    Ok((operation, deployment))
}

/// The deployment, as far as this version can read it.
async fn deployment_of(app: &App, caller: &Caller, operation: &Operation) -> Result<Option<Deployment>, ApiError> {
    match app.deployment(caller, operation.deployment).await {
        Ok(deployment) => Ok(deployment),
        Err(AppError::Unreadable { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
