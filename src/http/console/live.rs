//! The part of a page that is alive: a stream that sends it anew whenever it has changed.

use std::future::ready;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use axum::response::Response;
use axum::response::sse::Event;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::open_pages::OpenPages;
use super::session::Browser;
use crate::app::App;
use crate::http::error::ApiError;
use crate::http::limit::Streams;
use crate::http::sse;

/// What changes within this is sent together: nobody could read it faster.
const TOGETHER: Duration = Duration::from_millis(100);
/// And so many changes at the most.
const MOST: usize = 1000;

/// When it looks although nothing is known to have changed: another server may work on the same database.
const ANYHOW: Duration = Duration::from_secs(15);

/// Something whenever the record has changed, once a second at the most, less often where many look, and every now and then
/// anyhow.
pub(super) fn changes(app: &App, pages: &OpenPages) -> impl Stream<Item = ()> + Send + 'static + use<> {
    let page = pages.open();
    paced(app.changes(), move || page.pause(), ANYHOW)
}

fn paced(
    changes: watch::Receiver<()>,
    pause: impl Fn() -> Duration + Send + 'static,
    anyhow: Duration,
) -> impl Stream<Item = ()> + Send + 'static {
    stream::unfold((changes, Instant::now(), pause), move |(mut changes, last, pause)| async move {
        sleep_until(last + pause().min(anyhow)).await;
        match timeout(anyhow, changes.changed()).await {
            // There is no store any more.
            Ok(Err(_)) => None,
            Ok(Ok(())) | Err(_) => Some(((), (changes, Instant::now(), pause))),
        }
    })
}

/// Sends a part of a page when it is opened, and again when `changes` say so and it has become another. The event `last`
/// comes when there are no more changes; the stream of a session or a server that ends just ends, and the page opens it anew.
///
/// # Errors
/// [`ApiError`] when there is no room for another stream.
pub(super) fn stream<R>(
    app: &App,
    streams: &Streams,
    pages: &OpenPages,
    browser: &Browser,
    changes: impl Stream<Item = ()> + Send + 'static,
    mut render: impl FnMut() -> R + Send + 'static,
) -> Result<Response, ApiError>
where
    R: Future<Output = Result<String, ApiError>> + Send + 'static,
{
    let open = streams.open()?;
    let changes = stream::once(ready(())).chain(changes);
    let together = tokio_stream::StreamExt::chunks_timeout(changes, MOST, TOGETHER);
    let (hasher, mut before) = (RandomState::new(), None);
    let pages = pages.clone();
    let made = move |_| {
        let (pages, part) = (pages.clone(), render());
        async move {
            let _turn = pages.turn().await;
            sse::caught(part).await
        }
    };
    let parts = together.then(made).map_ok(move |part| {
        let hash = hasher.hash_one(&part);
        (before.replace(hash) != Some(hash)).then(|| Event::default().data(part))
    });
    // After a failure the page asks again, and hears of it then.
    let last = stream::once(ready(Ok(Some(last()))));
    let events = parts.chain(last).take_while(|part| ready(part.is_ok())).filter_map(|part| ready(part.ok().flatten()));
    let stopping = app.shutdown_token().cancelled_owned();
    Ok(sse::respond(events.take_until(stopping).take_until(browser.clone().left(app.clone())), open))
}

/// What a page is told when nothing comes after it, so that it does not ask again.
pub(super) fn last() -> Event {
    Event::default().event("last").data("it has ended")
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn many_changes_at_once_are_one_look() {
        let changed = watch::Sender::new(());
        let mut looks = pin!(paced(changed.subscribe(), || Duration::from_millis(1), Duration::from_hours(1)));

        changed.send_replace(());
        changed.send_replace(());

        assert_eq!(looks.next().await, Some(()));
        assert_eq!(looks.next().now_or_never(), None);
        drop(changed);
        assert_eq!(looks.next().await, None);
    }

    #[tokio::test]
    async fn a_page_is_looked_at_although_nothing_is_known_to_have_changed() {
        let changed = watch::Sender::new(());
        let mut looks = pin!(paced(changed.subscribe(), || Duration::ZERO, Duration::from_millis(1)));

        assert_eq!(looks.next().await, Some(()));
        assert_eq!(looks.next().await, Some(()));
    }
}
