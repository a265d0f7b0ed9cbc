//! Request, answer and chunk of `POST /v1/chat/completions`: reading with OpenAI's leniency, writing to the letter.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::event::OperationState;
use crate::http::deployments::DeploymentObject;
use crate::http::error::ApiError;
use crate::http::models::DEFAULT_MODEL;
use crate::id::OperationId;

/// Names the build that answered.
const FINGERPRINT: &str = concat!("on-demand-infra-", env!("CARGO_PKG_VERSION"));

const WHOLE_NUMBERS: &[&str] = &["max_completion_tokens", "max_tokens", "n", "seed", "top_logprobs"];
const NUMBERS: &[&str] = &["frequency_penalty", "presence_penalty", "temperature", "top_p"];
const BOOLEANS: &[&str] = &["logprobs", "parallel_tool_calls", "store", "stream"];
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

/// One message of the conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Who said it.
    pub role: Role,
    /// The text of all its parts.
    pub text: String,
}

/// Who said something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The application around the model (`system`, `developer`).
    System,
    /// The person.
    User,
    /// We.
    Assistant,
    /// A tool (`tool`, `function`).
    Tool,
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
        self.messages.iter().map(|it| tokens(it.text.len()) + 4).sum::<u64>().max(1)
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
    for (name, _) in present(WHOLE_NUMBERS).filter(|(_, value)| number(value).is_none_or(|it| it.fract() != 0.0)) {
        return Err(wrong(name, "a whole number"));
    }
    for (name, _) in present(NUMBERS).filter(|(_, value)| number(value).is_none()) {
        return Err(wrong(name, "a number"));
    }
    for (name, _) in present(BOOLEANS).filter(|(_, value)| boolean(value).is_none()) {
        return Err(wrong(name, "`true` or `false`"));
    }
    Ok(())
}

/// A number, also from a string.
fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    number.filter(|it: &f64| it.is_finite())
}

/// A boolean, also from a string.
fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::String(text) => text.trim().to_ascii_lowercase().parse().ok(),
        Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn wrong(param: impl Into<String>, rule: &str) -> ApiError {
    let param = param.into();
    let message = format!("`{param}` must be {rule}");
    ApiError::invalid(param, message)
}

fn missing(param: &'static str, message: &str) -> ApiError {
    ApiError::MissingParameter { param: Some(param.into()), message: message.to_owned() }
}

fn tokens(length: usize) -> u64 {
    u64::try_from(length.div_ceil(4)).unwrap_or(u64::MAX)
}

/// What every answer has in common, whole or in chunks.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// Starts with `chatcmpl-`.
    pub id: String,
    /// Seconds since 1970.
    pub created: i64,
    /// The model that was named.
    pub model: String,
    /// Estimated tokens of the conversation.
    pub prompt_tokens: u64,
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

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Words {
    /// The Markdown.
    pub content: String,
    /// The operation that it is about.
    pub operation: Option<OperationLink>,
    /// The deployment that it is about.
    pub deployment: Option<DeploymentObject>,
}

impl From<String> for Words {
    fn from(content: String) -> Self {
        Self { content, ..Self::default() }
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
    usage: Usage,
    #[schema(value_type = String)]
    system_fingerprint: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<OperationLink>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deployment: Option<DeploymentObject>,
}

impl ChatCompletion {
    /// The answer that says these words.
    #[must_use]
    pub fn new(head: &Head, words: Words) -> Self {
        Self {
            id: head.id.clone(),
            object: "chat.completion",
            created: head.created,
            model: head.model.clone(),
            usage: Usage::new(head.prompt_tokens, &words.content),
            choices: [Choice {
                index: 0,
                message: Answer { role: "assistant", content: words.content, refusal: None },
                logprobs: None,
                finish_reason: "stop",
            }],
            system_fingerprint: FINGERPRINT,
            operation: words.operation,
            deployment: words.deployment,
        }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Choice {
    index: u32,
    message: Answer,
    #[schema(value_type = Option<String>)]
    logprobs: Option<()>,
    #[schema(value_type = String)]
    finish_reason: &'static str,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Answer {
    #[schema(value_type = String)]
    role: &'static str,
    content: String,
    #[schema(value_type = Option<String>)]
    refusal: Option<()>,
}

/// Estimated tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
}

impl Usage {
    /// The usage of a conversation that was answered with `content`.
    #[must_use]
    pub fn new(prompt_tokens: u64, content: &str) -> Self {
        Self::of_length(prompt_tokens, content.len())
    }

