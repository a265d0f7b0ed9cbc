//! Answers that are kept for the one who asked, sealed.

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{App, AppError};
use crate::access::Caller;
use crate::store::stored_answers::{AnswerKind, AnswerPage};

impl App {
    /// Keeps an answer for the caller; one that is kept under this id already stays as it is.
    ///
    /// # Errors
    /// [`AppError::Internal`] when it cannot be sealed or stored.
    pub async fn keep_answer(
        &self,
        caller: &Caller,
        kind: AnswerKind,
        id: &str,
        answer: &impl Serialize,
    ) -> Result<(), AppError> {
        let sealed = self.sealed_answer(caller, kind, id, answer)?;
        Ok(self.0.store.insert_answer(&caller.principal, kind, id, &sealed, Timestamp::now()).await?)
    }

    /// Puts an answer in the place of what is kept of it; false when it was deleted.
    ///
    /// # Errors
    /// [`AppError::Internal`] when it cannot be sealed or stored.
    pub async fn update_answer(
        &self,
        caller: &Caller,
        kind: AnswerKind,
        id: &str,
        answer: &impl Serialize,
    ) -> Result<bool, AppError> {
        let sealed = self.sealed_answer(caller, kind, id, answer)?;
        Ok(self.0.store.update_answer(&caller.principal, kind, id, &sealed).await?)
    }

    /// What is kept of an answer for this caller; nothing when it was sealed with another key, or by a version of this
    /// program that this one cannot read.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn kept_answer<T: DeserializeOwned>(
        &self,
        caller: &Caller,
        kind: AnswerKind,
        id: &str,
    ) -> Result<Option<T>, AppError> {
        let sealed = self.0.store.answer(&caller.principal, kind, id).await?;
        Ok(sealed.and_then(|it| self.unsealed_answer(caller, kind, id, &it)))
    }

    /// A page of the answers that are kept for this caller.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn kept_answers<T: DeserializeOwned>(
        &self,
        caller: &Caller,
        kind: AnswerKind,
        page: &AnswerPage,
    ) -> Result<Vec<(String, Option<T>)>, AppError> {
        let rows = self.0.store.answers(&caller.principal, kind, page).await?;
        let unsealed = rows.into_iter().map(|(id, sealed)| {
            let answer = self.unsealed_answer(caller, kind, &id, &sealed);
            (id, answer)
        });
        Ok(unsealed.collect())
    }

    /// Forgets what is kept of an answer; false when nothing is.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn delete_answer(&self, caller: &Caller, kind: AnswerKind, id: &str) -> Result<bool, AppError> {
        Ok(self.0.store.delete_answer(&caller.principal, kind, id).await?)
    }

    fn sealed_answer(
        &self,
        caller: &Caller,
        kind: AnswerKind,
        id: &str,
        answer: &impl Serialize,
    ) -> Result<String, AppError> {
        let text = serde_json::to_string(answer).map_err(|error| AppError::Internal(error.into()))?;
        Ok(self.0.sealer.seal(&context(caller, kind, id), &SecretString::from(text))?)
    }

    fn unsealed_answer<T: DeserializeOwned>(
        &self,
        caller: &Caller,
        kind: AnswerKind,
        id: &str,
        sealed: &str,
    ) -> Option<T> {
        let text = self.0.sealer.unseal(&context(caller, kind, id), sealed).ok()?;
        let read = serde_json::from_str(text.expose_secret());
        read.inspect_err(|error| tracing::warn!(answer = id, %error, "a stored answer cannot be read")).ok()
    }
}

fn context(caller: &Caller, kind: AnswerKind, id: &str) -> String {
    format!("{} {id} of {}", <&str>::from(kind), caller.principal)
}
