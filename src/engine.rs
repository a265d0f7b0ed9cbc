//! The engine: runs a plan forwards, and backwards when a step fails; nothing above or below knows which one it is.
//!
//! What every engine owes: a step is recorded before and after; a killed server carries on where it was; a failed
//! plan is unwound including the step that failed; when the store is lost nothing more is done.

use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::audit::AuditEntry;
use crate::cloud::price::Prices;
use crate::config::Settings;
use crate::event::{EventKind, OperationState};
use crate::host::Hosts;
use crate::id::OperationId;
use crate::plan::Plan;
use crate::secret::Sealer;
use crate::step::aws_access::{RecordedAccount, account_on_record};
use crate::store::Store;
use crate::store::record::{Deployment, Operation, Target, Unreadable};
use crate::store::steps::outputs;
use crate::store::unreadable::UnreadableOperation;

use carry_over::carry_over;
use finished::{Conclude, EngineError};
use run::Run;
use shared::{RunHandle, Shared, panicked};

mod carry_over;
mod dry_run;
mod embedded;
mod failpoint;
pub mod finished;
pub mod panic;
mod patience;
mod run;
mod shared;

/// Runs operations. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine(Arc<Shared>);

impl Engine {
    /// An engine that does nothing yet.
    #[must_use]
    pub fn new(
        settings: Arc<Settings>,
        store: Store,
        sealer: Sealer,
        hosts: Hosts,
        prices: Prices,
        conclude: Conclude,
    ) -> Self {
        Self(Arc::new(Shared {
            settings,
            store,
            sealer,
            hosts,
            prices,
            conclude,
            running: Mutex::default(),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            steps_in_flight: watch::Sender::new(0),
        }))
    }

