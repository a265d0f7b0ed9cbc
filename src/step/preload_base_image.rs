//! Brings the base image onto the cluster's nodes while the build still runs: afterwards only its own layers are left.
//!
//! It stays there when the deployment goes: the next build on the same base needs it, and others may do so already.

use serde::{Deserialize, Serialize};

use super::action::{StepAction, StepUndo};
use super::analyse_repository::AnalyseRepository;
use super::build_image::BuildImage;
use super::context::StepContext;
use super::error::StepError;
use super::load_image::{ImageLoaded, find_on_nodes, load_on_nodes};
use super::remove_images::running_nodes;
use crate::id::{ClusterName, ImageRef};
use crate::store::record::Deployment;

/// Brings the base image onto the cluster's nodes while the build still runs. Only a shortcut: it never fails a plan.
/// A public image on the node is a cache, which the kubelet clears when space gets short.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PreloadBaseImage {
    /// The cluster.
    pub cluster: ClusterName,
    /// The build that it saves time for.
    pub build: BuildImage,
}

/// What went onto the nodes ahead of the build.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct BaseImageLoaded {
    /// How much of it they lacked.
    #[serde(flatten)]
    pub loaded: ImageLoaded,
    /// The base image, when it was loaded.
    #[serde(default)]
    pub image: Option<ImageRef>,
}

impl StepAction for PreloadBaseImage {
    const NAME: &'static str = "preload_base_image";
    type Output = BaseImageLoaded;

    fn title(&self) -> String {
        "Load the base image meanwhile".to_owned()
    }

    fn is_on_target(&self) -> bool {
        true
    }

    fn summary(&self, output: &BaseImageLoaded) -> String {
        output.loaded.summary()
    }

    fn had_nothing_to_do(&self, output: &BaseImageLoaded) -> bool {
        output.loaded.layers_sent == 0
    }

    fn record(&self, output: &BaseImageLoaded, deployment: &mut Deployment) {
        let known = &mut deployment.facts.base_images;
        known.extend(output.image.clone().filter(|image| !known.contains(image)));
    }

    async fn check(&self, cx: &StepContext) -> Result<Option<BaseImageLoaded>, StepError> {
        // On another machine an image goes to the node as a whole: its base would go there twice.
        if !cx.host().await?.connection.is_local() {
            return Ok(Some(BaseImageLoaded::default()));
        }
        // An image that is built already is loaded as a whole, or is there.
        if self.build.check(cx).await?.is_some() {
            return Ok(Some(BaseImageLoaded::default()));
        }
        let Some(base) = self.base(cx).await? else { return Ok(Some(BaseImageLoaded::default())) };
        // One that is there already is not sent again: put together anew of its layers it would have another id, and the
        // earlier one would stay without a name.
        let found = find_on_nodes(cx, &self.cluster, &base).await?;
        Ok(found.map(|loaded| BaseImageLoaded { loaded, image: Some(base) }))
    }

    async fn run(&self, cx: &StepContext) -> Result<BaseImageLoaded, StepError> {
        let Some(base) = self.base(cx).await? else { return Ok(BaseImageLoaded::default()) };
        match load_on_nodes(cx, &self.cluster, &base).await {
            Ok(loaded) => Ok(BaseImageLoaded { loaded, image: Some(base) }),
            Err(StepError::Cancelled) => Err(StepError::Cancelled),
            Err(error) => {
                cx.lines.output(format!("the base image was not loaded ahead: {error}"));
                Ok(BaseImageLoaded::default())
            }
        }
    }
}

impl StepUndo for PreloadBaseImage {
    /// Says that it stays, when it came with this operation.
    async fn undo(&self, cx: &StepContext, left: Option<BaseImageLoaded>) -> Result<Vec<String>, StepError> {
        let came = left.filter(|left| left.loaded.layers_sent > 0).and_then(|left| left.image);
        // Whoever cannot be asked is no reason to get stuck.
        let _ = warn_of_cached_images(cx, &self.cluster, came.as_slice()).await;
        Ok(Vec::new())
    }
}

impl PreloadBaseImage {
    /// The base image, when it has a name and Docker has it here.
    async fn base(&self, cx: &StepContext) -> Result<Option<ImageRef>, StepError> {
        let name = cx.try_output::<AnalyseRepository>()?.and_then(|analysis| analysis.base_image);
        let Some(base) = name.and_then(|name| ImageRef::parse(name).ok()) else { return Ok(None) };
        Ok(cx.host().await?.docker.image(&base).await?.map(|_| base))
    }
}

/// Says which of these base images the cluster's nodes keep.
pub(super) async fn warn_of_cached_images(
    cx: &StepContext,
    cluster: &ClusterName,
    images: &[ImageRef],
) -> Result<(), StepError> {
    let (docker, nodes) = (cx.host().await?.docker, running_nodes(cx, cluster).await?);
    let mut cached = Vec::new();
    for image in images {
        for node in &nodes {
            // Without an answer nothing is known to stay; what must not stay is looked for elsewhere.
            if docker.node_has_name(&node.container, image, &cx.cancel).await.unwrap_or(false) {
                cached.push(format!("base image `{image}`"));
                break;
            }
        }
    }
    if !cached.is_empty() {
        cx.lines.warning(format!("Stays as a cache until the cluster goes: {}.", cached.join(", ")));
    }
    Ok(())
}
