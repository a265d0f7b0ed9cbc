//! The build context: the files that a build may see, as the tar stream that Docker takes.
//!
//! Order, owner and modes are always the same, so what Docker caches depends on names, contents and the executable
//! bit alone. Times are those of the files: Docker's cache does not look at them, but servers make validators of them and
//! zip archives refuse 1970.

use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

use super::analysis::{Analysis, MAX_DOCKERFILE_BYTES};
use super::error::RepositoryError;
use super::ignore::{Ignore, Matches};
use super::tree::{Tree, join};

/// Entries that a context may have.
const MAX_ENTRIES: u64 = 200_000;
/// How deep directories may lie in one another.
const MAX_DEPTH: usize = 100;
/// Bytes of an ignore file.
const MAX_IGNORE_BYTES: u64 = 256 * 1024;
/// 1980-01-01: what a file without a sensible time gets, and the file that is made here.
const EARLIEST_S: u64 = 315_532_800;

/// What a context came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ContextSummary {
    /// Files and links.
    pub files: u64,
    /// Bytes of the files' contents.
    pub size_bytes: u64,
}

/// What a build may see of a clone that is on another machine, of which only the tree manifest is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextPaths {
    /// The paths, relative to the context's directory, each ended by a zero byte; a directory comes before what is in it.
    pub paths: Vec<u8>,
    /// Path and text of the Dockerfile, where the context's directory does not have it.
    pub inlined: Option<(String, String)>,
}

/// Names what [`write_context`] would write.
///
/// # Errors
/// The same.
pub fn context_paths(root: &Path, analysis: &Analysis, limit_bytes: u64) -> Result<ContextPaths, RepositoryError> {
    let mut paths = Vec::new();
    walk(root, analysis, limit_bytes, PathList(&mut paths))?;
    let text = inlined(&Tree::open(root)?, analysis)?;
    Ok(ContextPaths { paths, inlined: text.map(|text| (analysis.dockerfile_in_context.clone(), text)) })
}

/// Writes the build context of an analysed clone as a tar stream.
///
/// `.dockerignore` (or `<Dockerfile>.dockerignore`, which counts instead where it exists) holds as with `docker build`,
/// the Dockerfile and `.dockerignore` are there even when it names them, and `.git` never is. Links stay links.
///
/// # Errors
/// [`RepositoryError`] when the contents exceed `limit_bytes`, an ignore file has a mistake, or reading or writing fails.
pub fn write_context(
    root: &Path,
    analysis: &Analysis,
    to: impl Write,
    limit_bytes: u64,
) -> Result<ContextSummary, RepositoryError> {
    let (summary, mut tar) = walk(root, analysis, limit_bytes, Builder::new(to))?;
    if let Some(text) = inlined(&Tree::open(root)?, analysis)? {
        let mut header = header(EntryType::Regular, 0o644, EARLIEST_S);
        header.set_size(text.len() as u64);
        tar.append_data(&mut header, &analysis.dockerfile_in_context, text.as_bytes())
            .map_err(|source| RepositoryError::Io { path: analysis.dockerfile_in_context.clone(), source })?;
    }
    let finished = tar.into_inner().and_then(|mut to| to.flush());
    finished.map_err(|source| RepositoryError::Io { path: "the build context".to_owned(), source })?;
    Ok(summary)
}

/// Hands on everything that a build may see, in order.
fn walk<S: Sink>(
    root: &Path,
    analysis: &Analysis,
    limit_bytes: u64,
    sink: S,
) -> Result<(ContextSummary, S), RepositoryError> {
    let tree = Tree::open(root)?;
    let (ignore_path, ignore) = ignore_of(&tree, analysis)?;
    // Another ignore file than the one that counts would be applied by the daemon on top.
    let keep_ignore = ignore_path == join(&analysis.context, ".dockerignore");
    if !tree.exists(&analysis.context) {
        return Err(RepositoryError::NotAFile { path: analysis.context.clone() });
    }
    let mut writing = Writing {
        sink,
        ignore,
        always: [Some(analysis.dockerfile_in_context.as_str()), keep_ignore.then_some(".dockerignore")],
        limit_bytes,
        summary: ContextSummary::default(),
        entries: 0,
    };
    writing.directory(&root.join(&analysis.context), "", &Matches::default(), 0)?;
    Ok((writing.summary, writing.sink))
}

