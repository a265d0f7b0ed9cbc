//! Local mode: a kind cluster on this machine.
//!
//! The cluster comes up while the repository is cloned, analysed and built, and its node takes the image's layers
//! before it is ready for anything else.

use crate::id::{ClusterName, DockerfilePath, GitRef, Port};
use crate::intent::{Decommission, Deploy, Intent, Redeploy, Rollback, Scale, VersionRef};
use crate::plan::Plan;
use crate::step::analyse_repository::AnalyseRepository;
use crate::step::apply_application::ApplyApplication;
use crate::step::build_image::BuildImage;
use crate::step::clone_repository::CloneRepository;
use crate::step::create_cluster::CreateCluster;
use crate::step::delete_cluster::DeleteCluster;
use crate::step::load_image::LoadImage;
use crate::step::preload_base_image::PreloadBaseImage;
use crate::step::prune_versions::PruneVersions;
use crate::step::remove_application::RemoveApplication;
use crate::step::remove_images::RemoveImages;
use crate::step::remove_workspace::RemoveWorkspace;
use crate::step::scale_application::ScaleApplication;
use crate::step::verify_application::VerifyApplication;
use crate::step::verify_removal::VerifyRemoval;
use crate::step::wait_for_rollout::WaitForRollout;
use crate::store::record::Version;

use super::{PlanError, Situation};

pub(super) fn plan(intent: &Intent, situation: &Situation<'_>) -> Result<Plan, PlanError> {
    let cluster = ClusterName::parse(&situation.deployment.instance_id)
        .map_err(|error| PlanError::NothingToDo { message: error.to_string(), param: Some("instance_id") })?;
    match intent {
        Intent::Decommission(decommission) => Ok(decommission_plan(decommission, &cluster, situation)),
        Intent::Deploy(_)
        | Intent::Redeploy(_)
        | Intent::Scale(_)
        | Intent::Rollback(_)
        | Intent::Status(_)
        | Intent::List(_)
        | Intent::Logs(_)
        | Intent::Cancel(_) => on_cluster(intent, cluster, situation),
    }
}

/// What each action does with the application on a kind cluster, wherever that is.
pub(super) fn on_cluster(intent: &Intent, cluster: ClusterName, situation: &Situation<'_>) -> Result<Plan, PlanError> {
    match intent {
        Intent::Deploy(deploy) => Ok(deploy_plan(deploy, cluster, situation)),
        Intent::Redeploy(redeploy) => redeploy_plan(redeploy, cluster, situation),
        Intent::Scale(scale) => scale_plan(scale, &cluster, situation),
        Intent::Rollback(rollback) => rollback_plan(rollback, &cluster, situation),
        Intent::Decommission(_) => Ok(Plan::Sequence(removal(&cluster))),
        Intent::Status(_) | Intent::List(_) | Intent::Logs(_) | Intent::Cancel(_) => {
            Err(PlanError::NothingToDo { message: "this action changes nothing".to_owned(), param: Some("action") })
        }
    }
}

/// What a roll-out is made of, whichever action asks for it.
struct RollOut {
    git_ref: Option<GitRef>,
    dockerfile: Option<DockerfilePath>,
    container_port: Option<Port>,
    replicas: u16,
}

fn deploy_plan(deploy: &Deploy, cluster: ClusterName, situation: &Situation<'_>) -> Plan {
    // What the person does not say again stays as it was.
    let facts = &situation.deployment.facts;
    let version = facts.version.as_ref();
    let wanted = RollOut {
        git_ref: deploy.git_ref.clone().or_else(|| situation.deployment.git_ref.clone()),
        dockerfile: deploy.dockerfile.clone().or_else(|| version.and_then(|it| it.dockerfile.clone())),
        container_port: deploy.container_port.or_else(|| version.and_then(|it| it.container_port)),
        replicas: deploy.replicas.or(facts.replicas).unwrap_or(1),
    };
    roll_out(wanted, cluster, situation)
}

fn redeploy_plan(redeploy: &Redeploy, cluster: ClusterName, situation: &Situation<'_>) -> Result<Plan, PlanError> {
    let facts = &situation.deployment.facts;
    let version = running(situation)?;
    let wanted = RollOut {
        git_ref: redeploy.git_ref.clone().or_else(|| situation.deployment.git_ref.clone()),
        dockerfile: redeploy.dockerfile.clone().or_else(|| version.dockerfile.clone()),
        container_port: redeploy.container_port.or(version.container_port),
        replicas: facts.replicas.unwrap_or(1),
    };
    Ok(roll_out(wanted, cluster, situation))
}

