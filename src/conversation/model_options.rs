//! Which fields of a request are for the model, and which requests are the caller's own use of it.

use serde_json::{Map, Number, Value, json};

use crate::intent::fields::OPENAI_FIELDS;

/// Fields that are this server's own affair, in the caller's request and in its own to the model: the caller's values of
/// them are not forwarded. What is stored, and what it is found by, is stored here.
const FIELDS_SET_BY_SERVER: &[&str] = &["messages", "metadata", "model", "n", "store", "stream", "stream_options"];
/// How the caller lets the model call tools of the caller.
const TOOL_FIELDS: &[&str] = &["tools", "tool_choice", "parallel_tool_calls", "functions", "function_call"];
/// What an answer of ours cannot carry: it is made of several of the model's, and of our own words.
const FORM_FIELDS: &[&str] = &["response_format", "logprobs", "top_logprobs", "audio", "modalities", "prediction"];
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
const BOOLEANS: &[&str] = &["logprobs", "parallel_tool_calls"];

/// The field by which the caller says that it wants the model alone, if it does: its own tools have to be called, or a
/// program reads the answer. Such a request passes through as it is, and nothing of ours is offered to the model.
#[must_use]
pub fn asks_for_model_alone(body: &Map<String, Value>) -> Option<&'static str> {
    let is_forced = |name: &str| body.get(name).is_some_and(is_forced_choice);
    let is_format = body.get("response_format").is_some_and(|it| it["type"].as_str().is_some_and(|it| it != "text"));
    ["tool_choice", "function_call"].into_iter().find(|name| is_forced(name)).or(is_format.then_some("response_format"))
}

/// Whether a `tool_choice` leaves the model no choice but to call: `required`, or a tool by its name.
fn is_forced_choice(choice: &Value) -> bool {
    match choice {
        Value::String(word) => !["auto", "none"].contains(&word.as_str()),
        Value::Object(_) if choice["type"] == "allowed_tools" => choice["allowed_tools"]["mode"] == "required",
        Value::Object(_) => true,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => false,
    }
}

/// The fields for the model of a request that passes through.
#[must_use]
pub fn for_passthrough(body: &Map<String, Value>) -> Map<String, Value> {
    picked(body, |name| !FIELDS_SET_BY_SERVER.contains(&name))
}

/// The fields for the model of a request that we answer with its help: the manner of speaking. Tools are set beside
/// ours (`caller_tools`).
#[must_use]
pub fn for_conversation(body: &Map<String, Value>) -> Map<String, Value> {
    picked(body, |name| ![FIELDS_SET_BY_SERVER, TOOL_FIELDS, FORM_FIELDS].concat().contains(&name))
}

/// Whether the caller takes several calls of its tools at once, if it says so.
pub(super) fn parallel_tool_calls(body: &Map<String, Value>) -> Option<bool> {
    const NAME: &str = "parallel_tool_calls";
    coerced(NAME, body.get(NAME)?).as_bool()
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
    fn a_forced_choice_or_a_format_for_programs_asks_for_the_model_alone() {
        let alone = [
            (json!({"tool_choice": "required"}), "tool_choice"),
            (json!({"tool_choice": {"type": "function", "function": {"name": "f"}}}), "tool_choice"),
            (json!({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required"}}}), "tool_choice"),
            (json!({"function_call": {"name": "f"}}), "function_call"),
            (json!({"response_format": {"type": "json_object"}}), "response_format"),
            (json!({"response_format": {"type": "json_schema"}}), "response_format"),
        ];
        let together = [
            json!({"tools": [{"type": "function"}], "functions": null, "tool_choice": "auto"}),
            json!({"tools": [{"type": "function"}], "tool_choice": "none", "function_call": "auto"}),
            json!({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}}),
            json!({"response_format": {"type": "text"}, "logprobs": true, "temperature": 1}),
        ];

        for (request, field) in alone {
            assert_eq!(asks_for_model_alone(&body(&request)), Some(field), "{request}");
        }
        for request in together {
            assert_eq!(asks_for_model_alone(&body(&request)), None, "{request}");
        }
    }

    #[test]
    fn only_openais_fields_are_passed_on_in_the_kind_that_they_have() {
        let request = body(&json!({"messages": [], "model": "m", "stream": true, "seed": "3", "temperature": "0.5",
            "user": {"id": 1}, "stop": ["a"], "tools": [1], "max_tokens": null, "action": "deploy", "store": "False", "metadata": {"a": "b"}, "logprobs": "False"}));

        assert_eq!(
            Value::Object(for_passthrough(&request)),
            json!({"seed": 3, "temperature": 0.5, "stop": ["a"], "tools": [1], "logprobs": false})
        );
        assert!(!for_conversation(&request).contains_key("tools"));
    }
}
