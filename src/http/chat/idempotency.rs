//! By what two requests are recognised as the same one, sent twice.
//!
//! A client says it by a header; a chat page by its chat and message; else the request itself is the key. Keys are
//! hashed together with who asks, so that nobody attaches to what somebody else asked for.

use axum::http::HeaderMap;
use serde_json::{Map, Value};

use crate::access::Caller;
use crate::http::chat::open_webui;
use crate::http::error::ApiError;
use crate::id::short_hash;
use crate::intent::Intent;
use crate::intent::fields::FIELDS;
use crate::store::operations::{KeyKind, RequestKey};

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const RETRY_COUNT: &str = "x-stainless-retry-count";
const LONGEST: usize = 255;

/// Fields that say how to answer, not what to do.
const STREAM_FIELDS: &[&str] = &["stream", "stream_options"];

/// What a request is about, as far as its key goes.
#[derive(Debug, Clone, Copy)]
pub enum KeyBasis<'a> {
    /// What its explicit fields ask for.
    Fields(&'a Intent),
    /// What the person said last; what that comes to is not known yet.
    Words(&'a str),
}

/// The key of a request.
///
/// # Errors
/// [`ApiError`] when the `Idempotency-Key` header is not one.
pub fn request_key(
    caller: &Caller,
    headers: &HeaderMap,
    body: &Map<String, Value>,
    basis: KeyBasis<'_>,
) -> Result<RequestKey, ApiError> {
    if !headers.contains_key(IDEMPOTENCY_KEY)
        && let Some(key) = chat_key(&caller.principal, headers, body, basis)
    {
        // Open WebUI sends the whole conversation with every message, with the answers since: the body hash of a chat
        // key covers only the intent, or the last message.
        let asked = match basis {
            KeyBasis::Fields(intent) => serde_json::to_string(intent).unwrap_or_default(),
            KeyBasis::Words(said) => said.trim().to_owned(),
        };
        return Ok(RequestKey { key, kind: KeyKind::Chat, body_hash: hash(&[&asked]) });
    }
    plain_key(caller, headers, body)
}

/// The key of a request that is part of no chat page's chat.
///
/// # Errors
/// [`ApiError`] when the `Idempotency-Key` header is not one.
pub fn plain_key(caller: &Caller, headers: &HeaderMap, body: &Map<String, Value>) -> Result<RequestKey, ApiError> {
    let who = caller.principal.as_str();
    let asked = body.iter().filter(|(name, _)| !STREAM_FIELDS.contains(&name.as_str()));
    let body_hash = hash(&[&canonical(asked)]);
    if let Some(value) = headers.get(IDEMPOTENCY_KEY) {
        let value = value.to_str().ok().filter(|text| (1..=LONGEST).contains(&text.len()));
        let value = value.ok_or_else(|| {
            ApiError::invalid("Idempotency-Key", "`Idempotency-Key` must be 1 to 255 characters of visible ASCII")
        })?;
        return Ok(RequestKey { key: hash(&["header", who, value]), kind: KeyKind::Header, body_hash });
    }
    let retries = headers.get(RETRY_COUNT).and_then(|it| it.to_str().ok()?.trim().parse::<u32>().ok());
    let is_retry = retries.is_some_and(|count| count > 0);
    Ok(RequestKey { key: hash(&["body", who, &body_hash]), kind: KeyKind::Hash { is_retry }, body_hash })
}

/// Custom parameters of a chat page come with every message: their key is the chat and our fields, so that an unchanged
/// `action` attaches. Words have the key of chat and message id.
fn chat_key(who: &str, headers: &HeaderMap, body: &Map<String, Value>, basis: KeyBasis<'_>) -> Option<String> {
    let chat = open_webui::chat_id(headers)?;
    match basis {
        KeyBasis::Fields(_) => {
            let ours = body.iter().filter(|(name, _)| FIELDS.iter().any(|field| field.name == name.as_str()));
            Some(hash(&["chat", who, chat, &canonical(ours)]))
        }
        KeyBasis::Words(_) => Some(hash(&["message", who, chat, open_webui::message_id(headers)?])),
    }
}

/// The value as JSON, with the fields of each object in the order of their names.
fn value(text: &mut String, it: &Value) {
    match it {
        Value::Object(map) => object(text, map.iter()),
        Value::Array(items) => {
            text.push('[');
            for item in items {
                value(text, item);
                text.push(',');
            }
            text.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => text.push_str(&it.to_string()),
    }
}

fn object<'a>(text: &mut String, fields: impl Iterator<Item = (&'a String, &'a Value)>) {
    let mut fields: Vec<_> = fields.collect();
    fields.sort_unstable_by_key(|(name, _)| name.as_str());
    text.push('{');
    for (name, it) in fields {
        value(text, &Value::String(name.clone()));
        text.push(':');
        value(text, it);
        text.push(',');
    }
    text.push('}');
}

fn canonical<'a>(fields: impl Iterator<Item = (&'a String, &'a Value)>) -> String {
    let mut text = String::new();
    object(&mut text, fields);
    text
}

