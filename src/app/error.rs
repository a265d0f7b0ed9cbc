//! Why the server cannot start, and why a request is not carried out.

use std::path::PathBuf;

use crate::cloud::docker::DockerError;
use crate::engine::finished::EngineError;
use crate::executor::input::PlanError;
use crate::host::ClusterError;
use crate::id::OperationId;
use crate::intent::selection::SelectionError;
use crate::secret::SecretError;
use crate::store::StoreError;

/// Any error, for the log.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Says why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A folder of the workspace cannot be made, or not be closed to others.
    #[error("cannot use the folder `{folder}`; it must belong to the user that the server runs as")]
    Workspace {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The key for secrets cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The address of Docker cannot be used.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// Unfinished operations cannot be carried on.
    #[error("cannot carry on with unfinished operations")]
    Engine(#[from] EngineError),
}

/// Says why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Another operation is running on the deployment.
    #[error("`{deployment}` is busy with operation `{operation}`; wait until it has ended, or cancel it")]
    Busy {
        /// Name of the deployment.
        deployment: String,
        /// The operation that is running.
        operation: OperationId,
    },
    /// No single deployment is meant.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// What was asked for is not there.
    #[error("{message}")]
    NotFound {
        /// What, and what there is.
        message: String,
    },
    /// There is no such operation.
    #[error("there is no operation `{0}`")]
    OperationNotFound(OperationId),
    /// Several deployments fit.
    #[error("{message}")]
    Ambiguous {
        /// Which ones.
        message: String,
        /// The field that would tell.
        param: &'static str,
    },
    /// It contradicts what exists.
    #[error("{message}")]
    Conflict {
        /// What contradicts what.
        message: String,
        /// The field to change.
        param: Option<&'static str>,
    },
    /// The caller may not do it.
    #[error("{message}")]
    Forbidden {
        /// What, and which right is missing.
        message: String,
    },
    /// There is no such key.
    #[error("there is no key `{0}`, neither by id nor by name")]
    KeyNotFound(String),
    /// A value is wrong.
    #[error("{message}")]
    Invalid {
        /// What would be right.
        message: String,
        /// The field.
        param: &'static str,
    },
    /// The same key came with another request.
    #[error("this idempotency key was used for another request; use a new one")]
    KeyReused,
    /// What it is about cannot be read by this version of the program.
    #[error("{message}")]
    Unreadable {
        /// What cannot be read, and who can.
        message: String,
    },
    /// The server is about to stop.
    #[error("the server is shutting down; send the request again in a moment")]
    ShuttingDown,
    /// A fault of ours.
    #[error("something went wrong inside the server")]
    Internal(#[source] BoxError),
}

impl From<StoreError> for AppError {
    fn from(error: StoreError) -> Self {
        if error.is_unreadable() {
            return Self::Unreadable { message: error.to_string() };
        }
        Self::Internal(error.into())
    }
}

impl From<EngineError> for AppError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Store(error) => error.into(),
            error @ EngineError::Unreadable { .. } => Self::Unreadable { message: error.to_string() },
        }
    }
}

impl From<SecretError> for AppError {
    fn from(error: SecretError) -> Self {
        Self::Internal(error.into())
    }
}

impl From<ClusterError> for AppError {
    fn from(error: ClusterError) -> Self {
        Self::Conflict { message: error.to_string(), param: None }
    }
}

impl From<PlanError> for AppError {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::NotPossible { message, param } => Self::Conflict { message, param },
        }
    }
}
