//! Changes: what is typed, the plan that it comes to, and the person's yes.
//!
//! Between the plan and the yes the request lies in the store with its plan, sealed, for an hour and for whoever asked for it:
//! its secrets are in no page. The plan has an address, so that a page of it can be gone back to and loaded anew. Nothing
//! begins before the yes, and however often that is sent, it leads to one operation.

use std::collections::BTreeMap;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::label;
use super::page_form::PageForm;
use super::plan_card::PlanCard;
use super::render::{self, Heading};
use super::session::Viewer;
use super::text::verb;
use crate::access::Caller;
use crate::app::{App, AppError};
use crate::conversation::{Outcome, execute};
use crate::http::chat::dispatch::limits;
use crate::http::error::{ApiError, ErrorObject};
use crate::http::mcp::tool::has_plan;
use crate::http::path::PathId;
use crate::id::{Action, OperationId, PlanHash, short_hash};
use crate::intent::partial::MissingField;
use crate::intent::{Confirmation, Request, Source, fields};
use crate::reply::view::{PlanView, Proposal, Report};
use crate::store::operations::{KeyKind, RequestKey};

mod form;

use form::{ADVANCED, Faults, FieldLink, FieldView, Numbers, Typed};

/// What the form tells that a plan leads back to which is gone.
const NOT_KEPT: &str = "What was typed for that plan is not kept any more. Please type it again.";

/// A request that waits for a yes.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Draft {
    /// Nothing was done.
    Open(Box<OpenDraft>),
    /// It has become this operation, and its secrets are gone.
    Begun(OperationId),
}

/// What was typed, and the plan that it came to.
#[derive(Serialize, Deserialize)]
struct OpenDraft {
    typed: Typed,
    plan: PlanCard,
}

/// The form of a new deployment.
#[derive(Debug, Serialize)]
struct NewPage {
    fields: BTreeMap<&'static str, FieldView>,
    /// What the fields of AWS credentials are called together.
    credentials_label: &'static str,
    faults: Faults,
    notice: Option<&'static str>,
    /// Fields that were filled in, and are empty because what was in them is secret.
    secrets: Vec<FieldLink>,
    mode: String,
    is_advanced: bool,
}

/// A request that came to nothing, with what would help.
#[derive(Debug, Serialize)]
struct RefusedPage {
    action: String,
    /// Name of the deployment that it was to be done to, if that is known.
    application: Option<String>,
    faults: Faults,
    /// To be typed again.
    fields: Vec<FieldView>,
    /// To be sent again as it was.
    kept: Vec<FieldView>,
    /// The operation that stands in the way.
    operation: Option<OperationId>,
    back: String,
}

/// A plan with the buttons below it.
#[derive(Debug, Serialize)]
struct PlanPage {
    draft: Uuid,
    plan: PlanCard,
    /// Where it can be asked for otherwise.
    back: String,
    /// That is the form with what was typed.
    is_form: bool,
}

/// A plan that nobody can say yes to any more.
#[derive(Debug, Serialize)]
struct NoPlanPage {
    /// What it has become.
    operation: Option<OperationId>,
}

