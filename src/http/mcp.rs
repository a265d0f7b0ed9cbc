//! `/mcp`: the same requests as tools of the Model Context Protocol, for agents and their clients.
//!
//! The SDK speaks the protocol (Streamable HTTP without sessions, revision 2026-07-28 and those before); what is here
//! translates: a call of a tool is a request by the same table of fields, accepted by the same `App`, with the rights of
//! the key that it came with. Nothing is kept between two requests but what is in the store, so that any of them may meet
//! a server that was started in between.
//!
//! Revisions of the specification: "Model Context Protocol Specification", 2025-03-26 to 2026-07-28.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use rmcp::ErrorData;
use rmcp::model::{ClientJsonRpcMessage, JsonRpcError};
use rmcp::transport::StreamableHttpService;
use rmcp::transport::streamable_http_server::StreamableHttpServerConfig;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use serde::Deserialize;
use serde_json::Value;

use crate::access::Caller;
use crate::app::App;
use crate::http::body::RawBody;
use crate::http::error::ApiError;
use crate::http::limit::Streams;
use crate::http::request_id::RequestId;

pub mod arguments;
pub mod call;
pub mod confirmation;
pub mod context;
pub mod operation;
pub mod prompt;
pub mod resource;
pub mod result;
pub mod schema;
pub mod server;
pub mod subscription;
pub mod task;
pub mod tool;

use server::McpServer;

/// A silent stream has a comment this often, as those of the other routes.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// The protocol, for the route. Cheap to clone.
#[derive(Clone)]
pub struct Mcp(StreamableHttpService<McpServer, NeverSessionManager>);

impl Mcp {
    /// For this app.
    #[must_use]
    pub fn new(app: App) -> Self {
        let mut config = StreamableHttpServerConfig::default()
            // Who may reach this server under which name is looked at for all routes, in `auth`.
            .disable_allowed_hosts()
            .disable_allowed_origins();
        config.legacy_session_mode = false;
        config.json_response = true;
        config.sse_keep_alive = Some(KEEP_ALIVE);
        config.sse_retry = None;
        let server = McpServer::new(app);
        Self(StreamableHttpService::new(move || Ok(server.clone()), Arc::default(), config))
    }
}

/// Takes one message of the protocol.
///
/// # Errors
/// [`ApiError`] when the body does not arrive, or when as many streams are open as may be.
pub async fn serve(
    State(mcp): State<Mcp>,
    State(streams): State<Streams>,
    caller: Caller,
    request_id: RequestId,
    RawBody(mut parts, body): RawBody,
) -> Result<Response, ApiError> {
    if let Err(error) = is_message(&body) {
        let answer = JsonRpcError::new(None, error);
        let body = serde_json::to_string(&answer).unwrap_or_default();
        return Ok((StatusCode::BAD_REQUEST, [(CONTENT_TYPE, "application/json")], body).into_response());
    }
    parts.extensions.insert(caller);
    parts.extensions.insert(request_id);
    let response = mcp.0.handle(Request::from_parts(parts, Body::from(body))).await;
    let is_stream =
        response.headers().get(CONTENT_TYPE).is_some_and(|it| it.as_bytes().starts_with(b"text/event-stream"));
    if !is_stream {
        return Ok(response.map(Body::new));
    }
    let open = streams.open()?;
    let mut response = response.map(|body| {
        Body::from_stream(Body::new(body).into_data_stream().map(move |frame| {
            let _ = &open;
            frame
        }))
    });
    // Proxies that buffer would hold the events back.
    response.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

/// Whether a body is one message of a client.
fn is_message(body: &Bytes) -> Result<(), ErrorData> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| ErrorData::parse_error(format!("the body is not JSON: {error}"), None))?;
    if value.is_array() {
        let message = "send one message per request: the protocol has no batches since revision 2025-06-18";
        return Err(ErrorData::invalid_request(message, None));
    }
    match ClientJsonRpcMessage::deserialize(&value) {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(ErrorData::invalid_request(format!("the body is not a JSON-RPC message of a client: {error}"), None))
        }
    }
}
