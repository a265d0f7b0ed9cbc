//! Deletes the local cluster, when this server made it and nothing else uses it.

use serde::{Deserialize, Serialize};

use super::context::StepContext;
use super::create_cluster::was_recreated;
use super::error::StepError;
use super::preload_base_image::warn_of_cached_images;
use super::removal::{Removal, Removed};
use crate::id::ClusterName;

/// Deletes the local cluster, when this server made it and nothing else uses it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeleteCluster {
    /// Its name.
    pub cluster: ClusterName,
    /// A person asked for it: say so when it cannot be done. Otherwise a cluster that is in use just stays.
    pub asked: bool,
}

impl Removal for DeleteCluster {
    const NAME: &'static str = "delete_cluster";

    fn title(&self) -> String {
        format!("Delete the cluster `{}`", self.cluster)
    }

    fn weight(&self) -> u32 {
        3
    }

    fn summary(&self, output: &Removed) -> String {
        if output.removed.is_empty() { "it stays".to_owned() } else { output.summary() }
    }

    /// That it stays is worth a line.
    fn had_nothing_to_do(&self, _: &Removed) -> bool {
        false
    }

    async fn is_gone(&self, cx: &StepContext) -> Result<bool, StepError> {
        let nodes = cx.host().await?.docker.nodes_of_cluster(self.cluster.as_str()).await?;
        // One that is gone and still on record as ours was deleted a moment ago, or by hand: the record goes too.
        let on_record = cx.store.target(cx.target.id).await?.is_some_and(|target| target.made_here);
        Ok(nodes.is_empty() && !on_record)
    }

    async fn remove(&self, cx: &StepContext) -> Result<Vec<String>, StepError> {
        cx.lock_target().await?;
        let on_record = cx.store.target(cx.target.id).await?.is_some_and(|target| target.made_here);
        let made_here = on_record && !was_recreated(cx, &self.cluster).await?;
        if on_record && !made_here {
            cx.store.set_target_made_here(cx.target.id, false).await?;
        }
        let used = cx.is_target_shared().await?;
        let reason = match (made_here, used) {
            (true, false) => {
                let host = cx.host().await?;
                host.kind.delete_cluster(&self.cluster, &cx.calls_on(&host), &cx.lines, &cx.cancel).await?;
                host.forget(&self.cluster);
                cx.store.set_target_made_here(cx.target.id, false).await?;
                let _ = tokio::fs::remove_dir_all(cx.target_folder()).await;
                cx.unlock_target().await?;
                return Ok(vec![format!("kind cluster `{}`", self.cluster)]);
            }
            (_, true) => "other deployments run on it",
            (false, false) => "this server did not make it",
        };
        cx.unlock_target().await?;
        warn_of_cached_images(cx, &self.cluster, &cx.deployment.facts.base_images).await?;
        if self.asked {
            cx.lines.warning(format!(
                "The cluster `{}` stays: {reason}. Delete it with `kind delete cluster --name {}` when you are sure.",
                self.cluster, self.cluster
            ));
        }
        Ok(Vec::new())
    }
}
