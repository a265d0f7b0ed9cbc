//! App: every long-lived handle, built from settings, and the few things that the outside asks of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::{Stream, TryStreamExt};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::access::Caller;
use crate::cloud::price::Prices;
use crate::config::Settings;
use crate::engine::Engine;
use crate::event::Event;
use crate::executor;
use crate::host::{Host, Hosts};
use crate::id::{Action, DeploymentId, DeploymentName, OperationId};
use crate::intent::selection::{self, Candidate, SelectionError};
use crate::intent::{AwsCredentials, Intent, Request, Selector, Source};
use crate::llm::Model;
use crate::llm::embedding::EmbeddingModel;
use crate::reply::view::{Proposal, Report};
use crate::secret::Sealer;
use crate::step::unrecorded_workspaces;
use crate::store::Store;
use crate::store::deployments::DeploymentFilter;
use crate::store::operations::{KeyReused, RequestKey};
use crate::store::page::{Page, PageRequest};
use crate::store::record::{Deployment, Operation};
use crate::store::unreadable::UnreadableDeployment;
use crate::tool;

mod accept;
mod audit;
mod adopt;
mod backlog;
mod change;
pub mod cloud_parts;
pub mod cost;
mod dry_run;
mod preview;
mod error;
mod explain;
mod health;
mod inventory;
pub mod issuer_sign_in;
pub mod keys;
mod live_status;
mod locate;
pub mod looks;
pub mod logs;
pub mod oidc;
pub mod overview;
mod permission;
mod plan_facts;
mod readiness;
mod refusal;
mod removal;
pub mod resume;
mod question;
mod retention;
pub mod sessions;
mod steps;
mod stored_answers;
mod target;
mod task;
mod undo;

use backlog::Backlog;
pub use error::{AppError, BoxError, OpenError};
use keys::Keys;
use looks::Looks;
use readiness::Readiness;
pub use readiness::ReadinessCheck;
use refusal::RecentRefusals;
use task::run_to_completion;

/// Every long-lived handle. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App(Arc<Handles>);

#[derive(Debug)]
struct Handles {
    settings: Arc<Settings>,
    store: Store,
    sealer: Sealer,
    hosts: Hosts,
    prices: Prices,
    engine: Engine,
    model: Option<Model>,
    embedding_model: Option<EmbeddingModel>,
    shutdown: CancellationToken,
    /// Held from the planning of a request until its operation is stored, so that two requests cannot both find the
    /// same deployment idle.
    accept_lock: tokio::sync::Mutex<()>,
    readiness: Readiness,
    backlog: Backlog,
    looks: Looks,
    keys: Keys,
    refusals: Arc<RecentRefusals>,
}

/// What became of a request.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one per request, and it is taken apart at once")]
pub enum Accepted {
    /// It is carried out, or was before, by this operation; one that is about several deployments by one for each.
    Operations(Vec<OperationId>),
    /// It was only planned.
    Plan(Proposal),
    /// It is only planned until the person has confirmed it.
    Unconfirmed(Proposal),
    /// It was a question.
    Report(Report),
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
        unrecorded_workspaces::record(&store, &settings).await?;
        let sealer = Sealer::open(&settings)?;
        let hosts = Hosts::new(Host::local(&settings)?, Arc::clone(&settings));
        let prices = Prices::default();
        let engine = Engine::new(
            Arc::clone(&settings),
            store.clone(),
            sealer.clone(),
            hosts.clone(),
            prices.clone(),
            executor::conclude,
        );
        engine.recover().await?;
        let model = Model::from_settings(&settings);
        let embedding_model = EmbeddingModel::from_settings(&settings);
        let shutdown = CancellationToken::new();
        let readiness = Readiness::new(store.clone(), hosts.local().clone());
        let backlog = Backlog::new(store.clone());
        tokio::spawn(retention::run(store.clone(), Arc::clone(&settings), shutdown.clone()));
        let refusals = Arc::new(RecentRefusals::default());
        let keys = Keys::load(store.clone(), &settings, Arc::clone(&refusals)).await?;
        let app = Self(Arc::new(Handles {
            settings,
            store,
            sealer,
            hosts,
            prices,
            engine,
            model,
            embedding_model,
            shutdown,
            accept_lock: tokio::sync::Mutex::default(),
            readiness,
            backlog,
            looks: Looks::default(),
            keys,
            refusals,
        }));
        tokio::spawn(app.keys().clone().watch(app.shutdown_token()));
        Ok(app)
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The keys of callers.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// The chat model, if the settings name one.
    #[must_use]
    pub fn model(&self) -> Option<&Model> {
        self.0.model.as_ref()
    }

