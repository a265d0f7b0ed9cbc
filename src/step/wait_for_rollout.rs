//! Waits until the application serves, and finds out why when it does not.

use serde::{Deserialize, Serialize};

use super::action::StepAction;
use super::context::StepContext;
use super::error::StepError;
use super::scale_node_group::add_node;
use crate::cloud::kube::exec::RunningContainer;
use crate::cloud::kube::rollout::RolloutFailure;
use crate::diagnosis::rollout;
use crate::id::ClusterName;

/// Waits until the application serves, and finds out why when it does not. No check: for a finished rollout `run`
/// returns after the first list of the watch.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WaitForRollout {
    /// The cluster.
    pub cluster: ClusterName,
}

/// The application serves.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RolledOut {
    /// How many replicas serve.
    pub ready: u32,
}

impl StepAction for WaitForRollout {
    const NAME: &'static str = "wait_for_rollout";
    type Output = RolledOut;

    fn title(&self) -> String {
        "Wait until it serves".to_owned()
    }

    fn weight(&self) -> u32 {
        3
    }

    fn summary(&self, output: &RolledOut) -> String {
        match output.ready {
            0 => "no replicas run".to_owned(),
            1 => "1 replica serves".to_owned(),
            ready => format!("{ready} replicas serve"),
        }
    }

    async fn run(&self, cx: &StepContext) -> Result<RolledOut, StepError> {
        let (name, namespace) = (&cx.deployment.name, &cx.deployment.namespace);
        let kube = cx.kube(&self.cluster).await?;
        let timeout = cx.settings.rollout.timeout;
        let on_progress = |text: String| cx.lines.progress(text);
        let mut waited = kube.wait_for_rollout(name, namespace, timeout, &on_progress, &cx.cancel).await;
        while matches!(waited, Err(RolloutFailure::Unschedulable { .. })) && add_node(cx, &kube).await? {
            waited = kube.wait_for_rollout(name, namespace, timeout, &on_progress, &cx.cancel).await;
        }
        match waited {
            Ok(rollout) => Ok(RolledOut { ready: rollout.ready }),
            Err(RolloutFailure::Cancelled) => Err(StepError::Cancelled),
            Err(RolloutFailure::Api(error)) => Err(error.into()),
            Err(_) => {
                cx.lines.progress("finding out why");
                let (docker, cancel) = (cx.host().await?.docker, cx.cancel.clone());
                let node = format!("{}-control-plane", self.cluster);
                let sockets = move |container: RunningContainer| {
                    let (docker, cancel, node) = (docker.clone(), cancel.clone(), node.clone());
                    async move {
                        let command = container.socket_tables_command();
                        let words: Vec<&str> = command.iter().map(String::as_str).collect();
                        docker.exec(&node, &words, None, &cancel).await.ok().map(|output| output.text())
                    }
                };
                let diagnosis = Box::pin(rollout::diagnose(&kube, name, namespace, timeout, sockets)).await?;
                Err(diagnosis.into())
            }
        }
    }
}
