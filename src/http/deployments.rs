//! `GET /v1/deployments`: what exists, and what it prints.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use jiff::Timestamp;
use serde::Serialize;

use crate::access::Caller;
use crate::app::App;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::limit::Streams;
use crate::http::list::{List, ListQuery, PageParams};
use crate::http::path::PathId;
use crate::http::request_id::RequestId;
use crate::http::sse;
use crate::http::unreadable::UnreadableObject;
use crate::id::{DeploymentId, EnvironmentName, ExposedPort, Mode};
use crate::intent::partial::{DEFAULT_TAIL, MAX_TAIL};
use crate::store::deployments::DeploymentFilter;
use crate::store::record::{Deployment, DeploymentState};
use crate::store::unreadable::UnreadableDeployment;

/// A deployment: one flat object, the same in the chat answer, in operations and in lists. What its mode does not
/// have, or not yet, is null.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct DeploymentObject {
    /// Always `deployment`.
    #[schema(value_type = String)]
    pub object: &'static str,
    /// Its id.
    #[schema(value_type = String)]
    pub id: DeploymentId,
    /// Kind of target.
    pub deployment_mode: Option<Mode>,
    /// Where it stands.
    pub state: DeploymentState,
    /// Name of the target: cluster or instance.
    pub instance_id: String,
    /// Name of the application.
    pub instance_name: String,
    /// Its namespace.
    pub target_namespace: String,
    /// What it is built from.
    pub github_repo_url: String,
    /// Branch, tag or commit that was asked for.
    pub git_ref: Option<String>,
    /// Directory of the repository in which its build begins; null for the root.
    pub source_directory: Option<String>,
    /// Path of the Dockerfile in the repository that it was built by.
    pub dockerfile_path: Option<String>,
    /// Text of the Dockerfile that was made, when the repository has none.
    pub generated_dockerfile: Option<String>,
    /// The builder that made the image, when there is no Dockerfile at all.
    pub builder: Option<String>,
    /// Directory of the repository that was the build context; empty for the root.
    pub build_context: Option<String>,
    /// Stage of the Dockerfile that became the image; null for the last one.
    pub build_target: Option<String>,
    /// Platform that the image was built for; null for that of Docker.
    pub build_platform: Option<String>,
    /// Values of the Dockerfile's ARG lines.
    #[schema(value_type = std::collections::HashMap<String, String>)]
    pub build_args: BTreeMap<EnvironmentName, String>,
    /// The commit that runs.
    pub commit: Option<String>,
    /// The image that runs.
    pub image: Option<String>,
    /// How many replicas are wanted.
    pub replicas: Option<u16>,
    /// Ports that it listens on, the one that is served first.
    pub ports: Vec<u16>,
    /// Where it answers.
    pub app_url: Option<String>,
    /// Public address of the EC2 instance.
    pub public_ip: Option<String>,
    /// The same, under the original's name.
    pub ec2_public_ip: Option<String>,
    /// Id of the EC2 instance.
    pub ec2_instance_id: Option<String>,
    /// Key pair of the EC2 instance.
    pub ec2_key_name: Option<String>,
    /// Its node port.
    pub node_port: Option<u16>,
    /// ECR repository.
    pub ecr_repository_url: Option<String>,
    /// Endpoint of the EKS cluster.
    pub eks_cluster_endpoint: Option<String>,
    /// DNS name of the load balancer.
    pub nlb_dns_name: Option<String>,
    /// Certificate of the domain.
    pub acm_certificate_arn: Option<String>,
    /// Things that are worth knowing.
    pub warnings: Vec<String>,
    /// When it was first asked for.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Only there when this version of the server cannot read all of it; what it cannot read is null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<UnreadableObject>,
}

