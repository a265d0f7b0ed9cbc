//! The files that a build may see, and the tar in which the classic builder takes them.
//!
//! Order, owner and modes are always the same, so what Docker caches depends on names, contents and the executable
//! bit alone. Times are those of the files: Docker's cache does not look at them, but servers make validators of them and
//! zip archives refuse 1970.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

/// 1980-01-01: what a file without a sensible time gets, and one that is made here.
pub const EARLIEST_S: u64 = 315_532_800;
/// The file in which the classic builder reads what it takes out of a context.
pub(super) const IGNORE_FILE: &str = ".dockerignore";

/// The files that a build may see; a directory comes before what is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildContext {
    /// All of them, in order.
    pub entries: Vec<ContextEntry>,
}

/// One file, link or directory of a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextEntry {
    /// Its path in the context.
    pub path: PathBuf,
    /// What it is.
    pub kind: EntryKind,
    /// When it last changed, in seconds since 1970.
    pub modified_s: u64,
}

/// What an entry of a context is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A link, which stays one.
    Link {
        /// Where it leads.
        target: PathBuf,
    },
    /// A file.
    File {
        /// Where its bytes are.
        source: PathBuf,
        /// How many.
        size_bytes: u64,
        /// Whether it can be run.
        is_executable: bool,
    },
}

impl ContextEntry {
    /// Its permissions.
    pub(super) fn mode(&self) -> u32 {
        match self.kind {
            EntryKind::Directory | EntryKind::File { is_executable: true, .. } => 0o755,
            EntryKind::Link { .. } => 0o777,
            EntryKind::File { is_executable: false, .. } => 0o644,
        }
    }
}

impl BuildContext {
    /// The paths, each ended by a zero byte, as `tar -T` reads them.
    #[must_use]
    pub fn path_list(&self) -> Vec<u8> {
        let mut list = Vec::new();
        for entry in &self.entries {
            // `./` in front keeps a name that begins with a dash from being read as an option of `tar`.
            list.extend_from_slice(b"./");
            list.extend_from_slice(entry.path.as_os_str().as_bytes());
            list.push(0);
        }
        list
    }

    fn holds(&self, path: &str) -> bool {
        self.entries.iter().any(|entry| entry.path == Path::new(path))
    }

    /// The name of the Dockerfile in the tar: its own where it is part of the context, else a free one at the top, because
    /// a directory above it would stay in the context without it.
    pub(super) fn dockerfile_in_tar(&self, dockerfile: &str) -> String {
        if self.holds(dockerfile) {
            return dockerfile.to_owned();
        }
        let name = dockerfile.rsplit('/').next().unwrap_or(dockerfile);
        let numbered = (2..).map(|number| format!("{name}.{number}"));
        let mut names = std::iter::once(name.to_owned()).chain(numbered);
        names.find(|name| !self.holds(name)).expect("numbers do not end, the entries of a context do")
    }

    /// Writes the context as a tar, with the Dockerfile under the name that it has there.
    ///
    /// A Dockerfile that is not part of the context still has to be in the tar. The classic builder takes it out before the
    /// first COPY when the ignore file in the tar names it, and that file with it when it names itself.
    pub(super) fn write_tar(&self, dockerfile: &str, text: &str, to: impl Write) -> io::Result<()> {
        let is_beside = !self.holds(dockerfile);
        let dockerfile = &self.dockerfile_in_tar(dockerfile);
        let mut tar = Builder::new(to);
        for entry in self.entries.iter().filter(|entry| !(is_beside && entry.path == Path::new(IGNORE_FILE))) {
            write_entry(&mut tar, entry)?;
        }
        if is_beside {
            let ignore = self.entries.iter().find(|entry| entry.path == Path::new(IGNORE_FILE));
            let known = ignore.and_then(|entry| match &entry.kind {
                EntryKind::File { source, .. } => Some(fs::read_to_string(source)),
                EntryKind::Directory | EntryKind::Link { .. } => None,
            });
            let known = known.transpose()?.unwrap_or_else(|| IGNORE_FILE.to_owned());
            append(&mut tar, IGNORE_FILE, &format!("{known}\n{}\n", escaped(dockerfile)))?;
            append(&mut tar, dockerfile, text)?;
        }
        tar.into_inner()?.flush()
    }
}

