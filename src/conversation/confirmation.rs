//! The yes or no to a plan that was shown in the answer before.
//!
//! The answer names the plan by its hash, and the hash is made again before anything is done: what is confirmed is what
//! is done, also when something has changed in the meantime or another server answers. What the chat model proposed is
//! kept under that hash, and made again on a yes.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::outcome::{Outcome, execute, read};
use super::request::{ConversationRequest, Message};
use super::tool_round;
use crate::access::Caller;
use crate::app::{App, AppError};
use crate::id::PlanHash;
use crate::intent::question::Unclear;
use crate::intent::sentence::{self, Agreement, Reading, Role};
use crate::intent::{Confirmation, Request};
use crate::llm::ToolCall;
use crate::reply::report;

/// A change that the chat model proposed: its call of a tool.
#[derive(Debug, Serialize, Deserialize)]
struct KeptProposal {
    tool: String,
    arguments: Value,
}

/// What a yes to a question about fields is answered with, when the fields do not come with it.
const FIELDS_NEEDED: &str =
    "That question was about a request by fields: send the same fields again, and your yes with them.";

fn state_id(plan: &PlanHash) -> String {
    format!("proposal {plan}")
}

/// Keeps what the chat model proposed, for the yes of the same principal.
pub(super) async fn keep_proposal(
    app: &App,
    caller: &Caller,
    plan: &PlanHash,
    tool: &str,
    arguments: &Value,
) -> Result<(), AppError> {
    let proposal = KeptProposal { tool: tool.to_owned(), arguments: arguments.clone() };
    app.keep_conversation_state(caller, &state_id(plan), &proposal).await
}

/// The call with which the chat model proposed the plan that the person now agrees to. It is made again by itself: a
/// model that forgets it, or wants something else, must not come between the person's yes and what it was said to.
pub(super) async fn agreed_call(app: &App, conversation: &ConversationRequest) -> Result<Option<ToolCall>, AppError> {
    let Some(plan) = agreed_plan(&conversation.messages) else { return Ok(None) };
    let kept = app.conversation_state::<KeptProposal>(&conversation.caller, &state_id(&plan)).await?;
    Ok(kept.map(|it| ToolCall {
        id: tool_round::call_id(Uuid::new_v4(), 0),
        name: it.tool,
        arguments: it.arguments.to_string(),
        ..ToolCall::default()
    }))
}

/// Takes a message for the answer to a question of ours; `None` when it is not, or when the model has to say what was
/// meant.
pub(super) async fn confirm(app: &App, conversation: &ConversationRequest) -> Result<Option<Outcome>, AppError> {
    let Some((shown, before)) = proposed_plan(&conversation.messages) else { return Ok(None) };
    let said = conversation.messages.last().map_or("", Message::without_context);
    let agreement = sentence::agreement(said);
    let messages = match agreement {
        Agreement::Yes => before,
        Agreement::YesAnd => &conversation.messages[..],
        Agreement::No => {
            app.forget_question(&conversation.caller, &shown).await?;
            app.forget_conversation_state(&conversation.caller, &state_id(&shown)).await?;
            return Ok(Some(Outcome::Text(Unclear::Withdrawn.text())));
        }
        Agreement::Other => return Ok(None),
    };
    let request = match read(app, conversation, messages).await? {
        Reading::Request(request) => request,
        Reading::Choice { request, .. } => *request,
        Reading::Unclear(Unclear::LostSecret) => return Ok(Some(Outcome::Text(Unclear::LostSecret.text()))),
        Reading::Question(_) | Reading::Help | Reading::Unclear(_) => {
            let is_by_fields = agreement == Agreement::Yes && app.has_question(&conversation.caller, &shown).await?;
            return Ok(is_by_fields.then(|| Outcome::Text(FIELDS_NEEDED.to_owned())));
        }
    };
    // A plan that was only asked for in words is now meant; the field `dry_run` goes on to say what it says.
    let dry_run = conversation.fields.dry_run.unwrap_or(false);
    let request = Request { confirmation: Confirmation::Agreed(shown), dry_run, ..request };
    let outcome = execute(app, &conversation.caller, Some(conversation.key.clone()), request).await;
    match outcome {
        // "Yes, and scale it to 3" asks for another plan than the one that was shown; when that needs a confirmation
        // too, the message is read as a request of its own.
        Ok(Outcome::Confirmation(_)) if agreement == Agreement::YesAnd => Ok(None),
        Ok(Outcome::Confirmation(_)) | Err(_) if app.model().is_some() => Ok(None),
        outcome => outcome.map(Some),
    }
}

/// The plan that the person agrees to with their last words, if these say nothing else.
#[must_use]
pub fn agreed_plan(messages: &[Message]) -> Option<PlanHash> {
    let (shown, _) = proposed_plan(messages)?;
    let said = messages.last()?;
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
