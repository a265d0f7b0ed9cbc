//! Removes the images of a deployment that nothing else uses, from Docker and from the nodes.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::build_image::{IMAGE_PREFIX, REVISION_LABEL, SOURCE_LABEL};
use super::clone_repository::CLONE_FOLDER;
use super::context::StepContext;
use super::error::StepError;
use super::removal::Removal;
use crate::cloud::docker::node::Node;
use crate::cloud::docker::node_images::Garbage;
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

/// Removes the images of the deployment that nothing else needs, and says which.
pub(super) async fn remove_unused_images(cx: &StepContext, cluster: &ClusterName) -> Result<Vec<String>, StepError> {
    remove_images(cx, cluster, &unused_images(cx).await?, Garbage::CollectNow).await
}

/// The images of the deployment that nothing else needs: those of its versions, and what was built for one that never
/// came to be.
pub(super) async fn unused_images(cx: &StepContext) -> Result<Vec<ImageRef>, StepError> {
    let versions = cx.store.versions(cx.deployment.id).await?;
    let mut images: BTreeSet<ImageRef> = unreleased_images(cx, &versions).await?.into_iter().collect();
    for version in &versions {
        images.extend(local_image_names(cx, version).await?);
    }
    let mut unused = Vec::new();
    for image in images {
        if cx.is_image_unused(&image, Some(cx.deployment.id)).await? {
            unused.push(image);
        }
    }
    Ok(unused)
}

/// The images that an operation which got stuck built of its commit: no version tells of them.
async fn unreleased_images(cx: &StepContext, versions: &[Version]) -> Result<Vec<ImageRef>, StepError> {
    // Nothing is built before the commit is in the log. A clone tells of it also when the log is gone: git writes it there.
    let mut commits: BTreeSet<CommitId> = cx.store.logged_commits(cx.deployment.id).await?.into_iter().collect();
    let host = cx.host().await?;
    let head = host.deployment_folder(cx.deployment.id).join(CLONE_FOLDER).join(".git/HEAD");
    let head = host.connection.read(&head).await?.unwrap_or_default();
    commits.extend(CommitId::parse(head.trim()));
    let mut images = Vec::new();
    for commit in commits.iter().filter(|it| versions.iter().all(|version| version.commit != **it)) {
        images.extend(images_of_commit(cx, commit).await?);
    }
    Ok(images)
}

/// The names under which Docker may have a version's image: what runs on EKS has the one that it was built as.
async fn local_image_names(cx: &StepContext, version: &Version) -> Result<Vec<ImageRef>, StepError> {
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

/// Removes images from the nodes and from Docker; says which ones Docker had.
pub(super) async fn remove_images(
    cx: &StepContext,
    cluster: &ClusterName,
    images: &[ImageRef],
    garbage: Garbage,
) -> Result<Vec<String>, StepError> {
    let docker = cx.host().await?.docker;
    for node in running_nodes(cx, cluster).await? {
        docker.remove_from_node(&node.container, images, garbage, &cx.cancel).await?;
    }
    let mut removed = Vec::new();
    for image in images {
        if docker.image(image).await?.is_some() {
            docker.remove_image(image).await?;
            removed.push(format!("image `{image}`"));
        }
    }
    Ok(removed)
}

/// The nodes that images were loaded into; those of EKS pull theirs.
pub(super) async fn running_nodes(cx: &StepContext, cluster: &ClusterName) -> Result<Vec<Node>, StepError> {
    if cx.target.mode == Mode::CloudHosted {
        return Ok(Vec::new());
    }
    let nodes = cx.host().await?.docker.nodes_of_cluster(cluster.as_str()).await?;
    Ok(nodes.into_iter().filter(|node| node.is_running && node.runs_pods()).collect())
}
