//! Forgets what operations left behind that nobody needs any more, and secrets that were kept for long enough.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::error::BoxError;
use crate::config::{self, Settings};
use crate::engine::finished::{erased_secrets, expiring_secrets};
use crate::event::minute;
use crate::id::OperationId;
use crate::store::secrets::StuckOperation;
use crate::store::{Store, StoreError};

/// How often secrets of stuck operations are looked at.
const HOUR: Duration = Duration::from_hours(1);
/// After how many of those everything else is.
const HOURS_PER_DAY: u32 = 24;
/// How long before they are erased secrets are warned of.
const NOTICE: Duration = Duration::from_hours(24);

/// Looks at once and then every hour or day, until `stop` or the loss of the store.
pub(super) async fn run(store: Store, settings: Arc<Settings>, stop: CancellationToken) {
    let lost = store.lost().clone();
    let work = async {
        let mut hours = tokio::time::interval(HOUR);
        for hour in (0..HOURS_PER_DAY).cycle() {
            hours.tick().await;
            if let Err(error) = erase_secrets(&store, settings.secret.stuck_retention, Timestamp::now()).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "secrets of stuck operations stay another hour"
                );
            }
            if hour == 0
                && let Err(error) = purge(&store, &settings.store).await
            {
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

/// Erases the secrets of operations that are stuck for too long, and warns of it a day before.
async fn erase_secrets(store: &Store, retention: Duration, now: Timestamp) -> Result<(), StoreError> {
    for StuckOperation { id, ended_at } in store.stuck_with_secrets().await? {
        let until = ended_at.saturating_add(retention).unwrap_or(Timestamp::MAX);
        let looked_at = if until <= now {
            let erased = store.erase_secrets(id, &erased_secrets(&format!("at {}", minute(now)), &[]), None).await;
            erased.map(|is_so| is_so.then_some("the secrets of a stuck operation are erased: their time is over"))
        } else if until.duration_since(now).unsigned_abs() <= NOTICE {
            let warned = store.warn_of_stuck(id, &expiring_secrets(&minute(until))).await;
            warned.map(|is_new| is_new.then_some("the secrets of a stuck operation are erased within a day"))
        } else {
            continue;
        };
        match looked_at {
            Ok(Some(what)) => tracing::warn!(op.id = %id, until = %minute(until), "{what}; resume or cancel it"),
            Ok(None) => (),
            // One that cannot be read keeps nobody from the others.
            Err(error) if error.is_unreadable() => {
                tracing::warn!(op.id = %id, error = &error as &dyn std::error::Error, "a stuck operation cannot be warned");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn purge(store: &Store, settings: &config::section::Store) -> Result<(), BoxError> {
    let now = Timestamp::now();
    let entries = store.prune_audit(now.saturating_sub(settings.audit_retention).unwrap_or(Timestamp::MIN)).await?;
    if entries > 0 {
        tracing::info!(entries, "old entries of the audit are removed");
    }
    let answers =
        store.prune_answers(now.saturating_sub(settings.responses_retention).unwrap_or(Timestamp::MIN)).await?;
    store.delete_sessions(now).await?;
    let rows = store.delete_expired(now).await? + answers;
    let folders = remove_folders(store, &settings.workspace.join("operations")).await?;
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
