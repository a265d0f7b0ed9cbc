//! `/deployments/{id}`: what is on record of a deployment, with the forms that change it, and how it is right now.
//!
//! The page itself asks nobody: it comes from the store. Whoever looks at it asks its cluster and AWS, by a part of the
//! page that is loaded on its own.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{Html, Response};
use jiff::Timestamp;
use serde::Serialize;

use super::naming::who;
use super::open_pages::OpenPages;
use super::operation::form_again;
use super::overview::{LastOperation, web_address};
use super::page_form::PageForm;
use super::render::{self, Heading};
use super::resource_tree::{self, Condition, Node};
use super::session::Viewer;
use super::text::{shown_failure, verb};
use super::{body, live};
use crate::access::Caller;
use crate::app::looks::Health;
use crate::app::overview::DeploymentRecord;
use crate::app::{App, AppError};
use crate::event::OperationState;
use crate::http::chat::dispatch::limits;
use crate::http::deployments::look_up;
use crate::http::error::ApiError;
use crate::http::limit::Streams;
use crate::http::operations::FailureObject;
use crate::http::path::PathId;
use crate::id::{Action, DeploymentId, GitRef, Mode, OperationId};
use crate::intent::{AwsCredentials, IntentError, fields};
use crate::reply::{strip_ansi, to_sentence};
use crate::store::record::{Concern, Deployment, DeploymentState, Version};

/// How many of its last operations are shown.
const OPERATIONS: u32 = 10;

/// The page.
#[derive(Debug, Serialize)]
struct Page {
    max_replicas: u16,
    deletes_cluster: bool,
    tree: Vec<Node>,
    #[serde(flatten)]
    live: Live,
}