    /// The usage of a conversation that was answered with so many bytes.
    #[must_use]
    pub fn of_length(prompt_tokens: u64, length: usize) -> Self {
        let completion_tokens = tokens(length).max(1);
        Self { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
    }
}

/// One chunk of a streamed answer.
#[derive(Debug, Serialize)]
pub struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    system_fingerprint: &'static str,
    choices: Vec<Delta>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Usage>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<OperationLink>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deployment: Option<DeploymentObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<PageEvent>,
}

#[derive(Debug, Serialize)]
struct Delta {
    index: u32,
    delta: DeltaContent,
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
}

#[derive(Debug, Default, Serialize)]
struct DeltaContent {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
}

/// What Open WebUI shows above an answer while it is being made.
#[derive(Debug, Serialize)]
struct PageEvent {
    #[serde(rename = "type")]
    kind: &'static str,
    data: PageStatus,
}

#[derive(Debug, Serialize)]
struct PageStatus {
    description: String,
    done: bool,
}

impl<'a> Chunk<'a> {
    fn new(head: &'a Head, include_usage: bool, delta: Option<(DeltaContent, Option<&'static str>)>) -> Self {
        let choices =
            delta.into_iter().map(|(delta, finish_reason)| Delta { index: 0, delta, logprobs: None, finish_reason });
        Self {
            id: &head.id,
            object: "chat.completion.chunk",
            created: head.created,
            model: &head.model,
            system_fingerprint: FINGERPRINT,
            choices: choices.collect(),
            usage: include_usage.then_some(None),
            operation: None,
            deployment: None,
            event: None,
        }
    }

    /// The first one.
    #[must_use]
    pub fn role(head: &'a Head, include_usage: bool) -> Self {
        let delta = DeltaContent { role: Some("assistant"), content: Some(String::new()) };
        Self::new(head, include_usage, Some((delta, None)))
    }

    /// One with words.
    #[must_use]
    pub fn content(head: &'a Head, include_usage: bool, text: String) -> Self {
        let delta = DeltaContent { role: None, content: Some(text) };
        Self::new(head, include_usage, Some((delta, None)))
    }

    /// The one that ends the answer.
    #[must_use]
    pub fn stop(
        head: &'a Head,
        include_usage: bool,
        operation: Option<OperationLink>,
        deployment: Option<DeploymentObject>,
    ) -> Self {
        let end = Self::new(head, include_usage, Some((DeltaContent::default(), Some("stop"))));
        Self { operation, deployment, ..end }
    }

    /// The one with the usage.
    #[must_use]
    pub fn usage(head: &'a Head, usage: Usage) -> Self {
        Self { usage: Some(Some(usage)), ..Self::new(head, true, None) }
    }

    /// One for Open WebUI's status line.
    #[must_use]
    pub fn status(head: &'a Head, include_usage: bool, description: String, done: bool) -> Self {
        let event = PageEvent { kind: "status", data: PageStatus { description, done } };
        Self { event: Some(event), ..Self::new(head, include_usage, None) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

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

    fn head() -> Head {
        Head { id: "chatcmpl-1".to_owned(), created: 1, model: "m".to_owned(), prompt_tokens: 5 }
    }

    #[test]
    fn an_answer_has_the_shape_that_sdks_expect() {
        insta::assert_json_snapshot!(ChatCompletion::new(&head(), Words::from("hello".to_owned())));
    }

    #[test]
    fn chunks_have_the_shape_that_sdks_expect() {
        let head = head();
        insta::assert_json_snapshot!([
            Chunk::role(&head, true),
            Chunk::content(&head, false, "hello".to_owned()),
            Chunk::status(&head, false, "Building".to_owned(), false),
            Chunk::stop(&head, true, None, None),
            Chunk::usage(&head, Usage::new(5, "hello")),
        ]);
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
