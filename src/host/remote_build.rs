//! What would send an image or a build context over the connection twice is done by programs on the other machine.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Host;
use crate::cloud::docker::DockerError;
use crate::cloud::docker::build::{BuildError, BuildRequest};
use crate::cloud::docker::build_printed::PrintedBuild;
use crate::event::{Line, Lines};
use crate::id::ImageRef;
use crate::tool::ToolError;

const BUILD: &str = include_str!("build.sh");
const LOAD: &str = include_str!("load.sh");

/// A person who waits hears something at least this often.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(3);
/// How long an image may take to get into a node.
const LOAD_TIMEOUT: Duration = Duration::from_mins(10);

/// A build context on the other machine.
#[derive(Debug, Clone)]
pub struct RemoteContext {
    /// Its folder there.
    pub folder: PathBuf,
    /// The paths in it that the build may see, each ended by a zero byte; a directory comes before what is in it.
    pub paths: Vec<u8>,
    /// Path and text of the Dockerfile, where the folder does not have it.
    pub inlined: Option<(String, String)>,
}

/// Says why a program on the other machine did not do its part.
#[derive(Debug, thiserror::Error)]
pub enum RemoteBuildError {
    /// The build failed.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The node did not take the image.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// A program could not be run there.
    #[error(transparent)]
    Tool(#[from] ToolError),
}

impl Host {
    /// Builds an image where the clone is. It goes on when the connection drops.
    ///
    /// `calls` is the folder of the step's programs there.
    ///
    /// # Errors
    /// [`RemoteBuildError::Build`] with the step, its line and its last output when the Dockerfile is at fault.
    pub async fn build(
        &self,
        request: &BuildRequest,
        context: &RemoteContext,
        calls: &Path,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<(), RemoteBuildError> {
        let (list, extra) = (calls.join("context.list"), calls.join("context.extra"));
        self.connection.write(&list, &context.paths).await?;
        let mut file = String::new();
        if let Some((name, text)) = &context.inlined {
            self.connection.write(&extra.join(name), text.as_bytes()).await?;
            file.clone_from(name);
        }
        let mut call = self
            .connection
            .call("sh")
            .args(["-c", BUILD, "build"])
            .arg(&context.folder)
            .arg(&list)
            .arg(&extra)
            .arg(file);
        call = call.args(["-t", request.tag.as_str(), "-f", &request.dockerfile]);
        for (name, value) in &request.labels {
            call = call.args(["--label", &format!("{name}={value}")]);
        }
        for (name, value) in &request.build_args {
            call = call.args(["--build-arg", &format!("{name}={value}")]);
        }
        let build = Arc::new(Mutex::new(PrintedBuild::default()));
        let (printed, told) = (Arc::clone(&build), lines.clone());
        let follow = Lines::new(move |line| match line {
            Line::Output(text) => locked(&printed).take(&text, &told),
            Line::Progress(text) => told.progress(text),
            Line::Warning(text) => told.warning(text),
        });
        let call = call.timeout(request.timeout);
        let work = call.run_durably(calls, "build", &follow, cancel);
        let now = || locked(&build).now();
        let ended = with_progress(work, lines, now).await;
        let build = locked(&build);
        match ended {
            Ok(_) => Ok(()),
            Err(ToolError::Failed { lines, .. }) => {
                let said = lines.iter().rev().find(|line| !line.trim().is_empty()).cloned().unwrap_or_default();
                Err(build.failure(&said, &request.dockerfile_text).into())
            }
            Err(ToolError::TimedOut { limit, .. }) => Err(BuildError::TimedOut { limit, step: build.now() }.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// Brings an image of the machine's Docker into a node there, as a whole.
    ///
    /// # Errors
    /// [`DockerError::NodeRefused`] when the node does not take it.
    pub async fn load(
        &self,
        image: &ImageRef,
        node: &str,
        calls: &Path,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<(), RemoteBuildError> {
        let call = self.connection.call("sh").args(["-c", LOAD, "load", image.as_str(), node]).timeout(LOAD_TIMEOUT);
        let name = format!("load-{node}");
        let work = call.run_durably(calls, &name, lines, cancel);
        match with_progress(work, lines, || Some(format!("loading the image into node `{node}`"))).await {
            Ok(_) => Ok(()),
            Err(ToolError::Failed { lines, .. }) => {
                let reason = lines.iter().rev().find(|line| !line.trim().is_empty()).cloned().unwrap_or_default();
                Err(DockerError::NodeRefused { node: node.to_owned(), reason }.into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn locked(build: &Mutex<PrintedBuild>) -> MutexGuard<'_, PrintedBuild> {
    build.lock().expect("nobody panics while holding this lock")
}

/// Says what is going on while something is waited for.
async fn with_progress<T>(work: impl Future<Output = T>, lines: &Lines, now: impl Fn() -> Option<String>) -> T {
    let start = tokio::time::Instant::now() + PROGRESS_INTERVAL;
    let mut ticks = tokio::time::interval_at(start, PROGRESS_INTERVAL);
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = ticks.tick() => {
                if let Some(text) = now() {
                    lines.progress(text);
                }
            }
        }
    }
}

/// The folder of a build context below that of a clone.
#[must_use]
pub fn context_folder(clone: &Path, context: &str) -> PathBuf {
    if context.is_empty() { clone.to_owned() } else { clone.join(context) }
}
