//! The build context: the files that a build may see.
//!
//! `.dockerignore` (or `<Dockerfile>.dockerignore`, which counts instead where it exists) holds as with `docker build`: what
//! it shuts out no build sees, be it the Dockerfile or itself. The builder gets the Dockerfile in any case.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::analysis::{Analysis, MAX_DOCKERFILE_BYTES};
use super::error::RepositoryError;
use super::ignore::{Ignore, Matches};
use super::tree::{Tree, join};
use crate::cloud::docker::context::{BuildContext, ContextEntry, EARLIEST_S, EntryKind};

/// Entries that a context may have.
const MAX_ENTRIES: u64 = 200_000;
/// How deep directories may lie in one another.
const MAX_DEPTH: usize = 100;
/// Bytes of an ignore file.
const MAX_IGNORE_BYTES: u64 = 256 * 1024;
/// Where git keeps what it knows of a clone.
const GIT_FOLDER: &str = ".git";

/// What bounds a context.
#[derive(Debug, Clone, Copy)]
pub struct ContextRules {
    /// Bytes of the files' contents.
    pub limit_bytes: u64,
    /// Whether it holds the folder `.git` of the clone.
    pub with_git: bool,
}

/// The files of an analysed clone, or of its tree manifest, that a build may see. Links stay links.
///
/// # Errors
/// [`RepositoryError`] when the contents exceed the limit, an ignore file has a mistake, or reading fails.
pub fn build_context(root: &Path, analysis: &Analysis, rules: ContextRules) -> Result<BuildContext, RepositoryError> {
    let tree = Tree::open(root)?;
    let (_, ignore) = ignore_of(&tree, analysis)?;
    if !tree.exists(&analysis.context) {
        return Err(RepositoryError::NotAFile { path: analysis.context.clone() });
    }
    let mut walk = Walk { ignore, rules, context: BuildContext::default(), size_bytes: 0, count: 0, shut: Vec::new() };
    walk.directory(&root.join(&analysis.context), "", &Matches::default(), 0)?;
    if let Some(entry) = walk.context.entries.iter().find(|entry| entry.path.to_str().is_none()) {
        return Err(RepositoryError::OddName { path: entry.path.display().to_string() });
    }
    Ok(walk.context)
}

/// The text of the Dockerfile that an analysed clone is built by.
///
/// # Errors
/// [`RepositoryError`] when it cannot be read.
pub fn dockerfile_text(root: &Path, analysis: &Analysis) -> Result<String, RepositoryError> {
    match &analysis.generated {
        Some(generated) => Ok(generated.dockerfile.clone()),
        None => Tree::open(root)?.text(&analysis.dockerfile, MAX_DOCKERFILE_BYTES),
    }
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
    let mut text = if tree.is_file(&path) { tree.text(&path, MAX_IGNORE_BYTES)? } else { String::new() };
    if analysis.generated.is_some() {
        // A mistake in it is told with the line that it has there.
        Ignore::parse(&path, &text)?;
        // What is committed of it would take the place of what is installed. The lines of the repository's own come later.
        text = format!("{}{text}", INSTALLED.map(|it| format!("{it}\n")).concat());
    }
    Ok((path.clone(), Ignore::parse(&path, &text)?))
}

/// Directories that installers make.
const INSTALLED: [&str; 4] = ["**/node_modules", "**/.venv", "**/venv", "**/__pycache__"];

struct Walk {
    ignore: Ignore,
    rules: ContextRules,
    context: BuildContext,
    size_bytes: u64,
    /// Entries that were looked at.
    count: u64,
    /// Directories above the present one that are shut out; they come along when something in them does not.
    shut: Vec<ContextEntry>,
}

