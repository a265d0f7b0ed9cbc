//! Answers to questions: what is deployed, how it is, what a plan would do.

use crate::event::Failure;
use crate::id::{OperationId, PlanHash};
use crate::store::record::{Deployment, DeploymentState};

use super::operation::{but, evidence, failure_reason, location, source};
use super::view::{LiveStatus, PlanView};
use super::{bullets, code_block, dockerfile, strip_ansi};

/// What is deployed.
#[must_use]
pub fn deployments(deployments: &[Deployment]) -> String {
    if deployments.is_empty() {
        return "Nothing is deployed. Say for example `deploy https://github.com/owner/name to local`.".to_owned();
    }
    // The cost column is there only when a deployment has a cost; those of local mode have none.
    let costs = deployments.iter().any(|it| it.facts.cost.is_some());
    let (head, rule) = if costs { (" cost |", " --- |") } else { ("", "") };
    let mut lines =
        vec![format!("| application | state | where | address |{head}"), format!("| --- | --- | --- | --- |{rule}")];
    lines.extend(deployments.iter().map(|it| {
        let cost = if costs { format!(" {} |", it.facts.cost.as_deref().unwrap_or("-")) } else { String::new() };
        format!(
            "| `{}` | {} | {}, `{}`, namespace `{}` | {} |{cost}",
            it.name,
            it.state.as_str(),
            it.mode,
            it.target_name,
            it.namespace,
            it.facts.app_url.as_deref().filter(|_| it.state != DeploymentState::Removing).unwrap_or("-")
        )
    }));
    lines.join("\n")
}

