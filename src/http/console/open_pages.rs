//! The pages that look at the record whenever it changes: how often they may, and how many at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

/// How many pages are made at once: more would only take more memory.
const AT_ONCE: usize = 2;
/// How long a page waits between two looks, at the least.
const PAUSE: Duration = Duration::from_secs(1);
/// How much longer with each page that is open: together they look a hundred times a second at the most.
const PAUSE_PER_PAGE: Duration = Duration::from_millis(10);

/// All pages of this server that look. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct OpenPages(Arc<All>);

#[derive(Debug)]
struct All {
    count: AtomicU32,
    turns: Semaphore,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct OpenPage(OpenPages);

impl Default for OpenPages {
    fn default() -> Self {
        Self(Arc::new(All { count: AtomicU32::default(), turns: Semaphore::new(AT_ONCE) }))
    }
}

impl OpenPages {
    /// Opens one.
    pub(super) fn open(&self) -> OpenPage {
        self.0.count.fetch_add(1, Ordering::Relaxed);
        OpenPage(self.clone())
    }

    /// Waits for the turn to make a page, which ends when what is returned is dropped.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.0.turns.acquire().await.ok()
    }
}

impl OpenPage {
    /// How long it waits before it looks again.
    pub(super) fn pause(&self) -> Duration {
        PAUSE.max(PAUSE_PER_PAGE.saturating_mul(self.0.0.count.load(Ordering::Relaxed)))
    }
}

impl Drop for OpenPage {
    fn drop(&mut self) {
        self.0.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_pages_look_less_often() {
        let pages = OpenPages::default();
        let one = pages.open();
        assert_eq!(one.pause(), Duration::from_secs(1));

        let others: Vec<OpenPage> = (1..500).map(|_| pages.open()).collect();
        assert_eq!(one.pause(), Duration::from_secs(5));

        drop(others);
        assert_eq!(one.pause(), Duration::from_secs(1));
    }
}
