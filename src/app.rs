//! App: every long-lived handle, built from settings, and the few things that the outside asks of them.

use std::sync::Arc;

use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, TryStreamExt};
use jiff::Timestamp;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::cloud::docker::DockerError;
use crate::cloud::kube::Kube;
use crate::cloud::kube::logs::LogSpan;
use crate::config::Settings;
use crate::engine::{Engine, EngineError};
use crate::event::{Event, OperationState};
use crate::executor::{self, PlanError, Situation};
use crate::host::{ClusterError, Host};
use crate::id::{ClusterName, DeploymentId, Mode, OperationId, TargetId, derived_deployment_name};
use crate::intent::selection::{self, Candidate, SelectionError};
use crate::intent::{Deploy, Intent, Request, Secrets, Selector};
use crate::plan::Plan;
use crate::reply::view::{PlanView, PlannedStep, Report, StepView};
use crate::secret::{Sealer, SecretError};
use crate::step::apply_application::ENVIRONMENT;
use crate::step::clone_repository::TOKEN;
use crate::step::secret_context;
use crate::store::deployments::DeploymentFilter;
use crate::store::operations::{Acceptance, KeyReused, NewOperation, OperationFilter, RequestKey};
use crate::store::record::{Deployment, DeploymentState, Facts, Operation, Target};
use crate::store::{Page, Store, StoreError};

mod preview;
mod steps;

/// Any error, for the log.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Every long-lived handle. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App(Arc<Handles>);

#[derive(Debug)]
struct Handles {
    settings: Arc<Settings>,
    store: Store,
    sealer: Sealer,
    host: Host,
    engine: Engine,
    shutdown: CancellationToken,
    /// Requests that start operations are looked at one after another, so that each sees what the one before did.
    accepting: tokio::sync::Mutex<()>,
}

/// What became of a request.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one per request, and it is taken apart at once")]
pub enum Accepted {
    /// It is (or was) carried out.
    Operation {
        /// By this operation.
        id: OperationId,
        /// True when the operation was there before.
        attached: bool,
    },
    /// It was only planned.
    Plan(PlanView),
    /// It was a question.
    Report(Report),
}

/// One thing that must be right for the server to work.
#[derive(Debug, Clone)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// What is wrong with it, and what to do.
    pub result: Result<(), String>,
}

/// Says why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key for secrets cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The address of Docker cannot be used.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// Unfinished operations cannot be carried on.
    #[error("cannot carry on with unfinished operations")]
    Engine(#[from] EngineError),
}

/// Says why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Another operation is running on the deployment.
    #[error("`{deployment}` is busy with operation `{operation}`; wait until it has ended, or cancel it")]
    Busy {
        /// Name of the deployment.
        deployment: String,
        /// The operation that is running.
        operation: OperationId,
    },
    /// What was asked for is not there.
    #[error("{message}")]
    NotFound {
        /// What, and what there is.
        message: String,
    },
    /// Several deployments fit.
    #[error("{message}")]
    Ambiguous {
        /// Which ones.
        message: String,
        /// The field that would tell.
        param: &'static str,
    },
    /// It contradicts what exists.
    #[error("{message}")]
    Conflict {
        /// What contradicts what.
        message: String,
        /// The field to change.
        param: Option<&'static str>,
    },
    /// A value is wrong.
    #[error("{message}")]
    Invalid {
        /// What would be right.
        message: String,
        /// The field.
        param: &'static str,
    },
    /// The mode does not work on this server.
    #[error("the mode `{mode}` is not available on this server; `local` is")]
    ModeUnavailable {
        /// Which mode.
        mode: Mode,
    },
    /// The same key came with another request.
    #[error("this idempotency key was used for another request; use a new one")]
    KeyReused,
    /// The server is about to stop.
    #[error("the server is shutting down; send the request again in a moment")]
    ShuttingDown,
    /// A fault of ours.
    #[error("something went wrong inside the server")]
    Internal(#[source] BoxError),
}

impl From<StoreError> for AppError {
    fn from(error: StoreError) -> Self {
        Self::Internal(error.into())
    }
}

impl From<EngineError> for AppError {
    fn from(error: EngineError) -> Self {
        Self::Internal(error.into())
    }
}

impl From<SecretError> for AppError {
    fn from(error: SecretError) -> Self {
        Self::Internal(error.into())
    }
}

impl From<ClusterError> for AppError {
    fn from(error: ClusterError) -> Self {
        Self::Conflict { message: error.to_string(), param: None }
    }
}

