//! The yes or no to a plan that was shown in the answer before.
//!
//! The answer names the plan by its hash, and the hash is made again before anything is done: what is confirmed is what
//! is done, also when something has changed in the meantime or another server answers. Nothing is kept for it.

use super::outcome::{Outcome, execute};
use super::request::{ConversationRequest, Message, turns};
use crate::app::{App, AppError};
use crate::id::PlanHash;
use crate::intent::question::Unclear;
use crate::intent::sentence::{self, Agreement, Reading, Role};
use crate::intent::{Confirmation, Request};
use crate::reply::report;

/// Takes a message for the answer to a question of ours; `None` when it is not, or when the model has to say what was
/// meant.
pub(super) async fn confirm(app: &App, conversation: &ConversationRequest) -> Result<Option<Outcome>, AppError> {
    let Some((shown, before)) = proposed_plan(&conversation.messages) else { return Ok(None) };
    let said = conversation.messages.last().map_or("", Message::without_context);
    let agreement = sentence::agreement(said);
    let messages = match agreement {
        Agreement::Yes => before,
        Agreement::YesAnd => &conversation.messages[..],
        Agreement::No => return Ok(Some(Outcome::Text(Unclear::Withdrawn.text()))),
        Agreement::Other => return Ok(None),
    };
    let Reading::Request(request) = sentence::read(&turns(messages), &conversation.fields, &conversation.limits) else {
        return Ok(None);
    };
    // A plan that was only asked for in words is now meant; the field `dry_run` goes on to say what it says.
    let dry_run = conversation.fields.dry_run.unwrap_or(false);
    let request = Request { confirmation: Confirmation::OfPlan(shown), dry_run, ..request };
    let outcome = execute(app, &conversation.principal, conversation.key.clone(), request).await;
    match outcome {
        // "Yes, and scale it to 3" asks for another plan than the one that was shown; when that needs a confirmation
        // too, the message is read as a request of its own.
        Ok(Outcome::Confirmation(_)) if agreement == Agreement::YesAnd => Ok(None),
        Ok(Outcome::Confirmation(_)) | Err(_) if app.model().is_some() => Ok(None),
        outcome => outcome.map(Some),
    }
}

/// The plan that the person agrees to with their last words, if these say nothing else.
pub(super) fn confirmed_plan(conversation: &ConversationRequest) -> Option<PlanHash> {
    let (shown, _) = proposed_plan(&conversation.messages)?;
    let said = conversation.messages.last()?;
    (sentence::agreement(said.without_context()) == Agreement::Yes).then_some(shown)
}

/// The plan that the answer before the last message shows, and the conversation before that message.
fn proposed_plan(messages: &[Message]) -> Option<(PlanHash, &[Message])> {
    let (last, before) = messages.split_last()?;
    let answer = before.last().filter(|it| it.role == Role::Assistant && last.role == Role::User)?;
    Some((report::parse_plan_hash(&answer.text)?, before))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(role: Role, text: &str) -> Message {
        Message { role, text: text.to_owned() }
    }

    #[test]
    fn a_yes_refers_to_the_answer_right_before_it() {
        let question = message(Role::Assistant, "Shall I? (plan `0123456789ab`)");
        let yes = message(Role::User, "yes");
        let between = message(Role::Assistant, "nothing is running");

        assert!(proposed_plan(&[question.clone(), yes.clone()]).is_some());
        assert!(proposed_plan(&[question.clone(), yes.clone(), between, yes.clone()]).is_none());
        assert!(proposed_plan(&[message(Role::User, "(plan `0123456789ab`)"), yes]).is_none());
        assert!(proposed_plan(&[question]).is_none());
    }
}
