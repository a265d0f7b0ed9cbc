//! Applications that are recognised without a Dockerfile, and the Dockerfile that is made for one.

use serde::{Deserialize, Serialize};

use super::readme::mentioned_port;
use super::tree::Tree;
use crate::id::Port;

/// How much of a source file is read to find a port or an entry.
pub(super) const MAX_SOURCE_BYTES: u64 = 64 * 1024;
/// How much of a manifest or a lock file is read.
pub(super) const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// What kind of application a Dockerfile was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApplicationKind {
    /// Files that nginx serves as they are, or as a build leaves them.
    StaticSite,
    /// A `package.json` with something to start.
    Node,
    /// Python, with or without a web framework.
    Python,
    /// A Go program.
    Go,
    /// A `Cargo.toml` with a program.
    Rust,
    /// Java or another language of its virtual machine, built by Maven or Gradle.
    Java,
}

impl ApplicationKind {
    /// The kind as a person says it, with its article.
    #[must_use]
    pub fn described(self) -> &'static str {
        match self {
            Self::StaticSite => "a static site",
            Self::Node => "a Node application",
            Self::Python => "a Python application",
            Self::Go => "a Go application",
            Self::Rust => "a Rust application",
            Self::Java => "a Java application",
        }
    }
}

/// A Dockerfile that was made because the clone has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generated {
    /// What the clone was taken for.
    pub kind: ApplicationKind,
    /// The text of the Dockerfile.
    pub dockerfile: String,
    /// What was chosen and from where, as parts of a sentence: ``Python 3.11 (`.python-version`)``.
    #[serde(default)]
    pub choices: Vec<String>,
}

/// What the look for one language ends with.
pub(super) enum Look {
    /// Nothing of it is there.
    Absent,
    /// It is there, and cannot be run: a sentence that says what was seen and what is missing.
    Lacking(String),
    /// It is there and can be run.
    Found(Recognised),
}

/// A kind, its template with values, and what was decided on the way.
pub(super) struct Recognised {
    pub(super) kind: ApplicationKind,
    pub(super) template: &'static str,
    pub(super) values: serde_json::Value,
    /// As [`Generated::choices`].
    pub(super) choices: Vec<String>,
    /// Sentences for the person.
    pub(super) warnings: Vec<String>,
}

/// A value, and the file that says so; what is usual is said by none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sourced<T> {
    pub(super) value: T,
    pub(super) from: Option<String>,
}

impl<T> Sourced<T> {
    pub(super) fn of(value: T, from: impl Into<String>) -> Self {
        Self { value, from: Some(from.into()) }
    }

    pub(super) fn usual(value: T) -> Self {
        Self { value, from: None }
    }

    /// Says it: `what`, and where it is from.
    pub(super) fn say(&self, what: &str) -> String {
        match &self.from {
            Some(from) => format!("{what} (`{from}`)"),
            None => what.to_owned(),
        }
    }
}

/// The port that one of the texts mentions, each with where it is from; else the one of the README, else the usual one.
pub(super) fn served_port(texts: &[(&str, Option<String>)], readme: Option<Port>, usual: Port) -> Sourced<Port> {
    let mentioned = texts.iter().find_map(|(from, text)| Some(Sourced::of(mentioned_port(text.as_ref()?)?, *from)));
    mentioned.or(readme.map(|port| Sourced::of(port, "README"))).unwrap_or(Sourced::usual(usual))
}

/// Says a port as a choice.
pub(super) fn said_port(port: &Sourced<Port>) -> String {
    port.say(&format!("port {}", port.value))
}

/// Whether a text means itself in a shell and in a Dockerfile.
pub(super) fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':'))
}

/// The first line of a small file, without comments and spaces around it.
pub(super) fn first_line(tree: &Tree, path: &str) -> Option<String> {
    let text = tree.read_prefix(path, MAX_SOURCE_BYTES)?;
    let line = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()).find(|line| !line.is_empty());
    line.map(str::to_owned)
}

/// The version of a language that `.tool-versions` (asdf, mise) names.
pub(super) fn tool_version(tree: &Tree, names: &[&str]) -> Option<String> {
    let text = tree.read_prefix(".tool-versions", MAX_SOURCE_BYTES)?;
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let is_it = words.next().is_some_and(|name| names.contains(&name));
        is_it.then(|| words.next().map(str::to_owned)).flatten()
    })
}

/// A command in words, as it stands in an exec form.
pub(super) fn words(command: &str) -> Vec<String> {
    command.split_whitespace().map(str::to_owned).collect()
}

/// A command that a person wrote for a shell; a single one takes the shell's place, so that it gets the signals.
pub(super) fn shell(command: &str) -> Vec<String> {
    let has_assignment = command.split_whitespace().next().is_some_and(|word| word.contains('='));
    let is_single = !command.contains(['&', ';', '|', '\n']) && !command.starts_with("exec ");
    let command = match (is_single, has_assignment) {
        (true, false) => format!("exec {command}"),
        (true, true) => format!("exec env {command}"),
        (false, _) => command.to_owned(),
    };
    vec!["sh".to_owned(), "-c".to_owned(), command]
}

/// A command as a person would type it.
pub(super) fn said_command(command: &[String]) -> String {
    let text = match command {
        [sh, c, text] if sh == "sh" && c == "-c" => text.strip_prefix("exec ").unwrap_or(text).to_owned(),
        words => words.join(" "),
    };
    format!("`{}`", text.replace('`', "'"))
}
