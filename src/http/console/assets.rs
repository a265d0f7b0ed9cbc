//! What pages are made of beside their text: style, scripts, icons. Each is embedded, and named with a part of its hash, so
//! that a browser keeps it for good.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;

use crate::http::error::ApiError;
use crate::http::path::PathId;
use crate::template::{self, File};

/// The address of an asset for a page; changes with what is in it.
pub(super) fn address(name: &str) -> Option<String> {
    let file = template::file(&path(name))?;
    Some(format!("/assets/{name}{}", version(&file)))
}

fn version(file: &File) -> String {
    format!("?v={}", HEXLOWER.encode(&file.hash[..4]))
}

fn path(name: &str) -> String {
    format!("console/assets/{name}")
}

/// Serves an asset.
pub(super) async fn show(uri: Uri, PathId(name): PathId) -> Result<Response, ApiError> {
    let kind = match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    };
    let shown: String = name.chars().take(80).collect();
    let file = template::file(&path(&name)).ok_or_else(|| ApiError::RouteNotFound(format!("GET /assets/{shown}")))?;
    // Whoever asks without this hash wants what is there now: a page of another version of the server, say.
    let is_exact = uri.query().is_some_and(|it| Some(it) == version(&file).strip_prefix('?'));
    let keep = if is_exact { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = [(CONTENT_TYPE, HeaderValue::from_static(kind)), (CACHE_CONTROL, HeaderValue::from_static(keep))];
    Ok((headers, file.bytes.into_owned()).into_response())
}
