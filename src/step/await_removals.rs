//! Waits for the removal of the deployments that go before this one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::action::StepAction;
use super::context::StepContext;
use super::error::{StepError, Waiting};
use crate::id::DeploymentId;

/// How often it is looked whether they are gone.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Waits for the removal of the deployments that go before this one: the last one takes the target with it, which nobody
/// may use by then. Whether a removal succeeded is looked at by the step that takes the target.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AwaitRemovals {
    /// Deployments on the same target, each removed by an operation of its own.
    pub deployments: Vec<DeploymentId>,
}

/// No operation is at work on them any more.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RemovalsEnded {}

impl StepAction for AwaitRemovals {
    const NAME: &'static str = "await_removals";
    type Output = RemovalsEnded;

    fn title(&self) -> String {
        "Wait until the others on it are removed".to_owned()
    }

    fn summary(&self, _: &RemovalsEnded) -> String {
        "it is the last one".to_owned()
    }

    async fn run(&self, cx: &StepContext) -> Result<RemovalsEnded, StepError> {
        for deployment in &self.deployments {
            if let Some(operation) = cx.store.running_operation(*deployment).await? {
                cx.lines.progress(format!("waiting for operation `{operation}`"));
                return Err(StepError::Waiting(Waiting { until: None, look_again: POLL_INTERVAL, missing: None }));
            }
        }
        Ok(RemovalsEnded {})
    }
}
