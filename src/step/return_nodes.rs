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
        // Two that look at the same time would both give back what the group has grown by.
        cx.with_target_locked(async {
            let mut returned = Vec::new();
            match self.return_empty(cx, &mut returned).await {
                Err(StepError::Cancelled) => return Err(StepError::Cancelled),
                Err(error) => cx.lines.warning(format!(
                    "Nodes that nothing needs may stay until the next scale or decommission: {error}"
                )),
                Ok(()) => (),
            }
            Ok(returned)
        })
        .await
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
            let nodes = kube.nodes_of_group(&group.name).await?;
            let mut zones: Vec<String> = nodes.iter().map(|it| it.zone.clone()).collect();
            for node in nodes {
                let node_use = kube.node_use(&node.name).await?;
                are_ending |= node_use == NodeUse::Ending;
                let may_go = left > 0 && is_fullest(&node.zone, &zones);
                let is_free = node_use == NodeUse::Empty && may_go && !kube.has_pending_pods().await?;
                if is_free && return_node(cx, aws, kube, &node).await? {
                    returned.push(format!("node `{}` ({})", node.name, node.instance));
                    left -= 1;
                    if let Some(index) = zones.iter().position(|zone| *zone == node.zone) {
                        zones.swap_remove(index);
                    }
                } else if !is_free && node.is_returning {
                    // An attempt that was killed has cordoned it.
                    kube.set_returning(&node.name, false).await?;
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

/// Whether no zone has more nodes. Where one has, Auto Scaling would even that out afterwards by ending other nodes, whatever
/// runs on them ("Availability Zone rebalancing" in the Auto Scaling user guide).
fn is_fullest(zone: &str, zones: &[String]) -> bool {
    let count = |zone: &str| zones.iter().filter(|it| *it == zone).count();
    zones.iter().all(|other| count(other) <= count(zone))
}

/// Ends the instance of a node, once no new pod can be put on it, there is still none, and none waits for a node.
async fn return_node(cx: &StepContext, aws: &Aws, kube: &Kube, node: &GroupNode) -> Result<bool, StepError> {
    kube.set_returning(&node.name, true).await?;
    let ended = end_if_empty(aws, kube, node).await;
    match &ended {
        Ok(true) => cx.lines.progress(format!("giving back the node `{}`", node.name)),
        Ok(false) => kube.set_returning(&node.name, false).await?,
        // The first error counts; what is cordoned is found by the next one.
        Err(_) => drop(kube.set_returning(&node.name, false).await),
    }
    ended
}

async fn end_if_empty(aws: &Aws, kube: &Kube, node: &GroupNode) -> Result<bool, StepError> {
    if kube.node_use(&node.name).await? != NodeUse::Empty || kube.has_pending_pods().await? {
        return Ok(false);
    }
    aws.end_node(&node.instance).await?;
    Ok(true)
}
