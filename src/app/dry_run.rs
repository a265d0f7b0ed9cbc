//! What a plan would do, in words.

use super::{App, AppError};
use crate::cloud::price;
use crate::id::{Action, PlanHash};
use crate::intent::Intent;
use crate::plan::Plan;
use crate::reply::view::{PlanView, PlannedStep};
use crate::step::provision_cluster::ProvisionCluster;
use crate::step::provision_instance::ProvisionInstance;
use crate::store::record::{Deployment, Target};

impl App {
    /// What a plan would do, as the world is now.
    pub(super) async fn dry_run(
        &self,
        action: Action,
        plan: &Plan,
        deployment: Deployment,
        target: Target,
        hash: PlanHash,
    ) -> PlanView {
        let name = deployment.name.to_string();
        let cost = self.cost_of(plan, &target);
        let looked = self.0.engine.dry_run(plan, deployment, target).await;
        let steps: Vec<PlannedStep> = plan
            .dependencies()
            .into_iter()
            .map(|(step, after)| {
                let found = looked.get(step.name());
                PlannedStep {
                    step: step.name().to_owned(),
                    title: step.title(),
                    after: after.into_iter().map(str::to_owned).collect(),
                    already: found.and_then(|it| it.already),
                    note: found.and_then(|it| it.note.clone()),
                }
            })
            .collect();
        PlanView { action, hash, plan_changed: false, steps, deployment: name, summary: cost.into_iter().collect() }
    }

    /// The hash of what a plan does to the world as it is: to whom, since which change, with which steps. Only this
    /// installation can make it, so that no text from elsewhere can hold the one of a plan that nobody was shown.
    pub(super) async fn plan_hash(
        &self,
        intent: &Intent,
        plan: &Plan,
        deployment: &Deployment,
        target: &Target,
    ) -> Result<PlanHash, AppError> {
        let of_existing = self.0.store.deployment(deployment.id).await?;
        let text = if let Some(it) = of_existing {
            serde_json::to_string(&(intent, plan, it.id, it.operation, it.state))
        } else {
            // The ids of a new deployment and target (UUID v7) are made for each request: with them in the hash, the
            // plan that the person confirms would never have the hash that was shown.
            let known = self.0.store.target(target.id).await?.map(|it| it.id);
            let steps: Vec<&str> = plan.steps().iter().map(|it| it.name()).collect();
            serde_json::to_string(&(intent, steps, known, &target.region))
        };
        let text = text.map_err(|error| AppError::Internal(error.into()))?;
        Ok(PlanHash::of(&self.0.sealer.mac(&format!("plan {text}"))))
    }

    /// What an instance or a cluster that the plan would make costs.
    fn cost_of(&self, plan: &Plan, target: &Target) -> Option<String> {
        let (what, size, region, cost) = if let Some(provision) = plan.parameters::<ProvisionInstance>() {
            let ec2 = &self.0.settings.ec2;
            let cost = price::instance(&provision.region, &ec2.instance_type, ec2.volume_gib);
            ("instance", format!("`{}`", ec2.instance_type), provision.region, cost)
        } else {
            let provision = plan.parameters::<ProvisionCluster>().filter(|_| target.cluster.is_none())?;
            let eks = &self.0.settings.eks;
            let cost = price::cluster(&provision.region, eks.into());
            ("EKS cluster", format!("{} nodes, `{}`", eks.nodes, eks.instance_type), provision.region, cost)
        };
        Some(match cost {
            Some(cost) => format!("A new {what} ({size}) costs {cost}."),
            None => format!("What a new {what} ({size}) costs in {region} is not known here."),
        })
    }
}