impl Walk {
    fn directory(&mut self, full: &Path, path: &str, above: &Matches, depth: usize) -> Result<(), RepositoryError> {
        let io = |source| RepositoryError::Io { path: path.to_owned(), source };
        if depth > MAX_DEPTH {
            return Err(RepositoryError::TooManyFiles { path: path.to_owned() });
        }
        let mut entries: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(full).map_err(io)? {
            self.count += 1;
            if self.count > MAX_ENTRIES {
                return Err(RepositoryError::TooManyFiles { path: path.to_owned() });
            }
            entries.push(entry.map_err(io)?.path());
        }
        entries.sort_unstable_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
        for entry in entries {
            let name = entry.file_name().unwrap_or_default();
            if name != GIT_FOLDER || (self.rules.with_git && depth == 0) {
                let path = join(path, &name.to_string_lossy());
                self.entry(&entry, &path, above, depth).map_err(|error| error.at(&path))?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, full: &Path, path: &str, above: &Matches, depth: usize) -> Result<(), EntryError> {
        let matches = self.ignore.matches(above, path);
        let is_excluded = self.ignore.excludes(&matches);
        let metadata = full.symlink_metadata()?;
        let modified_s = u64::try_from(metadata.mtime()).unwrap_or_default().max(EARLIEST_S);
        let kind = metadata.file_type();
        let entry = |kind| ContextEntry { path: path_of(full, path), kind, modified_s };
        if kind.is_dir() {
            let shut = self.shut.len();
            if !is_excluded {
                self.add(entry(EntryKind::Directory));
            } else if self.ignore.has_exceptions() {
                self.shut.push(entry(EntryKind::Directory));
            } else {
                return Ok(());
            }
            self.directory(full, path, &matches, depth + 1)?;
            self.shut.truncate(shut);
            return Ok(());
        }
        if is_excluded {
            return Ok(());
        }
        if kind.is_symlink() {
            self.add(entry(EntryKind::Link { target: fs::read_link(full)? }));
        } else if kind.is_file() {
            self.size_bytes += metadata.len();
            if self.size_bytes > self.rules.limit_bytes {
                return Err(RepositoryError::ContextTooBig { limit_bytes: self.rules.limit_bytes }.into());
            }
            let is_executable = metadata.mode() & 0o100 != 0;
            self.add(entry(EntryKind::File { source: full.to_owned(), size_bytes: metadata.len(), is_executable }));
        }
        Ok(())
    }

    fn add(&mut self, entry: ContextEntry) {
        self.context.entries.append(&mut self.shut);
        self.context.entries.push(entry);
    }
}

/// The path in the context, with the bytes of a name that is not UTF-8.
fn path_of(full: &Path, path: &str) -> PathBuf {
    Path::new(path).with_file_name(full.file_name().unwrap_or_default())
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
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::super::analysis::{GENERATED_NAME, analyse};
    use super::super::tests::{CHOICE, clone_of};
    use super::*;
    use crate::id::Port;
    use crate::store::build_options::BuildOptions;

    const RULES: ContextRules = ContextRules { limit_bytes: 1 << 20, with_git: false };

    fn analysed(root: &Path) -> Analysis {
        let options = BuildOptions::default();
        analyse(root, None, None, &options, Port::new(8080).unwrap(), CHOICE).unwrap()
    }

    fn context(root: &Path) -> BuildContext {
        build_context(root, &analysed(root), RULES).unwrap()
    }

    fn paths(root: &Path) -> Vec<String> {
        context(root).entries.iter().map(|entry| entry.path.display().to_string()).collect()
    }

    #[test]
    fn files_links_and_directories_are_told_apart() {
        let root =
            clone_of(&[("Dockerfile", "FROM a\n"), ("bin/run", "x"), (".git/HEAD", ""), ("sub/.git", "gitdir: x")]);
        fs::set_permissions(root.path().join("bin/run"), fs::Permissions::from_mode(0o711)).unwrap();
        symlink("/etc/passwd", root.path().join("link")).unwrap();

        let entries = context(root.path()).entries;

        let kind = |path: &str| &entries.iter().find(|entry| entry.path == Path::new(path)).unwrap().kind;
        assert!(matches!(kind("bin"), EntryKind::Directory));
        assert!(matches!(kind("bin/run"), EntryKind::File { is_executable: true, size_bytes: 1, .. }));
        assert!(matches!(kind("Dockerfile"), EntryKind::File { is_executable: false, .. }));
        assert!(matches!(kind("link"), EntryKind::Link { target } if target == Path::new("/etc/passwd")));
        assert_eq!(entries.len(), 5, "{entries:?}");
    }

    #[test]
    fn the_order_is_that_of_the_names_with_what_is_in_a_directory_behind_it() {
        let root = clone_of(&[("Dockerfile", "FROM a\n"), ("b", "1"), ("a/c", "2"), ("a-b", "3")]);

        assert_eq!(paths(root.path()), ["Dockerfile", "a", "a/c", "a-b", "b"]);
    }

    #[test]
    fn what_is_shut_out_no_build_sees_be_it_the_dockerfile() {
        let root = clone_of(&[
            (".dockerignore", "*\n!src\n!docs/a/b\n**/*.pyc\n"),
            ("Dockerfile", "FROM a\n"),
            ("README.md", ""),
            ("src/a.py", ""),
            ("src/a.pyc", ""),
            ("docs/a/b", ""),
            ("docs/c", ""),
            ("lib/b", ""),
        ]);

        assert_eq!(paths(root.path()), ["docs", "docs/a", "docs/a/b", "src", "src/a.py"]);
        assert_eq!(dockerfile_text(root.path(), &analysed(root.path())).unwrap(), "FROM a\n");
    }

    #[test]
    fn what_is_not_shut_out_is_there_be_it_the_ignore_file() {
        let root = clone_of(&[
            ("docker/Dockerfile", "FROM a\nCOPY x /\n"),
            ("docker/y", ""),
            ("x", ""),
            (".dockerignore", "docker/y\n"),
        ]);

        assert_eq!(paths(root.path()), [".dockerignore", "docker", "docker/Dockerfile", "x"]);
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
    fn a_made_dockerfile_has_a_name_of_its_own_and_is_no_part_of_the_context() {
        let root = clone_of(&[("index.html", "x"), (GENERATED_NAME, "not ours")]);
        let analysis = analysed(root.path());

        assert_eq!(paths(root.path()), [GENERATED_NAME, "index.html"]);
        assert_eq!(analysis.dockerfile_in_context, format!("{GENERATED_NAME}.2"));
        assert!(dockerfile_text(root.path(), &analysis).unwrap().starts_with("FROM nginx:stable\n"));
    }

    #[test]
    fn a_context_below_the_root_holds_only_what_is_there() {
        let root = clone_of(&[("web/Dockerfile", "FROM a\nCOPY x /\n"), ("web/x", ""), ("other", "")]);

        assert_eq!(paths(root.path()), ["Dockerfile", "x"]);
    }

    #[test]
    fn the_folder_of_git_is_there_when_it_is_wanted_and_not_shut_out() {
        let root = clone_of(&[("Dockerfile", "FROM a\n"), (".git/HEAD", "x"), ("sub/.git/HEAD", "")]);
        let with_git = |root: &Path| {
            let context = build_context(root, &analysed(root), ContextRules { with_git: true, ..RULES }).unwrap();
            context.entries.iter().map(|entry| entry.path.display().to_string()).collect::<Vec<_>>()
        };

        assert_eq!(with_git(root.path()), [".git", ".git/HEAD", "Dockerfile", "sub"]);
        fs::write(root.path().join(".dockerignore"), ".git\n.dockerignore\n").unwrap();
        assert_eq!(with_git(root.path()), ["Dockerfile", "sub"]);
    }

    #[test]
    fn a_directory_is_in_the_context_unless_it_lies_outside_or_is_ignored() {
        let files = [("web/Dockerfile", "FROM a\nCOPY x /\n"), ("web/x", ""), ("web/.dockerignore", "docs\n*/skip\n")];
        let root = clone_of(&files);
        let analysis = analysed(root.path());
        let is_in = |path: &str| is_in_context(root.path(), &analysis, path).unwrap();

        assert!(["web", "web/lib", "web/lib/docs"].iter().all(|path| is_in(path)));
        assert!(["lib", "webs", "web/docs", "web/docs/a", "web/a/skip"].iter().all(|path| !is_in(path)));
    }

    #[test]
    fn a_dockerfile_that_lies_outside_its_context_comes_along() {
        let root = clone_of(&[("docker/prod", "FROM a\nCOPY x /\n"), ("web/x", "")]);
        symlink("../docker/prod", root.path().join("web/Dockerfile")).unwrap();
        let analysis = analysed(root.path());

        assert_eq!(paths(root.path()), ["Dockerfile", "x"]);
        assert_eq!(dockerfile_text(root.path(), &analysis).unwrap(), "FROM a\nCOPY x /\n");
        assert_eq!(analysis.dockerfile_in_context, GENERATED_NAME);
    }

    #[test]
    fn a_context_that_is_too_large_is_refused() {
        let root = clone_of(&[("Dockerfile", "FROM a\n"), ("big", &"x".repeat(2 << 20))]);

        let error = build_context(root.path(), &analysed(root.path()), RULES).unwrap_err();

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
