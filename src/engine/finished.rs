//! What an engine hands over when a plan has come to its end.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::event::Failure;
use crate::id::OperationId;
use crate::step::action::StepAction;
use crate::store::StoreError;
use crate::store::operations::OperationEnd;
use crate::store::record::{Deployment, Operation, Target};
use crate::store::secrets::Warning;

/// What the warnings are about.
const SECRETS: &str = "The secrets of its request";

/// Turns what happened into what is stored at the end; pure.
pub type Conclude = fn(&Finished) -> OperationEnd;

/// What an engine hands over when a plan has come to its end.
#[derive(Debug)]
pub struct Finished {
    /// The operation.
    pub operation: Operation,
    /// Its deployment, as it was when the operation was accepted.
    pub deployment: Deployment,
    /// Its target.
    pub target: Target,
    /// How it ended.
    pub result: Result<(), Unwound>,
    /// What the steps left behind, by step name (of those that succeeded).
    pub outputs: BTreeMap<String, Value>,
    /// What was removed or restored while unwinding.
    pub removed: Vec<String>,
    /// Something was taken back, or may have been: by a server that died before it could tell what.
    pub was_taken_back: bool,
    /// Warnings of all steps.
    pub warnings: Vec<String>,
}

/// What a stuck operation says of its secrets when they were erased.
#[must_use]
pub fn erased_secrets(when: &str, left: &[String]) -> Warning {
    let left = if left.is_empty() { String::new() } else { format!(" ({})", left.join(", ")) };
    let rest = format!(
        "were erased {when}: `resume` takes `aws_credentials` and `git_token`, and takes back what is left{left}"
    );
    Warning { subject: SECRETS, rest }
}

/// What it says of them shortly before.
#[must_use]
pub fn expiring_secrets(when: &str) -> Warning {
    let rest = format!("are erased at {when}: after that `resume` takes back what is left only with `aws_credentials`");
    Warning { subject: SECRETS, rest }
}

/// How a plan that did not succeed was taken back.
#[derive(Debug, Clone)]
pub struct Unwound {
    /// Why it did not succeed.
    pub failure: Failure,
    /// A person asked for it.
    pub cancelled: bool,
    /// An undo failed, for this reason.
    pub stuck: Option<Failure>,
}

impl Finished {
    /// What a step left behind.
    #[must_use]
    pub fn output<A: StepAction>(&self) -> Option<A::Output> {
        self.outputs.get(A::NAME).and_then(|value| serde_json::from_value(value.clone()).ok())
    }
}

/// Says why an operation cannot be run, cancelled or resumed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is stored of the operation cannot be understood.
    #[error("the operation `{operation}` cannot be read: {what}")]
    Unreadable {
        /// The operation.
        operation: OperationId,
        /// What is wrong.
        what: String,
    },
}
