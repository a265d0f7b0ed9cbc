//! More nodes for an EKS cluster whose nodes have no room for an application's pods.

use std::time::Duration;

use super::context::StepContext;
use super::error::StepError;
use crate::cloud::kube::Kube;
use crate::id::Region;

/// How long EKS may take to bring a node: some minutes are usual ("Managed node groups" in the EKS user guide).
const TIMEOUT: Duration = Duration::from_mins(10);
/// Pause between two looks.
const POLL_INTERVAL: Duration = Duration::from_secs(3);

/// Asks EKS for one more node, when this server made the cluster and may, and waits until it is there; false when no
/// further node comes.
///
/// # Errors
/// When AWS or the cluster does not answer, or refuses.
pub(super) async fn add_node(cx: &StepContext, kube: &Kube) -> Result<bool, StepError> {
    let target = cx.store.target(cx.target.id).await?.unwrap_or_else(|| cx.target.clone());
    let Some(cluster) = target.cluster.filter(|_| target.made_here && cx.settings.eks.grow_nodes) else {
        return Ok(false);
    };
    let Some(before) = request_node(cx, kube, &cluster.name, &cluster.region).await? else { return Ok(false) };
    let start = tokio::time::Instant::now();
    while kube.ready().await?.nodes.len() <= before {
        let waited = start.elapsed();
        if waited > TIMEOUT {
            cx.lines.warning(format!("EKS has not brought another node within {} s.", TIMEOUT.as_secs()));
            return Ok(false);
        }
        cx.lines.progress(format!("no node has room; EKS brings another one, {} s", waited.as_secs()));
        tokio::select! {
            () = tokio::time::sleep(POLL_INTERVAL) => (),
            () = cx.cancel.cancelled() => return Err(StepError::Cancelled),
        }
    }
    Ok(true)
}

/// Asks for one more node unless one is on its way; gives how many are ready, or `None` when there may be no more. Those
/// who ask together ask for the same one.
async fn request_node(
    cx: &StepContext,
    kube: &Kube,
    cluster: &str,
    region: &Region,
) -> Result<Option<usize>, StepError> {
    let aws = cx.aws(region).await?;
    let (groups, ready) = (aws.node_groups(cluster).await?, kube.ready().await?.nodes.len());
    let wanted: usize = groups.iter().map(|it| usize::from(it.desired)).sum();
    if ready < wanted {
        return Ok(Some(ready));
    }
    let Some(group) = groups.iter().find(|it| it.desired < it.max) else {
        cx.lines.warning(format!("The cluster has all the nodes that it may have, {wanted} (`EKS_NODES_MAX`)."));
        return Ok(None);
    };
    let more = group.desired + 1;
    cx.lines.progress(format!("no node has room; asking EKS for {more} nodes, of {} at most", group.max));
    aws.resize_node_group(cluster, &group.name, more).await?;
    Ok(Some(ready))
}
