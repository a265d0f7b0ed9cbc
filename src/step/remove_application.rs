//! Takes the application off the cluster.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{StepAction, StepContext, StepError};
use crate::cloud::kube::delete::NamespaceFate;
use crate::id::ClusterName;

/// How long its pods and its namespace may take to go.
const LIMIT: Duration = Duration::from_mins(3);

/// Takes the application off the cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RemoveApplication {
    /// The cluster.
    pub cluster: ClusterName,
}

/// What a removal removed, for the receipt.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Removed {
    /// In words.
    pub removed: Vec<String>,
}

impl Removed {
    /// In one line.
    #[must_use]
    pub fn summary(&self) -> String {
        if self.removed.is_empty() { "there was nothing to remove".to_owned() } else { self.removed.join(", ") }
    }
}

impl StepAction for RemoveApplication {
    const NAME: &'static str = "remove_application";
    type Output = Removed;

    fn title(&self) -> String {
        "Take it off the cluster".to_owned()
    }

    fn weight(&self) -> u32 {
        5
    }

    fn summary(&self, output: &Removed) -> String {
        output.summary()
    }

    async fn check(&self, cx: &StepContext) -> Result<Option<Removed>, StepError> {
        Ok(cx.is_cluster_gone(&self.cluster).await?.then(Removed::default))
    }

    async fn run(&self, cx: &StepContext) -> Result<Removed, StepError> {
        let kube = cx.kube(&self.cluster).await?;
        let fate = NamespaceFate::DeleteIfEmpty;
        let on_progress = |text: String| cx.lines.progress(text);
        let gone =
            kube.delete_application(&cx.deployment.namespace, cx.deployment.id, fate, LIMIT, &on_progress).await?;
        Ok(Removed { removed: gone.iter().map(ToString::to_string).collect() })
    }

    async fn undo(&self, _: &StepContext, _: Option<Removed>) -> Result<Vec<String>, StepError> {
        Ok(Vec::new())
    }
}
