//! What goes wrong, as a page: what is wrong, and what would help.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use minijinja::context;

use super::render::{self, Heading};
use super::return_path::page_of_form;
use super::session::{self, FOREIGN, OUT_OF_DATE, Viewer};
use crate::access::Surface;
use crate::app::App;
use crate::http::auth;
use crate::http::error::{ApiError, ErrorObject};

/// What a page may load and where it may send something: here, and nowhere else.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
     base-uri 'none'; frame-ancestors 'none'",
);

/// What somebody gets who comes to no handler: a page, when it looks for one where pages are.
pub(super) async fn told(app: &App, request: &Parts, error: ApiError) -> Response {
    let accepts = request.headers.get(ACCEPT).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let wants_page = accepts.contains("text/html") && auth::surface(request.uri.path()) == Surface::Console;
    let response = error.into_response();
    if wants_page { paged(app, request, response).await } else { response }
}

/// Makes a page of every answer that says what is wrong, and gives every page its rules.
pub(super) async fn as_page(State(app): State<App>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let asked = parts.clone();
    let response = next.run(Request::from_parts(parts, body)).await;
    paged(&app, &asked, response).await
}

async fn paged(app: &App, request: &Parts, response: Response) -> Response {
    let told = response.extensions().get::<ErrorObject>().cloned();
    let mut response = match told {
        Some(error) => {
            let viewer = session::viewer(app, request).await;
            let back = page_of_form(&request.headers).filter(|_| error.code == OUT_OF_DATE);
            page(viewer.as_ref(), response, &error, back.as_deref())
        }
        None => response,
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

/// The same answer as a page, with the navigation of who looks. `back` is where to try again.
fn page(viewer: Option<&Viewer>, response: Response, error: &ErrorObject, back: Option<&str>) -> Response {
    let (mut parts, _) = response.into_parts();
    let title = heading(parts.status, &error.code);
    let values = context! {
        title,
        status => parts.status.as_u16(),
        message => error.message.as_str(),
        code => error.code.as_ref(),
        param => error.param.as_deref(),
        back,
    };
    let text = match viewer {
        Some(viewer) => render::page(viewer, "error.html", Heading { title, place: "" }, values).map(|Html(text)| text),
        None => render::bare("error.html", values).map_err(|error| ApiError::Internal(error.into())),
    };
    let text = match text {
        Ok(text) => text,
        Err(error) => return error.into_response(),
    };
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(text))
}

/// What kind of thing is wrong, for a person.
fn heading(status: StatusCode, code: &str) -> &'static str {
    match (status, code) {
        (_, "route_not_found") => "There is no such page",
        (_, "method_not_allowed") => "This page takes no form",
        (_, OUT_OF_DATE) => "This page is out of date",
        (_, FOREIGN) => "This form is not of this server",
        (_, "host_not_allowed" | "origin_not_allowed") => "This server does not answer here",
        (StatusCode::NOT_FOUND, _) => "There is nothing here",
        (StatusCode::FORBIDDEN, _) => "This is not yours to do",
        (StatusCode::UNAUTHORIZED, _) => "Sign in first",
        (StatusCode::CONFLICT, _) => "Something stands in the way",
        (StatusCode::TOO_MANY_REQUESTS, _) => "Too fast",
        (StatusCode::SERVICE_UNAVAILABLE, _) => "Not now",
        (status, _) if status.is_server_error() => "Something went wrong on our side",
        _ => "That does not work",
    }
}
