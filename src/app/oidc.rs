//! Tokens of an `OpenID` Connect issuer: whom each was issued for, and which role it gives.
//!
//! A token counts when one of the issuer's keys has signed it, by an asymmetric algorithm that fits the key, and its claims
//! name the issuer, this server as audience and a time that is not over. One that was found to count is remembered until it
//! ends or its key is withdrawn, so that a request costs no signature. Where the issuer gives a browser a token is
//! [`code_flow`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, AlgorithmFamily, Validation};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::config::section::Oidc;
use crate::id::key::Role;
use crate::id::short_hash;

pub mod code_flow;
mod connection;
mod key_set;

use key_set::{KeySet, Known};
// Part of `TokenError`.
pub use key_set::KeysUnavailable;

/// How far the clocks of the issuer and of this server may differ.
const SKEW_S: u32 = 60;
/// How many tokens are remembered.
const MAX_TOKENS: usize = 10_000;
/// How long the name of a principal may be that shows who it is.
const MAX_PRINCIPAL: usize = 200;

/// Why a token opens nothing. No text holds anything of a token that could be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no token.
    #[error("the token is not a JSON Web Token that can be read")]
    Malformed,
    /// It is not signed, or with a secret that others share.
    #[error(
        "the token is not signed with an accepted algorithm: RS256 to RS512, PS256 to PS512, ES256, ES384 or EdDSA"
    )]
    Algorithm,
    /// The issuer has no such key.
    #[error("the token is signed with a key that its issuer does not have, or has no more")]
    UnknownKey,
    /// The signature is not of the key that it names.
    #[error("the signature of the token is wrong")]
    Signature,
    /// Its time is over.
    #[error("the token has ended")]
    Expired,
    /// Its time is to come.
    #[error("the token does not count yet")]
    Early,
    /// It is of another issuer.
    #[error("the token is not of the issuer `{0}`")]
    Issuer(String),
    /// It is meant for somebody else.
    #[error("the token is meant for another audience; `aud` has to name `{0}`")]
    Audience(String),
    /// It was issued for another sign-in.
    #[error("the token was issued for another sign-in than this one; begin again")]
    Nonce,
    /// A claim that is needed is not there.
    #[error("the token lacks the claim `{0}`, or it has a wrong form")]
    Claim(&'static str),
    /// It is right, and gives no role.
    #[error(
        "`{principal}` has no role here: the claim `{claim}` of its token names none of `viewer`, `deployer` and `admin`"
    )]
    NoRole {
        /// Whose token it is.
        principal: String,
        /// The claim that was looked for.
        claim: String,
    },
    /// It cannot be checked now.
    #[error(transparent)]
    Unchecked(#[from] KeysUnavailable),
}

/// The issuer whose tokens are accepted. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Issuer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Oidc,
    keys: KeySet,
    tokens: Mutex<HashMap<Hash, Token>>,
    /// What ends with each session of a person that was seen, by its id, and when that is.
    sessions: Mutex<HashMap<String, (Timestamp, CancellationToken)>>,
}

type Hash = [u8; 32];

/// A token that counts.
#[derive(Debug, Clone)]
pub(super) struct Token {
    /// Whom it was issued for.
    pub(super) principal: String,
    /// The highest role that it names.
    pub(super) role: Role,
    /// Cancelled when it does not count any more.
    pub(super) ended: CancellationToken,
    ends: Timestamp,
    /// The key that has signed it.
    signed_by: String,
}

/// What is looked at before a key is looked for.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// What a reader has to understand: nothing of it is known here.
    crit: Option<Value>,
}

#[derive(Deserialize)]
struct Issued {
    iss: Option<Value>,
}

type Claims = Map<String, Value>;

/// Whether what was sent as a key has the form of a token: three parts with dots between them.
pub(super) fn is_token(key: &str) -> bool {
    key.split('.').count() == 3
}

impl Issuer {
    /// The issuer of the settings, which is not asked for anything before there is a token.
    pub(super) fn new(settings: Oidc) -> Self {
        let keys = KeySet::of(settings.issuer.clone());
        Self(Arc::new(Inner { settings, keys, tokens: Mutex::default(), sessions: Mutex::default() }))
    }

    /// What the settings say of it.
    pub(super) fn settings(&self) -> &Oidc {
        &self.0.settings
    }

    /// Finds out whose a token is.
    ///
    /// # Errors
    /// [`TokenError`] when it opens nothing.
    pub(super) async fn sign_in(&self, text: &str) -> Result<Token, TokenError> {
        let hash: Hash = Sha256::digest(text.as_bytes()).into();
        if let Some(token) = self.remembered(&hash) {
            return Ok(token);
        }
        let (claims, signed_by) = self.checked(text, &self.0.settings.audiences).await?;
        let token = self.read(&claims, signed_by)?;
        Ok(self.remember(hash, token))
    }

