//! Building an image, with `BuildKit` where the daemon has it.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use bollard::query_parameters::BuildImageOptions;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use hyper::Uri;
use secrecy::SecretString;
use tokio::time::Instant;
use tokio_util::io::{ReaderStream, SyncIoBridge};
use tokio_util::sync::CancellationToken;

use super::build_failure::BuildError;
use super::build_reader::BuildReader;
use super::context::BuildContext;
use super::file_sync::{FileSync, Transfer};
use super::session::Session;
use super::{Docker, DockerError, PROGRESS_INTERVAL, reason_of};
use crate::event::Lines;
use crate::id::{BuildSecretName, ImageRef, Platform, StageName};

/// Bytes of build context that wait between reading and sending.
const PIPE_BYTES: usize = 256 * 1024;

/// What is to be built; the context comes beside it.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// Name of the image.
    pub tag: ImageRef,
    /// Name of the Dockerfile: its path in the context, where it is part of that.
    pub dockerfile: String,
    /// Its text.
    pub dockerfile_text: String,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Values of its ARG lines.
    pub build_args: BTreeMap<String, String>,
    /// The stage that becomes the image; the last one without it.
    pub target: Option<StageName>,
    /// What the image is for; what Docker runs on without it.
    pub platform: Option<Platform>,
    /// Secrets that its RUN lines may mount.
    pub secrets: BTreeMap<BuildSecretName, SecretString>,
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
    /// Builds an image from a context.
    ///
    /// When the call ends early (cancelled, timed out, dropped) the daemon stops the build.
    ///
    /// # Errors
    /// [`BuildError::Failed`] with the step, its line and its last output when the Dockerfile is at fault.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn build(
        &self,
        request: &BuildRequest,
        context: BuildContext,
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
        context: BuildContext,
        lines: &Lines,
    ) -> Result<BuiltImage, BuildError> {
        let deadline = Instant::now() + request.timeout;
        let has_buildkit = self.version().await?.has_buildkit;
        if !has_buildkit && !request.secrets.is_empty() {
            return Err(no_secrets().into());
        }
        let transfer = Transfer::default();
        // The daemon answers when the context has arrived and the first step begins: only the deadline bounds that.
        let mut client = self.client()?.with_timeout(request.timeout + PROGRESS_INTERVAL);
        let dockerfile =
            if has_buildkit { request.dockerfile.clone() } else { context.dockerfile_in_tar(&request.dockerfile) };
        let (session, body) = if has_buildkit {
            let files = FileSync::new(context, &request.dockerfile, &request.dockerfile_text, transfer.clone());
            let session = self.open_session(files, request.secrets.clone()).await?;
            // The client would open a session of its own beside this one for the builder `2`.
            client = client.with_request_modifier(|mut request| {
                *request.uri_mut() = for_buildkit(request.uri());
                request
            });
            (Some(session), bollard::body_full(Bytes::new()))
        } else {
            (None, bollard::body_try_stream(tar_stream(context, request, &transfer)))
        };
        let mut reports = client.build_image(options(request, dockerfile, session.as_ref()), None, Some(body));

        let mut build = BuildReader::new(lines.clone());
        let mut said = tokio::time::interval_at(Instant::now() + PROGRESS_INTERVAL, PROGRESS_INTERVAL);
        loop {
            let report = tokio::select! {
                report = reports.next() => report,
                _ = said.tick() => {
                    lines.quoted_progress(build.current_step().unwrap_or_else(|| describe(&transfer)));
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
                    return Err(self.build_error(&error, &transfer, build, request));
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
        transfer: &Transfer,
        mut build: BuildReader,
        request: &BuildRequest,
    ) -> BuildError {
        if let Some(error) = transfer.error() {
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

/// The context as the classic builder takes it; it is read on a thread of its own and sent as it is read.
fn tar_stream(
    context: BuildContext,
    request: &BuildRequest,
    transfer: &Transfer,
) -> impl futures_util::Stream<Item = io::Result<Bytes>> + Send + use<> {
    let (reader, writer) = tokio::io::duplex(PIPE_BYTES);
    let (dockerfile, text) = (request.dockerfile.clone(), request.dockerfile_text.clone());
    let (reading, sending) = (transfer.clone(), transfer.clone());
    tokio::task::spawn_blocking(move || {
        let mut bridge = SyncIoBridge::new(writer);
        match context.write_tar(&dockerfile, &text, &mut bridge) {
            // Cut off, the tar would look whole to nobody; where the daemon has gone away it tells why itself.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => reading.fail(error),
            Err(_) | Ok(()) => {}
        }
        let _ = bridge.shutdown();
    });
    ReaderStream::new(reader).inspect_ok(move |chunk| sending.add(chunk.len()))
}

fn describe(transfer: &Transfer) -> String {
    match transfer.sent_bytes() / 1_000_000 {
        0 => "waiting for Docker to build".to_owned(),
        megabytes => format!("sent {megabytes} MB to Docker to build"),
    }
}

fn no_secrets() -> DockerError {
    DockerError::Permanent {
        action: "hand `build_secrets` to the build".to_owned(),
        reason: "it builds without BuildKit, which alone can mount a secret; update Docker to 18.09 or newer"
            .to_owned(),
    }
}

/// The address of a request, for `BuildKit` in place of the classic builder.
fn for_buildkit(address: &Uri) -> Uri {
    let text = address.to_string().replacen("version=1", "version=2", 1);
    text.parse().unwrap_or_else(|_| address.clone())
}

fn options(request: &BuildRequest, dockerfile: String, session: Option<&Session>) -> BuildImageOptions {
    let pairs = |map: &BTreeMap<String, String>| map.clone().into_iter().collect();
    BuildImageOptions {
        dockerfile,
        t: Some(request.tag.to_string()),
        rm: true,
        forcerm: true,
        labels: Some(pairs(&request.labels)),
        buildargs: Some(pairs(&request.build_args)),
        target: request.target.as_ref().map(ToString::to_string).unwrap_or_default(),
        platform: request.platform.as_ref().map(ToString::to_string).unwrap_or_default(),
        remote: session.map(|_| "client-session".to_owned()),
        session: session.map(|session| session.id.clone()),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builder_of_a_request_is_changed_and_nothing_else() {
        let address = "http://localhost/build?dockerfile=version%3D1&rm=true&version=1&session=x".parse().unwrap();

        let changed = for_buildkit(&address).to_string();

        assert_eq!(changed, "http://localhost/build?dockerfile=version%3D1&rm=true&version=2&session=x");
    }
}
