//! Limits of requests: how many in a minute, how large a header, how many open streams.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower_governor::GovernorError;
use tower_governor::GovernorLayer;
use tower_governor::governor::GovernorConfigBuilder;
use tower_governor::key_extractor::KeyExtractor;

use crate::http::auth;
use crate::http::error::ApiError;

/// The largest header (request line included) that is accepted.
pub const HEADER_BYTES: usize = 16 * 1024;
/// `max_buf_size` of hyper, which closes a connection without an answer when its header is longer. It is above
/// `HEADER_BYTES`, so that a header between the two is parsed and refused with 431.
pub const HEADER_BUFFER_BYTES: usize = 64 * 1024;

/// Counts requests per key, and per address of those who have none.
#[derive(Debug, Clone)]
pub struct ByCaller;

impl KeyExtractor for ByCaller {
    type Key = String;

    fn extract<T>(&self, request: &axum::http::Request<T>) -> Result<String, GovernorError> {
        Ok(auth::counted_as(request.extensions()))
    }
}

/// Lets so many requests a minute through to these routes, from each caller, and remembers callers until `stop`.
pub(super) fn rate<S>(routes: Router<S>, per_minute: NonZeroU32, stop: CancellationToken) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let config = GovernorConfigBuilder::default()
        .period(Duration::from_mins(1) / per_minute.get())
        .burst_size(per_minute.get())
        .key_extractor(ByCaller)
        .finish()
        .expect("neither the period nor the burst is zero");
    let limiter = Arc::clone(config.limiter());
    tokio::spawn(stop.run_until_cancelled_owned(async move {
        let mut minutes = tokio::time::interval(Duration::from_mins(1));
        loop {
            minutes.tick().await;
            limiter.retain_recent();
        }
    }));
    routes.layer(GovernorLayer::new(config).error_handler(|error| match error {
        GovernorError::TooManyRequests { wait_time, .. } => {
            ApiError::RateLimited { retry_after_s: wait_time.max(1) }.into_response()
        }
        error @ (GovernorError::UnableToExtractKey | GovernorError::Other { .. }) => {
            ApiError::Internal(error.into()).into_response()
        }
    }))
}

/// Whether the header of a request is small enough.
///
/// # Errors
/// [`ApiError::HeaderTooLarge`] when it is not.
pub(super) fn header_size(request: &Request) -> Result<(), ApiError> {
    let path = request.uri().path_and_query().map_or(0, |it| it.as_str().len());
    let fields: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if path + fields > HEADER_BYTES {
        return Err(ApiError::HeaderTooLarge(HEADER_BYTES));
    }
    Ok(())
}

/// The open streams, so many at a time.
#[derive(Clone)]
pub struct Streams(Arc<Semaphore>);

/// One open stream; closed when it is dropped.
#[derive(Debug)]
pub struct OpenStream(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Streams {
    /// Room for so many.
    #[must_use]
    pub fn new(most: NonZeroU32) -> Self {
        let most = usize::try_from(most.get()).unwrap_or(Semaphore::MAX_PERMITS);
        Self(Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))))
    }

    /// Opens one.
    ///
    /// # Errors
    /// [`ApiError::TooManyStreams`] when there is no room.
    pub fn open(&self) -> Result<OpenStream, ApiError> {
        let permit = Arc::clone(&self.0).try_acquire_owned().map_err(|_| ApiError::TooManyStreams)?;
        metrics::gauge!("http_open_streams").increment(1);
        Ok(OpenStream(permit))
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        metrics::gauge!("http_open_streams").decrement(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_is_closed_makes_room() {
        let streams = Streams::new(NonZeroU32::new(1).unwrap());

        let first = streams.open().unwrap();
        assert!(matches!(streams.open(), Err(ApiError::TooManyStreams)));
        drop(first);

        assert!(streams.open().is_ok());
    }
}
