//! Answer and chunk of `POST /v1/chat/completions`, to the letter.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::conversation::{CallerCalls, Completion};
use crate::event::OperationState;
use crate::http::deployments::DeploymentObject;
use crate::id::OperationId;
use crate::llm;

/// Names the build that answered.
const FINGERPRINT: &str = concat!("on-demand-infra-", env!("CARGO_PKG_VERSION"));

/// Why an answer of ours ends.
const STOP: &str = "stop";

/// What every answer has in common, whole or in chunks.
#[derive(Debug, Clone, PartialEq)]
pub struct CompletionMeta {
    /// Starts with `chatcmpl-`.
    pub id: String,
    /// Seconds since 1970.
    pub created: i64,
    /// The model that was named.
    pub model: String,
    /// Estimated tokens of the conversation.
    pub prompt_tokens: u64,
}

/// Id and time of an answer. All answers about one operation have the same, so that those who attach get the same answer.
#[must_use]
pub fn identity(operation: Option<OperationId>) -> (Uuid, i64) {
    match operation {
        Some(id) => {
            let began = id.uuid().get_timestamp().map_or(0, |it| it.to_unix().0);
            (id.uuid(), i64::try_from(began).unwrap_or(0))
        }
        None => (Uuid::now_v7(), Timestamp::now().as_second()),
    }
}

/// The operation behind an answer.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct OperationLink {
    /// Its id.
    #[schema(value_type = String)]
    pub id: OperationId,
    /// Where it stood when the answer was given.
    pub state: OperationState,
    /// Where more is told about it, on this server.
    pub url: String,
}

impl OperationLink {
    /// The link to an operation.
    #[must_use]
    pub fn new(id: OperationId, state: OperationState) -> Self {
        Self { id, state, url: format!("/v1/operations/{id}") }
    }
}

/// A whole answer.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ChatCompletion {
    id: String,
    #[schema(value_type = String)]
    object: &'static str,
    created: i64,
    model: String,
    choices: [Choice; 1],
    usage: UsageObject,
    #[schema(value_type = String)]
    system_fingerprint: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<OperationLink>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deployment: Option<DeploymentObject>,
}

impl ChatCompletion {
    /// The answer that says this and ended so.
    #[must_use]
    pub fn new(meta: &CompletionMeta, content: String, completion: Completion) -> Self {
        let usage = UsageObject::counted(completion.usage.as_ref(), meta.prompt_tokens, content.len());
        let calls = completion.caller_calls.as_ref().map(|it| called(it, false)).unwrap_or_default();
        // An answer of calls alone has no words: SDKs want null then.
        let content = Some(content).filter(|it| !it.is_empty() || calls.is_empty());
        let message = CompletionMessage::Own(AssistantMessage { role: "assistant", content, refusal: None, calls });
        let finish_reason = completion.finish_reason.unwrap_or_else(|| STOP.to_owned());
        Self {
            operation: completion.operation.map(|(id, state)| OperationLink::new(id, state)),
            deployment: completion.deployment.as_ref().map(DeploymentObject::from),
            ..Self::of_message(meta, message, finish_reason, Value::Null, usage)
        }
    }

    /// The answer of the model, as it gave it.
    #[must_use]
    pub fn forwarded(
        meta: &CompletionMeta,
        message: Map<String, Value>,
        finish_reason: String,
        logprobs: Value,
        usage: Option<&llm::Usage>,
    ) -> Self {
        let length = message.get("content").and_then(Value::as_str).map_or(4, str::len);
        let usage = UsageObject::counted(usage, meta.prompt_tokens, length);
        Self::of_message(meta, CompletionMessage::Forwarded(message), finish_reason, logprobs, usage)
    }

    fn of_message(
        meta: &CompletionMeta,
        message: CompletionMessage,
        finish_reason: String,
        logprobs: Value,
        usage: UsageObject,
    ) -> Self {
        Self {
            id: meta.id.clone(),
            object: "chat.completion",
            created: meta.created,
            model: meta.model.clone(),
            choices: [Choice { index: 0, message, logprobs, finish_reason }],
            usage,
            system_fingerprint: FINGERPRINT,
            operation: None,
            deployment: None,
        }
    }

