//! Destroys the EC2 instance of a target, and all that was made with it.

use serde::{Deserialize, Serialize};

use super::cloud_target::CloudTarget;
use super::context::StepContext;
use super::error::StepError;
use super::provision::destroy_unshared;
use super::removal::Removal;
use crate::cloud::aws::resource::{Resource, ResourceKind};
use crate::id::Region;
use crate::store::record::Instance;
use crate::tool::terraform::{Terraform, module};

/// Destroys the EC2 instance of a target, when this server made it and nothing else uses it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DestroyInstance {
    /// Where.
    pub region: Region,
}

impl Removal for DestroyInstance {
    const NAME: &'static str = Instance::DESTROYED_BY;

    fn title(&self) -> String {
        "Destroy the EC2 instance".to_owned()
    }

    fn weight(&self) -> u32 {
        30
    }

    async fn remove(&self, cx: &StepContext) -> Result<Vec<String>, StepError> {
        destroy_unshared(cx, Box::pin(destroy(cx, &self.region))).await
    }
}

/// Destroys by Terraform what its state knows, then by its tag what the state lacks; the record forgets the instance.
pub(super) async fn destroy(cx: &StepContext, region: &Region) -> Result<Vec<String>, StepError> {
    let aws = cx.aws_on_record(region).await?;
    let known = cx.store.target(cx.target.id).await?.and_then(|it| it.instance);
    let terraform = Terraform::new(&cx.settings);
    let workspace = cx.workspace(module::CLOUD_LOCAL, &terraform, &aws).await?;
    let mut there = cx.remains_of_target(&aws, &workspace).await?;
    if let Some(known) = known.filter(|known| !there.iter().any(|it| it.id == known.id)) {
        // AWS no longer lists the recorded instance: a `terraform destroy` that outlived a killed server has terminated
        // it. It still belongs in the receipt.
        there.insert(0, Resource { kind: ResourceKind::Instance, id: known.id });
    }
    let rest = async { cx.delete_resources(&aws, &cx.remains_of_target(&aws, &workspace).await?).await };
    cx.destroy_with(&workspace, rest).await?;
    cx.store.set_target_instance(cx.target.id, None).await?;
    cx.hosts.forget(cx.target.id);
    cx.store.set_target_made_here(cx.target.id, false).await?;
    cx.remove_workspace_state(&workspace).await?;
    let _ = tokio::fs::remove_dir_all(cx.target_folder()).await;
    Ok(there.iter().map(ToString::to_string).collect())
}
