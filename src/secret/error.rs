//! Why secrets cannot be sealed, unsealed or kept.

use std::fmt;
use std::path::PathBuf;

/// Where the key came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyOrigin {
    /// The setting `ENCRYPTION_KEY`.
    Setting,
    /// A file in the workspace.
    File(PathBuf),
}

/// Why a secret cannot be sealed, unsealed or kept.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The text was sealed with a key that is not the one in use.
    #[error("this secret was sealed with another key; put back the earlier {0}, or send the request again")]
    WrongKey(KeyOrigin),
    /// The text is damaged, or was sealed for another context.
    #[error("this sealed secret is damaged; send the request again")]
    Damaged,
    /// A key file can be read by others than its owner.
    #[error(
        "`{path}` can be read by others (mode {mode:o}); run `chmod 600` on it, and replace the key if others may have seen it"
    )]
    Exposed {
        /// The file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// A key file holds something else.
    #[error("`{0}` does not hold a key; restore it, or remove it to have a new one made")]
    NotAKey(String),
    /// A key file cannot be read or made.
    #[error("cannot read or make the key file `{path}`; check that the workspace can be written to")]
    File {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The system gave no random bytes.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

impl fmt::Display for KeyOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting => f.write_str("`ENCRYPTION_KEY`"),
            Self::File(path) => write!(f, "key file `{}`", path.display()),
        }
    }
}