fn hash(parts: &[&str]) -> String {
    short_hash(parts, 64)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};
    use serde_json::json;

    use super::*;
    use crate::access::Surface;
    use crate::intent::{Limits, fields};

    fn deploy() -> Value {
        json!({
            "action": "deploy",
            "deployment_mode": "local",
            "github_repo_url": "https://git.example.test/team/notes.git",
            "messages": [{"role": "user", "content": "go"}],
        })
    }

    fn key(principal: &str, headers: &[(&'static str, &'static str)], body: &Value) -> RequestKey {
        let limits = Limits { max_replicas: 10, aws_credentials_in_settings: false };
        let request = fields::parse(body.as_object().unwrap(), &limits).unwrap().unwrap();
        key_of(principal, headers, body, KeyBasis::Fields(&request.intent))
    }

    fn key_of(
        principal: &str,
        headers: &[(&'static str, &'static str)],
        body: &Value,
        basis: KeyBasis<'_>,
    ) -> RequestKey {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let caller = Caller::administrator(principal.to_owned(), "127.0.0.1".to_owned(), Surface::ChatCompletions);
        request_key(&caller, &headers, body.as_object().unwrap(), basis).unwrap()
    }

    fn with(name: &str, value: Value) -> Value {
        let mut body = deploy();
        body[name] = value;
        body
    }

    #[test]
    fn the_way_of_answering_does_not_make_another_request() {
        let whole = key("a", &[], &deploy());
        let streamed = key("a", &[], &with("stream", json!(true)));

        assert_eq!(whole, streamed);
        assert_eq!(whole.kind, KeyKind::Hash { is_retry: false });
    }

    #[test]
    fn another_wish_or_another_person_makes_another_request() {
        let one = key("a", &[], &deploy());

        assert_ne!(one.key, key("a", &[], &with("scale_replicas", json!(2))).key);
        assert_ne!(one.key, key("b", &[], &deploy()).key);
    }

    #[test]
    fn an_sdk_says_that_it_sends_again() {
        let again = key("a", &[("x-stainless-retry-count", "1")], &deploy());

        assert_eq!(again.kind, KeyKind::Hash { is_retry: true });
        assert_eq!(again.key, key("a", &[("x-stainless-retry-count", "0")], &deploy()).key);
    }

    #[test]
    fn a_header_is_the_key_and_the_body_is_remembered() {
        let headers = [("idempotency-key", "k-1")];
        let one = key("a", &headers, &deploy());
        let other = key("a", &headers, &with("scale_replicas", json!(2)));

        assert_eq!((one.kind, &one.key), (KeyKind::Header, &other.key));
        assert_ne!(one.body_hash, other.body_hash);
    }

    #[test]
    fn fields_that_a_chat_page_adds_to_every_message_count_once() {
        let first = [("x-openwebui-chat-id", "c1"), ("x-openwebui-user-message-id", "m1")];
        let second = [("x-openwebui-chat-id", "c1"), ("x-openwebui-user-message-id", "m2")];
        let longer = with("messages", json!([{"role": "user", "content": "go"}, {"role": "user", "content": "and?"}]));

        let one = key("a", &first, &deploy());

        assert_eq!(one.kind, KeyKind::Chat);
        assert_eq!(one, key("a", &second, &longer));
    }

    #[test]
    fn a_sentence_on_a_chat_page_counts_once_per_message() {
        let first = [("x-openwebui-chat-id", "c1"), ("x-openwebui-user-message-id", "m1")];
        let second = [("x-openwebui-chat-id", "c1"), ("x-openwebui-user-message-id", "m2")];

        let said = KeyBasis::Words("go");
        let one = key_of("a", &first, &deploy(), said);

        assert_eq!(one, key_of("a", &first, &deploy(), said));
        assert_ne!(one.key, key_of("a", &second, &deploy(), said).key);
    }
}
