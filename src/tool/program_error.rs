//! What the errors of git, kind, Terraform and helm have in common: each recognises causes in what its program prints, and
//! becomes the failure that is stored and answered.

use crate::event::Failure;
use crate::tool::ToolError;

/// The error of one program, sorted by what can be done about it.
pub trait ProgramError: std::error::Error {
    /// The error of the call, where no cause was recognised.
    fn tool_error(&self) -> Option<&ToolError>;

    /// The stable code of the cause.
    fn code(&self) -> &'static str;

    /// What a person can do next.
    fn next_step(&self) -> String;

    /// Whether the same call may succeed a little later.
    fn is_transient(&self) -> bool;

    /// Whether it may do so only after minutes, when AWS has settled something.
    fn is_settling(&self) -> bool {
        false
    }

    /// The last lines of output that show the cause.
    fn output(&self) -> Vec<String> {
        self.tool_error().map(|error| error.lines().to_vec()).unwrap_or_default()
    }

    /// Whether somebody asked to stop.
    fn is_cancelled(&self) -> bool {
        matches!(self.tool_error(), Some(ToolError::Cancelled { .. }))
    }

    /// The failure as it is stored and answered.
    fn failure(&self) -> Failure {
        let message = self.source().map_or_else(|| self.to_string(), |cause| format!("{self}: {cause}"));
        Failure { code: self.code().to_owned(), message, next_step: self.next_step(), output: self.output() }
    }
}
