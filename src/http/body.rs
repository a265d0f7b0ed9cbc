//! JSON extractor: a bounded body that arrives in time and is a JSON object, or the error that says what it is instead.

use std::time::Duration;

use axum::body::BodyDataStream;
use axum::extract::{FromRef, FromRequest, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde_json::{Map, Value};
use tokio::time::{Instant, timeout, timeout_at};

use crate::app::App;
use crate::http::error::ApiError;

/// A whole body has to arrive within this.
const ARRIVES_WITHIN: Duration = Duration::from_secs(30);
/// How much of a body that is too large is read and thrown away, so that the client reads our answer.
const DRAIN_BYTES: usize = 16 * 1024 * 1024;
/// How long that may take.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);

/// The body of a request as a JSON object.
#[derive(Debug)]
pub struct JsonObject(pub Map<String, Value>);

/// The rest of a request, and its body as it came, which says that it is JSON.
#[derive(Debug)]
pub struct RawBody(pub Parts, pub Bytes);

/// The same as [`JsonObject`], empty when there is no body.
#[derive(Debug)]
pub struct OptionalJsonObject(pub Map<String, Value>);

impl<S> FromRequest<S> for OptionalJsonObject
where
    S: Sync,
    App: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let limit = App::from_ref(state).settings().server.max_body_bytes;
        let (parts, body) = request.into_parts();
        let bytes = read(&parts.headers, body.into_data_stream(), limit).await?;
        if bytes.is_empty() {
            return Ok(Self(Map::new()));
        }
        check_media_type(&parts.headers)?;
        parse(&bytes).map(Self)
    }
}

impl<S> FromRequest<S> for JsonObject
where
    S: Sync,
    App: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let RawBody(_, bytes) = RawBody::from_request(request, state).await?;
        parse(&bytes).map(Self)
    }
}

impl<S> FromRequest<S> for RawBody
where
    S: Sync,
    App: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let limit = App::from_ref(state).settings().server.max_body_bytes;
        let (parts, body) = request.into_parts();
        if let Err(error) = check_media_type(&parts.headers) {
            drain(&parts.headers, body.into_data_stream()).await;
            return Err(error);
        }
        let bytes = read(&parts.headers, body.into_data_stream(), limit).await?;
        Ok(Self(parts, bytes))
    }
}

/// Reads a JSON object.
///
/// # Errors
/// [`ApiError`] when it is none.
pub fn parse(bytes: &[u8]) -> Result<Map<String, Value>, ApiError> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(ApiError::WrongKind { param: None, message: "the body must be a JSON object" }),
        Err(error) => Err(ApiError::MalformedJson(error.to_string())),
    }
}

fn check_media_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !matches!(text(CONTENT_ENCODING).trim().to_ascii_lowercase().as_str(), "" | "identity") {
        return Err(ApiError::UnsupportedMediaType("send the body without `Content-Encoding`"));
    }
    let essence = text(CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"));
    if is_json {
        Ok(())
    } else {
        Err(ApiError::UnsupportedMediaType("send the body as JSON with the header `Content-Type: application/json`"))
    }
}

/// Reads a body to its end.
///
/// # Errors
/// [`ApiError`] when it is longer than `limit` bytes, or does not arrive in time.
pub(super) async fn read(headers: &HeaderMap, mut body: BodyDataStream, limit: u64) -> Result<Bytes, ApiError> {
    let too_large = || ApiError::BodyTooLarge(limit);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let announced = content_length(headers);
    if announced.is_some_and(|length| length > limit) {
        drain(headers, body).await;
        return Err(too_large());
    }
    let deadline = Instant::now() + ARRIVES_WITHIN;
    let mut bytes = BytesMut::with_capacity(announced.unwrap_or(0));
    loop {
        let data = timeout_at(deadline, body.next()).await.map_err(|_| ApiError::BodyTimeout)?;
        let Some(data) = data else { return Ok(bytes.freeze()) };
        let data = data.map_err(|error| ApiError::MalformedJson(format!("it broke off ({error})")))?;
        if bytes.len() + data.len() > limit {
            drain(headers, body).await;
            return Err(too_large());
        }
        bytes.extend_from_slice(&data);
    }
}

/// Reads on for a while: a client that is still sending when the connection closes never sees the answer.
async fn drain(headers: &HeaderMap, mut body: BodyDataStream) {
    if headers.contains_key(EXPECT) || content_length(headers).is_some_and(|length| length > DRAIN_BYTES) {
        return;
    }
    let rest = async {
        let mut drained = 0;
        while let Some(Ok(data)) = body.next().await {
            drained += data.len();
            if drained > DRAIN_BYTES {
                break;
            }
        }
    };
    // Running out of time is one of the two ways in which draining ends.
    let _ = timeout(DRAIN_WITHIN, rest).await;
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn media_type(value: &'static str) -> Result<(), ApiError> {
        check_media_type(&HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))]))
    }

    #[test]
    fn json_is_known_by_its_media_type() {
        assert!(media_type("application/json; charset=utf-8").is_ok());
        assert!(media_type("Application/Problem+JSON").is_ok());
        assert!(media_type("text/plain").is_err());
        assert!(media_type("").is_err());
    }

    #[test]
    fn what_is_no_object_is_told_apart_from_what_is_no_json() {
        assert!(matches!(parse(b"[1]"), Err(ApiError::WrongKind { .. })));
        assert!(matches!(parse(b"{"), Err(ApiError::MalformedJson(_))));
        assert!(matches!(parse(b""), Err(ApiError::MalformedJson(_))));
        assert!(matches!(parse("[".repeat(100_000).as_bytes()), Err(ApiError::MalformedJson(_))));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
