//! Makes sure that the kind cluster is there and works.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::action::{StepAction, StepUndo};
use super::context::StepContext;
use super::error::StepError;
use crate::config::value::PortRange;
use crate::event::Failure;
use crate::host::Host;
use crate::id::ClusterName;
use crate::store::record::Instance;
use crate::tool::kind::KindError;

/// How many other blocks of node ports are tried.
const MAX_PORT_BLOCKS: usize = 100;
/// File in the target's folder where versions that did not keep the nodes in the store have their container ids.
const NODES_FILE: &str = "nodes";

/// Makes sure that the kind cluster is there and works. Deployments that arrive together make one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CreateCluster {
    /// Its name.
    pub cluster: ClusterName,
}

/// The cluster is there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClusterReady {
    /// True when this step made it.
    pub made: bool,
    /// The node ports that it has in place of those of the settings, which were taken.
    #[serde(default)]
    pub other_ports: Option<PortRange>,
}

impl StepAction for CreateCluster {
    const NAME: &'static str = "create_cluster";
    type Output = ClusterReady;

    fn title(&self) -> String {
        format!("Prepare the cluster `{}`", self.cluster)
    }

    fn weight(&self) -> u32 {
        12
    }

    fn outlasts_failures(&self) -> bool {
        true
    }

    fn is_on_target(&self) -> bool {
        true
    }

    fn summary(&self, output: &ClusterReady) -> String {
        match (output.made, output.other_ports) {
            (true, Some(ports)) => format!("created, with the node ports {ports}"),
            (true, None) => "created".to_owned(),
            (false, _) => "it is there".to_owned(),
        }
    }

    async fn check(&self, cx: &StepContext) -> Result<Option<ClusterReady>, StepError> {
        let target = cx.store.target(cx.target.id).await?;
        // One that is half made is looked at under the lock, also when it has become ready meanwhile: from then on it is not
        // taken back any more with the operation that began it.
        if target.is_some_and(|target| target.locked_by.is_some()) || self.is_half_made(cx).await? {
            return Ok(None);
        }
        Ok(self.is_ready(cx).await.then_some(ClusterReady { made: false, other_ports: None }))
    }

    async fn run(&self, cx: &StepContext) -> Result<ClusterReady, StepError> {
        cx.with_target_locked(self.create(cx)).await
    }
}

impl StepUndo for CreateCluster {
    async fn undo(&self, cx: &StepContext, left: Option<ClusterReady>) -> Result<Vec<String>, StepError> {
        let mut removed = Vec::new();
        // What this operation did not begin to make is not touched, however broken it looks.
        if left.is_none() && self.began_creation(cx).await? {
            // One that was stuck no longer has the lock: another operation may be making the cluster anew right now, or
            // has made it.
            cx.lock_target().await?;
            if self.is_half_made(cx).await? {
                removed = self.take_back(cx).await?;
            }
        }
        cx.unlock_target().await?;
        Ok(removed)
    }
}

impl CreateCluster {
    /// Whether what there may be of the cluster was left by a creation that did not come to its end, of this operation or of
    /// one that is stuck: nobody has used it. Any other cluster that is broken is somebody's, and is kept.
    async fn is_half_made(&self, cx: &StepContext) -> Result<bool, StepError> {
        if !cx.store.target(cx.target.id).await?.is_some_and(|target| target.made_here) {
            return Ok(false);
        }
        match nodes_on_record(cx).await? {
            Some(nodes) => Ok(nodes.is_empty()),
            // Earlier versions left no mark when they began to create one.
            None => self.began_creation(cx).await,
        }
    }

    /// Whether this operation has called kind to create the cluster, in whatever attempt.
    async fn began_creation(&self, cx: &StepContext) -> Result<bool, StepError> {
        let host = cx.host().await?;
        Ok(host.kind.was_creation_started(&cx.calls_on(&host)).await?)
    }

