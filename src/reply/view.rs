//! Views of work and of what exists, as the layers above show them.

use jiff::Timestamp;
use serde::Serialize;

use crate::event::Failure;
use crate::id::{Action, Mode, OperationId, PlanHash};
use crate::intent::AwsCredentials;
use crate::store::record::{Cost, Deployment, Operation, Target, Unreadable};
use crate::store::unreadable::{UnreadableDeployment, UnreadableOperation};

/// How a deployment is right now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LiveStatus {
    /// How many of how many replicas serve; `None` when nobody can tell.
    pub serving: Option<(u32, u32)>,
    /// True when its cluster does not have it any more.
    pub is_gone: bool,
    /// More, one line each.
    pub lines: Vec<String>,
}

/// An operation with all that is shown of it.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationView {
    /// The operation, or what can be read of it.
    pub operation: Result<Operation, UnreadableOperation>,
    /// Its steps as they stand.
    pub steps: Vec<StepView>,
    /// The deployment that it changes.
    pub deployment: Option<Result<Deployment, UnreadableDeployment>>,
    /// What of it cannot be read.
    pub unreadable: Option<Unreadable>,
    /// Until when it keeps its sealed secrets, when it is stuck.
    pub secrets_kept_until: Option<Timestamp>,
}

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
    /// It is a deploy, of a deployment that is there and is changed by it.
    pub is_there_already: bool,
    /// Why the repository could not be looked at, or why nothing can be built of it. The summary says it too.
    pub look_failure: Option<String>,
    /// The steps in an order in which they could run.
    pub steps: Vec<PlannedStep>,
    /// Name of the deployment that it is about.
    pub deployment: String,
    /// Where it runs.
    pub mode: Mode,
    /// Its namespace.
    pub namespace: String,
    /// Name of its target: cluster or instance.
    pub target: String,
    /// What a yes to it is for, beside where it runs.
    pub facts: Vec<PlanFact>,
    /// What the steps do not tell, such as what it costs, in words.
    pub summary: Vec<String>,
    /// The Dockerfile that would be made.
    pub dockerfile: Option<String>,
}

/// Something that a yes to a plan is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanFact {
    /// The field of the API that asks for it; in words where none does.
    pub name: &'static str,
    /// How it would be, in words. Never a secret.
    pub value: String,
}

/// What is shown before anything is done.
#[derive(Debug, Clone, PartialEq)]
pub enum Proposal {
    /// One change.
    Change(PlanView),
    /// The removal of several deployments.
    Removals(RemovalView),
}

impl Proposal {
    /// What a confirmation names.
    #[must_use]
    pub fn hash(&self) -> &PlanHash {
        match self {
            Self::Change(plan) => &plan.hash,
            Self::Removals(removals) => &removals.hash,
        }
    }
}

/// The removal of several deployments, each by an operation of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct RemovalView {
    /// What a confirmation names.
    pub hash: PlanHash,
    /// Another plan was confirmed: something has changed since it was shown.
    pub plan_changed: bool,
    /// Those that would be removed.
    pub deployments: Vec<RemovedDeployment>,
    /// Those that are left alone, because an operation is at work on them.
    pub busy: Vec<(Deployment, OperationId)>,
}

/// A deployment that would be removed.
#[derive(Debug, Clone, PartialEq)]
pub struct RemovedDeployment {
    /// Which.
    pub deployment: Deployment,
    /// What goes with it, in words.
    pub with: Option<String>,
}

/// What a deployment costs.
#[derive(Debug, Clone, PartialEq)]
pub struct CostView {
    /// Which.
    pub deployment: Deployment,
    /// The cost of its target.
    pub cost: TargetCost,
}

/// What a target costs.
#[derive(Debug, Clone, PartialEq)]
pub enum TargetCost {
    /// It is this machine, or not there.
    Nothing,
    /// As much as this.
    Known(Cost),
    /// There is no price for it.
    Unknown,
}

impl TargetCost {
    /// It in words, a price in those that are given for it.
    #[must_use]
    pub fn in_words(&self, price: impl FnOnce(&Cost) -> String) -> String {
        match self {
            Self::Nothing => "nothing".to_owned(),
            Self::Known(cost) => price(cost),
            Self::Unknown => "not known here".to_owned(),
        }
    }
}

/// A cluster or an instance that deployments run on, with who uses it.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetView {
    /// Which.
    pub target: Target,
    /// How many nodes its cluster was made with, as far as that is on record.
    pub nodes: Option<u64>,
    /// What it costs.
    pub cost: TargetCost,
    /// The deployments on it that are in sight.
    pub deployments: Vec<Deployment>,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct PlannedStep {
    /// The step's key in the plan.
    pub step: String,
    /// The step in words.
    pub title: String,
    /// Keys of the steps that come before it.
    pub after: Vec<String>,
    /// Whether there would be nothing to do; null when only running it tells.
    pub already: Option<bool>,
    /// What a person may want to know about it.
    pub note: Option<String>,
}

/// The answer to a question that starts no operation.
#[derive(Debug, Clone)]
pub enum Report {
    /// What is deployed.
    Deployments(Vec<Deployment>),
    /// What deployments cost.
    Costs(Vec<CostView>),
    /// How one deployment is.
    Status {
        /// Which.
        deployment: Deployment,
        /// How it is right now, one line each.
        live: LiveStatus,
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
