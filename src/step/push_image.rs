//! Sends the image to ECR: only the layers that it lacks.

use serde::{Deserialize, Serialize};

use super::action::StepAction;
use super::build_image::BuildImage;
use super::context::StepContext;
use super::error::StepError;
use super::provision_repository::ProvisionRepository;
use crate::id::{ImageRef, Region};

/// Sends the image to ECR: only the layers that it lacks. It goes with its repository, or when the repository has too many.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PushImage {
    /// Where.
    pub region: Region,
}

/// The image is in ECR.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ImagePushed {
    /// Its name with its digest, which is what runs.
    pub image: ImageRef,
    /// Layers that were sent.
    pub layers_sent: usize,
    /// Layers that were there already.
    pub layers_present: usize,
}

impl StepAction for PushImage {
    const NAME: &'static str = "push_image";
    type Output = ImagePushed;

    fn title(&self) -> String {
        "Push the image to ECR".to_owned()
    }

    fn weight(&self) -> u32 {
        10
    }

    fn summary(&self, output: &ImagePushed) -> String {
        let layers = output.layers_sent + output.layers_present;
        if output.layers_sent == 0 {
            return "it is there".to_owned();
        }
        format!("{} of {layers} layers", output.layers_sent)
    }

    fn had_nothing_to_do(&self, output: &ImagePushed) -> bool {
        output.layers_sent == 0
    }

    async fn check(&self, cx: &StepContext) -> Result<Option<ImagePushed>, StepError> {
        let built = cx.output::<BuildImage>()?;
        let stored = cx.aws(&self.region).await?.image_with_tag(&cx.repository_name(), built.image.tag()).await?;
        // With Docker's containerd image store an image's id is the digest of its manifest; with the classic store it
        // is the digest of its configuration. Either may match.
        let same = stored.filter(|it| it.config.as_ref() == Some(&built.image_id) || it.digest == built.image_id);
        let (Some(stored), url) = (same, url(cx)?) else { return Ok(None) };
        cx.hosts.local().docker.untag_pushed(&url, built.image.tag()).await?;
        Ok(Some(ImagePushed { image: pinned(&url, &stored.digest)?, layers_sent: 0, layers_present: 0 }))
    }

    async fn run(&self, cx: &StepContext) -> Result<ImagePushed, StepError> {
        let built = cx.output::<BuildImage>()?;
        let (name, url, tag) = (cx.repository_name(), url(cx)?, built.image.tag());
        let aws = cx.aws(&self.region).await?;
        let login = aws.registry_login().await?;
        cx.lines.progress("sending the layers that ECR lacks");
        let docker = &cx.hosts.local().docker;
        let pushed = docker.push_to_registry(&built.image, &url, tag, &login, &cx.lines, &cx.cancel).await?;
        let stored = aws.image_with_tag(&name, tag).await?.ok_or_else(|| {
            StepError::transient(
                "image_vanished",
                format!("the image `{url}:{tag}` was pushed, but ECR does not have it"),
                "Is a clean-up of images running at the same time? Try again",
            )
        })?;
        Ok(ImagePushed {
            image: pinned(&url, &stored.digest)?,
            layers_sent: pushed.layers_sent,
            layers_present: pushed.layers_present,
        })
    }
}

/// Address of the repository: of one that was just made, or on record.
fn url(cx: &StepContext) -> Result<String, StepError> {
    let provisioned = cx.try_output::<ProvisionRepository>()?.map(|it| it.url);
    provisioned.or_else(|| cx.deployment.facts.ecr_repository_url.clone()).ok_or_else(|| {
        StepError::permanent(
            "repository_gone",
            "the application has no ECR repository on record",
            "Send `deploy`, which makes one",
        )
    })
}

fn pinned(url: &str, digest: &str) -> Result<ImageRef, StepError> {
    let name = format!("{url}@{digest}");
    ImageRef::parse(&name).map_err(|error| {
        StepError::permanent(
            "aws_refused",
            format!("ECR calls the image `{name}`: {error}"),
            "Report this with the operation's id",
        )
    })
}
