//! Which fields of a request are for the model, and which requests are the caller's own use of it.

use serde_json::{Map, Number, Value, json};

use crate::intent::fields::OPENAI_FIELDS;

/// Fields that the server sets in its own request to the model; the caller's values of them are not forwarded.
const FIELDS_SET_BY_SERVER: &[&str] = &["messages", "model", "n", "stream", "stream_options"];
/// How the caller lets the model call tools of the caller.
const TOOL_FIELDS: &[&str] =
    &["tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "response_format"];
/// Numbers, which may come as strings.
const NUMBERS: &[&str] = &[
    "frequency_penalty",
    "max_completion_tokens",
    "max_tokens",
    "presence_penalty",
    "seed",
    "temperature",
    "top_logprobs",
    "top_p",
];
/// Booleans, which may come as strings.
const BOOLEANS: &[&str] = &["logprobs", "parallel_tool_calls", "store"];

/// Whether the caller uses the model for something of its own: with its own tools, or for an answer in a format that a
/// program reads. Such a request passes through as it is, and nothing of ours is offered to the model.
#[must_use]
pub fn is_passthrough(body: &Map<String, Value>) -> bool {
    let is_filled = |name: &str| body.get(name).and_then(Value::as_array).is_some_and(|it| !it.is_empty());
    let is_there = |name: &str| body.get(name).is_some_and(|it| !matches!(it, Value::Null | Value::Bool(false)));
    let is_format = body.get("response_format").is_some_and(|it| it["type"].as_str().is_some_and(|it| it != "text"));
    ["tools", "functions"].into_iter().any(is_filled)
        || ["logprobs", "top_logprobs", "audio", "prediction", "web_search_options"].into_iter().any(is_there)
        || is_format
}

/// The fields for the model of a request that passes through.
#[must_use]
pub fn for_passthrough(body: &Map<String, Value>) -> Map<String, Value> {
    picked(body, |name| !FIELDS_SET_BY_SERVER.contains(&name))
}

/// The fields for the model of a request that we answer with its help: the manner of speaking, no tools.
#[must_use]
pub fn for_conversation(body: &Map<String, Value>) -> Map<String, Value> {
    picked(body, |name| !FIELDS_SET_BY_SERVER.contains(&name) && !TOOL_FIELDS.contains(&name))
}

/// What asks the model to tell its usage at the end of a stream.
#[must_use]
pub fn include_usage() -> Value {
    json!({"include_usage": true})
}

fn picked(body: &Map<String, Value>, wanted: impl Fn(&str) -> bool) -> Map<String, Value> {
    let fields = body.iter().filter(|(name, value)| {
        OPENAI_FIELDS.contains(&name.as_str()) && wanted(name) && !value.is_null()
            // Open WebUI sends an object, which the model would refuse.
            && (name.as_str() != "user" || value.is_string())
    });
    fields.map(|(name, value)| (name.clone(), coerced(name, value))).collect()
}

/// The value in the kind that the model wants.
fn coerced(name: &str, value: &Value) -> Value {
    let Value::String(text) = value else { return value.clone() };
    let text = text.trim();
    if NUMBERS.contains(&name) {
        let whole = text.parse::<i64>().ok().map(Number::from);
        let number = whole.or_else(|| text.parse::<f64>().ok().and_then(Number::from_f64));
        return number.map_or_else(|| value.clone(), Value::Number);
    }
    if BOOLEANS.contains(&name) {
        return text.to_ascii_lowercase().parse().map_or_else(|_| value.clone(), Value::Bool);
    }
    value.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn own_tools_and_formats_make_it_the_callers_own_use() {
        let own = [
            json!({"tools": [{"type": "function"}]}),
            json!({"functions": [{"name": "f"}]}),
            json!({"response_format": {"type": "json_object"}}),
            json!({"logprobs": true}),
        ];
        let plain = [
            json!({"tools": [], "functions": null, "tool_choice": "auto"}),
            json!({"response_format": {"type": "text"}, "logprobs": false, "temperature": 1}),
        ];

        assert!(own.iter().all(|it| is_passthrough(&body(it))));
        assert!(!plain.iter().any(|it| is_passthrough(&body(it))));
    }

    #[test]
    fn only_openais_fields_are_passed_on_in_the_kind_that_they_have() {
        let request = body(&json!({"messages": [], "model": "m", "stream": true, "seed": "3", "temperature": "0.5",
            "user": {"id": 1}, "stop": ["a"], "tools": [1], "max_tokens": null, "action": "deploy", "store": "False"}));

        assert_eq!(
            Value::Object(for_passthrough(&request)),
            json!({"seed": 3, "temperature": 0.5, "stop": ["a"], "tools": [1], "store": false})
        );
        assert!(!for_conversation(&request).contains_key("tools"));
    }
}
