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

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, Request, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use rmcp::ErrorData;
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, ErrorCode};
use rmcp::transport::StreamableHttpService;
use rmcp::transport::streamable_http_server::StreamableHttpServerConfig;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use serde_json::{Value, json};

use crate::access::{Caller, Surface};
use crate::app::App;
use crate::http::auth;
use crate::http::body::RawBody;
use crate::http::error::{ApiError, ErrorObject};
use crate::http::limit::{OpenStream, Streams};
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
/// How much of what the SDK says to a message that it refuses is passed on.
const MAX_WORDS: usize = 4096;
/// The methods of the newest revision. One that it has no more is for the SDK to refuse.
const METHODS: [&str; 13] = [
    "completion/complete",
    "prompts/get",
    "prompts/list",
    "resources/list",
    "resources/read",
    "resources/templates/list",
    "server/discover",
    "subscriptions/listen",
    "tasks/cancel",
    "tasks/get",
    "tasks/update",
    "tools/call",
    "tools/list",
];
/// How long the name of a method may be.
const LONGEST_METHOD: usize = 100;
/// The code of what is refused before the message is read: who asks, from where, how often.
const REFUSED: ErrorCode = ErrorCode(-32001);

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
    if let Err((id, error)) = check(&body) {
        return Ok(refusal(StatusCode::BAD_REQUEST, &id, &error).into_response());
    }
    let accepts = parts.headers.get(ACCEPT).map_or("*/*", |it| it.to_str().unwrap_or_default());
    if accepts.contains("*/*") {
        // Who takes anything takes both forms, which the SDK wants to see named.
        parts.headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    }
    parts.extensions.insert(caller);
    parts.extensions.insert(request_id);
    let response = mcp.0.handle(Request::from_parts(parts, Body::from(body))).await.map(Body::new);
    let content_type = response.headers().get(CONTENT_TYPE);
    let is = |kind: &str| content_type.is_some_and(|it| it.as_bytes().starts_with(kind.as_bytes()));
    let (is_stream, is_json) = (is("text/event-stream"), is("application/json"));
    if is_stream {
        return Ok(kept_open(response, streams.open()?));
    }
    let status = response.status();
    if (status.is_client_error() || status.is_server_error()) && !is_json {
        let text = axum::body::to_bytes(response.into_body(), MAX_WORDS).await.unwrap_or_default();
        let error = ErrorData::invalid_request(String::from_utf8_lossy(&text).into_owned(), None);
        return Ok(refusal(status, &Value::Null, &error).into_response());
    }
    Ok(response)
}

/// A stream that counts as open until it ends.
fn kept_open(response: Response, open: OpenStream) -> Response {
    let mut response = response.map(|body| {
        Body::from_stream(body.into_data_stream().map(move |frame| {
            let _ = &open;
            frame
        }))
    });
    // Proxies that buffer would hold the events back.
    response.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// Puts what any layer refuses a message with into the form that clients of the protocol read.
pub async fn refuse_in_protocol(request: axum::extract::Request, next: Next) -> Response {
    let is_mcp = auth::surface(request.uri().path()) == Surface::Mcp;
    let response = next.run(request).await;
    let Some(error) = response.extensions().get::<ErrorObject>().filter(|_| is_mcp).cloned() else { return response };
    let data = json!({"type": error.kind, "param": error.param, "code": error.code});
    let (headers, body) = refusal(response.status(), &Value::Null, &ErrorData::new(REFUSED, error.message, Some(data)))
        .into_response()
        .into_parts();
    let (mut parts, _) = response.into_parts();
    parts.headers.extend(headers.headers);
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, body)
}

/// An error about a message; without an id that could be read it is about none.
fn refusal(status: StatusCode, id: &Value, error: &ErrorData) -> impl IntoResponse + use<> {
    // Not left out, as JSON-RPC has it: clients for Python look for it.
    (status, Json(json!({"jsonrpc": "2.0", "id": id, "error": error})))
}

/// Looks whether a body is one message of a client: of what is none the SDK says less.
fn check(body: &Bytes) -> Result<(), (Value, ErrorData)> {
    let message: ClientJsonRpcMessage =
        serde_json::from_slice(body).map_err(|error| (Value::Null, no_message(body, &error)))?;
    // What the SDK cannot read as the request that it is by its name counts as one of a method that is not there.
    let ClientJsonRpcMessage::Request(request) = message else { return Ok(()) };
    let ClientRequest::CustomRequest(unread) = request.request else { return Ok(()) };
    let text = if METHODS.contains(&unread.method.as_str()) {
        format!("the parameters of `{}` have a wrong form", unread.method)
    } else if unread.method.len() > LONGEST_METHOD {
        "the name of the method is too long to be one".to_owned()
    } else {
        return Ok(());
    };
    Err((json!(request.id), ErrorData::invalid_params(text, None)))
}

/// Why a body is no message of a client.
fn no_message(body: &Bytes, error: &serde_json::Error) -> ErrorData {
    match serde_json::from_slice(body) {
        Err(error) => ErrorData::parse_error(format!("the body is not JSON: {error}"), None),
        Ok(Value::Array(_)) => ErrorData::invalid_request("send one message per request: batches are not taken", None),
        Ok(_) => {
            let text = format!("the body is not a JSON-RPC message of a client: {error}");
            ErrorData::invalid_request(text, None)
        }
    }
}
