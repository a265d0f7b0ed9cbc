//! A chat request -> what it asks for: fields of ours come first, else it is the caller's own use of the model, else the
//! conversation counts.

use serde_json::{Map, Value};

use crate::app::App;
use crate::conversation::model_options;
use crate::http::error::ApiError;
use crate::intent::partial::PartialRequest;
use crate::intent::{Limits, Request, fields};
use crate::llm::Model;

/// What a chat request asks for.
pub enum Dispatch {
    /// Something to do or to look up, by explicit fields.
    Request(Box<Request>),
    /// An answer of the model, with the caller's own tools or format.
    Passthrough(Model),
    /// What the conversation comes to; explicit fields complete it.
    Conversation(Box<PartialRequest>, Limits),
}

/// Reads a chat request.
///
/// # Errors
/// [`ApiError`] when a field of ours is wrong or missing.
pub fn dispatch(body: &Map<String, Value>, app: &App) -> Result<Dispatch, ApiError> {
    let settings = app.settings();
    let limits = Limits {
        max_replicas: u16::try_from(settings.kubernetes.max_replicas).unwrap_or(u16::MAX),
        aws_credentials_in_settings: settings.aws.credentials.is_some() || settings.aws.default_credentials,
    };
    if let Some(request) = fields::parse(body, &limits)? {
        return Ok(Dispatch::Request(Box::new(request)));
    }
    if let Some(model) = app.model()
        && model_options::is_passthrough(body)
    {
        return Ok(Dispatch::Passthrough(model.clone()));
    }
    Ok(Dispatch::Conversation(Box::new(fields::parse_partial(body, &limits)?), limits))
}
