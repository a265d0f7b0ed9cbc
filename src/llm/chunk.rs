//! What the model sends: whole answers and chunks of them, and how chunks become an answer.
//!
//! What is not ours to understand (the fields of a delta, details of the usage) is kept as it came, so that it can be
//! passed on.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// The message, as it came or as its chunks make it.
    pub message: Map<String, Value>,
    /// Why it ended.
    pub finish_reason: String,
    /// Probabilities of its tokens, when they were asked for.
    pub logprobs: Value,
    /// Its tokens, when the model told.
    pub usage: Option<Usage>,
}

/// One chunk of an answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Chunk {
    /// What is new.
    pub delta: Map<String, Value>,
    /// Why the answer ends here.
    pub finish_reason: Option<String>,
    /// Probabilities of the tokens in it.
    pub logprobs: Value,
    /// The tokens of the whole answer.
    pub usage: Option<Usage>,
}

/// One call of a tool that the model wants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ToolCall {
    /// Names the call, for its result.
    pub id: String,
    /// The tool.
    pub name: String,
    /// Its arguments: JSON, if the model kept to it; any text for a custom tool.
    pub arguments: String,
    /// The tool takes text in a grammar of its own, not JSON (type `custom`).
    pub is_custom: bool,
    /// What else the model says of the call and wants to hear again with its result, such as Gemini's
    /// `extra_content`.
    pub extra: Map<String, Value>,
}

/// Tokens of an answer, as the model counts them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Of the conversation.
    #[serde(default)]
    pub prompt_tokens: u64,
    /// Of the answer.
    #[serde(default)]
    pub completion_tokens: u64,
    /// Of both.
    #[serde(default)]
    pub total_tokens: u64,
    /// What else the model tells.
    #[serde(flatten)]
    pub details: Map<String, Value>,
}

impl AddAssign<&Usage> for Usage {
    fn add_assign(&mut self, other: &Usage) {
        self.prompt_tokens += other.prompt_tokens;
        self.completion_tokens += other.completion_tokens;
        self.total_tokens += other.total_tokens;
        // Kept only while there is one answer (then the sums equal its own counts): nested counts such as
        // `prompt_tokens_details` are not summed.
        self.details = if self.prompt_tokens == other.prompt_tokens { other.details.clone() } else { Map::new() };
    }
}

/// What one event of a stream holds.
pub(super) enum StreamItem {
    Chunk(Chunk),
    /// The first of Azure's chunks tells of its filter and has no choices; others have a choice without a delta.
    Nothing,
    Error(String),
    Malformed,
}

#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    choices: Vec<WireChoice>,
    usage: Option<Usage>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct WireChoice {
    delta: Option<Map<String, Value>>,
    message: Option<Map<String, Value>>,
    finish_reason: Option<String>,
    logprobs: Option<Value>,
}

/// Reads the data of one event.
pub(super) fn parse_event(data: &str) -> StreamItem {
    let Ok(wire) = serde_json::from_str::<Wire>(data) else { return StreamItem::Malformed };
    if let Some(error) = wire.error {
        let message = error.get("message").and_then(Value::as_str).or(error.as_str()).unwrap_or("it gave no reason");
        return StreamItem::Error(message.to_owned());
    }
    let choice = wire.choices.into_iter().next();
    match (choice, wire.usage) {
        (None, None) => StreamItem::Nothing,
        (None, usage) => StreamItem::Chunk(Chunk { usage, ..Chunk::default() }),
        (Some(choice), usage) => {
            if choice.delta.is_none() && choice.finish_reason.is_none() && usage.is_none() {
                return StreamItem::Nothing;
            }
            StreamItem::Chunk(Chunk {
                delta: choice.delta.unwrap_or_default(),
                finish_reason: choice.finish_reason,
                logprobs: choice.logprobs.unwrap_or_default(),
                usage,
            })
        }
    }
}

