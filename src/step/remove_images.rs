//! Removes the images of a deployment that nothing else uses, from Docker and from the nodes.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::build_image::{IMAGE_PREFIX, REVISION_LABEL, SOURCE_LABEL};
use super::clone_repository::CLONE_FOLDER;
use super::context::StepContext;
use super::error::StepError;
use super::removal::Removal;
use crate::id::{ClusterName, CommitId, ImageRef, Mode};
use crate::store::record::Version;

/// Removes the images of a deployment that nothing else uses, from Docker and from the nodes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RemoveImages {
    /// The cluster.
    pub cluster: ClusterName,
}

impl Removal for RemoveImages {
    const NAME: &'static str = "remove_images";

    fn title(&self) -> String {
        "Remove its images".to_owned()
    }

    async fn remove(&self, cx: &StepContext) -> Result<Vec<String>, StepError> {
        remove_unused_images(cx, &self.cluster).await
    }
}

/// Removes the images of the deployment's versions that nothing else needs, and says which.
pub(super) async fn remove_unused_images(cx: &StepContext, cluster: &ClusterName) -> Result<Vec<String>, StepError> {
    let versions = cx.store.versions(cx.deployment.id).await?;
    let mut images = BTreeSet::new();
    for version in versions {
        images.extend(local_image_names(cx, &version).await?);
    }
    if cx.deployment.facts.version.is_none() {
        images.extend(unreleased_images(cx).await?);
    }
    let mut removed = Vec::new();
    for image in images {
        if !cx.is_image_unused(&image, Some(cx.deployment.id)).await? {
            continue;
        }
        removed.extend(remove_image(cx, cluster, &image).await?);
    }
    Ok(removed)
}

/// The images that a deploy which got stuck built of the clone's commit: no version tells of them.
async fn unreleased_images(cx: &StepContext) -> Result<Vec<ImageRef>, StepError> {
    // git writes the commit there; without a clone nothing was built.
    let host = cx.host().await?;
    let head = host.deployment_folder(cx.deployment.id).join(CLONE_FOLDER).join(".git/HEAD");
    let head = host.connection.read(&head).await?.unwrap_or_default();
    let Ok(commit) = CommitId::parse(head.trim()) else { return Ok(Vec::new()) };
    images_of_commit(cx, &commit).await
}

/// The names under which Docker may have a version's image: what runs on EKS has the one that it was built as.
pub(super) async fn local_image_names(cx: &StepContext, version: &Version) -> Result<Vec<ImageRef>, StepError> {
    match cx.target.mode {
        Mode::Local | Mode::CloudLocal => Ok(vec![version.image.clone()]),
        Mode::CloudHosted => images_of_commit(cx, &version.commit).await,
    }
}

/// The images that were built of a commit of the repository.
async fn images_of_commit(cx: &StepContext, commit: &CommitId) -> Result<Vec<ImageRef>, StepError> {
    let docker = &cx.host().await?.docker;
    let of_commit = docker.images_with_label(REVISION_LABEL, commit.as_str()).await?;
    let of_repository = docker.images_with_label(SOURCE_LABEL, cx.deployment.repository.as_str()).await?;
    let is_ours = |image: &ImageRef| image.as_str().starts_with(IMAGE_PREFIX) && of_repository.contains(image);
    Ok(of_commit.into_iter().filter(is_ours).collect())
}

/// Removes an image from the nodes and from Docker; says which when Docker had it.
pub(super) async fn remove_image(
    cx: &StepContext,
    cluster: &ClusterName,
    image: &ImageRef,
) -> Result<Option<String>, StepError> {
    remove_from_nodes(cx, cluster, image).await?;
    let docker = cx.host().await?.docker;
    if docker.image(image).await?.is_none() {
        return Ok(None);
    }
    docker.remove_image(image).await?;
    Ok(Some(format!("image `{image}`")))
}

/// Removes an image from every node that runs.
pub(super) async fn remove_from_nodes(
    cx: &StepContext,
    cluster: &ClusterName,
    image: &ImageRef,
) -> Result<(), StepError> {
    if cx.target.mode == Mode::CloudHosted {
        return Ok(());
    }
    let docker = cx.host().await?.docker;
    for node in docker.nodes_of_cluster(cluster.as_str()).await? {
        if node.is_running && node.runs_pods() {
            docker.remove_from_node(&node.container, image, &cx.cancel).await?;
        }
    }
    Ok(())
}
