//! The engine: runs a plan forwards, and backwards when a step fails; nothing above or below knows which one it is.
//!
//! What every engine owes: a step is recorded before and after; a killed server carries on where it was; a failed
//! plan is unwound including the step that failed; when the store is lost nothing more is done.

use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::config::Settings;
use crate::event::OperationState;
use crate::host::Hosts;
use crate::id::OperationId;
use crate::plan::Plan;
use crate::secret::Sealer;
use crate::store::Store;
use crate::store::record::Operation;

use finished::{Conclude, EngineError};
use run::Run;
use shared::{RunHandle, Shared};

mod dry_run;
mod embedded;
pub mod finished;
mod run;
mod shared;

/// Runs operations. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine(Arc<Shared>);

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
            steps_in_flight: watch::Sender::new(0),
        }))
    }

    /// Carries on with every operation that has not ended.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn recover(&self) -> Result<usize, EngineError> {
        let unfinished = self.0.store.unfinished_operations().await?;
        let count = unfinished.len();
        for operation in unfinished {
            let id = operation.id;
            tracing::info!(op.id = %id, action = %operation.action, "carrying on with an operation");
            match self.start(operation).await {
                Ok(()) => (),
                // One of an earlier version, say: it must not keep the server from everything else.
                Err(EngineError::Unreadable { what, .. }) => self.0.mark_stuck(id, what).await?,
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
        // The token is a child of the store's fence, so losing the store cancels the run. It is registered in `running`
        // before the stored cancel flag is read: a cancel request either finds the token here or has already set the
        // flag, so none is missed between the two.
        let cancel = store.lost().child_token();
        let handle = RunHandle { cancel: cancel.clone(), wake: Arc::default() };
        match self.0.running().entry(id) {
            Entry::Occupied(_) => return Ok(()),
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
        let shared = Arc::clone(&self.0);
        self.0.tasks.spawn(
            async move {
                // The run leaves the list before its end is stored, because a client may resume the operation as soon
                // as it reads the end, and `start` ignores an operation that is still on the list.
                let result = match embedded::run(run).await {
                    Err(EngineError::Unreadable { what, .. }) => {
                        shared.deregister(id);
                        shared.mark_stuck(id, what).await
                    }
                    result => result,
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
        Ok(())
    }

    /// Asks a running operation to stop and to take back what it did; false when it has ended.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn cancel(&self, id: OperationId) -> Result<bool, EngineError> {
        let asked = self.0.store.request_cancel(id).await?;
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

    /// Tries again what a stuck operation could not take back.
    ///
    /// # Errors
    /// When the store does not answer or the operation cannot be read.
    pub async fn retry_undo(&self, operation: Operation) -> Result<(), EngineError> {
        embedded::clear_failed_undos(&self.0.store, operation.id).await?;
        self.0.store.set_operation_state(operation.id, OperationState::Running).await?;
        self.start(Operation { state: OperationState::Running, ..operation }).await
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
