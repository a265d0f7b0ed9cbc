//! Who asks: the bearer key or token of a request, looked up once, for the limits and for the handler. Without any key the
//! server is open to its own machine, and to nobody else.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{Extensions, HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::access::{Caller, Surface};
use crate::app::App;
use crate::app::keys::{SignInError, SignedIn};
use crate::config::section::Server;
use crate::config::value::HostName;
use crate::http::error::ApiError;
use crate::http::request_id;

/// How long a request may still take to answer when its key has ended.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// What is known of whoever sent a request, for its handler.
#[derive(Debug, Clone)]
struct Identified(Result<Caller, Refusal>);

/// Why somebody is not let in.
#[derive(Debug, Clone)]
enum Refusal {
    Key(SignInError),
    Host(String),
    UnlistedHost(String),
    Origin(String),
    UnlistedOrigin(String),
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Key(error) => error.into(),
            Refusal::Host(host) => Self::HostNotAllowed(host),
            Refusal::UnlistedHost(host) => Self::HostNotListed(host),
            Refusal::Origin(origin) => Self::OriginNotAllowed(origin),
            Refusal::UnlistedOrigin(origin) => Self::OriginNotListed(origin),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        match parts.extensions.get::<Identified>() {
            Some(Identified(identified)) => Ok(identified.clone()?),
            None => Err(ApiError::Internal("a route asks for its caller and is not behind `auth::identify`".into())),
        }
    }
}

/// Who sent a request, for its handler.
pub(super) fn identified_as(parts: &mut Parts, caller: Caller) {
    parts.extensions.insert(Identified(Ok(caller)));
}

/// Whether the server answers under the name that a request calls it, and the page that it comes from.
///
/// # Errors
/// [`ApiError`] names the one or the other.
pub(super) fn require_own_page(app: &App, request: &Parts) -> Result<(), ApiError> {
    let server = &app.settings().server;
    check_host(app, server, request)?;
    if app.keys().are_none() {
        check_origin(server, &request.headers).map_err(Refusal::Origin)?;
    }
    Ok(())
}

/// Finds out who asks before anything else does, and ends what is open when the key ends.
pub(super) async fn identify(State(app): State<App>, request: Request, next: Next) -> Response {
    let response = answered(&app, request, next).await;
    with_metadata(&app, response)
}

async fn answered(app: &App, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let (identified, ended) = match sign_in(app, &parts).await {
        Ok(SignedIn { caller, ended, .. }) => (Ok(caller), ended),
        Err(refusal) => (Err(refusal), None),
    };
    parts.extensions.insert(Identified(identified));
    let request = Request::from_parts(parts, body);
    let Some(ended) = ended else { return next.run(request).await };
    let path = request.uri().path();
    let (is_response, is_mcp) = (path.starts_with("/v1/responses"), surface(path) == Surface::Mcp);
    let mut answer = pin!(next.run(request));
    let response = tokio::select! {
        biased;
        response = answer.as_mut() => response,
        () = ended.cancelled() => match tokio::time::timeout(LAST_WORDS, answer).await {
            Ok(response) => response,
            Err(_) => return ApiError::InvalidApiKey(SignInError::Over).into_response(),
        },
    };
    if response.body().size_hint().exact().is_some() {
        // It is there as a whole: nothing of it is to be ended.
        return response;
    }
    if is_mcp {
        // Its protocol has no word for that: whoever calls again hears why.
        return response.map(|body| Body::from_stream(body.into_data_stream().take_until(ended.cancelled_owned())));
    }
    end_with(response, ended, is_response)
}

