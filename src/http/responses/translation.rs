//! A request of the Responses API, and the same request as chat completions know it. Pure: nothing is looked up here.
//!
//! Items become messages: calls that follow each other, or the words of the assistant, are one message with all of them, as
//! the chat endpoint of a model wants it. `reasoning` and the items of tools that are not served here are left out.

use serde_json::{Map, Value, json};

use crate::http::chat::request::{boolean, number, wrong};
use crate::http::error::ApiError;
use crate::http::kept;
use crate::http::models::DEFAULT_MODEL;
use crate::http::responses::item;
use crate::http::responses::tool::Tools;
use crate::intent::fields::OPENAI_FIELDS;

/// Fields of the Responses API that are not chat completions' by the same name: they do not pass on as they are.
const OWN_FIELDS: &[&str] = &[
    "access_programs",
    "background",
    "background_options",
    "context_management",
    "conversation",
    "image",
    "include",
    "input",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "previous_response_id",
    "prompt",
    "reasoning",
    "text",
    "truncation",
];
/// Fields that mean the same in both, and pass on as they are.
const SHARED_FIELDS: &[&str] = &[
    "metadata",
    "model",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "temperature",
    "top_p",
    "user",
];
const WHOLE_NUMBERS: &[&str] = &["max_output_tokens", "max_tool_calls", "top_logprobs"];
const NUMBERS: &[&str] = &["temperature", "top_p"];
/// What numbers may be (OpenAI's API reference, "Create a model response").
const RANGES: &[(&str, f64, f64)] = &[
    ("max_output_tokens", 1.0, 1e9),
    ("max_tool_calls", 0.0, 1e9),
    ("temperature", 0.0, 2.0),
    ("top_logprobs", 0.0, 20.0),
    ("top_p", 0.0, 1.0),
];
/// How deep a body may be: what is kept of it is deeper still, and no reader of JSON takes more than 128 levels.
const MAX_DEPTH: usize = 100;
const BOOLEANS: &[&str] = &["background", "parallel_tool_calls", "store", "stream"];
const TEXTS: &[&str] = &["instructions", "model", "previous_response_id"];
/// What is refused, because an answer that ignores it would be another one.
const REFUSED: &[(&str, &str)] = &[
    ("conversation", "conversations are not kept here: use `previous_response_id`"),
    ("prompt", "prompts are not kept here: send `instructions` and `input`"),
];

/// A request, read.
#[derive(Debug, Clone, PartialEq)]
pub struct ResponsesRequest {
    /// The answer is wanted as a stream of events.
    pub stream: bool,
    /// The answer is made while nobody waits for it.
    pub background: bool,
    /// The answer is kept.
    pub store: bool,
    /// The response that this one goes on from.
    pub previous: Option<String>,
    /// What is said now, as items in one form.
    pub input: Vec<Value>,
    /// The tools of the caller.
    pub tools: Tools,
    body: Map<String, Value>,
}

impl ResponsesRequest {
    /// Reads the body.
    ///
    /// # Errors
    /// [`ApiError`] with the field that is wrong.
    pub fn read(body: Map<String, Value>) -> Result<Self, ApiError> {
        check_kinds(&body)?;
        if body.values().any(|it| is_deeper(it, MAX_DEPTH)) {
            let message = format!("the body is nested more than {MAX_DEPTH} levels deep");
            return Err(ApiError::InvalidValue { param: None, message });
        }
        if let Some((name, why)) = REFUSED.iter().find(|(name, _)| present(&body, name).is_some()) {
            return Err(ApiError::invalid(*name, format!("`{name}` cannot be served: {why}")));
        }
        let flag = |name: &str| present(&body, name).and_then(boolean);
        let (background, store) = (flag("background").unwrap_or(false), flag("store").unwrap_or(true));
        if background && !store {
            return Err(ApiError::invalid("background", "`background` needs `store`: the answer is looked up later"));
        }
        let input = match body.get("input") {
            None | Some(Value::Null) => {
                let instead = if body.contains_key("messages") { "; `messages` are chat completions'" } else { "" };
                let message = format!("`input` is missing: send text, or at least one item{instead}");
                return Err(ApiError::MissingParameter { param: Some("input".into()), message });
            }
            Some(Value::Array(items)) if items.is_empty() => {
                let message = "`input` is empty: send text, or at least one item".to_owned();
                return Err(ApiError::MissingParameter { param: Some("input".into()), message });
            }
            Some(Value::String(text)) => vec![item::message_of("user", text)],
            Some(Value::Array(items)) => item::read_all(items)?,
            Some(_) => {
                let message = "`input` must be a string or an array of items";
                return Err(ApiError::WrongKind { param: Some("input"), message });
            }
        };
        let tools = Tools::read(present(&body, "tools"), present(&body, "tool_choice"))?;
        let previous = present(&body, "previous_response_id").and_then(Value::as_str).map(str::to_owned);
        Ok(Self { stream: flag("stream").unwrap_or(false), background, store, previous, input, tools, body })
    }

