//! What takes a change back that has succeeded: another change.

use crate::id::Action;
use crate::intent::{Decommission, Intent, Rollback, Scale, Selector, VersionRef};
use crate::plan::Plan;
use crate::step::apply_application::{ApplyApplication, Previous};
use crate::step::scale_application::ScaleApplication;
use crate::store::record::{Deployment, Operation};

use super::input::PlanError;

/// What takes back the last change of a deployment.
///
/// # Errors
/// [`PlanError`] when it has no inverse, with what to do instead.
pub fn inverse_of(operation: &Operation, deployment: &Deployment) -> Result<Intent, PlanError> {
    let name = &deployment.name;
    let nothing = |message: String| Err(PlanError::NotPossible { message, param: None });
    let plan: Plan = serde_json::from_value(operation.plan.clone()).unwrap_or(Plan::Sequence(Vec::new()));
    match operation.action {
        Action::Deploy | Action::Redeploy | Action::Rollback => match plan.parameters::<ApplyApplication>() {
            Some(ApplyApplication { previous: Some(previous), replicas, .. }) => {
                of_roll_out(operation, deployment, &previous, replicas)
            }
            Some(_) => Ok(Intent::Decommission(Decommission {
                deployment: Selector::of(deployment.id),
                keep_target: false,
                delete_cluster: false,
            })),
            None => nothing(format!("it is not on record how `{name}` was before")),
        },
        Action::Scale => match plan.parameters::<ScaleApplication>() {
            Some(scaled) if scaled.previous != scaled.replicas => {
                Ok(Intent::Scale(Scale { deployment: Selector::of(deployment.id), replicas: scaled.previous }))
            }
            Some(_) | None => nothing(format!("scaling `{name}` changed nothing, so there is nothing to undo")),
        },
        Action::Restart => {
            nothing(format!("`{name}` was restarted and runs the same version: there is nothing to undo"))
        }
        // The values of its environment and its tokens were erased with it: only the person can say them again.
        Action::Decommission => nothing(format!(
            "`{name}` was removed, which cannot be undone, but it can be deployed again, with its environment variables \
             if it had any: say `{}`",
            deployment.deploy_sentence()
        )),
        Action::Status | Action::List | Action::Logs | Action::Cancel | Action::Undo | Action::Cost => {
            nothing("it changed nothing, so there is nothing to undo".to_owned())
        }
    }
}

/// A new version goes back to the one before, with as many replicas as that had.
fn of_roll_out(
    operation: &Operation,
    deployment: &Deployment,
    previous: &Previous,
    replicas: u16,
) -> Result<Intent, PlanError> {
    let is_new = deployment.facts.version.as_ref().is_some_and(|version| version.operation == operation.id);
    let replicas = (replicas != previous.replicas).then_some(previous.replicas);
    match (is_new, replicas) {
        (true, replicas) => Ok(Intent::Rollback(Rollback {
            deployment: Selector::of(deployment.id),
            to: Some(VersionRef::Revision(previous.version.revision)),
            replicas,
        })),
        (false, Some(replicas)) => Ok(Intent::Scale(Scale { deployment: Selector::of(deployment.id), replicas })),
        (false, None) => Err(PlanError::NotPossible {
            message: format!(
                "the last {} of `{}` changed nothing, so there is nothing to undo",
                operation.action, deployment.name
            ),
            param: None,
        }),
    }
}
