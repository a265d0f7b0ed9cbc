//! Resources that a client follows, in one stream: each that changes is named, and read again by whoever wants to.

use std::time::Duration;

use futures_util::stream::{BoxStream, SelectAll};
use futures_util::{StreamExt, stream};
use rmcp::ErrorData;
use rmcp::model::SubscriptionFilter;
use rmcp::service::SubscriptionContext;
use tokio_stream::wrappers::IntervalStream;

use super::context;
use super::resource::ResourceName;
use crate::access::Caller;
use crate::app::App;

/// How many resources one stream can follow.
const MOST: usize = 100;
/// How often a deployment is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often a change of one resource is told at the most.
const TOLD_EVERY: Duration = Duration::from_millis(500);

/// The part of what a client wants to hear of that it can hear of: the resources that there may be.
#[must_use]
pub fn accepted(requested: &SubscriptionFilter) -> SubscriptionFilter {
    let uris = requested.resource_subscriptions.iter().flatten();
    let ours = uris.filter(|uri| ResourceName::parse(uri).is_some_and(|it| it.uri() == **uri)).take(MOST);
    SubscriptionFilter::builder().resource_subscriptions(ours.cloned()).build()
}

/// Tells of changes until the client leaves, or the server stops.
///
/// # Errors
/// When the request has no caller.
pub async fn listen(app: &App, subscription: SubscriptionContext) -> Result<(), ErrorData> {
    let caller = context::caller(subscription.request_context())?;
    let names = subscription.accepted().resource_subscriptions.iter().flatten();
    let mut changes = SelectAll::new();
    for name in names.filter_map(|it| ResourceName::parse(it)) {
        changes.push(changes_of(app, &caller, name).await);
    }
    let stop = app.shutdown_token();
    loop {
        let next = tokio::select! {
            next = changes.next() => next,
            () = subscription.cancelled() => return Ok(()),
            () = stop.cancelled() => return Ok(()),
        };
        let Some(name) = next else {
            // All of it has ended; the stream stays open until the client closes it.
            tokio::select! {
                () = subscription.cancelled() => {}
                () = stop.cancelled() => {}
            }
            return Ok(());
        };
        if subscription.sink().notify_resource_updated(name.uri()).await.is_err() {
            return Ok(());
        }
    }
}

/// The changes of one resource from now on; none of what is not in sight.
async fn changes_of(app: &App, caller: &Caller, name: ResourceName) -> BoxStream<'static, ResourceName> {
    match name {
        ResourceName::Deployment(id) => {
            let (app, caller) = (app.clone(), caller.clone());
            let looks = IntervalStream::new(tokio::time::interval(LOOK)).then(move |_| {
                let (app, caller) = (app.clone(), caller.clone());
                async move { app.deployment(&caller, id).await.ok() }
            });
            let mut before = None;
            let changed = looks.filter_map(move |seen| {
                let seen = seen.map(|it| it.map(|it| (it.updated_at, it.state, it.operation)));
                let is_change = seen.is_some() && before.is_some() && seen != before;
                before = seen.or(before);
                std::future::ready(is_change.then_some(name))
            });
            changed.boxed()
        }
        ResourceName::Operation(id) => {
            let Ok(Some(operation)) = app.operation(caller, id).await else { return stream::empty().boxed() };
            let last = app.events(&operation).await.ok().and_then(|it| it.last().map(|it| it.sequence));
            app.follow(&operation, last.unwrap_or_default()).map(move |_| name).boxed()
        }
        ResourceName::Logs(id) => {
            let Ok(Some(deployment)) = app.deployment(caller, id).await else { return stream::empty().boxed() };
            match app.logs(&deployment, 1, true, None).await {
                // The line that is there already is no change.
                Ok(lines) => throttled(lines.skip(1).map(move |_| name).boxed()),
                Err(_) => stream::empty().boxed(),
            }
        }
    }
}

/// Not more often than can be read.
fn throttled(changes: BoxStream<'static, ResourceName>) -> BoxStream<'static, ResourceName> {
    tokio_stream::StreamExt::throttle(changes.ready_chunks(1000), TOLD_EVERY)
        .filter_map(|names| std::future::ready(names.first().copied()))
        .boxed()
}
