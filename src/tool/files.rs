//! Files and folders on the machine that a connection leads to.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::event::Lines;
use crate::tool::call::Call;
use crate::tool::connection::Connection;
use crate::tool::error::ToolError;
use crate::tool::folder;
use crate::tool::script::Script;

const UPLOAD: &str = include_str!("script/upload.sh");

/// How long removing or measuring a folder may take.
const FOLDER_TIMEOUT: Duration = Duration::from_mins(5);
/// How long a file may take to get to the other machine.
const UPLOAD_TIMEOUT: Duration = Duration::from_mins(5);

impl Connection {
    /// Makes a folder, and those above it that are not there, for its owner alone.
    ///
    /// # Errors
    /// [`ToolError`] with what the file system says.
    pub async fn make_folder(&self, path: &Path) -> Result<(), ToolError> {
        match self {
            Self::Local => folder::make_private(path).map_err(|source| file_error(path, source)),
            Self::Ssh(_) => self.run_quiet(self.call("mkdir").args(["-m", "700", "-p", "--"]).arg(path)).await,
        }
    }

    /// Whether there is a folder.
    ///
    /// # Errors
    /// [`ToolError`] when the other machine cannot be reached.
    pub async fn is_folder(&self, path: &Path) -> Result<bool, ToolError> {
        match self {
            Self::Local => Ok(path.is_dir()),
            Self::Ssh(_) => self.test_path("-d", path).await,
        }
    }

    /// Whether there is anything at all.
    ///
    /// # Errors
    /// [`ToolError`] when the other machine cannot be reached.
    pub async fn exists(&self, path: &Path) -> Result<bool, ToolError> {
        match self {
            Self::Local => Ok(path.exists()),
            Self::Ssh(_) => self.test_path("-e", path).await,
        }
    }

    async fn test_path(&self, test: &str, path: &Path) -> Result<bool, ToolError> {
        match self.run_quiet(self.call("test").arg(test).arg(path)).await {
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
                Err(error) => Err(file_error(path, error)),
            },
            Self::Ssh(_) => {
                let was_there = self.exists(path).await?;
                self.run_quiet(self.call("rm").args(["-rf", "--"]).arg(path)).await?;
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
                Err(error) if error.kind() != ErrorKind::NotFound => Err(file_error(path, error)),
                _ => Ok(()),
            },
            Self::Ssh(_) => self.run_quiet(self.call("rm").args(["-f", "--"]).arg(path)).await,
        }
    }

    /// Writes a file for its owner alone, whole or not at all, in a folder that is made when it is not there.
    ///
    /// # Errors
    /// [`ToolError`] with what the file system says.
    pub async fn write(&self, path: &Path, contents: &[u8]) -> Result<(), ToolError> {
        match self {
            Self::Local => write_local(path, contents).await.map_err(|source| file_error(path, source)),
            Self::Ssh(_) => self.upload(path, contents).await,
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
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
                Err(error) => Err(file_error(path, error)),
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
            Self::Local => size_local(path.to_owned()).await,
            Self::Ssh(_) => {
                let call = self.call("du").args(["-s", "-B1", "--"]).arg(path).timeout(FOLDER_TIMEOUT);
                let printed = call.run(&Lines::none(), &CancellationToken::new()).await;
                let size = printed.ok().and_then(|output| output.stdout.split_whitespace().next()?.parse().ok());
                size.unwrap_or_default()
            }
        }
    }

    async fn upload(&self, path: &Path, contents: &[u8]) -> Result<(), ToolError> {
        let script = Script {
            words: vec![path.into(), contents.len().to_string().into()],
            input: contents.to_vec(),
            timeout: UPLOAD_TIMEOUT,
            ..Script::new("upload", UPLOAD)
        };
        let output = self.run_script(&script, &Lines::none(), &CancellationToken::new()).await?;
        output.check_exit("upload").map(drop)
    }

    /// Runs a small program whose output nobody needs.
    async fn run_quiet(&self, call: Call) -> Result<(), ToolError> {
        call.timeout(FOLDER_TIMEOUT).run(&Lines::none(), &CancellationToken::new()).await.map(drop)
    }
}

pub(super) fn file_error(path: &Path, source: io::Error) -> ToolError {
    ToolError::Files { path: path.display().to_string(), source }
}

async fn write_local(path: &Path, contents: &[u8]) -> io::Result<()> {
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

async fn size_local(directory: PathBuf) -> u64 {
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
