//! The response object, as it grows, and the events that tell of it.
//!
//! Whatever way an answer is given (whole, as a stream, from the store), it is put together here, so that all three say
//! the same: from the words and calls of an answer the same events come out, with the same numbers.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::conversation::{CallerCalls, Completion};
use crate::event::OperationState;
use crate::http::chat::wire::{OperationLink, tokens};
use crate::http::deployments::DeploymentObject;
use crate::http::error::ErrorBody;
use crate::http::responses::tool;
use crate::id::OperationId;
use crate::llm::{ToolCall, Usage};

/// An answer that is longer is cut: it is kept whole until it ends.
const MAX_TEXT_BYTES: usize = 4 << 20;

/// One event of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct ResponseEvent {
    /// Its type.
    pub name: &'static str,
    /// The whole event as JSON.
    pub data: String,
}

/// A response that is being made.
#[derive(Debug)]
pub struct ResponseBuilder {
    id: Uuid,
    object: Map<String, Value>,
    custom: BTreeSet<String>,
    input_tokens: u64,
    items: Vec<Value>,
    pieces: Vec<String>,
    /// The words are the model's refusal, which SDKs tell apart.
    is_refusal: bool,
    length: usize,
    sequence: u64,
    events: Vec<ResponseEvent>,
}

impl ResponseBuilder {
    /// A response to which nothing was said yet: `echo` repeats its request.
    #[must_use]
    pub fn new(id: Uuid, created: i64, echo: Map<String, Value>, custom: BTreeSet<String>, input_tokens: u64) -> Self {
        let mut object = echo;
        let own = json!({
            "id": response_id(id), "object": "response", "created_at": created, "completed_at": null,
            "status": "in_progress", "error": null, "incomplete_details": null, "output": [], "usage": null,
        });
        object.extend(own.as_object().cloned().unwrap_or_default());
        Self {
            id,
            object,
            custom,
            input_tokens,
            items: Vec::new(),
            pieces: Vec::new(),
            is_refusal: false,
            length: 0,
            sequence: 0,
            events: Vec::new(),
        }
    }

    /// The response as it stands.
    #[must_use]
    pub fn object(&self) -> Value {
        Value::Object(self.object.clone())
    }

    /// The words as they came.
    #[must_use]
    pub fn pieces(&self) -> &[String] {
        &self.pieces
    }

    /// The events since this was asked before.
    pub fn take_events(&mut self) -> Vec<ResponseEvent> {
        std::mem::take(&mut self.events)
    }

    /// Says that it begins.
    pub fn begin(&mut self) {
        for name in ["response.created", "response.in_progress"] {
            self.push(name, json!({"response": self.object}));
        }
    }

    /// Adds words.
    pub fn write(&mut self, text: &str) {
        if text.is_empty() || self.is_full() {
            return;
        }
        self.length += text.len();
        self.open_message();
        self.pieces.push(text.to_owned());
        let at = self.part();
        if self.is_refusal {
            self.push("response.refusal.delta", with(at, json!({"delta": text})));
        } else {
            self.push("response.output_text.delta", with(at, json!({"delta": text, "logprobs": []})));
        }
    }

    /// Adds words by which the model refuses; what follows them is of the same kind, and so is what came before.
    pub fn refuse(&mut self, text: &str) {
        self.is_refusal |= !text.is_empty() && !self.has_content();
        self.write(text);
    }

