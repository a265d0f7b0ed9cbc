//! Signing in with a key, and out. The page leads on to the issuer, too, where people sign in at one.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::SET_COOKIE;
use axum::response::{Html, IntoResponse, Redirect, Response};
use minijinja::context;
use secrecy::SecretString;
use serde::Deserialize;
use url::{Url, form_urlencoded};

use super::page_form::PageForm;
use super::render;
use super::session::{Browser, Viewer, forget_cookie, set_cookie};
use crate::app::App;
use crate::app::sessions::SessionError;
use crate::http::auth;
use crate::http::error::ApiError;

/// Where to go on.
#[derive(Debug, Deserialize)]
pub(super) struct Next {
    /// A path of this server.
    next: Option<String>,
}

impl Next {
    /// The page, if it is one of here: a browser takes `//host` and `/\host` for another server.
    pub(super) fn page(&self) -> &str {
        let is_here =
            |it: &&str| it.starts_with('/') && !it[1..].starts_with(['/', '\\']) && !it.contains(char::is_control);
        self.next.as_deref().filter(is_here).unwrap_or("/")
    }
}

/// What has gone wrong before.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing has.
    None,
    /// The key opens nothing.
    Key(String),
    /// The issuer has signed nobody in.
    Issuer(String),
}

/// The page that asks who it is.
pub(super) async fn show(
    State(app): State<App>,
    browser: Browser,
    Query(next): Query<Next>,
) -> Result<Html<String>, ApiError> {
    form(&app, &browser, next.page(), Failure::None)
}

/// The same, with what has gone wrong before.
pub(super) fn form(app: &App, browser: &Browser, next: &str, failure: Failure) -> Result<Html<String>, ApiError> {
    let (error, issuer_error) = match failure {
        Failure::None => (None, None),
        Failure::Key(error) => (Some(error), None),
        Failure::Issuer(error) => (None, Some(error)),
    };
    let next_value: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
    let values = context! {
        form_token => browser.form_token.as_str(),
        next,
        error,
        issuer => issuer_host(app),
        issuer_link => format!("/sign-in/oidc?next={next_value}"),
        issuer_error,
    };
    render::bare("sign_in.html", values).map(Html).map_err(|error| ApiError::Internal(error.into()))
}

/// Where people sign in beside here, as they know it.
fn issuer_host(app: &App) -> Option<String> {
    app.issuer_client()?;
    let url = Url::parse(&app.settings().oidc.as_ref()?.issuer).ok()?;
    url.host_str().map(str::to_owned)
}

/// Lets somebody in who shows a key.
pub(super) async fn enter(
    State(app): State<App>,
    extensions: axum::http::Extensions,
    browser: Browser,
    shown: PageForm,
) -> Result<Response, ApiError> {
    let key = SecretString::from(shown.required("key")?.to_owned());
    let next = Next { next: shown.text("next").map(str::to_owned) };
    if app.keys().are_none() {
        return Ok(Redirect::to(next.page()).into_response());
    }
    match app.open_session(&key, &auth::address(&extensions)).await {
        // Another cookie than before: whoever knew that one is not let in by it.
        Ok(cookie) => Ok(([(SET_COOKIE, set_cookie(&app, &cookie))], Redirect::to(next.page())).into_response()),
        Err(SessionError::App(error)) => Err(error.into()),
        Err(error @ (SessionError::Over | SessionError::Key(_))) => {
            let page = form(&app, &browser, next.page(), Failure::Key(error.to_string()))?;
            Ok((StatusCode::FORBIDDEN, page).into_response())
        }
    }
}

/// Ends the session.
pub(super) async fn leave(State(app): State<App>, viewer: Viewer) -> Result<Response, ApiError> {
    app.close_session(viewer.browser.cookie()).await?;
    Ok(([(SET_COOKIE, forget_cookie(&app))], Redirect::to("/sign-in")).into_response())
}
