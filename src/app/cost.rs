//! What deployments cost: what is known of their targets. AWS is not asked.

use std::collections::BTreeMap;
use std::slice;

use super::{App, AppError};
use crate::access::Caller;
use crate::id::{Mode, TargetId};
use crate::reply::view::{CostView, TargetCost};
use crate::store::record::{Deployment, Target};

impl App {
    /// What the target of each deployment in sight costs.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn deployment_costs(&self, caller: &Caller) -> Result<Vec<CostView>, AppError> {
        self.costs(self.visible_deployments(caller).await?).await
    }

    /// What each deployment's target costs.
    pub(super) async fn costs(&self, deployments: Vec<Deployment>) -> Result<Vec<CostView>, AppError> {
        let used = deployments.iter().map(|it| it.target).collect();
        let targets = self.0.store.targets_by_id(&used).await?.into_iter();
        let targets: BTreeMap<TargetId, Target> = targets.map(|it| (it.id, it)).collect();
        let cost = |deployment: Deployment| {
            let target = targets.get(&deployment.target);
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
        Mode::CloudLocal | Mode::CloudHosted if is_there => {
            let price = deployments.iter().find_map(|it| it.facts.price.clone());
            price.map_or(TargetCost::Unknown, TargetCost::Known)
        }
        Mode::Local | Mode::CloudLocal | Mode::CloudHosted => TargetCost::Nothing,
    }
}
