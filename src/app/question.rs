//! Questions to a person: for a key that asks, a yes counts only to a question that was really put.
//!
//! An answer with the hash of a plan can be made up by whoever sends the conversation. So for a key that asks the question
//! itself is on record, for an hour, until it is answered.

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};

use super::{App, AppError};
use crate::access::Caller;
use crate::id::PlanHash;
use crate::intent::{Confirmation, Request};

/// How long a question that a client carries can be answered, as long as one that is on record.
const ANSWERED_WITHIN: SignedDuration = SignedDuration::from_hours(1);

fn carried(caller: &Caller, about: &str) -> String {
    format!("question to {} about {about}", caller.principal)
}

fn state_id(plan: &PlanHash) -> String {
    format!("question {plan}")
}

impl App {
    /// Keeps that a question was put to whoever speaks through this key.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn keep_question(&self, caller: &Caller, plan: &PlanHash) -> Result<(), AppError> {
        if !caller.asks {
            return Ok(());
        }
        self.keep_conversation_state(caller, &state_id(plan), &()).await
    }

    /// Whether such a question is open.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn has_question(&self, caller: &Caller, plan: &PlanHash) -> Result<bool, AppError> {
        Ok(caller.asks && self.conversation_state::<()>(caller, &state_id(plan)).await?.is_some())
    }

    /// Forgets a question that was answered with no.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn forget_question(&self, caller: &Caller, plan: &PlanHash) -> Result<(), AppError> {
        self.forget_conversation_state(caller, &state_id(plan)).await
    }

    /// A question that the client carries until it is answered: which plan was shown, to whom, and about what request.
    ///
    /// # Errors
    /// [`AppError::Internal`] when it cannot be sealed.
    pub fn sealed_question(&self, caller: &Caller, about: &str, plan: &PlanHash) -> Result<String, AppError> {
        let until = Timestamp::now() + ANSWERED_WITHIN;
        let text = SecretString::from(format!("{} {plan}", until.as_second()));
        Ok(self.0.sealer.seal(&carried(caller, about), &text)?)
    }

    /// The plan that a question has shown which comes back with its answer; nothing when it is none of ours, is about
    /// another request, was put to somebody else, or is too old.
    #[must_use]
    pub fn unsealed_question(&self, caller: &Caller, about: &str, sealed: &str) -> Option<PlanHash> {
        let text = self.0.sealer.unseal(&carried(caller, about), sealed).ok()?;
        let (until, plan) = text.expose_secret().split_once(' ')?;
        let is_open = until.parse::<i64>().is_ok_and(|it| it > Timestamp::now().as_second());
        PlanHash::parse(plan).ok().filter(|_| is_open)
    }

    /// The request without an agreement to a question that nobody has put.
    pub(super) async fn with_real_agreement(&self, caller: &Caller, request: Request) -> Result<Request, AppError> {
        let Confirmation::Agreed(plan) = &request.confirmation else { return Ok(request) };
        if !caller.asks || self.has_question(caller, plan).await? {
            return Ok(request);
        }
        Ok(Request { confirmation: Confirmation::Missing, ..request })
    }
}
