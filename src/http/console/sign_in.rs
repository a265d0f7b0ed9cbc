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
use super::return_path::is_here;
use super::session::{Viewer, forget_cookie, set_cookie};
use crate::app::App;
use crate::app::sessions::SessionError;
use crate::http::auth;
use crate::http::error::ApiError;

/// Where to go on.
#[derive(Debug, Deserialize)]
pub(super) struct Next {
    /// A path of this server.
    next: Option<String>,
    /// A form was sent when the session had ended, and came to nothing.
    unsent: Option<String>,
}

impl Next {
    /// The page, if it is one of here.
    pub(super) fn page(&self) -> &str {
        self.next.as_deref().filter(|it| is_here(it)).unwrap_or("/")
    }
}

/// What has gone wrong before.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing has.
    None,
    /// The session had ended when a form was sent.
    Session,
    /// The key opens nothing.
    Key(String),
    /// The issuer has signed nobody in.
    Issuer(String),
}

/// The page that asks who it is.
pub(super) async fn show(State(app): State<App>, Query(next): Query<Next>) -> Result<Html<String>, ApiError> {
    let failure = if next.unsent.is_some() { Failure::Session } else { Failure::None };
    form(&app, next.page(), failure)
}

/// The same, with what has gone wrong before.
pub(super) fn form(app: &App, next: &str, failure: Failure) -> Result<Html<String>, ApiError> {
    let (is_unsent, error, issuer_error) = match failure {
        Failure::None => (false, None, None),
        Failure::Session => (true, None, None),
        Failure::Key(error) => (false, Some(error), None),
        Failure::Issuer(error) => (false, None, Some(error)),
    };
    let next_value: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
    let values = context! {
        next,
        is_unsent,
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
    shown: PageForm,
) -> Result<Response, ApiError> {
    let key = SecretString::from(shown.required("key")?.to_owned());
    let next = Next { next: shown.text("next").map(str::to_owned), unsent: None };
    if app.keys().are_none() {
        return Ok(Redirect::to(next.page()).into_response());
    }
    match app.open_session(&key, &auth::address(&extensions)).await {
        // Another cookie than before: whoever knew that one is not let in by it.
        Ok(cookie) => Ok(([(SET_COOKIE, set_cookie(&app, &cookie))], Redirect::to(next.page())).into_response()),
        Err(SessionError::App(error)) => Err(error.into()),
        Err(error @ (SessionError::Over | SessionError::Key(_))) => {
            let page = form(&app, next.page(), Failure::Key(error.to_string()))?;
            Ok((StatusCode::FORBIDDEN, page).into_response())
        }
    }
}

/// Ends the session.
pub(super) async fn leave(State(app): State<App>, viewer: Viewer) -> Result<Response, ApiError> {
    app.close_session(viewer.browser.cookie()).await?;
    Ok(([(SET_COOKIE, forget_cookie(&app))], Redirect::to("/sign-in")).into_response())
}