    /// Removes a half-made cluster. One that has come up healthy stays, so that the next try is quick.
    async fn take_back(&self, cx: &StepContext) -> Result<Vec<String>, StepError> {
        let mut removed = Vec::new();
        if self.exists(cx).await? {
            if self.is_ready(cx).await {
                self.record_nodes(cx).await?;
                return Ok(removed);
            }
            cx.lines.progress("removing the half-made cluster");
            self.delete(cx).await?;
            removed.push(format!("half-made cluster `{}`", self.cluster));
        }
        clear_made_here(cx).await?;
        Ok(removed)
    }

    async fn create(&self, cx: &StepContext) -> Result<ClusterReady, StepError> {
        if self.exists(cx).await? {
            let is_half_made = self.is_half_made(cx).await?;
            match self.readiness(cx).await {
                Ok(()) => {
                    if is_half_made {
                        self.record_nodes(cx).await?;
                    }
                    let made = is_half_made || self.began_creation(cx).await?;
                    return Ok(ClusterReady { made, other_ports: None });
                }
                Err(error) if !is_half_made => return Err(error),
                Err(_) => {
                    cx.lines.progress("removing what an interrupted creation left");
                    self.delete(cx).await?;
                }
            }
        }
        // On record first: whoever finds the cluster after a crash knows whose it is, and that it may be half made.
        cx.store.set_target_nodes(cx.target.id, &[]).await?;
        cx.store.set_target_made_here(cx.target.id, true).await?;
        cx.lines.progress("starting a node");
        let host = cx.host().await?;
        let other_ports = self.create_on_free_ports(cx, &host).await?;
        self.readiness(cx).await?;
        self.record_nodes(cx).await?;
        Ok(ClusterReady { made: true, other_ports })
    }

    /// Puts the nodes of a cluster that works on record: it is half made no more.
    async fn record_nodes(&self, cx: &StepContext) -> Result<(), StepError> {
        let nodes = cx.host().await?.docker.nodes_of_cluster(self.cluster.as_str()).await?;
        let ids: Vec<String> = nodes.into_iter().map(|node| node.id).collect();
        Ok(cx.store.set_target_nodes(cx.target.id, &ids).await?)
    }

