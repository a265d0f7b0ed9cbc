//! Brings the image onto the cluster's nodes: only what they lack.

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::action::{StepAction, StepUndo};
use super::build_image::BuildImage;
use super::context::StepContext;
use super::create_cluster::CreateCluster;
use super::error::StepError;
use crate::cloud::docker::node::Node;
use crate::cloud::docker::node_images::Garbage;
use crate::cloud::docker::{self, DockerError};
use crate::host::Host;
use crate::host::remote_build::RemoteBuildError;
use crate::id::{ClusterName, ImageRef};

/// Brings the image onto the cluster's nodes: only what they lack.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoadImage {
    /// The cluster.
    pub cluster: ClusterName,
    /// The image, when no earlier step builds it.
    pub image: Option<ImageRef>,
}

/// What went onto the nodes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ImageLoaded {
    /// Bytes that were sent.
    pub bytes_sent: u64,
    /// Layers that a node lacked.
    pub layers_sent: usize,
    /// Layers that were there already.
    pub layers_present: usize,
    /// Container ids of the nodes that have the image now.
    #[serde(default)]
    pub nodes: Vec<String>,
}

impl ImageLoaded {
    /// In one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let layers = self.layers_sent + self.layers_present;
        if self.layers_sent == 0 {
            return "nothing was lacking".to_owned();
        }
        format!("{} of {layers} layers, {} MB", self.layers_sent, self.bytes_sent.div_ceil(1_000_000))
    }
}

impl StepAction for LoadImage {
    const NAME: &'static str = "load_image";
    type Output = ImageLoaded;

    fn title(&self) -> String {
        "Load the image into the cluster".to_owned()
    }

    fn weight(&self) -> u32 {
        3
    }

    fn is_on_target(&self) -> bool {
        true
    }

    fn summary(&self, output: &ImageLoaded) -> String {
        output.summary()
    }

    fn had_nothing_to_do(&self, output: &ImageLoaded) -> bool {
        output.layers_sent == 0
    }

    async fn check(&self, cx: &StepContext) -> Result<Option<ImageLoaded>, StepError> {
        let Some(image) = self.image(cx)? else { return Ok(None) };
        find_on_nodes(cx, &self.cluster, &image).await
    }

    async fn run(&self, cx: &StepContext) -> Result<ImageLoaded, StepError> {
        let docker = cx.host().await?.docker;
        let image = self.image(cx)?.ok_or_else(|| missing(&"of the build"))?;
        if docker.image(&image).await?.is_none() {
            return Err(missing(&image));
        }
        load_on_nodes(cx, &self.cluster, &image).await
    }
}

impl StepUndo for LoadImage {
    async fn undo(&self, cx: &StepContext, _: Option<ImageLoaded>) -> Result<Vec<String>, StepError> {
        let Some(image) = self.image(cx)? else { return Ok(Vec::new()) };
        if !cx.is_image_unused(&image, None).await? {
            return Ok(Vec::new());
        }
        let (docker, images) = (cx.host().await?.docker, [image]);
        for node in docker.nodes_of_cluster(self.cluster.as_str()).await?.iter().filter(|node| node.runs_pods()) {
            let removed = docker.remove_from_node(&node.container, &images, Garbage::CollectNow, &cx.cancel).await;
            let Err(error) = removed else { continue };
            // One that is stopped, half made or about to go has no image that anybody could run.
            if matches!(error, DockerError::Cancelled) || docker.node_answers(&node.container, &cx.cancel).await {
                return Err(error.into());
            }
            cx.lines
                .output(format!("the image stays on the node `{}`, which does not answer: {error}", node.container));
        }
        Ok(Vec::new())
    }
}

impl LoadImage {
    fn image(&self, cx: &StepContext) -> Result<Option<ImageRef>, StepError> {
        Ok(match &self.image {
            Some(image) => Some(image.clone()),
            None => cx.try_output::<BuildImage>()?.map(|built| built.image),
        })
    }
}

/// Looks whether every node that runs pods has the image that Docker has under this name.
pub(super) async fn find_on_nodes(
    cx: &StepContext,
    cluster: &ClusterName,
    image: &ImageRef,
) -> Result<Option<ImageLoaded>, StepError> {
    let docker = cx.host().await?.docker;
    let Some(info) = docker.image(image).await? else { return Ok(None) };
    let nodes = docker.nodes_of_cluster(cluster.as_str()).await?;
    if nodes.is_empty() {
        return Ok(None);
    }
    let mut loaded = ImageLoaded { layers_present: info.diff_ids.len(), ..ImageLoaded::default() };
    for node in nodes.into_iter().filter(Node::runs_pods) {
        match docker.node_has_image(&node.container, image, &info, &cx.cancel).await {
            Ok(true) => loaded.nodes.push(node.id),
            // A node that is only just starting has nothing yet.
            Ok(false) | Err(_) => return Ok(None),
        }
    }
    Ok(Some(loaded))
}

