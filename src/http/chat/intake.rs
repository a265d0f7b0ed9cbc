//! A chat request -> what it asks for: fields of ours come first, else it is the caller's own use of the model, else the
//! conversation counts.

use serde_json::{Map, Value};

use crate::app::App;
use crate::conversation::options;
use crate::http::error::ApiError;
use crate::intent::facts::Facts;
use crate::intent::{Limits, Request, fields};
use crate::llm::Model;

/// What a chat request asks for.
pub enum Asked {
    /// Something to do or to look up, by explicit fields.
    Request(Box<Request>),
    /// An answer of the model, with the caller's own tools or format.
    Model(Model),
    /// What the conversation comes to; explicit fields complete it.
    Conversation(Box<Facts>, Limits),
}

/// Reads a chat request.
///
/// # Errors
/// [`ApiError`] when a field of ours is wrong or missing.
pub fn read(body: &Map<String, Value>, app: &App) -> Result<Asked, ApiError> {
    let settings = app.settings();
    let limits = Limits {
        max_replicas: u16::try_from(settings.kubernetes.max_replicas).unwrap_or(u16::MAX),
        aws_credentials_in_settings: settings.aws.credentials.is_some() || settings.aws.default_credentials,
    };
    if let Some(request) = fields::parse(body, &limits)? {
        return Ok(Asked::Request(Box::new(request)));
    }
    if let Some(model) = app.model()
        && options::is_own_use(body)
    {
        return Ok(Asked::Model(model.clone()));
    }
    Ok(Asked::Conversation(Box::new(fields::facts(body, &limits)?), limits))
}
