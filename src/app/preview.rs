//! What a plan would do, in words.

use super::App;
use crate::cloud::price;
use crate::plan::Plan;
use crate::reply::view::{PlanView, PlannedStep};
use crate::step::provision_instance::ProvisionInstance;
use crate::store::record::{Deployment, Target};

impl App {
    pub(super) async fn preview(&self, plan: &Plan, deployment: Deployment, target: Target) -> PlanView {
        let name = deployment.name.to_string();
        let cost = self.cost_of(plan);
        let looked = self.0.engine.look_ahead(plan, deployment, target).await;
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
        let mut view = view(name, steps);
        view.summary.extend(cost);
        view
    }

    /// What an instance that the plan would make costs.
    fn cost_of(&self, plan: &Plan) -> Option<String> {
        let provision = plan.parameters::<ProvisionInstance>()?;
        let ec2 = &self.0.settings.ec2;
        Some(match price::instance(&provision.region, &ec2.instance_type, ec2.volume_gib) {
            Some(cost) => format!("A new instance (`{}`) costs {cost}.", ec2.instance_type),
            None => format!(
                "What a new instance (`{}`) costs in {} is not known here.",
                ec2.instance_type, provision.region
            ),
        })
    }
}

/// Adds to the steps of a plan what they come to together.
fn view(deployment: String, steps: Vec<PlannedStep>) -> PlanView {
    let titles = |already: bool| -> Vec<&str> {
        steps.iter().filter(|it| (it.already == Some(true)) == already).map(|it| it.title.as_str()).collect()
    };
    let mut summary = Vec::new();
    let (there, to_do) = (titles(true), titles(false));
    if !there.is_empty() {
        summary.push(format!("There already: {}.", there.join(", ")));
    }
    summary.push(format!("Would be done: {}.", to_do.join(", ")));
    PlanView { steps, deployment, summary }
}
