//! How a step fails: from what tools and APIs report to whether it is worth another try, and what a person can do.

use std::time::Duration;

use jiff::Timestamp;

use crate::cloud::aws::AwsError;
use crate::cloud::docker::DockerError;
use crate::cloud::docker::build_failure::BuildError;
use crate::cloud::kube::error::KubeError;
use crate::diagnosis::Diagnosis;
use crate::event::Failure;
use crate::host::remote_build::RemoteBuildError;
use crate::host::tree_manifest::TreeManifestError;
use crate::host::{ClusterError, HostError};
use crate::id::OperationId;
use crate::repository::error::RepositoryError;
use crate::secret::SecretError;
use crate::secret::private_key::PrivateKeyError;
use crate::store::StoreError;
use crate::tool::ToolError;
use crate::tool::program_error::ProgramError;
use crate::tool::ssh::SshError;

/// Says how a step failed, and so what the engine does: try again, unwind, or just stop.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StepError {
    /// It may work in a moment.
    #[error("{}", .0.message)]
    Transient(Failure),
    /// It will work once AWS has settled something, which may take minutes.
    #[error("{}", .0.message)]
    Settling(Failure),
    /// It will not work.
    #[error("{}", .0.message)]
    Permanent(Failure),
    /// It will not work, and the words are our own: their ports and names stay even where a secret is the same, and what
    /// they quote has been redacted. The words of the others are those of programs and APIs.
    #[error("{}", .0.message)]
    Explained(Failure),
    /// It cannot go on yet, and holds nothing meanwhile: the engine waits and calls it again.
    #[error("it waits on something outside")]
    Waiting(Waiting),
    /// Somebody asked to stop.
    #[error("cancelled")]
    Cancelled,
}

/// How long a step waits on something outside of this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// When it has waited too long: it is called once more then, and says so. It is on record from the first time on, and
    /// the step finds it in its context.
    pub until: Option<Timestamp>,
    /// How long it is before it looks again, unless somebody resumes the operation.
    pub look_again: Duration,
    /// What somebody has to do, once it does not come by itself: the operation says that it waits.
    pub missing: Option<String>,
}

impl StepError {
    /// A failure that may pass.
    pub(super) fn transient(code: &str, message: impl Into<String>, next_step: impl Into<String>) -> Self {
        Self::Transient(plain(code, message, next_step))
    }

    /// A failure that stays.
    pub(super) fn permanent(code: &str, message: impl Into<String>, next_step: impl Into<String>) -> Self {
        Self::Explained(plain(code, message, next_step))
    }

    /// A step panicked, with these words.
    pub(crate) fn panicked(name: &str, operation: OperationId, said: &str) -> Self {
        let message = format!("the step `{name}` panicked: {said}");
        Self::Permanent(plain("internal_error", message, format!("Report this with the operation's id, `{operation}`")))
    }

    /// What a step left behind cannot be read or written.
    pub(super) fn unreadable(name: &str, error: &dyn std::error::Error) -> Self {
        Self::permanent(
            "internal_error",
            format!("what the step `{name}` left behind cannot be read: {error}"),
            "Was the server updated in between? Cancel the operation and start it again",
        )
    }

    /// Says before the reason how it stands.
    pub(super) fn with_context(mut self, context: &str) -> Self {
        match &mut self {
            Self::Transient(failure)
            | Self::Settling(failure)
            | Self::Permanent(failure)
            | Self::Explained(failure) => {
                failure.message.insert_str(0, context);
            }
            Self::Waiting(_) | Self::Cancelled => (),
        }
        self
    }

    /// Sorts a failure by whether it may pass.
    fn classified(is_transient: bool, failure: Failure) -> Self {
        if is_transient { Self::Transient(failure) } else { Self::Permanent(failure) }
    }
}

fn plain(code: &str, message: impl Into<String>, next_step: impl Into<String>) -> Failure {
    Failure { code: code.to_owned(), message: message.into(), next_step: next_step.into(), output: Vec::new() }
}

fn failure(code: &str, error: &dyn std::error::Error, next_step: &str, output: Vec<String>) -> Failure {
    let causes = std::iter::successors(error.source(), |&it| it.source());
    let message = causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.contains(&cause) { text } else { format!("{text}: {cause}") }
    });
    Failure { code: code.to_owned(), message, next_step: next_step.to_owned(), output }
}

impl<E: ProgramError> From<E> for StepError {
    fn from(error: E) -> Self {
        if error.is_cancelled() {
            return Self::Cancelled;
        }
        if error.is_settling() {
            return Self::Settling(error.failure());
        }
        if let Some(beside) = error.tool_error().and_then(beside_the_program) {
            return beside;
        }
        Self::classified(error.is_transient(), error.failure())
    }
}

/// What went wrong beside a program rather than in it.
fn beside_the_program(error: &ToolError) -> Option<StepError> {
    if let ToolError::Store(error) = error {
        return Some(error.into());
    }
    matches!(error, ToolError::Files { .. }).then(|| workspace_unavailable(error))
}

/// Code and next step of a workspace that cannot be worked with.
const WORKSPACE_UNAVAILABLE: (&str, &str) =
    ("workspace_unavailable", "Check the permissions of the workspace and that its disk is not full");

