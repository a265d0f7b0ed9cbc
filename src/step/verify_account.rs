//! Asks AWS whether anything of a target is left.

use serde::{Deserialize, Serialize};

use super::context::StepContext;
use super::error::StepError;
use super::removal::{Removal, Removed};
use crate::cloud::aws::tagged_resources::TaggedResource;
use crate::event::Failure;
use crate::id::{Mode, Region};

/// Asks AWS whether anything of a target is left.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VerifyAccount {
    /// Where.
    pub region: Region,
}

impl Removal for VerifyAccount {
    const NAME: &'static str = "verify_account";

    fn title(&self) -> String {
        "Ask AWS whether anything is left".to_owned()
    }

    fn summary(&self, _: &Removed) -> String {
        "AWS knows of nothing more".to_owned()
    }

    fn receipt(&self, _: &Removed) -> Vec<String> {
        vec![format!("asked AWS in {}: nothing that carries the tag of this target is left", self.region)]
    }

    async fn remove(&self, cx: &StepContext) -> Result<Vec<String>, StepError> {
        let aws = cx.aws(&self.region).await?;
        let mut left = aws.tagged_resources(cx.target.id).await?;
        if cx.target.mode == Mode::CloudHosted {
            left.extend(Box::pin(aws.tagged_cluster_resources(cx.target.id, &cx.target.name)).await?);
            left.extend(aws.cluster_load_balancers(&cx.target.name).await?.into_iter().map(TaggedResource::from));
        }
        if left.is_empty() {
            return Ok(Vec::new());
        }
        let left: Vec<String> = left.iter().map(ToString::to_string).collect();
        Err(StepError::Transient(Failure {
            code: "leftovers".into(),
            message: format!("still there: {}", left.join(", ")),
            next_step: "Send `decommission` again, or remove them in the EC2 console".into(),
            output: left,
        }))
    }
}
