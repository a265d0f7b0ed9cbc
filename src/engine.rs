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
            working: watch::Sender::new(0),
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
        let reach = RunHandle { cancel: cancel.clone(), resumed: Arc::default() };
        match self.0.running().entry(id) {
            Entry::Occupied(_) => return Ok(()),
            Entry::Vacant(entry) => entry.insert(reach.clone()),
        };
        self.0.count_running();
        match store.is_cancel_asked(id).await {
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
                    Err(EngineError::Store(error)) => shared.fence(&error).await,
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
        let asked = self.0.store.ask_to_cancel(id).await?;
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