/// What of the page changes by itself.
#[derive(Debug, Serialize)]
struct Live {
    page_title: String,
    page_state: &'static str,
    id: DeploymentId,
    name: String,
    namespace: String,
    state: DeploymentState,
    mode: Mode,
    address: Option<String>,
    is_there: bool,
    /// How it came that it is not there any more, as far as that is on record.
    end: Option<End>,
    replicas: Option<u16>,
    running: Option<OperationId>,
    concerns: Vec<Concern>,
    warnings: Vec<String>,
    facts: Vec<Fact>,
    environment: Vec<String>,
    versions: Vec<VersionRow>,
    operations: Vec<LastOperation>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// The operation after which nothing of it was left.
#[derive(Debug, Serialize)]
struct End {
    /// What that did.
    what: &'static str,
    operation: OperationId,
    at: Timestamp,
    /// Whose request it was, of a removal and as far as the viewer is told.
    by: Option<String>,
    /// Why a deploy failed.
    failure: Option<FailureObject>,
    /// Where the form of a deploy that came to nothing is filled with what was asked.
    retry: Option<String>,
}

/// Something that is known of it.
#[derive(Debug, PartialEq, Serialize)]
struct Fact {
    name: &'static str,
    value: String,
    link: Option<String>,
}

/// A version that can be gone back to.
#[derive(Debug, Serialize)]
struct VersionRow {
    revision: u32,
    is_current: bool,
    commit: String,
    short_commit: String,
    /// The beginning of its message.
    subject: Option<String>,
    committed_at: Option<Timestamp>,
    git_ref: Option<String>,
    image: String,
    /// What its image was built of.
    built_of: String,
    size_bytes: Option<u64>,
    build_ms: Option<u64>,
    deployed_at: Timestamp,
    operation: OperationId,
    /// Whose request it was, as far as the viewer is told.
    by: Option<String>,
}

/// How it is right now.
#[derive(Debug, Serialize)]
struct HealthPart {
    id: DeploymentId,
    name: String,
    condition: Condition,
    lines: Vec<String>,
    failure: Option<FailureObject>,
    lacks_credentials: bool,
    /// Why the credentials that were given are none.
    refused: Option<String>,
    tree: Vec<Node>,
    looked_at: Timestamp,
}

impl VersionRow {
    fn new(version: &Version, current: Option<u32>, by: Option<String>) -> Self {
        let build = &version.build;
        let built_of = match (&build.dockerfile, &build.generated, &build.builder) {
            (Some(path), _, _) => path.clone(),
            (None, Some(_), _) => "a Dockerfile that was made".to_owned(),
            (None, None, Some(builder)) => builder.clone(),
            (None, None, None) => "not on record".to_owned(),
        };
        Self {
            revision: version.revision,
            is_current: current == Some(version.revision),
            commit: version.commit.to_string(),
            short_commit: version.commit.short().to_owned(),
            subject: build.commit.as_ref().map(|it| strip_ansi(&it.subject)),
            committed_at: build.commit.as_ref().map(|it| it.committed_at),
            git_ref: version.git_ref.as_ref().map(|it| it.short().to_owned()),
            image: version.image.to_string(),
            built_of,
            size_bytes: build.size_bytes,
            build_ms: build.took_ms,
            deployed_at: version.deployed_at,
            operation: version.operation,
            by,
        }
    }
}

impl Live {
    /// `who` tells whose principal it is.
    fn new(deployment: &Deployment, record: &DeploymentRecord, who: impl Fn(&str) -> Option<String>) -> Self {
        let by = |version: &Version| record.roll_outs.get(&version.operation).and_then(|it| who(&it.principal));
        let current = deployment.facts.version.as_ref();
        let revision = current.map(|it| it.revision);
        let running = record.operations.iter().find(|it| !it.state.is_ended());
        let is_stuck = record.operations.first().is_some_and(|it| it.state == OperationState::Stuck);
        let name = deployment.name.to_string();
        let page_state = match (running, deployment.state) {
            (Some(_), _) => "running",
            (None, DeploymentState::Failed) => "failed",
            (None, _) if is_stuck => "failed",
            (None, _) => "idle",
        };
        Self {
            page_title: running.map_or_else(|| name.clone(), |it| format!("{} · {name}", verb(it.action.as_str()))),
            page_state,
            id: deployment.id,
            name,
            namespace: deployment.namespace.to_string(),
            state: deployment.state,
            mode: deployment.mode,
            address: web_address(deployment).map(str::to_owned),
            is_there: deployment.state != DeploymentState::Removed,
            end: None,
            replicas: deployment.facts.replicas,
            running: running.map(|it| it.id),
            concerns: deployment.facts.concerns.clone(),
            warnings: deployment.facts.warnings.clone(),
            facts: facts(deployment, record),
            environment: current.iter().flat_map(|it| &it.environment_names).map(ToString::to_string).collect(),
            versions: record.versions.iter().rev().map(|it| VersionRow::new(it, revision, by(it))).collect(),
            operations: record.operations.iter().map(LastOperation::from).collect(),
            created_at: deployment.created_at,
            updated_at: deployment.updated_at,
        }
    }
}

/// How it came that nothing of a deployment is there any more.
async fn end(app: &App, caller: &Caller, deployment: &Deployment) -> Result<Option<End>, ApiError> {
    if deployment.state != DeploymentState::Removed {
        return Ok(None);
    }
    let operation = match app.operation(caller, deployment.operation).await {
        Ok(Some(operation)) => operation,
        Ok(None) | Err(AppError::Unreadable { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let is_removal = operation.action == Action::Decommission;
    let is_cancelled = operation.state == OperationState::Cancelled;
    Ok(Some(End {
        what: match (is_removal, is_cancelled) {
            (true, _) => "It was removed",
            (false, true) => "Its first deploy was cancelled, and what that had made was removed",
            (false, false) => "Its first deploy failed, and what that had made was removed",
        },
        operation: operation.id,
        at: operation.ended_at.unwrap_or(deployment.updated_at),
        by: who(app, caller, &operation.principal).filter(|_| is_removal),
        failure: operation.failure.as_ref().filter(|_| !is_removal && !is_cancelled).map(shown_failure),
        retry: (operation.action == Action::Deploy).then(|| form_again(&operation.intent)),
    }))
}

/// What the page shows, and the record that it was made of.
async fn seen(app: &App, caller: &Caller, deployment: &Deployment) -> Result<(DeploymentRecord, Live), ApiError> {
    let record = app.deployment_record(deployment, OPERATIONS).await?;
    let live = Live::new(deployment, &record, |principal| who(app, caller, principal));
    let live = Live { end: end(app, caller, deployment).await?, ..live };
    Ok((record, live))
}

/// What is known of a deployment, in the order in which somebody would ask for it.
fn facts(deployment: &Deployment, record: &DeploymentRecord) -> Vec<Fact> {
    let (known, version) = (&deployment.facts, deployment.facts.version.as_ref());
    let region = record.target.as_ref().and_then(|it| it.region.as_ref());
    let ports = version.map(|it| {
        let rest = it.ports.iter().filter(|port| port.number != it.main_port).map(ToString::to_string);
        std::iter::once(format!("{} (served)", it.main_port)).chain(rest).collect::<Vec<_>>().join(", ")
    });
    let next_ref = deployment.git_ref.as_ref().map(GitRef::short);
    let git_ref = version.map_or(next_ref, |it| it.git_ref.as_ref().map(GitRef::short));
    // A version that was gone back to may be of another branch.
    let is_other = deployment.state != DeploymentState::Removed && git_ref != next_ref;
    let options = version.map(|it| &it.build_options);
    let price = known.price.as_ref().filter(|_| deployment.state != DeploymentState::Removed);
    let values = [
        ("Mode", Some(deployment.mode.to_string())),
        ("Namespace", Some(deployment.namespace.to_string())),
        ("Target", Some(deployment.target_name.clone())),
        ("Region", region.map(ToString::to_string)),
        ("Repository", Some(deployment.repository.to_string())),
        ("Directory", deployment.source_directory.as_ref().map(ToString::to_string)),
        ("Branch, tag or commit", git_ref.map(str::to_owned)),
        ("The next redeploy takes", is_other.then(|| next_ref.unwrap_or("the default branch").to_owned())),
        ("Commit", version.map(|it| it.commit.to_string())),
        ("Image", version.map(|it| it.image.to_string())),
        ("Dockerfile", version.and_then(|it| it.build.dockerfile.clone())),
        ("Builder", version.and_then(|it| it.build.builder.clone())),
        ("Stage", options.and_then(|it| it.target.as_ref()).map(ToString::to_string)),
        ("Platform", options.and_then(|it| it.platform.as_ref()).map(ToString::to_string)),
        ("Ports", ports),
        ("Node port", known.node_port.map(|it| it.to_string())),
        ("Replicas", known.replicas.map(|it| it.to_string())),
        ("Its first page answered", known.http_status.map(|it| format!("HTTP {it}"))),
        ("Host name", known.host.as_ref().map(|it| it.name.clone())),
        ("EC2 instance", known.ec2_instance_id.clone()),
        ("Public address", known.public_ip.clone()),
        ("Key pair", known.ec2_key_name.clone()),
        ("EKS endpoint", known.eks_cluster_endpoint.clone()),
        ("Load balancer", known.nlb_dns_name.clone()),
        ("Certificate", known.acm_certificate_arn.clone()),
        ("ECR repository", known.ecr_repository_url.clone()),
        ("Costs", price.map(ToString::to_string).or_else(|| known.cost.clone())),
    ];
    let link = |value: &str| value.starts_with("https://").then(|| value.to_owned());
    let fact = |(name, value): (&'static str, Option<String>)| {
        let value = value?;
        let link = if name == "Repository" { link(&value) } else { None };
        Some(Fact { name, value, link })
    };
    values.into_iter().filter_map(fact).collect()
}

/// The deployment of a path, if it is in sight.
pub(super) async fn find(app: &App, caller: &Caller, id: &str) -> Result<Deployment, ApiError> {
    let found = look_up(app, caller, id).await?;
    let shown: String = id.chars().take(80).collect();
    found.ok_or_else(|| ApiError::DeploymentNotFound(format!("there is no deployment `{shown}`")))
}

/// The AWS credentials of a form; none when it has left all fields empty. They are used once and kept nowhere.
pub(super) fn credentials(app: &App, given: &PageForm) -> Result<Option<AwsCredentials>, IntentError> {
    Ok(fields::parse_resume(&body::of_credentials(given), &limits(app))?.aws)
}

/// Shows the page.
pub(super) async fn show(State(app): State<App>, viewer: Viewer, PathId(id): PathId) -> Result<Html<String>, ApiError> {
    let deployment = find(&app, &viewer.caller, &id).await?;
    let (record, live) = seen(&app, &viewer.caller, &deployment).await?;
    let values = Page {
        max_replicas: limits(&app).max_replicas,
        deletes_cluster: viewer.caller.is_admin() && deployment.mode == Mode::Local,
        tree: resource_tree::of(&deployment, &record, None),
        live,
    };
    render::page(&viewer, "deployment.html", Heading { title: deployment.name.as_str(), place: "/" }, values)
}

/// Sends its live part whenever it has changed.
pub(super) async fn stream(
    State(app): State<App>,
    State(streams): State<Streams>,
    State(pages): State<OpenPages>,
    viewer: Viewer,
    PathId(id): PathId,
) -> Result<Response, ApiError> {
    find(&app, &viewer.caller, &id).await?;
    let browser = viewer.browser.clone();
    let looker = app.clone();
    let part = move || {
        let (app, viewer, id) = (looker.clone(), viewer.clone(), id.clone());
        async move {
            let deployment = find(&app, &viewer.caller, &id).await?;
            let (_, live) = seen(&app, &viewer.caller, &deployment).await?;
            render::part(&viewer, "deployment_live.html", live)
        }
    };
    live::stream(&app, &streams, &pages, &browser, live::changes(&app, &pages), part)
}

/// Shows how it is right now, as a part of the page or as a page of its own.
pub(super) async fn health(
    State(app): State<App>,
    viewer: Viewer,
    headers: HeaderMap,
    PathId(id): PathId,
) -> Result<Html<String>, ApiError> {
    let deployment = find(&app, &viewer.caller, &id).await?;
    let health = app.health(&viewer.caller, &deployment, None).await?;
    show_health(&app, &viewer, &headers, &deployment, (health, None)).await
}

/// The same, seen with AWS credentials that are for this one look.
pub(super) async fn health_with_credentials(
    State(app): State<App>,
    viewer: Viewer,
    headers: HeaderMap,
    PathId(id): PathId,
    given: PageForm,
) -> Result<Html<String>, ApiError> {
    let deployment = find(&app, &viewer.caller, &id).await?;
    let (aws, refused) = match credentials(&app, &given) {
        Ok(aws) => (aws, None),
        Err(error) => (None, Some(error.message)),
    };
    let health = app.health(&viewer.caller, &deployment, aws.as_ref()).await?;
    show_health(&app, &viewer, &headers, &deployment, (health, refused)).await
}

async fn show_health(
    app: &App,
    viewer: &Viewer,
    headers: &HeaderMap,
    deployment: &Deployment,
    (health, refused): (Health, Option<String>),
) -> Result<Html<String>, ApiError> {
    let record = app.deployment_record(deployment, OPERATIONS).await?;
    let values = HealthPart {
        id: deployment.id,
        name: deployment.name.to_string(),
        condition: Condition::of(&health),
        tree: resource_tree::of(deployment, &record, Some(&health)),
        lines: health.live.lines.iter().map(|it| to_sentence(it)).collect(),
        failure: health.failure.map(FailureObject::from),
        lacks_credentials: health.lacks_credentials,
        refused,
        looked_at: health.looked_at,
    };
    if headers.contains_key("hx-request") {
        return render::part(viewer, "health.html", values).map(Html);
    }
    let title = format!("Health of {}", deployment.name);
    render::page(viewer, "health_page.html", Heading { title: &title, place: "/" }, values)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::reply::operation::tests::a_deployment;

    fn a_record(deployment: &Deployment) -> DeploymentRecord {
        DeploymentRecord {
            target: None,
            versions: deployment.facts.version.iter().cloned().collect(),
            roll_outs: BTreeMap::new(),
            operations: Vec::new(),
            image_place: None,
            certificate_place: None,
        }
    }

    #[test]
    fn facts_that_nobody_knows_are_left_out() {
        let mut deployment = a_deployment();
        deployment.facts.node_port = None;

        let facts = facts(&deployment, &a_record(&deployment));

        let named = |name: &str| facts.iter().find(|it| it.name == name);
        assert_eq!(named("Ports").unwrap().value, "8000 (served)");
        assert_eq!(named("Repository").unwrap().link.as_deref(), Some("https://git.example.test/team/notes.git"));
        assert_eq!(named("Node port"), None);
    }

    #[test]
    fn a_version_that_was_gone_back_to_is_of_its_own_branch() {
        let mut deployment = a_deployment();
        let record = a_record(&deployment);
        let told = |deployment: &Deployment| {
            let facts = facts(deployment, &record);
            let of_refs =
                facts.into_iter().filter(|it| it.name.starts_with("Branch") || it.name.starts_with("The next"));
            of_refs.map(|it| it.value).collect::<Vec<_>>()
        };
        let git_ref = |text: &str| Some(GitRef::parse(text).unwrap());

        deployment.git_ref = git_ref("next");
        deployment.facts.version.as_mut().unwrap().git_ref = git_ref("refs/heads/trunk");
        assert_eq!(told(&deployment), ["trunk", "next"]);

        deployment.facts.version.as_mut().unwrap().git_ref = git_ref("refs/heads/next");
        assert_eq!(told(&deployment), ["next"]);
    }

    #[test]
    fn the_version_that_runs_is_told_from_the_others() {
        let deployment = a_deployment();
        let mut record = a_record(&deployment);
        record.versions.push(Version { revision: 2, ..record.versions[0].clone() });

        let live = Live::new(&deployment, &record, |principal| Some(principal.to_owned()));

        let versions: Vec<_> = live.versions.iter().map(|it| (it.revision, it.is_current)).collect();
        assert_eq!(versions, [(2, false), (1, true)]);
        assert_eq!(live.page_state, "idle");
    }
}
