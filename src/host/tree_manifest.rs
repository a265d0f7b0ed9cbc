//! The tree manifest of a clone on another machine: every name, size and mode of it in a folder here, and the contents of the
//! few small files that tell how it is built. What reads a clone reads its manifest alike; the rest stays there.

use std::io::{self, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::read::GzDecoder;
use tokio_util::sync::CancellationToken;

use crate::event::Lines;
use crate::tool::connection::Connection;
use crate::tool::folder::make_private;
use crate::tool::{Call, ToolError};

/// Prints a compressed archive: a list of everything, and the files that tell how a clone is built.
const SCRIPT: &str = include_str!("tree_manifest.sh");
/// How long that may take.
const TIMEOUT: Duration = Duration::from_mins(2);
/// Name of the list in the archive; no file of a clone can have it.
const LIST: &str = "list";
/// Entries that a manifest has at most; what builds a context refuses more than that anyway.
const MAX_ENTRIES: usize = 250_000;

/// Says why a clone's tree manifest is not here.
#[derive(Debug, thiserror::Error)]
pub enum TreeManifestError {
    /// It could not be fetched.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// It could not be written, or what came cannot be understood.
    #[error("cannot keep the tree manifest of the clone")]
    Files(#[source] io::Error),
    /// The clone has too many files.
    #[error("the repository has more than {MAX_ENTRIES} files")]
    TooManyFiles,
}

/// Fetches the tree manifest of the clone in `clone` over there into `folder` here, which is made anew.
///
/// `directory` is where the build begins, the root without one; `also` is a file there or in the root whose contents are
/// wanted in any case. With git the names in `.git` are there too.
///
/// # Errors
/// [`TreeManifestError`] says what went wrong.
pub async fn fetch(
    connection: &Connection,
    clone: &Path,
    directory: Option<&str>,
    also: Option<&str>,
    with_git: bool,
    folder: &Path,
    cancel: &CancellationToken,
) -> Result<(), TreeManifestError> {
    let call: Call =
        connection.call("sh").args(["-c", SCRIPT, "tree_manifest"]).arg(clone).arg(directory.unwrap_or("."));
    let call = call.arg(also.unwrap_or_default()).arg(if with_git { "yes" } else { "no" });
    let printed = call.timeout(TIMEOUT).run(&Lines::none(), cancel).await?.stdout;
    let folder = folder.to_owned();
    let write = move || {
        let bytes: Vec<u8> = printed.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let archive = BASE64.decode(bytes).map_err(|error| TreeManifestError::Files(io::Error::other(error)))?;
        write(&archive, &folder)
    };
    let written = tokio::task::spawn_blocking(write).await;
    written.unwrap_or_else(|error| Err(TreeManifestError::Files(io::Error::other(error))))
}

/// Writes what an archive of [`SCRIPT`] holds.
fn write(archive: &[u8], folder: &Path) -> Result<(), TreeManifestError> {
    let files = TreeManifestError::Files;
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(files(error)),
        _ => make_private(folder).map_err(files)?,
    }
    let mut archive = tar::Archive::new(GzDecoder::new(archive));
    for entry in archive.entries().map_err(files)? {
        let mut entry = entry.map_err(files)?;
        let path = entry.path().map_err(files)?.into_owned();
        if path == Path::new(LIST) {
            let mut list = Vec::new();
            entry.read_to_end(&mut list).map_err(files)?;
            write_names(&list, folder)?;
        } else if let Some(path) = inside(&path)
            && entry.header().entry_type().is_file()
        {
            // `write_names` has made this file and the folders above it: opening a file that is there follows no link out.
            let mut file = std::fs::OpenOptions::new().write(true).open(folder.join(path)).map_err(files)?;
            io::copy(&mut entry, &mut file).map_err(files)?;
        }
    }
    Ok(())
}

/// Makes what the list names: kind, permissions, size, path and target of a link, each ended by a zero byte.
fn write_names(list: &[u8], folder: &Path) -> Result<(), TreeManifestError> {
    let mut fields = list.split(|&byte| byte == 0).map(|field| String::from_utf8_lossy(field).into_owned());
    let mut count = 0;
    while let (Some(kind), Some(mode), Some(size), Some(path), Some(target)) =
        (fields.next(), fields.next(), fields.next(), fields.next(), fields.next())
    {
        count += 1;
        if count > MAX_ENTRIES {
            return Err(TreeManifestError::TooManyFiles);
        }
        let Some(path) = inside(Path::new(&path)) else { continue };
        let path = folder.join(path);
        let made = match kind.as_str() {
            "d" => make_private(&path),
            "l" => symlink(target, &path),
            "f" => write_name(&path, u32::from_str_radix(&mode, 8).unwrap_or(0o644), size.parse().unwrap_or_default()),
            _ => Ok(()),
        };
        made.map_err(TreeManifestError::Files)?;
    }
    Ok(())
}

/// A file of that size with nothing in it; it takes no space.
fn write_name(path: &Path, mode: u32, size_bytes: u64) -> io::Result<()> {
    let file = std::fs::OpenOptions::new().create_new(true).write(true).open(path)?;
    file.set_len(size_bytes)?;
    file.set_permissions(std::fs::Permissions::from_mode(if mode & 0o100 == 0 { 0o600 } else { 0o700 }))
}

/// A relative path that stays inside; the root itself is none.
fn inside(path: &Path) -> Option<PathBuf> {
    let parts: Option<PathBuf> = path
        .components()
        .filter(|part| *part != Component::CurDir)
        .map(|part| if let Component::Normal(name) = part { Some(name) } else { None })
        .collect();
    parts.filter(|path| !path.as_os_str().is_empty())
}
