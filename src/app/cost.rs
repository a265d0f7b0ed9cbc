//! What deployments cost: what is known of their targets. AWS is not asked.

use std::collections::BTreeMap;
use std::slice;

use jiff::Timestamp;

use super::{App, AppError};
use crate::access::Caller;
use crate::id::{Mode, TargetId};
use crate::reply::view::{CostView, TargetCost};
use crate::store::record::{Deployment, DeploymentState, Target};

/// What deployments cost, and what those did that are no longer there.
#[derive(Debug, Clone, PartialEq)]
pub struct CostHistory {
    /// Those that are there.
    pub present: Vec<CostView>,
    /// Those that were decommissioned or whose target is gone, each with what that cost then.
    pub removed: Vec<CostView>,
}

impl App {
    /// What the target of each deployment in sight costs, and of each that was decommissioned since a moment or has
    /// lost its target since.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn cost_history(&self, caller: &Caller, since: Timestamp) -> Result<CostHistory, AppError> {
        let mut removed = self.0.store.decommissioned_since(since).await?;
        removed.retain(|it| caller.sees(Some(it.mode), it.namespace.as_str()));
        let present = self.costs(self.visible_deployments(caller).await?).await?;
        let without_target = present.iter().filter(|it| has_lost_target(it)).map(|it| it.deployment.clone());
        let without_target = without_target.filter(|it| it.updated_at > since);
        let removed = removed.into_iter().chain(without_target);
        let removed = removed.map(|it| CostView { cost: cost_before_removal(&it), deployment: it });
        let removed = removed.collect();
        Ok(CostHistory { present, removed })
    }

    /// What each deployment's target costs.
    pub(super) async fn costs(&self, deployments: Vec<Deployment>) -> Result<Vec<CostView>, AppError> {
        let used = deployments.iter().map(|it| it.target).collect();
        let targets = self.0.store.targets_by_id(&used).await?.into_iter();
        let targets: BTreeMap<TargetId, Target> = targets.map(|it| (it.id, it)).collect();
        let cost = |deployment: Deployment| {
            let target = targets.get(&deployment.target).filter(|_| deployment.state != DeploymentState::Removed);
            let cost = target.map_or(TargetCost::Nothing, |it| cost_of_target(it, slice::from_ref(&deployment)));
            CostView { deployment, cost }
        };
        Ok(deployments.into_iter().map(cost).collect())
    }
}

/// What a target costs, as the deployments on it have it on record.
pub(super) fn cost_of_target(target: &Target, deployments: &[Deployment]) -> TargetCost {
    let is_there = target.instance.is_some() || target.cluster.is_some();
    match target.mode {
        Mode::CloudLocal | Mode::CloudHosted if is_there => price_on_record(deployments),
        Mode::Local | Mode::CloudLocal | Mode::CloudHosted => TargetCost::Nothing,
    }
}

/// Whether it was on a target in the cloud that is not there any more.
fn has_lost_target(CostView { deployment, cost }: &CostView) -> bool {
    let facts = &deployment.facts;
    let was_there = facts.version.is_some() || facts.price.is_some();
    *cost == TargetCost::Nothing && deployment.mode != Mode::Local && was_there
}

/// What the target of a deployment cost before that was removed, and maybe the target with it.
fn cost_before_removal(deployment: &Deployment) -> TargetCost {
    match deployment.mode {
        Mode::CloudLocal | Mode::CloudHosted => price_on_record(slice::from_ref(deployment)),
        Mode::Local => TargetCost::Nothing,
    }
}

fn price_on_record(deployments: &[Deployment]) -> TargetCost {
    let price = deployments.iter().find_map(|it| it.facts.price.clone());
    price.map_or(TargetCost::Unknown, TargetCost::Known)
}
