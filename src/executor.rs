//! The executor: what each action means in each mode, as a plan; and what is stored when a plan has ended. Pure.

use jiff::Timestamp;
use serde_json::Value;

use crate::engine::finished::{Finished, Unwound};
use crate::event::OperationState;
use crate::id::{Action, Mode};
use crate::intent::Intent;
use crate::plan::Plan;
use crate::repository::analysis::Analysis;
use crate::step::Step;
use crate::step::action::StepAction;
use crate::step::analyse_repository::AnalyseRepository;
use crate::step::apply_application::ApplyApplication;
use crate::step::await_removals::AwaitRemovals;
use crate::step::build_image::{BuildImage, Built};
use crate::step::check_account::CheckAccount;
use crate::step::clone_repository::CloneRepository;
use crate::step::create_cluster::CreateCluster;
use crate::step::delete_cluster::DeleteCluster;
use crate::step::destroy_cluster::DestroyCluster;
use crate::step::destroy_instance::DestroyInstance;
use crate::step::find_instance::FindInstance;
use crate::step::provision_cluster::ProvisionCluster;
use crate::step::provision_instance::ProvisionInstance;
use crate::step::wait_for_rollout::WaitForRollout;
use crate::store::operations::OperationEnd;
use crate::store::record::{DeploymentFacts, DeploymentState, Version, VersionBuild};

use input::{PlanError, PlanInput};

mod application;
mod cloud_hosted;
mod cloud_local;
pub mod input;
pub mod inverse;
mod local;

/// Makes the plan of an intent that changes something.
///
/// # Errors
/// [`PlanError`] when there is nothing to do it with, or something is in the way.
pub fn plan(intent: &Intent, input: &PlanInput<'_>) -> Result<Plan, PlanError> {
    let plan = match input.deployment.mode {
        Mode::Local => local::plan(intent, input),
        Mode::CloudLocal => cloud_local::plan(intent, input),
        Mode::CloudHosted => cloud_hosted::plan(intent, input),
    }?;
    if input.removed_before.is_empty() {
        return Ok(plan);
    }
    Ok(Plan::Sequence(vec![Plan::step(AwaitRemovals { deployments: input.removed_before.to_vec() }), plan]))
}

/// Says what is stored when an operation has ended.
#[must_use]
pub fn conclude(finished: &Finished) -> OperationEnd {
    match &finished.result {
        Ok(()) => succeeded(finished),
        Err(unwound) => unsuccessful(finished, unwound),
    }
}

fn succeeded(finished: &Finished) -> OperationEnd {
    let plan = plan_of(finished);
    let mut deployment = finished.deployment.clone();
    deployment.operation = finished.operation.id;
    for (step, output) in done(&plan, finished) {
        step.record(output, &mut deployment);
    }
    let mut version = None;
    let mut target_gone = false;
    match finished.operation.action {
        Action::Decommission => {
            deployment.state = DeploymentState::Removed;
            // What it cost until now is told for a while.
            let price = deployment.facts.price.take();
            deployment.facts = DeploymentFacts { price, ..DeploymentFacts::default() };
            target_gone = finished.output::<DeleteCluster>().is_some_and(|gone| !gone.removed.is_empty())
                || finished.output::<DestroyInstance>().is_some()
                || finished.output::<DestroyCluster>().is_some();
        }
        Action::Scale | Action::Restart => deployment.state = DeploymentState::Running,
        Action::Deploy | Action::Redeploy | Action::Rollback => {
            deployment.state = DeploymentState::Running;
            version = new_version(&plan, finished);
            // Where nothing new runs the version keeps its number.
            deployment.facts.version = version.clone().or(deployment.facts.version);
            deployment.facts.warnings.clone_from(&finished.warnings);
        }
        Action::Status | Action::List | Action::Logs | Action::Cancel | Action::Undo | Action::Cost => (),
    }
    OperationEnd {
        state: OperationState::Succeeded,
        failure: None,
        receipt: done(&plan, finished).flat_map(|(step, output)| step.receipt(output)).collect(),
        warnings: finished.warnings.clone(),
        deployment,
        version,
        target_gone,
    }
}

/// The version that was rolled out, when it is another one than ran before.
fn new_version(plan: &Plan, finished: &Finished) -> Option<Version> {
    let applied = finished.output::<ApplyApplication>()?;
    let seen = finished.output::<WaitForRollout>().and_then(|it| it.seen_port);
    let applied = match seen {
        Some(port) => applied.at_port(port),
        None => applied,
    };
    let apply = plan.parameters::<ApplyApplication>()?;
    let before = finished.deployment.facts.version.as_ref();
    if before.is_some_and(|before| applied.is_same_version(before)) {
        return None;
    }
    let again = apply.version.as_ref();
    Some(Version {
        revision: before.map_or(1, |version| version.revision + 1),
        commit: applied.commit,
        git_ref: plan
            .parameters::<CloneRepository>()
            .map_or_else(|| again.and_then(|it| it.git_ref.clone()), |clone| clone.git_ref),
        image: applied.image,
        image_id: applied.image_id,
        main_port: applied.main_port,
        port_source: applied.port_source,
        ports: applied.ports,
        container_port: plan
            .parameters::<BuildImage>()
            .map_or_else(|| again.and_then(|it| it.container_port), |build| build.container_port),
        stop_grace_s: apply.stop_grace_s,
        source_directory: plan
            .parameters::<AnalyseRepository>()
            .map_or_else(|| again.and_then(|it| it.source_directory.clone()), |analyse| analyse.directory),
        dockerfile: plan
            .parameters::<AnalyseRepository>()
            .map_or_else(|| again.and_then(|it| it.dockerfile.clone()), |analyse| analyse.dockerfile),
        build: finished.output::<AnalyseRepository>().map_or_else(
            || again.map(|it| it.build.clone()).unwrap_or_default(),
            |analysis| VersionBuild {
                commit: finished.output::<CloneRepository>().and_then(|it| it.summary),
                ..build_of(&analysis, finished.output::<BuildImage>().as_ref())
            },
        ),
        build_options: applied.build,
        environment_secret: applied.environment_secret,
        environment_names: applied.environment_names,
        operation: finished.operation.id,
        deployed_at: Timestamp::now(),
    })
}