impl Answer {
    /// Reads the body of an answer that was not streamed; `None` when it is none.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        let wire: Wire = serde_json::from_slice(body).ok()?;
        let choice = wire.choices.into_iter().next()?;
        Some(Self {
            message: choice.message.unwrap_or_default(),
            finish_reason: choice.finish_reason.unwrap_or_else(|| "stop".to_owned()),
            logprobs: choice.logprobs.unwrap_or_default(),
            usage: wire.usage,
        })
    }

    /// Its words.
    #[must_use]
    pub fn text(&self) -> &str {
        let text = |name: &str| self.message.get(name).and_then(Value::as_str).filter(|it| !it.is_empty());
        text("content").or_else(|| text("refusal")).unwrap_or_default()
    }

    /// The tools that it calls.
    #[must_use]
    pub fn tool_calls(&self) -> Vec<ToolCall> {
        let calls = self.message.get("tool_calls").and_then(Value::as_array);
        calls.into_iter().flatten().map(tool_call).collect()
    }
}

fn tool_call(value: &Value) -> ToolCall {
    let mut call = ToolCall::default();
    call.take(value);
    let arguments = &value["function"]["arguments"];
    if arguments.is_object() {
        // Some servers send the object itself.
        call.arguments = arguments.to_string();
    }
    call
}

/// Puts chunks together.
#[derive(Debug, Default)]
pub struct ChunkAssembler {
    text: String,
    refusal: String,
    calls: BTreeMap<u64, ToolCall>,
    finish_reason: Option<String>,
    usage: Option<Usage>,
}

impl ChunkAssembler {
    /// Takes the next chunk; gives the words in it.
    pub fn take(&mut self, chunk: &Chunk) -> String {
        let text = |name: &str| chunk.delta.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (content, refusal) = (text("content"), text("refusal"));
        self.text.push_str(&content);
        self.refusal.push_str(&refusal);
        for delta in chunk.delta.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
            self.take_call(delta);
        }
        if let Some(reason) = &chunk.finish_reason {
            self.finish_reason = Some(reason.clone());
        }
        if let Some(usage) = &chunk.usage {
            self.usage = Some(usage.clone());
        }
        content + &refusal
    }

    /// Parts of a call belong together by their index; a server that tells none sends one call after another.
    fn take_call(&mut self, delta: &Value) {
        let next = self.calls.last_key_value().map_or(0, |(last, _)| last + 1);
        let begins = delta["id"].as_str().is_some_and(|it| !it.is_empty());
        let index = delta["index"].as_u64().unwrap_or(if begins { next } else { next.saturating_sub(1) });
        // A model that makes up calls without end must not fill the memory.
        if self.calls.len() >= 64 && !self.calls.contains_key(&index) {
            return;
        }
        self.calls.entry(index).or_default().take(delta);
    }

    /// The answer that the chunks make.
    #[must_use]
    pub fn finish(self) -> Answer {
        let mut message = Map::new();
        message.insert("role".to_owned(), json!("assistant"));
        let content = if self.text.is_empty() { Value::Null } else { json!(self.text) };
        message.insert("content".to_owned(), content);
        if !self.refusal.is_empty() {
            message.insert("refusal".to_owned(), json!(self.refusal));
        }
        if !self.calls.is_empty() {
            let calls: Vec<Value> = self.calls.into_values().map(|it| it.to_value()).collect();
            message.insert("tool_calls".to_owned(), json!(calls));
        }
        Answer {
            message,
            finish_reason: self.finish_reason.unwrap_or_else(|| "stop".to_owned()),
            logprobs: Value::Null,
            usage: self.usage,
        }
    }
}

