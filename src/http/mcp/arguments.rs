//! Arguments of the tools that are about operations: few, and none of them a field of a request.

use rmcp::model::JsonObject;
use serde_json::Value;

use crate::http::error::ApiError;
use crate::id::OperationId;

/// Takes arguments one by one, and knows those that nobody took.
#[derive(Debug)]
pub struct Arguments(JsonObject);

impl Arguments {
    /// Those that have a value. Models fill in what they do not know.
    #[must_use]
    pub fn new(mut arguments: JsonObject) -> Self {
        arguments.retain(|_, value| !value.is_null() && value.as_str() != Some(""));
        Self(arguments)
    }

    /// The id of an operation.
    ///
    /// # Errors
    /// [`ApiError`] when it is missing, or no id.
    pub fn operation(&mut self) -> Result<OperationId, ApiError> {
        let Some(value) = self.0.remove("id") else {
            let message = "`id` is missing: the id of an operation, as a change answers with it".to_owned();
            return Err(ApiError::MissingParameter { param: Some("id".into()), message });
        };
        let text = value.as_str().unwrap_or_default();
        // What is no id is the id of nothing.
        OperationId::parse(text).map_err(|_| ApiError::OperationNotFound(text.chars().take(80).collect()))
    }

    /// A number within a range, which may come as a text.
    ///
    /// # Errors
    /// [`ApiError`] when it is another value.
    pub fn number(&mut self, name: &'static str, least: u64, most: u64) -> Result<Option<u64>, ApiError> {
        let Some(value) = self.0.remove(name) else { return Ok(None) };
        let number = match &value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.trim().parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        let number = number.filter(|it| (least..=most).contains(it));
        let wrong = || ApiError::invalid(name, format!("`{name}` must be a whole number from {least} to {most}"));
        number.map(Some).ok_or_else(wrong)
    }

    /// That nothing is left over.
    ///
    /// # Errors
    /// [`ApiError`] names an argument that `tool` does not have.
    pub fn end(self, tool: &str) -> Result<(), ApiError> {
        let Some(name) = self.0.keys().next() else { return Ok(()) };
        let name: String = name.chars().take(80).collect();
        let message = format!("`{tool}` has no parameter `{name}`");
        Err(ApiError::UnknownParameter { param: Some(name.into()), message })
    }
}
