//! A copy of the store while a server works on it.

use std::fs::File;
use std::path::Path;

use sqlx::{AnyConnection, Connection};

use super::{BUSY_TIMEOUT, Store, StoreError, sqlite_options};

impl Store {
    /// Copies a SQLite store, as it is at one moment, to a file that is not there yet. It takes no lock: a server may work
    /// on the store meanwhile, and is not held up.
    ///
    /// # Errors
    /// [`StoreError::File`] when the copy cannot be kept; else what the database says.
    pub async fn copy_to(database: &Path, copy: &Path) -> Result<(), StoreError> {
        sqlx::any::install_default_drivers();
        let mut connection = AnyConnection::connect_with(&sqlite_options(database, "ro")?).await?;
        sqlx::query(BUSY_TIMEOUT).execute(&mut connection).await?;
        let to = copy.to_string_lossy().into_owned();
        let copied = sqlx::query("VACUUM INTO $1").bind(to).execute(&mut connection).await;
        connection.close().await?;
        copied?;
        // SQLite does not wait for the disk here.
        let synced = File::open(copy).and_then(|file| file.sync_all());
        synced.map_err(|source| StoreError::File { path: copy.to_owned(), source })
    }
}
