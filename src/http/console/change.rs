//! Changes: what is typed, the plan that it comes to, and the person's yes.
//!
//! Between the plan and the yes the request lies in the store, sealed, for an hour: its secrets are in no page. Nothing
//! begins before the yes, and however often that is sent, it leads to one operation.

use std::collections::BTreeMap;

use axum::extract::{Query, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::page_form::PageForm;
use super::plan_card::PlanCard;
use super::render::{self, Heading};
use super::session::Viewer;
use crate::access::Caller;
use crate::app::{App, AppError};
use crate::conversation::{Outcome, execute};
use crate::http::chat::dispatch::limits;
use crate::http::error::{ApiError, ErrorObject};
use crate::http::mcp::tool::has_plan;
use crate::id::{Action, OperationId, PlanHash, short_hash};
use crate::intent::partial::MissingField;
use crate::intent::{Confirmation, Request, Source, fields};
use crate::reply::view::{PlanView, Proposal, Report};
use crate::store::operations::{KeyKind, RequestKey};

mod form;
mod label;

use form::{Faults, FieldView, Typed};

/// What is told when the plan is another one than the one that was agreed to.
const CHANGED: &str = "Something has changed since this plan was shown, and nothing was done. This is the plan now.";
/// Fields that the form of a new deployment shows only to whoever wants more.
const ADVANCED: [&str; 9] = [
    "source_directory",
    "dockerfile_path",
    "build_target",
    "build_platform",
    "build_args",
    "build_secrets",
    "stop_grace_s",
    "keep_target",
    "instance_id",
];

/// A request that waits for a yes.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Draft {
    /// Nothing was done.
    Open(Typed),
    /// It has become this operation, and its secrets are gone.
    Begun(OperationId),
}

/// The form of a new deployment.
#[derive(Debug, Serialize)]
struct NewPage {
    fields: BTreeMap<&'static str, FieldView>,
    /// What the fields of AWS credentials are called together.
    credentials_label: &'static str,
    faults: Faults,
    mode: String,
    is_advanced: bool,
}

/// A request that came to nothing, with what would help.
#[derive(Debug, Serialize)]
struct RefusedPage {
    action: String,
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
    notice: Option<&'static str>,
    plan: PlanCard,
    back: String,
}

/// The form of a new deployment; the query fills it in.
pub(super) async fn new(viewer: Viewer, Query(pairs): Query<Vec<(String, String)>>) -> Result<Html<String>, ApiError> {
    new_page(&viewer, &Typed::new(pairs).without_secrets(), Faults::default())
}

/// Shows what a request would do. Nothing is done.
pub(super) async fn plan(State(app): State<App>, viewer: Viewer, form: PageForm) -> Result<Response, ApiError> {
    propose(&app, &viewer, &Typed::new(form.into_pairs()), Uuid::new_v4(), None).await
}

/// Does what a plan has shown.
pub(super) async fn confirm(State(app): State<App>, viewer: Viewer, form: PageForm) -> Result<Response, ApiError> {
    let caller = &viewer.caller;
    let draft = Uuid::try_parse(form.required("draft")?);
    let draft = draft.map_err(|_| ApiError::invalid("draft", "`draft` names no plan that was shown"))?;
    let hash = PlanHash::parse(form.required("plan")?);
    let hash = hash.map_err(|error| ApiError::invalid("plan", format!("`plan`: {error}")))?;
    let typed = match app.conversation_state::<Draft>(caller, &state_id(draft)).await? {
        Some(Draft::Open(typed)) => typed,
        Some(Draft::Begun(id)) => return Ok(to_operation(id)),
        None => {
            let message = "this plan was shown more than an hour ago, or to somebody else; have it shown again";
            return Err(ApiError::Conflict { param: None, message: message.to_owned() });
        }
    };
    let request = Request { confirmation: Confirmation::Agreed(hash), ..request(&app, &typed)? };
    match execute(&app, caller, Some(key(caller, draft)), request).await {
        Ok(Outcome::Operation(id) | Outcome::Report(Report::Cancelled(id))) => {
            app.keep_conversation_state(caller, &state_id(draft), &Draft::Begun(id)).await?;
            Ok(to_operation(id))
        }
        // It is not the plan that was shown, or that was too long ago for a key that asks.
        Ok(Outcome::Confirmation(_)) | Err(AppError::Conflict { param: Some("confirm"), .. }) => {
            propose(&app, &viewer, &typed, draft, Some(CHANGED)).await
        }
        Ok(Outcome::Operations(_) | Outcome::Plan(_) | Outcome::Report(_) | Outcome::Text(_)) => {
            Err(ApiError::Internal("an agreed plan came to no operation".into()))
        }
        Err(error) => refused(&app, &viewer, &typed, error.into()),
    }
}

