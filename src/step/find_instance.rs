//! Looks whether the EC2 instance of a deployment is there, runs, and has the address on record.

use serde::{Deserialize, Serialize};

use super::{Act, StepContext, StepError};
use crate::store::record::Instance;

/// Looks whether the EC2 instance of a deployment is there, runs, and has the address on record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FindInstance {}

/// The instance runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Found {
    /// The instance, with the address that it has now.
    pub instance: Instance,
}

impl Act for FindInstance {
    const NAME: &'static str = "find_instance";
    type Output = Found;

    fn title(&self) -> String {
        "Look for the EC2 instance".to_owned()
    }

    fn summary(&self, output: &Found) -> String {
        format!("`{}` runs at {}", output.instance.id, output.instance.public_ip)
    }

    async fn check(&self, cx: &StepContext) -> Result<Option<Found>, StepError> {
        Ok(cx.target.instance.clone().map(|instance| Found { instance }))
    }

    async fn run(&self, _: &StepContext) -> Result<Found, StepError> {
        Err(StepError::Cancelled)
    }

    async fn undo(&self, _: &StepContext, _: Option<Found>) -> Result<Vec<String>, StepError> {
        Ok(Vec::new())
    }
}
