//! Who looks at a page: the cookie of a session, or nothing on a server that is open to its own machine. Cookies count here
//! and nowhere else, and no other key counts here.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{ACCEPT, COOKIE, HOST, ORIGIN, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use secrecy::{ExposeSecret, SecretString};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::page_form::PageForm;
use super::return_path::page_of_form;
use super::text;
use crate::access::{Caller, Surface};
use crate::app::App;
use crate::app::keys::SignedIn;
use crate::app::sessions::{SessionError, form_token};
use crate::config::value::HostName;
use crate::http::error::{ApiError, ErrorObject};
use crate::http::{auth, body};
use crate::store::sessions::LONGEST;

/// The field of every form that shows that it is one of ours.
const TOKEN: &str = "token";
/// What is wrong with a form whose token is of another session.
pub(super) const OUT_OF_DATE: &str = "form_out_of_date";
/// What is wrong with a form of a page of elsewhere.
pub(super) const FOREIGN: &str = "form_of_elsewhere";
/// How often is looked whether a session is still there for which something is sent.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(10);

/// The browser that a request comes from.
#[derive(Debug, Clone)]
pub(super) struct Browser {
    /// What its forms send along.
    pub form_token: String,
    /// It has signed in, and can sign out.
    pub has_session: bool,
    /// What the person is called who has signed in at the issuer.
    pub display_name: Option<String>,
    /// Cancelled when its key or token has ended.
    ended: CancellationToken,
    cookie: SecretString,
}

impl Browser {
    /// What it is recognised by.
    pub(super) fn cookie(&self) -> &SecretString {
        &self.cookie
    }

    /// Ends when it has nothing to look for here any more: with its key, and soon after its session.
    pub(super) async fn left(self, app: App) {
        let over = async {
            loop {
                tokio::time::sleep(LOOKED_AT_EVERY).await;
                if let Err(SessionError::Over | SessionError::Key(_)) = app.session(&self.cookie, "").await {
                    return;
                }
            }
        };
        tokio::select! {
            () = over, if self.has_session => (),
            () = self.ended.cancelled() => (),
        }
    }
}

/// Who looks at a page, and with what.
#[derive(Debug, Clone)]
pub(super) struct Viewer {
    /// Who.
    pub caller: Caller,
    /// The browser.
    pub browser: Browser,
}

impl<S: Sync> FromRequestParts<S> for Viewer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, state).await?;
        Ok(Self { caller, browser: Browser::from_request_parts(parts, state).await? })
    }
}

impl<S: Sync> FromRequestParts<S> for Browser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let browser = parts.extensions.get::<Self>().cloned();
        browser.ok_or_else(|| ApiError::Internal("a page asks for its browser and is not behind `session`".into()))
    }
}

/// Lets those in who have signed in, and leads all others to where they do.
pub(super) async fn admit(State(app): State<App>, request: Request, next: Next) -> Response {
    enter(&app, request, next, false).await.unwrap_or_else(IntoResponse::into_response)
}

/// Lets everybody in.
pub(super) async fn greet(State(app): State<App>, request: Request, next: Next) -> Response {
    enter(&app, request, next, true).await.unwrap_or_else(IntoResponse::into_response)
}

