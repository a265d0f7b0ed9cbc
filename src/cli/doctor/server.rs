//! What the server itself needs: the workspace, the store, the key and its address.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::finding::{Area, Check, Verdict};
use crate::app::oidc;
use crate::config::Settings;
use crate::config::section::Oidc;
use crate::config::source::DOTENV_FILE;
use crate::config::value::Database;
use crate::secret::key_file::{API_KEY_FILE, ENCRYPTION_KEY_FILE, exposed_mode};
use crate::store::{Store, StoreError};
use crate::tool::missing_requirements;

/// Below this an image and a cluster hardly fit.
const LITTLE_SPACE_BYTES: u64 = 5 << 30;

pub(super) fn checks<'a>(settings: &'a Settings, directory: &'a Path) -> Vec<Check<'a>> {
    let workspace = settings.store.workspace.as_path();
    let mut checks: Vec<Check<'a>> = vec![
        (Area::Common, "shell", Box::pin(shell())),
        (Area::Common, "workspace", Box::pin(async move { workspace_writable(workspace) })),
        (Area::Common, "disk space", Box::pin(async move { disk_space(workspace) })),
        (Area::Common, "store", Box::pin(store(&settings.store.database))),
        (Area::Common, "encryption key", Box::pin(async move { encryption_key(settings) })),
        (Area::Common, "address", Box::pin(address(settings))),
        (Area::Common, "API keys", Box::pin(async move { api_keys(settings) })),
        (Area::Common, ".env", Box::pin(async move { dotenv(directory) })),
    ];
    if let Some(oidc) = &settings.oidc {
        checks.push((Area::Common, "issuer of tokens", Box::pin(issuer(oidc))));
    }
    checks
}

async fn issuer(settings: &Oidc) -> Verdict {
    match oidc::count_keys(settings).await {
        Ok(keys) => Verdict::ok(format!("`{}` tells {keys} keys", settings.issuer)),
        Err(error) => {
            Verdict::fail(error.to_string(), "check `OIDC_ISSUER` and the way there; tokens are 503 until it answers")
        }
    }
}

async fn shell() -> Verdict {
    match missing_requirements().await {
        None => Verdict::ok("has setsid, flock and GNU coreutils"),
        Some(missing) => Verdict::fail(
            format!("without what supervises programs: {missing} fails"),
            "install the packages `util-linux`, `coreutils` (GNU) and `grep`",
        ),
    }
}

fn workspace_writable(workspace: &Path) -> Verdict {
    let shown = format!("`{}`", workspace.display());
    let existing = nearest_existing(workspace);
    if let Err(error) = tempfile::tempfile_in(&existing) {
        let advice = "make it writable for this user, or set `PERSISTENT_WORKSPACE_BASE_DIR`";
        return Verdict::fail(format!("{shown} cannot be written to ({error})"), advice);
    }
    match fs::metadata(workspace) {
        Ok(metadata) if metadata.mode() & 0o007 != 0 => {
            Verdict::warn(format!("{shown} can be read by everyone"), "run `chmod o-rwx` on it")
        }
        Ok(_) => Verdict::ok(format!("{shown} can be written to")),
        Err(_) => Verdict::ok(format!("{shown} is made at the first start")),
    }
}

fn disk_space(workspace: &Path) -> Verdict {
    match rustix::fs::statvfs(nearest_existing(workspace)) {
        Ok(it) => {
            let free = it.f_bavail.saturating_mul(it.f_frsize);
            let found = format!("{} GiB free", free >> 30);
            if free >= LITTLE_SPACE_BYTES {
                Verdict::ok(found)
            } else {
                Verdict::warn(
                    found,
                    "free some, builds and clusters need several GiB (`docker system df` shows Docker's share)",
                )
            }
        }
        Err(error) => Verdict::warn(format!("cannot be told ({error})"), "look at it with `df -h`"),
    }
}