/// Loads an image again when the cluster has other nodes than those that [`LoadImage`] has loaded it into: it works while the
/// cluster is created, and a creation that was interrupted begins anew. Nodes of EKS pull.
pub(super) async fn load_on_new_nodes(
    cx: &StepContext,
    cluster: &ClusterName,
    image: &ImageRef,
) -> Result<(), StepError> {
    let Some(loaded) = cx.try_output::<LoadImage>()? else { return Ok(()) };
    let nodes = cx.host().await?.docker.nodes_of_cluster(cluster.as_str()).await?;
    if nodes.iter().any(|node| node.runs_pods() && !loaded.nodes.contains(&node.id)) {
        cx.lines.progress("loading the image into the nodes that were made anew");
        load_on_nodes(cx, cluster, image).await?;
    }
    Ok(())
}

/// Loads an image into every node that runs pods, as soon as the first one takes images.
pub(super) async fn load_on_nodes(
    cx: &StepContext,
    cluster: &ClusterName,
    image: &ImageRef,
) -> Result<ImageLoaded, StepError> {
    let host = cx.host().await?;
    // A cluster that is ready takes images; one that is being made may not even have a node yet.
    if cx.try_output::<CreateCluster>()?.is_some() {
        return load_on_present_nodes(cx, &host, cluster, image).await;
    }
    let (start, timeout) = (Instant::now(), cx.settings.kind.cluster_timeout);
    let first = format!("{cluster}-control-plane");
    loop {
        host.docker.wait_for_node(&first, timeout, &cx.lines, &cx.cancel).await?;
        let loaded = load_on_present_nodes(cx, &host, cluster, image).await;
        let may_be_anew = loaded.is_err() && !cx.cancel.is_cancelled() && start.elapsed() < timeout;
        if !may_be_anew || host.docker.node_answers(&first, &cx.cancel).await {
            return loaded;
        }
        // A creation that was interrupted begins anew, and takes the node away that was there.
        cx.lines.progress("the node went away; waiting for the one that is made anew");
    }
}

async fn load_on_present_nodes(
    cx: &StepContext,
    host: &Host,
    cluster: &ClusterName,
    image: &ImageRef,
) -> Result<ImageLoaded, StepError> {
    let mut all = ImageLoaded::default();
    for node in host.docker.nodes_of_cluster(cluster.as_str()).await?.into_iter().filter(Node::runs_pods) {
        match load_on_node(cx, host, image, &node.container).await {
            Ok(loaded) => {
                all.bytes_sent += loaded.bytes_sent;
                all.layers_sent += loaded.layers_sent;
                all.layers_present += loaded.layers_present;
            }
            Err(RemoteBuildError::Docker(DockerError::NodeRefused { reason, .. })) => {
                cx.lines.output(format!("the node refused the layers alone ({reason}); `kind load` sends all of them"));
                cx.lines.progress("sending the whole image with kind");
                host.kind.load_image(cluster, image, &cx.calls_on(host), &cx.lines, &cx.cancel).await?;
            }
            Err(error) => return Err(error.into()),
        }
        all.nodes.push(node.id);
    }
    Ok(all)
}

async fn load_on_node(
    cx: &StepContext,
    host: &Host,
    image: &ImageRef,
    node: &str,
) -> Result<ImageLoaded, RemoteBuildError> {
    if host.connection.is_local() {
        let loaded = host.docker.load_into_node(image, node, &cx.lines, &cx.cancel).await?;
        let docker::load::LoadStats { bytes_sent, layers_sent, layers_present } = loaded;
        return Ok(ImageLoaded { bytes_sent, layers_sent, layers_present, ..ImageLoaded::default() });
    }
    // The image would come here and go back: over there it goes from Docker to the node as a whole, which is quicker.
    let info = host.docker.image(image).await?;
    host.load(image, node, &cx.calls_on(host), &cx.lines, &cx.cancel).await?;
    let info = info.map(|info| (info.size_bytes, info.diff_ids.len()));
    let (bytes_sent, layers_sent) = info.unwrap_or_default();
    Ok(ImageLoaded { bytes_sent, layers_sent, ..ImageLoaded::default() })
}

fn missing(image: &dyn std::fmt::Display) -> StepError {
    StepError::permanent(
        "image_missing",
        format!("the image {image} is no longer on this machine"),
        "Send `redeploy` with that commit as `git_ref`, which builds it again",
    )
}
