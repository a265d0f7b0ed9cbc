//! Responses that are being made: what each has told so far, for everybody who follows it.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use axum::response::sse::Event as SseEvent;
use futures_util::{Stream, stream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::access::Caller;
use crate::http::responses::object::ResponseEvent;

/// One response that is being made.
#[derive(Debug)]
pub struct LiveResponse {
    events: Mutex<Vec<ResponseEvent>>,
    /// How many there are, and whether that is all.
    told: watch::Sender<(usize, bool)>,
    /// Somebody has cancelled the response; what its operation has done is still being taken back.
    pub is_cancelled: AtomicBool,
    /// Cancelled to stop an answer behind which there is no operation.
    pub abort: CancellationToken,
    /// Held while what is kept of it is changed: whoever cancels it must not write over its end.
    pub writing: tokio::sync::Mutex<()>,
}

/// All responses of this server that are being made and kept. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct LiveResponses(Arc<Mutex<HashMap<Key, Arc<LiveResponse>>>>);

/// Whose it is, and its id.
type Key = (String, String);

/// Ends a live response when it is dropped, however its work ended.
#[derive(Debug)]
pub struct LiveGuard {
    live: Arc<LiveResponse>,
    registered: Option<(LiveResponses, Key)>,
}

impl Default for LiveResponse {
    fn default() -> Self {
        Self {
            events: Mutex::default(),
            told: watch::Sender::new((0, false)),
            is_cancelled: AtomicBool::new(false),
            abort: CancellationToken::new(),
            writing: tokio::sync::Mutex::default(),
        }
    }
}

impl LiveResponse {
    /// Adds events.
    pub fn push(&self, events: Vec<ResponseEvent>) {
        let mut all = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(events);
        let count = all.len();
        drop(all);
        self.told.send_modify(|it| it.0 = count);
    }

    /// Its events from a number on, until it ends.
    pub fn follow(self: &Arc<Self>, from: usize) -> impl Stream<Item = ResponseEvent> + Send + 'static + use<> {
        let state = (Arc::clone(self), self.told.subscribe(), from);
        stream::unfold(state, |(live, mut told, index)| async move {
            // The sender lives as long as `live` does.
            let (count, _) = *told.wait_for(|(count, is_all)| *count > index || *is_all).await.ok()?;
            if count <= index {
                return None;
            }
            let event = live.events.lock().unwrap_or_else(PoisonError::into_inner).get(index).cloned()?;
            Some((event, (live, told, index + 1)))
        })
    }

    /// Until it is made and kept.
    pub async fn ended(&self) {
        // The sender lives as long as `self` does.
        let _ = self.told.subscribe().wait_for(|(_, is_all)| *is_all).await;
    }
}

impl LiveResponses {
    /// The response, if it is being made.
    #[must_use]
    pub fn get(&self, caller: &Caller, id: &str) -> Option<Arc<LiveResponse>> {
        self.all().get(&key(caller, id)).cloned()
    }

    /// Begins one; `None` when it is being made already.
    #[must_use]
    pub fn begin(&self, caller: &Caller, id: &str) -> Option<LiveGuard> {
        let key = key(caller, id);
        let mut all = self.all();
        if all.contains_key(&key) {
            return None;
        }
        let live = Arc::<LiveResponse>::default();
        all.insert(key.clone(), Arc::clone(&live));
        Some(LiveGuard { live, registered: Some((self.clone(), key)) })
    }

    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), Arc<LiveResponse>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LiveGuard {
    /// One that nobody else can find.
    #[must_use]
    pub fn alone() -> Self {
        Self { live: Arc::default(), registered: None }
    }

    /// The response.
    #[must_use]
    pub fn live(&self) -> &Arc<LiveResponse> {
        &self.live
    }
}

impl Drop for LiveGuard {
    fn drop(&mut self) {
        if let Some((all, key)) = &self.registered {
            all.all().remove(key);
        }
        self.live.told.send_modify(|it| it.1 = true);
    }
}

fn key(caller: &Caller, id: &str) -> Key {
    (caller.principal.clone(), id.to_owned())
}

/// An event as it is sent.
pub fn frame(event: ResponseEvent) -> SseEvent {
    SseEvent::default().event(event.name).data(event.data)
}
