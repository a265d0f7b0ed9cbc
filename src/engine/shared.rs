//! What all runs of an engine share, and how it ends them, also when the store is lost.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;
use secrecy::SecretString;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::finished::{Conclude, EngineError, Finished, Unwound, erased_secrets};
use crate::cloud::price::Prices;
use crate::config::Settings;
use crate::event::{EventKind, Failure, OperationState};
use crate::host::Hosts;
use crate::id::OperationId;
use crate::secret::{Redactor, Sealer};
use crate::store::operations::OperationEnd;
use crate::store::record::{Deployment, Operation, Target};
use crate::store::{Store, StoreError};

/// What all runs share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: Arc<Settings>,
    pub(super) store: Store,
    pub(super) sealer: Sealer,
    pub(super) hosts: Hosts,
    pub(super) prices: Prices,
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
    /// What it hides in text, once that was asked for.
    pub(super) redactor: Arc<Mutex<Option<Redactor>>>,
}

impl RunHandle {
    /// Hides these secrets too, from now on.
    pub(super) fn hide(&self, secrets: &[&SecretString]) {
        let mut known = self.redactor.lock().expect("nobody panics while holding this lock");
        *known = known.as_ref().map(|redactor| redactor.with(secrets.iter().copied()));
    }
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
        self.erase_what_is_not_kept(operation.id, ending.state).await?;
        let labels = [("action", operation.action.as_str()), ("state", ending.state.as_str())];
        metrics::counter!("operations_total", &labels).increment(1);
        let duration = Timestamp::now().duration_since(operation.created_at).as_secs_f64();
        metrics::histogram!("operation_duration_seconds", &labels).record(duration);
        Ok(())
    }

    /// Erases the secrets of an operation that is stuck, where such keep none.
    async fn erase_what_is_not_kept(&self, id: OperationId, state: OperationState) -> Result<(), StoreError> {
        if state == OperationState::Stuck && self.settings.secret.stuck_retention.is_zero() {
            self.store.erase_secrets(id, &erased_secrets("at once", &[]), None).await?;
        }
        Ok(())
    }

    /// Publishes an event; when that fails the store is lost, and nothing more is done.
    pub(super) async fn publish(&self, id: OperationId, kind: EventKind) {
        self.or_fence(self.store.publish(id, kind)).await;
    }

    /// What the store gives; when it fails it is lost, and nothing more is done.
    pub(super) async fn or_fence<T>(&self, work: impl Future<Output = Result<T, StoreError>>) -> T {
        self.fenced().await;
        match work.await {
            Ok(it) => {
                // Somebody else may have lost it meanwhile. What is on record is for the next start.
                self.fenced().await;
                it
            }
            Err(error) => {
                self.fence(&error).await;
                std::future::pending().await
            }
        }
    }

    /// Ends an operation that could not be begun: nothing was done yet, and its deployment is free again.
    pub(super) async fn give_up(
        &self,
        operation: Operation,
        deployment: Deployment,
        target: Target,
        error: &EngineError,
    ) -> Result<(), EngineError> {
        tracing::error!(
            op.id = %operation.id,
            error = error as &dyn std::error::Error,
            "the operation cannot be begun and is given up"
        );
        let failure = Failure {
            code: "store_unavailable".into(),
            message: format!("it could not be begun: {error}"),
            next_step: "Check that the database is up and the disk is not full, then send the request again".into(),
            output: Vec::new(),
        };
        let finished = Finished {
            operation,
            deployment,
            target,
            result: Err(Unwound { failure, cancelled: false, stuck: None }),
            outputs: BTreeMap::new(),
            removed: Vec::new(),
            was_taken_back: false,
            warnings: Vec::new(),
        };
        self.deregister(finished.operation.id);
        Ok(self.end(&finished.operation, &(self.conclude)(&finished)).await?)
    }

    /// Ends an operation that cannot be understood as `stuck`.
    pub(super) async fn mark_unreadable(&self, id: OperationId, what: &str) -> Result<(), EngineError> {
        let reader = match self.store.written_by(id).await? {
            Some(version) if version != env!("CARGO_PKG_VERSION") => {
                format!("version {version}, which worked on it last,")
            }
            _ => "the version that began it".to_owned(),
        };
        let failure = Failure {
            code: "operation_unreadable".into(),
            message: format!("the server cannot read what it stored of this operation: {what}"),
            next_step: format!(
                "Was the server updated in between? Start {reader} again and resume the operation there, or send the \
                 request again"
            ),
            output: Vec::new(),
        };
        self.mark_stuck(id, failure).await
    }

    /// Ends an operation that cannot go on as `stuck`: a person has to look, and its deployment is free again.
    pub(super) async fn mark_stuck(&self, id: OperationId, failure: Failure) -> Result<(), EngineError> {
        tracing::error!(op.id = %id, reason = failure.message, "the operation cannot go on and is given up");
        self.fenced().await;
        self.store.park_operation(id, &failure).await?;
        self.erase_what_is_not_kept(id, OperationState::Stuck).await?;
        metrics::counter!("operations_total", "action" => "unreadable", "state" => OperationState::Stuck.as_str())
            .increment(1);
        Ok(())
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

/// Why an operation cannot go on whose run panicked outside of its steps. What the panic said may quote a secret.
pub(super) fn panicked(id: OperationId) -> Failure {
    Failure {
        code: "internal_error".into(),
        message: "the server panicked while it ran this operation; its log says where".into(),
        next_step: format!("Report this with the operation's id, `{id}`; `resume` takes back what was done"),
        output: Vec::new(),
    }
}
