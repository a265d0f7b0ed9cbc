//! A directory of a repository, as a path that cannot lead out of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::IdError;

/// The directory of a repository in which its build begins: a relative path, or `.` for the root.
///
/// Two spellings of one directory (`./app/` and `app`) are one value: it tells deployments apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SourceDirectory(String);

impl SourceDirectory {
    /// The rule that every value keeps, as the end of the sentence "this is not ...".
    pub const RULE: &'static str = "a directory inside the repository (a relative path such as `services/api`, `.` for the root; no `..`, no `/` or `-` in front, at most 255 characters)";

    /// Accepts a relative path.
    ///
    /// # Errors
    /// [`IdError`] with the rule when the text breaks it.
    pub fn parse(text: impl Into<String>) -> Result<Self, IdError> {
        let text = text.into();
        let parts: Vec<&str> = text.strip_suffix('/').unwrap_or(&text).split('/').collect();
        let fits = text.len() <= 255
            && !text.starts_with(['/', '-'])
            && !text.contains(|c: char| c == '\\' || c.is_control())
            && parts.iter().all(|part| !matches!(*part, "" | ".." | ".git"));
        if !fits {
            return Err(IdError::new(&text, Self::RULE));
        }
        let named: Vec<&str> = parts.into_iter().filter(|part| *part != ".").collect();
        // What stands behind a `./` may look like an option, too.
        if named.first().is_some_and(|part| part.starts_with('-')) {
            return Err(IdError::new(&text, Self::RULE));
        }
        Ok(Self(if named.is_empty() { ".".to_owned() } else { named.join("/") }))
    }

    /// The path, `.` for the root.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the root of the repository.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0 == "."
    }

    /// The directory below the root, if it is not the root itself.
    #[must_use]
    pub fn below_root(self) -> Option<Self> {
        (!self.is_root()).then_some(self)
    }
}

impl fmt::Display for SourceDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for SourceDirectory {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        Self::parse(text)
    }
}

impl From<SourceDirectory> for String {
    fn from(directory: SourceDirectory) -> String {
        directory.0
    }
}