/// Whether a build may see a directory of the clone.
///
/// # Errors
/// [`RepositoryError`] when an ignore file has a mistake, or reading fails.
pub fn is_in_context(root: &Path, analysis: &Analysis, directory: &str) -> Result<bool, RepositoryError> {
    let (_, ignore) = ignore_of(&Tree::open(root)?, analysis)?;
    let within = |path: &str, above: &str| path == above || path.starts_with(&format!("{above}/"));
    if within(&analysis.context, directory) {
        return Ok(true);
    }
    let below = match analysis.context.as_str() {
        "" => Some(directory),
        context => directory.strip_prefix(context).and_then(|rest| rest.strip_prefix('/')),
    };
    let Some(below) = below else { return Ok(false) };
    let parts: Vec<&str> = below.split('/').collect();
    let paths = (1..=parts.len()).map(|count| parts[..count].join("/"));
    let matches = paths.fold(Matches::default(), |above, path| ignore.matches(&above, &path));
    Ok(!ignore.excludes(&matches))
}

/// The ignore file that counts, and its path, whether it is there or not.
fn ignore_of(tree: &Tree, analysis: &Analysis) -> Result<(String, Ignore), RepositoryError> {
    let own = format!("{}.dockerignore", analysis.dockerfile);
    let path = if tree.is_file(&own) { own } else { join(&analysis.context, ".dockerignore") };
    let ignore = if tree.is_file(&path) {
        Ignore::parse(&path, &tree.text(&path, MAX_IGNORE_BYTES)?)?
    } else {
        Ignore::default()
    };
    Ok((path, ignore))
}

/// The text of the Dockerfile when the context's directory does not have it.
fn inlined(tree: &Tree, analysis: &Analysis) -> Result<Option<String>, RepositoryError> {
    match &analysis.generated {
        Some(generated) => Ok(Some(generated.dockerfile.clone())),
        None if analysis.dockerfile == join(&analysis.context, &analysis.dockerfile_in_context) => Ok(None),
        None => tree.text(&analysis.dockerfile, MAX_DOCKERFILE_BYTES).map(Some),
    }
}

/// What takes the entries of a context.
trait Sink {
    fn directory(&mut self, path: &Path, modified_s: u64) -> io::Result<()>;
    fn link(&mut self, path: &Path, full: &Path, modified_s: u64) -> io::Result<()>;
    fn file(&mut self, path: &Path, full: &Path, metadata: &fs::Metadata, modified_s: u64) -> io::Result<()>;
}

impl<W: Write> Sink for Builder<W> {
    fn directory(&mut self, path: &Path, modified_s: u64) -> io::Result<()> {
        self.append_data(&mut header(EntryType::Directory, 0o755, modified_s), path, io::empty())
    }

    fn link(&mut self, path: &Path, full: &Path, modified_s: u64) -> io::Result<()> {
        self.append_link(&mut header(EntryType::Symlink, 0o777, modified_s), path, fs::read_link(full)?)
    }

    fn file(&mut self, path: &Path, full: &Path, metadata: &fs::Metadata, modified_s: u64) -> io::Result<()> {
        let mode = if metadata.mode() & 0o100 == 0 { 0o644 } else { 0o755 };
        let mut header = header(EntryType::Regular, mode, modified_s);
        header.set_size(metadata.len());
        let file = io::Read::take(fs::File::open(full)?, metadata.len());
        self.append_data(&mut header, path, file)
    }
}

/// Keeps the paths alone.
struct PathList<'a>(&'a mut Vec<u8>);

impl PathList<'_> {
    fn keep(&mut self, path: &Path) {
        // `./` in front keeps a name that begins with a dash from being read as an option of `tar`.
        self.0.extend_from_slice(b"./");
        self.0.extend_from_slice(path.as_os_str().as_bytes());
        self.0.push(0);
    }
}

impl Sink for PathList<'_> {
    fn directory(&mut self, path: &Path, _: u64) -> io::Result<()> {
        self.keep(path);
        Ok(())
    }

    fn link(&mut self, path: &Path, _: &Path, _: u64) -> io::Result<()> {
        self.keep(path);
        Ok(())
    }

    fn file(&mut self, path: &Path, _: &Path, _: &fs::Metadata, _: u64) -> io::Result<()> {
        self.keep(path);
        Ok(())
    }
}

struct Writing<'a, S> {
    sink: S,
    ignore: Ignore,
    /// Paths that stay even when the ignore file names them.
    always: [Option<&'a str>; 2],
    limit_bytes: u64,
    summary: ContextSummary,
    entries: u64,
}

