//! Which issuer gives tokens for this server: the metadata of a protected resource (RFC 9728), by which clients of MCP find
//! the way to log in. Without an issuer there is none.

use axum::Json;
use axum::extract::{Request, State};
use serde::Serialize;

use crate::app::App;
use crate::http::error::ApiError;

/// Where the metadata is; with the path of the resource at its end, as RFC 9728 has it, and without.
pub(super) const PATHS: [&str; 2] =
    ["/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource"];

/// What a client has to know to get a token.
#[derive(Debug, Serialize)]
pub(super) struct Metadata {
    resource: String,
    authorization_servers: [String; 1],
    bearer_methods_supported: [&'static str; 1],
    resource_name: &'static str,
}

/// Shows the metadata, to anybody.
pub(super) async fn show(State(app): State<App>, request: Request) -> Result<Json<Metadata>, ApiError> {
    let Some(oidc) = &app.settings().oidc else {
        return Err(ApiError::RouteNotFound(format!("GET {}", request.uri().path())));
    };
    Ok(Json(Metadata {
        resource: oidc.resource(),
        authorization_servers: [oidc.issuer.clone()],
        bearer_methods_supported: ["header"],
        resource_name: "on-demand-infra",
    }))
}
