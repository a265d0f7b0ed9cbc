//! Who asks: the bearer key of a request, looked up once, for the limits and for the handler. Without any key the server is
//! open to its own machine, and to nobody else.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::access::{Caller, Surface};
use crate::app::App;
use crate::app::keys::{SignInError, SignedIn};
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
    Origin(String),
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Key(error) => Self::InvalidApiKey(error),
            Refusal::Host(host) => Self::HostNotAllowed(host),
            Refusal::Origin(origin) => Self::OriginNotAllowed(origin),
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

/// Finds out who asks before anything else does, and ends what is open when the key ends.
pub(super) async fn identify(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let (identified, ended) = match sign_in(&app, &request) {
        Ok(SignedIn { caller, ended }) => (Ok(caller), ended),
        Err(refusal) => (Err(refusal), None),
    };
    request.extensions_mut().insert(Identified(identified));
    let Some(ended) = ended else { return next.run(request).await };
    let path = request.uri().path();
    let (is_response, is_mcp) = (path.starts_with("/v1/responses"), path == "/mcp");
    let mut answer = pin!(next.run(request));
    let response = tokio::select! {
        biased;
        response = answer.as_mut() => response,
        () = ended.cancelled() => match tokio::time::timeout(LAST_WORDS, answer).await {
            Ok(response) => response,
            Err(_) => return ApiError::InvalidApiKey(SignInError::Over).into_response(),
        },
    };
    if is_mcp {
        // Its protocol has no word for that: whoever calls again hears why.
        return response.map(|body| Body::from_stream(body.into_data_stream().take_until(ended.cancelled_owned())));
    }
    end_with(response, ended, is_response)
}

fn sign_in(app: &App, request: &Request) -> Result<SignedIn, Refusal> {
    let address = address(request.extensions());
    let surface = match request.uri().path() {
        "/v1/chat/completions" => Surface::ChatCompletions,
        "/v1/responses" => Surface::Responses,
        "/mcp" => Surface::Mcp,
        _ => Surface::Http,
    };
    if app.keys().are_none() {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        if !is_this_machine(host) {
            return Err(Refusal::Host(host.chars().take(80).collect()));
        }
        check_origin(app, request.headers())?;
    }
    app.keys().sign_in(bearer(request.headers()), &address, surface).map_err(|error| {
        app.note_refused_sign_in(&address, surface, &error);
        Refusal::Key(error)
    })
}

/// Without keys a page of anywhere could have a browser on this machine post without a body, which needs no leave of CORS.
fn check_origin(app: &App, headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let allowed = &app.settings().server.cors_allowed_origins;
    let is_allowed = allowed.iter().any(|it| it.as_str() == "*" || it.as_str() == origin);
    let host = origin.split_once("://").map_or("", |(_, host)| host);
    if is_allowed || is_this_machine(host) {
        return Ok(());
    }
    Err(Refusal::Origin(origin.chars().take(80).collect()))
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
    if response.body().size_hint().exact().is_some() {
        return response;
    }
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

/// Whether a `Host` header names this machine. Against DNS rebinding: a web page whose name was re-resolved to
/// 127.0.0.1 reaches this server from the person's browser, with that name as `Host`.
fn is_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.to_ascii_lowercase().ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

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

    #[test]
    fn only_names_of_this_machine_are_taken_for_it() {
        for host in ["localhost:8000", "127.0.0.1:8000", "[::1]:8000", "app.localhost"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in ["rebound.example.test", "localhost.example.test", "192.0.2.1", ""] {
            assert!(!is_this_machine(host), "{host}");
        }
    }
}
