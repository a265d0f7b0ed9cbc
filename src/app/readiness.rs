//! Whether the server can do its work: the store, Docker and kind. Anybody may ask, so nobody makes it look often.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::host::Host;
use crate::store::Store;

/// For how long an answer is given again.
const KEPT_FOR: Duration = Duration::from_secs(3);

/// Looks, and remembers for some seconds what it saw. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Readiness {
    store: Store,
    host: Host,
    /// Held while somebody looks: the others wait for what that one sees.
    last: Arc<tokio::sync::Mutex<Option<LastLook>>>,
}

/// When somebody looked, and what was seen.
type LastLook = (Instant, Vec<ReadinessCheck>);

/// One thing that must be right for the server to work.
#[derive(Debug, Clone)]
pub struct ReadinessCheck {
    /// What was looked at.
    pub name: &'static str,
    /// What is wrong with it, and what to do.
    pub result: Result<(), String>,
}

impl Readiness {
    pub(super) fn new(store: Store, host: Host) -> Self {
        Self { store, host, last: Arc::default() }
    }

    /// How it is, or was seconds ago.
    pub(super) async fn checks(&self) -> Vec<ReadinessCheck> {
        let readiness = self.clone();
        // Spawned: who asks may leave, and the look is for the others too.
        let look = tokio::spawn(async move {
            let mut last = readiness.last.lock().await;
            if let Some((_, checks)) = last.as_ref().filter(|(at, _)| at.elapsed() < KEPT_FOR) {
                return checks.clone();
            }
            let checks = readiness.look().await;
            *last = Some((Instant::now(), checks.clone()));
            checks
        });
        let failed = |error: tokio::task::JoinError| ReadinessCheck { name: "server", result: Err(error.to_string()) };
        look.await.unwrap_or_else(|error| vec![failed(error)])
    }

    async fn look(&self) -> Vec<ReadinessCheck> {
        let Self { store, host, .. } = self;
        let (store, docker, kind) = tokio::join!(store.ping(), host.docker.ping(), host.kind.version());
        let text = |error: &dyn std::error::Error| error.to_string();
        vec![
            ReadinessCheck { name: "store", result: store.map_err(|error| text(&error)) },
            ReadinessCheck { name: "docker", result: docker.map_err(|error| text(&error)) },
            ReadinessCheck { name: "kind", result: kind.map(drop).map_err(|error| text(&error)) },
        ]
    }
}
