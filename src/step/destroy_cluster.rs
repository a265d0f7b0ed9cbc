//! Destroys the EKS cluster of a target with its network, and all that was made with it.

use serde::{Deserialize, Serialize};

use super::account::expect_owner_of_cluster;
use super::remove_application::Removed;
use super::uninstall_ingress::clear_balancers;
use super::{StepAction, StepContext, StepError};
use crate::event::Failure;
use crate::id::Region;
use crate::tool::terraform::{Terraform, module};

/// Destroys the EKS cluster of a target, when this server made it and nothing else uses it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DestroyCluster {
    /// Where.
    pub region: Region,
}

impl StepAction for DestroyCluster {
    const NAME: &'static str = "destroy_cluster";
    type Output = Removed;

    fn title(&self) -> String {
        "Destroy the EKS cluster and its network".to_owned()
    }

    fn weight(&self) -> u32 {
        60
    }

    fn summary(&self, output: &Removed) -> String {
        output.summary()
    }

    async fn check(&self, _: &StepContext) -> Result<Option<Removed>, StepError> {
        Ok(None)
    }

    async fn run(&self, cx: &StepContext) -> Result<Removed, StepError> {
        cx.lock_target().await?;
        if cx.is_target_shared().await? {
            cx.store.unlock_target(cx.target.id, cx.operation).await?;
            return Err(StepError::Permanent(Failure {
                code: "target_in_use".into(),
                message: format!("another deployment has come onto `{}` meanwhile", cx.target.name),
                next_step: "Send `decommission` again: it then removes only this application".into(),
                output: Vec::new(),
            }));
        }
        let removed = Box::pin(destroy(cx, &self.region)).await?;
        cx.store.unlock_target(cx.target.id, cx.operation).await?;
        Ok(Removed { removed })
    }

    async fn undo(&self, cx: &StepContext, _: Option<Removed>) -> Result<Vec<String>, StepError> {
        cx.store.unlock_target(cx.target.id, cx.operation).await?;
        Ok(Vec::new())
    }
}

/// Destroys by Terraform what its state knows, then by its tag what the state lacks; the record forgets the cluster.
pub(super) async fn destroy(cx: &StepContext, region: &Region) -> Result<Vec<String>, StepError> {
    let aws = cx.aws(region).await?;
    let name = &cx.target.name;
    let known = cx.store.target(cx.target.id).await?.and_then(|it| it.cluster);
    if let Some(known) = &known {
        expect_owner_of_cluster(&aws, known).await?;
    }
    let there = Box::pin(aws.network_of(cx.target.id, name)).await?;
    // A load balancer that outlived its Service, or its cluster, would keep the network from going.
    clear_balancers(cx, &aws, known.as_ref().map(|it| it.vpc.as_str())).await?;
    let terraform = Terraform::new(&cx.settings);
    let workspace = cx.workspace(module::CLOUD_HOSTED, &terraform, &aws).await?;
    cx.unmake(&workspace).await?;
    let on_progress = |text: String| cx.lines.progress(text);
    tokio::select! {
        result = aws.remove_network(cx.target.id, name, &on_progress) => result?,
        () = cx.cancel.cancelled() => return Err(StepError::Cancelled),
    }
    cx.store.set_target_cluster(cx.target.id, None).await?;
    cx.store.set_target_made_here(cx.target.id, false).await?;
    cx.forget(&workspace).await?;
    Ok(there.iter().map(ToString::to_string).collect())
}