    /// The ids of items that stand for items of earlier answers.
    pub fn references(&self) -> impl Iterator<Item = &str> {
        self.input.iter().filter_map(item::reference)
    }

    /// Checks that calls and outputs belong together, with what was said before.
    ///
    /// # Errors
    /// [`ApiError`] names the call.
    pub fn check_calls(&self, before: &[Value]) -> Result<(), ApiError> {
        item::check_calls(&before.iter().chain(&self.input).collect::<Vec<_>>())
    }

    /// Puts items in the places that stand for them.
    pub fn resolve(&mut self, find: impl Fn(&str) -> Option<Value>) {
        for it in &mut self.input {
            if let Some(found) = item::reference(it).and_then(&find) {
                *it = found;
            }
        }
    }

    /// The request as chat completions know it, with what was said before it.
    #[must_use]
    pub fn to_chat(&self, before: &[Value]) -> Map<String, Value> {
        let mut chat: Map<String, Value> = self
            .body
            .iter()
            .filter(|(name, _)| {
                let name = name.as_str();
                SHARED_FIELDS.contains(&name) || !(OWN_FIELDS.contains(&name) || OPENAI_FIELDS.contains(&name))
            })
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if self.background && !self.stream {
            // A log that is followed would not end.
            chat.remove("follow");
        }
        let instructions = self.text("instructions").map(|it| json!({"role": "system", "content": it}));
        let said: Vec<&Value> = before.iter().chain(&self.input).collect();
        let messages: Vec<Value> = instructions.into_iter().chain(item::to_messages(&said)).collect();
        chat.insert("messages".to_owned(), messages.into());
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                chat.insert(name.to_owned(), value);
            }
        };
        set("max_completion_tokens", present(&self.body, "max_output_tokens").cloned());
        set("reasoning_effort", self.field("reasoning", "effort"));
        set("verbosity", self.field("text", "verbosity"));
        set("response_format", self.field("text", "format").and_then(|it| response_format(&it)));
        // A model refuses words on tools that there are none of; SDKs send them all the same.
        if !self.tools.served.is_empty() {
            set("tools", Some(self.tools.to_chat()));
            set("tool_choice", self.tools.choice.clone());
            set("parallel_tool_calls", present(&self.body, "parallel_tool_calls").cloned());
        }
        if self.stream || self.background {
            set("stream", Some(Value::Bool(true)));
            set("stream_options", Some(json!({"include_usage": true})));
        }
        chat
    }

    /// The fields of a response that repeat the request.
    #[must_use]
    pub fn echo(&self) -> Map<String, Value> {
        let given = |name: &str| present(&self.body, name).cloned();
        let numeric = |name: &str, otherwise: Value| {
            let value = given(name).and_then(|it| if it.is_string() { number(&it).map(Value::from) } else { Some(it) });
            value.unwrap_or(otherwise)
        };
        let whole = |name: &str| given(name).and_then(|it| number(&it)).map_or(Value::Null, |it| json!(as_whole(it)));
        let mut text = given("text").filter(Value::is_object).unwrap_or_else(|| json!({}));
        if text["format"].is_null() {
            text["format"] = json!({"type": "text"});
        }
        let mut metadata = given("metadata").unwrap_or_else(|| json!({}));
        if !self.tools.left_out.is_empty() {
            let names: String = self.tools.left_out.join(", ").chars().take(512).collect();
            metadata["tools_left_out"] = json!(names);
        }
        let echo = json!({
            "background": self.background,
            "instructions": given("instructions"),
            "max_output_tokens": whole("max_output_tokens"),
            "max_tool_calls": whole("max_tool_calls"),
            "metadata": metadata,
            "model": self.text("model").unwrap_or(DEFAULT_MODEL),
            "parallel_tool_calls": given("parallel_tool_calls").as_ref().and_then(boolean).unwrap_or(true),
            "previous_response_id": self.previous,
            "prompt_cache_key": given("prompt_cache_key").filter(Value::is_string),
            "reasoning": {"effort": self.field("reasoning", "effort"), "summary": null},
            "safety_identifier": given("safety_identifier").filter(Value::is_string),
            "service_tier": "default",
            "temperature": numeric("temperature", json!(1.0)),
            "text": text,
            "tool_choice": self.tools.echoed_choice,
            "tools": self.tools.served,
            "top_logprobs": whole("top_logprobs"),
            "top_p": numeric("top_p", json!(1.0)),
            "truncation": self.text("truncation").unwrap_or("disabled"),
            "user": given("user").filter(Value::is_string),
        });
        if let Value::Object(echo) = echo { echo } else { Map::new() }
    }

    fn text(&self, name: &str) -> Option<&str> {
        present(&self.body, name).and_then(Value::as_str)
    }

    fn field(&self, object: &str, name: &str) -> Option<Value> {
        self.body.get(object)?.get(name).filter(|it| !it.is_null()).cloned()
    }
}

