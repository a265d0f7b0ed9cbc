//! From what tools and APIs report to what a step reports: is it worth another try, and what can a person do.

use super::StepError;
use crate::cloud::aws::AwsError;
use crate::cloud::docker::DockerError;
use crate::cloud::docker::build::BuildError;
use crate::cloud::kube::error::KubeError;
use crate::diagnosis::Diagnosis;
use crate::event::Failure;
use crate::host::remote_build::RemoteBuildError;
use crate::host::tree_manifest::TreeManifestError;
use crate::host::{ClusterError, HostError};
use crate::repository::RepositoryError;
use crate::secret::private_key::PrivateKeyError;
use crate::tool::ToolError;
use crate::tool::git::GitError;
use crate::tool::helm::HelmError;
use crate::tool::kind::KindError;
use crate::tool::ssh::SshError;
use crate::tool::terraform::TerraformError;

impl StepError {
    /// Sorts a failure by whether it may pass.
    fn sorted(is_transient: bool, failure: Failure) -> Self {
        if is_transient { Self::Transient(failure) } else { Self::Permanent(failure) }
    }
}

fn failure(code: &str, error: &dyn std::error::Error, next_step: &str, output: Vec<String>) -> Failure {
    let causes = std::iter::successors(error.source(), |&it| it.source());
    let message = causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.contains(&cause) { text } else { format!("{text}: {cause}") }
    });
    Failure { code: code.to_owned(), message, next_step: next_step.to_owned(), output }
}

impl From<GitError> for StepError {
    fn from(error: GitError) -> Self {
        if error.is_cancelled() {
            return Self::Cancelled;
        }
        Self::sorted(error.is_transient(), error.failure())
    }
}

impl From<KindError> for StepError {
    fn from(error: KindError) -> Self {
        if error.is_cancelled() {
            return Self::Cancelled;
        }
        Self::sorted(error.is_transient(), error.failure())
    }
}

impl From<TerraformError> for StepError {
    fn from(error: TerraformError) -> Self {
        if error.is_cancelled() {
            return Self::Cancelled;
        }
        Self::sorted(error.is_transient(), error.failure())
    }
}

impl From<HelmError> for StepError {
    fn from(error: HelmError) -> Self {
        if error.is_cancelled() {
            return Self::Cancelled;
        }
        Self::sorted(error.is_transient(), error.failure())
    }
}

impl From<AwsError> for StepError {
    fn from(error: AwsError) -> Self {
        Self::sorted(error.fault.is_transient(), error.failure())
    }
}

impl From<PrivateKeyError> for StepError {
    fn from(error: PrivateKeyError) -> Self {
        Self::Permanent(failure("private_key_unusable", &error, "Put the private key there, with mode 600", Vec::new()))
    }
}

impl From<ToolError> for StepError {
    fn from(error: ToolError) -> Self {
        if matches!(error, ToolError::Cancelled { .. }) {
            return Self::Cancelled;
        }
        if let ToolError::Ssh(error) = error {
            return error.into();
        }
        if let ToolError::Vanished { .. } = &error {
            let next_step = "Look in the AWS console whether the instance was restarted, then try again";
            return Self::Transient(failure("program_vanished", &error, next_step, Vec::new()));
        }
        if let ToolError::Files { .. } = &error {
            let next_step = "Check the permissions of the workspace and that its disk is not full";
            return Self::Transient(failure("workspace_unavailable", &error, next_step, Vec::new()));
        }
        let lines = error.lines().to_vec();
        Self::Permanent(failure("tool_failed", &error, "Read the program's output, then try again", lines))
    }
}

impl From<ClusterError> for StepError {
    fn from(error: ClusterError) -> Self {
        match error {
            ClusterError::Kind(error) => error.into(),
            ClusterError::Kube(error) => error.into(),
            ClusterError::Ssh(error) => error.into(),
        }
    }
}

impl From<SshError> for StepError {
    fn from(error: SshError) -> Self {
        if matches!(error, SshError::Cancelled) {
            return Self::Cancelled;
        }
        Self::sorted(error.is_transient(), error.failure())
    }
}

impl From<HostError> for StepError {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Ssh(error) => error.into(),
            HostError::Docker(error) => error.into(),
        }
    }
}

impl From<RemoteBuildError> for StepError {
    fn from(error: RemoteBuildError) -> Self {
        match error {
            RemoteBuildError::Build(error) => error.into(),
            RemoteBuildError::Docker(error) => error.into(),
            RemoteBuildError::Tool(error) => error.into(),
        }
    }
}

