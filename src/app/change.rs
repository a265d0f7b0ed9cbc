//! From a request that changes something to an operation that is stored: which deployment, which plan, which secrets.

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use super::target::same_key_pair;
use super::{Accepted, App, AppError};
use crate::cloud::aws::AccessKeys;
use crate::event::OperationState;
use crate::executor::{self, input::PlanInput};
use crate::id::{DeploymentId, Mode, OperationId, derived_deployment_name};
use crate::intent::{AwsCredentials, Confirmation, Deploy, Intent, Request, Secrets, Source, wants_confirmation};
use crate::plan::Plan;
use crate::reply::view::PlanView;
use crate::step::apply_application::ENVIRONMENT_SECRET;
use crate::step::aws_access::AWS_CREDENTIALS_SECRET;
use crate::step::clone_repository::GIT_TOKEN_SECRET;
use crate::step::context::secret_context;
use crate::store::operations::{Acceptance, KeyReused, NewOperation, RequestKey};
use crate::store::record::{Deployment, DeploymentFacts, DeploymentState, Operation, Target};

/// A deployment that is about to change, and the target that it runs on.
struct Subject {
    deployment: Deployment,
    target: Target,
}

/// The person has to confirm first.
struct ConfirmationNeeded {
    /// Another plan than this one was confirmed.
    plan_changed: bool,
}

impl App {
    pub(super) async fn change(
        &self,
        principal: &str,
        key: Option<RequestKey>,
        request: Request,
    ) -> Result<Accepted, AppError> {
        let turn = self.0.accept_lock.lock().await;
        let store = &self.0.store;
        if let Some(key) = &key
            && !request.dry_run
        {
            match store.operation_for_key(principal, key, Timestamp::now()).await? {
                Ok(Some(id)) => return Ok(Accepted::Operation { id, attached: true }),
                Ok(None) => (),
                Err(KeyReused) => return Err(AppError::KeyReused),
            }
        }
        if self.is_shutting_down() {
            return Err(AppError::ShuttingDown);
        }
        let Subject { mut deployment, target } = self.subject(&request).await?;
        if let Some(operation) = store.running_operation(deployment.id).await? {
            return Err(AppError::Busy { deployment: deployment.name.to_string(), operation });
        }
        let versions = store.versions(deployment.id).await?;
        let plan = executor::plan(
            &request.intent,
            &PlanInput {
                deployment: &deployment,
                versions: &versions,
                target: &target,
                shares_target: store.is_target_used_by_others(target.id, deployment.id).await?,
                other_deployments: &self.other_deployments(&deployment, &target).await?,
                replaces_environment: request.secrets.environment.is_some(),
                settings: &self.0.settings,
            },
        )?;
        let needed = self.confirmation_needed(&request, &plan, &deployment, &target).await?;
        if request.dry_run || needed.is_some() {
            // The accept lock is released: a dry run calls the `check` of every step over the network, and stores
            // nothing.
            drop(turn);
            let hash = self.plan_hash(&request.intent, &plan, &deployment, &target).await?;
            let view = self.dry_run(request.intent.action(), &plan, deployment, target, hash).await;
            return Ok(match needed {
                Some(ConfirmationNeeded { plan_changed }) if !request.dry_run => {
                    Accepted::Unconfirmed(PlanView { plan_changed, ..view })
                }
                Some(_) | None => Accepted::Plan(view),
            });
        }
        let id = OperationId::new();
        if let Intent::Decommission(_) = request.intent {
            deployment.state = DeploymentState::Removing;
        }
        deployment.operation = id;
        let operation = Operation {
            id,
            action: request.intent.action(),
            principal: principal.to_owned(),
            intent: serde_json::to_value(&request.intent).map_err(|error| AppError::Internal(error.into()))?,
            plan: serde_json::to_value(&plan).map_err(|error| AppError::Internal(error.into()))?,
            state: OperationState::Queued,
            progress: 0,
            deployment: deployment.id,
            target: target.id,
            failure: None,
            receipt: Vec::new(),
            warnings: Vec::new(),
            created_at: Timestamp::now(),
            ended_at: None,
        };
        let name = deployment.name.to_string();
        let secrets = self.seal(id, &request.secrets)?;
        let new = NewOperation { operation, deployment, target, key, secrets };
        match store.accept(&new).await? {
            Acceptance::Busy(operation) => return Err(AppError::Busy { deployment: name, operation }),
            Acceptance::Accepted => (),
        }
        tracing::info!(op.id = %id, op.action = %new.operation.action, deployment.name = name, "operation is accepted");
        self.0.engine.start(new.operation).await?;
        Ok(Accepted::Operation { id, attached: false })
    }

