//! Keys that are made at the first start and kept in the workspace, in files that only their owner can read.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};

use crate::config::Settings;
use crate::config::value::EncryptionKey;
use crate::secret::error::SecretError;

/// Name of the file with the key that seals secrets.
pub const ENCRYPTION_KEY_FILE: &str = "encryption.key";
/// Name of the file with the key that callers send.
pub const API_KEY_FILE: &str = "api.key";

/// The keys that callers may send.
#[derive(Debug, Clone)]
pub struct ApiKeys {
    /// Empty when no key is asked for.
    pub keys: Vec<SecretString>,
    /// The file with the key, when it was not set but made.
    pub file: Option<PathBuf>,
}

/// The keys that callers may send: those of `API_KEYS`, none on a loopback address, else the one in the workspace,
/// which is made when it is not there.
///
/// # Errors
/// [`SecretError`] when the key file cannot be made or read, can be read by others, or holds something else.
pub fn api_keys(settings: &Settings) -> Result<ApiKeys, SecretError> {
    let keys = &settings.server.api_keys;
    if !keys.is_empty() || settings.server.host.is_loopback() {
        return Ok(ApiKeys { keys: keys.clone(), file: None });
    }
    let path = settings.store.workspace.join(API_KEY_FILE);
    let text = read_or_make(&path, || Ok(format!("odi-{}", URL_SAFE_NO_PAD.encode(random()?))))?;
    let fits = text.expose_secret().len() >= 16 && text.expose_secret().chars().all(|c| c.is_ascii_graphic());
    if fits {
        Ok(ApiKeys { keys: vec![text], file: Some(path) })
    } else {
        Err(SecretError::NotAKey(path.display().to_string()))
    }
}

/// The key that a server of these settings has made for itself, if it has.
///
/// # Errors
/// [`SecretError`] when the key file cannot be read, or can be read by others.
pub fn made_api_key(settings: &Settings) -> Result<Option<SecretString>, SecretError> {
    if settings.server.host.is_loopback() { Ok(None) } else { read(&settings.store.workspace.join(API_KEY_FILE)) }
}

pub(super) fn encryption_key(workspace: &Path) -> Result<(EncryptionKey, PathBuf), SecretError> {
    let path = workspace.join(ENCRYPTION_KEY_FILE);
    let text = read_or_make(&path, || Ok(STANDARD.encode(random()?)))?;
    let key = EncryptionKey::parse(text.expose_secret());
    key.map(|key| (key, path.clone())).ok_or_else(|| SecretError::NotAKey(path.display().to_string()))
}

/// The permission bits of a file that others than its owner can use, else `None`.
#[must_use]
pub fn exposed_mode(metadata: &fs::Metadata) -> Option<u32> {
    let mode = metadata.mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

fn random() -> Result<[u8; 32], SecretError> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| SecretError::NoRandomness)?;
    Ok(bytes)
}

fn read_or_make(path: &Path, make: impl FnOnce() -> Result<String, SecretError>) -> Result<SecretString, SecretError> {
    let failed = |source| SecretError::File { path: path.display().to_string(), source };
    if let Some(text) = read(path)? {
        return Ok(text);
    }
    write_new(path, &make()?).map_err(failed)?;
    read(path)?.ok_or_else(|| failed(io::Error::from(io::ErrorKind::NotFound)))
}

fn read(path: &Path) -> Result<Option<SecretString>, SecretError> {
    let failed = |source| SecretError::File { path: path.display().to_string(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if let Some(mode) = exposed_mode(&file.metadata().map_err(failed)?) {
        return Err(SecretError::Exposed { path: path.display().to_string(), mode });
    }
    let mut text = String::new();
    file.take(4096).read_to_string(&mut text).map_err(failed)?;
    Ok(Some(SecretString::from(text.trim())))
}

/// Writes to a file of its own first, so that a crash leaves no half key. Who comes second keeps the first one's key.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    writeln!(file, "{text}")?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => File::open(directory)?.sync_all(),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::config::Sources;

    fn settings(directory: &Path, host: &str) -> Settings {
        Settings::load(&Sources::of(directory, [("HOST", host)])).unwrap().0
    }

    #[test]
    fn a_key_file_is_made_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();

        let (_, path) = encryption_key(&directory.path().join("new/workspace")).unwrap();

        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_key_file_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (_, path) = encryption_key(directory.path()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();

        let error = encryption_key(directory.path()).unwrap_err();

        assert!(error.to_string().contains("encryption.key` can be read by others (mode 640)"), "{error}");
    }

    #[test]
    fn a_file_that_holds_no_key_is_refused_and_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        write_new(&directory.path().join(ENCRYPTION_KEY_FILE), "precious").unwrap();

        let error = encryption_key(directory.path()).unwrap_err();

        assert!(matches!(error, SecretError::NotAKey(_)));
        assert_eq!(fs::read_to_string(directory.path().join(ENCRYPTION_KEY_FILE)).unwrap(), "precious\n");
    }

    #[test]
    fn starts_at_the_same_moment_agree_on_one_key() {
        let directory = tempfile::tempdir().unwrap();

        let keys: Vec<[u8; 32]> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| *encryption_key(directory.path()).unwrap().0.expose())).collect();
            threads.into_iter().map(|it| it.join().unwrap()).collect()
        });

        assert!(keys.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn a_key_for_callers_is_made_on_an_open_address_only() {
        let directory = tempfile::tempdir().unwrap();

        let closed = api_keys(&settings(directory.path(), "127.0.0.1")).unwrap();
        let open = api_keys(&settings(directory.path(), "0.0.0.0")).unwrap();
        let again = api_keys(&settings(directory.path(), "0.0.0.0")).unwrap();

        assert!(closed.keys.is_empty() && closed.file.is_none());
        assert!(open.keys[0].expose_secret().starts_with("odi-") && open.file.is_some());
        assert_eq!(open.keys[0].expose_secret(), again.keys[0].expose_secret());
    }
}
