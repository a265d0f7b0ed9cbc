//! Deletes the local cluster, when this server made it and nothing else uses it.

use serde::{Deserialize, Serialize};

use super::create_cluster::is_made_anew;
use super::remove_application::Removed;
use super::{StepAction, StepContext, StepError};
use crate::id::ClusterName;

/// Deletes the local cluster, when this server made it and nothing else uses it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeleteCluster {
    /// Its name.
    pub cluster: ClusterName,
    /// A person asked for it: say so when it cannot be done. Otherwise a cluster that is in use just stays.
    pub asked: bool,
}

impl StepAction for DeleteCluster {
    const NAME: &'static str = "delete_cluster";
    type Output = Removed;

    fn title(&self) -> String {
        format!("Delete the cluster `{}`", self.cluster)
    }

    fn weight(&self) -> u32 {
        3
    }

    fn summary(&self, output: &Removed) -> String {
        if output.removed.is_empty() { "it stays".to_owned() } else { output.summary() }
    }

    async fn check(&self, cx: &StepContext) -> Result<Option<Removed>, StepError> {
        let nodes = cx.host().await?.docker.nodes_of_cluster(self.cluster.as_str()).await?;
        // One that is gone and still on record as ours was deleted a moment ago, or by hand: the record goes too.
        let on_record = cx.store.target(cx.target.id).await?.is_some_and(|target| target.made_here);
        Ok((nodes.is_empty() && !on_record).then(Removed::default))
    }

    async fn run(&self, cx: &StepContext) -> Result<Removed, StepError> {
        cx.lock_target().await?;
        let on_record = cx.store.target(cx.target.id).await?.is_some_and(|target| target.made_here);
        let made_here = on_record && !is_made_anew(cx, &self.cluster).await?;
        if on_record && !made_here {
            cx.store.set_target_made_here(cx.target.id, false).await?;
        }
        let used = cx.is_target_shared().await?;
        let reason = match (made_here, used) {
            (true, false) => {
                let host = cx.host().await?;
                host.kind.delete_cluster(&self.cluster, &cx.calls_on(&host), &cx.lines, &cx.cancel).await?;
                cx.store.set_target_made_here(cx.target.id, false).await?;
                let _ = tokio::fs::remove_dir_all(cx.target_folder()).await;
                cx.store.unlock_target(cx.target.id, cx.operation).await?;
                return Ok(Removed { removed: vec![format!("kind cluster `{}`", self.cluster)] });
            }
            (_, true) => "other deployments run on it",
            (false, false) => "this server did not make it",
        };
        cx.store.unlock_target(cx.target.id, cx.operation).await?;
        if self.asked {
            cx.lines.warning(format!(
                "The cluster `{}` stays: {reason}. Delete it with `kind delete cluster --name {}` when you are sure.",
                self.cluster, self.cluster
            ));
        }
        Ok(Removed::default())
    }

    async fn undo(&self, _: &StepContext, _: Option<Removed>) -> Result<Vec<String>, StepError> {
        Ok(Vec::new())
    }
}
