//! `backup`: the SQLite store and Terraform's states, copied into a directory that can be a workspace.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::de::IgnoredAny;

use crate::config::Settings;
use crate::config::value::Database;
use crate::secret::key_file::ENCRYPTION_KEY_FILE;
use crate::store::Store;
use crate::tool::folder::make_private;

/// The folder of the workspace that holds Terraform's states.
const TARGETS: &str = "targets";
/// How often a state is read that Terraform is just writing, and the pause between.
const READS: usize = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// Copies what cannot be made again into a directory that is not there yet, and that gets its name when it is whole.
pub(super) async fn run(directory: &Path, settings: &Settings) -> anyhow::Result<()> {
    let Database::Sqlite(database) = &settings.store.database else {
        bail!("the store is in PostgreSQL, with Terraform's states: back it up with `pg_dump`");
    };
    if !database.exists() {
        bail!(
            "there is no store at `{}`: run this where the server runs, or name its workspace with \
             `PERSISTENT_WORKSPACE_BASE_DIR`",
            database.display()
        );
    }
    if directory.exists() {
        bail!("`{}` is there already; name a directory that is not", directory.display());
    }
    // Without a slash at the end.
    let directory: &Path = &directory.components().collect::<PathBuf>();
    let mut half = directory.as_os_str().to_owned();
    half.push(".partial");
    let half = PathBuf::from(half);
    unless_gone(fs::remove_dir_all(&half)).map_err(cannot_write(&half))?;
    make_private(&half).map_err(cannot_write(&half))?;
    Store::copy_to(database, &half.join("store.sqlite")).await?;
    // After the store: what Terraform has made since is in its state, where the step finds it that the store shows as
    // unfinished.
    copy_files(&settings.store.workspace.join(TARGETS), &half.join(TARGETS)).await?;
    fs::rename(&half, directory).map_err(cannot_write(directory))?;
    let mut out = io::stdout().lock();
    writeln!(out, "the store and Terraform's states are in {}", directory.display())?;
    let key = settings.store.workspace.join(ENCRYPTION_KEY_FILE);
    if key.exists() {
        writeln!(out, "the key that unseals its secrets is not: keep a copy of {} elsewhere", key.display())?;
    }
    Ok(())
}

/// Copies all files below a folder but those that Terraform fetches again. One that goes meanwhile is not needed.
async fn copy_files(from: &Path, to: &Path) -> anyhow::Result<()> {
    let mut folders = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = folders.pop() {
        let Some(entries) = unless_gone(fs::read_dir(&from)).with_context(|| cannot_read(&from))? else { continue };
        make_private(&to).map_err(cannot_write(&to))?;
        for entry in entries {
            let entry = entry.with_context(|| cannot_read(&from))?;
            let (path, copy) = (entry.path(), to.join(entry.file_name()));
            let Some(kind) = unless_gone(entry.file_type()).with_context(|| cannot_read(&path))? else { continue };
            if kind.is_dir() && entry.file_name() != ".terraform" {
                folders.push((path, copy));
            } else if kind.is_file() {
                copy_file(&path, &copy).await?;
            }
        }
    }
    Ok(())
}

async fn copy_file(from: &Path, to: &Path) -> anyhow::Result<()> {
    let is_state = from.extension().is_some_and(|it| it == "tfstate");
    for _ in 0..READS {
        let Some(content) = unless_gone(fs::read(from)).with_context(|| cannot_read(from))? else { return Ok(()) };
        // Terraform empties its state before it writes it.
        let is_whole = serde_json::from_slice::<IgnoredAny>(&content).is_ok();
        if is_state && !is_whole {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        fs::write(to, content).map_err(cannot_write(to))?;
        let permissions = fs::metadata(from).map(|it| it.permissions());
        if let Some(permissions) = unless_gone(permissions).with_context(|| cannot_read(from))? {
            fs::set_permissions(to, permissions).map_err(cannot_write(to))?;
        }
        return fs::File::open(to).and_then(|it| it.sync_all()).map_err(cannot_write(to));
    }
    // Before the first resource is made it stays empty; anything else is damaged.
    if fs::metadata(from).is_ok_and(|it| it.len() == 0) {
        return Ok(());
    }
    bail!("Terraform's state `{}` cannot be read as one", from.display());
}

/// What is there; `None` when it is gone.
fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(it) => Ok(Some(it)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn cannot_read(path: &Path) -> String {
    format!("cannot read `{}`", path.display())
}

fn cannot_write(path: &Path) -> impl FnOnce(io::Error) -> anyhow::Error {
    let message = format!("cannot write `{}`", path.display());
    move |error| anyhow::Error::new(error).context(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn states_are_copied_whole_and_what_is_fetched_again_is_not() {
        let root = tempfile::tempdir().unwrap();
        let (from, to) = (root.path().join("from"), root.path().join("to"));
        fs::create_dir_all(from.join("one/terraform/.terraform/providers")).unwrap();
        fs::write(from.join("one/terraform/terraform.tfstate"), "{}").unwrap();
        fs::write(from.join("one/terraform/.terraform/providers/aws"), "large").unwrap();
        fs::write(from.join("one/empty.tfstate"), "").unwrap();

        copy_files(&from, &to).await.unwrap();

        assert_eq!(fs::read(to.join("one/terraform/terraform.tfstate")).unwrap(), b"{}");
        assert!(!to.join("one/terraform/.terraform").exists() && !to.join("one/empty.tfstate").exists());
    }

    #[tokio::test]
    async fn a_state_that_is_cut_off_is_no_backup() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("from")).unwrap();
        fs::write(root.path().join("from/terraform.tfstate"), "{\"version\": ").unwrap();

        let copied = copy_files(&root.path().join("from"), &root.path().join("to")).await;

        assert!(copied.is_err_and(|it| it.to_string().contains("cannot be read as one")));
    }
}
