//! Secrets: sealed while they are at rest, and kept out of every text.
//!
//! A sealed text is `v1.<key id>.<base64>` of AES-256-GCM over a random nonce. The key id tells a wrong key from a damaged
//! text; the context (an operation's id and the name of the secret) is authenticated, so that a text cannot be moved.

pub mod error;
pub mod key_file;
pub mod private_key;
pub mod redactor;

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::config::Settings;
use crate::config::value::EncryptionKey;
pub use crate::secret::error::{KeyOrigin, SecretError};
pub use crate::secret::redactor::Redactor;

const VERSION: &str = "v1";

/// Seals and unseals secrets with the one key of this installation. Cheap to clone.
#[derive(Clone)]
pub struct Sealer(Arc<Inner>);

struct Inner {
    key: RandomizedNonceKey,
    mac_key: hmac::Key,
    key_id: String,
    origin: KeyOrigin,
}

impl Sealer {
    /// Takes the key from the settings, else from the key file in the workspace, which is made when it is not there.
    ///
    /// # Errors
    /// [`SecretError`] when the key file cannot be made or read, can be read by others, or holds something else.
    pub fn open(settings: &Settings) -> Result<Self, SecretError> {
        if let Some(key) = &settings.secret.encryption_key {
            return Ok(Self::new(key, KeyOrigin::Setting));
        }
        let (key, path) = key_file::encryption_key(&settings.store.workspace)?;
        Ok(Self::new(&key, KeyOrigin::File(path)))
    }

    fn new(key: &EncryptionKey, origin: KeyOrigin) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"on-demand-infra key id\0");
        hash.update(key.expose());
        let key_id = URL_SAFE_NO_PAD.encode(&hash.finalize()[..6]);
        let mut hash = Sha256::new();
        hash.update(b"on-demand-infra tag key\0");
        hash.update(key.expose());
        let mac_key = hmac::Key::new(hmac::HMAC_SHA256, &hash.finalize());
        let key = RandomizedNonceKey::new(&AES_256_GCM, key.expose()).expect("a key of 32 bytes fits AES-256");
        Self(Arc::new(Inner { key, mac_key, key_id, origin }))
    }

    /// Where the key came from.
    #[must_use]
    pub fn origin(&self) -> &KeyOrigin {
        &self.0.origin
    }

    /// A tag of a text that only this installation can make.
    #[must_use]
    pub fn mac(&self, text: &str) -> Vec<u8> {
        hmac::sign(&self.0.mac_key, text.as_bytes()).as_ref().to_vec()
    }

    /// Seals a secret for one context, such as an operation's id and the secret's name.
    ///
    /// # Errors
    /// [`SecretError::NoRandomness`] when the system gives no random bytes for the nonce.
    pub fn seal(&self, context: &str, secret: &SecretString) -> Result<String, SecretError> {
        let mut sealed = secret.expose_secret().as_bytes().to_vec();
        let nonce = self
            .0
            .key
            .seal_in_place_append_tag(Aad::from(context.as_bytes()), &mut sealed)
            .map_err(|_| SecretError::NoRandomness)?;
        let mut bytes = nonce.as_ref().to_vec();
        bytes.append(&mut sealed);
        Ok(format!("{VERSION}.{}.{}", self.0.key_id, URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Gives back a secret that was sealed for the same context.
    ///
    /// # Errors
    /// [`SecretError::WrongKey`] when another key sealed it, [`SecretError::Damaged`] when it is not what was sealed.
    pub fn unseal(&self, context: &str, sealed: &str) -> Result<SecretString, SecretError> {
        let (key_id, bytes) = sealed
            .strip_prefix(VERSION)
            .and_then(|rest| rest.strip_prefix('.'))
            .and_then(|rest| rest.split_once('.'))
            .ok_or(SecretError::Damaged)?;
        if key_id != self.0.key_id {
            return Err(SecretError::WrongKey(self.0.origin.clone()));
        }
        let bytes = URL_SAFE_NO_PAD.decode(bytes).map_err(|_| SecretError::Damaged)?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>().ok_or(SecretError::Damaged)?;
        let mut sealed = sealed.to_vec();
        let plain = self
            .0
            .key
            .open_in_place(Nonce::from(nonce), Aad::from(context.as_bytes()), &mut sealed)
            .map_err(|_| SecretError::Damaged)?;
        let text = std::str::from_utf8(plain).map_err(|_| SecretError::Damaged)?;
        Ok(SecretString::from(text))
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("origin", &self.0.origin).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealer(byte: u8) -> Sealer {
        Sealer::new(&EncryptionKey::new([byte; 32]), KeyOrigin::Setting)
    }

    #[test]
    fn a_sealed_secret_comes_back_and_is_never_sealed_to_the_same_text_twice() {
        let secret = SecretString::from("hunter2");

        let first = sealer(1).seal("op_1/git_token", &secret).unwrap();
        let second = sealer(1).seal("op_1/git_token", &secret).unwrap();

        assert_ne!(first, second);
        assert_eq!(sealer(1).unseal("op_1/git_token", &first).unwrap().expose_secret(), "hunter2");
    }

    #[test]
    fn a_wrong_key_is_told_from_a_damaged_text_and_from_another_context() {
        let sealed = sealer(1).seal("op_1/git_token", &SecretString::from("hunter2")).unwrap();

        let wrong_key = sealer(2).unseal("op_1/git_token", &sealed).unwrap_err();
        let elsewhere = sealer(1).unseal("op_2/git_token", &sealed).unwrap_err();
        let cut = sealer(1).unseal("op_1/git_token", &sealed[..sealed.len() - 3]).unwrap_err();

        assert!(wrong_key.to_string().contains("`ENCRYPTION_KEY`"), "{wrong_key}");
        assert!(matches!(elsewhere, SecretError::Damaged) && matches!(cut, SecretError::Damaged));
    }

    #[test]
    fn the_key_file_is_made_once_and_used_again() {
        let directory = tempfile::tempdir().unwrap();
        let (settings, _) = Settings::load(&crate::config::Sources::of(directory.path(), [])).unwrap();

        let sealed = Sealer::open(&settings).unwrap().seal("a", &SecretString::from("hunter2")).unwrap();

        assert_eq!(Sealer::open(&settings).unwrap().unseal("a", &sealed).unwrap().expose_secret(), "hunter2");
    }

    proptest! {
        #[test]
        fn any_secret_comes_back_from_any_context(context in any::<String>(), secret in any::<String>()) {
            let sealed = sealer(1).seal(&context, &SecretString::from(secret.as_str())).unwrap();

            let unsealed = sealer(1).unseal(&context, &sealed).unwrap();
            prop_assert_eq!(unsealed.expose_secret(), secret.as_str());
        }

        #[test]
        fn no_text_makes_unseal_panic(text in any::<String>()) {
            let with_key_id = format!("v1.{}.{text}", sealer(1).0.key_id);

            prop_assert!(sealer(1).unseal("a", &text).is_err());
            prop_assert!(sealer(1).unseal("a", &with_key_id).is_err());
        }
    }
}