/// The form of a new deployment; the query fills it in, or the plan that it names.
pub(super) async fn new(
    State(app): State<App>,
    viewer: Viewer,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Html<String>, ApiError> {
    let named = pairs.iter().find(|(name, _)| name == "draft").map(|(_, draft)| draft.as_str());
    let kept = match named {
        Some(draft) => kept(&app, &viewer.caller, draft).await?,
        None => None,
    };
    if let Some((_, Draft::Open(open))) = kept {
        return new_page(&app, &viewer, &open.typed, Faults::default(), None);
    }
    let notice = named.is_some().then_some(NOT_KEPT);
    new_page(&app, &viewer, &Typed::new(pairs).without_secrets(), Faults::default(), notice)
}

/// Makes the plan of what a request would do, and leads to it. Nothing is done.
pub(super) async fn plan(State(app): State<App>, viewer: Viewer, form: PageForm) -> Result<Response, ApiError> {
    propose(&app, &viewer, Typed::new(form.into_pairs()), Uuid::new_v4(), false).await
}

/// Shows a plan that waits for a yes; else what has become of it.
pub(super) async fn show(State(app): State<App>, viewer: Viewer, PathId(draft): PathId) -> Result<Response, ApiError> {
    match kept(&app, &viewer.caller, &draft).await? {
        Some((draft, Draft::Open(open))) => {
            let OpenDraft { typed, plan } = *open;
            let title = format!("Plan for {}", plan.deployment());
            let is_form = typed.text("action") == Some(Action::Deploy.as_str());
            let back = if is_form { format!("/new?draft={draft}") } else { typed.page() };
            let values = PlanPage { draft, plan, back, is_form };
            Ok(render::page(&viewer, "plan.html", Heading { title: &title, place: "/" }, values)?.into_response())
        }
        Some((_, Draft::Begun(id))) => no_plan(&viewer, Some(id)),
        None => no_plan(&viewer, None),
    }
}

/// Does what a plan has shown.
pub(super) async fn confirm(State(app): State<App>, viewer: Viewer, form: PageForm) -> Result<Response, ApiError> {
    let caller = &viewer.caller;
    let hash = PlanHash::parse(form.required("plan")?);
    let hash = hash.map_err(|error| ApiError::invalid("plan", format!("`plan`: {error}")))?;
    let (draft, typed) = match kept(&app, caller, form.required("draft")?).await? {
        Some((draft, Draft::Open(open))) => (draft, open.typed),
        Some((_, Draft::Begun(id))) => return Ok(to_operation(id)),
        None => return no_plan(&viewer, None),
    };
    let request = Request { confirmation: Confirmation::Agreed(hash), ..request(&app, &typed)? };
    match execute(&app, caller, Some(key(caller, draft)), request).await {
        Ok(Outcome::Operation(id) | Outcome::Report(Report::Cancelled(id))) => {
            app.keep_conversation_state(caller, &state_id(draft), &Draft::Begun(id)).await?;
            Ok(to_operation(id))
        }
        // It is not the plan that was shown, or that was too long ago for a key that asks.
        Ok(Outcome::Confirmation(_)) | Err(AppError::Conflict { param: Some("confirm"), .. }) => {
            propose(&app, &viewer, typed, draft, true).await
        }
        Ok(Outcome::Operations(_) | Outcome::Plan(_) | Outcome::Report(_) | Outcome::Text(_)) => {
            Err(ApiError::Internal("an agreed plan came to no operation".into()))
        }
        Err(error) => refused(&app, &viewer, &typed, error.into()).await,
    }
}

fn to_operation(id: OperationId) -> Response {
    Redirect::to(&format!("/operations/{id}")).into_response()
}

/// The page of a plan that is used, gone, or somebody else's, which is not told apart.
fn no_plan(viewer: &Viewer, operation: Option<OperationId>) -> Result<Response, ApiError> {
    let (status, title) = match operation {
        Some(_) => (StatusCode::OK, "This plan was carried out"),
        None => (StatusCode::NOT_FOUND, "This plan is not there any more"),
    };
    let page = render::page(viewer, "no_plan.html", Heading { title, place: "/" }, NoPlanPage { operation })?;
    Ok((status, page).into_response())
}

/// What is kept under the id of a plan, for whoever asked for it.
async fn kept(app: &App, caller: &Caller, draft: &str) -> Result<Option<(Uuid, Draft)>, ApiError> {
    let Ok(draft) = Uuid::try_parse(draft) else { return Ok(None) };
    Ok(app.conversation_state(caller, &state_id(draft)).await?.map(|it| (draft, it)))
}

/// Under which id a request waits.
fn state_id(draft: Uuid) -> String {
    format!("console draft {draft}")
}

/// By what a yes is recognised that is sent twice.
fn key(caller: &Caller, draft: Uuid) -> RequestKey {
    let draft = draft.to_string();
    let key = short_hash(&["console", &caller.principal, &draft], 64);
    RequestKey { key, kind: KeyKind::Header, body_hash: short_hash(&[&draft], 64) }
}

/// What was typed, as a request of which there is a plan.
fn request(app: &App, typed: &Typed) -> Result<Request, ApiError> {
    let request = fields::parse(&typed.body()?, &limits(app))?;
    let request = request.ok_or_else(|| ApiError::MissingParameter {
        param: Some("action".into()),
        message: "`action` is missing: what is to be done".to_owned(),
    })?;
    let action = request.intent.action();
    if !has_plan(action) {
        return Err(ApiError::invalid("action", format!("of `{action}` there is no plan")));
    }
    Ok(request)
}

/// Makes the plan of a request, which waits for a yes from now on, and leads to it; or says what is wrong with the request.
/// `is_changed` says that another plan of it was agreed to.
async fn propose(
    app: &App,
    viewer: &Viewer,
    typed: Typed,
    draft: Uuid,
    is_changed: bool,
) -> Result<Response, ApiError> {
    let caller = &viewer.caller;
    let plan = match Box::pin(planned(app, caller, &typed)).await {
        Ok(plan) => PlanView { plan_changed: is_changed, ..plan },
        Err(error) => return refused(app, viewer, &typed, error).await,
    };
    app.keep_question(caller, &plan.hash).await?;
    let open = Draft::Open(Box::new(OpenDraft { typed, plan: PlanCard::from(&plan) }));
    app.keep_conversation_state(caller, &state_id(draft), &open).await?;
    Ok(Redirect::to(&format!("/plan/{draft}")).into_response())
}

async fn planned(app: &App, caller: &Caller, typed: &Typed) -> Result<PlanView, ApiError> {
    let request = Request { dry_run: true, ..request(app, typed)? };
    match execute(app, caller, None, request).await? {
        Outcome::Plan(Proposal::Change(plan)) => Ok(plan),
        Outcome::Plan(Proposal::Removals(_))
        | Outcome::Confirmation(_)
        | Outcome::Operation(_)
        | Outcome::Operations(_)
        | Outcome::Report(_)
        | Outcome::Text(_) => Err(ApiError::Internal("a form came to no plan of one deployment".into())),
    }
}

/// The form again, with what is wrong; for what is no new deployment a page that leads back to where it was asked for.
async fn refused(app: &App, viewer: &Viewer, typed: &Typed, error: ApiError) -> Result<Response, ApiError> {
    if matches!(error, ApiError::Internal(_)) {
        return Err(error);
    }
    let operation = if let ApiError::DeploymentBusy { operation, .. } = &error { Some(*operation) } else { None };
    let (others, missing) = wrong(app, typed);
    let response = error.into_response();
    let status = response.status();
    let Some(told) = response.extensions().get::<ErrorObject>().cloned() else { return Ok(response) };
    let faults = Faults::of(told, &others, &missing, typed);
    let action = typed.text("action").unwrap_or("deploy").to_owned();
    if action == Action::Deploy.as_str() && operation.is_none() {
        return Ok((status, new_page(app, viewer, typed, faults, None)?).into_response());
    }
    let (fields, kept) = typed.retry(&faults, numbers(app));
    let application = application(app, &viewer.caller, typed).await?;
    let action = verb(&action).to_owned();
    let title = match &application {
        Some(name) => format!("Could not {action} {name}"),
        None => format!("Could not {action}"),
    };
    let values = RefusedPage { action, application, faults, fields, kept, operation, back: typed.page() };
    let page = render::page(viewer, "refused.html", Heading { title: &title, place: "/" }, values)?;
    Ok((status, page).into_response())
}

/// What the application is called that was typed: a form on a page of one sends its id.
async fn application(app: &App, caller: &Caller, typed: &Typed) -> Result<Option<String>, ApiError> {
    let found = match typed.deployment() {
        Some(id) => app.deployment(caller, id).await?,
        None => None,
    };
    let typed = typed.text("instance_name").map(|it| it.trim().to_owned());
    Ok(found.map(|it| it.name.to_string()).or(typed))
}

/// All that is wrong with what was typed, each thing by itself; and the fields that are wanted and were not typed. An object
/// counts as one field.
fn wrong(app: &App, typed: &Typed) -> (Vec<ErrorObject>, Vec<&'static str>) {
    let limits = limits(app);
    let (body, mut errors) = typed.read();
    let (values, of_values) = fields::parse_each(&body, &limits);
    errors.extend(of_values.into_iter().map(ApiError::from));
    let errors: Vec<ErrorObject> = errors.into_iter().map(|it| it.body("").error).collect();
    let is_wrong = |field: &&str| {
        let of_field = |param: &str| param == *field || param.split_once('.').is_some_and(|(it, _)| it == *field);
        errors.iter().any(|it| it.param.as_deref().is_some_and(of_field))
    };
    let action = typed.text("action").and_then(|it| Action::parse(it).ok());
    let missing = action.map(|action| values.missing(action, Source::Fields, &limits)).unwrap_or_default();
    let missing = missing.into_iter().map(MissingField::field).filter(|it| !is_wrong(it)).collect();
    (errors, missing)
}

fn numbers(app: &App) -> Numbers {
    Numbers { max_replicas: limits(app).max_replicas, stop_grace_s: app.settings().rollout.stop_grace_s }
}

fn new_page(
    app: &App,
    viewer: &Viewer,
    typed: &Typed,
    faults: Faults,
    notice: Option<&'static str>,
) -> Result<Html<String>, ApiError> {
    let title = if faults.code.is_some() { "Error: New deployment" } else { "New deployment" };
    let values = NewPage {
        fields: typed.fields(&faults, numbers(app)),
        notice,
        secrets: typed.secrets(),
        credentials_label: label::of("aws_credentials").unwrap_or_default(),
        mode: typed.text("deployment_mode").unwrap_or("local").to_owned(),
        is_advanced: faults.is_among(ADVANCED) || ADVANCED.iter().any(|it| typed.text(it).is_some()),
        faults,
    };
    render::page(viewer, "new.html", Heading { title, place: "/new" }, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_yes_that_is_sent_twice_has_the_same_key_and_nobody_elses() {
        let caller = |principal: &str| {
            Caller::administrator(principal.to_owned(), "127.0.0.1".to_owned(), crate::access::Surface::Console)
        };
        let draft = Uuid::new_v4();

        assert_eq!(key(&caller("a"), draft), key(&caller("a"), draft));
        assert_ne!(key(&caller("a"), draft).key, key(&caller("b"), draft).key);
        assert_ne!(key(&caller("a"), draft).key, key(&caller("a"), Uuid::new_v4()).key);
    }
}
