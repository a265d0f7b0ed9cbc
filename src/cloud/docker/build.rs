//! Building an image, with `BuildKit` where the daemon has it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bollard::query_parameters::{BuildImageOptions, BuilderVersion};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::build_failure::BuildError;
use super::build_reader::BuildReader;
use super::{Docker, DockerError, PROGRESS_INTERVAL, reason_of};
use crate::event::Lines;
use crate::id::ImageRef;

/// What is to be built; the context comes beside it as a stream.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// Name of the image.
    pub tag: ImageRef,
    /// Path of the Dockerfile inside the context.
    pub dockerfile: String,
    /// Its text, to find the line of a step that fails.
    pub dockerfile_text: String,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Values of its ARG lines.
    pub build_args: BTreeMap<String, String>,
    /// How long the build may take.
    pub timeout: Duration,
}

/// An image that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltImage {
    /// `sha256:` and the digest of its configuration.
    pub id: String,
    /// Size of all its layers.
    pub size_bytes: u64,
    /// How many steps came from the cache.
    pub cached_steps: usize,
}

impl Docker {
    /// Builds an image from a context, an uncompressed or compressed tar.
    ///
    /// When the call ends early (cancelled, timed out, dropped) the daemon stops the build.
    ///
    /// # Errors
    /// [`BuildError::Failed`] with the step, its line and its last output when the Dockerfile is at fault.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn build(
        &self,
        request: &BuildRequest,
        context: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<BuiltImage, BuildError> {
        let work = self.build_to_end(request, context, lines);
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(DockerError::Cancelled.into()),
            built = work => built,
        }
    }

    async fn build_to_end(
        &self,
        request: &BuildRequest,
        context: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        lines: &Lines,
    ) -> Result<BuiltImage, BuildError> {
        let deadline = Instant::now() + request.timeout;
        let has_buildkit = self.version().await?.has_buildkit;
        let upload = Upload::default();
        let body = bollard::body_try_stream(upload.watch(context));
        // The daemon answers when the context has arrived and the first step begins: only the deadline bounds that.
        let client = self.client()?.with_timeout(request.timeout + PROGRESS_INTERVAL);
        let mut reports = client.build_image(options(request, has_buildkit), None, Some(body));

        let mut build = BuildReader::new(lines.clone());
        let mut said = tokio::time::interval_at(Instant::now() + PROGRESS_INTERVAL, PROGRESS_INTERVAL);
        loop {
            let report = tokio::select! {
                report = reports.next() => report,
                _ = said.tick() => {
                    lines.quoted_progress(build.current_step().unwrap_or_else(|| upload.describe()));
                    continue;
                }
                () = tokio::time::sleep_until(deadline) => {
                    return Err(BuildError::TimedOut { limit: request.timeout, step: build.current_step() });
                }
            };
            match report {
                None => break,
                Some(Ok(report)) => build.take_message(report),
                Some(Err(error)) => {
                    drop(reports);
                    return Err(self.build_error(&error, &upload, build, request));
                }
            }
        }
        let image = self.image(&request.tag).await?.ok_or_else(|| DockerError::Permanent {
            action: format!("build image `{}`", request.tag),
            reason: "the builder ended without an image".to_owned(),
        })?;
        let cached_steps = build.cached_steps();
        Ok(BuiltImage { id: build.image_id.unwrap_or(image.id), size_bytes: image.size_bytes, cached_steps })
    }

    fn build_error(
        &self,
        error: &bollard::errors::Error,
        upload: &Upload,
        mut build: BuildReader,
        request: &BuildRequest,
    ) -> BuildError {
        if let Some(error) = upload.error() {
            return BuildError::Context(error);
        }
        let is_builders = matches!(
            error,
            bollard::errors::Error::DockerStreamError { .. }
                | bollard::errors::Error::DockerResponseServerError { status_code: 400 | 500, .. }
        );
        if !is_builders {
            return self.error(format!("build image `{}`", request.tag), error).into();
        }
        build.take_error(reason_of(error));
        build.failure("", &request.dockerfile_text)
    }
}

/// Watches the context go out.
#[derive(Debug, Default, Clone)]
struct Upload {
    sent_bytes: Arc<AtomicU64>,
    failed: Arc<std::sync::Mutex<Option<io::Error>>>,
}

impl Upload {
    fn watch<S: Stream<Item = io::Result<Bytes>>>(&self, context: S) -> impl Stream<Item = io::Result<Bytes>> + use<S> {
        let (sent, failed) = (Arc::clone(&self.sent_bytes), Arc::clone(&self.failed));
        context
            .inspect_ok(move |chunk| {
                sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            })
            .map_err(move |error| {
                let copy = io::Error::new(error.kind(), error.to_string());
                if let Ok(mut failed) = failed.lock() {
                    *failed = Some(error);
                }
                copy
            })
    }

    fn error(&self) -> Option<io::Error> {
        self.failed.lock().ok().and_then(|mut failed| failed.take())
    }

    fn describe(&self) -> String {
        match self.sent_bytes.load(Ordering::Relaxed) / 1_000_000 {
            0 => "waiting for Docker to build".to_owned(),
            megabytes => format!("sent {megabytes} MB to Docker to build"),
        }
    }
}

fn options(request: &BuildRequest, has_buildkit: bool) -> BuildImageOptions {
    let pairs = |map: &BTreeMap<String, String>| map.clone().into_iter().collect();
    BuildImageOptions {
        dockerfile: request.dockerfile.clone(),
        t: Some(request.tag.to_string()),
        rm: true,
        forcerm: true,
        labels: Some(pairs(&request.labels)),
        buildargs: Some(pairs(&request.build_args)),
        version: if has_buildkit { BuilderVersion::BuilderBuildKit } else { BuilderVersion::BuilderV1 },
        session: has_buildkit.then(|| Uuid::now_v7().simple().to_string()),
        ..Default::default()
    }
}