    /// What it says, if it says anything.
    #[must_use]
    pub fn into_text(self) -> Option<String> {
        let [Choice { message, .. }] = self.choices;
        match message {
            CompletionMessage::Own(answer) => answer.content,
            CompletionMessage::Forwarded(message) => message.get("content").and_then(Value::as_str).map(str::to_owned),
        }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Choice {
    index: u32,
    #[schema(value_type = AssistantMessage)]
    message: CompletionMessage,
    #[schema(value_type = Option<Object>)]
    logprobs: Value,
    finish_reason: String,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum CompletionMessage {
    Own(AssistantMessage),
    Forwarded(Map<String, Value>),
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Answer)]
struct AssistantMessage {
    #[schema(value_type = String)]
    role: &'static str,
    content: Option<String>,
    #[schema(value_type = Option<String>)]
    refusal: Option<()>,
    /// `tool_calls`, or `function_call`.
    #[serde(flatten)]
    #[schema(ignore)]
    calls: Map<String, Value>,
}

/// Tokens: as the model counts them, else an estimate.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[schema(as = Usage)]
pub struct UsageObject {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    #[serde(flatten)]
    #[schema(ignore)]
    details: Map<String, Value>,
}

impl UsageObject {
    /// What the model counted, else an estimate from the tokens of a conversation and the bytes of its answer.
    #[must_use]
    pub fn counted(usage: Option<&llm::Usage>, prompt_tokens: u64, length: usize) -> Self {
        if let Some(it) = usage {
            return Self {
                prompt_tokens: it.prompt_tokens,
                completion_tokens: it.completion_tokens,
                total_tokens: it.total_tokens,
                details: it.details.clone(),
            };
        }
        let completion_tokens = tokens(length).max(1);
        let total_tokens = prompt_tokens + completion_tokens;
        Self { prompt_tokens, completion_tokens, total_tokens, details: Map::new() }
    }
}

/// One chunk of a streamed answer.
#[derive(Debug, Serialize)]
pub struct ChatCompletionChunk<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    system_fingerprint: &'static str,
    choices: Vec<ChunkChoice>,
    #[serde(skip_serializing_if = "UsageField::is_absent")]
    usage: UsageField,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<OperationLink>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deployment: Option<DeploymentObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<StatusEvent>,
}

/// Absent, null, or there: SDKs tell these apart.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum UsageField {
    Absent,
    Null,
    Present(UsageObject),
}

impl UsageField {
    fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

#[derive(Debug, Serialize)]
struct ChunkChoice {
    index: u32,
    delta: Delta,
    logprobs: Value,
    finish_reason: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Delta {
    Role { role: &'static str, content: &'static str },
    Content { content: String },
    Forwarded(Map<String, Value>),
    Nothing {},
}

/// What Open WebUI shows above an answer while it is being made.
#[derive(Debug, Serialize)]
struct StatusEvent {
    #[serde(rename = "type")]
    kind: &'static str,
    data: StatusEventData,
}

#[derive(Debug, Serialize)]
struct StatusEventData {
    description: String,
    done: bool,
}

impl<'a> ChatCompletionChunk<'a> {
    fn new(meta: &'a CompletionMeta, include_usage: bool, choice: Option<ChunkChoice>) -> Self {
        Self {
            id: &meta.id,
            object: "chat.completion.chunk",
            created: meta.created,
            model: &meta.model,
            system_fingerprint: FINGERPRINT,
            choices: choice.into_iter().collect(),
            usage: if include_usage { UsageField::Null } else { UsageField::Absent },
            operation: None,
            deployment: None,
            event: None,
        }
    }

    fn with(meta: &'a CompletionMeta, include_usage: bool, delta: Delta) -> Self {
        Self::new(
            meta,
            include_usage,
            Some(ChunkChoice { index: 0, delta, logprobs: Value::Null, finish_reason: None }),
        )
    }

    /// The first one.
    #[must_use]
    pub fn role(meta: &'a CompletionMeta, include_usage: bool) -> Self {
        Self::with(meta, include_usage, Delta::Role { role: "assistant", content: "" })
    }

    /// One with words.
    #[must_use]
    pub fn content(meta: &'a CompletionMeta, include_usage: bool, text: String) -> Self {
        Self::with(meta, include_usage, Delta::Content { content: text })
    }