    /// What a token claims, when it counts for one of these audiences, and the key that has signed it.
    async fn checked(&self, text: &str, audiences: &[String]) -> Result<(Claims, String), TokenError> {
        let mut parts = text.split('.');
        let (header, claims) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let header: Header = part(header).ok_or(TokenError::Malformed)?;
        let algorithm: Algorithm = header.alg.parse().map_err(|_| TokenError::Algorithm)?;
        if algorithm.family() == AlgorithmFamily::Hmac {
            return Err(TokenError::Algorithm);
        }
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        // Looked at before the signature, so that tokens of elsewhere have no keys fetched.
        let unchecked: Issued = part(claims).ok_or(TokenError::Malformed)?;
        let issuer = &self.0.settings.issuer;
        if unchecked.iss.as_ref().and_then(Value::as_str) != Some(issuer.as_str()) {
            return Err(TokenError::Issuer(issuer.clone()));
        }
        let known = self.0.keys.known();
        let refused = match self.check(text, header.kid.as_deref(), algorithm, &known, audiences) {
            Err(refused @ (TokenError::UnknownKey | TokenError::Signature)) => refused,
            checked => return checked,
        };
        match self.0.keys.newer_than(Arc::clone(&known)).await {
            Ok(newer) if newer.is_newer_than(&known) => {
                self.check(text, header.kid.as_deref(), algorithm, &newer, audiences)
            }
            Ok(_) => Err(refused),
            Err(_) if refused == TokenError::Signature => Err(refused),
            Err(unavailable) => Err(unavailable.into()),
        }
    }

    fn check(
        &self,
        text: &str,
        key_name: Option<&str>,
        algorithm: Algorithm,
        known: &Known,
        audiences: &[String],
    ) -> Result<(Claims, String), TokenError> {
        let mut rules = Validation::new(algorithm);
        rules.leeway = SKEW_S.into();
        rules.validate_nbf = true;
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        rules.set_issuer(&[&self.0.settings.issuer]);
        rules.set_audience(audiences);
        let mut refused = TokenError::UnknownKey;
        for candidate in known.candidates(key_name, algorithm) {
            match jsonwebtoken::decode(text, &candidate.key, &rules) {
                Ok(decoded) => return Ok((decoded.claims, candidate.digest.clone())),
                Err(error) if *error.kind() == ErrorKind::InvalidSignature => refused = TokenError::Signature,
                Err(error) => return Err(self.refusal(&error, audiences)),
            }
        }
        Err(refused)
    }

    fn refusal(&self, error: &Error, audiences: &[String]) -> TokenError {
        let kind = error.kind();
        let is_about = |name: &str| matches!(kind, ErrorKind::MissingRequiredClaim(it) | ErrorKind::InvalidClaimFormat(it) if it == name);
        if matches!(kind, ErrorKind::ExpiredSignature) {
            TokenError::Expired
        } else if matches!(kind, ErrorKind::ImmatureSignature) {
            TokenError::Early
        } else if matches!(kind, ErrorKind::InvalidIssuer) {
            TokenError::Issuer(self.0.settings.issuer.clone())
        } else if matches!(kind, ErrorKind::InvalidAudience) {
            TokenError::Audience(audiences.join("` or `"))
        } else if let Some(claim) = ["exp", "nbf", "iss", "aud", "sub"].into_iter().find(|it| is_about(it)) {
            TokenError::Claim(claim)
        } else {
            TokenError::Malformed
        }
    }

    /// What the claims of a token that was checked say of its holder.
    fn read(&self, claims: &Claims, signed_by: String) -> Result<Token, TokenError> {
        let subject = claims.get("sub").and_then(Value::as_str).filter(|it| !it.is_empty());
        let principal = self.principal(subject.ok_or(TokenError::Claim("sub"))?);
        let expires = claims.get("exp").and_then(Value::as_f64).ok_or(TokenError::Claim("exp"))?;
        let ends = SignedDuration::try_from_secs_f64(expires + f64::from(SKEW_S))
            .ok()
            .and_then(|it| Timestamp::from_duration(it).ok())
            .unwrap_or(Timestamp::MAX);
        if ends <= Timestamp::now() {
            return Err(TokenError::Expired);
        }
        let role = role(claims, &self.0.settings.role_claim).ok_or_else(|| TokenError::NoRole {
            principal: principal.clone(),
            claim: self.0.settings.role_claim.clone(),
        })?;
        Ok(Token { principal, role, ended: CancellationToken::new(), ends, signed_by })
    }

    fn principal(&self, subject: &str) -> String {
        let issuer = &self.0.settings.issuer;
        let place = issuer.split_once("://").map_or(issuer.as_str(), |(_, place)| place).trim_end_matches('/');
        let name = format!("oidc:{subject}@{place}");
        if name.len() <= MAX_PRINCIPAL && name.chars().all(|it| it.is_ascii_graphic()) {
            name
        } else {
            format!("oidc:{}", short_hash(&["subject", issuer, subject], 32))
        }
    }

    /// A token that was found to count before, and still does.
    fn remembered(&self, hash: &Hash) -> Option<Token> {
        let token = self.tokens().get(hash).cloned()?;
        self.counts(&token, Timestamp::now()).then_some(token)
    }

