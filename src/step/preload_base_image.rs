//! Brings the base image onto the cluster's nodes while the build still runs: afterwards only its own layers are left.

use serde::{Deserialize, Serialize};

use super::action::StepAction;
use super::analyse_repository::AnalyseRepository;
use super::build_image::BuildImage;
use super::context::StepContext;
use super::error::StepError;
use super::load_image::{ImageLoaded, load_on_nodes};
use crate::id::{ClusterName, ImageRef};

/// Brings the base image onto the cluster's nodes while the build still runs. Only a shortcut: it never fails a plan.
/// A public image on the node is a cache, which the kubelet clears when space gets short.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PreloadBaseImage {
    /// The cluster.
    pub cluster: ClusterName,
    /// The build that it saves time for.
    pub build: BuildImage,
}

impl StepAction for PreloadBaseImage {
    const NAME: &'static str = "preload_base_image";
    type Output = ImageLoaded;

    fn title(&self) -> String {
        "Load the base image meanwhile".to_owned()
    }

    fn is_on_target(&self) -> bool {
        true
    }

    fn summary(&self, output: &ImageLoaded) -> String {
        output.summary()
    }

    async fn check(&self, cx: &StepContext) -> Result<Option<ImageLoaded>, StepError> {
        // On another machine an image goes to the node as a whole: its base would go there twice.
        if !cx.host().await?.connection.is_local() {
            return Ok(Some(ImageLoaded::default()));
        }
        // An image that is built already is loaded as a whole, or is there.
        if self.build.check(cx).await?.is_some() {
            return Ok(Some(ImageLoaded::default()));
        }
        Ok(self.base(cx).await?.is_none().then(ImageLoaded::default))
    }

    async fn run(&self, cx: &StepContext) -> Result<ImageLoaded, StepError> {
        let Some(base) = self.base(cx).await? else { return Ok(ImageLoaded::default()) };
        match load_on_nodes(cx, &self.cluster, &base).await {
            Ok(loaded) => Ok(loaded),
            Err(StepError::Cancelled) => Err(StepError::Cancelled),
            Err(error) => {
                cx.lines.output(format!("the base image was not loaded ahead: {error}"));
                Ok(ImageLoaded::default())
            }
        }
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