impl From<TreeManifestError> for StepError {
    fn from(error: TreeManifestError) -> Self {
        match error {
            TreeManifestError::Tool(error) => error.into(),
            TreeManifestError::Files(_) => {
                let next_step = "Check the permissions of the workspace and that its disk is not full";
                Self::Transient(failure("workspace_unavailable", &error, next_step, Vec::new()))
            }
            TreeManifestError::TooManyFiles => {
                let next_step = "Deploy a repository with fewer files";
                Self::Permanent(failure("repository_too_large", &error, next_step, Vec::new()))
            }
        }
    }
}

impl From<KubeError> for StepError {
    fn from(error: KubeError) -> Self {
        if matches!(error, KubeError::Cancelled) {
            return Self::Cancelled;
        }
        let diagnosis = Diagnosis::of_error(&error);
        Self::sorted(
            error.is_transient(),
            failure(diagnosis.cause.code(), &error, &diagnosis.next_step, diagnosis.last_log_lines),
        )
    }
}

impl From<Diagnosis> for StepError {
    fn from(diagnosis: Diagnosis) -> Self {
        Self::Permanent(Failure {
            code: diagnosis.cause.code().to_owned(),
            message: diagnosis.reason,
            next_step: diagnosis.next_step,
            output: diagnosis.last_log_lines,
        })
    }
}

impl From<RepositoryError> for StepError {
    fn from(error: RepositoryError) -> Self {
        let (code, next_step) = match &error {
            RepositoryError::SeveralDockerfiles { .. } => {
                ("several_dockerfiles", "Send `dockerfile_path` with the one to build")
            }
            RepositoryError::NoSuchDockerfile { .. } => ("dockerfile_not_found", "Correct `dockerfile_path`"),
            RepositoryError::Syntax { .. } => ("dockerfile_syntax", "Correct the Dockerfile, push, and try again"),
            RepositoryError::IgnorePattern { .. } => {
                ("dockerignore_syntax", "Correct the pattern, push, and try again")
            }
            RepositoryError::NothingToBuild => ("nothing_to_build", "Add a Dockerfile to the repository"),
            RepositoryError::Empty => ("repository_empty", "Push the application and a Dockerfile to it"),
            RepositoryError::ContextTooBig { .. } | RepositoryError::TooManyFiles { .. } => {
                ("build_context_too_big", "List what the build does not need in `.dockerignore`")
            }
            RepositoryError::NotAFile { .. } | RepositoryError::TooBig { .. } | RepositoryError::NotText { .. } => {
                ("repository_unreadable", "Correct that file, push, and try again")
            }
            RepositoryError::Template(_) => ("internal_error", "Report this with the address of the repository"),
            RepositoryError::Io { .. } => {
                ("workspace_unavailable", "Check the permissions of the workspace and that its disk is not full")
            }
        };
        Self::Permanent(failure(code, &error, next_step, Vec::new()))
    }
}

impl From<DockerError> for StepError {
    fn from(error: DockerError) -> Self {
        let (code, next_step) = match &error {
            DockerError::Cancelled => return Self::Cancelled,
            DockerError::Unreachable { .. } => {
                ("docker_unreachable", "Start Docker, and make sure that the server's user may use it (`docker info`)")
            }
            DockerError::NodeNotReady { .. } => {
                ("node_not_ready", "Look at the node with `docker logs`, then try again")
            }
            DockerError::NotFound { .. }
            | DockerError::Transient { .. }
            | DockerError::Permanent { .. }
            | DockerError::NodeRefused { .. } => ("docker_failed", "Look at Docker's own log, then try again"),
        };
        Self::sorted(error.is_transient(), failure(code, &error, next_step, Vec::new()))
    }
}

impl From<BuildError> for StepError {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::Docker(error) => error.into(),
            BuildError::Failed(fault) => Self::Permanent(Failure {
                code: "build_failed".into(),
                message: fault.to_string(),
                next_step: fault.hint,
                output: fault.last_lines,
            }),
            error @ BuildError::TimedOut { .. } => Self::Permanent(failure(
                "build_timed_out",
                &error,
                "Make the build quicker, or raise `BUILD_TIMEOUT_S`",
                Vec::new(),
            )),
            error @ (BuildError::Transient { .. } | BuildError::Context(_)) => Self::sorted(
                error.is_transient(),
                failure("build_interrupted", &error, "Check the network and the registry, then try again", Vec::new()),
            ),
        }
    }
}