    fn counts(&self, token: &Token, now: Timestamp) -> bool {
        token.ends > now && self.0.keys.known().has(&token.signed_by)
    }

    /// Remembers a token. Of one that two requests have brought at once, what is open ends together.
    fn remember(&self, hash: Hash, token: Token) -> Token {
        let mut tokens = self.tokens();
        if let Some(same) = tokens.get(&hash).filter(|it| it.signed_by == token.signed_by && !it.ended.is_cancelled()) {
            return same.clone();
        }
        if tokens.len() >= MAX_TOKENS
            && let Some(first) = tokens.iter().min_by_key(|(_, it)| it.ends).map(|(hash, _)| *hash)
            && let Some(forgotten) = tokens.remove(&first)
        {
            // Nobody would end what is open with it.
            forgotten.ended.cancel();
        }
        if let Some(before) = tokens.insert(hash, token.clone()) {
            before.ended.cancel();
        }
        token
    }

    /// Ends what is open with tokens that do not count any more.
    pub(super) fn sweep(&self, now: Timestamp) {
        self.tokens().retain(|_, token| {
            let counts = self.counts(token, now);
            if !counts {
                token.ended.cancel();
            }
            counts
        });
        self.sessions().retain(|_, (ends, ended)| {
            let counts = *ends > now;
            if !counts {
                ended.cancel();
            }
            counts
        });
    }

    /// What is cancelled when a session ends that lasts until then.
    pub(super) fn end_of_session(&self, id: &str, ends: Timestamp) -> CancellationToken {
        self.sessions().entry(id.to_owned()).or_insert_with(|| (ends, CancellationToken::new())).1.clone()
    }

    /// Ends what is open with a session that is over before its time.
    pub(super) fn end_session(&self, id: &str) {
        if let Some((_, ended)) = self.sessions().remove(id) {
            ended.cancel();
        }
    }

    /// Keeps the keys of the issuer fresh, as long as it is polled.
    pub(super) async fn watch(&self) {
        self.0.keys.stay_fresh().await;
    }

    fn tokens(&self) -> MutexGuard<'_, HashMap<Hash, Token>> {
        self.0.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, (Timestamp, CancellationToken)>> {
        self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks the issuer for its keys, and tells how many there are.
///
/// # Errors
/// [`KeysUnavailable`] when it does not tell them.
pub async fn count_keys(settings: &Oidc) -> Result<usize, KeysUnavailable> {
    let keys = KeySet::of(settings.issuer.clone());
    Ok(keys.newer_than(keys.known()).await?.count())
}

/// A part of a token.
fn part<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

/// The highest role of those that a claim names: in a list, or between spaces. A claim is looked for by the whole name, then
/// by its parts.
fn role(claims: &Claims, name: &str) -> Option<Role> {
    let inner = || {
        let (first, rest) = name.split_once('.')?;
        rest.split('.').try_fold(claims.get(first)?, |claim, part| claim.get(part))
    };
    let names: Vec<&str> = match claims.get(name).or_else(inner)? {
        Value::String(names) => names.split_whitespace().collect(),
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
    };
    names.into_iter().filter_map(|it| it.parse().ok()).max()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn role_in(claims: Value, name: &str) -> Option<Role> {
        let Value::Object(claims) = claims else { panic!("no claims") };
        role(&claims, name)
    }

    #[test]
    fn the_highest_role_counts_wherever_the_claim_is() {
        let nested = json!({"realm_access": {"roles": ["offline", "viewer", "deployer"]}});
        let named = json!({"https://a.test/roles": "viewer", "https://a": {"test/roles": "admin"}});

        assert_eq!(role_in(nested.clone(), "realm_access.roles"), Some(Role::Deployer));
        assert_eq!(role_in(named, "https://a.test/roles"), Some(Role::Viewer));
        assert_eq!(role_in(json!({"roles": "openid admin viewer"}), "roles"), Some(Role::Admin));
        assert_eq!(role_in(nested, "realm_access"), None);
        for none in [json!({}), json!({"roles": []}), json!({"roles": ["Admin", "owner", 7]}), json!({"roles": true})] {
            assert_eq!(role_in(none, "roles"), None);
        }
    }

    #[test]
    fn a_principal_says_who_it_is_as_long_as_that_can_be_shown() {
        let issuer = Issuer::new(Oidc {
            issuer: "https://login.example.com/realms/team/".to_owned(),
            audiences: Vec::new(),
            role_claim: "roles".to_owned(),
            public_url: "https://deploy.example.com".to_owned(),
            client: None,
        });

        assert_eq!(issuer.principal("ann"), "oidc:ann@login.example.com/realms/team");
        for hidden in ["ann\nbob", "änn", &"a".repeat(300)] {
            let principal = issuer.principal(hidden);
            assert!(principal.len() == "oidc:".len() + 32 && !principal.contains('@'), "{principal}");
        }
    }
}
