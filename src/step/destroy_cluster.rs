//! Destroys the EKS cluster of a target with its network, and all that was made with it.

use serde::{Deserialize, Serialize};

use super::cloud_target::CloudTarget;
use super::context::StepContext;
use super::error::StepError;
use super::provision::destroy_unshared;
use super::removal::Removal;
use super::uninstall_ingress::delete_load_balancers;
use crate::id::Region;
use crate::store::record::EksCluster;
use crate::tool::terraform::{Terraform, module};

/// Destroys the EKS cluster of a target, when this server made it and nothing else uses it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DestroyCluster {
    /// Where.
    pub region: Region,
}

impl Removal for DestroyCluster {
    const NAME: &'static str = EksCluster::DESTROYED_BY;

    fn title(&self) -> String {
        "Destroy the EKS cluster and its network".to_owned()
    }

    fn weight(&self) -> u32 {
        60
    }

    async fn remove(&self, cx: &StepContext) -> Result<Vec<String>, StepError> {
        destroy_unshared(cx, Box::pin(destroy(cx, &self.region))).await
    }
}

/// Destroys by Terraform what its state knows, then by its tag what the state lacks; the record forgets the cluster.
pub(super) async fn destroy(cx: &StepContext, region: &Region) -> Result<Vec<String>, StepError> {
    let aws = cx.aws_on_record(region).await?;
    let known = cx.store.target(cx.target.id).await?.and_then(|it| it.cluster);
    let terraform = Terraform::new(&cx.settings);
    let workspace = cx.workspace(module::CLOUD_HOSTED, &terraform, &aws).await?;
    let mut there = cx.remains_of_target(&aws, &workspace).await?;
    there.retain(|it| !it.kind.is_by_product());
    // A load balancer that outlived its Service, or its cluster, would keep the network from going.
    delete_load_balancers(cx, &aws, known.as_ref().map(|it| it.vpc.as_str())).await?;
    let rest = async { cx.delete_resources(&aws, &cx.remains_of_target(&aws, &workspace).await?).await };
    cx.destroy_with(&workspace, rest).await?;
    cx.store.set_target_cluster(cx.target.id, None).await?;
    cx.store.set_target_made_here(cx.target.id, false).await?;
    cx.remove_workspace_state(&workspace).await?;
    Ok(there.iter().map(ToString::to_string).collect())
}
