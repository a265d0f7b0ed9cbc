//! The connection to where programs run and their files are: this machine, or one that is reached by ssh.

use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::event::Lines;
use crate::tool::ssh::Ssh;
use crate::tool::{Call, ToolError, durable, folder, remote};

/// How long removing or measuring a folder may take.
const FOLDER_LIMIT: Duration = Duration::from_mins(5);

/// Where programs run. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub enum Connection {
    /// This machine.
    #[default]
    Local,
    /// A machine that is reached by ssh.
    Ssh(Ssh),
}

impl Connection {
    /// A call of a program over this connection.
    pub fn call(&self, program: impl AsRef<OsStr>) -> Call {
        Call::new(program).at(self)
    }

    /// Whether it is this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Local)
    }

    /// Makes a folder, and those above it that are not there, for its owner alone.
    ///
    /// # Errors
    /// [`ToolError`] with what the file system says.
    pub async fn make_folder(&self, path: &Path) -> Result<(), ToolError> {
        match self {
            Self::Local => folder::make_private(path).map_err(|source| of_folder(path, source)),
            Self::Ssh(_) => self.quick(self.call("mkdir").args(["-m", "700", "-p", "--"]).arg(path)).await,
        }
    }

    /// Whether there is a folder.
    ///
    /// # Errors
    /// [`ToolError`] when the other machine cannot be reached.
    pub async fn is_folder(&self, path: &Path) -> Result<bool, ToolError> {
        match self {
            Self::Local => Ok(path.is_dir()),
            Self::Ssh(_) => self.holds("-d", path).await,
        }
    }

    /// Whether there is anything at all.
    ///
    /// # Errors
    /// [`ToolError`] when the other machine cannot be reached.
    pub async fn exists(&self, path: &Path) -> Result<bool, ToolError> {
        match self {
            Self::Local => Ok(path.exists()),
            Self::Ssh(_) => self.holds("-e", path).await,
        }
    }

    async fn holds(&self, test: &str, path: &Path) -> Result<bool, ToolError> {
        match self.quick(self.call("test").arg(test).arg(path)).await {
            Ok(()) => Ok(true),
            Err(ToolError::Failed { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes a folder with all that is in it; false when there was none.
    ///
    /// # Errors
    /// [`ToolError`] with what the file system says.
    pub async fn remove_folder(&self, path: &Path) -> Result<bool, ToolError> {
        match self {
            Self::Local => match tokio::fs::remove_dir_all(path).await {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
                Err(error) => Err(of_folder(path, error)),
            },
            Self::Ssh(_) => {
                let was_there = self.exists(path).await?;
                self.quick(self.call("rm").args(["-rf", "--"]).arg(path)).await?;
                Ok(was_there)
            }
        }
    }

    /// Removes a file; one that is not there is fine.
    ///
    /// # Errors
    /// [`ToolError`] with what the file system says.
    pub async fn remove_file(&self, path: &Path) -> Result<(), ToolError> {
        match self {
            Self::Local => match tokio::fs::remove_file(path).await {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(of_folder(path, error)),
                _ => Ok(()),
            },
            Self::Ssh(_) => self.quick(self.call("rm").args(["-f", "--"]).arg(path)).await,
        }
    }

    /// Writes a file for its owner alone, whole or not at all, in a folder that is made when it is not there.
    ///
    /// # Errors
    /// [`ToolError`] with what the file system says.
    pub async fn write(&self, path: &Path, contents: &[u8]) -> Result<(), ToolError> {
        match self {
            Self::Local => write_here(path, contents).await.map_err(|source| of_folder(path, source)),
            Self::Ssh(ssh) => remote::put(ssh, path, contents).await,
        }
    }

    /// The text of a file; `None` when it is not there.
    ///
    /// # Errors
    /// [`ToolError`] with what the file system says.
    pub async fn read(&self, path: &Path) -> Result<Option<String>, ToolError> {
        match self {
            Self::Local => match tokio::fs::read_to_string(path).await {
                Ok(text) => Ok(Some(text)),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(of_folder(path, error)),
            },
            Self::Ssh(_) => {
                let call = self.call("cat").arg("--").arg(path);
                match call.run(&Lines::none(), &CancellationToken::new()).await {
                    Ok(output) => Ok(Some(output.stdout)),
                    Err(ToolError::Failed { .. }) => Ok(None),
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// The bytes of all files below a folder; what vanishes meanwhile does not count, links are not followed.
    pub async fn size_of(&self, path: &Path) -> u64 {
        match self {
            Self::Local => size_here(path.to_owned()).await,
            Self::Ssh(_) => {
                let call = self.call("du").args(["-s", "-B1", "--"]).arg(path).timeout(FOLDER_LIMIT);
                let printed = call.run(&Lines::none(), &CancellationToken::new()).await;
                let size = printed.ok().and_then(|output| output.stdout.split_whitespace().next()?.parse().ok());
                size.unwrap_or_default()
            }
        }
    }

    /// Waits until no program that an earlier server left behind works in this folder; after `limit` it is interrupted.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub async fn await_orphans(
        &self,
        folder: &Path,
        limit: Duration,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<(), ToolError> {
        match self {
            Self::Local => {
                durable::await_orphans(folder, limit, lines, cancel).await.map_err(|source| of_folder(folder, source))
            }
            Self::Ssh(ssh) => remote::await_orphans(ssh, folder, limit, lines, cancel).await,
        }
    }

    /// Whether a call of this name was ever begun with this folder, by this server or an earlier one.
    ///
    /// # Errors
    /// [`ToolError`] when the other machine cannot be reached.
    pub async fn has_begun(&self, folder: &Path, name: &str) -> Result<bool, ToolError> {
        match self {
            Self::Local => Ok(durable::has_begun(folder, name)),
            Self::Ssh(ssh) => remote::has_begun(ssh, folder, name).await,
        }
    }

    /// Runs a small program whose output nobody needs.
    async fn quick(&self, call: Call) -> Result<(), ToolError> {
        call.timeout(FOLDER_LIMIT).run(&Lines::none(), &CancellationToken::new()).await.map(drop)
    }
}

fn of_folder(path: &Path, source: io::Error) -> ToolError {
    ToolError::Files { path: path.display().to_string(), source }
}

async fn write_here(path: &Path, contents: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("draft");
    if let Some(folder) = path.parent() {
        folder::make_private(folder)?;
    }
    let mut options = tokio::fs::OpenOptions::new();
    let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(&draft).await?;
    tokio::io::AsyncWriteExt::write_all(&mut file, contents).await?;
    file.sync_all().await?;
    tokio::fs::rename(&draft, path).await
}

async fn size_here(directory: PathBuf) -> u64 {
    let measure = move || {
        let (mut size_bytes, mut left) = (0, vec![directory]);
        while let Some(directory) = left.pop() {
            let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
            for (entry, metadata) in entries.filter_map(|entry| entry.metadata().ok().map(|it| (entry, it))) {
                if metadata.is_dir() {
                    left.push(entry.path());
                } else {
                    size_bytes += metadata.len();
                }
            }
        }
        size_bytes
    };
    tokio::task::spawn_blocking(measure).await.unwrap_or_default()
}
