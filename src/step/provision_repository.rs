//! Makes sure that the repository for the application's images is there.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::action::{StepAction, StepUndo};
use super::context::StepContext;
use super::destroy_repository::destroy;
use super::error::StepError;
use crate::cloud::aws::{OPERATION_TAG, TARGET_TAG};
use crate::id::Region;
use crate::store::record::Deployment;
use crate::tool::terraform::{Terraform, module};

/// Makes sure that the repository for the application's images is there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProvisionRepository {
    /// Where.
    pub region: Region,
}

/// The repository is there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EcrRepository {
    /// Its name.
    pub name: String,
    /// Its address, without a tag.
    pub url: String,
}

/// What the module puts out.
#[derive(Debug, Deserialize)]
struct Outputs {
    repository_url: String,
}

impl StepAction for ProvisionRepository {
    const NAME: &'static str = "provision_repository";
    type Output = EcrRepository;

    fn title(&self) -> String {
        format!("Prepare the ECR repository in {}", self.region)
    }

    fn weight(&self) -> u32 {
        8
    }

    fn summary(&self, output: &EcrRepository) -> String {
        format!("`{}`", output.url)
    }

    fn record(&self, output: &EcrRepository, deployment: &mut Deployment) {
        deployment.facts.ecr_repository_url = Some(output.url.clone());
    }

    async fn check(&self, cx: &StepContext) -> Result<Option<EcrRepository>, StepError> {
        let Some(url) = cx.deployment.facts.ecr_repository_url.clone() else { return Ok(None) };
        let name = cx.repository_name();
        let is_there = cx.aws(&self.region).await?.has_repository(&name).await?;
        Ok(is_there.then_some(EcrRepository { name, url }))
    }

    async fn run(&self, cx: &StepContext) -> Result<EcrRepository, StepError> {
        let aws = cx.aws(&self.region).await?;
        let terraform = Terraform::new(&cx.settings);
        let mut workspace = cx.workspace(module::ECR, &terraform, &aws).await?;
        let name = cx.repository_name();
        let variables = json!({
            "region": self.region,
            "name": name,
            "tags": { TARGET_TAG: cx.target.id, OPERATION_TAG: cx.operation },
            // Each version is one image; those of roll-outs that failed count too.
            "keep_images": cx.settings.rollout.keep_versions * 3,
        });
        let was_begun = workspace.exists();
        cx.prepare(&mut workspace, &aws, variables).await?;
        if was_begun && workspace.resource_ids().await?.is_empty() {
            // A call that died before it wrote the state has left it: without an image, and its name is taken.
            if aws.repository_target(&name).await? == Some(cx.target.id.to_string()) {
                aws.delete_repository(&name).await?;
            }
        }
        workspace.plan().await?;
        workspace.apply().await?;
        let outputs: Outputs = workspace.outputs().await?;
        Ok(EcrRepository { name, url: outputs.repository_url })
    }
}

impl StepUndo for ProvisionRepository {
    async fn undo(&self, cx: &StepContext, _: Option<EcrRepository>) -> Result<Vec<String>, StepError> {
        // One that was there before has the images that run.
        if cx.deployment.facts.ecr_repository_url.is_some() {
            return Ok(Vec::new());
        }
        destroy(cx, &self.region).await
    }
}
