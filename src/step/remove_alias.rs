//! Removes the application's host name.

use serde::{Deserialize, Serialize};

use super::context::StepContext;
use super::error::StepError;
use super::removal::Removal;
use crate::id::Region;
use crate::tool::terraform::{Terraform, module};

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
    let aws = cx.aws(region).await?;
    let terraform = Terraform::new(&cx.settings);
    let workspace = cx.workspace(module::ALIAS, &terraform, &aws).await?;
    let Some(host) = workspace.variable("host") else { return Ok(Vec::new()) };
    // Route 53 records cannot be tagged, so there is no second search by tag: an error of Terraform is passed on
    // instead of tolerated.
    cx.destroy_workspace(&workspace).await?;
    cx.remove_workspace_state(&workspace).await?;
    Ok(vec![format!("host name `{host}`")])
}