fn to_operation(id: OperationId) -> Response {
    Redirect::to(&format!("/operations/{id}")).into_response()
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

/// The plan of a request, which waits for a yes from now on; or what is wrong with it.
async fn propose(
    app: &App,
    viewer: &Viewer,
    typed: &Typed,
    draft: Uuid,
    notice: Option<&'static str>,
) -> Result<Response, ApiError> {
    let caller = &viewer.caller;
    let plan = match Box::pin(planned(app, caller, typed)).await {
        Ok(plan) => plan,
        Err(error) => return refused(app, viewer, typed, error),
    };
    app.keep_question(caller, &plan.hash).await?;
    app.keep_conversation_state(caller, &state_id(draft), &Draft::Open(typed.clone())).await?;
    let values = PlanPage { draft, notice, plan: PlanCard::from(&plan), back: typed.page() };
    let title = format!("Plan for {}", plan.deployment);
    Ok(render::page(viewer, "plan.html", Heading { title: &title, place: "/" }, values)?.into_response())
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
fn refused(app: &App, viewer: &Viewer, typed: &Typed, error: ApiError) -> Result<Response, ApiError> {
    if matches!(error, ApiError::Internal(_)) {
        return Err(error);
    }
    let operation = if let ApiError::DeploymentBusy { operation, .. } = &error { Some(*operation) } else { None };
    let is_incomplete = matches!(error, ApiError::MissingParameter { .. });
    let missing = if is_incomplete { missing(app, typed) } else { Vec::new() };
    let response = error.into_response();
    let status = response.status();
    let Some(told) = response.extensions().get::<ErrorObject>().cloned() else { return Ok(response) };
    let faults = Faults::of(told, &missing, typed);
    let action = typed.text("action").unwrap_or("deploy").to_owned();
    if action == Action::Deploy.as_str() && operation.is_none() {
        return Ok((status, new_page(viewer, typed, faults)?).into_response());
    }
    let (fields, kept) = typed.retry(&faults);
    let title = format!("Could not {action}");
    let values = RefusedPage { action, faults, fields, kept, operation, back: typed.page() };
    let page = render::page(viewer, "refused.html", Heading { title: &title, place: "/" }, values)?;
    Ok((status, page).into_response())
}

/// The fields that are wanted and were not typed.
fn missing(app: &App, typed: &Typed) -> Vec<&'static str> {
    let limits = limits(app);
    let action = typed.text("action").and_then(|it| Action::parse(it).ok());
    let values = typed.body().ok().and_then(|body| fields::parse_partial(&body, &limits).ok());
    let missing = action.zip(values).map(|(action, values)| values.missing(action, Source::Fields, &limits));
    missing.unwrap_or_default().into_iter().map(MissingField::field).collect()
}

fn new_page(viewer: &Viewer, typed: &Typed, faults: Faults) -> Result<Html<String>, ApiError> {
    let values = NewPage {
        fields: typed.fields(&faults),
        credentials_label: label::of("aws_credentials").unwrap_or_default(),
        mode: typed.text("deployment_mode").unwrap_or("local").to_owned(),
        is_advanced: faults.is_among(&ADVANCED) || ADVANCED.iter().any(|it| typed.text(it).is_some()),
        faults,
    };
    render::page(viewer, "new.html", Heading { title: "New deployment", place: "/new" }, values)
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
