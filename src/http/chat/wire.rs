//! Answer and chunk of `POST /v1/chat/completions`, to the letter.

use serde::Serialize;

use crate::event::OperationState;
use crate::http::deployments::DeploymentObject;
use crate::id::OperationId;

/// Names the build that answered.
const FINGERPRINT: &str = concat!("on-demand-infra-", env!("CARGO_PKG_VERSION"));

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
#[expect(clippy::struct_field_names, reason = "the names are OpenAI's")]
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
    #[serde(skip_serializing_if = "UsageField::is_absent")]
    usage: UsageField,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<OperationLink>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deployment: Option<DeploymentObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<PageEvent>,
}

/// Absent, null, or there: SDKs tell these apart.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum UsageField {
    Absent,
    Null,
    There(Usage),
}

impl UsageField {
    fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the names are OpenAI's")]
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
            usage: if include_usage { UsageField::Null } else { UsageField::Absent },
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
        Self { usage: UsageField::There(usage), ..Self::new(head, true, None) }
    }

    /// One for Open WebUI's status line.
    #[must_use]
    pub fn status(head: &'a Head, include_usage: bool, description: String, done: bool) -> Self {
        let event = PageEvent { kind: "status", data: PageStatus { description, done } };
        Self { event: Some(event), ..Self::new(head, include_usage, None) }
    }
}

/// Number of tokens of a text of so many bytes, at four each: an estimate, as there is no tokenizer.
pub(super) fn tokens(length: usize) -> u64 {
    u64::try_from(length.div_ceil(4)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
