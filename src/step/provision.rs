//! How the life of an instance or an EKS cluster is bound to the deployments on it: made for the first, under the target's
//! lock; taken back when the operation that made it fails and nobody else has come; destroyed with the last.

use super::action::{StepAction, StepUndo};
use super::cloud_target::{CloudTarget, Provisioned};
use super::context::StepContext;
use super::error::StepError;
use crate::cloud::aws::Aws;
use crate::id::Region;
use crate::store::record::Target;

/// A step that makes sure that an instance or a cluster is there. Deployments that arrive together make one.
pub(super) trait Provision: StepAction<Output = Provisioned<Self::Target>> {
    /// What it makes.
    type Target: CloudTarget;

    /// The module that makes it.
    const MODULE: &'static str;

    /// Where.
    fn region(&self) -> &Region;

    /// Whether one that came up stays when the deploy that it was made for fails.
    fn keep(&self) -> bool;

    /// One on record as it is now; `None` when it is gone and may be made anew.
    fn refresh(
        &self,
        cx: &StepContext,
        aws: &Aws,
        known: &Self::Target,
    ) -> impl Future<Output = Result<Option<Self::Target>, StepError>> + Send;

    /// Makes one, or takes one that a person made; true beside it when it was made.
    fn make(
        &self,
        cx: &StepContext,
        aws: &Aws,
        target: &Target,
    ) -> impl Future<Output = Result<(Self::Target, bool), StepError>> + Send;

    /// Destroys it, and says what was there.
    fn destroy(&self, cx: &StepContext) -> impl Future<Output = Result<Vec<String>, StepError>> + Send;
}

/// Whether it is there already.
pub(super) async fn find<P: Provision>(step: &P, cx: &StepContext) -> Result<Option<P::Output>, StepError> {
    let Some(target) = cx.store.target(cx.target.id).await? else { return Ok(None) };
    if target.locked_by.is_some() || P::Target::of(&target).is_none() {
        return Ok(None);
    }
    on_record(step, cx, &cx.aws(step.region()).await?, &target).await
}

/// Finds it, or makes it.
pub(super) async fn ensure<P: Provision>(step: &P, cx: &StepContext) -> Result<P::Output, StepError> {
    cx.with_target_locked(async {
        let aws = cx.aws(step.region()).await?;
        let target = cx.store.target(cx.target.id).await?.unwrap_or_else(|| cx.target.clone());
        if let Some(provisioned) = on_record(step, cx, &aws, &target).await? {
            return Ok(provisioned);
        }
        let (it, made) = step.make(cx, &aws, &target).await?;
        provisioned(step, cx, it, made).await
    })
    .await
}

impl<P: Provision> StepUndo for P {
    /// Takes it back when this operation made it, unless it is to be kept or others have come onto it.
    async fn undo(&self, cx: &StepContext, left: Option<P::Output>) -> Result<Vec<String>, StepError> {
        let made = match &left {
            Some(provisioned) => provisioned.made,
            // What this operation did not begin to make is not touched.
            None => cx.began_with(P::MODULE).await?,
        };
        let used = cx.is_target_shared().await?;
        let mut removed = Vec::new();
        match (made, left) {
            (true, Some(provisioned)) if self.keep() => {
                let it: P::Target = provisioned.found.into();
                cx.lines.warning(format!(
                    "The {} stays, as `keep_target` asks, and costs money until it is decommissioned.",
                    it.identified()
                ));
            }
            (true, _) if !used => {
                cx.lock_target().await?;
                // Whoever came before the lock was taken may use it already.
                if !cx.is_target_shared().await? {
                    removed = Box::pin(self.destroy(cx)).await?;
                }
            }
            (true | false, _) => (),
        }
        cx.unlock_target().await?;
        Ok(removed)
    }
}

/// The one on record, when it is there.
async fn on_record<P: Provision>(
    step: &P,
    cx: &StepContext,
    aws: &Aws,
    target: &Target,
) -> Result<Option<P::Output>, StepError> {
    let Some(known) = P::Target::of(target) else { return Ok(None) };
    let Some(it) = step.refresh(cx, aws, known).await? else { return Ok(None) };
    // The record decides, not the target's lock: an attempt may have released the lock after it succeeded and been killed
    // before its output was stored.
    let made = target.made_here && cx.began_with(P::MODULE).await?;
    Ok(Some(provisioned(step, cx, it, made).await?))
}

async fn provisioned<P: Provision>(
    step: &P,
    cx: &StepContext,
    it: P::Target,
    made: bool,
) -> Result<P::Output, StepError> {
    let alone = !cx.is_target_shared().await?;
    Ok(Provisioned { found: it.into(), made, kept: step.keep() || !made, alone })
}

/// Destroys a target under its lock, unless another deployment has come onto it.
pub(super) async fn destroy_unshared(
    cx: &StepContext,
    destroy: impl Future<Output = Result<Vec<String>, StepError>>,
) -> Result<Vec<String>, StepError> {
    cx.lock_target().await?;
    if cx.is_target_shared().await? {
        cx.unlock_target().await?;
        return Err(StepError::permanent(
            "target_in_use",
            format!("another deployment is on `{}`", cx.target.name),
            "Send `decommission` again: it then removes only this application",
        ));
    }
    let removed = destroy.await?;
    cx.unlock_target().await?;
    Ok(removed)
}
