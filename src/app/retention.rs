//! Forgets, once a day, what operations left behind that nobody needs any more.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::error::BoxError;
use crate::id::OperationId;
use crate::store::Store;

/// How often.
const PURGE_INTERVAL: Duration = Duration::from_hours(24);

/// Looks at once and then every day, until `stop` or the loss of the store.
pub(super) async fn run_daily(store: Store, workspace: PathBuf, stop: CancellationToken) {
    let lost = store.lost().clone();
    let work = async {
        let mut days = tokio::time::interval(PURGE_INTERVAL);
        loop {
            days.tick().await;
            if let Err(error) = purge(&store, &workspace).await {
                tracing::warn!(error = &*error as &dyn std::error::Error, "old rows and folders stay another day");
            }
        }
    };
    tokio::select! {
        () = work => (),
        () = stop.cancelled() => (),
        () = lost.cancelled() => (),
    }
}

async fn purge(store: &Store, workspace: &Path) -> Result<(), BoxError> {
    let rows = store.delete_expired(Timestamp::now()).await?;
    let folders = remove_folders(store, &workspace.join("operations")).await?;
    if rows > 0 || folders > 0 {
        tracing::info!(rows, folders, "what nobody needs any more is forgotten");
    }
    Ok(())
}

/// Removes the folders of operations that have ended. They go after the end of their operation is stored; a server that
/// is killed between the two leaves the folder behind.
async fn remove_folders(store: &Store, operations: &Path) -> Result<u64, BoxError> {
    let mut entries = match tokio::fs::read_dir(operations).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    let mut count = 0;
    while let Some(entry) = entries.next_entry().await? {
        let Ok(id) = OperationId::parse(&entry.file_name().to_string_lossy()) else { continue };
        if store.is_expired(id).await? {
            tokio::fs::remove_dir_all(entry.path()).await?;
            count += 1;
        }
    }
    Ok(count)
}
