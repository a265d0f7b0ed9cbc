//! The executor: what each action means in each mode, as a plan; and what is stored when a plan has ended. Pure.

use jiff::Timestamp;

use crate::config::Settings;
use crate::engine::{Finished, Unwound};
use crate::event::OperationState;
use crate::id::{Action, Mode};
use crate::intent::Intent;
use crate::plan::Plan;
use crate::step::analyse_repository::AnalyseRepository;
use crate::step::apply_application::{ApplyApplication, Previous};
use crate::step::await_certificate::AwaitCertificate;
use crate::step::build_image::BuildImage;
use crate::step::check_account::CheckAccount;
use crate::step::check_hosted_account::CheckHostedAccount;
use crate::step::clone_repository::CloneRepository;
use crate::step::create_alias::CreateAlias;
use crate::step::create_cluster::CreateCluster;
use crate::step::delete_cluster::DeleteCluster;
use crate::step::destroy_cluster::DestroyCluster;
use crate::step::destroy_instance::DestroyInstance;
use crate::step::destroy_repository::DestroyRepository;
use crate::step::find_cluster::FindCluster;
use crate::step::find_instance::FindInstance;
use crate::step::install_ingress::InstallIngress;
use crate::step::provision_cluster::ProvisionCluster;
use crate::step::provision_instance::ProvisionInstance;
use crate::step::provision_repository::ProvisionRepository;
use crate::step::release_ingress::ReleaseIngress;
use crate::step::remove_alias::RemoveAlias;
use crate::step::remove_application::{RemoveApplication, Removed};
use crate::step::remove_certificate::RemoveCertificate;
use crate::step::remove_images::RemoveImages;
use crate::step::remove_workspace::RemoveWorkspace;
use crate::step::scale_application::ScaleApplication;
use crate::step::uninstall_ingress::UninstallIngress;
use crate::step::verify_account::VerifyAccount;
use crate::step::verify_application::VerifyApplication;
use crate::step::verify_removal::VerifyRemoval;
use crate::store::operations::OperationEnd;
use crate::store::record::{Deployment, DeploymentFacts, DeploymentState, Instance, Target, Version};

mod application;
mod cloud_hosted;
mod cloud_local;
mod local;

/// What a plan is made from.
#[derive(Debug)]
pub struct PlanInput<'a> {
    /// The deployment, as it is before the operation.
    pub deployment: &'a Deployment,
    /// Its versions that can run again, oldest first.
    pub versions: &'a [Version],
    /// The target that it runs on, as it is before the operation.
    pub target: &'a Target,
    /// Other deployments run on the target, or are about to.
    pub shares_target: bool,
    /// Those that are there already.
    pub other_deployments: &'a [Deployment],
    /// The request brings new environment variables.
    pub replaces_environment: bool,
    /// The settings.
    pub settings: &'a Settings,
}

impl PlanInput<'_> {
    /// What runs now; nothing while the deployment is new.
    fn previous(&self) -> Option<Previous> {
        let facts = &self.deployment.facts;
        facts.version.clone().map(|version| Previous {
            version,
            replicas: facts.replicas.unwrap_or(1),
            node_port: facts.node_port,
        })
    }
}

/// Says why there is no plan: something lacks, or is in the way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The deployment has no version to do this with.
    #[error("{message}")]
    NotPossible {
        /// What is missing and what would help.
        message: String,
        /// The field to change.
        param: Option<&'static str>,
    },
}