/// A field that is there and not null.
fn present<'a>(body: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    body.get(name).filter(|it| !it.is_null())
}

#[expect(clippy::cast_possible_truncation, reason = "a number beyond is cut, and only repeated to whoever sent it")]
fn as_whole(number: f64) -> i64 {
    number as i64
}

/// `text.format` as chat completions' `response_format`.
fn response_format(format: &Value) -> Option<Value> {
    match format["type"].as_str()? {
        "text" => None,
        "json_schema" => {
            let mut schema = format.as_object()?.clone();
            schema.remove("type");
            schema.retain(|_, value| !value.is_null());
            Some(json!({"type": "json_schema", "json_schema": schema}))
        }
        kind => Some(json!({"type": kind})),
    }
}

fn is_deeper(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(|it| is_deeper(it, levels - 1)),
        Value::Object(fields) => levels == 0 || fields.values().any(|it| is_deeper(it, levels - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn check_kinds(body: &Map<String, Value>) -> Result<(), ApiError> {
    let there = |names: &'static [&'static str]| {
        names.iter().filter_map(|name| present(body, name).map(|value| (*name, value)))
    };
    let is_whole = |value: &Value| number(value).is_some_and(|it| it.fract() == 0.0);
    if let Some((name, _)) = there(WHOLE_NUMBERS).find(|(_, value)| !is_whole(value)) {
        return Err(wrong(name, "a whole number"));
    }
    if let Some((name, _)) = there(NUMBERS).find(|(_, value)| number(value).is_none()) {
        return Err(wrong(name, "a number"));
    }
    for (name, least, most) in RANGES {
        let value = present(body, name).and_then(number);
        if value.is_some_and(|it| it < *least || it > *most) {
            return Err(wrong(*name, &format!("a number from {least} to {most}")));
        }
    }
    if let Some((name, _)) = there(BOOLEANS).find(|(_, value)| boolean(value).is_none()) {
        return Err(wrong(name, "`true` or `false`"));
    }
    if let Some((name, _)) = there(TEXTS).find(|(_, value)| !value.is_string()) {
        return Err(wrong(name, "a string"));
    }
    if let Some((name, _)) = there(&["reasoning", "text", "stream_options"]).find(|(_, value)| !value.is_object()) {
        return Err(wrong(name, "an object"));
    }
    if let Some((name, _)) = there(&["include"]).find(|(_, value)| !value.is_array()) {
        return Err(wrong(name, "an array"));
    }
    if present(body, "truncation").is_some_and(|it| it != "auto" && it != "disabled") {
        return Err(wrong("truncation", "`auto` or `disabled`"));
    }
    if let Some(format) = body.get("text").and_then(|it| it.get("format")).filter(|it| !it.is_null()) {
        let kinds = ["text", "json_object", "json_schema"];
        if !format["type"].as_str().is_some_and(|it| kinds.contains(&it)) {
            return Err(wrong("text.format", "an object with the `type` `text`, `json_object` or `json_schema`"));
        }
        if format["type"] == "json_schema" && !(format["name"].is_string() && format["schema"].is_object()) {
            return Err(wrong("text.format", "an object with `name` and `schema`, as its type is `json_schema`"));
        }
    }
    match present(body, "metadata") {
        None => Ok(()),
        Some(value) if kept::is_metadata(value) => Ok(()),
        Some(_) => Err(wrong("metadata", "an object of at most 16 strings of at most 512 characters")),
    }
}

#[cfg(test)]
mod tests;
