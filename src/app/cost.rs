//! What deployments cost: what is known of their targets.

use super::{App, AppError};
use crate::id::Mode;
use crate::reply::view::{CostView, TargetCost};
use crate::store::record::Deployment;

impl App {
    /// What each deployment's target costs.
    pub(super) async fn costs(&self, deployments: Vec<Deployment>) -> Result<Vec<CostView>, AppError> {
        let mut costs = Vec::new();
        for deployment in deployments {
            let target = self.0.store.target(deployment.target).await?;
            let is_there = target.is_some_and(|it| it.instance.is_some() || it.cluster.is_some());
            let cost = match (deployment.mode, &deployment.facts.price) {
                (Mode::Local, _) => TargetCost::Nothing,
                (Mode::CloudLocal | Mode::CloudHosted, _) if !is_there => TargetCost::Nothing,
                (Mode::CloudLocal | Mode::CloudHosted, Some(price)) => TargetCost::Known(price.clone()),
                (Mode::CloudLocal | Mode::CloudHosted, None) => TargetCost::Unknown,
            };
            costs.push(CostView { deployment, cost });
        }
        Ok(costs)
    }
}
