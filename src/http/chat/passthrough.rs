//! A request that passes through: the caller's own use of the model, and what comes back as OpenAI would send it.

use futures_util::Stream;
use serde_json::{Map, Value, json};

use crate::conversation::passthrough_prompt;
use crate::http::chat::wire::{ChatCompletion, CompletionMeta};
use crate::http::error::ApiError;
use crate::llm::{Answer, Chunk, LlmError, Model};

/// Fields that only Azure sends.
const AZURE_FIELDS: &[&str] = &["content_filter_results", "content_filter_offsets", "content_filter_result"];

/// Asks the model for a whole answer.
///
/// # Errors
/// [`ApiError`] when it gives none.
pub async fn buffered(
    model: &Model,
    body: &Map<String, Value>,
    meta: &CompletionMeta,
) -> Result<ChatCompletion, ApiError> {
    let Answer { mut message, finish_reason, logprobs, usage } =
        model.complete(&passthrough_prompt(model, body)).await?;
    message.retain(|name, _| !AZURE_FIELDS.contains(&name.as_str()));
    for (name, default) in [("role", json!("assistant")), ("content", Value::Null), ("refusal", Value::Null)] {
        message.entry(name).or_insert(default);
    }
    Ok(ChatCompletion::forwarded(meta, message, finish_reason, logprobs, usage.as_ref()))
}

/// Asks the model for an answer in chunks, and waits until it begins.
///
/// # Errors
/// [`ApiError`] when it gives none.
pub async fn streamed(
    model: &Model,
    body: &Map<String, Value>,
    include_usage: bool,
) -> Result<impl Stream<Item = Result<Chunk, LlmError>> + Send + use<>, ApiError> {
    let mut prompt = passthrough_prompt(model, body);
    if include_usage {
        prompt.set("stream_options", crate::conversation::model_options::include_usage());
    }
    Ok(model.stream(&prompt).await?)
}

/// The delta as the caller gets it; `None` when nothing of it is left. The role is said already.
#[must_use]
pub fn forwarded_delta(mut delta: Map<String, Value>) -> Option<Map<String, Value>> {
    delta.retain(|name, _| name != "role" && !AZURE_FIELDS.contains(&name.as_str()));
    let says_something = |(name, value): (&String, &Value)| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty() || name != "content",
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => true,
    };
    delta.iter().any(says_something).then_some(delta)
}
