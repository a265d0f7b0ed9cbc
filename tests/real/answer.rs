//! An answer of the server, with the checks that all stories share.

use std::time::Duration;

use serde_json::Value;

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    /// HTTP status.
    pub(crate) status: u16,
    /// The whole body.
    pub(crate) body: Value,
    /// The body as it came.
    pub(crate) text: String,
    /// The words for a person.
    pub(crate) content: Option<String>,
    /// How long it took.
    pub(crate) took: Duration,
}

impl Answer {
    /// Reads a body.
    pub(crate) fn new(status: u16, text: &str, took: Duration) -> Self {
        let body: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("not JSON ({error}): {text}"));
        let content = body["choices"][0]["message"]["content"].as_str().map(str::to_owned);
        Self { status, body, text: text.to_owned(), content, took }
    }

    /// The words; fails when there are none.
    pub(crate) fn words(&self) -> &str {
        self.content.as_deref().unwrap_or_else(|| panic!("no words: {:#}", self.body))
    }

    /// Fails unless the operation ended so.
    pub(crate) fn ended(self, state: &str) -> Self {
        assert_eq!(self.body["operation"]["state"], state, "{}", self.text_for_people());
        self
    }

    /// Fails unless the words contain this.
    pub(crate) fn says(self, words: &str) -> Self {
        assert!(self.words().contains(words), "it does not say {words:?}: {}", self.text_for_people());
        self
    }

    /// The operation's id.
    pub(crate) fn operation(&self) -> &str {
        self.body["operation"]["id"].as_str().unwrap_or_else(|| panic!("no operation: {:#}", self.body))
    }

    /// A field of the deployment.
    pub(crate) fn deployment(&self, field: &str) -> &Value {
        &self.body["deployment"][field]
    }

    /// A field of the deployment that is text.
    pub(crate) fn word(&self, field: &str) -> String {
        let found = self.deployment(field).as_str();
        found.unwrap_or_else(|| panic!("`{field}` is no text: {:#}", self.body)).to_owned()
    }

    fn text_for_people(&self) -> String {
        format!("{}\n{:#}", self.content.as_deref().unwrap_or_default(), self.body)
    }
}