fn roll_out(wanted: RollOut, cluster: ClusterName, situation: &Situation<'_>) -> Plan {
    let repository = situation.deployment.repository.clone();
    let build = BuildImage { repository: repository.clone(), container_port: wanted.container_port };
    let image = Plan::Sequence(vec![
        Plan::step(CloneRepository { repository, git_ref: wanted.git_ref }),
        Plan::step(AnalyseRepository { dockerfile: wanted.dockerfile }),
        Plan::Parallel(vec![
            Plan::step(build.clone()),
            Plan::step(PreloadBaseImage { cluster: cluster.clone(), build }),
        ]),
        Plan::step(LoadImage { cluster: cluster.clone(), image: None }),
    ]);
    Plan::Sequence(vec![
        Plan::Parallel(vec![Plan::step(CreateCluster { cluster: cluster.clone() }), image]),
        Plan::step(ApplyApplication {
            cluster: cluster.clone(),
            replicas: wanted.replicas,
            replaces_environment: situation.replaces_environment,
            version: None,
            previous: situation.previous(),
        }),
        Plan::step(WaitForRollout { cluster: cluster.clone() }),
        Plan::step(VerifyApplication { cluster: cluster.clone(), replicas: wanted.replicas, node_port: None }),
        Plan::step(PruneVersions { cluster }),
    ])
}

fn scale_plan(scale: &Scale, cluster: &ClusterName, situation: &Situation<'_>) -> Result<Plan, PlanError> {
    running(situation)?;
    let facts = &situation.deployment.facts;
    Ok(Plan::Sequence(vec![
        Plan::step(ScaleApplication {
            cluster: cluster.clone(),
            replicas: scale.replicas,
            previous: facts.replicas.unwrap_or(1),
        }),
        Plan::step(WaitForRollout { cluster: cluster.clone() }),
        Plan::step(VerifyApplication {
            cluster: cluster.clone(),
            replicas: scale.replicas,
            node_port: facts.node_port,
        }),
    ]))
}

fn rollback_plan(rollback: &Rollback, cluster: &ClusterName, situation: &Situation<'_>) -> Result<Plan, PlanError> {
    let version = earlier_version(rollback, situation)?;
    let replicas = situation.deployment.facts.replicas.unwrap_or(1);
    Ok(Plan::Sequence(vec![
        Plan::step(LoadImage { cluster: cluster.clone(), image: Some(version.image.clone()) }),
        Plan::step(ApplyApplication {
            cluster: cluster.clone(),
            replicas,
            replaces_environment: false,
            version: Some(version.clone()),
            previous: situation.previous(),
        }),
        Plan::step(WaitForRollout { cluster: cluster.clone() }),
        Plan::step(VerifyApplication { cluster: cluster.clone(), replicas, node_port: None }),
        Plan::step(PruneVersions { cluster: cluster.clone() }),
    ]))
}

fn earlier_version<'a>(rollback: &Rollback, situation: &Situation<'a>) -> Result<&'a Version, PlanError> {
    let present = running(situation)?;
    let versions = situation.versions;
    let found = match &rollback.to {
        None => versions.iter().rev().find(|it| it.revision < present.revision && it.image_id != present.image_id),
        Some(VersionRef::Revision(revision)) => versions.iter().find(|it| it.revision == *revision),
        Some(VersionRef::Commit(prefix)) => {
            versions.iter().rev().find(|it| it.commit.as_str().starts_with(prefix.as_str()))
        }
    };
    found.ok_or_else(|| {
        let known: Vec<String> =
            versions.iter().rev().map(|it| format!("{} (commit {})", it.revision, it.commit.short())).collect();
        let message = match &rollback.to {
            None => "there is no earlier version to go back to".to_owned(),
            Some(_) => format!("there is no such version; there are {}", known.join(", ")),
        };
        PlanError::NothingToDo { message, param: Some("rollback_to") }
    })
}

fn decommission_plan(decommission: &Decommission, cluster: &ClusterName, situation: &Situation<'_>) -> Plan {
    let mut parts = removal(cluster);
    let by_setting = situation.settings.kind.delete_empty_cluster && !decommission.keep_target;
    if decommission.delete_cluster || by_setting {
        parts.push(Plan::step(DeleteCluster { cluster: cluster.clone(), asked: decommission.delete_cluster }));
    }
    Plan::Sequence(parts)
}

/// Takes an application off a cluster that stays.
fn removal(cluster: &ClusterName) -> Vec<Plan> {
    vec![
        Plan::step(RemoveApplication { cluster: cluster.clone() }),
        // The clone tells which images a deploy that got stuck has built.
        Plan::step(RemoveImages { cluster: cluster.clone() }),
        Plan::step(RemoveWorkspace {}),
        Plan::step(VerifyRemoval { cluster: cluster.clone() }),
    ]
}

fn running<'a>(situation: &Situation<'a>) -> Result<&'a Version, PlanError> {
    situation.deployment.facts.version.as_ref().ok_or_else(|| PlanError::NothingToDo {
        message: format!("`{}` has never run; deploy it first", situation.deployment.name),
        param: None,
    })
}