/// Makes the plan of an intent that changes something.
///
/// # Errors
/// [`PlanError`] when there is nothing to do it with, or something is in the way.
pub fn plan(intent: &Intent, situation: &PlanInput<'_>) -> Result<Plan, PlanError> {
    match situation.deployment.mode {
        Mode::Local => local::plan(intent, situation),
        Mode::CloudLocal => cloud_local::plan(intent, situation),
        Mode::CloudHosted => cloud_hosted::plan(intent, situation),
    }
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
    let mut deployment = finished.deployment.clone();
    deployment.operation = finished.operation.id;
    let mut version = None;
    let mut target_gone = false;
    take_instance(&mut deployment.facts, finished);
    take_cluster(&mut deployment.facts, finished);
    match finished.operation.action {
        Action::Decommission => {
            deployment.state = DeploymentState::Removed;
            deployment.facts = DeploymentFacts::default();
            target_gone = finished.output::<DeleteCluster>().is_some_and(|gone| !gone.removed.is_empty())
                || finished.output::<DestroyInstance>().is_some()
                || finished.output::<DestroyCluster>().is_some();
        }
        Action::Scale => {
            let scale = step_parameters::<ScaleApplication>(finished);
            deployment.state = DeploymentState::Running;
            deployment.facts.replicas = scale.map(|scale| scale.replicas).or(deployment.facts.replicas);
            take_verified(&mut deployment.facts, finished);
        }
        Action::Deploy | Action::Redeploy | Action::Rollback => {
            deployment.state = DeploymentState::Running;
            version = take_applied(&mut deployment, finished);
            take_verified(&mut deployment.facts, finished);
            deployment.facts.warnings.clone_from(&finished.warnings);
        }
        Action::Status | Action::List | Action::Logs | Action::Cancel => (),
    }
    OperationEnd {
        state: OperationState::Succeeded,
        failure: None,
        receipt: receipt(finished),
        warnings: finished.warnings.clone(),
        deployment,
        version,
        target_gone,
    }
}

/// Takes over what was applied; gives the version when it is a new one.
fn take_applied(deployment: &mut Deployment, finished: &Finished) -> Option<Version> {
    let applied = finished.output::<ApplyApplication>()?;
    let apply = step_parameters::<ApplyApplication>(finished)?;
    let before = deployment.facts.version.clone();
    let unchanged = before.clone().filter(|before| applied.runs_the_same_as(before));
    let version = Version {
        revision: before.as_ref().map_or(1, |version| version.revision + 1),
        commit: applied.commit,
        git_ref: step_parameters::<CloneRepository>(finished)
            .map_or_else(|| apply.version.as_ref().and_then(|it| it.git_ref.clone()), |clone| clone.git_ref),
        image: applied.image,
        image_id: applied.image_id,
        main_port: applied.main_port,
        ports: applied.ports,
        container_port: step_parameters::<BuildImage>(finished)
            .map_or_else(|| apply.version.as_ref().and_then(|it| it.container_port), |build| build.container_port),
        dockerfile: step_parameters::<AnalyseRepository>(finished)
            .map_or_else(|| apply.version.as_ref().and_then(|it| it.dockerfile.clone()), |analyse| analyse.dockerfile),
        environment_secret: applied.environment_secret,
        environment_names: applied.environment_names,
        operation: finished.operation.id,
        deployed_at: Timestamp::now(),
    };
    if let Some(clone) = step_parameters::<CloneRepository>(finished) {
        deployment.git_ref = clone.git_ref;
    }
    deployment.facts.replicas = Some(apply.replicas);
    deployment.facts.node_port = applied.node_port;
    deployment.facts.owns_namespace |= applied.created_namespace;
    if unchanged.is_some() {
        // Nothing new runs: the version keeps its number.
        deployment.facts.version = unchanged;
        return None;
    }
    deployment.facts.version = Some(version.clone());
    Some(version)
}

/// Takes over where the instance is, and what it costs.
fn take_instance(facts: &mut DeploymentFacts, finished: &Finished) {
    let provisioned = finished.output::<ProvisionInstance>().map(|it| it.instance);
    let Some(instance) = provisioned.or_else(|| finished.output::<FindInstance>().map(|it| it.instance)) else {
        return;
    };
    let Instance { id, public_ip, key_pair, .. } = instance;
    if facts.public_ip.as_ref().is_some_and(|it| *it != public_ip.to_string()) {
        // An instance that was stopped and started has another public address, so the stored URL is stale;
        // `take_verified` stores the new one.
        facts.app_url = None;
    }
    facts.public_ip = Some(public_ip.to_string());
    facts.ec2_instance_id = Some(id);
    facts.ec2_key_name = Some(key_pair.to_string());
    if let Some(checked) = finished.output::<CheckAccount>() {
        facts.cost = checked.cost.map(|cost| cost.to_string());
    }
}

