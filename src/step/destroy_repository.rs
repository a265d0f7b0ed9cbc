//! Removes the repository with the application's images.

use serde::{Deserialize, Serialize};

use super::provision_repository::repository_name;
use super::remove_application::Removed;
use super::{StepAction, StepContext, StepError};
use crate::id::Region;
use crate::tool::terraform::{Terraform, module};

/// Removes the repository with the application's images.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DestroyRepository {
    /// Where.
    pub region: Region,
}

impl StepAction for DestroyRepository {
    const NAME: &'static str = "destroy_repository";
    type Output = Removed;

    fn title(&self) -> String {
        "Remove its images from ECR".to_owned()
    }

    fn weight(&self) -> u32 {
        5
    }

    fn summary(&self, output: &Removed) -> String {
        output.summary()
    }

    async fn check(&self, _: &StepContext) -> Result<Option<Removed>, StepError> {
        Ok(None)
    }

    async fn run(&self, cx: &StepContext) -> Result<Removed, StepError> {
        Ok(Removed { removed: destroy(cx, &self.region).await? })
    }

    async fn undo(&self, _: &StepContext, _: Option<Removed>) -> Result<Vec<String>, StepError> {
        Ok(Vec::new())
    }
}

/// Removes the repository, by Terraform where it has a state.
pub(super) async fn destroy(cx: &StepContext, region: &Region) -> Result<Vec<String>, StepError> {
    let aws = cx.aws(region).await?;
    let name = repository_name(cx);
    let terraform = Terraform::new(&cx.settings);
    let workspace = cx.workspace(module::ECR, &terraform, &aws).await?;
    if !workspace.exists() {
        return Ok(Vec::new());
    }
    let is_there = aws.has_repository(&name).await?;
    if is_there {
        cx.lines.progress("removing the images");
        aws.empty_repository(&name).await?;
    }
    cx.unmake(&workspace).await?;
    // A call that died before it wrote that down left it out of the state.
    aws.delete_repository(&name).await?;
    cx.forget(&workspace).await?;
    Ok(if is_there { vec![format!("ECR repository `{name}` with its images")] } else { Vec::new() })
}
