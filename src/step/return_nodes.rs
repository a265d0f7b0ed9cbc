//! Gives back nodes that an EKS cluster was given for pods that are gone.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::context::StepContext;
use super::error::StepError;
use super::removal::{Removal, Removed};
use crate::cloud::aws::Aws;
use crate::cloud::aws::eks::NodeGroup;
use crate::cloud::kube::Kube;
use crate::cloud::kube::nodes::{GroupNode, NodeUse};
use crate::id::ClusterName;

/// Pause between two looks at pods that are about to end.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// How long pods that are about to end are waited for: as long as they may take as a rule.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Gives back nodes that the group of a cluster which was made here has beyond those that it began with, when nothing runs
/// on them. A pod is never moved. It never fails: what stays goes with the next one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReturnNodes {
    /// The cluster.
    pub cluster: ClusterName,
}

impl Removal for ReturnNodes {
    const NAME: &'static str = "return_nodes";

    fn title(&self) -> String {
        "Give back nodes that nothing needs".to_owned()
    }

    fn summary(&self, output: &Removed) -> String {
        if output.removed.is_empty() { "all are needed".to_owned() } else { output.summary() }
    }

    async fn remove(&self, cx: &StepContext) -> Result<Vec<String>, StepError> {
        let mut returned = Vec::new();
        match self.return_empty(cx, &mut returned).await {
            Err(StepError::Cancelled) => return Err(StepError::Cancelled),
            Err(error) => {
                cx.lines.warning(format!(
                    "Nodes that nothing needs may stay until the next scale or decommission: {error}"
                ));
            }
            Ok(()) => (),
        }
        Ok(returned)
    }
}

impl ReturnNodes {
    async fn return_empty(&self, cx: &StepContext, returned: &mut Vec<String>) -> Result<(), StepError> {
        let target = cx.store.target(cx.target.id).await?.unwrap_or_else(|| cx.target.clone());
        let eks = &cx.settings.eks;
        let Some(cluster) = target.cluster.filter(|_| target.made_here && eks.grow_nodes) else { return Ok(()) };
        let aws = cx.aws_of(&cluster).await?;
        for group in aws.node_groups(&cluster.name).await? {
            let grown = group.desired.saturating_sub(eks.nodes.max(group.min));
            if grown > 0 {
                let kube = cx.kube(&self.cluster).await?;
                self.return_of_group(cx, &aws, &kube, &group, grown.into(), returned).await?;
            }
        }
        Ok(())
    }

    async fn return_of_group(
        &self,
        cx: &StepContext,
        aws: &Aws,
        kube: &Kube,
        group: &NodeGroup,
        grown: usize,
        returned: &mut Vec<String>,
    ) -> Result<(), StepError> {
        let start = tokio::time::Instant::now();
        let mut left = grown;
        loop {
            let mut are_ending = false;
            for node in kube.nodes_of_group(&group.name).await? {
                match kube.node_use(&node.name).await? {
                    NodeUse::Empty if left > 0 => {
                        if return_node(cx, aws, kube, &node).await? {
                            returned.push(format!("node `{}` ({})", node.name, node.instance));
                            left -= 1;
                        }
                    }
                    NodeUse::Ending => are_ending = true,
                    NodeUse::Empty | NodeUse::Used => (),
                }
            }
            if left == 0 || !are_ending || start.elapsed() > TIMEOUT {
                return Ok(());
            }
            cx.lines.progress(format!("waiting for pods that are about to end, {} s", start.elapsed().as_secs()));
            tokio::select! {
                () = tokio::time::sleep(POLL_INTERVAL) => (),
                () = cx.cancel.cancelled() => return Err(StepError::Cancelled),
            }
        }
    }
}

/// Ends the instance of a node, once no new pod can be put on it and there is still none.
async fn return_node(cx: &StepContext, aws: &Aws, kube: &Kube, node: &GroupNode) -> Result<bool, StepError> {
    kube.set_schedulable(&node.name, false).await?;
    let ended = match kube.node_use(&node.name).await {
        Ok(NodeUse::Empty) => aws.end_node(&node.instance).await.map(|()| true).map_err(StepError::from),
        Ok(NodeUse::Ending | NodeUse::Used) => Ok(false),
        Err(error) => Err(error.into()),
    };
    match &ended {
        Ok(true) => cx.lines.progress(format!("giving back the node `{}`", node.name)),
        Ok(false) | Err(_) => kube.set_schedulable(&node.name, true).await?,
    }
    ended
}
