//! How a call of a program went wrong.

use std::io;
use std::time::Duration;

use crate::store::StoreError;
use crate::tool::ssh::error::SshError;

/// Says how a call went wrong.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The program is not there or may not be run.
    #[error("cannot run `{program}`; install it, or set its path")]
    NotRunnable {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program ended with an error.
    #[error("`{program}` ended with {status}: {}", last_line(.lines))]
    Failed {
        /// The program and its first argument.
        program: String,
        /// Exit code or signal.
        status: String,
        /// The last lines that it printed, redacted.
        lines: Vec<String>,
    },
    /// The program took too long and was ended.
    #[error("`{program}` did not end within {} s", .limit.as_secs())]
    TimedOut {
        /// The program and its first argument.
        program: String,
        /// The limit.
        limit: Duration,
        /// The last lines that it printed, redacted.
        lines: Vec<String>,
    },
    /// Somebody asked to stop.
    #[error("`{program}` was cancelled")]
    Cancelled {
        /// The program and its first argument.
        program: String,
    },
    /// The directory, the files or the pipes of the program failed.
    #[error("cannot work with the files of `{program}`")]
    Io {
        /// The program and its first argument.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file or folder cannot be worked with.
    #[error("cannot use `{path}`")]
    Files {
        /// Where it is.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program printed something that cannot be understood.
    #[error("`{program}` printed something unexpected: {what}")]
    Unexpected {
        /// The program and its first argument.
        program: String,
        /// What was expected and what came.
        what: String,
    },
    /// Somebody killed the program, or the kernel did because memory had run out.
    #[error("`{program}` was killed by somebody, or by the kernel because memory had run out")]
    Killed {
        /// The program and its first argument.
        program: String,
        /// The last lines that it printed, redacted.
        lines: Vec<String>,
    },
    /// The program is gone and left no status.
    #[error(
        "`{program}` left no status: its supervisor was killed, its files were removed, or its machine was restarted"
    )]
    Vanished {
        /// The program and its first argument.
        program: String,
    },
    /// The machine where the program was to run cannot be reached.
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// The call cannot be kept in the store, so it was not made.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ToolError {
    /// The last lines that the program printed.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        match self {
            Self::Failed { lines, .. } | Self::TimedOut { lines, .. } | Self::Killed { lines, .. } => lines,
            Self::NotRunnable { .. }
            | Self::Cancelled { .. }
            | Self::Io { .. }
            | Self::Files { .. }
            | Self::Unexpected { .. }
            | Self::Vanished { .. }
            | Self::Ssh(_)
            | Self::Store(_) => &[],
        }
    }

    /// Whether the same call may succeed a little later: its end came from outside, or the machine where it was to run was
    /// out of reach.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Killed { .. } | Self::Vanished { .. })
            || matches!(self, Self::Ssh(error) if error.is_transient())
    }

    /// Whether any of the last lines contains this text, whatever the case.
    #[must_use]
    pub fn says(&self, text: &str) -> bool {
        self.lines().iter().any(|line| line.to_ascii_lowercase().contains(&text.to_ascii_lowercase()))
    }
}

fn last_line(lines: &[String]) -> &str {
    lines.iter().rev().find(|line| !line.trim().is_empty()).map_or("it printed nothing", |line| line.trim())
}
