//! App: every long-lived handle, built from settings, and the few things that the outside asks of them.

use std::sync::Arc;

use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, TryStreamExt};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::cloud::kube::logs::LogSpan;
use crate::config::Settings;
use crate::engine::Engine;
use crate::event::{Event, OperationState};
use crate::executor;
use crate::host::{Host, Hosts};
use crate::id::{DeploymentId, OperationId};
use crate::intent::selection::{self, Candidate};
use crate::intent::{AwsCredentials, Intent, Request, Selector, Source};
use crate::llm::Model;
use crate::plan::Plan;
use crate::reply::view::{PlanView, Report, Resumed, StepView};
use crate::secret::Sealer;
use crate::store::Store;
use crate::store::deployments::DeploymentFilter;
use crate::store::operations::{KeyReused, OperationFilter, RequestKey};
use crate::store::page::{Page, PageRequest};
use crate::store::record::{Deployment, Operation};
use crate::tool;

mod adopt;
mod change;
mod dry_run;
mod error;
mod explain;
mod live_status;
mod retention;
mod steps;
mod target;

pub use error::{AppError, BoxError, OpenError};

/// Every long-lived handle. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App(Arc<Handles>);

#[derive(Debug)]
struct Handles {
    settings: Arc<Settings>,
    store: Store,
    sealer: Sealer,
    hosts: Hosts,
    engine: Engine,
    model: Option<Model>,
    shutdown: CancellationToken,
    /// Held from the planning of a request until its operation is stored, so that two requests cannot both find the
    /// same deployment idle.
    accept_lock: tokio::sync::Mutex<()>,
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
    /// It is only planned until the person has confirmed it.
    Unconfirmed(PlanView),
    /// It was a question.
    Report(Report),
}

/// One thing that must be right for the server to work.
#[derive(Debug, Clone)]
pub struct ReadinessCheck {
    /// What was looked at.
    pub name: &'static str,
    /// What is wrong with it, and what to do.
    pub result: Result<(), String>,
}

impl App {
    /// Opens the store and everything else that lives as long as the server, and carries on with unfinished operations.
    ///
    /// # Errors
    /// [`OpenError`] says what cannot be used.
    pub async fn open(settings: Settings) -> Result<Self, OpenError> {
        let settings = Arc::new(settings);
        let store = Store::open(&settings.store.database).await?;
        for name in ["deployments", "targets", "operations"] {
            let folder = settings.store.workspace.join(name);
            tool::folder::make_private(&folder).map_err(|source| OpenError::Workspace { folder, source })?;
        }
        let sealer = Sealer::open(&settings)?;
        let hosts = Hosts::new(Host::local(&settings)?, Arc::clone(&settings));
        let engine =
            Engine::new(Arc::clone(&settings), store.clone(), sealer.clone(), hosts.clone(), executor::conclude);
        engine.recover().await?;
        let model = Model::from_settings(&settings);
        let shutdown = CancellationToken::new();
        tokio::spawn(retention::run_daily(store.clone(), settings.store.workspace.clone(), shutdown.clone()));
        Ok(Self(Arc::new(Handles {
            settings,
            store,
            sealer,
            hosts,
            engine,
            model,
            shutdown,
            accept_lock: tokio::sync::Mutex::default(),
        })))
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The chat model, if the settings name one.
    #[must_use]
    pub fn model(&self) -> Option<&Model> {
        self.0.model.as_ref()
    }

    /// The operation that the same request, sent before, has led to.
    ///
    /// # Errors
    /// [`AppError::KeyReused`] when the key came with another request.
    pub async fn operation_for_key(&self, principal: &str, key: &RequestKey) -> Result<Option<OperationId>, AppError> {
        let found = self.0.store.operation_for_key(principal, key, Timestamp::now()).await?;
        found.map_err(|KeyReused| AppError::KeyReused)
    }

    /// Stops in order: no new work; within the grace period running steps come to a safe point and `answers` that are
    /// under way, which still read the store, are given; the store is closed.
    pub async fn close(&self, answers: impl Future) {
        self.0.shutdown.cancel();
        let grace = self.0.settings.server.shutdown_grace;
        let _ = tokio::join!(self.0.engine.stop(grace), tokio::time::timeout(grace, answers));
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

    /// Accepts a request: a change becomes an operation that is stored before it has any effect, a question is
    /// answered.
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
                let aws = request.secrets.aws.as_ref();
                let deployment = match self.selected_or_adopted(selector, aws).await {
                    // A sentence (unlike explicit fields, which get 404) may be about a deployment that was just undone
                    // or removed: it is answered with the last operation on it.
                    Err(AppError::NotFound { message }) if request.source != Source::Fields => {
                        let past = self.last_operation(selector).await?;
                        return past.map(Accepted::Report).ok_or(AppError::NotFound { message });
                    }
                    found => found?,
                };
                let (live, failure) = tokio::join!(self.live_status(&deployment, aws), self.explain(&deployment, aws));
                Ok(Accepted::Report(Report::Status { deployment, live, failure }))
            }
            Intent::Logs(logs) => {
                let deployment = self.selected_or_adopted(&logs.deployment, request.secrets.aws.as_ref()).await?;
                Ok(Accepted::Report(Report::Logs {
                    deployment,
                    follow: logs.follow,
                    tail: logs.tail,
                    aws: request.secrets.aws,
                }))
            }
            Intent::Cancel(selector) => self.cancel_on(selector).await,
            Intent::Deploy(_)
            | Intent::Redeploy(_)
            | Intent::Scale(_)
            | Intent::Rollback(_)
            | Intent::Decommission(_) => {
                let (app, principal) = (self.clone(), principal.to_owned());
                run_to_completion(async move { app.change(&principal, key, request).await }).await
            }
        }
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

