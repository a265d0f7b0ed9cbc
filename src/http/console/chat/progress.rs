//! An operation that a chat tells of, as it stands.

use crate::access::Caller;
use crate::app::{App, AppError};
use crate::id::OperationId;
use crate::reply::operation;
use crate::reply::view::StepView;
use crate::store::record::{Deployment, Operation};

/// An operation with what there is to say about it.
#[derive(Debug)]
pub(super) struct Progress {
    /// The operation.
    pub operation: Operation,
    /// What it changes.
    pub deployment: Option<Deployment>,
    steps: Vec<StepView>,
}

impl Progress {
    /// How it stands; nothing when it is out of sight, or cannot be read by this version.
    pub(super) async fn load(app: &App, caller: &Caller, id: OperationId) -> Result<Option<Self>, AppError> {
        let Some(operation) = readable(app.operation(caller, id).await)? else { return Ok(None) };
        let deployment = readable(app.deployment(caller, operation.deployment).await)?;
        let steps = if operation.state.is_ended() { Vec::new() } else { readable(app.steps(&operation).await)? };
        Ok(Some(Self { operation, deployment, steps }))
    }

    /// The words of a chat page for it, which say how to follow it by the API.
    pub(super) fn told(&self) -> String {
        operation::render(&self.operation, self.deployment.as_ref(), &self.steps)
    }

    /// The words for a page that follows it by itself.
    pub(super) fn shown(&self) -> String {
        if self.operation.state.is_ended() {
            return self.told();
        }
        operation::progress(&self.operation, self.deployment.as_ref(), &self.steps)
    }
}

fn readable<T: Default>(result: Result<T, AppError>) -> Result<T, AppError> {
    match result {
        Err(AppError::Unreadable { .. }) => Ok(T::default()),
        result => result,
    }
}
