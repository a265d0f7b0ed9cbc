//! The engine: runs a plan forwards, and backwards when a step fails; nothing above or below knows which one it is.
//!
//! What every engine owes: a step is recorded before and after; a killed server carries on where it was; a failed
//! plan is unwound including the step that failed; when the store is lost nothing more is done.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::config::Settings;
use crate::event::{EventKind, Failure, OperationState};
use crate::host::Hosts;
use crate::id::OperationId;
use crate::plan::Plan;
use crate::secret::Sealer;
use crate::step::StepAction;
use crate::store::operations::OperationEnd;
use crate::store::record::{Deployment, DeploymentState, Operation, Target};
use crate::store::{Store, StoreError};

mod embedded;
mod look_ahead;
mod run;

use run::Run;

/// Runs operations. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine(Arc<Shared>);

/// What all runs share.
#[derive(Debug)]
struct Shared {
    settings: Arc<Settings>,
    store: Store,
    sealer: Sealer,
    hosts: Hosts,
    conclude: Conclude,
    /// Running operations and what reaches each.
    running: Mutex<HashMap<OperationId, Reach>>,
    tasks: TaskTracker,
    /// Cancelled when no further step may begin.
    stopping: CancellationToken,
    /// Steps that are at work right now.
    working: tokio::sync::watch::Sender<usize>,
}

/// What reaches a running operation from outside.
#[derive(Debug, Clone)]
struct Reach {
    /// Cancels it.
    cancel: CancellationToken,
    /// Lets it look again at what it waits for.
    resumed: Arc<Notify>,
}

/// Turns what happened into what is stored at the end; pure.
pub type Conclude = fn(&Finished) -> OperationEnd;

/// What an engine hands over when a plan has come to its end.
#[derive(Debug)]
pub struct Finished {
    /// The operation.
    pub operation: Operation,
    /// Its deployment, as it was when the operation was accepted.
    pub deployment: Deployment,
    /// Its target.
    pub target: Target,
    /// How it ended.
    pub result: Result<(), Unwound>,
    /// What the steps left behind, by step name (of those that succeeded).
    pub outputs: BTreeMap<String, Value>,
    /// What was removed or restored while unwinding.
    pub removed: Vec<String>,
    /// Warnings of all steps.
    pub warnings: Vec<String>,
}

/// How a plan that did not succeed was taken back.
#[derive(Debug, Clone)]
pub struct Unwound {
    /// Why it did not succeed.
    pub failure: Failure,
    /// A person asked for it.
    pub cancelled: bool,
    /// An undo failed, for this reason.
    pub stuck: Option<Failure>,
}

impl Finished {
    /// What a step left behind.
    #[must_use]
    pub fn output<A: StepAction>(&self) -> Option<A::Output> {
        self.outputs.get(A::NAME).and_then(|value| serde_json::from_value(value.clone()).ok())
    }
}

/// Says why an operation cannot be run, cancelled or resumed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is stored of the operation cannot be understood.
    #[error("the operation `{operation}` cannot be read: {what}")]
    Unreadable {
        /// The operation.
        operation: OperationId,
        /// What is wrong.
        what: String,
    },
}

impl Engine {
    /// An engine that does nothing yet.
    #[must_use]
    pub fn new(settings: Arc<Settings>, store: Store, sealer: Sealer, hosts: Hosts, conclude: Conclude) -> Self {
        Self(Arc::new(Shared {
            settings,
            store,
            sealer,
            hosts,
            conclude,
            running: Mutex::default(),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            working: tokio::sync::watch::Sender::new(0),
        }))
    }

