//! Looks whether the EC2 instance of a deployment is there, runs, and has the address on record.

use serde::{Deserialize, Serialize};

use super::action::StepAction;
use super::cloud_target::{CloudTarget, InstanceFound, instance_terminated, no_instance_on_record};
use super::context::StepContext;
use super::error::StepError;
use super::provision_instance::refresh;
use crate::secret::private_key::private_key;
use crate::store::record::{Deployment, Instance};

/// Looks whether the EC2 instance of a deployment is there, runs, and has the address on record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FindInstance {}

impl StepAction for FindInstance {
    const NAME: &'static str = Instance::FOUND_BY;
    type Output = InstanceFound;

    fn title(&self) -> String {
        "Look for the EC2 instance".to_owned()
    }

    fn summary(&self, output: &InstanceFound) -> String {
        format!("`{}` runs at {}", output.instance.id, output.instance.public_ip)
    }

    fn record(&self, output: &InstanceFound, deployment: &mut Deployment) {
        output.record(&mut deployment.facts);
    }

    async fn run(&self, cx: &StepContext) -> Result<InstanceFound, StepError> {
        let target = cx.store.target(cx.target.id).await?;
        let known = target.and_then(|it| it.instance).ok_or_else(|| no_instance_on_record(&cx.target.name))?;
        private_key(cx.settings.ssh.private_key_base_path.as_deref(), &known.key_pair)?;
        let aws = cx.aws_of(&known).await?;
        let instance = refresh(cx, &aws, &known).await?.ok_or_else(|| instance_terminated(&known.id))?;
        Ok(InstanceFound { instance })
    }
}
