//! What comes of a request: an operation, a plan, a report, or words.

use super::request::{ConversationRequest, Message, turns};
use crate::access::Caller;
use crate::app::{Accepted, App, AppError};
use crate::id::OperationId;
use crate::intent::question::{self, Unclear};
use crate::intent::sentence::{self, Reading, Role};
use crate::intent::{Confirmation, Request};
use crate::reply::view::{Proposal, Report};
use crate::secret::redactor::has_mark;
use crate::store::operations::RequestKey;

/// What came of a request.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one per request, and it is taken apart at once")]
pub enum Outcome {
    /// There is something to say, and no more.
    Text(String),
    /// An operation was begun, or the same request was sent before.
    Operation(OperationId),
    /// The same for several deployments, with an operation for each.
    Operations(Vec<OperationId>),
    /// A plan was asked for.
    Plan(Proposal),
    /// A plan has to be confirmed before it is carried out.
    Confirmation(Proposal),
    /// Something was looked up.
    Report(Report),
}

impl Outcome {
    /// What the operations of one request have come to.
    pub(super) fn from_operations(ids: Vec<OperationId>) -> Self {
        match ids.as_slice() {
            [only] => Self::Operation(*only),
            _ => Self::Operations(ids),
        }
    }
}

/// Carries out a request, or says what stands before it.
///
/// # Errors
/// [`AppError`] says why it cannot be carried out.
pub async fn execute(
    app: &App,
    caller: &Caller,
    key: Option<RequestKey>,
    request: Request,
) -> Result<Outcome, AppError> {
    // Boxed: the future of `App::accept` holds the state of all that it awaits, and every caller that awaits it by
    // value would hold that state in its own future.
    Ok(match Box::pin(app.accept(caller, key, request)).await? {
        Accepted::Operations(ids) => Outcome::from_operations(ids),
        Accepted::Plan(plan) => Outcome::Plan(plan),
        Accepted::Unconfirmed(plan) => Outcome::Confirmation(plan),
        Accepted::Report(report) => Outcome::Report(report),
    })
}

/// Reads what is said without a model, and carries it out.
pub(super) async fn answer_without_model(app: &App, conversation: &ConversationRequest) -> Result<Outcome, AppError> {
    let request = match read(app, conversation, &conversation.messages).await? {
        Reading::Request(request) => request,
        Reading::Choice { request, before, otherwise } => {
            if app.names_one(&conversation.caller, &before).await? {
                return match otherwise {
                    Some(request) => carry_out(app, conversation, *request).await,
                    None => Ok(Outcome::Text(Unclear::NotUnderstood.text())),
                };
            }
            *request
        }
        Reading::Question(question) => return Ok(Outcome::Text(question.text())),
        Reading::Help => return Ok(Outcome::Text(question::help())),
        Reading::Unclear(unclear) => return Ok(Outcome::Text(unclear.text())),
    };
    carry_out(app, conversation, request).await
}

async fn carry_out(app: &App, conversation: &ConversationRequest, request: Request) -> Result<Outcome, AppError> {
    let caller = &conversation.caller;
    if conversation.reads_tool_results() {
        return execute(app, caller, None, Request { confirmation: Confirmation::Required, ..request }).await;
    }
    execute(app, caller, Some(conversation.key.clone()), request).await
}

/// Reads messages of a conversation as sentences, in which the names of what is deployed are known.
pub(super) async fn read(
    app: &App,
    conversation: &ConversationRequest,
    messages: &[Message],
) -> Result<Reading, AppError> {
    let names = app.deployment_names(&conversation.caller).await?;
    let read = |messages| sentence::read(&turns(messages), &conversation.fields, &conversation.limits, &names);
    let reading = read(messages);
    if let Reading::Request(request) = &reading
        && request.intent.action().changes()
        && let Some(last) = messages.iter().rposition(|it| it.role == Role::User)
    {
        let said = |it: &Message| it.role == Role::User && has_mark(it.without_context());
        let rests_on_it = || match read(&messages[last..]) {
            Reading::Request(alone) => alone.intent != request.intent,
            Reading::Choice { .. } | Reading::Question(_) | Reading::Help | Reading::Unclear(_) => true,
        };
        if said(&messages[last]) || (messages[..last].iter().any(said) && rests_on_it()) {
            return Ok(Reading::Unclear(Unclear::LostSecret));
        }
    }
    Ok(reading)
}