impl From<&Deployment> for DeploymentObject {
    fn from(it: &Deployment) -> Self {
        let facts = it.facts.clone();
        let version = facts.version;
        let build = version.as_ref().map(|version| version.build.clone()).unwrap_or_default();
        let options = version.as_ref().map(|version| version.build_options.clone()).unwrap_or_default();
        let mut ports: Vec<u16> = version.iter().map(|version| version.main_port.get()).collect();
        for ExposedPort { number: port, .. } in version.iter().flat_map(|version| &version.ports) {
            if !ports.contains(&port.get()) {
                ports.push(port.get());
            }
        }
        Self {
            object: "deployment",
            id: it.id,
            deployment_mode: Some(it.mode),
            state: it.state,
            instance_id: it.target_name.clone(),
            instance_name: it.name.to_string(),
            target_namespace: it.namespace.to_string(),
            github_repo_url: it.repository.to_string(),
            git_ref: it.git_ref.as_ref().map(ToString::to_string),
            source_directory: it.source_directory.as_ref().map(ToString::to_string),
            dockerfile_path: build.dockerfile,
            generated_dockerfile: build.generated,
            builder: build.builder,
            build_context: version.is_some().then_some(build.context),
            build_target: options.target.as_ref().map(ToString::to_string),
            build_platform: options.platform.as_ref().map(ToString::to_string),
            build_args: options.args,
            commit: version.as_ref().map(|version| version.commit.to_string()),
            image: version.as_ref().map(|version| version.image.to_string()),
            replicas: facts.replicas,
            ports,
            app_url: facts.app_url,
            ec2_public_ip: facts.public_ip.clone(),
            public_ip: facts.public_ip,
            ec2_instance_id: facts.ec2_instance_id,
            ec2_key_name: facts.ec2_key_name,
            node_port: facts.node_port,
            ecr_repository_url: facts.ecr_repository_url,
            eks_cluster_endpoint: facts.eks_cluster_endpoint,
            nlb_dns_name: facts.nlb_dns_name,
            acm_certificate_arn: facts.acm_certificate_arn,
            warnings: facts.warnings,
            created_at: it.created_at,
            updated_at: it.updated_at,
            unreadable: None,
        }
    }
}

impl From<&UnreadableDeployment> for DeploymentObject {
    fn from(it: &UnreadableDeployment) -> Self {
        Self {
            object: "deployment",
            id: it.id,
            deployment_mode: it.mode,
            // Of a state that is not known a person has to make something.
            state: it.state.unwrap_or(DeploymentState::Failed),
            instance_id: it.target_name.clone(),
            instance_name: it.name.clone(),
            target_namespace: it.namespace.clone(),
            github_repo_url: it.repository.clone(),
            git_ref: None,
            source_directory: None,
            dockerfile_path: None,
            generated_dockerfile: None,
            builder: None,
            build_context: None,
            build_target: None,
            build_platform: None,
            build_args: BTreeMap::new(),
            commit: None,
            image: None,
            replicas: None,
            ports: Vec::new(),
            app_url: None,
            public_ip: None,
            ec2_public_ip: None,
            ec2_instance_id: None,
            ec2_key_name: None,
            node_port: None,
            ecr_repository_url: None,
            eks_cluster_endpoint: None,
            nlb_dns_name: None,
            acm_certificate_arn: None,
            warnings: Vec::new(),
            created_at: it.created_at,
            updated_at: it.updated_at,
            unreadable: Some(it.cause.clone().into()),
        }
    }
}

/// Lists deployments, newest first.
///
/// # Errors
/// [`ApiError`] when the query is wrong or the store fails.
#[utoipa::path(get, path = "/v1/deployments", tag = "deployments",
    params(PageParams, ("state" = Option<DeploymentState>, Query, description = "Only in this state"),
        ("mode" = Option<Mode>, Query, description = "Only of this mode")),
    responses((status = 200, body = List<DeploymentObject>), (status = 400, body = ErrorBody)))]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    query: ListQuery,
) -> Result<Json<List<DeploymentObject>>, ApiError> {
    let filter = DeploymentFilter {
        state: query.read(
            "state",
            "`deploying`, `running`, `failed`, `removing` or `removed`",
            DeploymentState::parse,
        )?,
        mode: query.read("mode", "`local`, `cloud-local` or `cloud-hosted`", |text| Mode::parse(text).ok())?,
        ..DeploymentFilter::default()
    };
    let page = app.deployments(&caller, &filter, &query.page("the id of a deployment", DeploymentId::parse)?).await?;
    let object = |it: &Result<_, _>| it.as_ref().map_or_else(DeploymentObject::from, DeploymentObject::from);
    let data = page.items.iter().map(object).collect();
    Ok(Json(List::new(data, page.has_more, |it| it.id.to_string())))
}

