//! The private keys of EC2 key pairs: where they lie, and whether they can be used.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::id::KeyPairName;
use crate::secret::key_file::exposed_mode;

/// Says why the private key of a key pair cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PrivateKeyError {
    /// The setting is not there.
    #[error("`EC2_PRIVATE_KEY_BASE_PATH` is not set; set it to the directory with the private key of `{0}`")]
    NoDirectory(KeyPairName),
    /// There is no such file.
    #[error("there is neither `{name}.pem` nor `{name}` in `{directory}` (`EC2_PRIVATE_KEY_BASE_PATH`)")]
    Missing {
        /// The key pair.
        name: KeyPairName,
        /// Where it was looked for.
        directory: String,
    },
    /// Others than its owner can read it: ssh refuses it.
    #[error("the private key `{path}` can be read by others (mode {mode:o}); run `chmod 600` on it")]
    Exposed {
        /// The file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// It cannot be read.
    #[error("the private key `{path}` cannot be read ({source}); it must belong to the user that the server runs as")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// The file with the private key of a key pair: `<name>.pem` or `<name>` in the directory, for its owner alone.
///
/// # Errors
/// [`PrivateKeyError`] says what is wrong and what to do.
pub fn private_key(directory: Option<&Path>, name: &KeyPairName) -> Result<PathBuf, PrivateKeyError> {
    let directory = directory.ok_or_else(|| PrivateKeyError::NoDirectory(name.clone()))?;
    let candidates = [directory.join(format!("{name}.pem")), directory.join(name.as_str())];
    let path = candidates
        .into_iter()
        .find(|path| path.exists())
        .ok_or_else(|| PrivateKeyError::Missing { name: name.clone(), directory: directory.display().to_string() })?;
    let shown = path.display().to_string();
    let unreadable = |source| PrivateKeyError::Unreadable { path: shown.clone(), source };
    if let Some(mode) = exposed_mode(&fs::metadata(&path).map_err(unreadable)?) {
        return Err(PrivateKeyError::Exposed { path: shown, mode });
    }
    File::open(&path).map_err(unreadable)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn name() -> KeyPairName {
        KeyPairName::parse("my-key").unwrap()
    }

    fn put(directory: &Path, file: &str, mode: u32) {
        fs::write(directory.join(file), "key").unwrap();
        fs::set_permissions(directory.join(file), fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_key_is_found_with_and_without_its_ending() {
        let directory = tempfile::tempdir().unwrap();
        put(directory.path(), "my-key", 0o400);

        let plain = private_key(Some(directory.path()), &name()).unwrap();
        put(directory.path(), "my-key.pem", 0o600);
        let pem = private_key(Some(directory.path()), &name()).unwrap();

        assert!(plain.ends_with("my-key") && pem.ends_with("my-key.pem"));
    }

    #[test]
    fn what_is_wrong_is_said_with_what_to_do() {
        let directory = tempfile::tempdir().unwrap();

        let missing = private_key(Some(directory.path()), &name()).unwrap_err().to_string();
        put(directory.path(), "my-key.pem", 0o644);
        let exposed = private_key(Some(directory.path()), &name()).unwrap_err().to_string();
        let unset = private_key(None, &name()).unwrap_err().to_string();

        assert!(missing.contains("neither `my-key.pem` nor `my-key`"), "{missing}");
        assert!(exposed.contains("(mode 644)") && exposed.contains("chmod 600"), "{exposed}");
        assert!(unset.contains("`EC2_PRIVATE_KEY_BASE_PATH`"), "{unset}");
    }
}
