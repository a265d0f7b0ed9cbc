//! Sets the number of replicas.

use serde::{Deserialize, Serialize};

use super::action::{StepAction, StepUndo};
use super::context::StepContext;
use super::error::StepError;
use crate::id::ClusterName;
use crate::store::record::Deployment;

/// Sets the number of replicas.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScaleApplication {
    /// The cluster.
    pub cluster: ClusterName,
    /// How many.
    pub replicas: u16,
    /// How many there were.
    pub previous: u16,
}

/// The number is set.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Scaled {
    /// False when it was so already.
    pub changed: bool,
}

impl StepAction for ScaleApplication {
    const NAME: &'static str = "scale_application";
    type Output = Scaled;

    fn title(&self) -> String {
        format!("Set the number of replicas to {}", self.replicas)
    }

    fn summary(&self, output: &Scaled) -> String {
        if output.changed {
            format!("{} instead of {}", self.replicas, self.previous)
        } else {
            "it was so already".to_owned()
        }
    }

    fn had_nothing_to_do(&self, output: &Scaled) -> bool {
        !output.changed
    }

    fn record(&self, _: &Scaled, deployment: &mut Deployment) {
        deployment.facts.replicas = Some(self.replicas);
    }

    async fn check(&self, cx: &StepContext) -> Result<Option<Scaled>, StepError> {
        let kube = cx.kube(&self.cluster).await?;
        let live = kube.live_deployment(&cx.deployment.name, &cx.deployment.namespace).await?;
        let changed = self.previous != self.replicas;
        Ok(live.is_some_and(|live| live.replicas == u32::from(self.replicas)).then_some(Scaled { changed }))
    }

    async fn run(&self, cx: &StepContext) -> Result<Scaled, StepError> {
        set(cx, &self.cluster, self.replicas).await?;
        Ok(Scaled { changed: true })
    }
}

impl StepUndo for ScaleApplication {
    async fn undo(&self, cx: &StepContext, _: Option<Scaled>) -> Result<Vec<String>, StepError> {
        // What is no longer there has no replicas to set back.
        if cx.is_cluster_gone(&self.cluster).await? {
            return Ok(Vec::new());
        }
        let live = cx.kube(&self.cluster).await?.live_deployment(&cx.deployment.name, &cx.deployment.namespace).await?;
        if live.is_none_or(|live| !live.ours || live.replicas == u32::from(self.previous)) {
            return Ok(Vec::new());
        }
        set(cx, &self.cluster, self.previous).await?;
        Ok(vec![format!("the change: {} replicas are wanted again", self.previous)])
    }
}

async fn set(cx: &StepContext, cluster: &ClusterName, replicas: u16) -> Result<(), StepError> {
    let kube = cx.kube(cluster).await?;
    kube.scale(&cx.deployment.name, &cx.deployment.namespace, cx.operation, u32::from(replicas)).await?;
    Ok(())
}