impl From<SelectionError> for AppError {
    fn from(error: SelectionError) -> Self {
        let message = error.to_string();
        match error {
            SelectionError::NotFound { .. } => Self::NotFound { message },
            SelectionError::Several { fields, .. } => {
                Self::Ambiguous { message, param: fields.first().copied().unwrap_or("instance_id") }
            }
        }
    }
}

impl From<PlanError> for AppError {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::ModeUnavailable(mode) => Self::ModeUnavailable { mode },
            PlanError::NothingToDo { message, param } => Self::Conflict { message, param },
        }
    }
}

/// A deployment that is about to change, and the target that it runs on.
struct Subject {
    deployment: Deployment,
    target: Target,
}

impl App {
    /// Opens the store and everything else that lives as long as the server, and carries on with unfinished operations.
    ///
    /// # Errors
    /// [`OpenError`] says what cannot be used.
    pub async fn open(settings: Settings) -> Result<Self, OpenError> {
        let settings = Arc::new(settings);
        let store = Store::open(&settings.store.database).await?;
        let sealer = Sealer::open(&settings)?;
        let host = Host::local(&settings)?;
        let engine =
            Engine::new(Arc::clone(&settings), store.clone(), sealer.clone(), host.clone(), executor::conclude);
        engine.carry_on().await?;
        Ok(Self(Arc::new(Handles {
            settings,
            store,
            sealer,
            host,
            engine,
            shutdown: CancellationToken::new(),
            accepting: tokio::sync::Mutex::default(),
        })))
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Stops in order: no new work, running steps come to a safe point within the grace period, the store is closed.
    pub async fn close(&self) {
        self.0.shutdown.cancel();
        self.0.engine.stop(self.0.settings.server.shutdown_grace).await;
        self.0.store.close().await;
    }

    /// Cancelled when the server is about to stop.
    #[must_use]
    pub fn shutdown_token(&self) -> CancellationToken {
        self.0.shutdown.clone()
    }

    /// Cancelled when the store is lost: the server ends, so that whoever watches it starts it again.
    #[must_use]
    pub fn lost_token(&self) -> CancellationToken {
        self.0.store.lost().clone()
    }

    /// Whether the server is about to stop.
    #[must_use]
    pub fn is_shutting_down(&self) -> bool {
        self.0.shutdown.is_cancelled()
    }

    /// Accepts a request: a change becomes an operation that is stored before it has any effect, a question is answered.
    ///
    /// # Errors
    /// [`AppError`] says why it cannot be carried out.
    pub async fn accept(
        &self,
        principal: &str,
        key: Option<RequestKey>,
        request: Request,
    ) -> Result<Accepted, AppError> {
        match &request.intent {
            Intent::List(selector) => Ok(Accepted::Report(Report::Deployments(self.matching(selector).await?))),
            Intent::Status(selector) => {
                let deployment = self.selected(selector).await?;
                let live = self.look(&deployment).await;
                Ok(Accepted::Report(Report::Status { deployment, live }))
            }
            Intent::Logs(logs) => {
                let deployment = self.selected(&logs.deployment).await?;
                Ok(Accepted::Report(Report::Logs { deployment, follow: logs.follow, tail: logs.tail }))
            }
            Intent::Cancel(selector) => self.cancel_on(selector).await,
            Intent::Deploy(_)
            | Intent::Redeploy(_)
            | Intent::Scale(_)
            | Intent::Rollback(_)
            | Intent::Decommission(_) => {
                let (app, principal) = (self.clone(), principal.to_owned());
                whole(async move { app.change(&principal, key, request).await }).await
            }
        }
    }

    async fn change(&self, principal: &str, key: Option<RequestKey>, request: Request) -> Result<Accepted, AppError> {
        let turn = self.0.accepting.lock().await;
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
        let Subject { mut deployment, target } = self.subject(&request.intent).await?;
        if let Some(operation) = store.running_operation(deployment.id).await? {
            return Err(AppError::Busy { deployment: deployment.name.to_string(), operation });
        }
        let versions = store.versions(deployment.id).await?;
        let plan = executor::plan(
            &request.intent,
            &Situation {
                deployment: &deployment,
                versions: &versions,
                replaces_environment: request.secrets.environment.is_some(),
                settings: &self.0.settings,
            },
        )?;
        if request.dry_run {
            // Looking at the world takes its time and changes nothing: nobody has to wait for it.
            drop(turn);
            return Ok(Accepted::Plan(self.preview(&plan, deployment, target).await));
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

    /// What a change is about: an existing deployment, or a new one that a deploy asks for.
    async fn subject(&self, intent: &Intent) -> Result<Subject, AppError> {
        let selector = match intent {
            Intent::Deploy(deploy) => return self.deploy_subject(deploy).await,
            Intent::Redeploy(it) => &it.deployment,
            Intent::Scale(it) => &it.deployment,
            Intent::Rollback(it) => &it.deployment,
            Intent::Decommission(it) => &it.deployment,
            Intent::Status(it) | Intent::List(it) | Intent::Cancel(it) => it,
            Intent::Logs(it) => &it.deployment,
        };
        let deployment = self.selected(selector).await?;
        let target = self.target_of(&deployment).await?;
        Ok(Subject { deployment, target })
    }

    async fn deploy_subject(&self, deploy: &Deploy) -> Result<Subject, AppError> {
        if deploy.mode != Mode::Local {
            return Err(AppError::ModeUnavailable { mode: deploy.mode });
        }
        let settings = &self.0.settings;
        self.0
            .host
            .git
            .check_allowed(&deploy.repository)
            .map_err(|error| AppError::Invalid { message: error.to_string(), param: "github_repo_url" })?;
        let cluster = match &deploy.instance_id {
            Some(id) => ClusterName::parse(id.as_str())
                .map_err(|error| AppError::Invalid { message: error.to_string(), param: "instance_id" })?,
            None => settings.kind.cluster_name.clone(),
        };
        let namespace = deploy.namespace.clone().unwrap_or_else(|| settings.kubernetes.default_namespace.clone());
        let store = &self.0.store;
        let target = store.target_by_name(Mode::Local, cluster.as_str()).await?.unwrap_or_else(|| Target {
            id: TargetId::new(),
            mode: Mode::Local,
            name: cluster.to_string(),
            made_here: false,
            locked_by: None,
        });
        let present = store.present_deployments().await?;
        let mut there = present.iter().filter(|it| it.target == target.id && it.namespace == namespace);
        let existing = match &deploy.name {
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
            // What it is built from changes when that has succeeded.
            let mut deployment = existing.clone();
            if deployment.facts.version.is_none() {
                deployment.state = DeploymentState::Deploying;
            }
            return Ok(Subject { deployment, target });
        }
        let now = Timestamp::now();
        let name = deploy
            .name
            .clone()
            .unwrap_or_else(|| derived_deployment_name(&deploy.repository, cluster.as_str(), &namespace));
        let deployment = Deployment {
            id: DeploymentId::new(),
            mode: Mode::Local,
            state: DeploymentState::Deploying,
            target: target.id,
            instance_id: cluster.to_string(),
            name,
            namespace,
            repository: deploy.repository.clone(),
            git_ref: deploy.git_ref.clone(),
            operation: OperationId::new(),
            facts: Facts::default(),
            created_at: now,
            updated_at: now,
        };
        Ok(Subject { deployment, target })
    }

    async fn target_of(&self, deployment: &Deployment) -> Result<Target, AppError> {
        let target = self.0.store.target(deployment.target).await?;
        target.ok_or_else(|| AppError::Internal(format!("no target `{}`", deployment.target).into()))
    }

    fn seal(&self, id: OperationId, secrets: &Secrets) -> Result<Vec<(String, String)>, AppError> {
        use secrecy::ExposeSecret;
        let mut sealed = Vec::new();
        if let Some(token) = &secrets.git_token {
            sealed.push((TOKEN.to_owned(), self.0.sealer.seal(&secret_context(id, TOKEN), token)?));
        }
        if let Some(environment) = &secrets.environment {
            let values: std::collections::BTreeMap<_, _> =
                environment.iter().map(|(name, value)| (name, value.expose_secret())).collect();
            let json = serde_json::to_string(&values).map_err(|error| AppError::Internal(error.into()))?;
            let context = secret_context(id, ENVIRONMENT);
            sealed.push((ENVIRONMENT.to_owned(), self.0.sealer.seal(&context, &SecretString::from(json))?));
        }
        Ok(sealed)
    }

    async fn matching(&self, selector: &Selector) -> Result<Vec<Deployment>, AppError> {
        let present = self.0.store.present_deployments().await?;
        let candidates: Vec<Candidate> = present.iter().map(candidate).collect();
        let ids: Vec<DeploymentId> = selection::matching(&candidates, selector).iter().map(|it| it.id).collect();
        Ok(present.into_iter().filter(|it| ids.contains(&it.id)).collect())
    }

    async fn selected(&self, selector: &Selector) -> Result<Deployment, AppError> {
        let present = self.0.store.present_deployments().await?;
        let candidates: Vec<Candidate> = present.iter().map(candidate).collect();
        let id = selection::select(&candidates, selector)?.id;
        let found = present.into_iter().find(|it| it.id == id);
        found.ok_or_else(|| AppError::NotFound { message: "no such deployment".to_owned() })
    }

    /// One operation.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn operation(&self, id: OperationId) -> Result<Option<Operation>, AppError> {
        Ok(self.0.store.operation(id).await?)
    }

    /// Operations, newest first.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn operations(&self, filter: &OperationFilter) -> Result<Page<Operation>, AppError> {
        Ok(self.0.store.operations(filter).await?)
    }

    /// One deployment.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn deployment(&self, id: DeploymentId) -> Result<Option<Deployment>, AppError> {
        Ok(self.0.store.deployment(id).await?)
    }