    /// Whether it is so long that nothing more is added.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.length > MAX_TEXT_BYTES
    }

    /// Whether anything was written.
    #[must_use]
    pub fn has_content(&self) -> bool {
        !self.pieces.is_empty()
    }

    /// Ends it as an answer ended.
    pub fn complete(&mut self, completion: Completion, now: i64) {
        let calls = match completion.caller_calls {
            Some(CallerCalls::Tools(calls)) => calls,
            Some(CallerCalls::Function(call)) => vec![call],
            None => Vec::new(),
        };
        let reason = match completion.finish_reason.as_deref() {
            Some("length") => Some("max_output_tokens"),
            Some("content_filter") => Some("content_filter"),
            Some(_) | None => self.is_full().then_some("max_output_tokens"),
        };
        if calls.is_empty() {
            self.open_message();
        }
        let status = if reason.is_some() { "incomplete" } else { "completed" };
        self.close_message(status);
        let mut length = self.length;
        for call in calls {
            length += call.arguments.len() + call.name.len();
            self.call(&call);
        }
        if let Some((id, state)) = completion.operation {
            self.set_operation(id, state);
        }
        if let Some(deployment) = &completion.deployment {
            self.object.insert("deployment".to_owned(), json!(DeploymentObject::from(deployment)));
        }
        let usage = usage(completion.usage.as_ref(), self.input_tokens, length);
        self.object.insert("usage".to_owned(), usage);
        self.object.insert("completed_at".to_owned(), json!(now));
        if let Some(reason) = reason {
            self.object.insert("incomplete_details".to_owned(), json!({"reason": reason}));
        }
        self.end(status);
    }

    /// Ends it by a fault of ours, or of the model.
    pub fn fail(&mut self, error: &ErrorBody) {
        self.close_message("incomplete");
        let code = match (&*error.error.code, error.error.kind) {
            ("rate_limit_exceeded", _) => "rate_limit_exceeded",
            (_, "invalid_request_error") => "invalid_prompt",
            (_, _) => "server_error",
        };
        self.object.insert("error".to_owned(), json!({"code": code, "message": error.error.message}));
        self.end("failed");
    }

    /// Makes it one that was cancelled, before it ends.
    pub fn set_cancelled(&mut self) {
        self.object.insert("cancelled".to_owned(), json!(true));
    }

    /// Tells of the operation behind it.
    pub fn set_operation(&mut self, id: OperationId, state: OperationState) {
        self.object.insert("operation".to_owned(), json!(OperationLink::new(id, state)));
    }

    fn end(&mut self, status: &'static str) {
        // Not part of the answer: the word between the cancellation and the end.
        let status = if self.object.remove("cancelled").is_some() { "cancelled" } else { status };
        self.object.insert("status".to_owned(), json!(status));
        self.object.insert("output".to_owned(), json!(self.items));
        self.push(last_event(status), json!({"response": self.object}));
    }

    fn open_message(&mut self) {
        if !self.items.is_empty() {
            return;
        }
        let item = json!({"id": format!("msg_{}_0", self.id.simple()), "type": "message", "role": "assistant",
            "status": "in_progress", "content": []});
        self.push("response.output_item.added", json!({"output_index": 0, "item": item}));
        self.items.push(item);
        let at = self.part();
        let part = self.content_part("");
        self.push("response.content_part.added", with(at, json!({"part": part})));
    }

    fn close_message(&mut self, status: &str) {
        if self.items.is_empty() {
            return;
        }
        let text = self.pieces.concat();
        let (at, part) = (self.part(), self.content_part(&text));
        if self.is_refusal {
            self.push("response.refusal.done", with(at.clone(), json!({"refusal": text})));
        } else {
            self.push("response.output_text.done", with(at.clone(), json!({"text": text, "logprobs": []})));
        }
        self.push("response.content_part.done", with(at, json!({"part": part})));
        self.items[0]["content"] = json!([part]);
        self.items[0]["status"] = json!(status);
        self.push("response.output_item.done", json!({"output_index": 0, "item": self.items[0]}));
    }

    fn call(&mut self, call: &ToolCall) {
        let item = if self.custom.contains(&call.name) {
            json!({"type": "custom_tool_call", "call_id": call.id, "name": call.name,
                "input": tool::custom_input(&call.arguments)})
        } else {
            json!({"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments,
                "status": "completed"})
        };
        self.add_call(item);
    }

    fn add_call(&mut self, mut item: Value) {
        let index = self.items.len();
        let (prefix, field, delta, done) = if item["type"] == "custom_tool_call" {
            ("ctc", "input", "response.custom_tool_call_input.delta", "response.custom_tool_call_input.done")
        } else {
            ("fc", "arguments", "response.function_call_arguments.delta", "response.function_call_arguments.done")
        };
        item["id"] = json!(format!("{prefix}_{}_{index}", self.id.simple()));
        let mut begun = item.clone();
        if item["status"].is_string() {
            begun["status"] = json!("in_progress");
        }
        let said = std::mem::replace(&mut begun[field], json!(""));
        self.push("response.output_item.added", json!({"output_index": index, "item": begun}));
        let at = json!({"item_id": item["id"], "output_index": index});
        self.push(delta, with(at.clone(), json!({"delta": said})));
        self.push(done, with(at, json!({field: said})));
        self.push("response.output_item.done", json!({"output_index": index, "item": item}));
        self.items.push(item);
    }

    fn part(&self) -> Value {
        json!({"item_id": self.items[0]["id"], "output_index": 0, "content_index": 0})
    }

    fn content_part(&self, text: &str) -> Value {
        if self.is_refusal {
            return json!({"type": "refusal", "refusal": text});
        }
        json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
    }

    fn push(&mut self, name: &'static str, fields: Value) {
        let data = with(fields, json!({"type": name, "sequence_number": self.sequence}));
        self.sequence += 1;
        self.events.push(ResponseEvent { name, data: data.to_string() });
    }
}

