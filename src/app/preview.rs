//! What a plan would do, in words.

use crate::reply::view::{PlanView, PlannedStep};

/// Adds to the steps of a plan what they come to together.
pub(super) fn view(deployment: String, steps: Vec<PlannedStep>) -> PlanView {
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
