//! A chat as it is kept: sealed, for whoever began it, for an hour after its last message.
//!
//! What a person has said is kept as it was: a yes is said to a request that may have secrets in it, and these are read
//! from there. So it is kept no longer than the plan of a form is.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::access::Caller;
use crate::app::{App, AppError};
use crate::http::console::plan_card::PlanCard;
use crate::id::{DeploymentId, OperationId};

/// How much longer than an answer may take somebody waits for one, before nobody can be at it any more.
const MARGIN: Duration = Duration::from_secs(15);

/// A chat.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Chat {
    /// What was said, and what was answered.
    pub turns: Vec<Turn>,
}

/// A message with its answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Turn {
    /// The words of the person.
    pub said: String,
    /// When it was said.
    pub at: Timestamp,
    /// What came of it; nothing while it is made.
    pub answer: Option<Answer>,
}

/// What came of a message.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Answer {
    /// Words, as Markdown; where an operation tells of itself, those before it.
    pub text: String,
    /// Those of them that stand before the plan.
    #[serde(default)]
    pub before_plan: String,
    /// The plan of one change that the words show.
    pub plan: Option<PlanCard>,
    /// It waits for a yes.
    pub asks: bool,
    /// What was begun, or is told of.
    pub operations: Vec<OperationId>,
    /// What it is about.
    pub deployment: Option<DeploymentLink>,
    /// Why there is no answer.
    pub fault: Option<Fault>,
}

/// A deployment by its name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct DeploymentLink {
    /// Which.
    pub id: DeploymentId,
    /// Its name.
    pub name: String,
}

/// Why there is no answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Fault {
    /// For a person.
    pub message: String,
    /// The stable name.
    pub code: String,
}

impl Chat {
    /// What is kept of a chat for this principal.
    pub(super) async fn load(app: &App, caller: &Caller, id: Uuid) -> Result<Option<Self>, AppError> {
        app.conversation_state(caller, &state_id(id)).await
    }

    /// Keeps it for another hour.
    pub(super) async fn keep(&self, app: &App, caller: &Caller, id: Uuid) -> Result<(), AppError> {
        app.keep_conversation_state(caller, &state_id(id), self).await
    }
}

impl Turn {
    /// Something that is said now.
    pub(super) fn new(said: &str) -> Self {
        Self { said: said.to_owned(), at: Timestamp::now(), answer: None }
    }

    /// Whether its answer is being made, as far as one can tell: the server that was at it may have been killed.
    pub(super) fn is_open(&self, within: Duration) -> bool {
        let passed = Timestamp::now().duration_since(self.at);
        let longest = (within + MARGIN).as_secs();
        // Clocks of servers differ: what is said in a moment was said now.
        self.answer.is_none() && u64::try_from(passed.as_secs()).unwrap_or_default() < longest
    }
}

fn state_id(chat: Uuid) -> String {
    format!("console chat {chat}")
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_message_without_an_answer_is_given_up_at_some_time() {
        let within = Duration::from_mins(4);
        let said = |ago: i64| Turn { at: Timestamp::now() - SignedDuration::from_secs(ago), ..Turn::new("hello") };

        assert_eq!([0, 239, 300].map(|ago| said(ago).is_open(within)), [true, true, false]);
        assert!(!Turn { answer: Some(Answer::default()), ..said(0) }.is_open(within));
    }
}
