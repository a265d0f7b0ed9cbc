//! Local mode: a kind cluster on this machine.
//!
//! The cluster comes up while the repository is cloned, analysed and built, and its node takes the image's layers
//! before it is ready for anything else.

use crate::id::ClusterName;
use crate::intent::{Decommission, Intent};
use crate::plan::Plan;
use crate::step::create_cluster::CreateCluster;
use crate::step::delete_cluster::DeleteCluster;
use crate::step::load_image::LoadImage;
use crate::step::preload_base_image::PreloadBaseImage;
use crate::step::remove_application::RemoveApplication;
use crate::step::remove_images::RemoveImages;
use crate::step::remove_workspace::RemoveWorkspace;
use crate::step::verify_removal::VerifyRemoval;

use super::application::{RollOut, not_a_change, restart, scale};
use super::input::{PlanError, PlanInput};

pub(super) fn plan(intent: &Intent, input: &PlanInput<'_>) -> Result<Plan, PlanError> {
    let cluster = ClusterName::parse(&input.deployment.target_name)
        .map_err(|error| PlanError::NotPossible { message: error.to_string(), param: Some("instance_id") })?;
    match intent {
        Intent::Decommission(decommission) => Ok(decommission_plan(decommission, &cluster, input)),
        Intent::Deploy(_)
        | Intent::Redeploy(_)
        | Intent::Scale(_)
        | Intent::Restart(_)
        | Intent::Rollback(_)
        | Intent::DecommissionAll(_)
        | Intent::Status(_)
        | Intent::List(_)
        | Intent::Logs(_)
        | Intent::Cancel(_)
        | Intent::Undo(_)
        | Intent::Cost(_) => application_plan(intent, &cluster, input),
    }
}

/// What each action does with the application on a kind cluster, wherever that is.
pub(super) fn application_plan(
    intent: &Intent,
    cluster: &ClusterName,
    input: &PlanInput<'_>,
) -> Result<Plan, PlanError> {
    match intent {
        Intent::Deploy(deploy) => Ok(roll_out(&RollOut::of_deploy(deploy, input), cluster, input)),
        Intent::Redeploy(redeploy) => Ok(roll_out(&RollOut::of_redeploy(redeploy, input)?, cluster, input)),
        Intent::Scale(it) => Ok(Plan::Sequence(scale(it, cluster, input)?)),
        Intent::Restart(_) => Ok(Plan::Sequence(restart(cluster, input)?)),
        Intent::Rollback(rollback) => Ok(roll_out(&RollOut::of_rollback(rollback, input)?, cluster, input)),
        Intent::Decommission(_) => Ok(Plan::Sequence(removal(cluster, false))),
        Intent::DecommissionAll(_)
        | Intent::Status(_)
        | Intent::List(_)
        | Intent::Logs(_)
        | Intent::Cancel(_)
        | Intent::Undo(_)
        | Intent::Cost(_) => Err(not_a_change()),
    }
}

fn roll_out(wanted: &RollOut, cluster: &ClusterName, input: &PlanInput<'_>) -> Plan {
    let image = match &wanted.version {
        Some(version) => Plan::step(LoadImage { cluster: cluster.clone(), image: Some(version.image.clone()) }),
        None => Plan::Parallel(vec![
            Plan::step(CreateCluster { cluster: cluster.clone() }),
            Plan::Sequence([wanted.source(input), load_built(wanted, cluster, input)].concat()),
        ]),
    };
    Plan::Sequence([vec![image], wanted.apply(cluster, input), wanted.verify(cluster)].concat())
}

fn load_built(wanted: &RollOut, cluster: &ClusterName, input: &PlanInput<'_>) -> Vec<Plan> {
    let build = wanted.build(input);
    vec![
        Plan::Parallel(vec![
            Plan::step(build.clone()),
            Plan::step(PreloadBaseImage { cluster: cluster.clone(), build }),
        ]),
        Plan::step(LoadImage { cluster: cluster.clone(), image: None }),
    ]
}

fn decommission_plan(decommission: &Decommission, cluster: &ClusterName, input: &PlanInput<'_>) -> Plan {
    let by_setting = input.settings.kind.delete_empty_cluster && !decommission.keep_target;
    let cluster_may_go = decommission.delete_cluster || by_setting;
    let mut parts = removal(cluster, cluster_may_go);
    if cluster_may_go {
        parts.push(Plan::step(DeleteCluster { cluster: cluster.clone(), asked: decommission.delete_cluster }));
    }
    Plan::Sequence(parts)
}

/// Takes an application off a cluster.
fn removal(cluster: &ClusterName, cluster_may_go: bool) -> Vec<Plan> {
    vec![
        Plan::step(RemoveApplication { cluster: cluster.clone() }),
        // `remove_images` reads the commit from the clone when no version was stored (a deploy that got stuck), so it
        // comes before `remove_workspace`, which deletes the clone.
        Plan::step(RemoveImages { cluster: cluster.clone() }),
        Plan::step(RemoveWorkspace {}),
        Plan::step(VerifyRemoval { cluster: cluster.clone(), cluster_may_go }),
    ]
}
