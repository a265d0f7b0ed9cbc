//! The embedding model: texts to vectors, as the caller's own program wants them.
//!
//! What it answers goes to the caller as it came: thousands of numbers, which nobody here reads.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::endpoint::Endpoint;
use super::error::LlmError;
use super::{Model, read};
use crate::config::Settings;

/// The largest answer that is read: as many vectors as OpenAI makes at once (2048), of 1536 numbers with 20 digits.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// A client of the embedding model. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EmbeddingModel(Model);

impl EmbeddingModel {
    /// The model of the settings; `None` when they name none.
    #[must_use]
    pub fn from_settings(settings: &Settings) -> Option<Self> {
        Endpoint::of_embeddings(&settings.llm).map(|endpoint| Self(Model::at(endpoint, settings)))
    }

    /// Its name, as the settings have it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Where it is, without anything secret.
    #[must_use]
    pub fn address(&self) -> String {
        self.0.address()
    }

    /// Asks for vectors: with these fields of the request, in which secrets are replaced. Gives the JSON of its answer.
    ///
    /// # Errors
    /// [`LlmError`] says what the model, or the way to it, lacks.
    pub async fn embed(&self, fields: Map<String, Value>) -> Result<Vec<u8>, LlmError> {
        let mut prompt = self.0.prompt();
        for (name, value) in fields {
            prompt.set(&name, value);
        }
        let response = self.0.send(&Body { model: self.name(), fields: prompt.fields() }, false).await?;
        let answer = async {
            let answer = read(response, MAX_ANSWER_BYTES).await.map_err(|error| self.0.broken(&error))?;
            if is_list(&answer) { Ok(answer) } else { Err(LlmError::Malformed) }
        };
        let answer = answer.await;
        self.0.0.circuit.record(answer.as_ref().err());
        answer
    }

    /// Asks for the vector of one word, to see whether the model answers.
    ///
    /// # Errors
    /// [`LlmError`].
    pub async fn check(&self) -> Result<(), LlmError> {
        self.embed(Map::from_iter([("input".to_owned(), json!("ok"))])).await.map(drop)
    }
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(flatten)]
    fields: &'a Map<String, Value>,
}

/// What an answer has at least.
#[derive(Deserialize)]
struct List {
    #[expect(dead_code, reason = "that it is there is all that counts")]
    data: Vec<IgnoredAny>,
}

fn is_list(answer: &[u8]) -> bool {
    serde_json::from_slice::<List>(answer).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_list_whatever_else_it_says() {
        assert!(is_list(br#"{"object": "list", "data": [{"embedding": [0.1], "index": 0}], "model": "m"}"#));
        assert!(is_list(br#"{"data": [{"embedding": "AAAA"}]}"#));
        assert!(!is_list(br#"{"embedding": [0.1]}"#));
        assert!(!is_list(br#"{"data": [{"embedding": [0.1"#));
        assert!(!is_list(b"<html>"));
    }
}
