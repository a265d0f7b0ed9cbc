//! Images that the daemon holds.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{ImageConfig, ImageInspect};
use bollard::query_parameters::{ImportImageOptions, ListImagesOptions, RemoveImageOptions};

use futures_util::{StreamExt, TryStreamExt};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::{Docker, DockerError};
use crate::id::{ExposedPort, ImageRef, Port};

/// Label of every image that this program builds, with the value `true`.
pub const MANAGED_LABEL: &str = "on-demand-infra.managed";
/// Second part of the name under which layers of an image are pushed to an ephemeral registry; [`Docker::remove_image`]
/// takes one away that was left.
pub(super) const LAYERS_REPOSITORY: &str = "on-demand-infra-layers";

/// Pieces of an image that wait between two daemons.
const CHUNKS_IN_FLIGHT: usize = 16;

/// What the daemon knows of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageInfo {
    /// `sha256:` and the digest of its configuration.
    pub id: String,
    /// Size of all its layers.
    pub size_bytes: u64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The ports of its EXPOSE lines, its base's included, by number.
    pub exposed_ports: Vec<ExposedPort>,
    /// The user that its process runs as; empty is root.
    pub user: String,
    /// Processor architecture in Docker's words, such as `amd64`.
    pub architecture: String,
    /// Its ENTRYPOINT.
    pub entrypoint: Vec<String>,
    /// Its CMD.
    pub cmd: Vec<String>,
    /// Digests of its uncompressed layers, lowest first.
    pub diff_ids: Vec<String>,
    /// All of its names.
    pub(super) names: Vec<ImageRef>,
    /// The rest of what a container runtime wants to know.
    pub(super) runtime: RuntimeConfig,
}

/// What goes into an image's configuration file beside what [`ImageInfo`] shows.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct RuntimeConfig {
    pub(super) os: String,
    pub(super) variant: Option<String>,
    pub(super) created: Option<String>,
    pub(super) config: ImageConfig,
}

impl ImageInfo {
    /// The port that its own variable `PORT` names.
    #[must_use]
    pub fn environment_port(&self) -> Option<Port> {
        let variables = self.runtime.config.env.iter().flatten();
        variables.filter_map(|it| it.strip_prefix("PORT=")).find_map(|value| value.trim().parse().ok())
    }

    /// Its STOPSIGNAL.
    #[must_use]
    pub fn stop_signal(&self) -> Option<String> {
        self.runtime.config.stop_signal.clone().filter(|it| !it.is_empty())
    }
}

impl Docker {
    /// Looks an image up; `None` when the daemon does not have it.
    ///
    /// # Errors
    /// [`DockerError`] when the daemon does not answer.
    pub async fn image(&self, image: &ImageRef) -> Result<Option<ImageInfo>, DockerError> {
        match self.client()?.inspect_image(image.as_str()).await {
            Ok(inspect) => Ok(Some(ImageInfo::from(inspect))),
            Err(error) => {
                let error = self.error(format!("look at image `{image}`"), &error);
                if error.is_not_found() { Ok(None) } else { Err(error) }
            }
        }
    }

    /// Removes an image's name, and the image when it has no other; one that is not there is a success.
    ///
    /// # Errors
    /// [`DockerError::Permanent`] when a container uses it.
    pub async fn remove_image(&self, image: &ImageRef) -> Result<(), DockerError> {
        let names = self.image(image).await?.map(|info| info.names).unwrap_or_default();
        // A load or a push that was killed leaves a second name on the image. A push keeps the tag (`push_to_registry`), and a
        // tag of ours holds the commit and the build key, so an equal tag is the same image.
        for name in names.iter().filter(|name| *name != image) {
            if name.as_str().contains(LAYERS_REPOSITORY) || name.tag() == image.tag() {
                self.untag(name).await?;
            }
        }
        self.untag(image).await
    }

    /// Copies an image to another daemon, under its name.
    ///
    /// # Errors
    /// [`DockerError`] when either daemon does not do its part.
    pub async fn copy_image(&self, image: &ImageRef, to: &Self, cancel: &CancellationToken) -> Result<(), DockerError> {
        let (client, name) = (self.client()?.clone(), image.to_string());
        let (sender, receiver) = tokio::sync::mpsc::channel(CHUNKS_IN_FLIGHT);
        // The stream of an export borrows its client. It ends when nobody receives any more.
        tokio::spawn(async move {
            let mut chunks = std::pin::pin!(client.export_image(&name));
            while let Some(chunk) = chunks.next().await {
                if sender.send(chunk).await.is_err() {
                    return;
                }
            }
        });
        let archive = ReceiverStream::new(receiver);
        let options = ImportImageOptions { quiet: true, ..Default::default() };
        let import = to.client()?.import_image_stream(options, archive, None);
        let work = import.try_for_each(|_| std::future::ready(Ok(())));
        tokio::select! {
            () = cancel.cancelled() => Err(DockerError::Cancelled),
            done = work => done.map_err(|error| to.error(format!("take image `{image}`"), &error)),
        }
    }

    pub(super) async fn untag(&self, image: &ImageRef) -> Result<(), DockerError> {
        match self.client()?.remove_image(image.as_str(), None::<RemoveImageOptions>, None).await {
            Ok(_) => Ok(()),
            Err(error) => {
                let error = self.error(format!("remove image `{image}`"), &error);
                if error.is_not_found() { Ok(()) } else { Err(error) }
            }
        }
    }

    /// The names of all images that carry a label with this value, in order.
    ///
    /// # Errors
    /// [`DockerError`] when the daemon does not answer.
    pub async fn images_with_label(&self, key: &str, value: &str) -> Result<Vec<ImageRef>, DockerError> {
        let filters = HashMap::from([("label".to_owned(), vec![format!("{key}={value}")])]);
        let options = ListImagesOptions { filters: Some(filters), ..Default::default() };
        let images =
            self.client()?.list_images(Some(options)).await.map_err(|error| self.error("list images", &error))?;
        let mut names: Vec<ImageRef> =
            images.into_iter().flat_map(|image| image.repo_tags).filter_map(|tag| ImageRef::parse(tag).ok()).collect();
        names.sort();
        Ok(names)
    }
}

impl From<ImageInspect> for ImageInfo {
    fn from(inspect: ImageInspect) -> Self {
        let config = inspect.config.unwrap_or_default();
        let mut exposed_ports: Vec<ExposedPort> =
            config.exposed_ports.iter().flatten().filter_map(|text| ExposedPort::parse(text)).collect();
        exposed_ports.sort();
        Self {
            id: inspect.id.unwrap_or_default(),
            size_bytes: inspect.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
            labels: config.labels.clone().unwrap_or_default().into_iter().collect(),
            exposed_ports,
            user: config.user.clone().unwrap_or_default(),
            architecture: inspect.architecture.unwrap_or_default(),
            entrypoint: config.entrypoint.clone().unwrap_or_default(),
            cmd: config.cmd.clone().unwrap_or_default(),
            names: inspect.repo_tags.into_iter().flatten().filter_map(|tag| ImageRef::parse(tag).ok()).collect(),
            diff_ids: inspect.root_fs.and_then(|root| root.layers).unwrap_or_default(),
            runtime: RuntimeConfig {
                os: inspect.os.unwrap_or_else(|| "linux".to_owned()),
                variant: inspect.variant.filter(|variant| !variant.is_empty()),
                created: inspect
                    .created
                    .and_then(|created| jiff::Timestamp::from_nanosecond(created.unix_timestamp_nanos()).ok())
                    .map(|created| created.to_string()),
                config,
            },
        }
    }
}
