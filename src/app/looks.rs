//! The looks at deployments that go on: few at a time, and shared by those who look at the same one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::cloud_parts::CloudParts;
use crate::cloud::kube::parts::ApplicationParts;
use crate::event::Failure;
use crate::id::DeploymentId;
use crate::reply::view::LiveStatus;

/// How many deployments are looked at at once.
const AT_ONCE: usize = 4;
/// For how long what was seen is told again.
const KEPT_FOR: Duration = Duration::from_secs(3);

/// How a deployment is right now.
#[derive(Debug, Clone)]
pub struct Health {
    /// What its cluster says, and AWS of its instance.
    pub live: LiveStatus,
    /// Why it is not well.
    pub failure: Option<Failure>,
    /// What it consists of; `None` when nobody can tell.
    pub parts: Option<ApplicationParts>,
    /// What it owns in AWS.
    pub cloud: CloudParts,
    /// AWS is not asked because there are no credentials, neither of the request nor in the settings.
    pub lacks_credentials: bool,
    /// When that was seen.
    pub looked_at: Timestamp,
}

/// The looks at deployments that go on, and what was seen a moment ago.
#[derive(Debug)]
pub(super) struct Looks {
    /// Room for so many at once.
    pub(super) room: Semaphore,
    last: Mutex<HashMap<DeploymentId, LastLook>>,
}

/// What was seen and when. Held while somebody looks: the others wait for what that one sees.
type LastLook = Arc<tokio::sync::Mutex<Option<(Instant, Health)>>>;

impl Default for Looks {
    fn default() -> Self {
        Self { room: Semaphore::new(AT_ONCE), last: Mutex::default() }
    }
}

impl Looks {
    /// What is seen of a deployment now, or was by somebody a moment ago.
    pub(super) async fn shared<L: Future<Output = Health>>(
        &self,
        id: DeploymentId,
        look: impl FnOnce() -> L,
    ) -> Health {
        let place = self.place(id);
        let mut last = place.lock().await;
        if let Some(health) = fresh(last.as_ref()) {
            return health.clone();
        }
        let health = look().await;
        *last = Some((Instant::now(), health.clone()));
        health
    }

    /// Where what is seen of a deployment is kept; what is too old of others goes.
    fn place(&self, id: DeploymentId) -> LastLook {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.retain(|_, place| {
            let is_in_use = Arc::strong_count(place) > 1;
            is_in_use || place.try_lock().is_ok_and(|seen| fresh(seen.as_ref()).is_some())
        });
        Arc::clone(last.entry(id).or_default())
    }
}

/// What was seen, unless that is too long ago.
fn fresh(seen: Option<&(Instant, Health)>) -> Option<&Health> {
    seen.filter(|(at, _)| at.elapsed() < KEPT_FOR).map(|(_, health)| health)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn healthy() -> Health {
        Health {
            live: LiveStatus { serving: Some((1, 1)), ..LiveStatus::default() },
            failure: None,
            parts: None,
            cloud: CloudParts::default(),
            lacks_credentials: false,
            looked_at: Timestamp::now(),
        }
    }

    #[tokio::test]
    async fn those_who_look_at_the_same_time_see_what_one_of_them_sees() {
        let (looks, count) = (Looks::default(), AtomicUsize::new(0));
        let look = || async {
            count.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            healthy()
        };
        let (one, other) = (DeploymentId::new(), DeploymentId::new());

        tokio::join!(looks.shared(one, look), looks.shared(one, look), looks.shared(other, look));
        looks.shared(one, look).await;

        assert_eq!(count.into_inner(), 2);
    }
}
