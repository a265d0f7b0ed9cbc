//! Replaces the pods by new ones of the same version.

use serde::{Deserialize, Serialize};

use super::action::{StepAction, StepUndo};
use super::context::StepContext;
use super::error::StepError;
use crate::id::ClusterName;

/// Replaces the pods by new ones of the same version, as `kubectl rollout restart` does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RestartApplication {
    /// The cluster.
    pub cluster: ClusterName,
}

/// New pods are wanted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Restarted {}

impl StepAction for RestartApplication {
    const NAME: &'static str = "restart_application";
    type Output = Restarted;

    fn title(&self) -> String {
        "Replace its pods".to_owned()
    }

    fn summary(&self, _: &Restarted) -> String {
        "new pods of the same version are wanted".to_owned()
    }

    async fn run(&self, cx: &StepContext) -> Result<Restarted, StepError> {
        let kube = cx.kube(&self.cluster).await?;
        kube.restart(&cx.deployment.name, &cx.deployment.namespace, cx.operation).await?;
        Ok(Restarted {})
    }
}

impl StepUndo for RestartApplication {
    async fn undo(&self, cx: &StepContext, _: Option<Restarted>) -> Result<Vec<String>, StepError> {
        // What is no longer there has no pods to go back to.
        if cx.is_cluster_gone(&self.cluster).await? {
            return Ok(Vec::new());
        }
        let kube = cx.kube(&self.cluster).await?;
        let undone = kube.undo_restart(&cx.deployment.name, &cx.deployment.namespace, cx.operation).await?;
        Ok(undone.then(|| "the restart: the pods from before it go on".to_owned()).into_iter().collect())
    }
}