async fn enter(app: &App, request: Request, next: Next, is_open: bool) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    auth::require_own_page(app, &parts)?;
    if let Some(place) = place_of_its_own(app, &parts) {
        return Ok(Redirect::temporary(&place).into_response());
    }
    let brought = read_cookie(app, &parts.headers);
    let cookie = match &brought {
        Some(cookie) => cookie.clone(),
        None => app.new_cookie()?,
    };
    let (form, body) = if is_reading(&parts) {
        (None, body)
    } else {
        if let Some(origin) = foreign_origin(app, &parts.headers) {
            let message =
                format!("This form was sent by a page of `{origin}`, and not of this server. Nothing was done.");
            return Ok(refused(FOREIGN, message));
        }
        let limit = app.settings().server.max_body_bytes;
        let form = PageForm::read(&body::read(&parts.headers, body.into_data_stream(), limit).await?);
        (Some(form), Body::empty())
    };
    let (caller, ended, display_name) = match sign_in(app, brought.as_ref(), &parts).await {
        Ok(SignedIn { caller, ended, display_name }) => (Some(caller), ended.unwrap_or_default(), display_name),
        Err(SessionError::App(error)) => return Err(error.into()),
        Err(SessionError::Over | SessionError::Key(_)) if is_open => (None, CancellationToken::new(), None),
        Err(SessionError::Over | SessionError::Key(_)) => return Ok(to_sign_in(&parts)),
    };
    if let Some(form) = form {
        // Signing in acts with the key that is typed and not with the cookie: there the origin is enough, and one from a
        // tab that is older than the session is as good as any.
        if !is_open && !has_token(&form, &cookie) {
            let message = "The session of this browser has changed since the page with this form was loaded, perhaps by \
                           signing in in another tab. Nothing was done.";
            return Ok(refused(OUT_OF_DATE, message.to_owned()));
        }
        parts.extensions.insert(form);
    }
    let set = brought.is_none().then(|| set_cookie(app, &cookie));
    let has_session = caller.is_some() && !app.keys().are_none();
    parts.extensions.insert(Browser { form_token: form_token(&cookie), has_session, display_name, ended, cookie });
    if let Some(caller) = caller {
        auth::identified_as(&mut parts, caller);
    }
    let mut response = next.run(Request::from_parts(parts, body)).await;
    if let Some(cookie) = set {
        // Unless the handler has set one.
        response.headers_mut().entry(SET_COOKIE).or_insert(cookie);
    }
    Ok(response)
}

/// Who looks at a page that says what is wrong, wherever that was found: nobody, unless a page would let them in.
pub(super) async fn viewer(app: &App, request: &Parts) -> Option<Viewer> {
    auth::require_own_page(app, request).ok()?;
    let brought = read_cookie(app, &request.headers);
    let SignedIn { caller, ended, display_name } = sign_in(app, brought.as_ref(), request).await.ok()?;
    let cookie = brought.or_else(|| app.new_cookie().ok())?;
    let browser = Browser {
        form_token: form_token(&cookie),
        has_session: !app.keys().are_none(),
        display_name,
        ended: ended.unwrap_or_default(),
        cookie,
    };
    Some(Viewer { caller, browser })
}

/// Whose browser it is that brought this cookie, or none.
async fn sign_in(app: &App, brought: Option<&SecretString>, request: &Parts) -> Result<SignedIn, SessionError> {
    let address = auth::address(&request.extensions);
    if app.keys().are_none() {
        return app.keys().sign_in(None, &address, Surface::Console).await.map_err(SessionError::Key);
    }
    app.session(brought.ok_or(SessionError::Over)?, &address).await
}

/// Where somebody signs in, who comes back then: to this page, or to the one that has sent this form or is to hold this
/// part.
fn to_sign_in(parts: &Parts) -> Response {
    let wants_part = parts.headers.contains_key("hx-request")
        || parts.headers.get(ACCEPT).is_some_and(|it| it.as_bytes().starts_with(b"text/event-stream"));
    let is_leaving = parts.uri.path() == "/sign-out";
    let is_form = !is_reading(parts) && !is_leaving;
    let next = if is_leaving {
        None
    } else if is_form || wants_part {
        page_of_form(&parts.headers)
    } else {
        parts.uri.path_and_query().map(ToString::to_string)
    };
    let (next, unsent) = (next.filter(|it| it != "/"), is_form.then(|| "true".to_owned()));
    let place = text::address("/sign-in", [("next", next), ("unsent", unsent)]);
    if !wants_part {
        return Redirect::to(&place).into_response();
    }
    // A part of a page cannot lead anywhere: its page has to.
    let place = HeaderValue::from_str(&place).unwrap_or(HeaderValue::from_static("/sign-in"));
    (StatusCode::UNAUTHORIZED, [(HeaderName::from_static("hx-redirect"), place)]).into_response()
}