/// Shows one deployment.
///
/// # Errors
/// [`ApiError::DeploymentNotFound`].
#[utoipa::path(get, path = "/v1/deployments/{id}", tag = "deployments",
    params(("id" = String, Path, description = "Id of the deployment")),
    responses((status = 200, body = DeploymentObject), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub async fn show(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId,
) -> Result<Json<DeploymentObject>, ApiError> {
    find(&app, &caller, &id).await.map(|deployment| Json(DeploymentObject::from(&deployment)))
}

/// Shows what an application prints: `{"object", "id", "lines"}`, or events with one line each when it is followed.
///
/// # Errors
/// [`ApiError`] when there is no such deployment or its output cannot be read.
#[utoipa::path(get, path = "/v1/deployments/{id}/logs", tag = "deployments",
    params(("id" = String, Path, description = "Id of the deployment"),
        ("tail" = Option<u32>, Query, description = "How many of the last lines of each pod, from 1 to 5000"),
        ("follow" = Option<bool>, Query, description = "Answer with a stream of events and go on with new lines")),
    responses((status = 200, content((LogLines = "application/json"), (sse::Frame = "text/event-stream")),
            description = "The lines; with `follow` one in the data of each event"), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub async fn logs(
    State(app): State<App>,
    State(streams): State<Streams>,
    caller: Caller,
    request_id: RequestId,
    PathId(id): PathId,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let tail = read_tail(&query)?;
    let follow = query.read("follow", "`true` or `false`", |text| text.parse().ok())?.unwrap_or(false);
    let deployment = find(&app, &caller, &id).await?;
    if !follow {
        let lines = app.last_lines(&deployment, tail, None).await?;
        return Ok(Json(LogLines { object: "list", id: deployment.id, lines }).into_response());
    }
    let open = streams.open()?;
    let lines = app.logs(&deployment, tail, true, None).await?.take_until(app.shutdown_token().cancelled_owned());
    let events = lines.map(move |line| match line {
        Ok(line) => sse::data(&LogLineObject { line }),
        Err(error) => sse::data(&ApiError::from(error).body(request_id.as_str())),
    });
    Ok(sse::respond(events, open))
}

/// How many of the last lines of each pod are asked for.
///
/// # Errors
/// [`ApiError`] when that is no number, or not in range.
pub(super) fn read_tail(query: &ListQuery) -> Result<u32, ApiError> {
    let in_range = |text: &str| text.parse().ok().filter(|tail| (1..=MAX_TAIL).contains(tail));
    let rule = format!("a whole number from 1 to {MAX_TAIL}");
    Ok(query.read("tail", &rule, in_range)?.unwrap_or(DEFAULT_TAIL))
}

/// The last lines that an application printed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct LogLines {
    /// Always `list`.
    #[schema(value_type = String)]
    pub object: &'static str,
    /// Id of the deployment.
    #[schema(value_type = String)]
    pub id: DeploymentId,
    /// The lines, oldest first.
    pub lines: Vec<String>,
}

#[derive(Debug, Serialize)]
struct LogLineObject {
    line: String,
}

/// The deployment with this id, if it is in sight. What is no id is the id of nothing.
///
/// # Errors
/// [`ApiError`] when it cannot be read.
pub(super) async fn look_up(app: &App, caller: &Caller, id: &str) -> Result<Option<Deployment>, ApiError> {
    match DeploymentId::parse(id) {
        Ok(id) => Ok(app.deployment(caller, id).await?),
        Err(_) => Ok(None),
    }
}

async fn find(app: &App, caller: &Caller, id: &str) -> Result<Deployment, ApiError> {
    let found = look_up(app, caller, id).await?;
    let shown: String = id.chars().take(80).collect();
    found.ok_or_else(|| {
        ApiError::DeploymentNotFound(format!("there is no deployment `{shown}`; `GET /v1/deployments` lists them"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::operation::tests::a_deployment;

    #[test]
    fn a_deployment_is_one_flat_object() {
        insta::assert_json_snapshot!(DeploymentObject::from(&a_deployment()));
    }

    #[test]
    fn a_deployment_before_its_first_rollout_has_nulls() {
        let mut deployment = a_deployment();
        deployment.facts = Default::default();

        let object = DeploymentObject::from(&deployment);

        assert_eq!((object.commit, object.ports, object.app_url), (None, Vec::new(), None));
    }
}
