//! What handlers share.

use std::sync::Arc;

use axum::extract::FromRef;
use utoipa::openapi::OpenApi as Document;

use super::console::chat::answers_in_progress::AnswersInProgress;
use super::console::open_pages::OpenPages;
use super::limit::Streams;
use super::mcp::Mcp;
use super::responses::live::LiveResponses;
use crate::app::App;

/// What handlers can extract from: the app, and what this layer keeps for itself.
#[derive(Clone, FromRef)]
pub(super) struct HttpState {
    pub(super) app: App,
    pub(super) streams: Streams,
    pub(super) live: LiveResponses,
    pub(super) pages: OpenPages,
    pub(super) answers: AnswersInProgress,
    pub(super) mcp: Mcp,
    pub(super) document: Arc<Document>,
}