    /// The embedding model, if the settings name one.
    #[must_use]
    pub fn embedding_model(&self) -> Option<&EmbeddingModel> {
        self.0.embedding_model.as_ref()
    }

    /// The operations that the same request, sent before, has led to.
    ///
    /// # Errors
    /// [`AppError::KeyReused`] when the key came with another request.
    pub async fn operations_for_key(&self, caller: &Caller, key: &RequestKey) -> Result<Vec<OperationId>, AppError> {
        let found = self.0.store.operations_for_key(&caller.principal, key, Timestamp::now()).await?;
        found.map_err(|KeyReused| AppError::KeyReused)
    }

    /// Keeps what one request of a conversation leaves for the next, for an hour, under an id.
    ///
    /// # Errors
    /// [`AppError::Internal`] when it cannot be sealed or stored.
    pub async fn keep_conversation_state(
        &self,
        caller: &Caller,
        id: &str,
        state: &impl Serialize,
    ) -> Result<(), AppError> {
        let principal = caller.principal.as_str();
        let text = serde_json::to_string(state).map_err(|error| AppError::Internal(error.into()))?;
        let sealed = self.0.sealer.seal(&state_context(principal, id), &SecretString::from(text))?;
        Ok(self.0.store.keep_conversation_state(principal, id, &sealed, Timestamp::now()).await?)
    }

