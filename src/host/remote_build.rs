//! Builds and loads of images on another machine: programs there do them, because through the forwarded socket of Docker
//! the build context, or the image, would come here first and go back again.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Host;
use crate::cloud::docker::DockerError;
use crate::cloud::docker::build::BuildRequest;
use crate::cloud::docker::build_failure::BuildError;
use crate::cloud::docker::build_reader::BuildReader;
use crate::event::{Line, Lines};
use crate::id::ImageRef;
use crate::tool::ToolError;
use crate::tool::step_calls::StepCalls;

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
    /// `calls` are the step's programs there.
    ///
    /// # Errors
    /// [`RemoteBuildError::Build`] with the step, its line and its last output when the Dockerfile is at fault.
    pub async fn build(
        &self,
        request: &BuildRequest,
        context: &RemoteContext,
        calls: &StepCalls,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<(), RemoteBuildError> {
        let (list, beside) = (calls.folder.join("context.list"), calls.folder.join("dockerfile"));
        self.connection.write(&list, &context.paths).await?;
        // The Dockerfile lies beside the context: what the ignore file shuts out no COPY finds. The ignore file has been
        // applied already; one that says nothing counts instead of it.
        let name = request.dockerfile.rsplit('/').next().unwrap_or("Dockerfile");
        self.connection.write(&beside.join(name), request.dockerfile_text.as_bytes()).await?;
        self.connection.write(&beside.join(format!("{name}.dockerignore")), b"# all of it\n").await?;
        let mut call = self
            .connection
            .call("sh")
            .args(["-c", BUILD, "build"])
            .arg(&context.folder)
            .arg(&list)
            .arg(beside.join(name));
        call = call.args(["-t", request.tag.as_str()]);
        for (name, value) in &request.labels {
            call = call.args(["--label", &format!("{name}={value}")]);
        }
        for (name, value) in &request.build_args {
            call = call.args(["--build-arg", &format!("{name}={value}")]);
        }
        if let Some(target) = &request.target {
            call = call.args(["--target", target.as_str()]);
        }
        if let Some(platform) = &request.platform {
            call = call.args(["--platform", platform.as_str()]);
        }
        for (number, (name, value)) in request.secrets.iter().enumerate() {
            let variable = format!("BUILD_SECRET_{number}");
            call = call.secret_env(&variable, value).args(["--secret", &format!("id={name},env={variable}")]);
        }
        let build = Arc::new(Mutex::new(BuildReader::new(lines.clone())));
        let (reader, others) = (Arc::clone(&build), lines.clone());
        let follow = Lines::new(move |line| match line {
            Line::Output(text) => locked(&reader).take_line(&text),
            Line::Progress(text) => others.progress(text),
            Line::QuotedProgress(text) => others.quoted_progress(text),
            Line::Warning(text) => others.warning(text),
        });
        let call = call.timeout(request.timeout);
        let work = call.run_durably(calls, "build", &follow, cancel);
        let current_step = || locked(&build).current_step();
        let ended = with_progress(work, lines, current_step).await;
        let build = locked(&build);
        match ended {
            Ok(_) => Ok(()),
            Err(ToolError::Failed { lines, .. }) => {
                Err(build.failure(&last_line(&lines), &request.dockerfile_text).into())
            }
            Err(ToolError::TimedOut { limit, .. }) => {
                Err(BuildError::TimedOut { limit, step: build.current_step() }.into())
            }
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
        calls: &StepCalls,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<(), RemoteBuildError> {
        let call = self.connection.call("sh").args(["-c", LOAD, "load", image.as_str(), node]).timeout(LOAD_TIMEOUT);
        let name = format!("load-{node}");
        let work = call.run_durably(calls, &name, lines, cancel);
        match with_progress(work, lines, || Some(format!("loading the image into node `{node}`"))).await {
            Ok(_) => Ok(()),
            Err(ToolError::Failed { lines, .. }) => {
                Err(DockerError::NodeRefused { node: node.to_owned(), reason: last_line(&lines) }.into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn last_line(lines: &[String]) -> String {
    lines.iter().rev().find(|line| !line.trim().is_empty()).cloned().unwrap_or_default()
}

fn locked(build: &Mutex<BuildReader>) -> MutexGuard<'_, BuildReader> {
    build.lock().expect("nobody panics while holding this lock")
}

/// Tells what is going on while something is waited for.
async fn with_progress<T>(work: impl Future<Output = T>, lines: &Lines, now: impl Fn() -> Option<String>) -> T {
    let start = tokio::time::Instant::now() + PROGRESS_INTERVAL;
    let mut ticks = tokio::time::interval_at(start, PROGRESS_INTERVAL);
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = ticks.tick() => {
                if let Some(text) = now() {
                    lines.quoted_progress(text);
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

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::tool::{Call, Output, write_executable};

    /// A folder with a `docker` that does this; `$folder` is the folder.
    fn with_docker(script: &str) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        write_executable(&folder.path().join("docker"), &format!("#!/bin/sh\nfolder=${{0%/*}}\n{script}\n"));
        folder
    }

    async fn run(folder: &TempDir, script: &str, words: &[&str]) -> Result<Output, ToolError> {
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
        let call = Call::new("sh").args(["-c", script, "script"]).args(words).directory(folder.path());
        call.env("PATH", path).run(&Lines::none(), &CancellationToken::new()).await
    }

    /// Notes its words, and the files of the directory that is its last one.
    const NOTE: &str =
        "[ \"$1\" != build ] || { echo \"$*\"; for last in \"$@\"; do :; done; ls -A \"$last\"; } >\"$folder/built\"";

    #[tokio::test]
    async fn docker_gets_the_listed_files_alone_and_the_dockerfile_beside_them() {
        let folder = with_docker(NOTE);
        for (name, text) in [("file", "1"), ("other", "2"), ("list", "./file\0")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }

        run(&folder, BUILD, &[".", "list", "beside/Dockerfile", "-t", "app:1"]).await.unwrap();

        let built = std::fs::read_to_string(folder.path().join("built")).unwrap();
        assert_eq!(built, "build --progress=plain -t app:1 -f beside/Dockerfile list.tree\nfile\n");
        assert!(!folder.path().join("list.tar").exists() && !folder.path().join("list.tree").exists());
    }

    #[tokio::test]
    async fn secrets_are_refused_where_no_builder_mounts_them() {
        let folder = with_docker("case $1 in version) echo 24.0.1 ;; *) exit 1 ;; esac");
        std::fs::write(folder.path().join("list"), "").unwrap();

        let words = [".", "list", "Dockerfile", "--secret", "id=npm,env=BUILD_SECRET_0"];
        let error = run(&folder, BUILD, &words).await.unwrap_err();

        assert!(error.says("`build_secrets` need BuildKit"), "{error}");
    }

    #[tokio::test]
    async fn nothing_is_built_of_an_incomplete_context() {
        let folder = with_docker("[ \"$1\" != build ] || touch \"$folder/built\"");
        std::fs::write(folder.path().join("file"), "1").unwrap();
        std::fs::write(folder.path().join("list"), "./gone\0./file\0").unwrap();

        let error = run(&folder, BUILD, &[".", "list", "Dockerfile", "-t", "app:1"]).await.unwrap_err();

        assert!(error.says("cannot pack the build context: tar: ./gone: Cannot stat"), "{error}");
        assert!(!folder.path().join("built").exists() && !folder.path().join("list.tar").exists());
    }

    #[tokio::test]
    async fn an_image_that_cannot_be_saved_is_not_loaded() {
        let folder = with_docker("case $1 in save) echo no such image >&2; exit 1 ;; *) cat; echo loaded >&2 ;; esac");

        let error = run(&folder, LOAD, &["app:1", "node"]).await.unwrap_err();

        assert_eq!(error.to_string(), "`sh` ended with exit code 1: `docker save` failed: no such image");
    }

    #[tokio::test]
    async fn a_node_that_refuses_an_image_says_why() {
        let folder = with_docker("case $1 in save) yes ;; *) echo disk full >&2; exit 3 ;; esac");

        let error = run(&folder, LOAD, &["app:1", "node"]).await.unwrap_err();

        assert_eq!(error.to_string(), "`sh` ended with exit code 3: disk full");
    }

    #[tokio::test]
    async fn an_image_goes_into_the_node_as_it_is() {
        let folder = with_docker("case $1 in save) echo image ;; *) cat >\"$folder/loaded\" ;; esac");

        run(&folder, LOAD, &["app:1", "node"]).await.unwrap();

        assert_eq!(std::fs::read_to_string(folder.path().join("loaded")).unwrap(), "image\n");
    }
}
