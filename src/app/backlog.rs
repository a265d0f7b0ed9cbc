//! What `/metrics` tells of open operations. Anybody may ask, so nobody makes it look often.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::event::OperationState;
use crate::store::Store;
use crate::store::backlog::OpenOperations;

/// For how long what was seen is told again.
const KEPT_FOR: Duration = Duration::from_secs(3);

/// The states of an operation that is open.
const OPEN: [OperationState; 4] =
    [OperationState::Queued, OperationState::Running, OperationState::Waiting, OperationState::Stuck];

/// Counts open operations, and remembers for some seconds that it did.
#[derive(Debug)]
pub(super) struct Backlog {
    store: Store,
    /// Held while somebody counts: the others wait for what that one sees.
    last: tokio::sync::Mutex<Option<Instant>>,
}

impl Backlog {
    pub(super) fn new(store: Store) -> Self {
        Self { store, last: tokio::sync::Mutex::default() }
    }

    /// Brings the gauges of open operations up to date; they stay as they are while the store does not answer.
    pub(super) async fn measure(&self) {
        let mut last = self.last.lock().await;
        if last.is_some_and(|at| at.elapsed() < KEPT_FOR) {
            return;
        }
        match self.store.open_operations().await {
            Ok(open) => tell(&open, Timestamp::now()),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the open operations cannot be counted");
            }
        }
        *last = Some(Instant::now());
    }
}

fn tell(open: &[OpenOperations], now: Timestamp) {
    for state in OPEN {
        let found = open.iter().find(|it| it.state == state);
        let count = found.map_or(0, |it| u32::try_from(it.count).unwrap_or(u32::MAX));
        let oldest_s = found.map_or(0.0, |it| now.duration_since(it.oldest).as_secs_f64().max(0.0));
        metrics::gauge!("operations_open", "state" => state.as_str()).set(count);
        metrics::gauge!("operations_oldest_seconds", "state" => state.as_str()).set(oldest_s);
    }
}
