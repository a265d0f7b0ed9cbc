//! What a person says, with all that came before.

use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::access::Caller;
use crate::intent::Limits;
use crate::intent::partial::PartialRequest;
use crate::intent::sentence::{Role, Turn};
use crate::store::operations::RequestKey;

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Who said it.
    pub role: Role,
    /// The text of all its parts.
    pub text: String,
}

/// What a person says, with all that came before.
#[derive(Debug, Clone)]
pub struct ConversationRequest {
    /// Who asks.
    pub caller: Caller,
    /// By what the same request is recognised when it is sent again.
    pub key: RequestKey,
    /// The conversation, what is said now last.
    pub messages: Vec<Message>,
    /// The request as it came: `model_options` says what of it the model gets.
    pub body: Map<String, Value>,
    /// Explicit fields, which complete what is said.
    pub fields: PartialRequest,
    /// What a request may ask for.
    pub limits: Limits,
}

/// The messages as sentences are read from them.
pub(super) fn turns(messages: &[Message]) -> Vec<Turn<'_>> {
    messages.iter().map(|it| Turn { role: it.role, text: it.without_context() }).collect()
}

impl Message {
    /// What was said, without the documents that Open WebUI puts before the question as `<context>...</context>`. The
    /// last `</context>` counts, because a document may hold one itself, so that its text passes for the person's
    /// words.
    pub(super) fn without_context(&self) -> &str {
        const MARKS: (&str, &str) = ("<context>", "</context>");
        let text = self.text.as_str();
        let Some(begin) = text.find(MARKS.0).filter(|_| self.role == Role::User) else { return text };
        let after = text.rfind(MARKS.1).filter(|end| *end > begin).map(|end| text[end + MARKS.1.len()..].trim());
        after.filter(|it| !it.is_empty()).unwrap_or(&text[..begin])
    }
}

impl ConversationRequest {
    /// The messages as they came.
    pub(super) fn raw_messages(&self) -> impl Iterator<Item = &Value> {
        self.body.get("messages").and_then(Value::as_array).into_iter().flatten()
    }

    /// Whether it goes on with what the caller's tools returned since the person spoke. That is text from outside, as
    /// logs are: whatever would change something is only proposed then.
    pub(super) fn reads_tool_results(&self) -> bool {
        self.messages.iter().rev().take_while(|it| it.role != Role::User).any(|it| it.role == Role::Tool)
    }

    /// Secrets that came with the request.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &SecretString> {
        let aws = self.fields.aws.iter().flat_map(|it| {
            [Some(&it.access_key_id), Some(&it.secret_access_key), it.session_token.as_ref()].into_iter().flatten()
        });
        let environment = self.fields.environment.iter().flat_map(|it| it.values());
        let build = self.fields.build_secrets.iter().flat_map(|it| it.values());
        self.fields.git_token.iter().chain(environment).chain(build).chain(aws)
    }
}
