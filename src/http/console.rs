//! The console: the same things as the API has, as pages for a browser. It decides nothing of its own: what a page shows
//! comes from [`App`], what a form asks for goes the way of every request.
//!
//! A page is a template of `templates/console/`, filled by a handler: [`render::page`]. It can be read without a script.
//! What is alive on it is one part with an id, which a stream sends anew when something has changed ([`live::stream`]); htmx
//! puts it in place. A form posts to a handler, which answers with a page or leads on to one (303). Whatever goes wrong in
//! a handler is an [`ApiError`] here too: [`error::as_page`] makes a page of it.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::request::Parts;
use axum::middleware::from_fn_with_state;
use axum::response::{Redirect, Response};
use axum::routing::get;

use crate::app::App;
use crate::http::error::ApiError;
use crate::http::limit;
use crate::http::state::HttpState;

mod assets;
mod audit;
mod body;
mod change;
pub(super) mod chat;
mod costs;
mod deployment;
mod doctor;
mod error;
mod graph;
mod history;
mod keys;
mod label;
mod live;
mod logs;
mod markdown;
mod naming;
mod oidc;
pub(super) mod open_pages;
mod operation;
mod operations;
mod overview;
mod page_form;
mod plan_card;
mod render;
mod resource_tree;
mod return_path;
mod session;
mod sign_in;
mod targets;
mod text;
mod timeline;

/// The pages, each behind [`session::admit`], and what needs no session.
pub(super) fn routes(app: &App) -> Router<HttpState> {
    let pages = Router::new()
        .route("/", get(overview::show))
        .route("/overview/stream", get(overview::stream))
        .route("/deployments/{id}", get(deployment::show))
        .route("/deployments/{id}/stream", get(deployment::stream))
        .route("/deployments/{id}/health", get(deployment::health).post(deployment::health_with_credentials))
        .route("/deployments/{id}/logs", get(logs::show).post(logs::show_with_credentials))
        .route("/deployments/{id}/logs/pods", get(logs::pods))
        .route("/deployments/{id}/logs/stream", get(logs::stream))
        .route("/deployments/{id}/logs/download", get(logs::download))
        .route("/operations", get(operations::show))
        .route("/operations/{id}", get(operation::show))
        .route("/operations/{id}/stream", get(operation::follow))
        .route("/operations/{id}/cancel", get(return_path::to_page_above).post(operation::cancel))
        .route("/operations/{id}/resume", get(return_path::to_page_above).post(operation::resume))
        .route("/chat", get(chat::new).post(chat::say))
        .route("/chat/{id}", get(chat::show))
        .route("/chat/{id}/stream", get(chat::follow))
        .route("/new", get(change::new))
        .route("/plan", get(|| async { Redirect::to("/new") }).post(change::plan))
        .route("/plan/{draft}", get(change::show))
        .route("/confirm", get(return_path::to_page_above).post(change::confirm))
        .route("/targets", get(targets::show))
        .route("/costs", get(costs::show))
        .route("/keys", get(keys::show).post(keys::create))
        .route("/keys/{id}/rotate", get(|| async { Redirect::to("/keys") }).post(keys::rotate))
        .route("/keys/{id}/revoke", get(|| async { Redirect::to("/keys") }).post(keys::revoke))
        .route("/audit", get(audit::show))
        .route("/doctor", get(doctor::show))
        .route("/sign-out", get(return_path::to_page_above).post(sign_in::leave));
    let pages = limited(app, pages).layer(from_fn_with_state(app.clone(), session::admit));
    let open = Router::new()
        .route("/sign-in", get(sign_in::show).post(sign_in::enter))
        .route("/sign-in/oidc", get(oidc::begin))
        .route("/sign-in/callback", get(oidc::finish));
    let open = limited(app, open).layer(from_fn_with_state(app.clone(), session::greet));
    let assets = Router::new().route("/assets/{name}", get(assets::show));
    // How long a form may be is limited where it is read first.
    let as_page = from_fn_with_state(app.clone(), error::as_page);
    pages.merge(open).merge(assets).layer(DefaultBodyLimit::disable()).layer(as_page)
}

fn limited(app: &App, pages: Router<HttpState>) -> Router<HttpState> {
    match app.settings().server.rate_limit_per_minute {
        Some(per_minute) => limit::rate(pages, per_minute, app.shutdown_token()),
        None => pages,
    }
}

/// What somebody gets who comes to no handler: a page, when it looks for one where pages are.
pub(super) async fn told(app: &App, request: &Parts, error: ApiError) -> Response {
    error::told(app, request, error).await
}
