//! Removes the repository with the application's images.

use serde::{Deserialize, Serialize};

use super::context::StepContext;
use super::error::StepError;
use super::removal::Removal;
use crate::id::Region;
use crate::tool::terraform::{Terraform, module};

/// Removes the repository with the application's images.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DestroyRepository {
    /// Where.
    pub region: Region,
}

impl Removal for DestroyRepository {
    const NAME: &'static str = "destroy_repository";

    fn title(&self) -> String {
        "Remove its images from ECR".to_owned()
    }

    fn weight(&self) -> u32 {
        5
    }

    async fn remove(&self, cx: &StepContext) -> Result<Vec<String>, StepError> {
        destroy(cx, &self.region).await
    }
}

/// Removes the repository, by Terraform where it has a state.
pub(super) async fn destroy(cx: &StepContext, region: &Region) -> Result<Vec<String>, StepError> {
    let aws = cx.aws_on_record(region).await?;
    let name = cx.repository_name();
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
    cx.destroy_with(&workspace, async { Ok(aws.delete_repository(&name).await?) }).await?;
    cx.remove_workspace_state(&workspace).await?;
    Ok(if is_there { vec![format!("ECR repository `{name}` with its images")] } else { Vec::new() })
}
