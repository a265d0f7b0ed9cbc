//! What is said to the model. No secret gets into it: what is one, or looks like one, is replaced on its way in.
//!
//! A stand-in (`[secret-1]`) takes the place of each secret, so that the model can still say where a value belongs; who
//! reads its answer puts the value back where a secret may stand.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;
use secrecy::{ExposeSecret, SecretString};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

use crate::secret::Redactor;
use crate::secret::redactor::REDACTED;

const PLACEHOLDER_PREFIX: &str = "[secret-";

/// Secret access keys of AWS have no mark of their own: so many characters of base64, and not all of them hexadecimal.
static AWS_SECRET_KEY_SHAPE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"[A-Za-z0-9/+]{40,}").expect("a constant that the tests compile"));

/// What is said to the model.
#[derive(Debug, Clone)]
pub struct Prompt {
    redactor: Redactor,
    fields: Map<String, Value>,
    messages: Vec<Value>,
    secrets: Vec<SecretString>,
}

impl Prompt {
    pub(super) fn new(redactor: Redactor) -> Self {
        Self { redactor, fields: Map::new(), messages: Vec::new(), secrets: Vec::new() }
    }

    /// Makes these values known as secrets, in whatever follows.
    pub fn add_secrets<'a>(&mut self, secrets: impl IntoIterator<Item = &'a SecretString>) {
        let mut secrets = secrets.into_iter().peekable();
        if secrets.peek().is_some() {
            self.redactor = self.redactor.with(secrets);
        }
    }

    /// Sets an option of the request.
    pub fn set(&mut self, name: &str, mut value: Value) {
        self.redact_value(&mut value);
        self.fields.insert(name.to_owned(), value);
    }

    /// Sets an option to what this program itself made: there is nothing to replace in it.
    pub fn set_trusted(&mut self, name: &str, value: Value) {
        self.fields.insert(name.to_owned(), value);
    }

    /// Takes an option away.
    pub fn unset(&mut self, name: &str) {
        self.fields.remove(name);
    }

    /// Adds a message of this program itself: there is nothing to replace in it.
    pub fn push_trusted(&mut self, message: Value) {
        self.messages.push(message);
    }

    /// Adds a message.
    pub fn push(&mut self, mut message: Value) {
        self.redact_value(&mut message);
        self.messages.push(message);
    }

    /// The text with the secrets back in their places. Only for where a secret may stand.
    #[must_use]
    pub fn restore(&self, text: &str) -> String {
        self.restore_if(text, |_| true)
    }

    /// The text with those secrets back in their places that may stand there.
    #[must_use]
    pub fn restore_if(&self, text: &str, may: impl Fn(&str) -> bool) -> String {
        // The last first: a later secret may hold the stand-in of an earlier one.
        let numbered = self.secrets.iter().enumerate().filter(|(_, it)| may(it.expose_secret())).rev();
        numbered.fold(text.to_owned(), |text, (index, secret)| {
            let placeholder = placeholder(index);
            if text.contains(&placeholder) { text.replace(&placeholder, secret.expose_secret()) } else { text }
        })
    }

    /// The options that were set.
    pub(super) fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// The body of the request.
    pub(super) fn body<'a>(&'a self, model: &'a str, stream: bool) -> Body<'a> {
        Body { prompt: self, model, stream }
    }

    fn redact_value(&mut self, value: &mut Value) {
        match value {
            // A picture inside of the message: base64 that looks like anything.
            Value::String(text) if is_data_url(text) => {}
            Value::String(text) => {
                if let Some(clean) = self.redact_text(text) {
                    *text = clean;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|it| self.redact_value(it)),
            Value::Object(fields) => fields.values_mut().for_each(|it| self.redact_value(it)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// The text without secrets; `None` when it holds none.
    fn redact_text(&mut self, text: &str) -> Option<String> {
        let secrets = &mut self.secrets;
        let mut replace = |secret: &str| {
            if secret == REDACTED || secret.starts_with(PLACEHOLDER_PREFIX) {
                return secret.to_owned();
            }
            let known = secrets.iter().position(|it| it.expose_secret() == secret);
            placeholder(known.unwrap_or_else(|| {
                secrets.push(SecretString::from(secret));
                secrets.len() - 1
            }))
        };
        let clean = self.redactor.replace(text, &mut replace);
        let clean = match AWS_SECRET_KEY_SHAPE.replace_all(&clean, |found: &regex::Captures<'_>| {
            if looks_like_aws_secret_key(&found[0]) { replace(&found[0]) } else { found[0].to_owned() }
        }) {
            Cow::Owned(clean) => clean,
            Cow::Borrowed(_) => clean.into_owned(),
        };
        (clean != text).then_some(clean)
    }
}

/// The body of a request. Prompts are long: it is written without a copy of them.
pub(super) struct Body<'a> {
    prompt: &'a Prompt,
    model: &'a str,
    stream: bool,
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("model", self.model)?;
        map.serialize_entry("messages", &self.prompt.messages)?;
        if self.stream {
            map.serialize_entry("stream", &true)?;
        }
        for (name, value) in &self.prompt.fields {
            if self.stream || name != "stream_options" {
                map.serialize_entry(name, value)?;
            }
        }
        map.end()
    }
}

