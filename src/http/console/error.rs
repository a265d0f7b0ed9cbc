//! What goes wrong, as a page: what is wrong, and what would help.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use minijinja::context;

use super::render;
use crate::http::error::{ApiError, ErrorObject};

/// What a page may load and where it may send something: here, and nowhere else.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
     base-uri 'none'; frame-ancestors 'none'",
);

/// What somebody gets who is at a place that there is not: a page, when it looks for one.
pub(super) fn no_such_place(request: &Request, error: ApiError) -> Response {
    let accepts = request.headers().get(ACCEPT).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let response = error.into_response();
    if request.method() == Method::GET && accepts.contains("text/html") { paged(response) } else { response }
}

/// Makes a page of every answer that says what is wrong, and gives every page its rules.
pub(super) async fn as_page(request: Request, next: Next) -> Response {
    paged(next.run(request).await)
}

fn paged(response: Response) -> Response {
    let told = response.extensions().get::<ErrorObject>().cloned();
    let mut response = match told {
        Some(error) => page(response, &error),
        None => response,
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

/// The same answer as a page.
fn page(response: Response, error: &ErrorObject) -> Response {
    let (mut parts, _) = response.into_parts();
    let values = context! {
        title => heading(parts.status),
        status => parts.status.as_u16(),
        message => error.message.as_str(),
        code => error.code.as_ref(),
        param => error.param.as_deref(),
    };
    let text = match render::bare("error.html", values) {
        Ok(text) => text,
        Err(error) => return ApiError::Internal(error.into()).into_response(),
    };
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(text))
}

/// What kind of thing is wrong, for a person.
fn heading(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "There is nothing here",
        StatusCode::FORBIDDEN => "This is not yours to do",
        StatusCode::UNAUTHORIZED => "Sign in first",
        StatusCode::CONFLICT => "Something stands in the way",
        StatusCode::TOO_MANY_REQUESTS => "Too fast",
        StatusCode::SERVICE_UNAVAILABLE => "Not now",
        status if status.is_server_error() => "Something went wrong on our side",
        _ => "That does not work",
    }
}
