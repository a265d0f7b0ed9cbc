//! What a request of the protocol carries: who asks, by which HTTP request, and what the client can do.

use axum::http::HeaderMap;
use axum::http::request::Parts;
use rmcp::model::ProtocolVersion;
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};

use crate::access::Caller;
use crate::http::request_id::RequestId;

/// Who asks.
///
/// # Errors
/// When the request did not come through the route that finds it out.
pub fn caller(context: &RequestContext<RoleServer>) -> Result<Caller, ErrorData> {
    let caller = parts(context).and_then(|it| it.extensions.get::<Caller>());
    caller.cloned().ok_or_else(|| ErrorData::internal_error("the request has no caller", None))
}

/// The id of the HTTP request.
#[must_use]
pub fn request_id(context: &RequestContext<RoleServer>) -> String {
    let id = parts(context).and_then(|it| it.extensions.get::<RequestId>());
    id.map(|it| it.as_str().to_owned()).unwrap_or_default()
}

/// The headers of the HTTP request.
#[must_use]
pub fn headers(context: &RequestContext<RoleServer>) -> HeaderMap {
    parts(context).map(|it| it.headers.clone()).unwrap_or_default()
}

/// Whether the client can put a question to its person and come back with the answer: by the results that ask for input of
/// revision 2026-07-28. In the revisions before, a question takes a session, and there are none here.
#[must_use]
pub fn can_ask(context: &RequestContext<RoleServer>) -> bool {
    let is_new = context.protocol_version().is_some_and(|it| it.as_str() >= ProtocolVersion::V_2026_07_28.as_str());
    let elicitation = context.client_capabilities().and_then(|it| it.elicitation);
    // A client that names no form of it knows the first one.
    is_new && elicitation.is_some_and(|it| it.form.is_some() || it.url.is_none())
}

/// Whether the client knows tasks.
#[must_use]
pub fn knows_tasks(context: &RequestContext<RoleServer>) -> bool {
    context.client_capabilities().is_some_and(|it| it.supports_tasks())
}

fn parts(context: &RequestContext<RoleServer>) -> Option<&Parts> {
    context.extensions.get::<Parts>()
}
