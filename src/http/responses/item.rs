//! Items of the Responses API: read into one form, and turned into messages of a chat.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::http::chat::request::wrong;
use crate::http::error::ApiError;
use crate::http::responses::tool;

const ROLES: &[&str] = &["user", "assistant", "system", "developer"];
/// Parts that this server does not understand, and what they hold.
const NO_TEXT: &[(&str, &str)] = &[
    ("input_image", "images"),
    ("image_url", "images"),
    ("input_audio", "audio"),
    ("input_file", "files"),
    ("file", "files"),
];
/// What begins the type of items that belong to tools and services which are not served here: a caller that was elsewhere
/// before has them in its history.
const LEFT_OUT: &[&str] = &[
    "additional_tools",
    "agent_",
    "apply_patch_",
    "code_interpreter_",
    "compaction",
    "computer_",
    "configuration_",
    "file_search_",
    "image_generation_",
    "local_shell_",
    "mcp_",
    "multi_agent_",
    "program",
    "reasoning",
    "shell_",
    "tool_search_",
    "web_search_",
];

/// A message with one text.
#[must_use]
pub fn message_of(role: &str, text: &str) -> Value {
    json!({"type": "message", "role": role, "content": [{"type": kind_of_text(role), "text": text}]})
}

/// Reads items; those that are left out are gone.
///
/// # Errors
/// [`ApiError`] with the item that is wrong.
pub fn read_all(items: &[Value]) -> Result<Vec<Value>, ApiError> {
    let read = items.iter().enumerate().filter_map(|(index, it)| read(index, it).transpose());
    let read: Vec<Value> = read.collect::<Result<_, _>>()?;
    if read.is_empty() {
        return Err(wrong("input", "at least one item that this server understands"));
    }
    Ok(read)
}

fn read(index: usize, value: &Value) -> Result<Option<Value>, ApiError> {
    let at = |rest: &str| format!("input[{index}]{rest}");
    let text = |name: &str| {
        let text = value[name].as_str().filter(|it| !it.is_empty());
        text.ok_or_else(|| wrong(at(&format!(".{name}")), "a string that is not empty"))
    };
    if let Value::String(said) = value {
        return Ok(Some(message_of("user", said)));
    }
    if !value.is_object() {
        return Err(wrong(at(""), "an item: an object with a `type`, or with `role` and `content`"));
    }
    let kind = match value.get("type") {
        None | Some(Value::Null) if value.get("role").is_none() && value["id"].is_string() => "item_reference",
        None | Some(Value::Null) => "message",
        Some(Value::String(kind)) => kind,
        Some(_) => return Err(wrong(at(".type"), "a string")),
    };
    let mut item = match kind {
        "message" => {
            let role = value["role"].as_str().filter(|it| ROLES.contains(it));
            let role = role.ok_or_else(|| wrong(at(".role"), "one of `user`, `assistant`, `system`, `developer`"))?;
            json!({"type": "message", "role": role, "content": content(&at(".content"), role, value.get("content"))?})
        }
        "function_call" => {
            let arguments = match &value["arguments"] {
                Value::String(arguments) => arguments.clone(),
                Value::Null => "{}".to_owned(),
                Value::Object(_) => value["arguments"].to_string(),
                Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
                    return Err(wrong(at(".arguments"), "a string"));
                }
            };
            json!({"type": kind, "call_id": text("call_id")?, "name": text("name")?, "arguments": arguments})
        }
        "custom_tool_call" => {
            let input = value["input"].as_str().ok_or_else(|| wrong(at(".input"), "a string"))?;
            json!({"type": kind, "call_id": text("call_id")?, "name": text("name")?, "input": input})
        }
        "function_call_output" | "custom_tool_call_output" => {
            let output = match value.get("output") {
                Some(Value::String(output)) => output.clone(),
                Some(Value::Array(parts)) => {
                    let parts = parts.iter().enumerate();
                    let parts = parts.map(|(part, it)| part_text(&at(&format!(".output[{part}]")), it));
                    parts.collect::<Result<Vec<_>, _>>()?.join("\n")
                }
                Some(other @ Value::Object(_)) => other.to_string(),
                None | Some(Value::Null | Value::Bool(_) | Value::Number(_)) => {
                    return Err(wrong(at(".output"), "a string, or an array of parts with text"));
                }
            };
            json!({"type": kind, "call_id": text("call_id")?, "output": output})
        }
        "item_reference" => json!({"type": kind, "id": text("id")?}),
        _ if LEFT_OUT.iter().any(|it| kind.starts_with(it)) => return Ok(None),
        _ => {
            let rule = "one of `message`, `function_call`, `function_call_output`, `custom_tool_call`, \
                        `custom_tool_call_output`, `reasoning`, `item_reference`";
            return Err(wrong(at(".type"), rule));
        }
    };
    if let Some(id) = value["id"].as_str().filter(|it| (1..=128).contains(&it.len())) {
        item["id"] = json!(id);
    }
    Ok(Some(item))
}

fn kind_of_text(role: &str) -> &'static str {
    if role == "assistant" { "output_text" } else { "input_text" }
}

fn content(at: &str, role: &str, value: Option<&Value>) -> Result<Value, ApiError> {
    let part = |text: &str| json!({"type": kind_of_text(role), "text": text});
    match value {
        None | Some(Value::Null) => Ok(json!([part("")])),
        Some(Value::String(text)) => Ok(json!([part(text)])),
        Some(Value::Array(parts)) => {
            let parts = parts.iter().enumerate();
            parts.map(|(index, it)| part_text(&format!("{at}[{index}]"), it).map(|text| part(&text))).collect()
        }
        Some(_) => Err(wrong(at.to_owned(), "a string, or an array of parts")),
    }
}

