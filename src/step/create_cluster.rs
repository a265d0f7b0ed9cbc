//! Makes sure that the kind cluster is there and works.

use serde::{Deserialize, Serialize};

use super::action::{StepAction, StepUndo};
use super::context::StepContext;
use super::error::StepError;
use crate::event::Failure;
use crate::id::ClusterName;
use crate::store::record::Instance;
use crate::tool::connection::Connection;

/// File in the target's folder with the container ids of the nodes that this server made.
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
        if output.made { "created".to_owned() } else { "it is there".to_owned() }
    }

    async fn check(&self, cx: &StepContext) -> Result<Option<ClusterReady>, StepError> {
        let target = cx.store.target(cx.target.id).await?;
        if target.is_some_and(|target| target.locked_by.is_some()) {
            return Ok(None);
        }
        Ok(self.is_ready(cx).await.then_some(ClusterReady { made: false }))
    }

    async fn run(&self, cx: &StepContext) -> Result<ClusterReady, StepError> {
        cx.with_target_locked(async { self.create(cx, self.began_creation(cx).await?).await }).await
    }
}

impl StepUndo for CreateCluster {
    async fn undo(&self, cx: &StepContext, left: Option<ClusterReady>) -> Result<Vec<String>, StepError> {
        // What this operation did not begin to make is not touched, however broken it looks.
        let is_half_made = left.is_none() && self.began_creation(cx).await?;
        let mut removed = Vec::new();
        if is_half_made && !self.exists(cx).await? {
            clear_made_here(cx).await?;
        } else if is_half_made && !self.is_ready(cx).await {
            // A cluster that came up healthy stays, so that the next try is quick.
            cx.lines.progress("removing the half-made cluster");
            self.delete(cx).await?;
            clear_made_here(cx).await?;
            removed.push(format!("half-made cluster `{}`", self.cluster));
        }
        cx.unlock_target().await?;
        Ok(removed)
    }
}

impl CreateCluster {
    /// Whether a cluster of this name can only be what this operation began to create: an earlier attempt or server
    /// called kind, and the lock was not given away since. Without that a broken cluster is somebody's, and is kept.
    async fn began_creation(&self, cx: &StepContext) -> Result<bool, StepError> {
        let target = cx.store.target(cx.target.id).await?;
        let is_locked = target.is_some_and(|target| target.made_here && target.locked_by == Some(cx.operation));
        if !is_locked {
            return Ok(false);
        }
        let host = cx.host().await?;
        Ok(host.kind.was_creation_started(&cx.calls_folder_on(&host)).await?)
    }

    async fn create(&self, cx: &StepContext, was_begun: bool) -> Result<ClusterReady, StepError> {
        if self.exists(cx).await? {
            match self.readiness(cx).await {
                Ok(()) => return Ok(ClusterReady { made: was_begun }),
                Err(error) if !was_begun => return Err(error),
                Err(_) => {
                    cx.lines.progress("removing what an interrupted creation left");
                    self.delete(cx).await?;
                }
            }
        }
        // On record first: whoever finds the cluster after a crash knows whose it is.
        cx.store.set_target_made_here(cx.target.id, true).await?;
        cx.lines.progress("starting a node");
        let host = cx.host().await?;
        let (folder, calls) = (host.target_folder(cx.target.id), cx.calls_folder_on(&host));
        let nodes_file = cx.target_folder().join(NODES_FILE);
        Connection::Local.remove_file(&nodes_file).await?;
        host.kind.create_cluster(&self.cluster, &folder, &calls, &cx.lines, &cx.cancel).await?;
        let nodes = host.docker.nodes_of_cluster(self.cluster.as_str()).await?;
        let ids: Vec<&str> = nodes.iter().map(|node| node.id.as_str()).collect();
        // A failure to write this file is ignored: without it `was_recreated` cannot compare container ids, and a
        // cluster of this name is taken for the one that we made.
        let _ = Connection::Local.write(&nodes_file, ids.join("\n").as_bytes()).await;
        self.readiness(cx).await?;
        Ok(ClusterReady { made: true })
    }

    async fn delete(&self, cx: &StepContext) -> Result<(), StepError> {
        let host = cx.host().await?;
        host.kind.delete_cluster(&self.cluster, &cx.calls_folder_on(&host), &cx.lines, &cx.cancel).await?;
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
            StepError::Permanent(failure) => StepError::Permanent(named(failure)),
            StepError::Cancelled => StepError::Cancelled,
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

/// Whether a cluster that is on record as made here was made again by somebody else: none of its nodes is of ours.
pub(super) async fn was_recreated(cx: &StepContext, cluster: &ClusterName) -> Result<bool, StepError> {
    let Ok(ours) = tokio::fs::read_to_string(cx.target_folder().join(NODES_FILE)).await else { return Ok(false) };
    let nodes = cx.host().await?.docker.nodes_of_cluster(cluster.as_str()).await?;
    Ok(!nodes.is_empty() && !nodes.iter().any(|node| ours.lines().any(|id| id == node.id)))
}
