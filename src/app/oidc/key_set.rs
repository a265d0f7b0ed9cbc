//! The keys by which an issuer signs, fetched from it when they are needed: at first, when a token is signed with one that
//! is not known, and from time to time. They stay usable while the issuer cannot be reached.

use std::error::Error as _;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::{Client, redirect};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tracing::Instrument as _;
use url::Url;

use crate::config::value::{self, HostName};
use crate::id::short_hash;

/// How long one answer of the issuer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How much of an answer is read.
const MAX_BYTES: usize = 512 * 1024;
/// How many keys are looked at.
const MAX_KEYS: usize = 100;
/// After keys were fetched again, nobody's token has them fetched once more within this time.
const PAUSE: Duration = Duration::from_secs(10);
/// The same after the issuer could not be reached.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(2);
/// How old keys become before they are fetched again, so that one that was withdrawn ends.
const MAX_AGE: Duration = Duration::from_hours(1);

const RSA: &[Algorithm] =
    &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];

/// The issuer does not tell its keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the issuer `{issuer}` does not tell its keys, so that no token can be checked: {cause}")]
pub struct KeysUnavailable {
    issuer: String,
    cause: String,
}

/// The keys of an issuer. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct KeySet(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    http: Client,
    issuer: String,
    known: RwLock<Arc<Known>>,
    /// Held while keys are fetched: whoever needs them too waits for the same answer.
    last: tokio::sync::Mutex<Option<Fetch>>,
}

/// The keys as they were told last; none at first.
#[derive(Debug, Default)]
pub(super) struct Known {
    keys: Vec<SigningKey>,
    /// How often they were told.
    generation: u64,
}

/// A key that signs.
#[derive(Debug)]
pub(super) struct SigningKey {
    /// What tells it from every other key, whatever they are called.
    pub(super) digest: String,
    /// What checks a signature.
    pub(super) key: DecodingKey,
    name: Option<String>,
    algorithms: Vec<Algorithm>,
}

/// How a look at the issuer ended.
#[derive(Debug)]
struct Fetch {
    ended: Instant,
    pause: Duration,
    failure: Option<KeysUnavailable>,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct Published {
    keys: Vec<Value>,
}

impl Known {
    /// The keys that may have signed a token with this key name and algorithm.
    pub(super) fn candidates<'a>(
        &'a self,
        name: Option<&'a str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &'a SigningKey> {
        let is_named = move |it: &SigningKey| name.is_none() || it.name.is_none() || it.name.as_deref() == name;
        self.keys.iter().filter(move |it| is_named(it) && it.algorithms.contains(&algorithm))
    }

    /// Whether a key is still one of the issuer's.
    pub(super) fn has(&self, digest: &str) -> bool {
        self.keys.iter().any(|it| it.digest == digest)
    }

    /// Whether these were told later than others.
    pub(super) fn is_newer_than(&self, other: &Self) -> bool {
        self.generation > other.generation
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.keys.len()
    }
}

impl KeySet {
    /// The keys of this issuer, none of which is known yet.
    pub(super) fn of(issuer: String) -> Self {
        let is_here =
            Url::parse(&issuer).ok().and_then(|url| HostName::of_url(&url)).is_some_and(|it| it.is_loopback());
        let builder = Client::builder().connect_timeout(TIMEOUT).timeout(TIMEOUT).redirect(redirect::Policy::none());
        // What runs on this machine is never behind a proxy.
        let builder = if is_here { builder.no_proxy() } else { builder };
        let http = builder.build().expect("the options of the client do not contradict each other");
        Self(Arc::new(Inner { http, issuer, known: RwLock::default(), last: tokio::sync::Mutex::default() }))
    }