fn part_text(at: &str, part: &Value) -> Result<String, ApiError> {
    if let Value::String(text) = part {
        return Ok(text.clone());
    }
    if let Some((_, what)) = NO_TEXT.iter().find(|(kind, _)| part["type"] == *kind) {
        let message = format!("`{at}` cannot be read: this server takes text, and no {what}");
        return Err(ApiError::invalid(at.to_owned(), message));
    }
    let text = part["text"].as_str().or_else(|| part["refusal"].as_str());
    text.map(str::to_owned).ok_or_else(|| wrong(at.to_owned(), "a part with text: `input_text` or `output_text`"))
}

/// The id of an item that stands for another.
#[must_use]
pub fn reference(item: &Value) -> Option<&str> {
    (item["type"] == "item_reference").then(|| item["id"].as_str()).flatten()
}

/// Checks that every call has its output, and every output its call: a model refuses anything else in words about
/// messages that the caller never sent.
///
/// # Errors
/// [`ApiError`] names the call.
pub fn check_calls(items: &[&Value]) -> Result<(), ApiError> {
    let mut open: Vec<&str> = Vec::new();
    for item in items {
        let Some(id) = item["call_id"].as_str() else { continue };
        match item["type"].as_str() {
            Some("function_call" | "custom_tool_call") => open.push(id),
            Some(_) => {
                let call = open.iter().position(|it| *it == id).ok_or_else(|| {
                    ApiError::invalid("input", format!("`input` has an output for the call `{id}`, which was not made"))
                })?;
                open.remove(call);
            }
            None => {}
        }
    }
    match open.first() {
        None => Ok(()),
        Some(id) => {
            let message = format!("`input` has no output for the call `{id}`: send one as `function_call_output`");
            Err(ApiError::invalid("input", message))
        }
    }
}

/// The items as messages of a chat.
#[must_use]
pub fn to_messages(items: &[&Value]) -> Vec<Value> {
    let mut messages: Vec<Value> = Vec::new();
    for item in items {
        match item["type"].as_str() {
            Some("message") => {
                // Other servers' chat endpoints know no `developer`.
                let role = match item["role"].as_str() {
                    Some("developer") => "system",
                    Some(role) => role,
                    None => "user",
                };
                messages.push(json!({"role": role, "content": chat_content(&item["content"])}));
            }
            Some("function_call") => {
                push_call(&mut messages, item, item["arguments"].as_str().unwrap_or_default());
            }
            Some("custom_tool_call") => {
                let arguments = tool::custom_arguments(item["input"].as_str().unwrap_or_default());
                push_call(&mut messages, item, &arguments);
            }
            Some("function_call_output" | "custom_tool_call_output") => {
                messages.push(json!({"role": "tool", "tool_call_id": item["call_id"], "content": item["output"]}));
            }
            Some(_) | None => {}
        }
    }
    messages
}

/// The text of one part is a string; several stay parts, as whoever sent them parted them.
fn chat_content(parts: &Value) -> Value {
    let text = |part: &Value| part["text"].as_str().or_else(|| part["refusal"].as_str()).unwrap_or_default().to_owned();
    match parts.as_array().map(Vec::as_slice) {
        Some([part]) => json!(text(part)),
        Some(parts) => parts.iter().map(|it| json!({"type": "text", "text": text(it)})).collect(),
        None => json!(""),
    }
}

/// Adds a call to the message of the assistant right before it, or as a message of its own.
fn push_call(messages: &mut Vec<Value>, item: &Value, arguments: &str) {
    let function = json!({"name": item["name"], "arguments": arguments});
    let call = json!({"id": item["call_id"], "type": "function", "function": function});
    if let Some(last) = messages.last_mut().filter(|it| it["role"] == "assistant") {
        match last["tool_calls"].as_array_mut() {
            Some(calls) => calls.push(call),
            None => last["tool_calls"] = json!([call]),
        }
        return;
    }
    messages.push(json!({"role": "assistant", "content": null, "tool_calls": [call]}));
}

/// The items as they are listed: each has an id and a state.
#[must_use]
pub fn listed(items: &[Value], response: Uuid) -> Vec<Value> {
    let mut ids = BTreeSet::new();
    let listed = items.iter().enumerate().map(|(index, item)| {
        let mut item = item.clone();
        // What stands twice would be turned over for ever, page by page.
        let is_its_own = item["id"].as_str().is_some_and(|id| ids.insert(id.to_owned()));
        if !is_its_own {
            let prefix = match item["type"].as_str() {
                Some("function_call") => "fc",
                Some("function_call_output") => "fco",
                Some("custom_tool_call") => "ctc",
                Some("custom_tool_call_output") => "ctco",
                Some(_) | None => "msg",
            };
            item["id"] = json!(format!("{prefix}_{}_i{index}", response.simple()));
        }
        // openai-python's type of a custom tool's call has none.
        if item["type"] != "custom_tool_call" {
            item["status"] = json!("completed");
        }
        if item["role"] == "assistant" {
            for part in item["content"].as_array_mut().into_iter().flatten() {
                part["annotations"] = json!([]);
            }
        }
        item
    });
    listed.collect()
}

/// The response that an item is of, by the id that it got here.
#[must_use]
pub fn response_of(id: &str) -> Option<Uuid> {
    let rest = id.split_once('_')?.1;
    Uuid::try_parse(rest.split('_').next()?).ok()
}