impl<S: Sink> Writing<'_, S> {
    fn directory(&mut self, full: &Path, path: &str, above: &Matches, depth: usize) -> Result<(), RepositoryError> {
        let io = |source| RepositoryError::Io { path: path.to_owned(), source };
        if depth > MAX_DEPTH {
            return Err(RepositoryError::TooManyFiles { path: path.to_owned() });
        }
        let mut entries: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(full).map_err(io)? {
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(RepositoryError::TooManyFiles { path: path.to_owned() });
            }
            entries.push(entry.map_err(io)?.path());
        }
        entries.sort_unstable_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
        for entry in entries {
            let name = entry.file_name().unwrap_or_default();
            if name != ".git" {
                let path = join(path, &name.to_string_lossy());
                self.entry(&entry, &path, above, depth).map_err(|error| error.at(&path))?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, full: &Path, path: &str, above: &Matches, depth: usize) -> Result<(), EntryError> {
        let matches = self.ignore.matches(above, path);
        let is_excluded = self.ignore.excludes(&matches) && !self.always.contains(&Some(path));
        let metadata = full.symlink_metadata()?;
        let modified_s = u64::try_from(metadata.mtime()).unwrap_or_default().max(EARLIEST_S);
        let kind = metadata.file_type();
        if kind.is_dir() {
            let holds_kept = self.always.iter().flatten().any(|kept| kept.starts_with(&format!("{path}/")));
            if !is_excluded {
                self.sink.directory(&path_of(full, path), modified_s)?;
            }
            if !is_excluded || holds_kept || self.ignore.has_exceptions() {
                self.directory(full, path, &matches, depth + 1)?;
            }
            return Ok(());
        }
        if is_excluded {
            return Ok(());
        }
        if kind.is_symlink() {
            self.sink.link(&path_of(full, path), full, modified_s)?;
        } else if kind.is_file() {
            self.summary.size_bytes += metadata.len();
            if self.summary.size_bytes > self.limit_bytes {
                return Err(RepositoryError::ContextTooBig { limit_bytes: self.limit_bytes }.into());
            }
            self.sink.file(&path_of(full, path), full, &metadata, modified_s)?;
        } else {
            return Ok(());
        }
        self.summary.files += 1;
        Ok(())
    }
}

/// The path in the archive, with the bytes of a name that is not UTF-8.
fn path_of(full: &Path, path: &str) -> PathBuf {
    Path::new(path).with_file_name(full.file_name().unwrap_or_default())
}

