//! A plan as pages show it: what `plan_card.html` is filled with.

use serde::{Deserialize, Serialize};

use super::label;
use super::text::plain;
use crate::id::Action;
use crate::reply::strip_ansi;
use crate::reply::view::{PlanFact, PlanView, PlannedStep};

/// A plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PlanCard {
    /// What a yes names.
    hash: String,
    /// Another plan was agreed to: something has changed since it was shown.
    is_changed: bool,
    /// A deploy of what is there already.
    #[serde(default)]
    is_there_already: bool,
    /// Why it would most likely fail.
    #[serde(default)]
    look_failure: Option<String>,
    action: String,
    is_removal: bool,
    /// Name of the deployment that it is about.
    deployment: String,
    mode: String,
    namespace: String,
    target: String,
    /// What a yes is for, as forms call it.
    #[serde(default)]
    facts: Vec<FactRow>,
    summary: Vec<String>,
    steps: Vec<StepRow>,
    dockerfile: Option<String>,
}

/// Something that a yes is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct FactRow {
    name: String,
    value: String,
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

impl PlanCard {
    /// Name of the deployment that it is about.
    pub(super) fn deployment(&self) -> &str {
        &self.deployment
    }
}

impl From<&PlanView> for PlanCard {
    fn from(plan: &PlanView) -> Self {
        let is_value = |it: &str| plan.facts.iter().any(|fact| fact.value == it);
        let in_labels = |text: &str| plain(&label::in_text(text, is_value));
        let failure = plan.look_failure.as_deref();
        // It stands above the plan.
        let is_failure = |line: &str| failure.is_some_and(|it| line.contains(it));
        Self {
            hash: plan.hash.to_string(),
            is_changed: plan.plan_changed,
            is_there_already: plan.is_there_already,
            look_failure: failure.map(in_labels),
            action: plan.action.as_str().to_owned(),
            is_removal: plan.action == Action::Decommission,
            deployment: plan.deployment.clone(),
            mode: plan.mode.as_str().to_owned(),
            namespace: plan.namespace.clone(),
            target: plan.target.clone(),
            facts: plan.facts.iter().map(FactRow::from).collect(),
            summary: plan.summary.iter().filter(|it| !is_failure(it)).map(|it| in_labels(it)).collect(),
            steps: rows(&plan.steps),
            dockerfile: plan.dockerfile.clone(),
        }
    }
}

impl From<&PlanFact> for FactRow {
    fn from(fact: &PlanFact) -> Self {
        Self { name: label::of(fact.name).unwrap_or(fact.name).to_owned(), value: plain(&fact.value) }
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
    use crate::id::{Mode, PlanHash};

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
    fn why_a_plan_would_fail_is_told_once_and_in_the_words_of_the_form() {
        let reason = "it is private: send `git_token`";
        let view = PlanView {
            action: Action::Deploy,
            hash: PlanHash::of(&[0xab; 32]),
            plan_changed: false,
            is_there_already: true,
            look_failure: Some(reason.to_owned()),
            deployment: "notes".to_owned(),
            mode: Mode::Local,
            namespace: "team".to_owned(),
            target: "on-demand-infra".to_owned(),
            facts: Vec::new(),
            summary: vec!["It costs nothing.".to_owned(), format!("The repository was looked at: {reason}.")],
            dockerfile: None,
            steps: Vec::new(),
        };

        let card = PlanCard::from(&view);

        assert_eq!(card.look_failure.as_deref(), Some("it is private: give “Access token of the repository”"));
        assert_eq!(card.summary, ["It costs nothing."]);
    }

    #[test]
    fn what_a_yes_is_for_is_called_as_in_the_form() {
        let row = |name: &'static str| FactRow::from(&PlanFact { name, value: "from `1` to 3".to_owned() });

        assert_eq!([row("scale_replicas").name, row("Costs").name], ["Replicas", "Costs"]);
        assert_eq!(row("scale_replicas").value, "from 1 to 3");
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
