//! A plan as pages show it: what `plan_card.html` is filled with.

use serde::{Deserialize, Serialize};

use super::text::plain;
use crate::id::Action;
use crate::reply::strip_ansi;
use crate::reply::view::{PlanView, PlannedStep};

/// A plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PlanCard {
    /// What a yes names.
    hash: String,
    /// Another plan was agreed to: something has changed since it was shown.
    is_changed: bool,
    action: String,
    is_removal: bool,
    /// Name of the deployment that it is about.
    deployment: String,
    mode: String,
    namespace: String,
    target: String,
    summary: Vec<String>,
    steps: Vec<StepRow>,
    dockerfile: Option<String>,
}

/// A step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct StepRow {
    title: String,
    /// What it waits for, unless that is just the one before it.
    waits: Option<String>,
    is_done: bool,
    note: Option<String>,
}

impl From<&PlanView> for PlanCard {
    fn from(plan: &PlanView) -> Self {
        Self {
            hash: plan.hash.to_string(),
            is_changed: plan.plan_changed,
            action: plan.action.as_str().to_owned(),
            is_removal: plan.action == Action::Decommission,
            deployment: plan.deployment.clone(),
            mode: plan.mode.as_str().to_owned(),
            namespace: plan.namespace.clone(),
            target: plan.target.clone(),
            summary: plan.summary.iter().map(|it| plain(it)).collect(),
            steps: rows(&plan.steps),
            dockerfile: plan.dockerfile.clone(),
        }
    }
}

fn rows(steps: &[PlannedStep]) -> Vec<StepRow> {
    let number = |key: &String| steps.iter().position(|it| it.step == *key).map(|index| index + 1);
    let row = |(index, step): (usize, &PlannedStep)| {
        let after: Vec<usize> = step.after.iter().filter_map(number).collect();
        let numbers = after.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        let waits = match after.as_slice() {
            _ if index == 0 => None,
            [] => Some("begins at once".to_owned()),
            [only] if *only == index => None,
            [_, ..] => Some(format!("after {numbers}")),
        };
        StepRow {
            title: plain(&step.title),
            waits,
            is_done: step.already == Some(true),
            note: step.note.as_deref().map(|it| plain(&strip_ansi(it))),
        }
    };
    steps.iter().enumerate().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(key: &str, after: &[&str]) -> PlannedStep {
        PlannedStep {
            step: key.to_owned(),
            title: format!("Do `{key}`"),
            after: after.iter().map(|it| (*it).to_owned()).collect(),
            already: None,
            note: None,
        }
    }

    #[test]
    fn a_step_says_what_it_waits_for_unless_that_is_the_one_before_it() {
        let (clone, build) = (step("clone", &[]), step("build", &["clone"]));
        let (cluster, load) = (step("cluster", &[]), step("load", &["build", "cluster"]));

        let rows = rows(&[clone, build, cluster, load]);

        let waits: Vec<Option<&str>> = rows.iter().map(|it| it.waits.as_deref()).collect();
        assert_eq!(waits, [None, None, Some("begins at once"), Some("after 2, 3")]);
        assert_eq!(rows[1].title, "Do build");
    }
}