impl ToolCall {
    /// The call as a message of the assistant carries it.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let Self { id, name, arguments, is_custom, extra } = self;
        let mut value = if *is_custom {
            json!({"id": id, "type": "custom", "custom": {"name": name, "input": arguments}})
        } else {
            json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
        };
        if let Value::Object(fields) = &mut value {
            fields.extend(extra.clone());
        }
        value
    }

    /// Takes the next part of it, or the whole.
    fn take(&mut self, part: &Value) {
        const OWN: &[&str] = &["index", "id", "type", "function", "custom"];
        self.is_custom |= part["type"] == "custom" || part["custom"].is_object();
        let (named, input) = if self.is_custom { (&part["custom"], "input") } else { (&part["function"], "arguments") };
        for (field, part) in
            [(&mut self.id, &part["id"]), (&mut self.name, &named["name"]), (&mut self.arguments, &named[input])]
        {
            field.push_str(part.as_str().unwrap_or_default());
        }
        let others = part.as_object().into_iter().flatten().filter(|(name, _)| !OWN.contains(&name.as_str()));
        self.extra.extend(others.map(|(name, value)| (name.clone(), value.clone())));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunk(data: &Value) -> Option<Chunk> {
        match parse_event(&data.to_string()) {
            StreamItem::Chunk(chunk) => Some(chunk),
            StreamItem::Nothing => None,
            StreamItem::Error(_) | StreamItem::Malformed => panic!("{data}"),
        }
    }

    #[test]
    fn chunks_that_only_tell_of_a_filter_say_nothing() {
        let filter = json!({"choices": [], "prompt_filter_results": [{"prompt_index": 0}], "usage": null});
        let late = json!({"choices": [{"index": 0, "content_filter_offsets": {}, "finish_reason": null}]});

        assert_eq!((chunk(&filter), chunk(&late)), (None, None));
    }

    #[test]
    fn calls_are_put_together_by_their_index() {
        let call = |index: u64, id: Value, name: Value, arguments: &str| {
            json!({"choices": [{"delta": {"tool_calls": [
                {"index": index, "id": id, "function": {"name": name, "arguments": arguments}}]}, "finish_reason": null}]})
        };
        let chunks = [
            call(0, json!("a"), json!("scale"), ""),
            call(1, json!("b"), json!("status"), "{"),
            call(0, Value::Null, Value::Null, "{\"scale_"),
            call(1, Value::Null, Value::Null, "}"),
            call(0, Value::Null, Value::Null, "replicas\":3}"),
            json!({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}),
            json!({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}}),
        ];
        let mut assembly = ChunkAssembler::default();

        chunks.iter().filter_map(chunk).for_each(|it| drop(assembly.take(&it)));

        let answer = assembly.finish();
        let calls: Vec<(String, String)> = answer.tool_calls().into_iter().map(|it| (it.name, it.arguments)).collect();
        assert_eq!(calls[0], ("scale".to_owned(), "{\"scale_replicas\":3}".to_owned()));
        assert_eq!(calls[1], ("status".to_owned(), "{}".to_owned()));
        assert_eq!((answer.finish_reason.as_str(), answer.usage.unwrap().total_tokens), ("tool_calls", 7));
    }

    #[test]
    fn calls_without_an_index_come_one_after_another() {
        let part = |id: &str, arguments: &str| json!({"choices": [{"delta": {"tool_calls": [{"id": id, "function": {"name": id, "arguments": arguments}}]}}]});
        let mut assembly = ChunkAssembler::default();

        [part("a", "{}"), part("b", "{"), part("", "}")]
            .iter()
            .filter_map(chunk)
            .for_each(|it| drop(assembly.take(&it)));

        let calls = assembly.finish().tool_calls();
        assert_eq!(calls.iter().map(|it| it.arguments.as_str()).collect::<Vec<_>>(), ["{}", "{}"]);
    }

    #[test]
    fn a_custom_tool_and_what_else_is_said_of_a_call_survive() {
        let part = |call: Value| json!({"choices": [{"delta": {"tool_calls": [call]}}]});
        let begin = json!({"index": 0, "id": "a", "type": "custom", "custom": {"name": "sql", "input": "SELECT"},
            "extra_content": {"google": {"thought_signature": "s"}}});
        let mut assembly = ChunkAssembler::default();

        [part(begin), part(json!({"index": 0, "custom": {"input": " 1"}}))]
            .iter()
            .filter_map(chunk)
            .for_each(|it| drop(assembly.take(&it)));

        assert_eq!(
            assembly.finish().message["tool_calls"],
            json!([{"id": "a", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"},
                "extra_content": {"google": {"thought_signature": "s"}}}])
        );
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in any::<String>(), index in any::<u64>()) {
            let _ = parse_event(&text);
            let _ = Answer::read(text.as_bytes());
            let mut assembly = ChunkAssembler::default();
            let delta = json!({"tool_calls": [{"index": index, "id": text}, {"function": text}, text]});
            assembly.take(&Chunk { delta: delta.as_object().unwrap().clone(), ..Chunk::default() });
            let _ = assembly.finish().tool_calls();
        }
    }
}
