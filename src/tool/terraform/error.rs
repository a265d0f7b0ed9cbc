//! Why a call of Terraform failed: what it printed, sorted by what can be done.

use crate::cloud::aws::AwsErrorKind;
use crate::tool::ToolError;
use crate::tool::program_error::ProgramError;

/// Says why Terraform could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum TerraformError {
    /// Somebody else works on the state.
    #[error("the state of Terraform is locked by another call")]
    Locked,
    /// The provider cannot be fetched.
    #[error("Terraform cannot fetch its provider: {0}")]
    Provider(String),
    /// AWS refused something, or the module does not fit.
    #[error("{message}")]
    Diagnosed {
        /// The command.
        command: &'static str,
        /// What kind of refusal.
        kind: AwsErrorKind,
        /// What Terraform says.
        message: String,
        /// All errors.
        errors: Vec<String>,
    },
    /// The folder cannot be used.
    #[error("cannot write the folder of Terraform")]
    Folder(#[source] std::io::Error),
    /// It went wrong in another way.
    #[error(transparent)]
    Tool(#[from] ToolError),
}

impl TerraformError {
    pub(super) fn from_tool(command: &'static str, error: ToolError, mut errors: Vec<String>) -> Self {
        let ToolError::Failed { lines, .. } = &error else { return Self::Tool(error) };
        if errors.is_empty() {
            errors = lines.iter().filter(|line| line.contains("Error: ")).map(|it| it.trim().to_owned()).collect();
        }
        let text = if errors.is_empty() { lines.join("\n") } else { errors.join("\n") };
        if text.contains("acquiring the state lock") {
            return Self::Locked;
        }
        let Some(first) = errors.first().cloned() else { return Self::Tool(error) };
        if command == "init" {
            return Self::Provider(first);
        }
        // The most telling of several: one refusal often has others in its wake.
        let known =
            errors.iter().map(|it| (AwsErrorKind::from_text(it), it)).find(|(kind, _)| *kind != AwsErrorKind::Refused);
        let (kind, message) = known.map_or((AwsErrorKind::Refused, first), |(kind, it)| (kind, it.clone()));
        Self::Diagnosed { command, kind, message, errors }
    }

    /// Whether there is no capacity for the type of instance in this zone.
    #[must_use]
    pub fn is_no_capacity(&self) -> bool {
        matches!(self, Self::Diagnosed { kind: AwsErrorKind::NoCapacity, .. })
    }
}

impl ProgramError for TerraformError {
    fn tool_error(&self) -> Option<&ToolError> {
        if let Self::Tool(error) = self { Some(error) } else { None }
    }

    fn is_transient(&self) -> bool {
        match self {
            Self::Locked => true,
            Self::Provider(reason) => AwsErrorKind::from_text(reason).is_transient(),
            Self::Diagnosed { kind, .. } => kind.is_transient(),
            Self::Folder(_) | Self::Tool(_) => false,
        }
    }

    fn is_settling(&self) -> bool {
        matches!(self, Self::Diagnosed { kind, .. } if kind.is_settling())
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Locked => "terraform_state_locked",
            Self::Provider(_) => "terraform_provider_unavailable",
            Self::Diagnosed { kind: AwsErrorKind::Refused, .. } => "terraform_failed",
            Self::Diagnosed { kind, .. } => kind.code(),
            Self::Folder(_) => "workspace_unavailable",
            Self::Tool(ToolError::NotRunnable { .. }) => "terraform_missing",
            Self::Tool(ToolError::TimedOut { .. }) => "terraform_timed_out",
            Self::Tool(_) => "terraform_failed",
        }
    }

    fn next_step(&self) -> String {
        let next_step = match self {
            Self::Locked => "Try again when the other call has ended",
            Self::Provider(_) => {
                "Let this server reach the provider registry, or name a mirror in the file of `TF_CLI_CONFIG_FILE`"
            }
            Self::Diagnosed { kind, .. } => kind.next_step(),
            Self::Folder(_) => "Check that the workspace can be written and has free space",
            Self::Tool(ToolError::NotRunnable { .. }) => "Install terraform or tofu, or set `TERRAFORM_PROGRAM`",
            Self::Tool(ToolError::TimedOut { .. }) => "Try again later, or raise `TERRAFORM_TIMEOUT_S`",
            Self::Tool(_) => "Read the output of Terraform, then try again",
        };
        next_step.to_owned()
    }

    fn output(&self) -> Vec<String> {
        match self {
            Self::Diagnosed { errors, .. } if errors.len() > 1 => errors.clone(),
            Self::Tool(error) => error.lines().to_vec(),
            Self::Locked | Self::Provider(_) | Self::Diagnosed { .. } | Self::Folder(_) => Vec::new(),
        }
    }
}
