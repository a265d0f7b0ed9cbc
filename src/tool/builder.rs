//! Builders that make an image of sources without a Dockerfile: `pack` of Cloud Native Buildpacks, and Railpack.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::event::Lines;
use crate::id::ImageRef;
use crate::tool::program_error::ProgramError;
use crate::tool::step_calls::StepCalls;
use crate::tool::{Call, ToolError};

/// What `pack` gets of the server's environment: its home, Docker's logins, and its own variables.
const PACK_INHERITED: &[&str] = &["PACK_*", "DOCKER_CONFIG", "XDG_*"];
/// What Railpack gets: its `BuildKit`, and its own variables.
const RAILPACK_INHERITED: &[&str] = &["RAILPACK_*", "BUILDKIT_*", "DOCKER_CONFIG", "MISE_*", "XDG_*"];

/// A builder as the settings say.
#[derive(Debug, Clone)]
pub enum BuilderProgram {
    /// `pack`.
    Pack {
        /// The program.
        program: PathBuf,
        /// The builder image.
        builder: ImageRef,
        /// The Docker daemon.
        docker: String,
        /// How long a build may take.
        timeout: Duration,
    },
    /// `railpack`.
    Railpack {
        /// The program.
        program: PathBuf,
        /// The Docker daemon.
        docker: String,
        /// How long a build may take.
        timeout: Duration,
    },
}

/// Says why a builder made no image.
#[derive(Debug, thiserror::Error)]
#[error("{program} made no image")]
pub struct BuilderError {
    /// The builder, as people call it.
    pub program: &'static str,
    /// What its program said.
    #[source]
    pub error: ToolError,
}

impl ProgramError for BuilderError {
    fn tool_error(&self) -> Option<&ToolError> {
        Some(&self.error)
    }

    fn code(&self) -> &'static str {
        if matches!(self.error, ToolError::NotRunnable { .. }) {
            "builder_missing"
        } else if matches!(self.error, ToolError::TimedOut { .. }) {
            "build_timed_out"
        } else if self.error.says("BUILDKIT_HOST") {
            "builder_unavailable"
        } else {
            "build_failed"
        }
    }

    fn next_step(&self) -> String {
        match self.code() {
            "builder_missing" => format!("Install `{}` where this server runs, or add a `Dockerfile`", self.program),
            "build_timed_out" => "Raise `BUILD_TIMEOUT_S`, or add a `Dockerfile`".to_owned(),
            "builder_unavailable" => {
                "Start a BuildKit for Railpack and name it in the server's environment as `BUILDKIT_HOST`".to_owned()
            }
            _ => format!("Correct what `{}` says of the repository and push, or add a `Dockerfile`", self.program),
        }
    }

    fn is_transient(&self) -> bool {
        self.error.is_transient()
    }
}

impl BuilderProgram {
    /// `pack` as the settings say.
    #[must_use]
    pub fn pack(settings: &Settings) -> Self {
        let docker = &settings.docker;
        Self::Pack {
            program: docker.pack.clone(),
            builder: docker.buildpacks_builder.clone(),
            docker: docker.host.to_string(),
            timeout: docker.build_timeout,
        }
    }

    /// Railpack as the settings say.
    #[must_use]
    pub fn railpack(settings: &Settings) -> Self {
        let docker = &settings.docker;
        Self::Railpack {
            program: docker.railpack.clone(),
            docker: docker.host.to_string(),
            timeout: docker.build_timeout,
        }
    }

    /// Whether its program can be found.
    #[must_use]
    pub fn is_installed(&self) -> bool {
        let (Self::Pack { program, .. } | Self::Railpack { program, .. }) = self;
        if program.components().count() > 1 {
            return program.is_file();
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    }

    /// Makes an image of a directory, and keeps what the next build can use under the name `cache`.
    ///
    /// # Errors
    /// [`BuilderError`] with the last lines of its program.
    pub async fn build(
        &self,
        image: &ImageRef,
        directory: &Path,
        cache: &str,
        calls: &StepCalls,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<(), BuilderError> {
        let (program, call) = match self {
            Self::Pack { program, builder, docker, timeout } => {
                // Named by the image, as by default, a cache would be another one for every version.
                let volume = |kind: &str| format!("type={kind};format=volume;name={cache}-{kind}");
                let call = Call::new(program)
                    .args(["build", image.as_str(), "--builder", builder.as_str(), "--path"])
                    .arg(directory)
                    .args(["--pull-policy", "if-not-present", "--trust-builder", "--no-color"])
                    .args(["--cache", &format!("{};{}", volume("build"), volume("launch"))]);
                ("pack", call.env("DOCKER_HOST", docker).inherit(PACK_INHERITED).timeout(*timeout))
            }
            Self::Railpack { program, docker, timeout } => {
                let call = Call::new(program)
                    .args(["build", "--name", image.as_str(), "--progress", "plain", "--cache-key", cache])
                    .arg(directory);
                ("railpack", call.env("DOCKER_HOST", docker).inherit(RAILPACK_INHERITED).timeout(*timeout))
            }
        };
        let run = call.stream_stdout().run_durably(calls, "build", lines, cancel).await;
        run.map(drop).map_err(|error| BuilderError { program, error })
    }
}
