//! Looks whether the EC2 instance of a deployment is there, runs, and has the address on record.

use serde::{Deserialize, Serialize};

use super::account::expect_owner;
use super::provision_instance::{Fate, fate, gone, unrecorded};
use super::{StepAction, StepContext, StepError};
use crate::secret::private_key::private_key;
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

impl StepAction for FindInstance {
    const NAME: &'static str = "find_instance";
    type Output = Found;

    fn title(&self) -> String {
        "Look for the EC2 instance".to_owned()
    }

    fn summary(&self, output: &Found) -> String {
        format!("`{}` runs at {}", output.instance.id, output.instance.public_ip)
    }

    async fn check(&self, _: &StepContext) -> Result<Option<Found>, StepError> {
        Ok(None)
    }

    async fn run(&self, cx: &StepContext) -> Result<Found, StepError> {
        let target = cx.store.target(cx.target.id).await?;
        let known = target.and_then(|it| it.instance).ok_or_else(|| unrecorded(&cx.target))?;
        if let Err(error) = private_key(cx.settings.ssh.private_key_base_path.as_deref(), &known.key_pair) {
            return Err(error.into());
        }
        let aws = cx.aws(&known.region).await?;
        expect_owner(&aws, &known).await?;
        match fate(cx, &aws, &known).await? {
            Fate::Runs(instance) => Ok(Found { instance: *instance }),
            Fate::Gone => Err(gone(&known.id)),
        }
    }

    async fn undo(&self, _: &StepContext, _: Option<Found>) -> Result<Vec<String>, StepError> {
        Ok(Vec::new())
    }
}
