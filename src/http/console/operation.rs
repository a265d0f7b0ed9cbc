//! `/operations/{id}`: one operation. What went wrong comes first, then what can be done, then the plan and its steps.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_stream::wrappers::IntervalStream;
use tokio_util::sync::CancellationToken;

use super::history::History;
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

mod view;

use view::View;

/// How often the times of what is under way are shown anew, and what no event tells of.
const TICK: Duration = Duration::from_secs(5);

/// What a page knows of the operation that it follows.
struct Followed {
    history: History,
    /// The operation as it was read last; none when it may have changed since.
    seen: Option<Arc<Seen>>,
}

/// An operation with its deployment, as they were read.
struct Seen {
    operation: Operation,
    deployment: Option<Deployment>,
}

impl Seen {
    async fn read(app: &App, caller: &Caller, id: OperationId) -> Result<Self, ApiError> {
        let operation = find(app, caller, id).await?;
        let deployment = deployment_of(app, caller, &operation).await?;
        Ok(Self { operation, deployment })
    }

    fn view(&self, app: &App, caller: &Caller, history: &History) -> View {
        View::of(app, caller, &self.operation, self.deployment.as_ref(), history)
    }
}

/// The page.
pub(super) async fn show(State(app): State<App>, viewer: Viewer, PathId(id): PathId) -> Result<Html<String>, ApiError> {
    page(&app, &viewer, parse(&id)?, None).await
}

/// Sends the live part of the page until the operation has ended.
pub(super) async fn follow(
    State(app): State<App>,
    State(streams): State<Streams>,
    viewer: Viewer,
    PathId(id): PathId,
) -> Result<Response, ApiError> {
    let id = parse(&id)?;
    let seen = Seen::read(&app, &viewer.caller, id).await?;
    let history = replayed(&app, &seen.operation).await?;
    let news = app.follow(&seen.operation, history.last);
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
            if changes_operation(&event.kind) {
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
    live::stream(&app, &streams, &browser, changes, move || {
        let (app, viewer, followed) = (made.clone(), viewer.clone(), Arc::clone(&followed));
        async move {
            let known = lock(&followed).seen.clone();
            let seen = match known {
                Some(seen) => seen,
                None => Arc::new(Seen::read(&app, &viewer.caller, id).await?),
            };
            let view = {
                let mut followed = lock(&followed);
                followed.seen = Some(Arc::clone(&seen));
                seen.view(&app, &viewer.caller, &followed.history)
            };
            render::part(&viewer, "operation_live.html", view)
        }
    })
}

fn lock(followed: &Mutex<Followed>) -> MutexGuard<'_, Followed> {
    followed.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether an event tells of something that is on record of the operation too, and not only of what a step says.
fn changes_operation(event: &EventKind) -> bool {
    match event {
        EventKind::StepProgress { .. } | EventKind::StepRetrying { .. } => false,
        EventKind::OperationState { .. }
        | EventKind::StepStarted { .. }
        | EventKind::StepSucceeded { .. }
        | EventKind::StepFailed { .. }
        | EventKind::StepUndoing { .. }
        | EventKind::StepUndone { .. }
        | EventKind::StepUndoFailed { .. }
        | EventKind::Warning { .. }
        | EventKind::Unreadable => true,
    }
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
    PageForm(form): PageForm<BTreeMap<String, String>>,
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
    let seen = Seen::read(app, &viewer.caller, id).await?;
    let mut view = seen.view(app, &viewer.caller, &replayed(app, &seen.operation).await?);
    view.refusal = refusal;
    let title = view.page_title.clone();
    render::page(viewer, "operation.html", Heading { title: &title, place: "/operations" }, view)
}

async fn find(app: &App, caller: &Caller, id: OperationId) -> Result<Operation, ApiError> {
    app.operation(caller, id).await?.ok_or_else(|| ApiError::OperationNotFound(id.to_string()))
}

/// The deployment, as far as this version can read it.
async fn deployment_of(app: &App, caller: &Caller, operation: &Operation) -> Result<Option<Deployment>, ApiError> {
    match app.deployment(caller, operation.deployment).await {
        Ok(deployment) => Ok(deployment),
        Err(AppError::Unreadable { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
