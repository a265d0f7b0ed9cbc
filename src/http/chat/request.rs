//! The request of `POST /v1/chat/completions`, read with OpenAI's leniency.

use serde_json::{Map, Value};

use crate::conversation::Message;
use crate::http::chat::wire;
use crate::http::error::ApiError;
use crate::http::models::DEFAULT_MODEL;
use crate::intent::sentence::Role;

const WHOLE_NUMBERS: &[&str] = &["max_completion_tokens", "max_tokens", "n", "seed", "top_logprobs"];
const NUMBERS: &[&str] = &["frequency_penalty", "presence_penalty", "temperature", "top_p"];
const BOOLEANS: &[&str] = &["logprobs", "parallel_tool_calls", "store", "stream"];
const ARRAYS: &[&str] = &["tools", "functions"];
const ROLES: &[(&str, Role)] = &[
    ("system", Role::System),
    ("developer", Role::System),
    ("user", Role::User),
    ("assistant", Role::Assistant),
    ("tool", Role::Tool),
    ("function", Role::Tool),
];

/// What we read of OpenAI's request. The other fields are accepted and left alone.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    /// The model that was named.
    pub model: String,
    /// The conversation so far.
    pub messages: Vec<Message>,
    /// The answer is wanted as a stream.
    pub stream: bool,
    /// The stream shall end with the usage.
    pub include_usage: bool,
}

impl ChatRequest {
    /// Reads the body.
    ///
    /// # Errors
    /// [`ApiError`] with the field that is wrong.
    pub fn read(body: &Map<String, Value>) -> Result<Self, ApiError> {
        let messages = match body.get("messages") {
            None => return Err(missing("messages", "`messages` is missing: send at least one message")),
            Some(Value::Array(messages)) if messages.is_empty() => {
                return Err(missing("messages", "`messages` is empty: send at least one message"));
            }
            Some(Value::Array(messages)) => messages,
            Some(_) => {
                return Err(ApiError::WrongKind { param: Some("messages"), message: "`messages` must be an array" });
            }
        };
        let messages = messages.iter().enumerate().map(|(index, it)| message(index, it)).collect::<Result<_, _>>()?;
        check_kinds(body)?;
        if let Some(n) = body.get("n").and_then(number).filter(|n| (*n - 1.0).abs() > f64::EPSILON) {
            return Err(ApiError::invalid("n", format!("`n` must be 1: there is one answer, not {n}")));
        }
        let model = match body.get("model") {
            None | Some(Value::Null) => DEFAULT_MODEL.to_owned(),
            Some(Value::String(model)) => model.clone(),
            Some(_) => return Err(ApiError::invalid("model", "`model` must be a string")),
        };
        let include_usage = match body.get("stream_options") {
            None | Some(Value::Null) => false,
            Some(Value::Object(options)) => match options.get("include_usage") {
                None | Some(Value::Null) => false,
                Some(value) => boolean(value).ok_or_else(|| wrong("stream_options.include_usage", "a boolean"))?,
            },
            Some(_) => return Err(wrong("stream_options", "an object")),
        };
        let stream = body.get("stream").and_then(boolean).unwrap_or(false);
        Ok(Self { model, messages, stream, include_usage })
    }

    /// What the person said last.
    #[must_use]
    pub fn last_words(&self) -> &str {
        self.messages.iter().rev().find(|it| it.role == Role::User).map_or("", |it| &it.text)
    }

    /// Number of tokens of the conversation, at four bytes each: an estimate, as there is no tokenizer.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.messages.iter().map(|it| wire::tokens(it.text.len()) + 4).sum::<u64>().max(1)
    }
}

fn message(index: usize, value: &Value) -> Result<Message, ApiError> {
    let at = |rest: &str| format!("messages[{index}]{rest}");
    let Value::Object(message) = value else {
        return Err(wrong(at(""), "an object with `role` and `content`"));
    };
    let role = match message.get("role") {
        Some(Value::String(role)) => ROLES.iter().find(|(name, _)| name == role).map(|(_, role)| *role),
        Some(_) | None => None,
    };
    let Some(role) = role else {
        let names: Vec<String> = ROLES.iter().map(|(name, _)| format!("`{name}`")).collect();
        return Err(wrong(at(".role"), &format!("one of {}", names.join(", "))));
    };
    let text = match message.get("content") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts.iter().filter_map(part).collect::<Vec<_>>().join("\n"),
        Some(_) => return Err(wrong(at(".content"), "a string, an array of parts, or null")),
    };
    Ok(Message { role, text })
}

