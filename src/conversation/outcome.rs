//! What comes of a request: an operation, a plan, a report, or words.

use super::request::{ConversationRequest, turns};
use crate::app::{Accepted, App, AppError};
use crate::id::OperationId;
use crate::intent::sentence::{self, Reading};
use crate::intent::{Request, question};
use crate::reply::view::{PlanView, Report};
use crate::store::operations::RequestKey;

/// What came of a request.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one per request, and it is taken apart at once")]
pub enum Outcome {
    /// There is something to say, and no more.
    Text(String),
    /// An operation was begun, or the same request was sent before.
    Operation(OperationId),
    /// A plan was asked for.
    Plan(PlanView),
    /// A plan has to be confirmed before it is carried out.
    Confirmation(PlanView),
    /// Something was looked up.
    Report(Report),
}

/// Carries out a request, or says what stands before it.
///
/// # Errors
/// [`AppError`] says why it cannot be carried out.
pub async fn execute(app: &App, principal: &str, key: RequestKey, request: Request) -> Result<Outcome, AppError> {
    // Boxed: the future of `App::accept` holds the state of all that it awaits, and every caller that awaits it by
    // value would hold that state in its own future.
    Ok(match Box::pin(app.accept(principal, Some(key), request)).await? {
        Accepted::Operation { id, attached: _ } => Outcome::Operation(id),
        Accepted::Plan(plan) => Outcome::Plan(plan),
        Accepted::Unconfirmed(plan) => Outcome::Confirmation(plan),
        Accepted::Report(report) => Outcome::Report(report),
    })
}

/// Reads what is said without a model, and carries it out.
pub(super) async fn answer_without_model(app: &App, conversation: &ConversationRequest) -> Result<Outcome, AppError> {
    match sentence::read(&turns(&conversation.messages), &conversation.fields, &conversation.limits) {
        Reading::Request(request) => execute(app, &conversation.principal, conversation.key.clone(), request).await,
        Reading::Question(question) => Ok(Outcome::Text(question.text())),
        Reading::Help => Ok(Outcome::Text(question::help())),
        Reading::Unclear(unclear) => Ok(Outcome::Text(unclear.text())),
    }
}
