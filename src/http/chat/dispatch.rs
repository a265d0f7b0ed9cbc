//! A chat request -> what it asks for: fields of ours come first, else the caller may want the model alone, else the
//! conversation counts.

use serde_json::{Map, Value};

use crate::app::App;
use crate::conversation::model_options;
use crate::http::chat::request::ChatRequest;
use crate::http::error::ApiError;
use crate::http::models::CHAT_MODEL;
use crate::intent::partial::PartialRequest;
use crate::intent::{Limits, Request, fields};
use crate::llm::Model;

/// What a chat request asks for.
pub enum Dispatch {
    /// Something to do or to look up, by explicit fields.
    Request(Box<Request>),
    /// An answer of the model alone.
    Passthrough(Model),
    /// What the conversation comes to; explicit fields complete it.
    Conversation(Box<PartialRequest>, Limits),
}

/// What the settings allow in a request.
#[must_use]
pub fn limits(app: &App) -> Limits {
    let settings = app.settings();
    Limits {
        max_replicas: u16::try_from(settings.kubernetes.max_replicas).unwrap_or(u16::MAX),
        aws_credentials_in_settings: settings.aws.credentials.is_some() || settings.aws.default_credentials,
    }
}

/// Reads a chat request.
///
/// # Errors
/// [`ApiError`] when a field of ours is wrong or missing, or when the model alone is wanted and there is none.
pub fn dispatch(chat: &ChatRequest, body: &Map<String, Value>, app: &App) -> Result<Dispatch, ApiError> {
    let limits = limits(app);
    if let Some(request) = fields::parse(body, &limits)? {
        return Ok(Dispatch::Request(Box::new(request)));
    }
    let alone = (chat.model == CHAT_MODEL).then_some("model").or_else(|| model_options::asks_for_model_alone(body));
    if let Some(param) = alone {
        let model = app.model().ok_or(ApiError::NoChatModel { param })?;
        return Ok(Dispatch::Passthrough(model.clone()));
    }
    Ok(Dispatch::Conversation(Box::new(fields::parse_partial(body, &limits)?), limits))
}