/// What an image was built of and what came of that, as its version remembers it.
fn build_of(analysis: &Analysis, built: Option<&Built>) -> VersionBuild {
    let is_found = analysis.generated.is_none() && analysis.foreign.is_none();
    VersionBuild {
        dockerfile: is_found.then(|| analysis.dockerfile.clone()),
        generated: analysis.generated.as_ref().map(|it| it.dockerfile.clone()),
        builder: analysis.foreign.as_ref().map(|it| it.builder.described().to_owned()),
        context: analysis.context.clone(),
        commit: None,
        size_bytes: built.map(|it| it.size_bytes),
        took_ms: built.and_then(|it| it.took_ms),
    }
}

fn unsuccessful(finished: &Finished, unwound: &Unwound) -> OperationEnd {
    let mut deployment = finished.deployment.clone();
    deployment.operation = finished.operation.id;
    if finished.target.instance.is_some() && INSTANCE_STEPS.iter().any(|name| finished.outputs.contains_key(*name)) {
        let plan = plan_of(finished);
        let of_instance = |step: &Step| INSTANCE_STEPS.contains(&step.name()) || step.name() == CheckAccount::NAME;
        for (step, output) in done(&plan, finished).filter(|(step, _)| of_instance(step)) {
            step.record(output, &mut deployment);
        }
    }
    if let Some(cluster) = &finished.target.cluster {
        deployment.facts.eks_cluster_endpoint = Some(cluster.endpoint.clone());
    }
    // The state cannot tell whether it ever ran: a first deploy that got stuck has the state `failed` when it is
    // resumed. A deployment without a version has never run.
    let was_new = deployment.facts.version.is_none() && finished.operation.action != Action::Decommission;
    let state = match (&unwound.stuck, unwound.cancelled) {
        (Some(_), _) => OperationState::Stuck,
        (None, true) => OperationState::Cancelled,
        (None, false) if was_new && finished.was_taken_back => OperationState::Undone,
        (None, false) => OperationState::Failed,
    };
    deployment.state = match (finished.operation.action, &unwound.stuck) {
        // `Removed` deployments are in no list and cannot be selected: while the instance or cluster of a failed deploy
        // is kept (`keep_target`), its deployment stays `Failed`, so that a decommission can name it.
        (_, None) if was_new && leaves_target(finished) => DeploymentState::Failed,
        (_, None) if was_new => DeploymentState::Removed,
        // `create_cluster` had to make the cluster (`made`), so the version that ran before is gone with the old one.
        (_, None) if finished.output::<CreateCluster>().is_some_and(|ready| ready.made) => DeploymentState::Failed,
        (Action::Decommission, _) | (_, Some(_)) => DeploymentState::Failed,
        (_, None) => deployment.state,
    };
    let is_there = match deployment.mode {
        Mode::Local => true,
        Mode::CloudLocal => finished.target.instance.is_some(),
        Mode::CloudHosted => finished.target.cluster.is_some(),
    };
    if !was_new && !is_there {
        // The target no longer exists: it was made anew and then undone, or a decommission destroyed it and then
        // failed. Addresses that pointed to it are cleared.
        deployment.state = DeploymentState::Failed;
        deployment.facts.public_ip = None;
        deployment.facts.ec2_instance_id = None;
        deployment.facts.eks_cluster_endpoint = None;
        deployment.facts.nlb_dns_name = None;
        deployment.facts.app_url = None;
    }
    // What the person is told first is what needs them: the undo that failed, else the cause.
    let failure = unwound.stuck.clone().unwrap_or_else(|| unwound.failure.clone());
    OperationEnd {
        state,
        failure: Some(failure),
        receipt: finished.removed.clone(),
        warnings: finished.warnings.clone(),
        deployment,
        version: None,
        target_gone: false,
    }
}

/// Whether the instance or the EKS cluster stays and no other deployment is on it.
fn leaves_target(finished: &Finished) -> bool {
    let instance = finished.output::<ProvisionInstance>().is_some_and(|it| it.alone);
    let cluster = finished.output::<ProvisionCluster>().is_some_and(|it| it.made && it.alone);
    (finished.target.instance.is_some() && instance) || (finished.target.cluster.is_some() && cluster)
}

/// The steps that say where the instance is.
const INSTANCE_STEPS: [&str; 2] = [ProvisionInstance::NAME, FindInstance::NAME];

/// The plan of an operation. One that cannot be read has no steps.
fn plan_of(finished: &Finished) -> Plan {
    serde_json::from_value(finished.operation.plan.clone()).unwrap_or(Plan::Sequence(Vec::new()))
}

/// The steps that were done, in the order of the plan, with what each left behind.
fn done<'a>(plan: &'a Plan, finished: &'a Finished) -> impl Iterator<Item = (&'a Step, &'a Value)> {
    plan.steps().into_iter().filter_map(|step| Some((step, finished.outputs.get(step.name())?)))
}