    /// What was kept for this principal; nothing when it is too old, was sealed with another key, or is of another
    /// version of this program.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn conversation_state<T: DeserializeOwned>(
        &self,
        caller: &Caller,
        id: &str,
    ) -> Result<Option<T>, AppError> {
        let principal = caller.principal.as_str();
        let Some(sealed) = self.0.store.conversation_state(principal, id, Timestamp::now()).await? else {
            return Ok(None);
        };
        let state = self.0.sealer.unseal(&state_context(principal, id), &sealed).ok();
        Ok(state.and_then(|it| serde_json::from_str(it.expose_secret()).ok()))
    }

    /// Forgets what was kept for this principal under an id.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn forget_conversation_state(&self, caller: &Caller, id: &str) -> Result<(), AppError> {
        Ok(self.0.store.forget_conversation_state(&caller.principal, id).await?)
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
        caller: &Caller,
        key: Option<RequestKey>,
        mut request: Request,
    ) -> Result<Accepted, AppError> {
        if let Intent::Deploy(deploy) = &mut request.intent
            && deploy.namespace.is_none()
        {
            deploy.namespace = caller.namespace().cloned();
        }
        self.permit_request(caller, &request).await?;
        if let Some((param, what)) = request.secrets.mark() {
            let message =
                format!("`{what}` is `***`, which stands for a secret that is not kept: send its value again");
            return Err(AppError::Invalid { message, param });
        }
        let request = Box::pin(self.locate(caller, request)).await?;
        let source = request.source;
        match &request.intent {
            Intent::List(selector) => {
                Ok(Accepted::Report(Report::Deployments(self.listed(caller, selector, source).await?)))
            }
            Intent::Cost(selector) => {
                let deployments = self.listed(caller, selector, source).await?;
                Ok(Accepted::Report(Report::Costs(self.costs(deployments).await?)))
            }
            Intent::Status(selector) => {
                let aws = request.secrets.aws.as_ref();
                let deployment = match self.selected_or_adopted(caller, selector, source, aws).await {
                    // A sentence (unlike explicit fields, which get 404) may be about a deployment that was just undone
                    // or removed: it is answered with the last operation on it.
                    Err(error @ AppError::Selection(SelectionError::NotFound { .. })) if source != Source::Fields => {
                        let past = self.past_operation(caller, selector, source).await?;
                        return past.filter(|it| it.0.state.is_ended()).map_or(
                            Err(error),
                            |(operation, deployment)| {
                                let (operation, deployment) = (Box::new(operation), Box::new(deployment));
                                Ok(Accepted::Report(Report::LastOperation { operation, deployment }))
                            },
                        );
                    }
                    found => found?,
                };
                let reached = self.reach(&deployment, aws, None).await;
                let (live, failure) =
                    tokio::join!(self.live_status(&deployment, &reached), self.explain(&deployment, &reached));
                Ok(Accepted::Report(Report::Status { deployment, live, failure }))
            }
            Intent::Logs(logs) => {
                let aws = request.secrets.aws.as_ref();
                let deployment = self.selected_or_adopted(caller, &logs.deployment, source, aws).await?;
                Ok(Accepted::Report(Report::Logs {
                    deployment,
                    follow: logs.follow,
                    tail: logs.tail,
                    aws: request.secrets.aws,
                }))
            }
            Intent::Cancel(selector) => self.cancel_on(caller, selector, source).await,
            Intent::Deploy(_)
            | Intent::Redeploy(_)
            | Intent::Scale(_)
            | Intent::Restart(_)
            | Intent::Rollback(_)
            | Intent::Decommission(_)
            | Intent::DecommissionAll(_)
            | Intent::Undo(_) => {
                let (app, caller) = (self.clone(), caller.clone());
                run_to_completion(async move { Box::pin(app.change(&caller, key, request)).await }).await
            }
        }
    }

    /// The names of what is deployed: in a sentence a word that is one is a name.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn deployment_names(&self, caller: &Caller) -> Result<Vec<DeploymentName>, AppError> {
        Ok(self.visible_deployments(caller).await?.into_iter().map(|it| it.name).collect())
    }

    /// Whether what a person said names one deployment.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn names_one(&self, caller: &Caller, selector: &Selector) -> Result<bool, AppError> {
        match self.selected(caller, selector, Source::Sentence).await {
            Ok(_) => Ok(true),
            Err(AppError::Selection(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn matching(
        &self,
        caller: &Caller,
        selector: &Selector,
        source: Source,
    ) -> Result<Vec<Deployment>, AppError> {
        let present = self.visible_deployments(caller).await?;
        let candidates: Vec<Candidate> = present.iter().map(candidate).collect();
        let meant = selection::matching(&candidates, selector, source);
        let ids: Vec<DeploymentId> = meant.iter().map(|it| it.id).collect();
        Ok(present.into_iter().filter(|it| ids.contains(&it.id)).collect())
    }

    /// What a question about several deployments is about. Whoever asks in words for what is not there hears what is.
    async fn listed(&self, caller: &Caller, selector: &Selector, source: Source) -> Result<Vec<Deployment>, AppError> {
        let listed = self.matching(caller, selector, source).await?;
        if listed.is_empty() && source != Source::Fields && !self.visible_deployments(caller).await?.is_empty() {
            self.selected(caller, selector, source).await?;
        }
        Ok(listed)
    }

    async fn selected(&self, caller: &Caller, selector: &Selector, source: Source) -> Result<Deployment, AppError> {
        let present = self.visible_deployments(caller).await?;
        let candidates: Vec<Candidate> = present.iter().map(candidate).collect();
        let id = selection::select(&candidates, selector, source)?.id;
        let found = present.into_iter().find(|it| it.id == id);
        found.ok_or_else(|| AppError::NotFound { message: "no such deployment".to_owned() })
    }

    /// The deployment that is meant and that something is done with.
    async fn selected_for(
        &self,
        caller: &Caller,
        action: Action,
        selector: &Selector,
        source: Source,
    ) -> Result<Deployment, AppError> {
        let selected = self.selected(caller, selector, source).await;
        let names_one = selector.application_name.is_some() || selector.target_name.is_some();
        let is_missing = matches!(selected, Err(AppError::Selection(SelectionError::NotFound { .. })));
        if caller.limits().is_some() && names_one && is_missing {
            let present = self.0.store.present_deployments().await?;
            let candidates: Vec<Candidate> = present.iter().map(candidate).collect();
            if let Ok(foreign) = selection::select(&candidates, selector, source).map(|it| it.id)
                && let Some(deployment) = present.iter().find(|it| it.id == foreign)
            {
                self.note_out_of_sight(caller, action, deployment, None).await?;
            }
        }
        selected
    }

    /// The deployment that is meant; one on an instance that this store knows nothing of is taken over first.
    async fn selected_or_adopted(
        &self,
        caller: &Caller,
        selector: &Selector,
        source: Source,
        aws: Option<&AwsCredentials>,
    ) -> Result<Deployment, AppError> {
        match self.selected(caller, selector, source).await {
            Err(AppError::Selection(SelectionError::NotFound { .. }))
                if Self::may_take_over(caller) && Box::pin(self.adopt(caller, selector, aws)).await? =>
            {
                self.selected(caller, selector, source).await
            }
            result => result,
        }
    }

    /// One operation, if it is in sight.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn operation(&self, caller: &Caller, id: OperationId) -> Result<Option<Operation>, AppError> {
        Ok(self.visible_operation(caller, id).await?.map(|it| self.told(it)))
    }

    /// One deployment, if it is in sight.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn deployment(&self, caller: &Caller, id: DeploymentId) -> Result<Option<Deployment>, AppError> {
        if caller.limits().is_some() {
            let found = self.0.store.deployments_by_id(&BTreeSet::from([id])).await?;
            if !found.get(&id).is_some_and(|it| Self::is_seen(caller, it)) {
                return Ok(None);
            }
        }
        Ok(self.0.store.deployment(id).await?)
    }

    /// Deployments, newest first.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn deployments(
        &self,
        caller: &Caller,
        filter: &DeploymentFilter,
        wanted: &PageRequest<DeploymentId>,
    ) -> Result<Page<Result<Deployment, UnreadableDeployment>>, AppError> {
        Ok(self.0.store.deployments(filter, caller.limits(), wanted).await?)
    }

    /// Replays the events after `after`, then follows; ends when the operation has ended.
    pub fn follow(
        &self,
        operation: &Operation,
        after: i64,
    ) -> impl Stream<Item = Result<Event, AppError>> + Send + 'static + use<> {
        self.0.store.follow(operation.id, after).map_err(AppError::from)
    }

    /// The events of an operation so far.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn events(&self, operation: &Operation) -> Result<Vec<Event>, AppError> {
        Ok(self.0.store.events(operation.id, 0).await?)
    }

    /// Gives the events of an operation so far to `take`, oldest first: a long history is never in memory as a whole.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn replay(&self, operation: &Operation, take: impl FnMut(Event) + Send) -> Result<(), AppError> {
        Ok(self.0.store.replay(operation.id, take).await?)
    }

    async fn cancel_on(&self, caller: &Caller, selector: &Selector, source: Source) -> Result<Accepted, AppError> {
        let deployment = match self.selected_for(caller, Action::Cancel, selector, source).await {
            // "Cancel that" means the one that something is going on with.
            Err(AppError::Selection(SelectionError::Several { fitting, fields })) if source != Source::Fields => {
                let mut busy = Vec::new();
                for it in &fitting {
                    if self.0.store.running_operation(it.id).await?.is_some() {
                        busy.push(it.clone());
                    }
                }
                let [only] = busy.as_slice() else {
                    if busy.is_empty() {
                        return Err(AppError::Conflict { message: "nothing is going on".to_owned(), param: None });
                    }
                    return Err(SelectionError::Several { fitting: busy, fields }.into());
                };
                self.deployment(caller, only.id)
                    .await?
                    .ok_or(AppError::NotFound { message: "it is gone".to_owned() })?
            }
            found => found?,
        };
        let Some(id) = self.0.store.running_operation(deployment.id).await? else {
            if self.is_stuck_with_secrets(deployment.operation).await? {
                self.cancel(caller, deployment.operation).await?;
                return Ok(Accepted::Report(Report::Cancelled(deployment.operation)));
            }
            return Err(AppError::Conflict {
                message: format!("nothing is running on `{}`", deployment.name),
                param: None,
            });
        };
        self.cancel(caller, id).await?;
        Ok(Accepted::Report(Report::Cancelled(id)))
    }

    async fn visible_operation(&self, caller: &Caller, id: OperationId) -> Result<Option<Operation>, AppError> {
        match caller.limits() {
            Some(rights) if !self.0.store.is_operation_within(id, rights).await? => Ok(None),
            Some(_) | None => Ok(self.0.store.operation(id).await?),
        }
    }

    /// An operation that something is done with.
    async fn existing_operation(&self, caller: &Caller, id: OperationId) -> Result<Operation, AppError> {
        let operation = self.visible_operation(caller, id).await?;
        if operation.is_none()
            && caller.limits().is_some()
            && let Some(foreign) = self.0.store.operation(id).await?
            && let Some(deployment) = self.0.store.deployment(foreign.deployment).await?
        {
            self.note_out_of_sight(caller, foreign.action, &deployment, Some(id)).await?;
        }
        operation.ok_or(AppError::OperationNotFound(id))
    }

    /// What must be right for the server to work, as it was seconds ago at the most.
    pub async fn readiness(&self) -> Vec<ReadinessCheck> {
        self.0.readiness.checks().await
    }

    /// Brings what the metrics tell of open operations up to date, to some seconds.
    pub async fn measure_backlog(&self) {
        self.0.backlog.measure().await;
    }
}

fn state_context(principal: &str, id: &str) -> String {
    format!("{id} in a conversation of {principal}")
}

fn candidate(deployment: &Deployment) -> Candidate {
    Candidate {
        id: deployment.id,
        mode: deployment.mode,
        target_name: deployment.target_name.clone(),
        application_name: deployment.name.clone(),
        namespace: deployment.namespace.clone(),
        repository: deployment.repository.clone(),
        source_directory: deployment.source_directory.clone(),
        public_ip: deployment.facts.public_ip.as_ref().and_then(|ip| ip.parse().ok()),
    }
}