    /// One of the model, as it came.
    #[must_use]
    pub fn forwarded(
        meta: &'a CompletionMeta,
        include_usage: bool,
        delta: Map<String, Value>,
        logprobs: Value,
    ) -> Self {
        let choice = ChunkChoice { index: 0, delta: Delta::Forwarded(delta), logprobs, finish_reason: None };
        Self::new(meta, include_usage, Some(choice))
    }

    /// One with calls of the caller's tools, whole.
    #[must_use]
    pub fn calls(meta: &'a CompletionMeta, include_usage: bool, calls: &CallerCalls) -> Self {
        Self::with(meta, include_usage, Delta::Forwarded(called(calls, true)))
    }

    /// The one that ends the answer.
    #[must_use]
    pub fn stop(meta: &'a CompletionMeta, include_usage: bool, completion: Completion) -> Self {
        let finish_reason = Some(completion.finish_reason.unwrap_or_else(|| STOP.to_owned()));
        let choice = ChunkChoice { index: 0, delta: Delta::Nothing {}, logprobs: Value::Null, finish_reason };
        Self {
            operation: completion.operation.map(|(id, state)| OperationLink::new(id, state)),
            deployment: completion.deployment.as_ref().map(DeploymentObject::from),
            ..Self::new(meta, include_usage, Some(choice))
        }
    }

    /// The one with the usage.
    #[must_use]
    pub fn usage(meta: &'a CompletionMeta, usage: UsageObject) -> Self {
        Self { usage: UsageField::Present(usage), ..Self::new(meta, true, None) }
    }

    /// One for Open WebUI's status line.
    #[must_use]
    pub fn status(meta: &'a CompletionMeta, include_usage: bool, description: String, done: bool) -> Self {
        let event = StatusEvent { kind: "status", data: StatusEventData { description, done } };
        Self { event: Some(event), ..Self::new(meta, include_usage, None) }
    }
}

/// The field of a message, or of a chunk's delta, that holds calls of the caller's tools.
fn called(calls: &CallerCalls, in_chunk: bool) -> Map<String, Value> {
    let (name, value) = match calls {
        CallerCalls::Function(call) => ("function_call", json!({"name": call.name, "arguments": call.arguments})),
        CallerCalls::Tools(calls) => {
            let values = calls.iter().enumerate().map(|(index, call)| {
                let mut value = call.to_value();
                if in_chunk {
                    value["index"] = json!(index);
                }
                value
            });
            ("tool_calls", values.collect())
        }
    };
    Map::from_iter([(name.to_owned(), value)])
}

/// Number of tokens of a text of so many bytes, at four each: an estimate, as there is no tokenizer.
pub(crate) fn tokens(length: usize) -> u64 {
    u64::try_from(length.div_ceil(4)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> CompletionMeta {
        CompletionMeta { id: "chatcmpl-1".to_owned(), created: 1, model: "m".to_owned(), prompt_tokens: 5 }
    }

    #[test]
    fn an_answer_has_the_shape_that_sdks_expect() {
        insta::assert_json_snapshot!(ChatCompletion::new(&meta(), "hello".to_owned(), Completion::default()));
    }

    #[test]
    fn chunks_have_the_shape_that_sdks_expect() {
        let meta = meta();
        insta::assert_json_snapshot!([
            ChatCompletionChunk::role(&meta, true),
            ChatCompletionChunk::content(&meta, false, "hello".to_owned()),
            ChatCompletionChunk::status(&meta, false, "Building".to_owned(), false),
            ChatCompletionChunk::stop(&meta, true, Completion::default()),
            ChatCompletionChunk::usage(&meta, UsageObject::counted(None, 5, 5)),
        ]);
    }

    #[test]
    fn calls_of_a_callers_tools_have_the_shape_that_sdks_expect() {
        let call = || llm::ToolCall {
            id: "c1".to_owned(),
            name: "search".to_owned(),
            arguments: "{}".to_owned(),
            ..llm::ToolCall::default()
        };
        let ended = |caller_calls| Completion { caller_calls: Some(caller_calls), ..Completion::default() };

        insta::assert_json_snapshot!((
            ChatCompletion::new(&meta(), String::new(), ended(CallerCalls::Tools(vec![call()]))),
            ChatCompletion::new(&meta(), "hm".to_owned(), ended(CallerCalls::Function(call()))),
            ChatCompletionChunk::calls(&meta(), false, &CallerCalls::Tools(vec![call(), call()])),
        ));
    }
}
