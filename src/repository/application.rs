//! Applications that are recognised without a Dockerfile, and the Dockerfile that is made for one.

use serde::{Deserialize, Serialize};

/// How much of a source file is read to find a port or an entry.
pub(super) const MAX_SOURCE_BYTES: u64 = 64 * 1024;

/// What kind of application a Dockerfile was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApplicationKind {
    /// Files that nginx serves as they are.
    StaticSite,
    /// A `package.json` with something to start.
    Node,
    /// Python, with or without a web framework.
    Python,
    /// A `go.mod` with one program.
    Go,
    /// A `Cargo.toml` with a program.
    Rust,
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
}

/// A kind, its template, and the template's values.
pub(super) type Recognised = (ApplicationKind, &'static str, serde_json::Value);

/// Whether a text means itself in a shell and in a Dockerfile.
pub(super) fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':'))
}
