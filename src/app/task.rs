//! Work that does not end with the request that asked for it.

use tracing::Instrument;

use super::error::AppError;

/// Spawns the future as a task: hyper drops the future of a handler when its client disconnects, and an operation that
/// is stored must be started, too.
pub(super) async fn run_to_completion<T: Send + 'static>(
    work: impl Future<Output = Result<T, AppError>> + Send + 'static,
) -> Result<T, AppError> {
    tokio::spawn(work.in_current_span()).await.unwrap_or_else(|error| Err(AppError::Internal(error.into())))
}