/// The events of a response that has ended, from what is kept of it.
#[must_use]
pub fn replay(id: Uuid, object: &Value, pieces: &[String]) -> Vec<ResponseEvent> {
    let mut begun = object.as_object().cloned().unwrap_or_default();
    for name in ["operation", "deployment"] {
        begun.remove(name);
    }
    let created = object["created_at"].as_i64().unwrap_or_default();
    let mut builder = ResponseBuilder::new(id, created, begun, BTreeSet::new(), 0);
    builder.begin();
    let items = object["output"].as_array().cloned().unwrap_or_default();
    builder.is_refusal = items.first().is_some_and(|it| it["content"][0]["type"] == "refusal");
    for piece in pieces {
        builder.write(piece);
    }
    if let Some(message) = items.first().filter(|it| it["type"] == "message") {
        builder.open_message();
        builder.close_message(message["status"].as_str().unwrap_or("completed"));
    }
    for item in items.into_iter().filter(|it| it["type"] != "message") {
        builder.add_call(item);
    }
    let status = object["status"].as_str().unwrap_or("completed");
    builder.push(last_event(status), json!({"response": object}));
    builder.take_events()
}

fn last_event(status: &str) -> &'static str {
    match status {
        "incomplete" => "response.incomplete",
        "failed" => "response.failed",
        // A response that was cancelled has its answer: what was taken back.
        _ => "response.completed",
    }
}

/// The id of a response.
#[must_use]
pub fn response_id(id: Uuid) -> String {
    format!("resp_{}", id.simple())
}

/// Reads the id of a response.
#[must_use]
pub fn parse_response_id(id: &str) -> Option<Uuid> {
    id.strip_prefix("resp_").and_then(|it| Uuid::try_parse(it).ok())
}

fn with(mut object: Value, more: Value) -> Value {
    if let (Value::Object(object), Value::Object(more)) = (&mut object, more) {
        object.extend(more);
    }
    object
}

