//! Takes the application off the cluster.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::context::StepContext;
use super::error::StepError;
use super::removal::Removal;
use super::stop_pods::stop_pods;
use crate::cloud::kube::delete::NamespacePolicy;
use crate::id::ClusterName;

/// How long its pods and its namespace may take to go.
const TIMEOUT: Duration = Duration::from_mins(3);

/// Takes the application off the cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RemoveApplication {
    /// The cluster.
    pub cluster: ClusterName,
}

impl Removal for RemoveApplication {
    const NAME: &'static str = "remove_application";

    fn title(&self) -> String {
        "Take it off the cluster".to_owned()
    }

    fn weight(&self) -> u32 {
        5
    }

    async fn is_gone(&self, cx: &StepContext) -> Result<bool, StepError> {
        cx.is_cluster_gone(&self.cluster).await
    }

    async fn remove(&self, cx: &StepContext) -> Result<Vec<String>, StepError> {
        let kube = cx.kube(&self.cluster).await?;
        let stop = |pods| stop_pods(cx, pods);
        let fate = NamespacePolicy::DeleteIfEmpty;
        let on_progress = |text: String| cx.lines.progress(text);
        let deleted = kube
            .delete_application(&cx.deployment.namespace, cx.deployment.id, fate, TIMEOUT, &on_progress, stop)
            .await?;
        deleted.namespace_stays.into_iter().for_each(|text| cx.lines.warning(text));
        Ok(deleted.removed.iter().map(ToString::to_string).collect())
    }
}
