//! Why settings cannot be used.

use std::fmt;

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A settings file is there and cannot be read.
    #[error("cannot read `{file}`")]
    Unreadable {
        /// The file's name.
        file: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A settings file breaks the rules of its format. The line itself is not shown, it may hold a secret.
    #[error("`{file}`, line {line}: {message}")]
    Malformed {
        /// The file's name.
        file: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// Values that are not allowed: all of them, in the order of the catalog.
    #[error("{}", wrong_list(.0))]
    Invalid(Vec<InvalidSetting>),
}

/// One value that is not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidSetting {
    /// Name of the setting.
    pub name: String,
    /// The value, cut to a length that fits a message; `None` when it is a secret or there is nothing to show.
    pub value: Option<String>,
    /// `.env`, `on-demand-infra.toml`, `the environment`.
    pub source: String,
    /// What is allowed, as the end of the sentence "it must be ...".
    pub allowed: String,
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "`{}` is `{value}` in {}; it must be {}", self.name, self.source, self.allowed),
            None => write!(f, "`{}` in {} must be {}", self.name, self.source, self.allowed),
        }
    }
}

/// One sentence for one wrong value, a list for several.
fn wrong_list(wrong: &[InvalidSetting]) -> String {
    match wrong {
        [one] => one.to_string(),
        several => {
            let lines: Vec<String> = several.iter().map(ToString::to_string).collect();
            format!("{} settings are wrong:\n  {}", several.len(), lines.join("\n  "))
        }
    }
}
