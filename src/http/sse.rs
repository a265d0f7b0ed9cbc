//! Server-sent events: only `data:` lines and comments in chat streams, ids and names on our own routes.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{FutureExt, Stream, StreamExt};
use serde::Serialize;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::http::error::ApiError;
use crate::http::limit::OpenStream;

/// A silent stream has a comment this often; clients and proxies wait for at least 15 s.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// One event of a stream, for the API document.
#[derive(Debug)]
pub struct Frame;

impl ToSchema for Frame {}

impl PartialSchema for Frame {
    fn schema() -> RefOr<Schema> {
        let data = ObjectBuilder::new()
            .schema_type(Type::String)
            .content_media_type("application/json")
            .description(Some("An object as JSON."));
        ObjectBuilder::new().property("data", data).required("data").build().into()
    }
}

/// One event with nothing but data.
pub(super) fn data(value: &impl Serialize) -> Event {
    let text = serde_json::to_string(value).expect("wire types have string keys and no failing serializer");
    Event::default().data(text)
}

/// The last event of an answer.
pub(super) fn done() -> Event {
    Event::default().data("[DONE]")
}

/// Does what makes an answer while it is sent; a panic in it is a fault of ours like any other.
///
/// # Errors
/// The fault.
pub(super) async fn caught<T>(work: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
    let panicked = |_| Err(ApiError::Internal("panicked in mid-stream".into()));
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(panicked)
}

/// Answers with a stream that stays open until its events end or the client leaves.
pub fn respond(events: impl Stream<Item = Event> + Send + 'static, open: OpenStream) -> Response {
    let events = events.map(move |event| {
        let _ = &open;
        Ok::<_, Infallible>(event)
    });
    let mut response =
        Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE).text("keep-alive")).into_response();
    // Proxies that buffer would hold the lines back.
    response.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}
