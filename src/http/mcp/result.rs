//! What the tools answer: an object for programs, and the words that a chat would show for people.

use rmcp::model::{CallToolResult, ContentBlock};
use serde::Serialize;
use serde_json::Value;

use crate::event::OperationState;
use crate::http::deployments::DeploymentObject;
use crate::http::operations::{FailureObject, OperationObject};
use crate::id::{Action, DeploymentId, Mode, OperationId};
use crate::reply::report;
use crate::reply::view::{CostView, PlanView, PlannedStep, TargetCost};
use crate::store::record::{Cost, DeploymentState};

/// What a change came to.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ChangeResult {
    /// What it came to.
    pub outcome: ChangeOutcome,
    /// The operation that carries it out; `operation_show` has all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationSummary>,
    /// The plan that was shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanObject>,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_step: Option<String>,
}

/// What a change came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeOutcome {
    /// An operation carries it out, or has carried it out when the same was asked for before.
    Operation,
    /// It was only planned.
    Plan,
    /// Nothing was done: a person has to agree first.
    ConfirmationNeeded,
    /// Nothing was done: the person said no.
    Declined,
    /// An operation that was at work is being cancelled.
    Cancelling,
}

/// An operation in short.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct OperationSummary {
    /// Its id.
    #[schema(value_type = String)]
    pub id: OperationId,
    /// What it does.
    pub action: Option<Action>,
    /// Where it stands.
    pub state: OperationState,
    /// Share of the work that is done, in percent.
    pub progress: u8,
    /// Why it failed.
    pub error: Option<FailureObject>,
    /// What the person should know, which stopped nothing.
    pub warnings: Vec<String>,
    /// The deployment that it changes.
    pub deployment: Option<DeploymentSummary>,
}

/// A deployment in short.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct DeploymentSummary {
    /// Its id.
    #[schema(value_type = String)]
    pub id: DeploymentId,
    /// Name of the application.
    pub instance_name: String,
    /// Its namespace.
    pub target_namespace: String,
    /// Name of the target: cluster or instance.
    pub instance_id: String,
    /// Where it stands.
    pub state: DeploymentState,
    /// Where it answers.
    pub app_url: Option<String>,
}

/// What would be done.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct PlanObject {
    /// What a confirmation names.
    pub hash: String,
    /// What it is a plan for.
    pub action: Action,
    /// Name of the deployment that it is about.
    pub deployment: String,
    /// Where it runs.
    pub deployment_mode: Mode,
    /// Its namespace.
    pub target_namespace: String,
    /// Name of its target: cluster or instance.
    pub instance_id: String,
    /// Another plan was confirmed: something has changed since that was shown.
    pub plan_changed: bool,
    /// What the steps do not tell, such as what it costs.
    pub summary: Vec<String>,
    /// The steps, in an order in which they could run.
    pub steps: Vec<PlannedStep>,
    /// The Dockerfile that would be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dockerfile: Option<String>,
}

/// An operation.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct OperationResult {
    /// The operation.
    pub operation: OperationObject,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_step: Option<String>,
}

/// How a deployment is.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct StatusResult {
    /// How it is, in a sentence.
    pub summary: String,
    /// The deployment.
    pub deployment: DeploymentObject,
    /// More of how it is right now, one line each.
    pub now: Vec<String>,
    /// How many replicas serve; null when nobody can tell.
    pub serving: Option<u32>,
    /// How many should.
    pub wanted: Option<u32>,
    /// Why it is not well, or why its last change failed.
    pub failure: Option<FailureObject>,
}

/// Why a deployment is not well.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct DiagnosisResult {
    /// How it is.
    pub status: StatusResult,
    /// Its last operation.
    pub last_operation: Option<OperationObject>,
    /// The last lines that it printed.
    pub lines: Vec<String>,
}

/// What is deployed.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ListResult {
    /// The deployments.
    pub deployments: Vec<DeploymentObject>,
}

/// What an application printed.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct LogsResult {
    /// The deployment.
    pub deployment: DeploymentObject,
    /// The lines, oldest first.
    pub lines: Vec<String>,
}

/// What deployments cost.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct CostResult {
    /// One for each.
    pub costs: Vec<CostObject>,
}

/// What one deployment costs. A target that several share is paid once.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct CostObject {
    /// Id of the deployment.
    pub deployment: String,
    /// Its name.
    pub instance_name: String,
    /// Name of its target.
    pub instance_id: String,
    /// What its target costs per hour; null when there is no price for it.
    pub per_hour: Option<f64>,
    /// The same per month of 730 hours.
    pub per_month: Option<f64>,
    /// Currency of both.
    pub currency: Option<String>,
    /// Where the prices are from.
    pub source: Option<String>,
}

impl From<OperationObject> for OperationSummary {
    fn from(it: OperationObject) -> Self {
        let deployment = it.deployment.map(|it| DeploymentSummary {
            id: it.id,
            instance_name: it.instance_name,
            target_namespace: it.target_namespace,
            instance_id: it.instance_id,
            state: it.state,
            app_url: it.app_url,
        });
        Self {
            id: it.id,
            action: it.action,
            state: it.state,
            progress: it.progress,
            error: it.error,
            warnings: it.warnings,
            deployment,
        }
    }
}

impl From<&PlanView> for PlanObject {
    fn from(it: &PlanView) -> Self {
        Self {
            hash: it.hash.to_string(),
            action: it.action,
            deployment: it.deployment.clone(),
            deployment_mode: it.mode,
            target_namespace: it.namespace.clone(),
            instance_id: it.target.clone(),
            plan_changed: it.plan_changed,
            summary: it.summary.clone(),
            steps: it.steps.clone(),
            dockerfile: it.dockerfile.clone(),
        }
    }
}

impl From<&CostView> for CostObject {
    fn from(CostView { deployment, cost }: &CostView) -> Self {
        let (per_hour, per_month) = match cost {
            TargetCost::Nothing => (Some(0.0), Some(0.0)),
            TargetCost::Known(cost) => (Some(cost.hour), Some(cost.month)),
            TargetCost::Unknown => (None, None),
        };
        let known = if let TargetCost::Known(cost) = cost { Some(cost) } else { None };
        Self {
            deployment: deployment.id.to_string(),
            instance_name: deployment.name.to_string(),
            instance_id: deployment.target_name.clone(),
            per_hour,
            per_month,
            currency: known.map(|it| it.currency.clone()),
            source: known.map(Cost::source),
        }
    }
}

/// A plan in words, with what to do about it.
#[must_use]
pub fn plan_in_words(headline: &str, plan: &PlanView, closing: &str) -> String {
    [headline, &report::planned(plan), closing].into_iter().filter(|it| !it.is_empty()).collect::<Vec<_>>().join("\n\n")
}

/// An answer: the words, and the same as an object. Many clients give their model both, or the object alone, so that it says
/// everything, and nothing twice.
#[must_use]
pub fn answer(words: impl Into<String>, object: &impl Serialize) -> CallToolResult {
    let mut result = CallToolResult::success(vec![ContentBlock::text(words)]);
    let mut object = serde_json::to_value(object).unwrap_or_default();
    leave_out_nulls(&mut object);
    result.structured_content = Some(object);
    result
}

fn leave_out_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, it| !it.is_null());
            map.values_mut().for_each(leave_out_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(leave_out_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