/// Takes over where the EKS cluster and what belongs to it is, and what it costs.
fn take_cluster(facts: &mut DeploymentFacts, finished: &Finished) {
    let provisioned = finished.output::<ProvisionCluster>().map(|it| it.cluster);
    if let Some(cluster) = provisioned.or_else(|| finished.output::<FindCluster>().map(|it| it.cluster)) {
        facts.eks_cluster_endpoint = Some(cluster.endpoint);
    }
    if let Some(repository) = finished.output::<ProvisionRepository>() {
        facts.ecr_repository_url = Some(repository.url);
    }
    if let Some(issued) = finished.output::<AwaitCertificate>() {
        facts.acm_certificate_arn = Some(issued.arn);
    }
    if let Some(ingress) = finished.output::<InstallIngress>() {
        facts.nlb_dns_name = Some(ingress.dns_name);
    }
    if let Some(alias) = finished.output::<CreateAlias>() {
        facts.host = Some(alias.host);
    }
    if let Some(checked) = finished.output::<CheckHostedAccount>() {
        facts.cost = checked.cost.map(|cost| cost.to_string());
    }
}

fn take_verified(facts: &mut DeploymentFacts, finished: &Finished) {
    if let Some(verified) = finished.output::<VerifyApplication>() {
        facts.app_url = verified.app_url.or(facts.app_url.take());
        facts.http_status = verified.http_status;
    }
}

fn receipt(finished: &Finished) -> Vec<String> {
    let removed = |it: Option<Removed>| it.map(|it| it.removed).unwrap_or_default();
    [
        removed(finished.output::<DestroyInstance>()),
        removed(finished.output::<RemoveApplication>()),
        removed(finished.output::<UninstallIngress>()),
        removed(finished.output::<ReleaseIngress>()),
        removed(finished.output::<RemoveAlias>()),
        removed(finished.output::<RemoveCertificate>()),
        removed(finished.output::<DestroyCluster>()),
        removed(finished.output::<DestroyRepository>()),
        removed(finished.output::<RemoveImages>()),
        removed(finished.output::<RemoveWorkspace>()),
        removed(finished.output::<VerifyRemoval>()),
        removed(finished.output::<DeleteCluster>()),
        aws_verification(finished),
    ]
    .concat()
}

/// The last line of a receipt: who says that nothing is left.
fn aws_verification(finished: &Finished) -> Vec<String> {
    let asked = finished.output::<VerifyAccount>().and_then(|_| step_parameters::<VerifyAccount>(finished));
    asked
        .map(|it| format!("asked AWS in {}: nothing that carries the tag of this target is left", it.region))
        .into_iter()
        .collect()
}

fn unsuccessful(finished: &Finished, unwound: &Unwound) -> OperationEnd {
    let mut deployment = finished.deployment.clone();
    deployment.operation = finished.operation.id;
    if finished.target.instance.is_some() {
        take_instance(&mut deployment.facts, finished);
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
        (None, false) if was_new && !finished.removed.is_empty() => OperationState::Undone,
        (None, false) => OperationState::Failed,
    };
    deployment.state = match (finished.operation.action, &unwound.stuck) {
        // `Removed` deployments are in no list and cannot be selected: while the instance or cluster of a failed deploy
        // is kept (`keep_target`), its deployment stays `Failed`, so that a decommission can name it.
        (_, None) if was_new && leaves_target(finished) => DeploymentState::Failed,
        (_, None) if was_new => DeploymentState::Removed,
        // `create_cluster` had to make the cluster (`made`): the version that ran before went with the old one.
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

/// The parameters of a step of the plan.
fn step_parameters<A: crate::step::StepAction>(finished: &Finished) -> Option<A> {
    let plan: Plan = serde_json::from_value(finished.operation.plan.clone()).ok()?;
    plan.parameters::<A>()
}