    /// Creates the cluster with the first block of node ports that is free, and tells when it is not that of the
    /// settings. What Docker publishes is known before; what another program holds, or somebody takes in this moment,
    /// kind finds out.
    async fn create_on_free_ports(&self, cx: &StepContext, host: &Host) -> Result<Option<PortRange>, StepError> {
        let (folder, calls) = (host.target_folder(cx.target.id), cx.calls_on(host));
        let mut blocks = host.kind.node_port_blocks();
        let wanted = blocks.next();
        let mut others = blocks.take(MAX_PORT_BLOCKS).peekable();
        let may_move = others.peek().is_some();
        // Without an answer of Docker's kind has the word, as where there is no choice.
        let taken = if may_move { host.docker.published_ports().await.unwrap_or_default() } else { BTreeSet::new() };
        let is_free = |block: &PortRange| !block.ports().any(|port| taken.contains(&port));
        let mut refused = None;
        for block in wanted.into_iter().chain(others).filter(|block| !may_move || is_free(block)) {
            let created = host.kind.create_cluster(&self.cluster, block, &folder, &calls, &cx.lines, &cx.cancel).await;
            match created {
                Ok(()) => return Ok(wanted.filter(|it| *it != block).map(|wanted| self.told(cx, wanted, block))),
                Err(KindError::PortTaken { port }) if may_move && port.is_none_or(|port| block.contains(port)) => {
                    cx.lines.progress(format!("the node ports {block} are taken; trying others"));
                    refused = Some(KindError::PortTaken { port });
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(refused.unwrap_or(KindError::PortTaken { port: wanted.map(|it| it.first) }).into())
    }

    /// Says that the cluster has other node ports than it should.
    fn told(&self, cx: &StepContext, wanted: PortRange, block: PortRange) -> PortRange {
        let cluster = &self.cluster;
        tracing::warn!("the node ports {wanted} are taken; the cluster `{cluster}` has {block}");
        cx.lines.warning(format!(
            "The node ports {wanted} are held by another cluster or program, so the new cluster `{cluster}` has {block}. \
             `NODE_PORT_RANGE` says which ones a cluster must have."
        ));
        block
    }

    async fn delete(&self, cx: &StepContext) -> Result<(), StepError> {
        let host = cx.host().await?;
        host.kind.delete_cluster(&self.cluster, &cx.calls_on(&host), &cx.lines, &cx.cancel).await?;
        Ok(())
    }

    async fn exists(&self, cx: &StepContext) -> Result<bool, StepError> {
        Ok(!cx.host().await?.docker.nodes_of_cluster(self.cluster.as_str()).await?.is_empty())
    }

    async fn is_ready(&self, cx: &StepContext) -> bool {
        self.readiness(cx).await.is_ok()
    }

    /// Says what is wrong with a cluster that is there.
    async fn readiness(&self, cx: &StepContext) -> Result<(), StepError> {
        let nodes = cx.host().await?.docker.nodes_of_cluster(self.cluster.as_str()).await?;
        if nodes.is_empty() {
            // Without nodes the API is not probed: its port may by now be used by another program.
            return Err(StepError::transient(
                "cluster_broken",
                format!("the cluster `{}` is not there", self.cluster),
                "Was it deleted just now? Try again",
            ));
        }
        if let Some(node) = nodes.iter().find(|node| !node.is_running) {
            let (is, start) = if node.is_paused { ("paused", "unpause") } else { ("stopped", "start") };
            return Err(StepError::permanent(
                "cluster_broken",
                format!("the cluster `{}` is there, but its node `{}` is {is}", self.cluster, node.container),
                format!(
                    "Start it with `docker {start} {}`, or delete the cluster with `kind delete cluster --name {}`, and try again",
                    node.container, self.cluster
                ),
            ));
        }
        let kube = cx.kube(&self.cluster).await.map_err(|error| self.broken(error))?;
        kube.ready().await.map(drop).map_err(|error| self.broken(error.into()))
    }

    /// Says of which cluster it is that the API does not answer.
    fn broken(&self, error: StepError) -> StepError {
        let named = |failure: Failure| Failure {
            message: format!("the cluster `{}` is there, but does not work: {}", self.cluster, failure.message),
            next_step: failure
                .next_step
                .replace("`kind delete cluster`", &format!("`kind delete cluster --name {}`", self.cluster)),
            ..failure
        };
        match error {
            StepError::Transient(failure) => StepError::Transient(named(failure)),
            StepError::Settling(failure) => StepError::Settling(named(failure)),
            StepError::Permanent(failure) => StepError::Permanent(named(failure)),
            StepError::Explained(failure) => StepError::Explained(named(failure)),
            error @ (StepError::Waiting(_) | StepError::Cancelled) => error,
        }
    }
}

/// Clears `made_here` in local mode, where the kind cluster is the target. In cloud-local the target is the instance,
/// which still exists.
async fn clear_made_here(cx: &StepContext) -> Result<(), StepError> {
    if cx.target.instance.is_none() && cx.cloud_target::<Instance>()?.is_none() {
        cx.store.set_target_made_here(cx.target.id, false).await?;
    }
    Ok(())
}

/// The containers that are the cluster's nodes: none at all from the beginning of its creation to the end of it; `None` when
/// they are not known.
async fn nodes_on_record(cx: &StepContext) -> Result<Option<Vec<String>>, StepError> {
    if let Some(nodes) = cx.store.target_nodes(cx.target.id).await? {
        return Ok(Some(nodes));
    }
    let Ok(text) = tokio::fs::read_to_string(cx.target_folder().join(NODES_FILE)).await else { return Ok(None) };
    let nodes: Vec<String> = text.lines().map(str::to_owned).collect();
    Ok(Some(nodes).filter(|it| !it.is_empty()))
}

/// Whether a cluster that is on record as made here was made again by somebody else: none of its nodes is of ours.
pub(super) async fn was_recreated(cx: &StepContext, cluster: &ClusterName) -> Result<bool, StepError> {
    // Without container ids to compare, a cluster of this name is taken for the one that we made.
    let Some(ours) = nodes_on_record(cx).await?.filter(|it| !it.is_empty()) else { return Ok(false) };
    let nodes = cx.host().await?.docker.nodes_of_cluster(cluster.as_str()).await?;
    Ok(!nodes.is_empty() && !nodes.iter().any(|node| ours.contains(&node.id)))
}