async fn store(database: &Database) -> Verdict {
    let (shown, advice) = match database {
        Database::Sqlite(path) if !path.exists() => {
            return Verdict::ok(format!("`{}` is made at the first start", path.display()));
        }
        Database::Sqlite(path) => (format!("`{}`", path.display()), "restore it from a backup, or set `DATABASE_URL`"),
        Database::Postgres(_) => ("PostgreSQL".to_owned(), "check `DATABASE_URL`, and that the server runs"),
    };
    match Store::examine(database).await {
        Ok(()) => Verdict::ok(format!("{shown} can be read")),
        Err(StoreError::Newer { found, known }) => Verdict::fail(
            format!("{shown} was written by a newer version (its schema is {found}, this one knows {known})"),
            "start that version, or restore a backup from before the upgrade",
        ),
        Err(error) => Verdict::fail(format!("{shown} cannot be read ({})", causes(&error)), advice),
    }
}

fn encryption_key(settings: &Settings) -> Verdict {
    if settings.secret.encryption_key.is_some() {
        return Verdict::ok("`ENCRYPTION_KEY` is set");
    }
    key_file(&settings.store.workspace.join(ENCRYPTION_KEY_FILE), "`ENCRYPTION_KEY`")
}

fn api_keys(settings: &Settings) -> Verdict {
    match settings.server.api_keys.len() {
        0 if settings.server.host.is_loopback() && settings.oidc.is_some() => {
            Verdict::ok("none set; tokens of `OIDC_ISSUER` and keys that were made count")
        }
        0 if settings.server.host.is_loopback() => Verdict::ok("none asked for on a loopback address"),
        0 => key_file(&settings.store.workspace.join(API_KEY_FILE), "`API_KEYS`"),
        number => Verdict::ok(format!("{number} set")),
    }
}

fn key_file(path: &Path, setting: &str) -> Verdict {
    let shown = format!("`{}`", path.display());
    match fs::metadata(path) {
        Ok(metadata) => match exposed_mode(&metadata) {
            Some(mode) => Verdict::fail(
                format!("{shown} can be read by others (mode {mode:o})"),
                "run `chmod 600` on it, and replace the key if others may have seen it",
            ),
            None if fs::File::open(path).is_ok() => Verdict::ok(format!("in {shown}")),
            None => Verdict::fail(format!("{shown} cannot be read by this user"), "run as its owner"),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Verdict::ok(format!("{shown} is made at the first start, as {setting} is not set"))
        }
        Err(error) => {
            Verdict::fail(format!("{shown} cannot be looked at ({error})"), "check the workspace's permissions")
        }
    }
}

async fn address(settings: &Settings) -> Verdict {
    let (host, port) = (settings.server.host, settings.server.port);
    match tokio::net::TcpListener::bind((host, port)).await {
        Ok(_) => Verdict::ok(format!("{host} port {port} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Verdict::warn(format!("{host} port {port} is taken"), "fine if this server runs already, else set `PORT`")
        }
        Err(error) => {
            Verdict::fail(format!("{host} port {port} cannot be listened on ({error})"), "set `HOST` or `PORT`")
        }
    }
}

fn dotenv(directory: &Path) -> Verdict {
    match fs::metadata(directory.join(DOTENV_FILE)) {
        Ok(metadata) if metadata.mode() & 0o004 != 0 => {
            Verdict::warn("`.env` can be read by everyone", "run `chmod 600 .env` if it holds credentials")
        }
        Ok(_) => Verdict::ok("`.env` is read"),
        Err(_) => Verdict::ok("there is no `.env`; `cp .env.example .env` begins one"),
    }
}

/// The directory itself, or the closest one above it that is there.
fn nearest_existing(path: &Path) -> PathBuf {
    path.ancestors().find(|it| it.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

fn causes(error: &StoreError) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |it| it.source());
    causes.last().map_or_else(|| error.to_string(), ToString::to_string).lines().next().unwrap_or_default().to_owned()
}
