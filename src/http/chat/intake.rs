//! A chat request -> what it asks for: fields of ours come first, else the conversation is read.

use serde_json::{Map, Value};

use crate::config::Settings;
use crate::http::chat::wire::ChatRequest;
use crate::http::error::ApiError;
use crate::intent::{Limits, Request, fields, question};

/// What a chat request comes to.
pub enum Understood {
    /// Something to do or to look up.
    Request(Box<Request>),
    /// Something to say: a question back, or help.
    Words(String),
}

/// Reads a chat request.
///
/// # Errors
/// [`ApiError`] when a field of ours is wrong or missing.
pub fn read(body: &Map<String, Value>, _chat: &ChatRequest, settings: &Settings) -> Result<Understood, ApiError> {
    let limits = Limits {
        max_replicas: u16::try_from(settings.kubernetes.max_replicas).unwrap_or(u16::MAX),
        aws_credentials_in_settings: settings.aws.credentials.is_some(),
    };
    if let Some(request) = fields::parse(body, &limits)? {
        return Ok(Understood::Request(Box::new(request)));
    }
    Ok(Understood::Words(question::help()))
}
