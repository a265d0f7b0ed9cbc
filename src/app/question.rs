//! Questions to a person: for a key that asks, a yes counts only to a question that was really put.
//!
//! An answer with the hash of a plan can be made up by whoever sends the conversation. So for a key that asks the question
//! itself is on record, for an hour, until it is answered.

use super::{App, AppError};
use crate::access::Caller;
use crate::id::PlanHash;
use crate::intent::{Confirmation, Request};

fn state_id(plan: &PlanHash) -> String {
    format!("question {plan}")
}

impl App {
    /// Keeps that a question was put to whoever speaks through this key.
    pub(super) async fn keep_question(&self, caller: &Caller, plan: &PlanHash) -> Result<(), AppError> {
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

    /// The request without an agreement to a question that nobody has put.
    pub(super) async fn with_real_agreement(&self, caller: &Caller, request: Request) -> Result<Request, AppError> {
        let Confirmation::Agreed(plan) = &request.confirmation else { return Ok(request) };
        if !caller.asks || self.has_question(caller, plan).await? {
            return Ok(request);
        }
        Ok(Request { confirmation: Confirmation::Missing, ..request })
    }
}
