//! The id of a request: taken from the client when it is sane, on every answer, in every log line.
//!
//! It is scoped to the task of the request, so that an error can name it wherever it becomes an answer.

use std::convert::Infallible;
use std::time::Instant;

use axum::extract::{FromRequestParts, MatchedPath, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;
use uuid::Uuid;

/// Where the id travels.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const LONGEST: usize = 128;

tokio::task_local! {
    static CURRENT: RequestId;
}

/// The id of one request.
#[derive(Debug, Clone)]
pub struct RequestId(HeaderValue);

impl RequestId {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let sane = |value: &&HeaderValue| {
            (1..=LONGEST).contains(&value.len())
                && value.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
        };
        headers.get(X_REQUEST_ID).filter(sane).cloned().map_or_else(Self::new, Self)
    }

    fn new() -> Self {
        let text = format!("req_{}", Uuid::now_v7().simple());
        Self(HeaderValue::try_from(text).expect("hexadecimal digits are visible ASCII"))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(CURRENT.try_with(Clone::clone).unwrap_or_else(|_| Self::new()))
    }
}

/// The id of the request that is being answered by this task; empty outside of one.
#[must_use]
pub fn current() -> String {
    CURRENT.try_with(|id| id.as_str().to_owned()).unwrap_or_default()
}

/// Gives the request its id and its span, counts it, and puts the id on the answer.
pub async fn assign(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = RequestId::of(request.headers());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("none", MatchedPath::as_str).to_owned();
    let method = request.method().clone();
    let span = tracing::info_span!("request", request.id = id.as_str(), http.method = %method, http.route = route);

    let work = async {
        let mut response = next.run(request).await;
        let status = response.status().as_u16();
        tracing::debug!(http.status = status, elapsed_ms = ms(began), "Answered a request.");
        metrics::counter!("http_requests_total", "method" => method_label(&method), "route" => route.clone(), "status" => status.to_string())
            .increment(1);
        metrics::histogram!("http_request_duration_seconds", "route" => route).record(began.elapsed().as_secs_f64());
        response.headers_mut().insert(X_REQUEST_ID, id.0.clone());
        response
    };
    CURRENT.scope(id.clone(), work.instrument(span)).await
}

fn ms(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// A client may send any method; only known ones become a label, because Prometheus keeps a time series for each value.
fn method_label(method: &axum::http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sane_id_of_the_client_is_kept() {
        let headers = HeaderMap::from_iter([(X_REQUEST_ID, HeaderValue::from_static("my-id_1.2"))]);

        assert_eq!(RequestId::of(&headers).as_str(), "my-id_1.2");
    }

    #[test]
    fn an_id_that_could_break_a_log_line_is_replaced() {
        let headers = HeaderMap::from_iter([(X_REQUEST_ID, HeaderValue::from_static("a b\"c"))]);

        assert!(RequestId::of(&headers).as_str().starts_with("req_"));
    }
}
