//! Signing in at the issuer: the way there, and the way back.

use axum::extract::{Query, State};
use axum::http::header::SET_COOKIE;
use axum::http::{Extensions, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use secrecy::SecretString;
use serde::Deserialize;

use super::session::{Browser, set_cookie};
use super::sign_in::{self, Failure, Next};
use crate::app::App;
use crate::app::issuer_sign_in::{IssuerAnswer, IssuerRefusal, IssuerSignInError};
use crate::app::oidc::TokenError;
use crate::app::oidc::code_flow::CodeFlowError;
use crate::http::auth;
use crate::http::error::ApiError;

/// What the issuer has a browser bring back (RFC 6749, 4.1.2; RFC 9207).
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    #[serde(default)]
    state: String,
    iss: Option<String>,
    code: Option<SecretString>,
    error: Option<String>,
    error_description: Option<String>,
}

impl From<Answer> for IssuerAnswer {
    fn from(answer: Answer) -> Self {
        let Answer { state, iss, code, error, error_description } = answer;
        let code = match (code, error) {
            (Some(code), None) => Ok(code),
            (_, error) => Err(IssuerRefusal {
                error: error.unwrap_or_else(|| "no code".to_owned()),
                description: error_description,
            }),
        };
        Self { state, issuer: iss, code }
    }
}

/// Leads to the issuer.
pub(super) async fn begin(
    State(app): State<App>,
    browser: Browser,
    Query(next): Query<Next>,
) -> Result<Response, ApiError> {
    match app.begin_issuer_sign_in(browser.cookie(), next.page()).await {
        Ok(address) => Ok(Redirect::to(address.as_str()).into_response()),
        Err(error) => refused(&app, next.page(), error),
    }
}

/// Lets somebody in whom the issuer has signed in.
pub(super) async fn finish(
    State(app): State<App>,
    extensions: Extensions,
    browser: Browser,
    Query(answer): Query<Answer>,
) -> Result<Response, ApiError> {
    match app.finish_issuer_sign_in(browser.cookie(), answer.into(), &auth::address(&extensions)).await {
        Ok(entered) => {
            let cookie = [(SET_COOKIE, set_cookie(&app, &entered.cookie))];
            Ok((cookie, Redirect::to(&entered.next)).into_response())
        }
        Err(error) => refused(&app, "/", error),
    }
}

/// The page on which somebody can begin again, with what was wrong.
fn refused(app: &App, next: &str, error: IssuerSignInError) -> Result<Response, ApiError> {
    let status = match error {
        IssuerSignInError::NotOffered => return Err(ApiError::RouteNotFound("GET /sign-in/oidc".to_owned())),
        IssuerSignInError::App(error) => return Err(error.into()),
        IssuerSignInError::Stale => StatusCode::BAD_REQUEST,
        IssuerSignInError::Issuer(
            CodeFlowError::Unavailable { .. } | CodeFlowError::Token(TokenError::Unchecked(_)),
        ) => StatusCode::SERVICE_UNAVAILABLE,
        IssuerSignInError::Issuer(CodeFlowError::Refused { .. } | CodeFlowError::Token(_)) => StatusCode::FORBIDDEN,
    };
    tracing::warn!(error = &error as &dyn std::error::Error, "nobody was signed in at the issuer");
    let page = sign_in::form(app, next, Failure::Issuer(error.to_string()))?;
    Ok((status, page).into_response())
}
