//! From a request that changes something to its plan: which deployment, which target, which word of the person.

use jiff::Timestamp;

use super::accept::{Change, ConfirmationNeeded, accepted, confirmation_needed};
use super::removal::Removals;
use super::target::same_key_pair;
use super::undo::Inverse;
use super::{Accepted, App, AppError};
use crate::access::Caller;
use crate::executor::{self, input::PlanInput};
use crate::id::{DeploymentId, Mode, OperationId, SourceDirectory, derived_deployment_name};
use crate::intent::{AwsCredentials, Deploy, Intent, Request, Selector, wants_confirmation};
use crate::reply::view::{PlanView, Proposal, Report};
use crate::store::operations::RequestKey;
use crate::store::record::{Deployment, DeploymentFacts, DeploymentState, Target};

/// A deployment that is about to change, and the target that it runs on.
struct Subject {
    deployment: Deployment,
    target: Target,
    /// The deployment is on record before the change.
    is_there: bool,
}

impl App {
    pub(super) async fn change(
        &self,
        caller: &Caller,
        key: Option<RequestKey>,
        request: Request,
    ) -> Result<Accepted, AppError> {
        let request = self.with_real_agreement(caller, request).await?;
        let is_sent_again = match key.as_ref().filter(|_| !request.dry_run) {
            Some(key) => !self.operations_for_key(caller, key).await?.is_empty(),
            None => false,
        };
        if !is_sent_again {
            self.look_around(caller, &request).await?;
        }
        let turn = self.0.accept_lock.lock().await;
        let store = &self.0.store;
        if let Some(key) = &key
            && !request.dry_run
        {
            let before = self.operations_for_key(caller, key).await?;
            if !before.is_empty() {
                return Ok(Accepted::Operations(before));
            }
        }
        if self.is_shutting_down() {
            return Err(AppError::ShuttingDown);
        }
        let request = match &request.intent {
            Intent::DecommissionAll(wanted) => {
                match Box::pin(self.remove_all(caller, key.as_ref(), &request, wanted)).await? {
                    Removals::Accepted(accepted) => return Ok(*accepted),
                    Removals::OnlyOne(decommission) => {
                        Request { intent: Intent::Decommission(*decommission), ..request }
                    }
                }
            }
            Intent::Undo(selector) => match self.inverse(caller, selector, request.source).await? {
                Inverse::Change(intent) => Request { intent: *intent, ..request },
                // There is no plan of it that could be shown.
                Inverse::Cancel(id) if request.dry_run => {
                    let message = format!("operation `{id}` is at work; say `cancel that` to stop it");
                    return Err(AppError::Conflict { message, param: Some("dry_run") });
                }
                Inverse::Cancel(id) => {
                    self.cancel(caller, id).await?;
                    return Ok(Accepted::Report(Report::Cancelled(id)));
                }
            },
            Intent::Deploy(_)
            | Intent::Redeploy(_)
            | Intent::Scale(_)
            | Intent::Restart(_)
            | Intent::Rollback(_)
            | Intent::Decommission(_)
            | Intent::Status(_)
            | Intent::List(_)
            | Intent::Logs(_)
            | Intent::Cancel(_)
            | Intent::Cost(_) => request,
        };
        // What an undo or the removal of all has come to may need more than they did.
        self.permit_request(caller, &request).await?;
        let Subject { deployment, target, is_there } = self.subject(caller, &request).await?;
        if let Some(operation) = store.running_operation(deployment.id).await? {
            return Err(AppError::Busy { deployment: deployment.name.to_string(), operation });
        }
        let versions = store.versions(deployment.id).await?;
        let shares_target = store.is_target_used_by_others(target.id, deployment.id).await?;
        let plan = executor::plan(
            &request.intent,
            &PlanInput {
                deployment: &deployment,
                versions: &versions,
                target: &target,
                shares_target,
                other_deployments: &self.other_deployments(&deployment, &target).await?,
                removed_before: &[],
                replaces_environment: request.secrets.environment.is_some(),
                settings: &self.0.settings,
            },
        )?;
        let hash = self.plan_hash(&request.intent, &request.secrets, &plan, &deployment, &target).await?;
        let is_wanted = wants_confirmation(&request.intent, deployment.mode);
        let needed = confirmation_needed(caller, &request, is_wanted, &hash)?;
        if request.dry_run || needed.is_some() {
            // The accept lock is released: a dry run calls the `check` of every step over the network, and stores
            // nothing.
            drop(turn);
            let is_there_already = is_there && request.intent.deploy().is_some();
            let view = self.dry_run(&request, &plan, deployment, target, hash, shares_target).await;
            let view = PlanView { is_there_already, ..view };
            return Ok(match needed {
                Some(ConfirmationNeeded { plan_changed }) if !request.dry_run => {
                    self.keep_question(caller, &view.hash).await?;
                    Accepted::Unconfirmed(Proposal::Change(PlanView { plan_changed, ..view }))
                }
                Some(_) | None => Accepted::Plan(Proposal::Change(view)),
            });
        }
        let accepted = accepted(caller, &request, &hash);
        let change = Change { intent: request.intent, plan, deployment, target };
        // Boxed: what an operation is begun with is large.
        let id = Box::pin(self.begin(accepted, key, change, &request.secrets)).await?;
        Ok(Accepted::Operations(vec![id]))
    }