fn is_reading(parts: &Parts) -> bool {
    parts.method == Method::GET || parts.method == Method::HEAD
}

/// Where the console has a name of its own on this machine: browsers send a cookie to every port of a host name, and
/// applications of the mode `local` answer at ports of `localhost`.
fn place_of_its_own(app: &App, parts: &Parts) -> Option<String> {
    let host = parts.headers.get(HOST)?.to_str().ok()?;
    let rest = host.strip_prefix("localhost")?;
    let is_port = |it: &str| it.parse::<u16>().is_ok();
    let is_meant = (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port)) && is_reading(parts);
    let page = parts.uri.path_and_query()?;
    (is_meant && !is_secure(app) && !app.keys().are_none()).then(|| format!("http://127.0.0.1{rest}{page}"))
}

/// A change comes from a page of this server: the browser says so. Where it comes from when it does not.
fn foreign_origin(app: &App, headers: &HeaderMap) -> Option<String> {
    let text = |name: HeaderName| headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let (told, host) = (text(ORIGIN), text(HOST));
    let origin = Url::parse(told).map(|url| url.origin().ascii_serialization()).unwrap_or_default();
    let is_here = match &app.settings().server.public_url {
        Some(public) if origin == public.origin().ascii_serialization() => true,
        // Another way than by the public address: from the machine itself.
        Some(_) => HostName::parse(host).is_some_and(|it| it.is_loopback()) && origin == format!("http://{host}"),
        None => origin.split_once("://").is_some_and(|(_, it)| it == host),
    };
    (!is_here).then(|| told.chars().take(80).collect())
}

/// And from a form that knows what only those know that were made for this browser.
fn has_token(form: &PageForm, cookie: &SecretString) -> bool {
    // Both are hashes that nobody can choose: how long it takes to compare them tells nothing.
    form.text(TOKEN) == Some(form_token(cookie).as_str())
}

/// What is told of a form that is not taken. No right is missing, and only pages have forms, so it is none of the errors
/// of the API; [`super::error::as_page`] makes a page of it.
fn refused(code: &'static str, message: String) -> Response {
    let told = ErrorObject { message, kind: "invalid_request_error", param: None, code: code.into() };
    let mut response = StatusCode::FORBIDDEN.into_response();
    response.extensions_mut().insert(told);
    response
}

fn is_secure(app: &App) -> bool {
    app.settings().server.public_url.as_ref().is_some_and(|url| url.scheme() == "https")
}

/// A name that browsers keep for this host and this host alone, where the way to it is encrypted.
fn cookie_name(app: &App) -> &'static str {
    if is_secure(app) { "__Host-on-demand-infra" } else { "on-demand-infra" }
}

fn read_cookie(app: &App, headers: &HeaderMap) -> Option<SecretString> {
    let name = cookie_name(app);
    let texts = headers.get_all(COOKIE).iter().filter_map(|it| it.to_str().ok());
    let mut cookies = texts.flat_map(|it| it.split(';')).filter_map(|it| it.trim().split_once('='));
    let (_, value) = cookies.find(|(it, value)| *it == name && !value.is_empty())?;
    Some(SecretString::from(value.to_owned()))
}

/// Has a browser keep a cookie.
pub(super) fn set_cookie(app: &App, cookie: &SecretString) -> HeaderValue {
    header(app, cookie.expose_secret(), LONGEST.as_secs())
}

/// Has a browser forget its cookie.
pub(super) fn forget_cookie(app: &App) -> HeaderValue {
    header(app, "", 0)
}

fn header(app: &App, cookie: &str, seconds: i64) -> HeaderValue {
    let secure = if is_secure(app) { "; Secure" } else { "" };
    let text = format!("{}={cookie}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}", cookie_name(app));
    let mut value = HeaderValue::from_str(&text).expect("names and values are letters, digits and `-`");
    value.set_sensitive(true);
    value
}