    /// The keys as they were told last.
    pub(super) fn known(&self) -> Arc<Known> {
        Arc::clone(&self.0.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keys that were told later than these; the same ones when it is too early to ask again.
    ///
    /// # Errors
    /// [`KeysUnavailable`] when the issuer does not tell them.
    pub(super) async fn newer_than(&self, seen: Arc<Known>) -> Result<Arc<Known>, KeysUnavailable> {
        let (keys, arrived) = (self.clone(), Instant::now());
        let work = async move {
            let mut last = keys.0.last.lock().await;
            let known = keys.known();
            if known.is_newer_than(&seen) {
                return Ok(known);
            }
            if let Some(last) = &*last
                && (last.ended >= arrived || last.ended.elapsed() < last.pause)
            {
                return last.failure.clone().map_or(Ok(known), Err);
            }
            let fetched = keys.fetch(known.generation + 1).await;
            let pause = match &fetched {
                // The first one answers nobody's suspicion.
                Ok(_) if known.generation == 0 => Duration::ZERO,
                Ok(_) => PAUSE,
                Err(_) => PAUSE_AFTER_FAILURE,
            };
            *last = Some(Fetch { ended: Instant::now(), pause, failure: fetched.as_ref().err().cloned() });
            fetched
        };
        // To the end, also when whoever asked has gone: else nothing would hold off those who come and go.
        tokio::spawn(work.in_current_span()).await.unwrap_or_else(|error| Err(self.unavailable(error.to_string())))
    }

    /// Fetches keys again that have become old, as long as it is polled.
    pub(super) async fn stay_fresh(&self) {
        loop {
            tokio::time::sleep(MAX_AGE).await;
            let known = self.known();
            if known.generation > 0 {
                // Whatever is wrong is in the log, and what is known stays usable.
                let _ = self.newer_than(known).await;
            }
        }
    }

    async fn fetch(&self, generation: u64) -> Result<Arc<Known>, KeysUnavailable> {
        let issuer = &self.0.issuer;
        match self.published().await {
            Ok(keys) => {
                tracing::info!(oidc.issuer = issuer, keys = keys.len(), "the keys of the issuer are known");
                let known = Arc::new(Known { keys, generation });
                *self.0.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&known);
                Ok(known)
            }
            Err(cause) => {
                tracing::warn!(
                    oidc.issuer = issuer,
                    cause,
                    "the issuer does not tell its keys; those that are known count on"
                );
                Err(self.unavailable(cause))
            }
        }
    }

    fn unavailable(&self, cause: String) -> KeysUnavailable {
        KeysUnavailable { issuer: self.0.issuer.clone(), cause }
    }

    async fn published(&self) -> Result<Vec<SigningKey>, String> {
        let issuer = &self.0.issuer;
        let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let Discovery { issuer: named, jwks_uri } = self.read(&address).await?;
        if named != *issuer {
            return Err(format!("`{address}` names the issuer `{}`, which is another one", shown(&named)));
        }
        if !Url::parse(&jwks_uri).is_ok_and(|url| value::is_private(&url)) {
            return Err(format!("`{address}` names keys at `{}`, which is no https address", shown(&jwks_uri)));
        }
        let Published { keys } = self.read(&jwks_uri).await?;
        let keys: Vec<SigningKey> = keys.into_iter().take(MAX_KEYS).filter_map(SigningKey::read).collect();
        if keys.is_empty() {
            return Err(format!("`{}` holds no key for RS, PS, ES or EdDSA", shown(&jwks_uri)));
        }
        Ok(keys)
    }

    async fn read<T: DeserializeOwned>(&self, address: &str) -> Result<T, String> {
        let at = shown(address);
        let failed = |error: reqwest::Error| format!("`{at}` does not answer ({})", cause(&error));
        let response = self.0.http.get(address).send().await.map_err(failed)?;
        let status = response.status();
        if !status.is_success() {
            return Err(format!("`{at}` answers {}", status.as_u16()));
        }
        let mut body = Vec::new();
        let mut pieces = std::pin::pin!(response.bytes_stream());
        while let Some(piece) = pieces.try_next().await.map_err(failed)? {
            if body.len() + piece.len() > MAX_BYTES {
                return Err(format!("`{at}` answers more than {MAX_BYTES} bytes"));
            }
            body.extend_from_slice(&piece);
        }
        serde_json::from_slice(&body).map_err(|_| format!("`{at}` answers something else than it should"))
    }
}

impl SigningKey {
    /// A key as it was published; `None` for one that is not for signatures, or of a kind that is not accepted.
    fn read(published: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(published).ok()?;
        let is_for_signatures = jwk.common.public_key_use.as_ref().is_none_or(|it| *it == PublicKeyUse::Signature)
            && jwk.common.key_operations.as_ref().is_none_or(|it| it.contains(&KeyOperations::Verify));
        let wanted = match jwk.common.key_algorithm {
            Some(named) => Some(Algorithm::try_from(named).ok()?),
            None => None,
        };
        let mut algorithms = algorithms(&jwk.algorithm).to_vec();
        algorithms.retain(|it| wanted.is_none_or(|wanted| wanted == *it));
        if !is_for_signatures || algorithms.is_empty() {
            return None;
        }
        let digest = short_hash(&["signing key", &serde_json::to_string(&jwk.algorithm).ok()?], 64);
        Some(Self { digest, key: DecodingKey::from_jwk(&jwk).ok()?, name: jwk.common.key_id, algorithms })
    }
}

/// What a key of this kind can sign with: never a shared secret.
fn algorithms(parameters: &AlgorithmParameters) -> &'static [Algorithm] {
    if let AlgorithmParameters::RSA(_) = parameters {
        RSA
    } else if let AlgorithmParameters::EllipticCurve(key) = parameters {
        if key.curve == EllipticCurve::P256 {
            &[Algorithm::ES256]
        } else if key.curve == EllipticCurve::P384 {
            &[Algorithm::ES384]
        } else {
            &[]
        }
    } else if let AlgorithmParameters::OctetKeyPair(key) = parameters
        && key.curve == EllipticCurve::Ed25519
    {
        &[Algorithm::EdDSA]
    } else {
        &[]
    }
}

/// The innermost cause, which says more than the errors around it.
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("within {} s", TIMEOUT.as_secs());
    }
    let cause = std::iter::successors(error.source(), |&it| it.source()).last();
    cause.map_or_else(|| error.to_string(), ToString::to_string)
}

/// What another server says, cut to a length that fits a message.
fn shown(text: &str) -> String {
    text.chars().filter(|it| !it.is_control()).take(200).collect()
}