    /// Carries on with every operation that has not ended.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn recover(&self) -> Result<usize, EngineError> {
        self.carry_over_steps().await?;
        let unfinished = self.0.store.unfinished_operations().await?;
        let count = unfinished.len();
        for operation in unfinished {
            let (id, result) = match operation {
                Ok(operation) => (operation.id, self.carry_on(operation).await),
                Err(UnreadableOperation { id, cause, .. }) => {
                    (id, Err(EngineError::Unreadable { operation: id, what: cause.to_string() }))
                }
            };
            match result {
                Ok(()) => (),
                // One of another version, say: it must not keep the server from everything else.
                Err(EngineError::Unreadable { what, .. }) => self.0.mark_unreadable(id, &what).await?,
                Err(EngineError::Store(error)) if error.is_unreadable() => {
                    self.0.mark_unreadable(id, &error.to_string()).await?;
                }
                Err(error @ EngineError::Store(_)) => return Err(error),
            }
        }
        Ok(count)
    }

    /// Takes over what earlier versions have recorded of steps. One that cannot be read is told when it is carried on.
    async fn carry_over_steps(&self) -> Result<(), EngineError> {
        let store = &self.0.store;
        for id in store.operations_without_steps().await? {
            match carry_over(store, id).await {
                Err(error) if !error.is_unreadable() => return Err(error.into()),
                Ok(()) | Err(_) => (),
            }
        }
        Ok(())
    }

    async fn carry_on(&self, operation: Operation) -> Result<(), EngineError> {
        let id = operation.id;
        self.check_history(id).await?;
        tracing::info!(op.id = %id, action = %operation.action, "carrying on with an operation");
        let Some(run) = self.load(operation).await? else { return Ok(()) };
        // Only now: what cannot be read is told with the version that wrote it.
        if let Err(error) = self.0.store.set_written_by(id).await {
            self.0.deregister(id);
            return Err(error.into());
        }
        self.launch(run);
        Ok(())
    }

    /// Whether all that has happened in an operation is known here: what another version did in it, this one can neither
    /// carry on nor take back.
    ///
    /// # Errors
    /// [`EngineError::Unreadable`] when it is not; else what the store says.
    pub async fn check_history(&self, id: OperationId) -> Result<(), EngineError> {
        let events = self.0.store.events(id, 0).await?;
        if events.iter().all(|it| it.kind != EventKind::Unreadable) {
            return Ok(());
        }
        let written_by = self.0.store.written_by(id).await?;
        let cause = Unreadable { what: "events".to_owned(), written_by };
        Err(EngineError::Unreadable { operation: id, what: cause.to_string() })
    }

    /// Begins an operation that was just accepted, in the background. One that cannot be begun has ended then, and says
    /// why.
    ///
    /// # Errors
    /// When the store is lost.
    pub async fn begin(&self, operation: Operation, deployment: Deployment, target: Target) -> Result<(), EngineError> {
        let error = match self.prepare(operation.clone(), deployment.clone(), target.clone()).await {
            Ok(Some(run)) => {
                self.launch(run);
                return Ok(());
            }
            Ok(None) => return Ok(()),
            Err(error) => error,
        };
        let given_up = self.0.give_up(operation, deployment, target, &error).await;
        if given_up.is_err() {
            // It is still `queued` in the database: the next start carries on with it.
            self.0.store.lost().cancel();
        }
        given_up
    }

    /// Carries on with an operation in the background.
    ///
    /// # Errors
    /// When the store does not answer or the operation cannot be read.
    pub async fn start(&self, operation: Operation) -> Result<(), EngineError> {
        if let Some(run) = self.load(operation).await? {
            self.launch(run);
        }
        Ok(())
    }

    /// Reads what a run of an operation needs, and prepares it.
    async fn load(&self, operation: Operation) -> Result<Option<Run>, EngineError> {
        let unreadable = |what: &str| EngineError::Unreadable { operation: operation.id, what: what.to_owned() };
        let store = &self.0.store;
        carry_over(store, operation.id).await?;
        let deployment = store.deployment(operation.deployment).await?.ok_or_else(|| unreadable("no deployment"))?;
        let target = store.target(operation.target).await?.ok_or_else(|| unreadable("no target"))?;
        self.prepare(operation, deployment, target).await
    }

    /// Does everything of a start that may fail. The run is on the list then, and has to be launched or taken off; `None`
    /// when it was there before.
    async fn prepare(
        &self,
        operation: Operation,
        deployment: Deployment,
        target: Target,
    ) -> Result<Option<Run>, EngineError> {
        let id = operation.id;
        let plan: Plan = serde_json::from_value(operation.plan.clone()).map_err(|error| {
            tracing::warn!(op.id = %id, error = &error as &dyn std::error::Error, "the plan cannot be read");
            let cause = Unreadable { what: "plan".to_owned(), written_by: operation.written_by.clone() };
            EngineError::Unreadable { operation: id, what: cause.to_string() }
        })?;
        let store = &self.0.store;
        // The token is a child of the store's fence, so losing the store cancels the run. It is registered in `running`
        // before the stored cancel flag is read: a cancel request either finds the token here or has already set the
        // flag, so none is missed between the two.
        let cancel = store.lost().child_token();
        let handle = RunHandle { cancel: cancel.clone(), wake: Arc::default(), redactor: Arc::default() };
        match self.0.running().entry(id) {
            Entry::Occupied(_) => return Ok(None),
            Entry::Vacant(entry) => entry.insert(handle.clone()),
        };
        self.0.count_running();
        match store.is_cancel_requested(id).await {
            Ok(false) => (),
            Ok(true) => cancel.cancel(),
            Err(error) => {
                self.0.deregister(id);
                return Err(error.into());
            }
        }
        let span = tracing::info_span!("operation", op.id = %id, op.action = %operation.action, deployment.name = %deployment.name);
        let run = span.in_scope(|| Run::new(Arc::clone(&self.0), operation, deployment, target, plan, handle));
        Ok(Some(run))
    }

    /// Runs what was prepared.
    fn launch(&self, run: Run) {
        let (id, span) = (run.operation.id, run.span.clone());
        let shared = Arc::clone(&self.0);
        self.0.tasks.spawn(
            async move {
                // The run leaves the list before its end is stored, because a client may resume the operation as soon
                // as it reads the end, and `start` ignores an operation that is still on the list.
                let result = match panic::catch(Box::pin(embedded::run(run))).await {
                    Ok(Err(EngineError::Unreadable { what, .. })) => {
                        shared.deregister(id);
                        shared.mark_unreadable(id, &what).await
                    }
                    Ok(Err(EngineError::Store(error))) if error.is_unreadable() => {
                        shared.deregister(id);
                        shared.mark_unreadable(id, &error.to_string()).await
                    }
                    Ok(result) => result,
                    Err(_) => {
                        shared.deregister(id);
                        shared.mark_stuck(id, panicked(id)).await
                    }
                };
                match result {
                    // The end could not be stored: the operation is still `running` in the database, so this server
                    // must stop writing (fence) and the next start recovers it.
                    Err(EngineError::Store(error)) => shared.fence(&error).await,
                    Err(error @ EngineError::Unreadable { .. }) => {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "the operation cannot go on; the next start tries again"
                        );
                        shared.deregister(id);
                    }
                    Ok(()) => (),
                }
            }
            .instrument(span),
        );
    }

    /// Asks a running operation to stop and to take back what it did, which the record is told; false when it has ended.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn cancel(&self, id: OperationId, entry: &AuditEntry) -> Result<bool, EngineError> {
        let asked = self.0.store.request_cancel(id, entry).await?;
        if let Some(handle) = self.0.running().get(&id) {
            handle.cancel.cancel();
        }
        Ok(asked)
    }

    /// Lets an operation that waits on something outside look again at once.
    pub fn wake(&self, id: OperationId) {
        if let Some(handle) = self.0.running().get(&id) {
            handle.wake.notify_one();
        }
    }

    /// Hides from now on what an operation that runs was given in place of other secrets, and those too.
    pub fn hide(&self, id: OperationId, secrets: &[&SecretString]) {
        if let Some(handle) = self.0.running().get(&id) {
            handle.hide(secrets);
        }
    }

    /// The AWS account that an operation has worked in, as far as it is on record.
    ///
    /// # Errors
    /// When the store does not answer or the operation cannot be read.
    pub async fn account_on_record(&self, operation: &Operation) -> Result<Option<RecordedAccount>, EngineError> {
        let store = &self.0.store;
        let outputs = outputs(&store.steps(operation.id).await?);
        let Some(target) = store.target(operation.target).await? else { return Ok(None) };
        Ok(account_on_record(store, &target, operation.deployment, &outputs).await?)
    }

    /// Tries again what a stuck operation could not take back.
    ///
    /// # Errors
    /// When the store does not answer or the operation cannot be read.
    pub async fn retry_undo(&self, operation: Operation) -> Result<(), EngineError> {
        let (id, store) = (operation.id, &self.0.store);
        let operation = Operation { state: OperationState::Running, ..operation };
        let Some(run) = self.load(operation).await? else { return Ok(()) };
        let retried = async {
            embedded::clear_failed_undos(store, id).await?;
            store.set_operation_state(id, OperationState::Running).await
        };
        // The state comes last: one that says `running` is run.
        if let Err(error) = retried.await {
            self.0.deregister(id);
            return Err(error.into());
        }
        self.launch(run);
        Ok(())
    }

    /// Lets no further step begin and waits, for `grace` at the most, until those at work have come to an end.
    pub async fn stop(&self, grace: Duration) {
        self.0.stopping.cancel();
        self.0.tasks.close();
        let mut working = self.0.steps_in_flight.subscribe();
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