/// `data:image/png;base64,...`, and not words that happen to begin so.
fn is_data_url(text: &str) -> bool {
    let head = text.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
    head.is_some_and(|(media_type, _)| !media_type.contains(char::is_whitespace))
}

fn placeholder(index: usize) -> String {
    format!("{PLACEHOLDER_PREFIX}{}]", index + 1)
}

fn looks_like_aws_secret_key(text: &str) -> bool {
    let has = |is: fn(&char) -> bool| text.chars().any(|it| is(&it));
    let is_path = text.matches('/').count() > 3;
    text.len() == 40
        && !is_path
        && has(char::is_ascii_uppercase)
        && has(char::is_ascii_lowercase)
        && has(char::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body(prompt: &Prompt) -> Value {
        serde_json::to_value(prompt.body("m", false)).unwrap()
    }

    fn prompt(text: &str) -> Prompt {
        let mut prompt = Prompt::new(Redactor::new());
        prompt.add_secrets([&SecretString::from("a-known-token")]);
        prompt.push(json!({"role": "user", "content": text}));
        prompt
    }

    fn said(prompt: &Prompt) -> String {
        body(prompt)["messages"][0]["content"].as_str().unwrap().to_owned()
    }

    #[test]
    fn secrets_are_replaced_and_can_be_put_back() {
        let text = "deploy it with DB_PASSWORD=hunter2hunter2, token a-known-token and again a-known-token";
        let prompt = prompt(text);

        let said = said(&prompt);

        assert_eq!(said, "deploy it with DB_PASSWORD=[secret-2], token [secret-1] and again [secret-1]");
        assert_eq!(prompt.restore(&said), text);
    }

    #[test]
    fn a_pasted_pair_of_aws_credentials_does_not_leave() {
        let said = said(&prompt("AKIAIOSFODNN7EXAMPLE wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"));

        assert_eq!(said, "[secret-1] [secret-2]");
    }

    #[test]
    fn commits_and_addresses_stay() {
        let text = "deploy https://github.com/team/Notes2/tree/main at 3f2a1b9c0d1e3f2a1b9c0d1e3f2a1b9c0d1e3f2a";

        assert_eq!(said(&prompt(text)), text);
    }

    #[test]
    fn pictures_are_left_alone() {
        let mut prompt = prompt("");
        let picture = json!({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY1a"}}]});

        prompt.push(picture.clone());

        assert_eq!(body(&prompt)["messages"][1], picture);
        assert_eq!(said(&super::tests::prompt("data: a-known-token")), "data: [secret-1]");
    }

    #[test]
    fn a_text_that_was_cleaned_stays_as_it_is() {
        let mut prompt = prompt("API_KEY=hunter2hunter2");
        let once = said(&prompt);

        prompt.push(json!({"role": "user", "content": once}));

        assert_eq!(body(&prompt)["messages"][1]["content"], once.as_str());
    }
}
