//! Why a clone cannot be built.

use crate::template::TemplateError;

/// Paths that an error lists.
const MAX_LISTED: usize = 20;

/// Says why a clone cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// More than one Dockerfile, and none in the root.
    #[error("there are several Dockerfiles: {}; send `dockerfile_path` with the one to build{}", listed(.paths), also(.seen))]
    SeveralDockerfiles {
        /// All that were found, sorted.
        paths: Vec<String>,
        /// What else tells which one is meant, in sentences.
        seen: Vec<String>,
    },
    /// The Dockerfile that the request names is not there.
    #[error("there is no Dockerfile `{path}` in the repository; {}", instead(.found))]
    NoSuchDockerfile {
        /// The path from the request.
        path: String,
        /// Those that are there.
        found: Vec<String>,
    },
    /// The directory that the request names is not there.
    #[error("there is no directory `{path}` in the repository; {}", instead(.found))]
    NoSuchDirectory {
        /// The path from the request.
        path: String,
        /// The directories that are there.
        found: Vec<String>,
    },
    /// The directory that the request names is a file.
    #[error("`{path}` is a file, not a directory; its directory is `{}`", if .parent.is_empty() { "." } else { .parent })]
    NotADirectory {
        /// The path from the request.
        path: String,
        /// The directory that it lies in; empty for the root.
        parent: String,
    },
    /// The Dockerfile cannot be read as one.
    #[error("{}`{path}` is wrong: {what}", on_line(*.line))]
    Syntax {
        /// Its path.
        path: String,
        /// The line, from 1; 0 when it is about the file as a whole.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// Several lines of the Dockerfile are wrong.
    #[error("`{path}` has several mistakes: {}", .mistakes.join("; "))]
    SeveralMistakes {
        /// Its path.
        path: String,
        /// Each with its line.
        mistakes: Vec<String>,
    },
    /// The Dockerfile has no such stage.
    #[error("`{path}` has no stage `{stage}`; it has {}", listed(.found))]
    NoSuchStage {
        /// Path of the Dockerfile.
        path: String,
        /// The stage from the request.
        stage: String,
        /// Those that are there, by name, else by number.
        found: Vec<String>,
    },
    /// A field of the request is about a Dockerfile, and there is none.
    #[error("`{field}` is for a Dockerfile in the repository, and there is none where the build begins")]
    NeedsDockerfile {
        /// The field.
        field: &'static str,
    },
    /// An ignore file cannot be read.
    #[error("{}`{path}` is no pattern: {what}", on_line(*.line))]
    IgnorePattern {
        /// Its path.
        path: String,
        /// The line, from 1; 0 when it is about the file as a whole.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// Neither a Dockerfile nor an application that is known.
    #[error("there is nothing to build{}: {}", in_directory(.directory), missing(.seen))]
    NothingToBuild {
        /// Where it was looked for; empty for the root.
        directory: String,
        /// What is there, and what it lacks, in sentences.
        seen: Vec<String>,
    },
    /// The clone has no files at all.
    #[error("the repository is empty; add a `Dockerfile` and the application to it")]
    Empty,
    /// A path is not a plain file inside the clone.
    #[error("`{path}` is not a file inside the repository")]
    NotAFile {
        /// The path.
        path: String,
    },
    /// A file is longer than anything of its kind should be.
    #[error("`{path}` is longer than {limit} bytes")]
    TooBig {
        /// The path.
        path: String,
        /// What is allowed, in bytes.
        limit: u64,
    },
    /// A file that must be text is not.
    #[error("`{path}` is not UTF-8 text")]
    NotText {
        /// The path.
        path: String,
    },
    /// The name of a file in the build context is not text: `BuildKit` takes names as text.
    #[error(
        "the name of the file `{path}` in the build context is not UTF-8; rename it, or shut it out in `.dockerignore`"
    )]
    OddName {
        /// Its path, with what is no text replaced.
        path: String,
    },
    /// The build context exceeds its limit.
    #[error(
        "the build context is larger than {limit_bytes} bytes; leave out what the build does not need in `.dockerignore`"
    )]
    ContextTooBig {
        /// What is allowed.
        limit_bytes: u64,
    },
    /// The build context has more entries than anything that is built by hand.
    #[error("the build context has too many files or too deep directories, at `{path}`")]
    TooManyFiles {
        /// Where the count ended.
        path: String,
    },
    /// The Dockerfile for a recognised application could not be written.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// Reading the clone or writing the context failed.
    #[error("`{path}` cannot be read or passed on")]
    Io {
        /// Where it happened.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// Paths as a sentence lists them.
pub(super) fn listed(paths: &[String]) -> String {
    let list = paths.iter().take(MAX_LISTED).map(|path| format!("`{path}`")).collect::<Vec<_>>().join(", ");
    match paths.len().saturating_sub(MAX_LISTED) {
        0 => list,
        more => format!("{list} and {more} more"),
    }
}

fn missing(seen: &[String]) -> String {
    if seen.is_empty() {
        return "no Dockerfile, and no application that is recognised without one; add a `Dockerfile` (or an `index.html`, a \
                `package.json` with a start script, an `app.py` with its `requirements.txt`, a `go.mod`, a `Cargo.toml`, a \
                `pom.xml` or a `build.gradle` with a program)"
            .to_owned();
    }
    let text = seen.join(". ");
    // A sentence of ours that goes on in this one.
    let text = text.strip_prefix("There ").map_or_else(|| text.clone(), |rest| format!("there {rest}"));
    format!("no Dockerfile, and {text}")
}

fn also(seen: &[String]) -> String {
    seen.iter().map(|it| format!(". {it}")).collect()
}

fn in_directory(directory: &str) -> String {
    if directory.is_empty() { String::new() } else { format!(" in `{directory}`") }
}

fn instead(found: &[String]) -> String {
    if found.is_empty() { "none was found elsewhere either".to_owned() } else { format!("found: {}", listed(found)) }
}

fn on_line(line: usize) -> String {
    if line == 0 { String::new() } else { format!("line {line} of ") }
}

/// What is wrong or unwise in a Dockerfile, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Remark {
    /// Counted from 1; 0 when it concerns the file as a whole.
    pub(super) line: usize,
    pub(super) what: String,
}

impl Remark {
    /// The same of this Dockerfile, for a person.
    pub(super) fn of(&self, path: &str) -> String {
        if self.line == 0 { self.what.clone() } else { located(path, self.line, &self.what) }
    }
}

/// What is said of a line of a Dockerfile, with the path of that in the repository.
#[must_use]
pub fn located(path: &str, line: usize, what: &str) -> String {
    let file = if path == "Dockerfile" { path.to_owned() } else { format!("`{path}`") };
    format!("{file}, line {line}: {what}")
}
