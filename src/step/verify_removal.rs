//! Proves that nothing of a deployment is left.

use serde::{Deserialize, Serialize};

use super::context::StepContext;
use super::error::StepError;
use super::preload_base_image::warn_of_cached_images;
use super::removal::{Removal, Removed};
use super::remove_images::{remove_unused_images, running_nodes, unused_images};
use crate::event::Failure;
use crate::id::ClusterName;

/// Proves that nothing of a deployment is left: on the cluster and its nodes, in Docker, in the workspace.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VerifyRemoval {
    /// The cluster.
    pub cluster: ClusterName,
    /// Whether a later step takes the cluster, or says why it stays and what does so with it.
    #[serde(default)]
    pub cluster_may_go: bool,
}

impl Removal for VerifyRemoval {
    const NAME: &'static str = "verify_removal";

    fn title(&self) -> String {
        "Check that nothing is left".to_owned()
    }

    fn summary(&self, _: &Removed) -> String {
        "nothing is left".to_owned()
    }

    /// The check itself is what it is there for.
    fn had_nothing_to_do(&self, _: &Removed) -> bool {
        false
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
        let unused = unused_images(cx).await?;
        for image in &unused {
            if host.docker.image(image).await?.is_some() {
                left.push(format!("image `{image}`"));
            }
        }
        for node in running_nodes(cx, &self.cluster).await? {
            let images = host.docker.images_left_on_node(&node.container, &unused, &cx.cancel).await?;
            left.extend(images.iter().map(|image| format!("image `{image}` on the node `{}`", node.container)));
        }
        let is_on_host = host.connection.exists(&host.deployment_folder(cx.deployment.id)).await?;
        if is_on_host || cx.deployment_folder().exists() {
            left.push("clone of the repository".to_owned());
        }
        if left.is_empty() {
            if !self.cluster_may_go {
                warn_of_cached_images(cx, &self.cluster, &cx.deployment.facts.base_images).await?;
            }
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
