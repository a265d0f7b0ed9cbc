//! Removes the application's host name.

use serde::{Deserialize, Serialize};

use super::context::StepContext;
use super::error::StepError;
use super::removal::Removal;
use crate::id::{HostedZoneId, Region};
use crate::tool::terraform::{Terraform, Workspace, module};

/// Removes the application's host name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RemoveAlias {
    /// Where.
    pub region: Region,
}

impl Removal for RemoveAlias {
    const NAME: &'static str = "remove_alias";

    fn title(&self) -> String {
        "Remove its host name".to_owned()
    }

    fn weight(&self) -> u32 {
        8
    }

    async fn remove(&self, cx: &StepContext) -> Result<Vec<String>, StepError> {
        remove(cx, &self.region).await
    }
}

/// Removes the name that leads to the load balancer.
pub(super) async fn remove(cx: &StepContext, region: &Region) -> Result<Vec<String>, StepError> {
    let aws = cx.aws_on_record(region).await?;
    let terraform = Terraform::new(&cx.settings);
    let workspace = cx.workspace(module::ALIAS, &terraform, &aws).await?;
    let variable = |name: &str| workspace.variable(name).map(str::to_owned);
    let Some(host) = variable("host") else { return Ok(Vec::new()) };
    // Records of Route53 have no tags: what the state lacks is found by where it leads.
    let rest = Box::pin(async {
        if let (Some(zone), Some(balancer)) = (zone(&workspace)?, variable("balancer_name")) {
            aws.delete_alias(&zone, &host, &balancer).await?;
        }
        Ok(())
    });
    cx.destroy_with(&workspace, rest).await?;
    cx.remove_workspace_state(&workspace).await?;
    Ok(vec![format!("host name `{host}`")])
}

/// The hosted zone in which a workspace made records.
pub(super) fn zone(workspace: &Workspace<'_>) -> Result<Option<HostedZoneId>, StepError> {
    let id = workspace.variable("zone_id").map(HostedZoneId::parse).transpose();
    id.map_err(|error| StepError::unreadable(workspace.module, &error))
}
