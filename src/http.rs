//! The route table and the order of layers.

use std::any::Any;

use axum::Router;
use axum::extract::{FromRef, Request};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, REFERRER_POLICY};
use axum::http::header::{RETRY_AFTER, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::{from_fn, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tower::util::option_layer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;

use crate::app::App;
use crate::config::Settings;

pub mod auth;
pub mod body;
pub mod chat;
pub mod deployments;
pub mod embeddings;
pub mod error;
pub mod health;
pub mod limit;
pub mod list;
pub mod models;
pub mod openapi;
pub mod operations;
pub mod path;
pub mod request_id;
mod serve;
pub mod sse;
pub mod unreadable;

pub use serve::serve;

use auth::Authenticator;
use error::ApiError;
use limit::Streams;

/// What handlers can extract from: the app, and what this layer keeps for itself.
#[derive(Clone, FromRef)]
pub struct HttpState {
    app: App,
    keys: Authenticator,
    streams: Streams,
}

/// Every route, and what each request passes on its way there.
pub fn router(app: App) -> Router {
    // A counter that is incremented before a recorder is installed is lost.
    health::recorder();
    let settings = app.settings().clone();
    let keys = Authenticator::new(&settings);

    let api = Router::new()
        .route("/v1/chat/completions", post(chat::complete))
        .route("/v1/embeddings", post(embeddings::create))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{id}", get(models::show))
        .route("/v1/operations", get(operations::list))
        .route("/v1/operations/{id}", get(operations::show))
        .route("/v1/operations/{id}/events", get(operations::events))
        .route("/v1/operations/{id}/cancel", post(operations::cancel))
        .route("/v1/operations/{id}/resume", post(operations::resume))
        .route("/v1/deployments", get(deployments::list))
        .route("/v1/deployments/{id}", get(deployments::show))
        .route("/v1/deployments/{id}/logs", get(deployments::logs))
        .route("/openapi.json", get(openapi::show));
    let api = match settings.server.rate_limit_per_minute {
        Some(per_minute) => limit::rate(api, per_minute, keys.clone(), app.shutdown_token()),
        None => api,
    };
    let operators = Router::new()
        .route("/health", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(health::metrics));

    let streams = Streams::new(settings.server.max_open_streams);
    api.merge(operators)
        .fallback(async |request: Request| ApiError::RouteNotFound(shown(&request)))
        .method_not_allowed_fallback(async |request: Request| ApiError::MethodNotAllowed(shown(&request)))
        // Read from below: the last layer is the first that a request meets.
        .layer(from_fn(limit::header_size))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(CompressionLayer::new().compress_when(SizeAbove::new(1024).and(NotForContentType::SSE)))
        .layer(option_layer(cors(&settings)))
        .layer(map_response(secured))
        .layer(from_fn(request_id::assign))
        .layer(SetSensitiveRequestHeadersLayer::new([AUTHORIZATION, COOKIE]))
        .with_state(HttpState { app, keys, streams })
}

/// Headers that keep a browser from doing more with an answer than showing it.
async fn secured(mut response: Response) -> Response {
    const HEADERS: [(HeaderName, HeaderValue); 5] = [
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(value);
    }
    response
}

fn cors(settings: &Settings) -> Option<CorsLayer> {
    let origins: Vec<HeaderValue> =
        settings.server.cors_allowed_origins.iter().filter_map(|origin| origin.as_str().parse().ok()).collect();
    if origins.is_empty() {
        return None;
    }
    let origins = if origins.iter().any(|it| it == "*") { AllowOrigin::any() } else { AllowOrigin::list(origins) };
    let exposed = [request_id::X_REQUEST_ID, RETRY_AFTER, HeaderName::from_static("x-should-retry")];
    Some(
        CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([Method::GET, Method::POST])
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers(exposed),
    )
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is the layer's")]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    ApiError::Internal(format!("panicked: {}", text.unwrap_or("without a text")).into()).into_response()
}

/// Method and path of a request, cut to a length that fits a message.
fn shown(request: &Request) -> String {
    let path: String = request.uri().path().chars().take(80).collect();
    format!("{} {path}", request.method())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_answer_that_does_not_tell_of_it() {
        let response = panicked(Box::new("a bug"));

        assert_eq!(response.status(), 500);
    }
}