fn workspace_unavailable(error: &dyn std::error::Error) -> StepError {
    let (code, next_step) = WORKSPACE_UNAVAILABLE;
    StepError::Transient(failure(code, error, next_step, Vec::new()))
}

impl From<&AwsError> for Failure {
    fn from(error: &AwsError) -> Self {
        let (code, next_step) = (error.kind.code(), error.kind.next_step());
        plain(code, error.to_string(), next_step)
    }
}

impl From<AwsError> for StepError {
    fn from(error: AwsError) -> Self {
        if error.kind.is_settling() {
            return Self::Settling((&error).into());
        }
        Self::classified(error.kind.is_transient(), (&error).into())
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
        if let Some(beside) = beside_the_program(&error) {
            return beside;
        }
        if let ToolError::Vanished { .. } = &error {
            let next_step = "See whether the machine was restarted (on AWS in the console), then try again";
            return Self::Transient(failure("program_vanished", &error, next_step, Vec::new()));
        }
        if let ToolError::Killed { lines, .. } = &error {
            let next_step = "See in the kernel's log whether memory had run out (`dmesg`), then try again";
            return Self::Transient(failure("program_killed", &error, next_step, lines.clone()));
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
        Self::classified(error.is_transient(), error.failure())
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
            TreeManifestError::Files(_) => workspace_unavailable(&error),
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
        let diagnosis = Diagnosis::from_error(&error);
        if matches!(
            error,
            KubeError::NodePortTaken { .. } | KubeError::NodePortsExhausted { .. } | KubeError::NotOurs { .. }
        ) {
            return Self::permanent(diagnosis.cause.code(), error.to_string(), diagnosis.next_step);
        }
        Self::classified(
            error.is_transient(),
            failure(diagnosis.cause.code(), &error, &diagnosis.next_step, diagnosis.last_log_lines),
        )
    }
}

impl From<Diagnosis> for StepError {
    fn from(diagnosis: Diagnosis) -> Self {
        Self::Explained(Failure {
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
            RepositoryError::NoSuchDirectory { .. } | RepositoryError::NotADirectory { .. } => {
                ("directory_not_found", "Correct `source_directory`, or the address that shows the directory")
            }
            RepositoryError::Syntax { .. } | RepositoryError::SeveralMistakes { .. } => {
                ("dockerfile_syntax", "Correct the Dockerfile, push, and try again")
            }
            RepositoryError::NoSuchStage { .. } => ("stage_not_found", "Correct `build_target`"),
            RepositoryError::IgnorePattern { .. } => {
                ("dockerignore_syntax", "Correct the pattern, push, and try again")
            }
            RepositoryError::NothingToBuild { .. } => (
                "nothing_to_build",
                "Push what is missing and deploy again; with `dry_run` it only shows what would be built",
            ),
            RepositoryError::NeedsDockerfile { .. } => {
                ("dockerfile_needed", "Leave the field out, or name the Dockerfile in `dockerfile_path`")
            }
            RepositoryError::Empty => ("repository_empty", "Push the application and a Dockerfile to it"),
            RepositoryError::ContextTooBig { .. } | RepositoryError::TooManyFiles { .. } => {
                ("build_context_too_big", "List what the build does not need in `.dockerignore`")
            }
            RepositoryError::NotAFile { .. }
            | RepositoryError::TooBig { .. }
            | RepositoryError::NotText { .. }
            | RepositoryError::OddName { .. } => ("repository_unreadable", "Correct that file, push, and try again"),
            RepositoryError::Template(_) => ("internal_error", "Report this with the address of the repository"),
            RepositoryError::Io { .. } => WORKSPACE_UNAVAILABLE,
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
        Self::classified(error.is_transient(), failure(code, &error, next_step, Vec::new()))
    }
}

impl From<BuildError> for StepError {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::Docker(error) => error.into(),
            BuildError::Failed(fault) => Self::Permanent(Failure {
                code: "build_failed".into(),
                message: fault.to_string(),
                next_step: fault.hint(),
                output: fault.last_lines,
            }),
            error @ BuildError::TimedOut { .. } => Self::Permanent(failure(
                "build_timed_out",
                &error,
                "Make the build quicker, or raise `BUILD_TIMEOUT_S`",
                Vec::new(),
            )),
            error @ (BuildError::Transient { .. } | BuildError::Context(_)) => Self::classified(
                error.is_transient(),
                failure("build_interrupted", &error, "Check the network and the registry, then try again", Vec::new()),
            ),
        }
    }
}

impl From<StoreError> for StepError {
    fn from(error: StoreError) -> Self {
        (&error).into()
    }
}

impl From<&StoreError> for StepError {
    fn from(error: &StoreError) -> Self {
        if error.is_unreadable() {
            return Self::permanent(
                "record_unreadable",
                error.to_string(),
                "Was the server updated in between? Start the version again that can read it",
            );
        }
        Self::transient(
            "store_unavailable",
            error.to_string(),
            "Check that the database is up and the disk is not full",
        )
    }
}

impl From<SecretError> for StepError {
    fn from(error: SecretError) -> Self {
        Self::permanent(
            "secret_unreadable",
            error.to_string(),
            "Start the server with the `ENCRYPTION_KEY` that it had, or send the request again",
        )
    }
}
