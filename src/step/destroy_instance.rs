//! Destroys the EC2 instance of a target, and all that was made with it.

use serde::{Deserialize, Serialize};

use super::account::expect_owner;
use super::remove_application::Removed;
use super::{StepAction, StepContext, StepError};
use crate::cloud::aws::Aws;
use crate::cloud::aws::leftover::{Kind, Resource};
use crate::event::Failure;
use crate::id::Region;
use crate::tool::terraform::{Terraform, module};

/// Destroys the EC2 instance of a target, when this server made it and nothing else uses it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DestroyInstance {
    /// Where.
    pub region: Region,
}

impl StepAction for DestroyInstance {
    const NAME: &'static str = "destroy_instance";
    type Output = Removed;

    fn title(&self) -> String {
        "Destroy the EC2 instance".to_owned()
    }

    fn weight(&self) -> u32 {
        30
    }

    fn summary(&self, output: &Removed) -> String {
        output.summary()
    }

    async fn check(&self, _: &StepContext) -> Result<Option<Removed>, StepError> {
        Ok(None)
    }

    async fn run(&self, cx: &StepContext) -> Result<Removed, StepError> {
        cx.lock_target().await?;
        if cx.is_target_shared().await? {
            cx.store.unlock_target(cx.target.id, cx.operation).await?;
            return Err(StepError::Permanent(Failure {
                code: "target_in_use".into(),
                message: format!("another deployment has come onto `{}` meanwhile", cx.target.name),
                next_step: "Send `decommission` again: it then removes only this application".into(),
                output: Vec::new(),
            }));
        }
        let removed = destroy(cx, &self.region).await?;
        cx.store.unlock_target(cx.target.id, cx.operation).await?;
        Ok(Removed { removed })
    }

    async fn undo(&self, cx: &StepContext, _: Option<Removed>) -> Result<Vec<String>, StepError> {
        cx.store.unlock_target(cx.target.id, cx.operation).await?;
        Ok(Vec::new())
    }
}

/// Destroys by Terraform what its state knows, then by its tag what the state lacks; the record forgets the instance.
pub(super) async fn destroy(cx: &StepContext, region: &Region) -> Result<Vec<String>, StepError> {
    let aws = cx.aws(region).await?;
    let known = cx.store.target(cx.target.id).await?.and_then(|it| it.instance);
    if let Some(known) = &known {
        expect_owner(&aws, known).await?;
    }
    let mut there = aws.tagged(cx.target.id).await?;
    if let Some(known) = known.filter(|known| !there.iter().any(|it| it.id == known.id)) {
        // A call that a killed server left at work has removed it by now.
        there.insert(0, Resource { kind: Kind::Instance, id: known.id });
    }
    let terraform = Terraform::new(&cx.settings);
    let workspace = cx.workspace(module::CLOUD_LOCAL, &terraform, &aws).await?;
    cx.unmake(&workspace).await?;
    let rest = aws.tagged(cx.target.id).await?;
    remove_tagged(&aws, &rest, cx).await?;
    cx.store.set_target_instance(cx.target.id, None).await?;
    cx.store.set_target_made_here(cx.target.id, false).await?;
    cx.forget(&workspace).await?;
    let _ = tokio::fs::remove_dir_all(cx.target_folder()).await;
    Ok(there.iter().map(ToString::to_string).collect())
}

/// Removes resources without Terraform.
pub(super) async fn remove_tagged(aws: &Aws, resources: &[Resource], cx: &StepContext) -> Result<(), StepError> {
    let on_progress = |text: String| cx.lines.progress(text);
    tokio::select! {
        result = aws.remove(resources, &on_progress) => Ok(result?),
        () = cx.cancel.cancelled() => Err(StepError::Cancelled),
    }
}
