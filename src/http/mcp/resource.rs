//! Resources: deployments, what they print, and operations with their events, to read and to follow.

use rmcp::ErrorData;
use rmcp::model::{
    ListResourceTemplatesResult, ListResourcesResult, PaginatedRequestParams, ReadResourceResult, Resource,
    ResourceContents, ResourceTemplate,
};
use serde::Serialize;
use serde_json::json;

use super::operation;
use super::task::in_protocol;
use crate::access::Caller;
use crate::app::App;
use crate::http::deployments::DeploymentObject;
use crate::http::error::ApiError;
use crate::id::{DeploymentId, OperationId};
use crate::intent::partial::DEFAULT_TAIL;
use crate::store::deployments::DeploymentFilter;
use crate::store::page::PageRequest;
use crate::store::record::Deployment;

/// How many deployments a page of resources tells of.
const PAGE: u32 = 100;
const JSON: &str = "application/json";
const TEXT: &str = "text/plain";

/// What a URI names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResourceName {
    /// `deployment://{id}`.
    Deployment(DeploymentId),
    /// `operation://{id}`.
    Operation(OperationId),
    /// `logs://{id of a deployment}`.
    Logs(DeploymentId),
}

impl ResourceName {
    /// Reads a URI.
    #[must_use]
    pub fn parse(uri: &str) -> Option<Self> {
        let (scheme, id) = uri.split_once("://")?;
        match scheme {
            "deployment" => DeploymentId::parse(id).ok().map(Self::Deployment),
            "operation" => OperationId::parse(id).ok().map(Self::Operation),
            "logs" => DeploymentId::parse(id).ok().map(Self::Logs),
            _ => None,
        }
    }

    /// Its URI.
    #[must_use]
    pub fn uri(self) -> String {
        match self {
            Self::Deployment(id) => format!("deployment://{id}"),
            Self::Operation(id) => format!("operation://{id}"),
            Self::Logs(id) => format!("logs://{id}"),
        }
    }
}

/// What is deployed and in sight, page by page: each deployment, what it prints, and its last operation.
///
/// # Errors
/// When the cursor is none of ours.
pub async fn list(
    app: &App,
    caller: &Caller,
    params: Option<PaginatedRequestParams>,
) -> Result<ListResourcesResult, ErrorData> {
    let cursor = params.and_then(|it| it.cursor);
    let after = match cursor.as_deref().map(DeploymentId::parse) {
        Some(Err(_)) => return Err(unknown_cursor()),
        Some(Ok(id)) => Some(id),
        None => None,
    };
    let page = app.deployments(caller, &DeploymentFilter::default(), &PageRequest { after, limit: PAGE }).await;
    let page = page.map_err(|error| in_protocol(error.into()))?;
    let last = page.items.last().map(|it| it.as_ref().map_or_else(|it| it.id, |it| it.id));
    let mut result = ListResourcesResult::with_all_items(page.items.iter().flatten().flat_map(resources).collect());
    result.next_cursor = last.filter(|_| page.has_more).map(|it| it.to_string());
    Ok(result)
}

/// A cursor that no page has ended with.
#[must_use]
pub fn unknown_cursor() -> ErrorData {
    ErrorData::invalid_params("the cursor is not one that this server has given", None)
}

fn resources(deployment: &Deployment) -> [Resource; 3] {
    let name = &deployment.name;
    let resource = |it: ResourceName, name: String, about: String, kind: &str| {
        Resource::new(it.uri(), name).with_description(about).with_mime_type(kind)
    };
    let place = format!("`{name}` in namespace `{}` on `{}`", deployment.namespace, deployment.target_name);
    [
        resource(ResourceName::Deployment(deployment.id), name.to_string(), place.clone(), JSON),
        resource(
            ResourceName::Logs(deployment.id),
            format!("{name} output"),
            format!("What {place} printed last"),
            TEXT,
        ),
        resource(
            ResourceName::Operation(deployment.operation),
            format!("{name} last operation"),
            format!("The operation that last changed {place}, with its events"),
            JSON,
        ),
    ]
}

/// How resources are named.
#[must_use]
pub fn templates() -> ListResourceTemplatesResult {
    let template = |uri: &str, name: &str, title: &str, about: &str, kind: &str| {
        ResourceTemplate::new(uri, name).with_title(title).with_description(about).with_mime_type(kind)
    };
    ListResourceTemplatesResult::with_all_items(vec![
        template("deployment://{id}", "deployment", "Deployment", "A deployment, by its id.", JSON),
        template("operation://{id}", "operation", "Operation", "An operation with its events, by its id.", JSON),
        template("logs://{id}", "logs", "Output", "The last lines that a deployment printed, by its id.", TEXT),
    ])
}

/// Reads a resource.
///
/// # Errors
/// When there is none, or its cluster does not answer.
pub async fn read(app: &App, caller: &Caller, uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let unknown = || {
        let shown: String = uri.chars().take(120).collect();
        ErrorData::resource_not_found(format!("there is no resource `{shown}`"), Some(json!({"uri": shown})))
    };
    let name = ResourceName::parse(uri).ok_or_else(unknown)?;
    let found = match name {
        ResourceName::Deployment(id) => match deployment(app, caller, id).await.map_err(in_protocol)? {
            Some(found) => json_text(&DeploymentObject::from(&found), uri),
            None => return Err(unknown()),
        },
        ResourceName::Operation(id) => match operation::tell(app, caller, id).await {
            Ok(told) => {
                let events = app.events(&told.operation).await.map_err(|error| in_protocol(error.into()))?;
                json_text(&json!({"operation": told.object, "events": events}), uri)
            }
            Err(ApiError::OperationNotFound(_)) => return Err(unknown()),
            Err(error) => return Err(in_protocol(error)),
        },
        ResourceName::Logs(id) => match deployment(app, caller, id).await.map_err(in_protocol)? {
            Some(found) => {
                let lines = app.last_lines(&found, DEFAULT_TAIL, None).await;
                ResourceContents::text(lines.map_err(|error| in_protocol(error.into()))?.join("\n"), uri)
            }
            None => return Err(unknown()),
        },
    };
    Ok(ReadResourceResult::new(vec![found]))
}

async fn deployment(app: &App, caller: &Caller, id: DeploymentId) -> Result<Option<Deployment>, ApiError> {
    Ok(app.deployment(caller, id).await?)
}

fn json_text(value: &impl Serialize, uri: &str) -> ResourceContents {
    ResourceContents::text(serde_json::to_string_pretty(value).unwrap_or_default(), uri).with_mime_type(JSON)
}
