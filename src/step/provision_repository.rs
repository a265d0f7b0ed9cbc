//! Makes sure that the repository for the application's images is there.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::destroy_repository::destroy;
use super::{StepAction, StepContext, StepError};
use crate::cloud::aws::{OPERATION_TAG, TARGET_TAG};
use crate::id::{Region, short_hash};
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

    async fn check(&self, cx: &StepContext) -> Result<Option<EcrRepository>, StepError> {
        let Some(url) = cx.deployment.facts.ecr_repository_url.clone() else { return Ok(None) };
        let name = repository_name(cx);
        let is_there = cx.aws(&self.region).await?.has_repository(&name).await?;
        Ok(is_there.then_some(EcrRepository { name, url }))
    }

    async fn run(&self, cx: &StepContext) -> Result<EcrRepository, StepError> {
        let aws = cx.aws(&self.region).await?;
        let terraform = Terraform::new(&cx.settings);
        let workspace = cx.workspace(module::ECR, &terraform, &aws).await?;
        let name = repository_name(cx);
        let variables = json!({
            "region": self.region,
            "name": name,
            "tags": { TARGET_TAG: cx.target.id, OPERATION_TAG: cx.operation },
            // Each version is one image; those of roll-outs that failed count too.
            "keep_images": cx.settings.rollout.keep_versions * 3,
        });
        workspace.prepare(&variables).await?;
        workspace.plan().await?;
        workspace.apply().await?;
        let outputs: Outputs = workspace.outputs().await?;
        Ok(EcrRepository { name, url: outputs.repository_url })
    }

    async fn undo(&self, cx: &StepContext, _: Option<EcrRepository>) -> Result<Vec<String>, StepError> {
        // One that was there before has the images that run.
        if cx.deployment.facts.ecr_repository_url.is_some() {
            return Ok(Vec::new());
        }
        destroy(cx, &self.region).await
    }
}

/// Its name: where the application runs. What ECR would not take of a cluster's name is hashed.
pub(super) fn repository_name(cx: &StepContext) -> String {
    let cluster = &cx.target.name;
    // "repositoryName" of CreateRepository in the API reference.
    let fits = cluster
        .split(['-', '_'])
        .all(|word| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()));
    let cluster = if fits { cluster.clone() } else { format!("cluster-{}", short_hash(&[cluster], 12)) };
    format!("{cluster}/{}/{}", cx.deployment.namespace, cx.deployment.name)
}
