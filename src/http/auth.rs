//! Bearer key -> Caller. Without keys the server is open to its own machine, and to nobody else.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRef, FromRequestParts};
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use crate::config::Settings;
use crate::http::error::ApiError;
use crate::id::short_hash;

/// Who asks: a holder of a key, or (on a server without keys) an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// `key:` and the first digits of the key's hash, or `address:` and the address.
    pub principal: String,
}

/// The keys that open the door, as hashes.
#[derive(Clone)]
pub struct Authenticator {
    hashes: Arc<[[u8; 32]]>,
    allows_anonymous: bool,
}

impl Authenticator {
    /// The keys of the settings. A server that listens beyond its own machine and has none lets nobody in.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let hashes: Arc<[_]> = settings.server.api_keys.iter().map(|key| hash(key.expose_secret())).collect();
        let allows_anonymous = hashes.is_empty() && settings.server.host.is_loopback();
        Self { hashes, allows_anonymous }
    }

    /// Finds out who asks.
    ///
    /// # Errors
    /// [`ApiError`] when it is nobody we know.
    pub fn identify(&self, headers: &HeaderMap, extensions: &Extensions) -> Result<Caller, ApiError> {
        if self.allows_anonymous {
            let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
            return if is_this_machine(host) {
                Ok(Caller { principal: address(extensions) })
            } else {
                Err(ApiError::HostNotAllowed(host.chars().take(80).collect()))
            };
        }
        let Some(header) = headers.get(AUTHORIZATION) else {
            return Err(ApiError::InvalidApiKey("an API key is needed: send it as `Authorization: Bearer <key>`"));
        };
        header
            .to_str()
            .ok()
            .and_then(|text| text.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .and_then(|(_, key)| self.verify(key.trim()))
            .ok_or(ApiError::InvalidApiKey("the API key is not one that this server knows"))
    }

    /// Compares hashes of equal length, all of them, so that the time it takes tells nothing.
    fn verify(&self, key: &str) -> Option<Caller> {
        let presented = hash(key);
        let mut is_known = false;
        for known in self.hashes.iter() {
            is_known |= aws_lc_rs::constant_time::verify_slices_are_equal(known, &presented).is_ok();
        }
        is_known.then(|| Caller { principal: format!("key:{}", short_hash(&["api key", key], 16)) })
    }
}

impl<S> FromRequestParts<S> for Caller
where
    S: Sync,
    Authenticator: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Authenticator::from_ref(state).identify(&parts.headers, &parts.extensions)
    }
}

/// The address at the other end, as a principal.
#[must_use]
pub fn address(extensions: &Extensions) -> String {
    match extensions.get::<ConnectInfo<SocketAddr>>() {
        Some(ConnectInfo(peer)) => format!("address:{}", peer.ip().to_canonical()),
        None => "address:unknown".to_owned(),
    }
}

/// Whether a `Host` header names this machine. Against DNS rebinding: a web page whose name was re-resolved to
/// 127.0.0.1 reaches this server from the person's browser, with that name as `Host`.
fn is_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.to_ascii_lowercase().ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::config::source::Sources;

    fn keys(pairs: &[(&str, &str)]) -> Authenticator {
        let environment = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (settings, _) = Settings::load(&Sources { environment, ..Sources::default() }).unwrap();
        Authenticator::new(&settings)
    }

    fn identify(keys: &Authenticator, name: axum::http::HeaderName, value: &'static str) -> Result<Caller, ApiError> {
        keys.identify(&HeaderMap::from_iter([(name, HeaderValue::from_static(value))]), &Extensions::new())
    }

    #[test]
    fn a_known_key_has_a_principal_that_does_not_show_it() {
        let keys = keys(&[("API_KEYS", "first-key-of-this-server,second-key-of-this-server")]);

        let caller = identify(&keys, AUTHORIZATION, "bearer second-key-of-this-server").unwrap();

        assert!(caller.principal.starts_with("key:"));
        assert!(!caller.principal.contains("second"));
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let keys = keys(&[("API_KEYS", "first-key-of-this-server")]);

        assert!(matches!(identify(&keys, AUTHORIZATION, "Bearer other"), Err(ApiError::InvalidApiKey(_))));
        assert!(matches!(identify(&keys, AUTHORIZATION, "Basic eDp5"), Err(ApiError::InvalidApiKey(_))));
        assert!(matches!(identify(&keys, HOST, "localhost"), Err(ApiError::InvalidApiKey(_))));
    }

    #[test]
    fn without_keys_only_this_machine_is_let_in() {
        let keys = keys(&[]);

        assert!(identify(&keys, HOST, "localhost:8000").is_ok());
        assert!(identify(&keys, HOST, "127.0.0.1:8000").is_ok());
        assert!(identify(&keys, HOST, "[::1]:8000").is_ok());
        assert!(matches!(identify(&keys, HOST, "rebound.example.test"), Err(ApiError::HostNotAllowed(_))));
    }

    #[test]
    fn without_keys_a_server_on_other_addresses_lets_nobody_in() {
        let keys = keys(&[("HOST", "0.0.0.0")]);

        assert!(matches!(identify(&keys, HOST, "localhost:8000"), Err(ApiError::InvalidApiKey(_))));
    }
}
