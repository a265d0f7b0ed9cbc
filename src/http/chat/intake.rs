//! A chat request -> what it asks for: fields of ours come first, else the conversation is read.

use serde_json::{Map, Value};

use crate::config::Settings;
use crate::http::chat::request::ChatRequest;
use crate::http::error::ApiError;
use crate::intent::sentence::{Reading, Turn};
use crate::intent::{Limits, Request, fields, question, sentence};

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
pub fn read(body: &Map<String, Value>, chat: &ChatRequest, settings: &Settings) -> Result<Understood, ApiError> {
    let limits = Limits {
        max_replicas: u16::try_from(settings.kubernetes.max_replicas).unwrap_or(u16::MAX),
        aws_credentials_in_settings: settings.aws.credentials.is_some() || settings.aws.default_credentials,
    };
    if let Some(request) = fields::parse(body, &limits)? {
        return Ok(Understood::Request(Box::new(request)));
    }
    let turns: Vec<Turn<'_>> = chat.messages.iter().map(|it| Turn { role: it.role, text: &it.text }).collect();
    Ok(match sentence::read(&turns, &fields::facts(body, &limits)?, &limits) {
        Reading::Request(request) => Understood::Request(Box::new(request)),
        Reading::Question(question) => Understood::Words(question.text()),
        Reading::Help => Understood::Words(question::help()),
        Reading::Unclear(unclear) => Understood::Words(unclear.text()),
    })
}
