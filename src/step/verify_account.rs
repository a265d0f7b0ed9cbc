//! Asks AWS whether anything of a target is left.

use serde::{Deserialize, Serialize};

use super::remove_application::Removed;
use super::{StepAction, StepContext, StepError};
use crate::cloud::aws::leftover::Resource;
use crate::event::Failure;
use crate::id::{Mode, Region};

/// Asks AWS whether anything of a target is left.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VerifyAccount {
    /// Where.
    pub region: Region,
}

impl StepAction for VerifyAccount {
    const NAME: &'static str = "verify_account";
    type Output = Removed;

    fn title(&self) -> String {
        "Ask AWS whether anything is left".to_owned()
    }

    fn summary(&self, _: &Removed) -> String {
        "AWS knows of nothing more".to_owned()
    }

    async fn check(&self, _: &StepContext) -> Result<Option<Removed>, StepError> {
        Ok(None)
    }

    async fn run(&self, cx: &StepContext) -> Result<Removed, StepError> {
        let aws = cx.aws(&self.region).await?;
        let mut left = aws.tagged(cx.target.id).await?;
        if cx.target.mode == Mode::CloudHosted {
            left.extend(Box::pin(aws.network_of(cx.target.id, &cx.target.name)).await?);
            left.extend(aws.balancers_of_cluster(&cx.target.name).await?.into_iter().map(Resource::from));
        }
        if left.is_empty() {
            return Ok(Removed::default());
        }
        let left: Vec<String> = left.iter().map(ToString::to_string).collect();
        Err(StepError::Transient(Failure {
            code: "leftovers".into(),
            message: format!("still there: {}", left.join(", ")),
            next_step: "Send `decommission` again, or remove them in the EC2 console".into(),
            output: left,
        }))
    }

    async fn undo(&self, _: &StepContext, _: Option<Removed>) -> Result<Vec<String>, StepError> {
        Ok(Vec::new())
    }
}