/// What the model counted, else an estimate.
fn usage(usage: Option<&Usage>, input_tokens: u64, length: usize) -> Value {
    let detail = |of: &str, name: &str| usage.and_then(|it| it.details.get(of)?.get(name)?.as_u64()).unwrap_or(0);
    let (input, output, total) = if let Some(it) = usage {
        (it.prompt_tokens, it.completion_tokens, it.total_tokens)
    } else {
        let output = tokens(length).max(1);
        (input_tokens, output, input_tokens + output)
    };
    json!({
        "input_tokens": input,
        "input_tokens_details": {"cached_tokens": detail("prompt_tokens_details", "cached_tokens"), "cache_write_tokens": 0},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": detail("completion_tokens_details", "reasoning_tokens")},
        "total_tokens": total,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_u128(1);

    fn builder() -> ResponseBuilder {
        let echo = json!({"model": "m", "tools": []}).as_object().unwrap().clone();
        ResponseBuilder::new(ID, 1, echo, BTreeSet::from(["sql".to_owned()]), 5)
    }

    fn call(name: &str, arguments: &str) -> ToolCall {
        ToolCall {
            id: format!("call_{name}"),
            name: name.to_owned(),
            arguments: arguments.to_owned(),
            ..ToolCall::default()
        }
    }

    fn names(events: &[ResponseEvent]) -> Vec<&str> {
        events.iter().map(|it| it.name).collect()
    }

    #[test]
    fn words_and_calls_come_in_the_order_that_sdks_expect() {
        let mut builder = builder();
        builder.begin();
        builder.write("Hello ");
        builder.write("there.");
        let calls = vec![call("search", "{\"q\":1}"), call("sql", "{\"input\":\"SELECT 1\"}")];
        let completion = Completion { caller_calls: Some(CallerCalls::Tools(calls)), ..Completion::default() };
        builder.complete(completion, 2);

        let events = builder.take_events();
        let numbers: Vec<u64> = events
            .iter()
            .map(|it| serde_json::from_str::<Value>(&it.data).unwrap()["sequence_number"].as_u64().unwrap())
            .collect();
        assert_eq!(numbers, (0..u64::try_from(events.len()).unwrap()).collect::<Vec<_>>());
        insta::assert_snapshot!(names(&events).join("\n"));
        insta::assert_json_snapshot!("the_whole_response", builder.object());
        assert_eq!(replay(ID, &builder.object(), builder.pieces()), events, "what is kept tells the same");
    }

    #[test]
    fn an_answer_that_was_cut_is_incomplete_and_one_without_words_has_an_empty_message() {
        let mut cut = builder();
        cut.write("Once upon");
        cut.complete(Completion { finish_reason: Some("length".to_owned()), ..Completion::default() }, 2);
        let mut silent = builder();
        silent.complete(Completion::default(), 2);

        let object = cut.object();
        assert_eq!(
            (&object["status"], &object["incomplete_details"]["reason"]),
            (&json!("incomplete"), &json!("max_output_tokens"))
        );
        assert_eq!(names(&cut.take_events()).last(), Some(&"response.incomplete"));
        assert_eq!(silent.object()["output"][0]["content"][0]["text"], "");
    }

    #[test]
    fn a_refusal_is_a_part_of_its_own() {
        let mut builder = builder();
        builder.begin();
        builder.refuse("I will ");
        builder.refuse("not.");
        builder.complete(Completion::default(), 2);

        let events = builder.take_events();
        assert_eq!(builder.object()["output"][0]["content"], json!([{"type": "refusal", "refusal": "I will not."}]));
        assert_eq!(names(&events).iter().filter(|it| **it == "response.refusal.delta").count(), 2);
        assert!(!names(&events).iter().any(|it| it.contains("output_text")));
        assert_eq!(replay(ID, &builder.object(), builder.pieces()), events);
    }

    #[test]
    fn the_id_of_an_item_leads_to_its_response() {
        let mut builder = builder();
        builder.write("x");
        builder.complete(Completion::default(), 2);

        let object = builder.object();
        let of_item = crate::http::responses::item::response_of(object["output"][0]["id"].as_str().unwrap());
        assert_eq!(of_item, Some(ID));
        assert_eq!(parse_response_id(object["id"].as_str().unwrap()), Some(ID));
    }
}