    /// Asks the network what a request needs to know, before its turn: AWS and ssh may take seconds, and all other
    /// requests wait for that lock. What else is wrong with the request is told in its turn.
    async fn look_around(&self, caller: &Caller, request: &Request) -> Result<(), AppError> {
        let aws = request.secrets.aws.as_ref();
        match &request.intent {
            Intent::Deploy(deploy) => {
                if let Ok(Subject { target, .. }) = self.deploy_subject(caller, deploy, aws).await {
                    // Boxed: the future of a call to AWS is large.
                    Box::pin(self.refuse_namesake(deploy, &target, aws)).await?;
                }
            }
            Intent::Redeploy(_)
            | Intent::Scale(_)
            | Intent::Restart(_)
            | Intent::Rollback(_)
            | Intent::Decommission(_) => {
                let selector = request.intent.selector().cloned().unwrap_or_default();
                match self.selected_or_adopted(caller, &selector, request.source, aws).await {
                    Ok(_) | Err(AppError::Selection(_)) => (),
                    Err(error) => return Err(error),
                }
            }
            Intent::DecommissionAll(_)
            | Intent::Undo(_)
            | Intent::Status(_)
            | Intent::List(_)
            | Intent::Logs(_)
            | Intent::Cancel(_)
            | Intent::Cost(_) => (),
        }
        Ok(())
    }

    /// What a change is about: an existing deployment, or a new one that a deploy asks for.
    async fn subject(&self, caller: &Caller, request: &Request) -> Result<Subject, AppError> {
        let aws = request.secrets.aws.as_ref();
        if let Intent::Deploy(deploy) = &request.intent {
            return self.deploy_subject(caller, deploy, aws).await;
        }
        let anything = Selector::default();
        let selector = request.intent.selector().unwrap_or(&anything);
        let deployment = self.selected_for(caller, request.intent.action(), selector, request.source).await?;
        let target = self.target_of(&deployment).await?;
        if let (Some(asked), Some(instance)) = (&selector.key_pair, &target.instance) {
            same_key_pair(asked, instance)?;
        }
        Ok(Subject { deployment, target, is_there: true })
    }

    async fn deploy_subject(
        &self,
        caller: &Caller,
        deploy: &Deploy,
        aws: Option<&AwsCredentials>,
    ) -> Result<Subject, AppError> {
        self.0
            .hosts
            .local()
            .git
            .check_allowed(&deploy.repository)
            .map_err(|error| AppError::Invalid { message: error.to_string(), param: "github_repo_url" })?;
        let namespace = self.namespace(deploy);
        let present = self.visible_deployments(caller).await?;
        let target = match deploy.mode {
            Mode::Local => self.local_target(deploy).await?,
            Mode::CloudLocal | Mode::CloudHosted => self.cloud_target(deploy, &namespace, aws, &present).await?,
        };
        let directory = deploy.source_directory.clone().and_then(SourceDirectory::below_root);
        let mut there = present.iter().filter(|it| it.target == target.id && it.namespace == namespace);
        let is_same = |it: &Deployment| it.repository.identity() == deploy.repository.identity();
        let derived = derived_deployment_name(&deploy.repository, directory.as_ref(), &target.name, &namespace);
        let name = match &deploy.application_name {
            // The name is the instance's first of all: that it is taken there says nothing against the request.
            Some(name) if names_instance(deploy) && there.clone().any(|it| it.name == *name && !is_same(it)) => {
                Some(&derived)
            }
            name => name.as_ref(),
        };
        let existing = match name {
            Some(name) => there.find(|it| it.name == *name),
            None => there.find(|it| is_same(it) && it.source_directory == directory),
        };
        if let Some(existing) = existing {
            if !is_same(existing) {
                return Err(AppError::Conflict {
                    message: format!(
                        "`{}` in namespace `{namespace}` is built from {}; choose another `instance_name`, or decommission it first",
                        existing.name, existing.repository
                    ),
                    param: Some("instance_name"),
                });
            }
            // Commit, ref and version of the record are written by `executor::conclude` when the operation has
            // succeeded; until then the record tells of the version that runs.
            let mut deployment = existing.clone();
            if deployment.facts.version.is_none() {
                deployment.state = DeploymentState::Deploying;
            }
            return Ok(Subject { deployment, target, is_there: true });
        }
        let now = Timestamp::now();
        let deployment = Deployment {
            id: DeploymentId::new(),
            mode: deploy.mode,
            state: DeploymentState::Deploying,
            target: target.id,
            target_name: target.name.clone(),
            name: name.cloned().unwrap_or(derived),
            namespace,
            repository: deploy.repository.clone(),
            git_ref: deploy.git_ref.clone(),
            source_directory: directory,
            operation: OperationId::new(),
            facts: DeploymentFacts::default(),
            created_at: now,
            updated_at: now,
        };
        Ok(Subject { deployment, target, is_there: false })
    }

    /// The other deployments on the target.
    async fn other_deployments(&self, deployment: &Deployment, target: &Target) -> Result<Vec<Deployment>, AppError> {
        let mut present = self.0.store.present_deployments().await?;
        present.retain(|it| it.target == target.id && it.id != deployment.id);
        Ok(present)
    }

    pub(super) async fn target_of(&self, deployment: &Deployment) -> Result<Target, AppError> {
        let target = self.0.store.target(deployment.target).await?;
        target.ok_or_else(|| AppError::Internal(format!("no target `{}`", deployment.target).into()))
    }
}

/// Whether the application's name is the one of its EC2 instance too. In cloud-hosted it names the cluster in the same
/// way, but there it has to be the Kubernetes Deployment's name, which later actions are told.
fn names_instance(deploy: &Deploy) -> bool {
    deploy.mode == Mode::CloudLocal && deploy.target_name.is_none()
}
