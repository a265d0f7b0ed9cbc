//! The route table and the order of layers.

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, REFERRER_POLICY};
use axum::http::header::{RETRY_AFTER, UPGRADE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::{Next, from_fn, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tower::util::option_layer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;
use utoipa::openapi::OpenApi as Document;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::config::Settings;

pub mod audit;
pub mod auth;
pub mod body;
pub mod chat;
mod console;
pub mod deployments;
pub mod embeddings;
pub mod error;
pub mod health;
pub mod kept;
pub mod keys;
pub mod limit;
pub mod list;
pub mod mcp;
pub mod models;
pub mod openapi;
pub mod operations;
pub mod path;
mod protected_resource;
pub mod request_id;
pub mod responses;
mod serve;
pub mod sse;
mod state;
pub mod unreadable;

pub use serve::serve;

use console::chat::answers_in_progress::AnswersInProgress;
use console::open_pages::OpenPages;
use error::ApiError;
use limit::Streams;
use mcp::Mcp;
use responses::live::LiveResponses;
use state::HttpState;

/// The routes for callers, with their description.
fn api() -> OpenApiRouter<HttpState> {
    OpenApiRouter::default()
        .routes(routes!(chat::complete, chat::stored::list))
        .routes(routes!(chat::stored::show, chat::stored::update, chat::stored::delete))
        .routes(routes!(chat::stored::messages))
        .routes(routes!(responses::create))
        .routes(routes!(responses::stored::show, responses::stored::delete))
        .routes(routes!(responses::stored::input_items))
        .routes(routes!(responses::stored::cancel))
        .route("/v1/responses/compact", post(responses::unserved))
        .route("/v1/responses/input_tokens", post(responses::unserved))
        .routes(routes!(embeddings::create))
        .routes(routes!(models::list))
        .routes(routes!(models::show))
        .routes(routes!(operations::list))
        .routes(routes!(operations::show))
        .routes(routes!(operations::events))
        .routes(routes!(operations::cancel))
        .routes(routes!(operations::resume))
        .routes(routes!(deployments::list))
        .routes(routes!(deployments::show))
        .routes(routes!(deployments::logs))
        .routes(routes!(keys::list, keys::create))
        .routes(routes!(keys::rotate))
        .routes(routes!(keys::revoke))
        .routes(routes!(audit::list))
        .routes(routes!(openapi::show))
        // Not OpenAPI's kind of route: its own protocol describes it.
        .route("/mcp", post(mcp::serve))
        .route("/mcp/", post(mcp::serve))
}

/// The routes for those who run the server and for those who have no key yet, which ask for none.
fn operators() -> OpenApiRouter<HttpState> {
    let [of_mcp, of_all] = protected_resource::PATHS;
    OpenApiRouter::default()
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .route(of_mcp, get(protected_resource::show))
        .route(of_all, get(protected_resource::show))
}

/// The description of all routes.
#[must_use]
pub fn document() -> Document {
    openapi::document([api().into_openapi(), operators().into_openapi()])
}

/// Every route, and what each request passes on its way there.
pub fn router(app: App) -> Router {
    // A counter that is incremented before a recorder is installed is lost.
    health::recorder();
    let settings = app.settings().clone();

    let (api, _) = api().split_for_parts();
    let api = match settings.server.rate_limit_per_minute {
        Some(per_minute) => limit::rate(api, per_minute, app.shutdown_token()),
        None => api,
    };
    // Outside of the limits, which count by caller.
    let api = api.layer(from_fn_with_state(app.clone(), auth::identify));
    let (operators, _) = operators().split_for_parts();

    let streams = Streams::new(settings.server.max_open_streams);
    let pages = if settings.server.console { console::routes(&app) } else { Router::new() };
    api.merge(operators)
        .merge(pages)
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        // Read from below: the last layer is the first that a request meets.
        .layer(from_fn_with_state(app.clone(), check_header))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(mcp::refuse_in_protocol))
        .layer(CompressionLayer::new().compress_when(SizeAbove::new(1024).and(NotForContentType::SSE)))
        .layer(option_layer(cors(&settings)))
        .layer(map_response(secured))
        .layer(from_fn(request_id::assign))
        .layer(SetSensitiveRequestHeadersLayer::new([AUTHORIZATION, COOKIE]))
        .with_state(HttpState {
            mcp: Mcp::new(app.clone()),
            app,
            streams,
            live: LiveResponses::default(),
            pages: OpenPages::default(),
            answers: AnswersInProgress::default(),
            document: Arc::new(document()),
        })
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
    let exposed = [request_id::X_REQUEST_ID, RETRY_AFTER, WWW_AUTHENTICATE, HeaderName::from_static("x-should-retry")];
    Some(
        CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([Method::GET, Method::POST, Method::DELETE])
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers(exposed),
    )
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is the layer's")]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    ApiError::Internal(format!("panicked: {}", text.unwrap_or("without a text")).into()).into_response()
}

async fn no_such_route(State(app): State<App>, request: Request) -> Response {
    let error = ApiError::RouteNotFound(shown(&request));
    told(&app, request, error).await
}

async fn no_such_method(State(app): State<App>, request: Request) -> Response {
    let error = not_allowed(&request);
    told(&app, request, error).await
}

/// Refuses a header that is too large.
async fn check_header(State(app): State<App>, request: Request, next: Next) -> Response {
    let checked = limit::header_size(&request);
    match checked {
        Ok(()) => next.run(request).await,
        Err(error) => told(&app, request, error).await,
    }
}

/// What is wrong, in the form that whoever asks can read.
async fn told(app: &App, request: Request, error: ApiError) -> Response {
    let (parts, _) = request.into_parts();
    if app.settings().server.console { console::told(app, &parts, error).await } else { error.into_response() }
}

/// A WebSocket, of which there are none here, begins as a GET.
fn not_allowed(request: &Request) -> ApiError {
    let upgrade = request.headers().get(UPGRADE).and_then(|it| it.to_str().ok());
    if upgrade.is_some_and(|it| it.eq_ignore_ascii_case("websocket")) {
        return ApiError::RouteNotFound(format!("{} by WebSocket", shown(request)));
    }
    ApiError::MethodNotAllowed(shown(request))
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
