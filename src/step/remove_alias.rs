//! Removes the application's host name.

use serde::{Deserialize, Serialize};

use super::remove_application::Removed;
use super::{StepAction, StepContext, StepError};
use crate::id::Region;
use crate::tool::terraform::{Terraform, module};

/// Removes the application's host name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RemoveAlias {
    /// Where.
    pub region: Region,
}

impl StepAction for RemoveAlias {
    const NAME: &'static str = "remove_alias";
    type Output = Removed;

    fn title(&self) -> String {
        "Remove its host name".to_owned()
    }

    fn weight(&self) -> u32 {
        8
    }

    fn summary(&self, output: &Removed) -> String {
        output.summary()
    }

    async fn check(&self, _: &StepContext) -> Result<Option<Removed>, StepError> {
        Ok(None)
    }

    async fn run(&self, cx: &StepContext) -> Result<Removed, StepError> {
        Ok(Removed { removed: remove(cx, &self.region).await? })
    }

    async fn undo(&self, _: &StepContext, _: Option<Removed>) -> Result<Vec<String>, StepError> {
        Ok(Vec::new())
    }
}

/// Removes the name that leads to the load balancer.
pub(super) async fn remove(cx: &StepContext, region: &Region) -> Result<Vec<String>, StepError> {
    let aws = cx.aws(region).await?;
    let terraform = Terraform::new(&cx.settings);
    let workspace = cx.workspace(module::ALIAS, &terraform, &aws).await?;
    let Some(host) = workspace.variable("host") else { return Ok(Vec::new()) };
    // Records carry no tags: nobody else would find them.
    cx.destroy_known(&workspace).await?;
    cx.forget(&workspace).await?;
    Ok(vec![format!("host name `{host}`")])
}
