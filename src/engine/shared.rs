//! What all runs of an engine share, and how it ends them, also when the store is lost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::finished::{Conclude, EngineError};
use crate::config::Settings;
use crate::event::{EventKind, Failure, OperationState};
use crate::host::Hosts;
use crate::id::OperationId;
use crate::secret::Sealer;
use crate::store::operations::OperationEnd;
use crate::store::record::{Deployment, DeploymentState, Operation};
use crate::store::{Store, StoreError};

/// What all runs share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: Arc<Settings>,
    pub(super) store: Store,
    pub(super) sealer: Sealer,
    pub(super) hosts: Hosts,
    pub(super) conclude: Conclude,
    /// Running operations and what reaches each.
    pub(super) running: Mutex<HashMap<OperationId, RunHandle>>,
    pub(super) tasks: TaskTracker,
    /// Cancelled when no further step may begin.
    pub(super) stopping: CancellationToken,
    /// Steps that are at work right now.
    pub(super) steps_in_flight: watch::Sender<usize>,
}

/// What reaches a running operation from outside.
#[derive(Debug, Clone)]
pub(super) struct RunHandle {
    /// Cancels it.
    pub(super) cancel: CancellationToken,
    /// Lets it look again at what it waits for.
    pub(super) wake: Arc<Notify>,
}

impl Shared {
    pub(super) fn running(&self) -> MutexGuard<'_, HashMap<OperationId, RunHandle>> {
        self.running.lock().expect("nobody panics while holding this lock")
    }

    /// Takes an operation off the list of those that run here.
    pub(super) fn deregister(&self, id: OperationId) {
        self.running().remove(&id);
        self.count_running();
    }

    pub(super) fn count_running(&self) {
        let count = u32::try_from(self.running().len()).unwrap_or(u32::MAX);
        metrics::gauge!("operations_running").set(count);
    }

    /// Stores the end of an operation and counts it.
    pub(super) async fn end(&self, operation: &Operation, ending: &OperationEnd) -> Result<(), StoreError> {
        self.store.end_operation(operation.id, ending).await?;
        let labels = [("action", operation.action.as_str()), ("state", ending.state.as_str())];
        metrics::counter!("operations_total", &labels).increment(1);
        let duration = Timestamp::now().duration_since(operation.created_at).as_secs_f64();
        metrics::histogram!("operation_duration_seconds", &labels).record(duration);
        Ok(())
    }

    /// Publishes an event; when that fails the store is lost, and nothing more is done.
    pub(super) async fn publish(&self, id: OperationId, kind: EventKind) {
        self.fenced().await;
        if let Err(error) = self.store.publish(id, kind).await {
            self.fence(&error).await;
        }
    }

    /// Ends an operation that cannot be understood as `stuck`: a person has to look, and its deployment is free again.
    pub(super) async fn mark_stuck(&self, id: OperationId, what: String) -> Result<(), EngineError> {
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
        self.fenced().await;
        Ok(self.end(&operation, &ending).await?)
    }

    /// Another server may own the store by now: nothing of ours may be written to it any more.
    pub(super) async fn fenced(&self) {
        if self.store.lost().is_cancelled() {
            std::future::pending::<()>().await;
        }
    }

    /// Marks the store as lost and never returns, so that the caller cannot act on a step that is not on record.
    pub(super) async fn fence(&self, error: &StoreError) {
        // While the server stops, the store is closed by us and its errors are expected: no alarm; the next start
        // repeats what was not recorded.
        if !self.stopping.is_cancelled() {
            tracing::error!(error = error as &dyn std::error::Error, "the store is lost: nothing more is done");
            self.store.lost().cancel();
        }
        std::future::pending::<()>().await;
    }
}
