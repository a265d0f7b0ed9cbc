//! What takes the last change back: a change by the inverse of what was done, or to cancel what is not done yet.

use super::{App, AppError};
use crate::access::Caller;
use crate::event::OperationState;
use crate::executor::inverse::inverse_of;
use crate::id::OperationId;
use crate::intent::selection::SelectionError;
use crate::intent::{Intent, Selector, Source};
use crate::store::record::{Deployment, Operation};

/// What takes a change back.
pub(super) enum Inverse {
    /// Another change.
    Change(Box<Intent>),
    /// To stop the operation, which has not ended.
    Cancel(OperationId),
}

impl App {
    /// What takes back the last change of the deployment that is meant; without one, the last change of who asks.
    ///
    /// # Errors
    /// [`AppError::Conflict`] when there is nothing to take back.
    pub(super) async fn inverse(
        &self,
        caller: &Caller,
        selector: &Selector,
        source: Source,
    ) -> Result<Inverse, AppError> {
        let (operation, deployment) = self.last_change(caller, selector, source).await?;
        let Operation { id, action, .. } = &operation;
        let name = &deployment.name;
        let nothing = |message: String| Err(AppError::Conflict { message, param: None });
        if deployment.operation != *id {
            return nothing(format!(
                "`{name}` was changed again after your {action}, by operation `{}`; `undo the last change of {name}` \
                 undoes that one",
                deployment.operation
            ));
        }
        match operation.state {
            // It may be that of another conversation: words alone do not say that it is meant.
            OperationState::Queued | OperationState::Running | OperationState::Waiting if source != Source::Fields => {
                nothing(format!(
                    "the last change, the {action} of `{name}`, is still at work; `cancel {name}` stops it"
                ))
            }
            OperationState::Queued | OperationState::Running | OperationState::Waiting => Ok(Inverse::Cancel(*id)),
            OperationState::Stuck => nothing(format!(
                "the last change of `{name}` (`{action}`) is stuck half way; `POST /v1/operations/{id}/resume` takes \
                 back the rest"
            )),
            OperationState::Undone | OperationState::Cancelled | OperationState::Failed => nothing(format!(
                "the last change of `{name}` (`{action}`) did not come about: there is nothing to undo"
            )),
            OperationState::Succeeded => Ok(Inverse::Change(Box::new(inverse_of(&operation, &deployment)?))),
        }
    }

    async fn last_change(
        &self,
        caller: &Caller,
        selector: &Selector,
        source: Source,
    ) -> Result<(Operation, Deployment), AppError> {
        let store = &self.0.store;
        let nothing = |message: &str| AppError::Conflict { message: message.to_owned(), param: None };
        let is_any = Selector { key_pair: None, ..selector.clone() } == Selector::default();
        if is_any {
            let operation = store.last_operation_of(&caller.principal).await?;
            let operation =
                operation.ok_or_else(|| nothing("you have changed nothing yet, so there is nothing to undo"))?;
            let deployment = self.deployment(caller, operation.deployment).await?;
            let deployment = deployment.ok_or_else(|| nothing("what it was about is gone"))?;
            return Ok((operation, deployment));
        }
        match self.selected(caller, selector, source).await {
            Ok(deployment) => {
                let operation = store.operation(deployment.operation).await?;
                let operation = operation.ok_or_else(|| nothing("it is not on record how it was before"))?;
                Ok((operation, deployment))
            }
            // One that was removed is not selected any more, but its removal is its last change.
            Err(error @ AppError::Selection(SelectionError::NotFound { .. })) => {
                self.past_operation(caller, selector, source).await?.ok_or(error)
            }
            Err(error) => Err(error),
        }
    }
}