fn header(kind: EntryType, mode: u32, modified_s: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(modified_s);
    header.set_size(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

enum EntryError {
    Io(io::Error),
    Told(RepositoryError),
}

impl EntryError {
    fn at(self, path: &str) -> RepositoryError {
        match self {
            Self::Io(source) => RepositoryError::Io { path: path.to_owned(), source },
            Self::Told(error) => error,
        }
    }
}

impl From<io::Error> for EntryError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<RepositoryError> for EntryError {
    fn from(error: RepositoryError) -> Self {
        Self::Told(error)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::super::analysis::{GENERATED_NAME, analyse};
    use super::super::tests::{CHOICE, clone_of};
    use super::*;
    use crate::id::Port;

    /// The tar's entries: mode and contents (a link's target) by path.
    fn written(root: &Path) -> (BTreeMap<String, (u32, String)>, ContextSummary) {
        let analysis = analyse(root, None, None, Port::new(8080).unwrap(), CHOICE).unwrap();
        let mut bytes = Vec::new();
        let summary = write_context(root, &analysis, &mut bytes, 1 << 20).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            let link = entry.link_name().unwrap().map(|it| it.to_string_lossy().into_owned());
            assert_eq!((entry.header().uid().unwrap(), entry.header().gid().unwrap()), (0, 0));
            (
                entry.path().unwrap().to_string_lossy().into_owned(),
                (entry.header().mode().unwrap(), link.unwrap_or(text)),
            )
        });
        (entries.collect(), summary)
    }

    fn paths(root: &Path) -> Vec<String> {
        written(root).0.into_keys().collect()
    }

    #[test]
    fn files_links_and_directories_come_with_plain_modes() {
        let root =
            clone_of(&[("Dockerfile", "FROM a\n"), ("bin/run", "x"), (".git/HEAD", ""), ("sub/.git", "gitdir: x")]);
        fs::set_permissions(root.path().join("bin/run"), fs::Permissions::from_mode(0o711)).unwrap();
        fs::set_permissions(root.path().join("Dockerfile"), fs::Permissions::from_mode(0o600)).unwrap();
        symlink("/etc/passwd", root.path().join("link")).unwrap();
        let long = format!("{}/{}", "d".repeat(120), "f".repeat(120));
        fs::create_dir(root.path().join("d".repeat(120))).unwrap();
        fs::write(root.path().join(&long), "long").unwrap();

        let (entries, summary) = written(root.path());

        assert_eq!(entries["Dockerfile"], (0o644, "FROM a\n".to_owned()));
        assert_eq!(entries["bin/run"], (0o755, "x".to_owned()));
        assert_eq!(entries["link"].1, "/etc/passwd");
        assert_eq!(entries[&long].1, "long");
        assert!(entries.keys().all(|path| !path.contains(".git")));
        assert_eq!(summary, ContextSummary { files: 4, size_bytes: 12 });
    }

    #[test]
    fn two_writings_are_the_same() {
        let root = clone_of(&[("Dockerfile", "FROM a\n"), ("b", "1"), ("a/c", "2"), ("a-b", "3")]);
        let analysis = analyse(root.path(), None, None, Port::new(8080).unwrap(), CHOICE).unwrap();
        let tar = || {
            let mut bytes = Vec::new();
            write_context(root.path(), &analysis, &mut bytes, 1 << 20).unwrap();
            bytes
        };

        assert_eq!(tar(), tar());
    }

    #[test]
    fn what_is_ignored_stays_out_but_the_dockerfile_stays_in() {
        let root = clone_of(&[
            (".dockerignore", "*\n!src\n**/*.pyc\n"),
            ("Dockerfile", "FROM a\n"),
            ("README.md", ""),
            ("src/a.py", ""),
            ("src/a.pyc", ""),
            ("lib/b", ""),
        ]);

        assert_eq!(paths(root.path()), [".dockerignore", "Dockerfile", "src", "src/a.py"]);
    }

    #[test]
    fn a_dockerfile_in_an_ignored_directory_stays_in() {
        let root = clone_of(&[
            ("docker/Dockerfile", "FROM a\nCOPY x /\n"),
            ("docker/y", ""),
            ("x", ""),
            (".dockerignore", "docker\n"),
        ]);

        assert_eq!(paths(root.path()), [".dockerignore", "docker/Dockerfile", "x"]);
    }

    #[test]
    fn an_ignore_file_of_the_dockerfile_itself_counts_instead() {
        let root = clone_of(&[
            ("Dockerfile", "FROM a\n"),
            (".dockerignore", "a\n"),
            ("Dockerfile.dockerignore", "b\n.dockerignore\n"),
            ("a", ""),
            ("b", ""),
        ]);

        assert_eq!(paths(root.path()), ["Dockerfile", "Dockerfile.dockerignore", "a"]);
    }

    #[test]
    fn a_made_dockerfile_gets_a_name_of_its_own() {
        let root = clone_of(&[("index.html", "x"), (GENERATED_NAME, "not ours")]);

        let (entries, _) = written(root.path());

        assert_eq!(entries[GENERATED_NAME].1, "not ours");
        assert!(entries[&format!("{GENERATED_NAME}.2")].1.starts_with("FROM nginx:stable\n"));
    }

    #[test]
    fn a_context_below_the_root_holds_only_what_is_there() {
        let root = clone_of(&[("web/Dockerfile", "FROM a\nCOPY x /\n"), ("web/x", ""), ("other", "")]);

        assert_eq!(paths(root.path()), ["Dockerfile", "x"]);
    }

    #[test]
    fn a_directory_is_in_the_context_unless_it_lies_outside_or_is_ignored() {
        let files = [("web/Dockerfile", "FROM a\nCOPY x /\n"), ("web/x", ""), ("web/.dockerignore", "docs\n*/skip\n")];
        let root = clone_of(&files);
        let analysis = analyse(root.path(), None, None, Port::new(8080).unwrap(), CHOICE).unwrap();
        let is_in = |path: &str| is_in_context(root.path(), &analysis, path).unwrap();

        assert!(["web", "web/lib", "web/lib/docs"].iter().all(|path| is_in(path)));
        assert!(["lib", "webs", "web/docs", "web/docs/a", "web/a/skip"].iter().all(|path| !is_in(path)));
    }

    #[test]
    fn a_dockerfile_that_lies_outside_its_context_comes_along() {
        let root = clone_of(&[("docker/prod", "FROM a\nCOPY x /\n"), ("web/x", "")]);
        symlink("../docker/prod", root.path().join("web/Dockerfile")).unwrap();

        let (entries, _) = written(root.path());

        assert_eq!(entries.keys().collect::<Vec<_>>(), [GENERATED_NAME, "Dockerfile", "x"]);
        assert_eq!(entries[GENERATED_NAME].1, "FROM a\nCOPY x /\n");
    }

    #[test]
    fn a_context_that_is_too_large_is_refused() {
        let root = clone_of(&[("Dockerfile", "FROM a\n"), ("big", &"x".repeat(2 << 20))]);
        let analysis = analyse(root.path(), None, None, Port::new(8080).unwrap(), CHOICE).unwrap();

        let error = write_context(root.path(), &analysis, io::sink(), 1 << 20).unwrap_err();

        assert!(error.to_string().starts_with("the build context is larger than 1048576 bytes"));
    }

    #[test]
    fn a_pipe_in_the_clone_is_passed_over() {
        let root = clone_of(&[("Dockerfile", "FROM a\n")]);
        let socket = std::os::unix::net::UnixListener::bind(root.path().join("socket")).unwrap();

        assert_eq!(paths(root.path()), ["Dockerfile"]);
        drop(socket);
    }
}
