//! The keys by which an issuer signs, fetched from it when they are needed: at first, when a token is signed with one that
//! is not known, and from time to time. They stay usable while the issuer cannot be reached. Where it signs people in is
//! told by the same document and kept beside them.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use tracing::Instrument as _;
use url::Url;

use super::connection::{Connection, shown};
use crate::config::value;
use crate::id::short_hash;

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
    connection: Connection,
    issuer: String,
    known: RwLock<Arc<Known>>,
    /// Held while keys are fetched: whoever needs them too waits for the same answer.
    last: tokio::sync::Mutex<Option<Fetch>>,
}

/// The keys as they were told last; none at first.
#[derive(Debug, Default)]
pub(super) struct Known {
    keys: Vec<SigningKey>,
    endpoints: Endpoints,
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

/// Where an issuer signs people in. What it tells not, or at an address that others can read along, is nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Endpoints {
    /// Where browsers are sent.
    pub(super) authorization: Option<Url>,
    /// Where a code becomes a token.
    pub(super) token: Option<Url>,
    /// A client's secret goes into the form, and not into the header, as it is otherwise.
    pub(super) takes_secret_in_form: bool,
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
    // Read leniently: whoever only checks tokens needs none of them.
    authorization_endpoint: Option<Value>,
    token_endpoint: Option<Value>,
    token_endpoint_auth_methods_supported: Option<Value>,
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
        let connection = Connection::new(&issuer);
        Self(Arc::new(Inner { connection, issuer, known: RwLock::default(), last: tokio::sync::Mutex::default() }))
    }

    /// The way to the issuer.
    pub(super) fn connection(&self) -> &Connection {
        &self.0.connection
    }

    /// Where the issuer signs people in, as it has told together with its keys.
    ///
    /// # Errors
    /// [`KeysUnavailable`] when it has told neither.
    pub(super) async fn endpoints(&self) -> Result<Endpoints, KeysUnavailable> {
        let known = self.known();
        let known = if known.generation > 0 { known } else { self.newer_than(known).await? };
        Ok(known.endpoints.clone())
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
            Ok((keys, endpoints)) => {
                tracing::info!(oidc.issuer = issuer, keys = keys.len(), "the keys of the issuer are known");
                let known = Arc::new(Known { keys, endpoints, generation });
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

    async fn published(&self) -> Result<(Vec<SigningKey>, Endpoints), String> {
        let (issuer, connection) = (&self.0.issuer, &self.0.connection);
        let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let discovery: Discovery = connection.read(&address).await?;
        let Discovery { issuer: named, jwks_uri, .. } = &discovery;
        if named != issuer {
            return Err(format!("`{address}` names the issuer `{}`, which is another one", shown(named)));
        }
        if !Url::parse(jwks_uri).is_ok_and(|url| value::is_private(&url)) {
            return Err(format!("`{address}` names keys at `{}`, which is no https address", shown(jwks_uri)));
        }
        let Published { keys } = connection.read(jwks_uri).await?;
        let keys: Vec<SigningKey> = keys.into_iter().take(MAX_KEYS).filter_map(SigningKey::read).collect();
        if keys.is_empty() {
            return Err(format!("`{}` holds no key for RS, PS, ES or EdDSA", shown(jwks_uri)));
        }
        Ok((keys, Endpoints::read(&discovery)))
    }
}

impl Endpoints {
    fn read(discovery: &Discovery) -> Self {
        let endpoint = |told: Option<&Value>| {
            let url = Url::parse(told?.as_str()?).ok()?;
            value::is_private(&url).then_some(url)
        };
        // Without a list it is the header (OpenID Connect Discovery 1.0).
        let methods = discovery.token_endpoint_auth_methods_supported.as_ref().and_then(Value::as_array);
        let takes = |method: &str| methods.is_some_and(|it| it.iter().any(|it| it.as_str() == Some(method)));
        Self {
            authorization: endpoint(discovery.authorization_endpoint.as_ref()),
            token: endpoint(discovery.token_endpoint.as_ref()),
            takes_secret_in_form: takes("client_secret_post") && !takes("client_secret_basic"),
        }
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
