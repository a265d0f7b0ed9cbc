//! What stands in the way of what was said, in words: in a conversation it is an answer, or a question back.
//!
//! A request by explicit fields gets the same as an error of HTTP, which a program can tell apart; a chat page shows an
//! error in place of an answer. What has nothing to do with what was said (a key that was used before, a fault of ours)
//! stays an error.

use crate::app::AppError;
use crate::intent::question;
use crate::reply::to_sentence;

/// The words for it.
///
/// # Errors
/// The error itself, when it is not about what was said.
pub(super) fn in_words(error: AppError) -> Result<String, AppError> {
    match error {
        AppError::Selection(error) => Ok(question::which(&error)),
        AppError::Busy { deployment, operation } => Ok(format!(
            "`{deployment}` is busy: operation `{operation}` is at work on it. Ask `status of {deployment}` how far it \
             is, say `cancel that` to stop it, or ask again when it has ended."
        )),
        AppError::NotFound { message }
        | AppError::Ambiguous { message, param: _ }
        | AppError::Conflict { message, param: _ }
        | AppError::Invalid { message, param: _ }
        | AppError::Forbidden { message }
        | AppError::Unreadable { message } => Ok(to_sentence(&message)),
        error @ AppError::OperationNotFound(_) => Ok(to_sentence(&error.to_string())),
        error @ (AppError::KeyReused | AppError::KeyNotFound(_) | AppError::ShuttingDown | AppError::Internal(_)) => {
            Err(error)
        }
    }
}
