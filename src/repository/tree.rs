//! A clone on disk, looked at with care: nothing outside it, nothing in `.git`, nothing but directories and plain files.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::error::RepositoryError;

/// Directories that a search opens at most.
const MAX_DIRECTORIES: usize = 2_000;
/// Files that a search finds at most.
const MAX_FILES: usize = 20_000;
/// Directories below the one that is looked at in which Dockerfiles are looked for.
const DOCKERFILE_DEPTH: usize = 4;
/// Entries of one directory that a search looks at.
const MAX_ENTRIES: usize = 5_000;

/// The root of a clone. All paths are relative to it, with `/`; the root itself is the empty path.
pub(super) struct Tree {
    root: PathBuf,
}

impl Tree {
    /// Looks at a directory.
    pub(super) fn open(root: &Path) -> Result<Self, RepositoryError> {
        let root = root.canonicalize().map_err(|source| RepositoryError::Io { path: ".".to_owned(), source })?;
        Ok(Self { root })
    }

    /// The path on disk, with links followed as long as they stay inside; `None` when it leads out or to nothing.
    fn inside(&self, path: &str) -> Option<PathBuf> {
        let full = self.root.join(path).canonicalize().ok()?;
        let below = full.strip_prefix(&self.root).ok()?;
        let is_git = below.components().any(|part| part.as_os_str() == ".git");
        (!is_git).then_some(full)
    }

    /// The path of a plain file with its links followed, if it is one.
    pub(super) fn file(&self, path: &str) -> Option<String> {
        let full = self.inside(path).filter(|full| full.is_file())?;
        Some(full.strip_prefix(&self.root).ok()?.to_str()?.to_owned())
    }

    pub(super) fn is_file(&self, path: &str) -> bool {
        self.file(path).is_some()
    }

    /// Whether there is a file or directory (links that lead out do not count).
    pub(super) fn exists(&self, path: &str) -> bool {
        self.inside(path).is_some()
    }

    /// Whether there is a directory.
    pub(super) fn is_directory(&self, path: &str) -> bool {
        self.inside(path).is_some_and(|full| full.is_dir())
    }

    /// A directory as a tree of its own, which links do not lead out of either.
    pub(super) fn below(&self, directory: &str) -> Option<Self> {
        self.inside(directory).map(|root| Self { root })
    }

    /// The text of a file.
    ///
    /// # Errors
    /// [`RepositoryError`] when it is no plain file inside the clone, longer than the limit, or not UTF-8.
    pub(super) fn text(&self, path: &str, limit: u64) -> Result<String, RepositoryError> {
        let io = |source| RepositoryError::Io { path: path.to_owned(), source };
        let full = self
            .inside(path)
            .filter(|full| full.is_file())
            .ok_or_else(|| RepositoryError::NotAFile { path: path.to_owned() })?;
        let mut bytes = Vec::new();
        fs::File::open(full).map_err(io)?.take(limit + 1).read_to_end(&mut bytes).map_err(io)?;
        if bytes.len() as u64 > limit {
            return Err(RepositoryError::TooBig { path: path.to_owned(), limit });
        }
        String::from_utf8(bytes).map_err(|_| RepositoryError::NotText { path: path.to_owned() })
    }

