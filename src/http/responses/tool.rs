//! The tools of a caller, from the form of the Responses API to that of chat completions.
//!
//! Functions are the same but for their nesting. A `custom` tool, which takes text, becomes a function of one text, so that
//! any model can call it; a call of it goes back as `custom_tool_call`. Tools that OpenAI runs itself are not served: they are
//! left out, because agents send them with every request, and refused only when one has to be called.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::http::chat::request::wrong;
use crate::http::error::ApiError;

/// The one argument of a custom tool.
const INPUT: &str = "input";

/// The tools of one request.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tools {
    /// Those that are offered to the model, as the Responses API has them.
    pub served: Vec<Value>,
    /// The types, and names where there are any, of those that are not.
    pub left_out: Vec<String>,
    /// `tool_choice` as chat completions have it.
    pub choice: Option<Value>,
    /// The same as the response repeats it.
    pub echoed_choice: Value,
    /// The names of custom tools.
    pub custom: BTreeSet<String>,
}

impl Tools {
    /// Reads `tools` and `tool_choice`.
    ///
    /// # Errors
    /// [`ApiError`] when they are not such, or when a tool has to be called that is not served.
    pub fn read(tools: Option<&Value>, choice: Option<&Value>) -> Result<Self, ApiError> {
        let mut read = Self::default();
        let all = match tools {
            None => &Vec::new(),
            Some(Value::Array(tools)) => tools,
            Some(_) => return Err(wrong("tools", "an array")),
        };
        for (index, tool) in all.iter().enumerate() {
            let Some(kind) = tool["type"].as_str() else {
                return Err(wrong(format!("tools[{index}]"), "an object with a `type`"));
            };
            if !["function", "custom"].contains(&kind) {
                let name = tool["name"].as_str().or_else(|| tool["server_label"].as_str());
                read.left_out.push(name.map_or_else(|| kind.to_owned(), |name| format!("{kind} {name}")));
                continue;
            }
            let tool = flat(tool);
            let Some(name) = tool.get("name").and_then(Value::as_str).filter(|it| !it.is_empty()) else {
                return Err(wrong(format!("tools[{index}].name"), "a string that is not empty"));
            };
            if read.served.iter().any(|it| it["name"] == name) {
                return Err(wrong(format!("tools[{index}].name"), "the name of no other tool"));
            }
            if tool.get("parameters").is_some_and(|it| !it.is_object() && !it.is_null()) {
                return Err(wrong(format!("tools[{index}].parameters"), "an object"));
            }
            if kind == "custom" {
                read.custom.insert(name.to_owned());
            }
            read.served.push(Value::Object(tool));
        }
        read.choose(choice, all)?;
        Ok(read)
    }

    fn choose(&mut self, choice: Option<&Value>, all: &[Value]) -> Result<(), ApiError> {
        let unserved = |what: &str| {
            let message = format!(
                "`tool_choice` forces `{what}`, which this server does not serve: send functions or custom tools of your own"
            );
            Err(ApiError::invalid("tool_choice", message))
        };
        let none = || Err(ApiError::invalid("tool_choice", "`tool_choice` forces a tool, and `tools` has none"));
        self.echoed_choice = json!("auto");
        let Some(choice) = choice else { return Ok(()) };
        match choice {
            Value::String(word) if ["auto", "none", "required"].contains(&word.as_str()) => {
                if word == "required" && self.served.is_empty() {
                    return if all.is_empty() { none() } else { unserved(&self.left_out.join(", ")) };
                }
                self.choice = Some(choice.clone());
                self.echoed_choice = choice.clone();
                Ok(())
            }
            Value::Object(_) if choice["type"] == "function" || choice["type"] == "custom" => {
                let choice = flat(choice);
                let Some(name) = choice.get("name").and_then(Value::as_str) else {
                    return Err(wrong("tool_choice.name", "the name of a tool"));
                };
                if self.served.is_empty() {
                    return none();
                }
                if !self.served.iter().any(|it| it["name"] == name) {
                    let message = format!("`tool_choice` forces `{name}`, which is not among `tools`");
                    return Err(ApiError::invalid("tool_choice", message));
                }
                self.choice = Some(json!({"type": "function", "function": {"name": name}}));
                self.echoed_choice = Value::Object(choice);
                Ok(())
            }
            Value::Object(_) if choice["type"] == "allowed_tools" => {
                let Some(tools) = choice["tools"].as_array() else {
                    return Err(wrong("tool_choice.tools", "an array"));
                };
                let mode = choice["mode"].as_str().unwrap_or("auto");
                if !["auto", "required"].contains(&mode) {
                    return Err(wrong("tool_choice.mode", "`auto` or `required`"));
                }
                let allowed: Vec<Value> = tools
                    .iter()
                    .filter(|it| it["type"] == "function" || it["type"] == "custom")
                    .filter_map(|it| flat(it).get("name").cloned())
                    .map(|name| json!({"type": "function", "function": {"name": name}}))
                    .collect();
                if mode == "required" && allowed.is_empty() && !tools.is_empty() {
                    return unserved(tools[0]["type"].as_str().unwrap_or("a tool"));
                }
                self.choice = Some(json!({"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": allowed}}));
                self.echoed_choice = json!({"type": "allowed_tools", "mode": mode, "tools": tools});
                Ok(())
            }
            Value::Object(_) if choice["type"].is_string() => unserved(choice["type"].as_str().unwrap_or_default()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                Err(wrong("tool_choice", "`auto`, `none`, `required` or an object with a `type`"))
            }
        }
    }

    /// The tools as chat completions have them.
    #[must_use]
    pub fn to_chat(&self) -> Value {
        let tools = self.served.iter().map(|tool| {
            let mut function = Map::new();
            let names: &[&str] =
                if tool["type"] == "custom" { &["name", "description"] } else { &["name", "description", "parameters", "strict"] };
            for name in names {
                if let Some(value) = tool.get(*name).filter(|it| !it.is_null()) {
                    function.insert((*name).to_owned(), value.clone());
                }
            }
            if tool["type"] == "custom" {
                let about = match tool["format"]["definition"].as_str() {
                    Some(grammar) => format!("The text, in this grammar:\n{grammar}"),
                    None => "The text.".to_owned(),
                };
                let input = json!({"type": "string", "description": about});
                let parameters = json!({"type": "object", "properties": {INPUT: input}, "required": [INPUT], "additionalProperties": false});
                function.insert("parameters".to_owned(), parameters);
            }
            json!({"type": "function", "function": function})
        });
        tools.collect()
    }
}

/// The text that a model calls a custom tool with; what is not in the form of its function counts as it is.
#[must_use]
pub fn custom_input(arguments: &str) -> String {
    let value: Value = serde_json::from_str(arguments).unwrap_or(Value::Null);
    value[INPUT].as_str().map_or_else(|| arguments.to_owned(), str::to_owned)
}

/// The arguments of the function that a custom tool is.
#[must_use]
pub fn custom_arguments(input: &str) -> String {
    json!({INPUT: input}).to_string()
}

/// A tool, or the choice of one, in the form of the Responses API, also when it came in that of chat completions.
fn flat(value: &Value) -> Map<String, Value> {
    let mut fields = value.as_object().cloned().unwrap_or_default();
    for kind in ["function", "custom"] {
        if let Some(Value::Object(nested)) = fields.remove(kind) {
            fields.extend(nested);
        }
    }
    fields
}