/// The text of one part; pictures and sound have none.
fn part(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        Value::Object(part) => part.get("text").or_else(|| part.get("refusal")).and_then(Value::as_str),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
    }
}

fn check_kinds(body: &Map<String, Value>) -> Result<(), ApiError> {
    let present = |names: &'static [&'static str]| {
        names.iter().filter_map(|name| body.get(*name).filter(|it| !it.is_null()).map(|value| (*name, value)))
    };
    let is_whole = |value: &Value| number(value).is_some_and(|it| it.fract() == 0.0);
    if let Some((name, _)) = present(WHOLE_NUMBERS).find(|(_, value)| !is_whole(value)) {
        return Err(wrong(name, "a whole number"));
    }
    if let Some((name, _)) = present(NUMBERS).find(|(_, value)| number(value).is_none()) {
        return Err(wrong(name, "a number"));
    }
    if let Some((name, _)) = present(ARRAYS).find(|(_, value)| !value.is_array()) {
        return Err(wrong(name, "an array"));
    }
    if let Some((name, _)) = present(BOOLEANS).find(|(_, value)| boolean(value).is_none()) {
        return Err(wrong(name, "`true` or `false`"));
    }
    Ok(())
}

/// A number, also from a string.
pub(crate) fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    number.filter(|it: &f64| it.is_finite())
}

/// A boolean, also from a string.
pub(crate) fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::String(text) => text.trim().to_ascii_lowercase().parse().ok(),
        Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

pub(crate) fn wrong(param: impl Into<String>, rule: &str) -> ApiError {
    let param = param.into();
    let message = format!("`{param}` must be {rule}");
    ApiError::invalid(param, message)
}

fn missing(param: &'static str, message: &str) -> ApiError {
    ApiError::MissingParameter { param: Some(param.into()), message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "`json!` reads better at the call")]
    fn read(body: Value) -> Result<ChatRequest, ApiError> {
        ChatRequest::read(body.as_object().unwrap())
    }

    fn error(body: Value) -> Value {
        serde_json::to_value(read(body).unwrap_err().body("req_1")).unwrap()["error"].clone()
    }

    fn messages() -> Value {
        json!([{"role": "user", "content": "hi"}])
    }

    #[test]
    fn content_may_be_a_string_parts_or_null() {
        let request = read(json!({"messages": [
            {"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}, "b"]},
            {"role": "assistant", "content": null},
            {"role": "user", "content": "c"},
        ]}))
        .unwrap();

        let texts: Vec<&str> = request.messages.iter().map(|it| it.text.as_str()).collect();
        assert_eq!(texts, ["a\nb", "", "c"]);
        assert_eq!(request.last_words(), "c");
    }

    #[test]
    fn numbers_and_booleans_may_come_as_strings() {
        let request =
            read(json!({"messages": messages(), "stream": "True", "seed": "3", "n": "1", "temperature": "0.5",
            "stream_options": {"include_usage": "true"}, "user": {"id": 1}, "max_tokens": 5.0}))
            .unwrap();

        assert!(request.stream && request.include_usage);
    }

    #[test]
    fn a_wrong_field_is_named() {
        assert_eq!(error(json!({"messages": messages(), "n": 2}))["param"], "n");
        assert_eq!(error(json!({"messages": messages(), "seed": "x"}))["param"], "seed");
        assert_eq!(error(json!({"messages": messages(), "seed": 1.5}))["param"], "seed");
        assert_eq!(error(json!({"messages": messages(), "stream": 1}))["param"], "stream");
        assert_eq!(error(json!({"messages": messages(), "model": 1}))["param"], "model");
        assert_eq!(error(json!({"messages": ["hi"]}))["param"], "messages[0]");
        assert_eq!(error(json!({"messages": [{"role": "king", "content": "hi"}]}))["param"], "messages[0].role");
        assert_eq!(error(json!({"messages": [{"role": "user", "content": 1}]}))["param"], "messages[0].content");
    }

    #[test]
    fn messages_of_the_wrong_kind_are_told_apart_from_missing_ones() {
        assert_eq!(error(json!({"messages": "hi"}))["code"], "invalid_type");
        assert_eq!(error(json!({}))["code"], "missing_required_parameter");
        assert_eq!(error(json!({"messages": []}))["code"], "missing_required_parameter");
    }

    proptest! {
        #[test]
        fn reading_never_panics(messages in any::<Vec<(String, String)>>(), n in any::<f64>(), stream in any::<String>()) {
            let messages: Vec<Value> =
                messages.into_iter().map(|(role, content)| json!({"role": role, "content": content})).collect();
            let _ = read(json!({"messages": messages, "n": n, "stream": stream}));
        }
    }
}