    /// The text of a file that need not be there: at most `limit` bytes of it, with odd bytes replaced.
    pub(super) fn read_prefix(&self, path: &str, limit: u64) -> Option<String> {
        let full = self.inside(path).filter(|full| full.is_file())?;
        let mut bytes = Vec::new();
        fs::File::open(full).ok()?.take(limit).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Names in a directory, sorted; a name that is not UTF-8 is left out.
    pub(super) fn names(&self, directory: &str) -> Vec<String> {
        let Some(entries) = self.inside(directory).and_then(|full| fs::read_dir(full).ok()) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.take(MAX_ENTRIES).filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort_unstable();
        names
    }

    /// Directories in a directory that may hold an application's sources, sorted, without links.
    pub(super) fn directories(&self, directory: &str) -> Vec<String> {
        let paths = self.names(directory).into_iter().filter(|name| is_own(name)).map(|name| join(directory, &name));
        paths.filter(|path| self.root.join(path).symlink_metadata().is_ok_and(|it| it.is_dir())).collect()
    }

    /// Files below a directory and in at most `depth` directories below that, those that are nearer first. A link to a
    /// directory is not followed.
    pub(super) fn files(&self, base: &str, depth: usize) -> Vec<String> {
        let (mut level, mut files, mut opened) = (vec![base.to_owned()], Vec::new(), 0);
        for _ in 0..=depth {
            let mut below = Vec::new();
            for directory in level {
                opened += 1;
                let entries = self.inside(&directory).and_then(|full| fs::read_dir(full).ok());
                let Some(entries) = entries.filter(|_| opened <= MAX_DIRECTORIES && files.len() < MAX_FILES) else {
                    continue;
                };
                let mut named: Vec<(String, fs::FileType)> = entries
                    .take(MAX_ENTRIES)
                    .filter_map(|entry| {
                        let entry = entry.ok()?;
                        Some((entry.file_name().into_string().ok()?, entry.file_type().ok()?))
                    })
                    .collect();
                named.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
                for (name, kind) in named {
                    let path = join(&directory, &name);
                    if kind.is_dir() && is_own(&name) {
                        below.push(path);
                    } else if kind.is_file() || (kind.is_symlink() && self.is_file(&path)) {
                        files.push(path);
                    }
                }
            }
            level = below;
        }
        files
    }

    /// Dockerfiles under their usual names below a directory, without those in it.
    pub(super) fn nested_dockerfiles(&self, base: &str) -> Vec<String> {
        let files = self.files(base, DOCKERFILE_DEPTH).into_iter().filter(|path| parent(path) != base);
        let mut found: Vec<String> =
            files.filter(|path| DOCKERFILE_NAMES.contains(&path.rsplit('/').next().unwrap_or_default())).collect();
        found.sort_unstable();
        found
    }

    /// Dockerfiles in and below a directory under names such as `Dockerfile.production`.
    pub(super) fn dockerfile_variants(&self, base: &str) -> Vec<String> {
        let is_variant = |path: &String| match path.rsplit('/').next().unwrap_or_default().split_once('.') {
            Some(("Dockerfile", end)) => {
                !["dockerignore", "md", "j2", "tmpl", "template", "bak", "orig"].iter().any(|it| end.ends_with(it))
            }
            Some((_, end)) => end.eq_ignore_ascii_case("dockerfile"),
            None => false,
        };
        self.files(base, DOCKERFILE_DEPTH).into_iter().filter(is_variant).collect()
    }

    /// The Dockerfile of a directory, under one of its usual names.
    pub(super) fn dockerfile_in(&self, directory: &str) -> Option<String> {
        DOCKERFILE_NAMES.iter().map(|name| join(directory, name)).find(|it| self.is_file(it))
    }
}

/// Names of a Dockerfile that is meant when none is named.
const DOCKERFILE_NAMES: [&str; 3] = ["Dockerfile", "dockerfile", "Containerfile"];

/// Whether a directory of that name holds sources of the repository's own.
fn is_own(name: &str) -> bool {
    let is_foreign = matches!(name, "node_modules" | "vendor" | "venv" | "__pycache__" | "target" | "site-packages");
    !name.starts_with('.') && !is_foreign
}

/// Whether a directory accompanies an application, or lies in one that does: what is in there never wins over the rest.
pub(super) fn is_secondary(directory: &str) -> bool {
    directory.split('/').any(|part| {
        let part = part.to_ascii_lowercase();
        ["test", "example", "sample", "fixture", "bench"].iter().any(|it| part.starts_with(it))
            || matches!(part.as_str(), "docs" | "doc" | "documentation" | "e2e" | "spec" | "__tests__" | "__mocks__")
    })
}

/// Whether a name ends with a dot and this.
pub(super) fn has_extension(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|it| it == extension)
}

/// Joins two relative paths; the empty one is the root.
pub(super) fn join(directory: &str, name: &str) -> String {
    match (directory, name) {
        ("", path) | (path, "") => path.to_owned(),
        (directory, name) => format!("{directory}/{name}"),
    }
}

/// The directory of a relative path; empty for one in the root.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}