    /// Carries on with every operation that has not ended.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn carry_on(&self) -> Result<usize, EngineError> {
        let unfinished = self.0.store.unfinished_operations().await?;
        let count = unfinished.len();
        for operation in unfinished {
            let id = operation.id;
            tracing::info!(op.id = %id, action = %operation.action, "carrying on with an operation");
            match self.start(operation).await {
                Ok(()) => (),
                // One of an earlier version, say: it must not keep the server from everything else.
                Err(EngineError::Unreadable { what, .. }) => self.0.give_up(id, what).await?,
                Err(error @ EngineError::Store(_)) => return Err(error),
            }
        }
        Ok(count)
    }

    /// Begins an accepted operation, or carries on with one, in the background.
    ///
    /// # Errors
    /// When the store does not answer or the operation cannot be read.
    pub async fn start(&self, operation: Operation) -> Result<(), EngineError> {
        let id = operation.id;
        let unreadable = |what: &str| EngineError::Unreadable { operation: id, what: what.to_owned() };
        let plan: Plan = serde_json::from_value(operation.plan.clone()).map_err(|e| unreadable(&e.to_string()))?;
        let store = &self.0.store;
        let deployment = store.deployment(operation.deployment).await?.ok_or_else(|| unreadable("no deployment"))?;
        let target = store.target(operation.target).await?.ok_or_else(|| unreadable("no target"))?;
        // Whoever loses the store stops; whoever cancels from here on finds the token, whoever did before left word.
        let cancel = store.lost().child_token();
        let reach = Reach { cancel: cancel.clone(), resumed: Arc::default() };
        match self.0.running().entry(id) {
            Entry::Occupied(_) => return Ok(()),
            Entry::Vacant(entry) => entry.insert(reach.clone()),
        };
        self.0.count_running();
        match store.is_cancel_requested(id).await {
            Ok(false) => (),
            Ok(true) => cancel.cancel(),
            Err(error) => {
                self.0.is_over(id);
                return Err(error.into());
            }
        }
        let span = tracing::info_span!("operation", op.id = %id, op.action = %operation.action, deployment.name = %deployment.name);
        let run = span.in_scope(|| Run::new(Arc::clone(&self.0), operation, deployment, target, plan, reach));
        let shared = Arc::clone(&self.0);
        self.0.tasks.spawn(
            async move {
                // One that has ended is taken off the list before that is stored: it may be resumed at once.
                let result = match embedded::run(run).await {
                    Err(EngineError::Unreadable { what, .. }) => {
                        shared.is_over(id);
                        shared.give_up(id, what).await
                    }
                    result => result,
                };
                match result {
                    // Without an end on record it would count as running until the next start.
                    Err(EngineError::Store(error)) => shared.lose_store(&error).await,
                    Err(error @ EngineError::Unreadable { .. }) => {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "the operation cannot go on; the next start tries again"
                        );
                        shared.is_over(id);
                    }
                    Ok(()) => (),
                }
            }
            .instrument(span),
        );
        Ok(())
    }

    /// Asks a running operation to stop and to take back what it did; false when it has ended.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn cancel(&self, id: OperationId) -> Result<bool, EngineError> {
        let asked = self.0.store.request_cancel(id).await?;
        if let Some(reach) = self.0.running().get(&id) {
            reach.cancel.cancel();
        }
        Ok(asked)
    }

    /// Lets an operation that waits on something outside look again at once.
    pub fn look_again(&self, id: OperationId) {
        if let Some(reach) = self.0.running().get(&id) {
            reach.resumed.notify_one();
        }
    }

    /// Tries again what a stuck operation could not take back.
    ///
    /// # Errors
    /// When the store does not answer or the operation cannot be read.
    pub async fn resume(&self, operation: Operation) -> Result<(), EngineError> {
        embedded::forget_failed_undos(&self.0.store, operation.id).await?;
        self.0.store.set_operation_state(operation.id, OperationState::Running).await?;
        self.start(Operation { state: OperationState::Running, ..operation }).await
    }

    /// Lets no further step begin and waits, for `grace` at the most, until those at work have come to an end.
    pub async fn stop(&self, grace: Duration) {
        self.0.stopping.cancel();
        self.0.tasks.close();
        let mut working = self.0.working.subscribe();
        let rest = async {
            let _ = working.wait_for(|&steps| steps == 0).await;
        };
        if tokio::time::timeout(grace, rest).await.is_err() {
            tracing::warn!("steps are still at work after the grace period; the next start carries on with them");
        }
    }

    /// The operations that run now.
    #[must_use]
    pub fn running(&self) -> Vec<OperationId> {
        self.0.running().keys().copied().collect()
    }
}

impl Shared {
    fn running(&self) -> MutexGuard<'_, HashMap<OperationId, Reach>> {
        self.running.lock().expect("nobody panics while holding this lock")
    }

    /// Takes an operation off the list of those that run here.
    fn is_over(&self, id: OperationId) {
        self.running().remove(&id);
        self.count_running();
    }

    fn count_running(&self) {
        let count = u32::try_from(self.running().len()).unwrap_or(u32::MAX);
        metrics::gauge!("operations_running").set(count);
    }

    /// Stores the end of an operation and counts it.
    async fn end(&self, operation: &Operation, ending: &OperationEnd) -> Result<(), StoreError> {
        self.store.end_operation(operation.id, ending).await?;
        let labels = [("action", operation.action.as_str()), ("state", ending.state.as_str())];
        metrics::counter!("operations_total", &labels).increment(1);
        let duration = Timestamp::now().duration_since(operation.created_at).as_secs_f64();
        metrics::histogram!("operation_duration_seconds", &labels).record(duration);
        Ok(())
    }

    /// Publishes an event; when that fails the store is lost, and nothing more is done.
    async fn publish(&self, id: OperationId, kind: EventKind) {
        self.hold_on_when_lost().await;
        if let Err(error) = self.store.publish(id, kind).await {
            self.lose_store(&error).await;
        }
    }

    /// Ends an operation that cannot be understood as `stuck`: a person has to look, and its deployment is free again.
    async fn give_up(&self, id: OperationId, what: String) -> Result<(), EngineError> {
        tracing::error!(op.id = %id, what, "the operation cannot be read and is given up");
        let Some(operation) = self.store.operation(id).await? else { return Ok(()) };
        let Some(deployment) = self.store.deployment(operation.deployment).await? else { return Ok(()) };
        let failure = Failure {
            code: "operation_unreadable".into(),
            message: format!("the server cannot read what it stored of this operation: {what}"),
            next_step:
                "Was the server updated in between? Resume the operation with the version that began it, or send \
                        the request again"
                    .into(),
            output: Vec::new(),
        };
        let ending = OperationEnd {
            state: OperationState::Stuck,
            failure: Some(failure),
            receipt: Vec::new(),
            warnings: Vec::new(),
            deployment: Deployment { state: DeploymentState::Failed, ..deployment },
            version: None,
            target_gone: false,
        };
        self.hold_on_when_lost().await;
        Ok(self.end(&operation, &ending).await?)
    }

    /// Another server may own the store by now: nothing of ours may be written to it any more.
    async fn hold_on_when_lost(&self) {
        if self.store.lost().is_cancelled() {
            std::future::pending::<()>().await;
        }
    }

    /// Marks the store as lost and holds on: whoever called this never goes on.
    async fn lose_store(&self, error: &StoreError) {
        // A server that stops closes its store itself: what was not recorded is looked at again at the next start.
        if !self.stopping.is_cancelled() {
            tracing::error!(error = error as &dyn std::error::Error, "the store is lost: nothing more is done");
            self.store.lost().cancel();
        }
        std::future::pending::<()>().await;
    }
}