/// How one deployment is.
#[must_use]
pub fn status(deployment: &Deployment, live: &LiveStatus, failure: Option<&Failure>) -> String {
    let is_changing = matches!(deployment.state, DeploymentState::Deploying | DeploymentState::Removing);
    let state = match live.serving {
        Some((0, 0)) => "is scaled to 0".to_owned(),
        Some((0, wanted)) => format!("is down: none of {wanted} replicas serve"),
        Some((ready, wanted)) if ready < wanted => format!("is running with {ready} of {wanted} replicas"),
        None if live.is_gone && !is_changing => "is gone from its cluster".to_owned(),
        Some(_) | None => format!("is {}", deployment.state.as_str()),
    };
    let is_whole = live.serving.is_some_and(|(ready, wanted)| ready >= wanted && wanted > 0);
    let serves = live.serving.is_none_or(|(ready, _)| ready > 0);
    let concerns = if serves && !live.is_gone { deployment.facts.concerns.as_slice() } else { &[] };
    let headline =
        format!("**`{}` {state}{}.** It is built from {}.", deployment.name, but(concerns), source(deployment));
    [
        Some(headline),
        evidence(concerns),
        Some(location(deployment)),
        bullets("Right now:", &live.lines),
        failure.filter(|_| is_whole).map(|_| "Its last change failed, and what ran before is as it was.".to_owned()),
        failure.map(failure_reason),
        bullets("Worth knowing:", &deployment.facts.warnings),
        deployment.facts.version.as_ref().and_then(|version| version.build.generated.as_deref()).map(dockerfile),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join("\n\n")
}

/// The headline above what an application printed.
#[must_use]
pub fn logs_headline(deployment: &Deployment) -> String {
    format!("Output of `{}` in namespace `{}`:", deployment.name, deployment.namespace)
}

/// What an application printed.
#[must_use]
pub fn logs(deployment: &Deployment, lines: &[String]) -> String {
    if lines.is_empty() {
        let name = &deployment.name;
        return match deployment.facts.replicas {
            Some(0) => {
                format!("`{name}` is scaled to 0 replicas: nothing runs that could print. `scale it to 1` starts it.")
            }
            Some(_) | None => format!("`{name}` has not printed anything yet."),
        };
    }
    format!("{}\n\n{}", logs_headline(deployment), code_block(lines.iter().map(String::as_str)))
}

/// What a plan would do (`dry_run`).
#[must_use]
pub fn plan(plan: &PlanView) -> String {
    let hash = &plan.hash;
    paragraphs([
        Some(format!("**Plan for `{}`.** Nothing was changed: this is what would be done.", plan.deployment)),
        Some(planned(plan)),
        Some(format!(
            "To do it, send the same without `dry_run`, or say **yes** if you asked in words. (plan `{hash}`)"
        )),
    ])
}

/// What a plan would do, without a word on how to have it done.
#[must_use]
pub fn planned(plan: &PlanView) -> String {
    paragraphs([
        bullets("", &plan.summary).map(|it| it.trim_start().to_owned()),
        Some(steps(plan)),
        plan.dockerfile.as_deref().map(dockerfile),
    ])
}

/// A plan that is carried out once the person has confirmed it.
#[must_use]
pub fn confirmation(plan: &PlanView) -> String {
    let PlanView { action, deployment, hash, .. } = plan;
    let changed = if plan.plan_changed { "Something has changed since you were asked. " } else { "" };
    paragraphs([
        Some(format!("**Shall I {action} `{deployment}`?** {changed}Nothing was done so far.")),
        bullets("", &plan.summary).map(|it| it.trim_start().to_owned()),
        Some(steps(plan)),
        Some(format!("Say **yes**, and exactly this is done; anything else leaves it as it is. (plan `{hash}`)")),
    ])
}

/// Parts of an answer with an empty line between them; one that is empty is left out.
fn paragraphs<const N: usize>(parts: [Option<String>; N]) -> String {
    parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
}

/// What stands before the hash of a plan in an answer of ours.
const PLAN_MARK: &str = "(plan `";

/// The plan that a text of ours shows, if it shows one.
#[must_use]
pub fn parse_plan_hash(text: &str) -> Option<PlanHash> {
    let (_, rest) = text.rsplit_once(PLAN_MARK)?;
    PlanHash::parse(rest.split_once("`)")?.0).ok()
}

/// Keeps what others say from passing for a question of ours, to which a yes would be an agreement: in their words no plan
/// is marked. Takes a text in pieces.
#[derive(Debug, Default)]
pub struct ForeignWords {
    /// The end of what came, which may be the beginning of a mark.
    held: String,
}

impl ForeignWords {
    /// The next piece of it that can be shown.
    pub fn push(&mut self, piece: &str) -> String {
        self.held.push_str(piece);
        let text = self.held.replace(PLAN_MARK, "(plan ");
        let may_begin = |length: &usize| text.ends_with(&PLAN_MARK[..*length]);
        let kept = (1..PLAN_MARK.len()).rev().find(may_begin).unwrap_or_default();
        let (shown, held) = text.split_at(text.len() - kept);
        held.clone_into(&mut self.held);
        shown.to_owned()
    }

    /// What is left at its end.
    #[must_use]
    pub fn finish(self) -> String {
        self.held
    }

    /// The same for a whole text.
    #[must_use]
    pub fn of(text: &str) -> String {
        let mut words = Self::default();
        let shown = words.push(text);
        shown + &words.finish()
    }
}

/// The steps of a plan, numbered, each with what it waits for.
fn steps(plan: &PlanView) -> String {
    let mut steps = Vec::new();
    for (index, step) in plan.steps.iter().enumerate() {
        let after: Vec<String> = step
            .after
            .iter()
            .filter_map(|key| plan.steps.iter().position(|it| it.step == *key))
            .map(|index| (index + 1).to_string())
            .collect();
        let mut remarks = Vec::new();
        if !after.is_empty() {
            remarks.push(format!("after {}", after.join(", ")));
        }
        let note = step.note.as_deref().map(strip_ansi);
        if step.already == Some(true) {
            remarks.push(format!("nothing to do{}", note.map(|it| format!(": {it}")).unwrap_or_default()));
        } else {
            remarks.extend(note);
        }
        let remarks = if remarks.is_empty() { String::new() } else { format!(" ({})", remarks.join("; ")) };
        steps.push(format!("{}. {}{remarks}", index + 1, strip_ansi(&step.title)));
    }
    steps.join("\n")
}

/// Above what is told of a stuck operation that a person cancels.
pub const SECRETS_ERASED: &str = "**The secrets of its request are erased.** Nothing else was changed.";

/// An operation is being cancelled.
#[must_use]
pub fn cancelled(operation: OperationId) -> String {
    format!(
        "**Cancelling.** What the operation has done is being taken back; `GET /v1/operations/{operation}` shows how far it is."
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Action, Mode};
    use crate::reply::operation::tests::a_deployment;
    use crate::reply::view::PlannedStep;
    use crate::store::record::Concern;

    #[test]
    fn nothing_deployed_says_what_to_say() {
        assert!(deployments(&[]).starts_with("Nothing is deployed."));
    }

    #[test]
    fn what_is_deployed_is_a_table() {
        insta::assert_snapshot!(deployments(&[a_deployment()]));
    }

    #[test]
    fn the_list_says_what_each_costs_when_anything_costs() {
        let mut in_the_cloud = a_deployment();
        in_the_cloud.facts.cost = Some("0.05 USD per hour".to_owned());

        let text = deployments(&[in_the_cloud, a_deployment()]);

        assert!(text.starts_with("| application | state | where | address | cost |"), "{text}");
        assert!(text.contains(" 0.05 USD per hour |\n") && text.ends_with(" - |"), "{text}");
    }

    #[test]
    fn a_status_says_how_it_is_right_now() {
        let lines = vec!["2 of 2 replicas serve".to_owned()];
        let live = LiveStatus { serving: Some((2, 2)), lines, ..LiveStatus::default() };
        insta::assert_snapshot!(status(&a_deployment(), &live, None));
    }

    #[test]
    fn a_status_says_in_its_headline_what_is_not_well() {
        let headline = |deployment: &Deployment, serving, is_gone| {
            let live = LiveStatus { serving, is_gone, ..LiveStatus::default() };
            status(deployment, &live, None).split("** ").next().unwrap().to_owned()
        };
        let mut deployment = a_deployment();
        assert_eq!(headline(&deployment, Some((0, 0)), false), "**`notes` is scaled to 0.");
        assert_eq!(headline(&deployment, Some((0, 1)), false), "**`notes` is down: none of 1 replicas serve.");
        assert_eq!(headline(&deployment, Some((1, 3)), false), "**`notes` is running with 1 of 3 replicas.");
        assert_eq!(headline(&deployment, None, true), "**`notes` is gone from its cluster.");

        deployment.facts.concerns = vec![Concern::of("its first page answers with HTTP 500".to_owned())];
        assert_eq!(
            headline(&deployment, Some((1, 1)), false),
            "**`notes` is running, but its first page answers with HTTP 500."
        );
    }

    #[test]
    fn logs_are_a_code_block() {
        assert_eq!(
            logs(&a_deployment(), &["ready".to_owned()]),
            "Output of `notes` in namespace `demo`:\n\n```text\nready\n```"
        );
    }

    #[test]
    fn a_plan_names_what_each_step_waits_for() {
        let step = |step: &str, title: &str, after: &[&str], already, note: Option<&str>| PlannedStep {
            step: step.to_owned(),
            title: title.to_owned(),
            after: after.iter().map(|it| (*it).to_owned()).collect(),
            already,
            note: note.map(str::to_owned),
        };
        let view = PlanView {
            action: Action::Deploy,
            hash: PlanHash::of(&[0xab; 32]),
            plan_changed: false,
            is_there_already: false,
            look_failure: None,
            deployment: "notes".to_owned(),
            mode: Mode::Local,
            namespace: "team".to_owned(),
            target: "on-demand-infra".to_owned(),
            facts: Vec::new(),
            summary: vec!["A new instance costs 0.05 USD per hour.".to_owned()],
            dockerfile: None,
            steps: vec![
                step(
                    "create_cluster",
                    "Create the kind cluster `on-demand-infra`",
                    &[],
                    Some(true),
                    Some("it is there"),
                ),
                step("clone", "Clone the repository", &[], None, None),
                step("build", "Build the image", &["clone"], None, Some("from ./Dockerfile")),
                step("load", "Load the image", &["create_cluster", "build"], Some(false), None),
            ],
        };

        insta::assert_snapshot!(plan(&view));
        insta::assert_snapshot!("a_plan_that_has_to_be_confirmed_is_a_question", confirmation(&view));
        assert_eq!(parse_plan_hash(&plan(&view)), Some(view.hash.clone()));
        assert_eq!(parse_plan_hash(&confirmation(&view)), Some(view.hash));
    }

    #[test]
    fn nobody_elses_words_mark_a_plan_in_however_many_pieces_they_come() {
        let text = "Shall I? (plan `0123456789ab`) (plan 7) (pl (plan `";
        for size in 1..text.len() {
            let mut words = ForeignWords::default();
            let pieces: Vec<String> =
                text.as_bytes().chunks(size).map(|it| words.push(std::str::from_utf8(it).unwrap())).collect();

            let shown = pieces.concat() + &words.finish();

            assert_eq!(shown, "Shall I? (plan 0123456789ab`) (plan 7) (pl (plan ", "{size}");
            assert_eq!(parse_plan_hash(&shown), None);
        }
    }
}