fn write_entry(tar: &mut Builder<impl Write>, entry: &ContextEntry) -> io::Result<()> {
    let mut header = header(entry.mode(), entry.modified_s);
    match &entry.kind {
        EntryKind::Directory => {
            header.set_entry_type(EntryType::Directory);
            tar.append_data(&mut header, &entry.path, io::empty())
        }
        EntryKind::Link { target } => {
            header.set_entry_type(EntryType::Symlink);
            tar.append_link(&mut header, &entry.path, target)
        }
        EntryKind::File { source, size_bytes, .. } => {
            header.set_size(*size_bytes);
            tar.append_data(&mut header, &entry.path, fs::File::open(source)?.take(*size_bytes))
        }
    }
}

fn append(tar: &mut Builder<impl Write>, path: &str, text: &str) -> io::Result<()> {
    let mut header = header(0o644, EARLIEST_S);
    header.set_size(text.len() as u64);
    tar.append_data(&mut header, path, text.as_bytes())
}

fn header(mode: u32, modified_s: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(mode);
    header.set_mtime(modified_s);
    header.set_size(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// A path as a pattern that means nothing else.
fn escaped(path: &str) -> String {
    let special = |c: char| matches!(c, '*' | '?' | '[' | ']' | '\\' | '!' | '#');
    path.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn file(folder: &Path, path: &str, text: &str) -> ContextEntry {
        let source = folder.join(path.replace('/', "-"));
        fs::write(&source, text).unwrap();
        let kind = EntryKind::File { source, size_bytes: text.len() as u64, is_executable: path.contains("bin") };
        ContextEntry { path: path.into(), kind, modified_s: EARLIEST_S }
    }

    fn written(context: &BuildContext, dockerfile: &str) -> BTreeMap<String, (u32, String)> {
        let mut bytes = Vec::new();
        context.write_tar(dockerfile, "FROM made\n", &mut bytes).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            let link = entry.link_name().unwrap().map(|it| it.to_string_lossy().into_owned());
            assert_eq!((entry.header().uid().unwrap(), entry.header().gid().unwrap()), (0, 0));
            let mode = entry.header().mode().unwrap();
            (entry.path().unwrap().to_string_lossy().into_owned(), (mode, link.unwrap_or(text)))
        });
        entries.collect()
    }

    #[test]
    fn files_links_and_directories_come_with_plain_modes() {
        let folder = tempfile::tempdir().unwrap();
        let long = format!("{}/{}", "d".repeat(120), "f".repeat(20));
        let plain = |path: &str, kind| ContextEntry { path: path.into(), kind, modified_s: EARLIEST_S };
        let entries = vec![
            file(folder.path(), "Dockerfile", "FROM a\n"),
            plain("bin", EntryKind::Directory),
            file(folder.path(), "bin/run", "x"),
            file(folder.path(), &long, "long"),
            plain("link", EntryKind::Link { target: "/etc/passwd".into() }),
        ];

        let entries = written(&BuildContext { entries }, "Dockerfile");

        assert_eq!(entries["Dockerfile"], (0o644, "FROM a\n".to_owned()));
        assert_eq!(entries["bin/run"], (0o755, "x".to_owned()));
        assert_eq!(entries["link"].1, "/etc/passwd");
        assert_eq!(entries[&long].1, "long");
        assert_eq!(entries.len(), 5);
    }

    #[test]
    fn a_dockerfile_beside_the_context_is_named_in_an_ignore_file_that_names_itself() {
        let folder = tempfile::tempdir().unwrap();
        let context = BuildContext { entries: vec![file(folder.path(), "app", "x")] };

        let entries = written(&context, "docker/Docker[file]");

        assert_eq!(entries.keys().collect::<Vec<_>>(), [".dockerignore", "Docker[file]", "app"]);
        assert_eq!(entries[".dockerignore"].1, ".dockerignore\nDocker\\[file\\]\n");
        assert_eq!(entries["Docker[file]"].1, "FROM made\n");
    }

    #[test]
    fn a_dockerfile_beside_the_context_takes_the_name_of_no_other_file() {
        let folder = tempfile::tempdir().unwrap();
        let context = BuildContext { entries: vec![file(folder.path(), "Dockerfile", "of another one")] };

        assert_eq!(context.dockerfile_in_tar("docker/Dockerfile"), "Dockerfile.2");
        assert_eq!(context.dockerfile_in_tar("Dockerfile"), "Dockerfile");
    }

    #[test]
    fn an_ignore_file_that_is_part_of_the_context_stays_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let context = BuildContext { entries: vec![file(folder.path(), ".dockerignore", "Dockerfile\n")] };

        let entries = written(&context, "Dockerfile");

        assert_eq!(entries[".dockerignore"].1, "Dockerfile\n\nDockerfile\n");
    }
}
