//! Proves that nothing of a deployment is left.

use serde::{Deserialize, Serialize};

use super::context::StepContext;
use super::error::StepError;
use super::removal::{Removal, Removed};
use super::remove_images::remove_unused_images;
use crate::event::Failure;
use crate::id::ClusterName;

/// Proves that nothing of a deployment is left: on the cluster, in Docker, in the workspace.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VerifyRemoval {
    /// The cluster.
    pub cluster: ClusterName,
}

impl Removal for VerifyRemoval {
    const NAME: &'static str = "verify_removal";

    fn title(&self) -> String {
        "Check that nothing is left".to_owned()
    }

    fn summary(&self, _: &Removed) -> String {
        "nothing is left".to_owned()
    }

    async fn remove(&self, cx: &StepContext) -> Result<Vec<String>, StepError> {
        // Images that `remove_images` kept because another operation referred to them are tried again: that operation
        // may have ended since.
        let removed = remove_unused_images(cx, &self.cluster).await?;
        let mut left = Vec::new();
        let host = cx.host().await?;
        if !cx.is_cluster_gone(&self.cluster).await? {
            let kube = cx.kube(&self.cluster).await?;
            left.extend(kube.remaining_objects(cx.deployment.id).await?.iter().map(ToString::to_string));
        }
        for version in cx.store.versions(cx.deployment.id).await? {
            let is_there = host.docker.image(&version.image).await?.is_some();
            if is_there && cx.is_image_unused(&version.image, Some(cx.deployment.id)).await? {
                left.push(format!("image `{}`", version.image));
            }
        }
        let is_on_host = host.connection.exists(&host.deployment_folder(cx.deployment.id)).await?;
        if is_on_host || cx.deployment_folder().exists() {
            left.push("clone of the repository".to_owned());
        }
        if left.is_empty() {
            return Ok(removed);
        }
        Err(StepError::Transient(Failure {
            code: "leftovers".into(),
            message: format!("still there: {}", left.join(", ")),
            next_step: "Send `decommission` again".into(),
            output: left,
        }))
    }
}