/// Tells whoever is asked for a key where it is written which issuer gives tokens. Without an issuer nothing is told: a
/// client would begin a login that fails.
fn with_metadata(app: &App, mut response: Response) -> Response {
    let Some(oidc) = &app.settings().oidc else { return response };
    let Some(challenge) = response.headers().get(WWW_AUTHENTICATE).and_then(|it| it.to_str().ok()) else {
        return response;
    };
    let separator = if challenge == "Bearer" { "" } else { "," };
    let challenge = format!("{challenge}{separator} resource_metadata=\"{}\"", oidc.metadata_url());
    if let Ok(challenge) = HeaderValue::from_str(&challenge) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

/// The surface that a path belongs to.
pub(super) fn surface(path: &str) -> Surface {
    match path {
        "/v1/chat/completions" => Surface::ChatCompletions,
        "/v1/responses" => Surface::Responses,
        "/mcp" | "/mcp/" => Surface::Mcp,
        path if path.starts_with("/v1/") || path == "/openapi.json" => Surface::Http,
        _ => Surface::Console,
    }
}

async fn sign_in(app: &App, request: &Parts) -> Result<SignedIn, Refusal> {
    let address = address(&request.extensions);
    let surface = surface(request.uri.path());
    let server = &app.settings().server;
    check_host(app, server, request)?;
    if app.keys().are_none() {
        check_origin(server, &request.headers).map_err(Refusal::Origin)?;
    } else if surface == Surface::Mcp {
        check_origin(server, &request.headers).map_err(Refusal::UnlistedOrigin)?;
    }
    app.keys().sign_in(bearer(&request.headers), &address, surface).await.map_err(|error| {
        app.note_refused_sign_in(&address, surface, &error);
        Refusal::Key(error)
    })
}

/// Against DNS rebinding: a web page whose name was re-resolved to 127.0.0.1 reaches this server from the person's browser,
/// with that name as `Host`.
fn check_host(app: &App, server: &Server, request: &Parts) -> Result<(), Refusal> {
    let (is_open, is_any_allowed) = (app.keys().are_none(), server.allowed_hosts.is_empty());
    if !is_open && is_any_allowed {
        return Ok(());
    }
    let public = server.public_url.as_ref().and_then(HostName::of_url);
    let is_listed = |host: &HostName| server.allowed_hosts.iter().chain(&public).any(|it| it.allows(host));
    let is_allowed = |text: &str| {
        let host = HostName::parse(text);
        host.is_some_and(|host| host.is_loopback() || (!is_open && is_listed(&host)))
    };
    // A request may say it several times, and in its target: whoever is on the way may have looked at any of them.
    let headers = request.headers.get_all(HOST).iter().map(|it| it.to_str().unwrap_or_default());
    let mut named = headers.chain(request.uri.authority().map(Authority::as_str)).peekable();
    let foreign = if named.peek().is_none() { Some("") } else { named.find(|it| !is_allowed(it)) };
    match foreign.map(|it| it.chars().take(80).collect()) {
        None => Ok(()),
        Some(shown) if is_open => Err(Refusal::Host(shown)),
        Some(shown) => Err(Refusal::UnlistedHost(shown)),
    }
}

/// Whether the page that asks may: a page of anywhere could have a browser on this machine post without a body, which needs no
/// leave of CORS. Whatever is no browser names no page.
fn check_origin(server: &Server, headers: &HeaderMap) -> Result<(), String> {
    let public = server.public_url.as_ref().map(|url| url.origin().ascii_serialization());
    let listed = server.cors_allowed_origins.iter().chain(&server.allowed_origins);
    let is_listed = |origin: &str| {
        listed.clone().any(|it| it.as_str() == "*" || it.as_str() == origin) || public.as_deref() == Some(origin)
    };
    let is_here = |origin: &str| {
        let host = origin.split_once("://").and_then(|(_, host)| HostName::parse(host));
        host.is_some_and(|it| it.is_loopback())
    };
    let mut origins = headers.get_all(ORIGIN).iter().map(|it| it.to_str().unwrap_or_default());
    match origins.find(|it| !is_listed(it) && !is_here(it)) {
        Some(foreign) => Err(foreign.chars().take(80).collect()),
        None => Ok(()),
    }
}

/// The key of the `Authorization` header; one that is no bearer's, or several, count as a key that nobody has.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut headers = headers.get_all(AUTHORIZATION).iter();
    let header = headers.next()?;
    if headers.next().is_some() {
        return Some("");
    }
    let key = header.to_str().ok().and_then(|text| text.split_once(' '));
    let key = key.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, key)| key.trim());
    Some(key.unwrap_or_default())
}

