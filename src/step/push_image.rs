//! Sends the image to ECR: only the layers that it lacks.

use serde::{Deserialize, Serialize};

use super::build_image::BuildImage;
use super::provision_repository::{ProvisionRepository, repository_name};
use super::{StepAction, StepContext, StepError};
use crate::event::Failure;
use crate::id::{ImageRef, Region};

/// Sends the image to ECR: only the layers that it lacks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PushImage {
    /// Where.
    pub region: Region,
}

/// The image is in ECR.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pushed {
    /// Its name with its digest, which is what runs.
    pub image: ImageRef,
    /// Layers that were sent.
    pub layers_sent: usize,
    /// Layers that were there already.
    pub layers_present: usize,
}

impl StepAction for PushImage {
    const NAME: &'static str = "push_image";
    type Output = Pushed;

    fn title(&self) -> String {
        "Push the image to ECR".to_owned()
    }

    fn weight(&self) -> u32 {
        10
    }

    fn summary(&self, output: &Pushed) -> String {
        let layers = output.layers_sent + output.layers_present;
        if output.layers_sent == 0 {
            return "it is there".to_owned();
        }
        format!("{} of {layers} layers", output.layers_sent)
    }

    async fn check(&self, cx: &StepContext) -> Result<Option<Pushed>, StepError> {
        let built = cx.output::<BuildImage>()?;
        let stored = cx.aws(&self.region).await?.image_with_tag(&repository_name(cx), tag(&built.image)).await?;
        // A builder that keeps images as they are pushed calls an image by the digest of its manifest.
        let same = stored.filter(|it| it.config.as_ref() == Some(&built.image_id) || it.digest == built.image_id);
        let (Some(stored), url) = (same, url(cx)?) else { return Ok(None) };
        cx.hosts.local().docker.untag_pushed(&url, tag(&built.image)).await?;
        Ok(Some(Pushed { image: pinned(&url, &stored.digest)?, layers_sent: 0, layers_present: 0 }))
    }

    async fn run(&self, cx: &StepContext) -> Result<Pushed, StepError> {
        let built = cx.output::<BuildImage>()?;
        let (name, url, tag) = (repository_name(cx), url(cx)?, tag(&built.image));
        let aws = cx.aws(&self.region).await?;
        let login = aws.registry_login().await?;
        cx.lines.progress("sending the layers that ECR lacks");
        let docker = &cx.hosts.local().docker;
        let pushed = docker.push_to_registry(&built.image, &url, tag, &login, &cx.lines, &cx.cancel).await?;
        let stored = aws.image_with_tag(&name, tag).await?.ok_or_else(|| {
            StepError::Transient(Failure {
                code: "image_vanished".into(),
                message: format!("the image `{url}:{tag}` was pushed, but ECR does not have it"),
                next_step: "Is a clean-up of images running at the same time? Try again".into(),
                output: Vec::new(),
            })
        })?;
        Ok(Pushed {
            image: pinned(&url, &stored.digest)?,
            layers_sent: pushed.layers_sent,
            layers_present: pushed.layers_present,
        })
    }

    async fn undo(&self, _: &StepContext, _: Option<Pushed>) -> Result<Vec<String>, StepError> {
        // It goes with its repository, or when the repository has too many.
        Ok(Vec::new())
    }
}

/// Address of the repository: of one that was just made, or on record.
fn url(cx: &StepContext) -> Result<String, StepError> {
    let provisioned = cx.try_output::<ProvisionRepository>()?.map(|it| it.url);
    provisioned.or_else(|| cx.deployment.facts.ecr_repository_url.clone()).ok_or_else(|| {
        StepError::Permanent(Failure {
            code: "repository_gone".into(),
            message: "the application has no ECR repository on record".into(),
            next_step: "Send `deploy`, which makes one".into(),
            output: Vec::new(),
        })
    })
}

/// The image's own tag says what it was built of.
fn tag(image: &ImageRef) -> &str {
    image.as_str().rsplit_once(':').map_or("latest", |(_, tag)| tag)
}

fn pinned(url: &str, digest: &str) -> Result<ImageRef, StepError> {
    let name = format!("{url}@{digest}");
    ImageRef::parse(&name).map_err(|error| {
        StepError::Permanent(Failure {
            code: "aws_refused".into(),
            message: format!("ECR calls the image `{name}`: {error}"),
            next_step: "Report this with the operation's id".into(),
            output: Vec::new(),
        })
    })
}
