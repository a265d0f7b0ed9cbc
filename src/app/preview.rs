//! What a plan would do, in words.

use super::App;
use crate::plan::Plan;
use crate::reply::view::{PlanView, PlannedStep};
use crate::store::record::{Deployment, Target};

impl App {
    pub(super) async fn preview(&self, plan: &Plan, deployment: Deployment, target: Target) -> PlanView {
        let name = deployment.name.to_string();
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
        view(name, steps)
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
