//! Views of work and of what exists, as the layers above show them.

use serde::Serialize;

use crate::event::Failure;
use crate::id::{Action, OperationId, PlanHash};
use crate::intent::AwsCredentials;
use crate::store::record::{Deployment, Operation};

/// One step of an operation, as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct StepView {
    /// The step's key in the plan.
    pub step: String,
    /// The step in words.
    pub title: String,
    /// Where it stands.
    pub state: StepState,
    /// True when there was nothing to do.
    pub already: bool,
    /// Duration in milliseconds, once it has ended.
    pub elapsed_ms: Option<u64>,
    /// What it did, what it is doing, or why it failed.
    pub text: Option<String>,
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Not begun.
    Pending,
    /// Under way.
    Running,
    /// It ended well.
    Succeeded,
    /// It failed.
    Failed,
    /// It is being taken back.
    Undoing,
    /// It was taken back.
    Undone,
    /// It could not be taken back.
    UndoFailed,
}

/// What an operation does again when it is resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resumed {
    /// The check of the step that waits: whether what it waits for has come.
    Check,
    /// The undo that failed.
    Undo,
}

/// A plan that was only asked for (`dry_run`), or that has to be confirmed first.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanView {
    /// What it is a plan for.
    pub action: Action,
    /// What a confirmation names.
    pub hash: PlanHash,
    /// Another plan was confirmed: something has changed since it was shown.
    pub plan_changed: bool,
    /// The steps in an order in which they could run.
    pub steps: Vec<PlannedStep>,
    /// Name of the deployment that it is about.
    pub deployment: String,
    /// What exists already and what would change, in words.
    pub summary: Vec<String>,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedStep {
    /// The step's key in the plan.
    pub step: String,
    /// The step in words.
    pub title: String,
    /// Keys of the steps that come before it.
    pub after: Vec<String>,
    /// Whether there would be nothing to do; `None` when only running it tells.
    pub already: Option<bool>,
    /// What a person may want to know about it.
    pub note: Option<String>,
}

/// The answer to a question that starts no operation.
#[derive(Debug, Clone)]
pub enum Report {
    /// What is deployed.
    Deployments(Vec<Deployment>),
    /// How one deployment is.
    Status {
        /// Which.
        deployment: Deployment,
        /// How it is right now, one line each.
        live: Vec<String>,
        /// Why it is not well.
        failure: Option<Failure>,
    },
    /// What the last operation on a deployment that is not there came to.
    LastOperation {
        /// The operation.
        operation: Box<Operation>,
        /// What it was about.
        deployment: Box<Deployment>,
    },
    /// What an application prints; the lines are read by whoever shows them.
    Logs {
        /// Which deployment.
        deployment: Deployment,
        /// Goes on with new lines.
        follow: bool,
        /// How many of the last lines.
        tail: u32,
        /// What its cluster is asked with, where that takes credentials.
        aws: Option<AwsCredentials>,
    },
    /// An operation is being cancelled.
    Cancelled(OperationId),
}
