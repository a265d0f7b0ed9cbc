//! Makes sure that the EC2 instance is there and runs.

use serde::{Deserialize, Serialize};

use super::{Act, StepContext, StepError};
use crate::event::Failure;
use crate::id::{KeyPairName, Region};
use crate::store::record::Instance;

/// Makes sure that the EC2 instance is there and runs. Deployments that arrive together make one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProvisionInstance {
    /// Where.
    pub region: Region,
    /// The key pair that logs in.
    pub key_pair: KeyPairName,
    /// Keeps an instance that came up when the deploy that it was made for fails.
    pub keep: bool,
}

/// The instance runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Provisioned {
    /// The instance.
    pub instance: Instance,
    /// True when this operation made it.
    pub made: bool,
}

impl Act for ProvisionInstance {
    const NAME: &'static str = "provision_instance";
    type Output = Provisioned;

    fn title(&self) -> String {
        "Prepare the EC2 instance".to_owned()
    }

    fn summary(&self, output: &Provisioned) -> String {
        format!("`{}` at {}", output.instance.id, output.instance.public_ip)
    }

    async fn check(&self, _: &StepContext) -> Result<Option<Provisioned>, StepError> {
        Ok(None)
    }

    async fn run(&self, _: &StepContext) -> Result<Provisioned, StepError> {
        Err(StepError::Permanent(Failure {
            code: "internal_error".into(),
            message: "not there yet".into(),
            next_step: String::new(),
            output: Vec::new(),
        }))
    }

    async fn undo(&self, _: &StepContext, _: Option<Provisioned>) -> Result<Vec<String>, StepError> {
        Ok(Vec::new())
    }
}