    /// What stands between a request and its plan: nothing, or the word of the person who asked for it.
    async fn confirmation_needed(
        &self,
        request: &Request,
        plan: &Plan,
        deployment: &Deployment,
        target: &Target,
    ) -> Result<Option<ConfirmationNeeded>, AppError> {
        let by_fields = request.source == Source::Fields;
        match &request.confirmation {
            Confirmation::Given => Ok(None),
            Confirmation::Missing => {
                let wanted = !by_fields && wants_confirmation(&request.intent, deployment.mode);
                Ok(wanted.then_some(ConfirmationNeeded { plan_changed: false }))
            }
            Confirmation::OfPlan(shown) => {
                if *shown == self.plan_hash(&request.intent, plan, deployment, target).await? {
                    return Ok(None);
                }
                if by_fields {
                    return Err(AppError::Conflict {
                        message: format!("the plan is not `{shown}` any more; ask for it again with `dry_run`"),
                        param: Some("confirm"),
                    });
                }
                Ok(Some(ConfirmationNeeded { plan_changed: true }))
            }
        }
    }

    /// What a change is about: an existing deployment, or a new one that a deploy asks for.
    async fn subject(&self, request: &Request) -> Result<Subject, AppError> {
        let selector = match &request.intent {
            Intent::Deploy(deploy) => return self.deploy_subject(deploy, request.secrets.aws.as_ref()).await,
            Intent::Redeploy(it) => &it.deployment,
            Intent::Scale(it) => &it.deployment,
            Intent::Rollback(it) => &it.deployment,
            Intent::Decommission(it) => &it.deployment,
            Intent::Status(it) | Intent::List(it) | Intent::Cancel(it) => it,
            Intent::Logs(it) => &it.deployment,
        };
        let deployment = self.selected_or_adopted(selector, request.secrets.aws.as_ref()).await?;
        let target = self.target_of(&deployment).await?;
        if let (Some(asked), Some(instance)) = (&selector.key_pair, &target.instance) {
            same_key_pair(asked, instance)?;
        }
        Ok(Subject { deployment, target })
    }

    async fn deploy_subject(&self, deploy: &Deploy, aws: Option<&AwsCredentials>) -> Result<Subject, AppError> {
        let settings = &self.0.settings;
        self.0
            .hosts
            .local()
            .git
            .check_allowed(&deploy.repository)
            .map_err(|error| AppError::Invalid { message: error.to_string(), param: "github_repo_url" })?;
        let namespace = deploy.namespace.clone().unwrap_or_else(|| settings.kubernetes.default_namespace.clone());
        let store = &self.0.store;
        let present = store.present_deployments().await?;
        let target = match deploy.mode {
            Mode::Local => self.local_target(deploy).await?,
            Mode::CloudLocal | Mode::CloudHosted => self.cloud_target(deploy, &namespace, aws, &present).await?,
        };
        let mut there = present.iter().filter(|it| it.target == target.id && it.namespace == namespace);
        let existing = match &deploy.application_name {
            Some(name) => there.find(|it| it.name == *name),
            None => there.find(|it| it.repository.identity() == deploy.repository.identity()),
        };
        if let Some(existing) = existing {
            if existing.repository.identity() != deploy.repository.identity() {
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
            return Ok(Subject { deployment, target });
        }
        let now = Timestamp::now();
        let derived = || derived_deployment_name(&deploy.repository, &target.name, &namespace);
        let deployment = Deployment {
            id: DeploymentId::new(),
            mode: deploy.mode,
            state: DeploymentState::Deploying,
            target: target.id,
            target_name: target.name.clone(),
            name: deploy.application_name.clone().unwrap_or_else(derived),
            namespace,
            repository: deploy.repository.clone(),
            git_ref: deploy.git_ref.clone(),
            operation: OperationId::new(),
            facts: DeploymentFacts::default(),
            created_at: now,
            updated_at: now,
        };
        Ok(Subject { deployment, target })
    }

    /// The other deployments on the target.
    async fn other_deployments(&self, deployment: &Deployment, target: &Target) -> Result<Vec<Deployment>, AppError> {
        let mut present = self.0.store.present_deployments().await?;
        present.retain(|it| it.target == target.id && it.id != deployment.id);
        Ok(present)
    }

    async fn target_of(&self, deployment: &Deployment) -> Result<Target, AppError> {
        let target = self.0.store.target(deployment.target).await?;
        target.ok_or_else(|| AppError::Internal(format!("no target `{}`", deployment.target).into()))
    }

    fn seal(&self, id: OperationId, secrets: &Secrets) -> Result<Vec<(String, String)>, AppError> {
        let mut sealed = Vec::new();
        if let Some(token) = &secrets.git_token {
            sealed
                .push((GIT_TOKEN_SECRET.to_owned(), self.0.sealer.seal(&secret_context(id, GIT_TOKEN_SECRET), token)?));
        }
        if let Some(environment) = &secrets.environment {
            let values: std::collections::BTreeMap<_, _> =
                environment.iter().map(|(name, value)| (name, value.expose_secret())).collect();
            let json = serde_json::to_string(&values).map_err(|error| AppError::Internal(error.into()))?;
            let context = secret_context(id, ENVIRONMENT_SECRET);
            sealed.push((ENVIRONMENT_SECRET.to_owned(), self.0.sealer.seal(&context, &SecretString::from(json))?));
        }
        if let Some(aws) = &secrets.aws {
            let keys = AccessKeys::from(aws).to_json();
            sealed.push((
                AWS_CREDENTIALS_SECRET.to_owned(),
                self.0.sealer.seal(&secret_context(id, AWS_CREDENTIALS_SECRET), &keys)?,
            ));
        }
        Ok(sealed)
    }
}