    /// The deployment that is meant; one on an instance that this store knows nothing of is taken over first.
    async fn selected_or_adopted(
        &self,
        selector: &Selector,
        aws: Option<&AwsCredentials>,
    ) -> Result<Deployment, AppError> {
        match self.selected(selector).await {
            Err(AppError::NotFound { .. }) if Box::pin(self.adopt(selector, aws)).await? => {
                self.selected(selector).await
            }
            result => result,
        }
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
    pub async fn operations(
        &self,
        filter: &OperationFilter,
        wanted: &PageRequest<OperationId>,
    ) -> Result<Page<Operation>, AppError> {
        Ok(self.0.store.operations(filter, wanted).await?)
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
    pub async fn deployments(
        &self,
        filter: &DeploymentFilter,
        wanted: &PageRequest<DeploymentId>,
    ) -> Result<Page<Deployment>, AppError> {
        Ok(self.0.store.deployments(filter, wanted).await?)
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
        if !run_to_completion(async move { Ok(engine.cancel(id).await?) }).await? {
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

    /// Looks again at once for what a waiting operation waits for; tries the undo of a stuck one again.
    ///
    /// # Errors
    /// [`AppError::Conflict`] when it is neither waiting nor stuck, or something else has changed the deployment since.
    pub async fn resume(&self, id: OperationId) -> Result<(Operation, Resumed), AppError> {
        let app = self.clone();
        run_to_completion(async move { app.resume_in_turn(id).await }).await
    }

    async fn resume_in_turn(&self, id: OperationId) -> Result<(Operation, Resumed), AppError> {
        let _turn = self.0.accept_lock.lock().await;
        let operation = self.existing_operation(id).await?;
        let conflict = |message: String| AppError::Conflict { message, param: None };
        if operation.state == OperationState::Waiting {
            self.0.engine.wake(id);
            return Ok((operation, Resumed::Check));
        }
        if operation.state != OperationState::Stuck {
            let state = operation.state.as_str();
            let next = if operation.ended_at.is_some() {
                "it has ended; to have it done again, send its request again".to_owned()
            } else {
                format!("it goes on by itself; follow it with `GET /v1/operations/{id}/events`")
            };
            return Err(conflict(format!("operation `{id}` is neither stuck nor waiting but {state}: {next}")));
        }
        let deployment = self.0.store.deployment(operation.deployment).await?;
        if deployment.is_none_or(|it| it.operation != id) {
            return Err(conflict("a later operation has changed the deployment since".to_owned()));
        }
        self.0.engine.retry_undo(operation).await?;
        Ok((self.existing_operation(id).await?, Resumed::Undo))
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
        aws: Option<&AwsCredentials>,
    ) -> Result<BoxStream<'static, Result<String, AppError>>, AppError> {
        let kube = self.kube(deployment, aws).await?;
        let span = if follow { LogSpan::Follow(tail) } else { LogSpan::Last(tail) };
        let lines = kube.logs(&deployment.name, &deployment.namespace, span).await;
        let lines = lines.map_err(|error| AppError::Conflict { message: error.to_string(), param: None })?;
        Ok(lines.map(|line| line.map(|line| line.text).map_err(|error| AppError::Internal(error.into()))).boxed())
    }

    /// What must be right for the server to work.
    pub async fn readiness(&self) -> Vec<ReadinessCheck> {
        let handles = &self.0;
        let host = handles.hosts.local();
        let (store, docker, kind) = tokio::join!(handles.store.ping(), host.docker.ping(), host.kind.version());
        let text = |error: &dyn std::error::Error| error.to_string();
        vec![
            ReadinessCheck { name: "store", result: store.map_err(|error| text(&error)) },
            ReadinessCheck { name: "docker", result: docker.map_err(|error| text(&error)) },
            ReadinessCheck { name: "kind", result: kind.map(drop).map_err(|error| text(&error)) },
        ]
    }
}

fn candidate(deployment: &Deployment) -> Candidate {
    Candidate {
        id: deployment.id,
        mode: deployment.mode,
        target_name: deployment.target_name.clone(),
        application_name: deployment.name.clone(),
        namespace: deployment.namespace.clone(),
        repository: deployment.repository.clone(),
        public_ip: deployment.facts.public_ip.as_ref().and_then(|ip| ip.parse().ok()),
    }
}

/// Spawns the future as a task: hyper drops the future of a handler when its client disconnects, and an operation that
/// is stored must be started, too.
async fn run_to_completion<T: Send + 'static>(
    work: impl Future<Output = Result<T, AppError>> + Send + 'static,
) -> Result<T, AppError> {
    tokio::spawn(work.in_current_span()).await.unwrap_or_else(|error| Err(AppError::Internal(error.into())))
}
