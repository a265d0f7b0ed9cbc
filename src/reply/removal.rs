//! Several deployments that are removed together: the plan, the question, and how it ended.

use crate::event::OperationState;
use crate::store::record::Operation;

use super::view::{RemovalView, RemovedDeployment};

/// What would be removed (`dry_run`).
#[must_use]
pub fn plan(view: &RemovalView) -> String {
    let RemovalView { hash, deployments, .. } = view;
    format!(
        "**Plan to decommission {} deployments.** Nothing was changed: this is what would be removed.\n\n{}\n\n\
         Say **yes** to do it. (plan `{hash}`)",
        deployments.len(),
        listed(view)
    )
}

/// What is removed once the person has confirmed it.
#[must_use]
pub fn confirmation(view: &RemovalView) -> String {
    let RemovalView { hash, deployments, plan_changed, .. } = view;
    let changed = if *plan_changed { "Something has changed since you were asked. " } else { "" };
    let what = match deployments.len() {
        1 => "this deployment".to_owned(),
        count => format!("these {count} deployments"),
    };
    format!(
        "**Shall I decommission {what}?** {changed}Nothing was done so far.\n\n{}\n\n\
         Say **yes**, and exactly these are removed, each by an operation of its own; anything else leaves them as they \
         are. (plan `{hash}`)",
        listed(view)
    )
}

/// How the operations of a removal ended.
#[must_use]
pub fn outcome(operations: &[&Operation]) -> String {
    let count = |is: fn(&OperationState) -> bool| operations.iter().filter(|it| is(&it.state)).count();
    let gone = count(|state| *state == OperationState::Succeeded);
    let unfinished = count(|state| !state.is_ended());
    let all = operations.len();
    if gone == all {
        return format!("**All {all} are gone.**");
    }
    let rest = match all - gone - unfinished {
        0 => String::new(),
        failed => format!(
            " {failed} could not be removed: see above for the cause, and say it again when that is out of the way."
        ),
    };
    let going = if unfinished == 0 { String::new() } else { format!(" {unfinished} are still being removed.") };
    format!("**{gone} of {all} are gone.**{going}{rest}")
}

/// One line for each deployment.
fn listed(view: &RemovalView) -> String {
    let mut lines: Vec<String> = view.deployments.iter().map(removed).collect();
    lines.extend(view.busy.iter().map(|(deployment, operation)| {
        format!(
            "- not `{}`: operation `{operation}` is at work on it; wait until it has ended, or cancel it",
            deployment.name
        )
    }));
    lines.join("\n")
}

fn removed(RemovedDeployment { deployment, with }: &RemovedDeployment) -> String {
    let with = with.as_ref().map(|it| format!(", and with it {it}")).unwrap_or_default();
    format!(
        "- `{}` in namespace `{}` on `{}` ({}, {}){with}",
        deployment.name, deployment.namespace, deployment.target_name, deployment.mode, deployment.repository
    )
}
