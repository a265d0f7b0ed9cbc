//! Removes the deployment's folder from the workspace.

use serde::{Deserialize, Serialize};

use super::context::StepContext;
use super::error::StepError;
use super::removal::Removal;
use crate::tool::ToolError;
use crate::tool::connection::Connection;

/// Removes the deployment's folder from the workspace.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RemoveWorkspace {}

impl Removal for RemoveWorkspace {
    const NAME: &'static str = "remove_workspace";

    fn title(&self) -> String {
        "Remove its clone".to_owned()
    }

    async fn remove(&self, cx: &StepContext) -> Result<Vec<String>, StepError> {
        let mut removed = remove_folders(cx).await?;
        let versions = cx.store.versions(cx.deployment.id).await?;
        if versions.iter().any(|version| version.build.builder.is_some()) {
            removed.extend(remove_caches(cx).await?);
        }
        Ok(removed)
    }
}

/// The name under which a builder keeps what the next build of a deployment can use.
pub(super) fn cache_name(cx: &StepContext) -> String {
    format!("on-demand-infra-{}", cx.deployment.id)
}

/// Removes what a builder kept for the next build of a deployment, and says what.
pub(super) async fn remove_caches(cx: &StepContext) -> Result<Vec<String>, StepError> {
    let removed = cx.hosts.local().docker.remove_volumes(&cache_name(cx)).await?;
    Ok(removed.into_iter().map(|name| format!("volume `{name}`")).collect())
}

/// Removes a deployment's folders; one that is not there is no error.
pub(super) async fn remove_folders(cx: &StepContext) -> Result<Vec<String>, StepError> {
    let there = if cx.will_destroy_target().await? {
        Ok(false)
    } else {
        let host = cx.host().await?;
        host.connection.remove_folder(&host.deployment_folder(cx.deployment.id)).await
    };
    // For a clone on an instance this machine holds its tree manifest in the folder of the same name; it is removed
    // too.
    let here = Connection::Local.remove_folder(&cx.deployment_folder()).await;
    match (there, here) {
        (Ok(there), Ok(here)) => {
            Ok(if there || here { vec!["clone of the repository".to_owned()] } else { Vec::new() })
        }
        (Err(ToolError::Files { path, source }), _) | (_, Err(ToolError::Files { path, source })) => {
            Err(StepError::permanent(
                "workspace_unavailable",
                format!("the folder `{path}` cannot be removed: {source}"),
                "Check who owns the files in it, then try again",
            ))
        }
        (Err(error), _) | (_, Err(error)) => Err(error.into()),
    }
}