/// Ends the body of a response that is made while it is sent: events with one that says why, by the rules of the API.
fn end_with(response: Response, ended: CancellationToken, is_response: bool) -> Response {
    let content_type = response.headers().get(CONTENT_TYPE);
    let is_events = content_type.is_some_and(|it| it.as_bytes().starts_with(b"text/event-stream"));
    let last = is_events.then(|| {
        let body = ApiError::InvalidApiKey(SignInError::Over).body(&request_id::current());
        serde_json::to_value(body).unwrap_or_default()["error"].take()
    });
    response.map(|body| {
        let (is_over, number) = (ended.clone(), Arc::new(AtomicI64::new(-1)));
        let count = Arc::clone(&number);
        let frames = body.into_data_stream().take_until(ended.cancelled_owned()).inspect(move |frame| {
            if let Ok(frame) = frame
                && let Some(number) = sequence_number(frame)
            {
                count.store(number, Ordering::Relaxed);
            }
        });
        let last =
            stream::iter(last).filter(move |_| std::future::ready(is_over.is_cancelled())).map(move |mut error| {
                if !is_response {
                    return Ok(Bytes::from(format!("data: {}\n\n", json!({"error": error}))));
                }
                error["type"] = json!("error");
                error["sequence_number"] = json!(number.load(Ordering::Relaxed) + 1);
                Ok(Bytes::from(format!("event: error\ndata: {error}\n\ndata: [DONE]\n\n")))
            });
        Body::from_stream(frames.chain(last))
    })
}

/// The number of an event of the Responses API.
fn sequence_number(frame: &[u8]) -> Option<i64> {
    const NAME: &str = "\"sequence_number\":";
    let text = std::str::from_utf8(frame).ok()?;
    let (_, rest) = text.rsplit_once(NAME)?;
    rest.split(|it: char| !it.is_ascii_digit()).next()?.parse().ok()
}

/// The address at the other end.
pub(super) fn address(extensions: &Extensions) -> String {
    match extensions.get::<ConnectInfo<SocketAddr>>() {
        Some(ConnectInfo(peer)) => peer.ip().to_canonical().to_string(),
        None => "unknown".to_owned(),
    }
}

/// What a request is counted by: its caller; the address of whoever is not let in.
pub(super) fn counted_as(extensions: &Extensions) -> String {
    match extensions.get::<Identified>() {
        Some(Identified(Ok(caller))) => caller.principal.clone(),
        Some(Identified(Err(_))) | None => format!("address:{}", address(extensions)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Settings, Sources};

    #[test]
    fn only_pages_of_the_lists_and_of_this_machine_may_ask() {
        let settings = [
            ("PUBLIC_URL", "https://deploy.example.test/path"),
            ("ALLOWED_ORIGINS", "https://page.example.test"),
            ("CORS_ALLOWED_ORIGINS", "https://chat.example.test"),
        ];
        let server = Settings::load(&Sources::of(Path::new("/srv"), settings)).unwrap().0.server;
        let check = |origins: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for origin in origins {
                headers.append(ORIGIN, HeaderValue::from_static(origin));
            }
            check_origin(&server, &headers)
        };

        let pages = ["https://page.example.test", "https://chat.example.test", "https://deploy.example.test"];
        for origin in pages.into_iter().chain(["http://localhost:3000", "http://[::1]:5", "http://127.0.0.1"]) {
            assert_eq!(check(&[origin]), Ok(()), "{origin}");
        }
        for origin in
            ["https://evil.example.test", "null", "", "http://page.example.test", "https://localhost.evil.test"]
        {
            assert_eq!(check(&[origin]), Err(origin.to_owned()));
        }
        assert!(check(&[]).is_ok() && check(&[pages[0], "null"]).is_err());
    }

    #[test]
    fn a_key_is_what_comes_after_bearer() {
        let key = |value: &'static str| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(value))]);
            bearer(&headers).map(str::to_owned)
        };

        assert_eq!(key("bearer  a-key ").as_deref(), Some("a-key"));
        assert_eq!(key("Basic eDp5").as_deref(), Some(""));
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