    /// Deployments, newest first.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn deployments(&self, filter: &DeploymentFilter) -> Result<Page<Deployment>, AppError> {
        Ok(self.0.store.deployments(filter).await?)
    }

    /// Replays the events after `after`, then follows; ends when the operation has ended.
    pub fn follow(
        &self,
        id: OperationId,
        after: i64,
    ) -> impl Stream<Item = Result<Event, AppError>> + Send + 'static + use<> {
        self.0.store.follow(id, after).map_err(AppError::from)
    }

    /// The steps of an operation as they stand.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn steps(&self, operation: &Operation) -> Result<Vec<StepView>, AppError> {
        let plan: Plan =
            serde_json::from_value(operation.plan.clone()).map_err(|error| AppError::Internal(error.into()))?;
        Ok(steps::views(&plan, &self.0.store.events(operation.id, 0).await?))
    }

    /// Asks an operation to stop and to take back what it did.
    ///
    /// # Errors
    /// [`AppError::Conflict`] when it has ended or cannot be taken back.
    pub async fn cancel(&self, id: OperationId) -> Result<Operation, AppError> {
        let operation = self.existing_operation(id).await?;
        if operation.action == crate::id::Action::Decommission && !operation.state.is_ended() {
            return Err(AppError::Conflict {
                message: "what a decommission has removed cannot be taken back; wait until it has ended".to_owned(),
                param: None,
            });
        }
        let engine = self.0.engine.clone();
        if !whole(async move { Ok(engine.cancel(id).await?) }).await? {
            return Err(AppError::Conflict {
                message: format!("operation `{id}` has ended ({})", operation.state.as_str()),
                param: None,
            });
        }
        self.existing_operation(id).await
    }

    async fn cancel_on(&self, selector: &Selector) -> Result<Accepted, AppError> {
        let deployment = self.selected(selector).await?;
        let Some(id) = self.0.store.running_operation(deployment.id).await? else {
            return Err(AppError::Conflict {
                message: format!("nothing is running on `{}`", deployment.name),
                param: None,
            });
        };
        self.cancel(id).await?;
        Ok(Accepted::Report(Report::Cancelled(id)))
    }

    /// Tries again what a stuck operation could not take back.
    ///
    /// # Errors
    /// [`AppError::Conflict`] when it is not stuck, or something else has changed the deployment since.
    pub async fn resume(&self, id: OperationId) -> Result<Operation, AppError> {
        let app = self.clone();
        whole(async move { app.resume_stuck(id).await }).await
    }

    async fn resume_stuck(&self, id: OperationId) -> Result<Operation, AppError> {
        let _turn = self.0.accepting.lock().await;
        let operation = self.existing_operation(id).await?;
        let conflict = |message: String| AppError::Conflict { message, param: None };
        if operation.state != OperationState::Stuck {
            return Err(conflict(format!("operation `{id}` is not stuck but {}", operation.state.as_str())));
        }
        let deployment = self.0.store.deployment(operation.deployment).await?;
        if deployment.is_none_or(|it| it.operation != id) {
            return Err(conflict("a later operation has changed the deployment since".to_owned()));
        }
        self.0.engine.resume(operation).await?;
        self.existing_operation(id).await
    }

    async fn existing_operation(&self, id: OperationId) -> Result<Operation, AppError> {
        let operation = self.0.store.operation(id).await?;
        operation.ok_or_else(|| AppError::NotFound { message: format!("there is no operation `{id}`") })
    }

    /// What an application prints, line by line.
    ///
    /// # Errors
    /// [`AppError::Conflict`] when its cluster cannot be reached.
    pub async fn logs(
        &self,
        deployment: &Deployment,
        tail: u32,
        follow: bool,
    ) -> Result<BoxStream<'static, Result<String, AppError>>, AppError> {
        let kube = self.kube(deployment).await?;
        let span = if follow { LogSpan::Follow(tail) } else { LogSpan::Last(tail) };
        let lines = kube.logs(&deployment.name, &deployment.namespace, span).await;
        let lines = lines.map_err(|error| AppError::Conflict { message: error.to_string(), param: None })?;
        Ok(lines.map(|line| line.map(|line| line.text).map_err(|error| AppError::Internal(error.into()))).boxed())
    }

    async fn kube(&self, deployment: &Deployment) -> Result<Kube, AppError> {
        let cluster = ClusterName::parse(&deployment.instance_id)
            .map_err(|error| AppError::Conflict { message: error.to_string(), param: Some("instance_id") })?;
        let folder = self.0.settings.store.workspace.join("targets").join(deployment.target.to_string());
        Ok(self.0.host.kube(&cluster, &folder).await?)
    }

    /// How a deployment is right now, one line each.
    async fn look(&self, deployment: &Deployment) -> Vec<String> {
        let mut lines = Vec::new();
        if let Ok(Some(id)) = self.0.store.running_operation(deployment.id).await {
            lines.push(format!("operation `{id}` is running on it"));
        }
        let kube = match self.kube(deployment).await {
            Ok(kube) => kube,
            Err(error) => {
                lines.push(format!("its cluster cannot be asked: {error}"));
                return lines;
            }
        };
        match kube.current(&deployment.name, &deployment.namespace).await {
            Ok(Some(live)) => {
                lines.push(format!("{} of {} replicas serve", live.ready, live.replicas));
                if !live.settled {
                    lines.push(
                        "the cluster is still rolling out a change, or a pod is not well; look at its logs".into(),
                    );
                }
            }
            Ok(None) => lines.push("it is not on the cluster: somebody deleted it there; deploy it again".to_owned()),
            Err(error) => lines.push(format!("its cluster cannot be asked: {error}")),
        }
        lines
    }

    /// What must be right for the server to work.
    pub async fn ready(&self) -> Vec<Check> {
        let handles = &self.0;
        let (store, docker, kind) =
            tokio::join!(handles.store.ping(), handles.host.docker.ping(), handles.host.kind.version());
        let text = |error: &dyn std::error::Error| error.to_string();
        vec![
            Check { name: "store", result: store.map_err(|error| text(&error)) },
            Check { name: "docker", result: docker.map_err(|error| text(&error)) },
            Check { name: "kind", result: kind.map(drop).map_err(|error| text(&error)) },
        ]
    }

    async fn preview(&self, plan: &Plan, deployment: Deployment, target: Target) -> PlanView {
        let name = deployment.name.to_string();
        let looked = self.0.engine.look_ahead(plan, deployment, target).await;
        let steps: Vec<PlannedStep> = plan
            .dependencies()
            .into_iter()
            .map(|(step, after)| {
                let found = looked.get(step.name());
                PlannedStep {
                    step: step.name().to_owned(),
                    title: step.title(),
                    after: after.into_iter().map(str::to_owned).collect(),
                    already: found.and_then(|it| it.already),
                    note: found.and_then(|it| it.note.clone()),
                }
            })
            .collect();
        preview::view(name, steps)
    }
}

/// Does something to its end, also when whoever asked for it goes away: what is stored is also begun.
async fn whole<T: Send + 'static>(
    work: impl Future<Output = Result<T, AppError>> + Send + 'static,
) -> Result<T, AppError> {
    tokio::spawn(work.in_current_span()).await.unwrap_or_else(|error| Err(AppError::Internal(error.into())))
}

fn candidate(deployment: &Deployment) -> Candidate {
    Candidate {
        id: deployment.id,
        mode: deployment.mode,
        instance_id: deployment.instance_id.clone(),
        name: deployment.name.clone(),
        namespace: deployment.namespace.clone(),
        repository: deployment.repository.clone(),
        public_ip: deployment.facts.public_ip.as_ref().and_then(|ip| ip.parse().ok()),
    }
}
