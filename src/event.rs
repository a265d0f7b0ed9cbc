//! Events of operations: what is stored, replayed and streamed, and the sink through which work reports itself.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

/// One entry of an operation's append-only history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Event {
    /// Position in the operation's history, counted from 1; a month after the end details may be gone.
    pub sequence: i64,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What can happen in an operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[derive(IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum EventKind {
    /// The operation as a whole changed its state.
    OperationState {
        /// The new state.
        state: OperationState,
    },
    /// A step began.
    StepStarted {
        /// The step's key in the plan.
        step: String,
        /// The step in words.
        title: String,
    },
    /// A running step says what is going on.
    StepProgress {
        /// The step's key in the plan.
        step: String,
        /// One line for a person.
        text: String,
    },
    /// A transient failure: the step is tried again.
    StepRetrying {
        /// The step's key in the plan.
        step: String,
        /// How many attempts have failed.
        attempt: u32,
        /// Why the last one failed.
        reason: String,
        /// Pause before the next attempt in milliseconds.
        delay_ms: u64,
    },
    /// A step ended well.
    StepSucceeded {
        /// The step's key in the plan.
        step: String,
        /// What it did, in words.
        summary: String,
        /// True when there was nothing to do.
        already: bool,
        /// Duration in milliseconds.
        elapsed_ms: u64,
    },
    /// A step failed for good.
    StepFailed {
        /// The step's key in the plan.
        step: String,
        /// Why.
        failure: Failure,
    },
    /// A step is being taken back.
    StepUndoing {
        /// The step's key in the plan.
        step: String,
    },
    /// A step was taken back.
    StepUndone {
        /// The step's key in the plan.
        step: String,
        /// What was removed or restored, in words; empty when there was nothing.
        removed: Vec<String>,
    },
    /// A step could not be taken back.
    StepUndoFailed {
        /// The step's key in the plan.
        step: String,
        /// Why, and what a person can do.
        failure: Failure,
    },
    /// Something that the person should know and that stops nothing.
    Warning {
        /// One sentence.
        text: String,
    },
    /// Something that this version cannot read: another one wrote it, or it is damaged.
    #[serde(other)]
    Unreadable,
}

/// Where an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[derive(EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum OperationState {
    /// Accepted, not begun.
    Queued,
    /// Under way (also while unwinding).
    Running,
    /// A step is parked on an outside event.
    Waiting,
    /// Everything was done.
    Succeeded,
    /// It failed and everything was taken back.
    Undone,
    /// It failed with nothing to take back, or on a deployment that was there before and is as it was.
    Failed,
    /// Taken back on request.
    Cancelled,
    /// An undo failed: a person has to look.
    Stuck,
}

impl OperationState {
    /// The stable text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Reads the stable text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    /// Whether nothing more happens by itself. A `stuck` operation is ended until somebody resumes it.
    #[must_use]
    pub fn is_ended(self) -> bool {
        match self {
            Self::Queued | Self::Running | Self::Waiting => false,
            Self::Succeeded | Self::Undone | Self::Failed | Self::Cancelled | Self::Stuck => true,
        }
    }
}

/// A time as people read it.
#[must_use]
pub fn minute(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// Why something failed and what to do about it. Carries no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Failure {
    /// Stable machine-readable cause, such as `out_of_memory`.
    pub code: String,
    /// The cause in one or two sentences.
    pub message: String,
    /// What a person can do next.
    pub next_step: String,
    /// Last lines of output that show the cause; may be empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<String>,
}

impl Failure {
    /// The code of work that was stopped, by a person or because something beside it failed.
    pub const CANCELLED: &str = "cancelled";

    /// Whether the work was stopped, and did not fail by itself.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.code == Self::CANCELLED
    }

    /// Why a step came to no good end, in words.
    #[must_use]
    pub fn reason(&self) -> &str {
        if self.is_cancelled() { "stopped" } else { &self.message }
    }
}

/// One thing that work in progress has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// For a person: what is going on or waited for right now. Replaces the one before it.
    Progress(String),
    /// The same in the words of a program, which may have anything in them.
    QuotedProgress(String),
    /// One line that a program printed; kept for errors and the debug log.
    Output(String),
    /// Something that the person should know and that stops nothing; part of the answer.
    Warning(String),
}

/// Where work reports its lines. Cheap to clone; never blocks.
#[derive(Clone)]
pub struct Lines(Arc<dyn Fn(Line) + Send + Sync>);

impl Lines {
    /// A sink that hands every line to `take`, which must return at once.
    pub fn new(take: impl Fn(Line) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    /// A sink that nobody reads.
    #[must_use]
    pub fn none() -> Self {
        Self::new(|_| ())
    }

    /// Says to a person what is going on.
    pub fn progress(&self, text: impl Into<String>) {
        (self.0)(Line::Progress(text.into()));
    }

    /// Says to a person what is going on, as a program says it.
    pub fn quoted_progress(&self, text: impl Into<String>) {
        (self.0)(Line::QuotedProgress(text.into()));
    }

    /// Passes on one line that a program printed.
    pub fn output(&self, text: impl Into<String>) {
        (self.0)(Line::Output(text.into()));
    }

    /// Tells the person something that stops nothing.
    pub fn warning(&self, text: impl Into<String>) {
        (self.0)(Line::Warning(text.into()));
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lines")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_and_an_event_have_one_name_in_json_and_elsewhere() {
        let progress = EventKind::StepProgress { step: "build_image".to_owned(), text: "under way".to_owned() };

        assert!(OperationState::VARIANTS.iter().all(|it| serde_json::to_value(it).unwrap() == it.as_str()));
        assert!(OperationState::VARIANTS.iter().all(|it| OperationState::parse(it.as_str()) == Some(*it)));
        assert_eq!(serde_json::to_value(&progress).unwrap()["type"], <&str>::from(&progress));
    }
}
