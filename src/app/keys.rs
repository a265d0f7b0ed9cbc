//! Keys of callers: who a secret belongs to, and how keys are made, rotated and revoked.
//!
//! The keys of the store are held in memory, by the hash of each secret: finding out who asks takes no look at the store,
//! and a change holds from the next request on. What is open for a caller ([`SignedIn::ended`]) ends with the secret that
//! opened it. What is no key of ours and looks like a token is a matter of its issuer (`oidc`), when there is one.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::error::AppError;
use super::oidc::{Issuer, TokenError, is_token};
use super::refusal::{RecentRefusals, permit_admin};
use super::task::run_to_completion;
use crate::access::{Caller, Surface};
use crate::audit::{AuditEntry, AuditEvent};
use crate::config::Settings;
use crate::id::key::{KeyName, Right, Role};
use crate::id::{KeyId, short_hash};
use crate::store::keys::{ApiKey, NameTaken};
use crate::store::{Store, StoreError};

/// How often is looked for secrets that have ended: what is open with one ends that much later at the most.
const SWEEP: Duration = Duration::from_millis(500);
/// What a secret begins with, so that scanners and people recognise one.
const PREFIX: &str = "odi_";
/// Random bytes of a secret.
const SECRET_BYTES: usize = 32;
/// How many rights a key may have.
const MAX_RIGHTS: usize = 100;

/// Why nobody is let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// No key was sent.
    #[error("an API key is needed: send it as `Authorization: Bearer <key>`")]
    NoKey,
    /// The key is none of ours.
    #[error("the API key is not one that this server knows")]
    Unknown,
    /// The key was revoked.
    #[error("the API key `{0}` was revoked")]
    Revoked(KeyName),
    /// The key or token has ended while its request was answered.
    #[error("the API key or token has ended or was revoked meanwhile")]
    Over,
    /// The token opens nothing.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The key or this secret of it has ended.
    #[error("the API key `{name}` {how} on {at}")]
    Ended {
        /// Its name.
        name: KeyName,
        /// What has ended.
        how: &'static str,
        /// When.
        at: Timestamp,
    },
}

/// A caller, and how long the key or token lasts.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// Who asks.
    pub caller: Caller,
    /// Cancelled when the secret does not count any more; none of a key of the settings, which lasts as long as the server.
    pub ended: Option<CancellationToken>,
    /// What a person is called who has signed in at the issuer, if it tells.
    pub display_name: Option<String>,
}

/// A key that is to be made.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Its name.
    pub name: KeyName,
    /// Its role; without one that of an administrator for the first key, and of a viewer after that.
    pub role: Option<Role>,
    /// Where it may do things.
    pub rights: Vec<Right>,
    /// Whatever destroys or costs waits for a person's yes.
    pub asks: bool,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// A key with the secret that was made for it, which nobody is told a second time.
#[derive(Debug, Clone)]
pub struct IssuedKey {
    /// The key.
    pub key: ApiKey,
    /// What its holder sends.
    pub secret: SecretString,
    /// It is the first one: from now on nobody is let in without a key.
    pub is_first: bool,
}

/// The keys that open the door. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Keys(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    refusals: Arc<RecentRefusals>,
    table: RwLock<Arc<Table>>,
    /// The keys of the settings.
    of_settings: HashMap<Hash, Holder>,
    /// Whose tokens are accepted, too.
    issuer: Option<Issuer>,
    is_loopback: bool,
    /// Held from the look at the keys until a change of them is stored.
    change: tokio::sync::Mutex<()>,
    /// Whatever was opened without a key ends with the first key.
    open_house: CancellationToken,
}

type Hash = [u8; 32];

#[derive(Debug, Default)]
struct Table {
    secrets: HashMap<Hash, Entry>,
    /// The store has a key, be it an old one.
    has_keys: bool,
}

#[derive(Debug)]
struct Entry {
    holder: Holder,
    refusal: Option<SignInError>,
    expires: Option<(Timestamp, SignInError)>,
    ended: CancellationToken,
}

/// What a caller is made of.
#[derive(Debug, Clone)]
struct Holder {
    principal: String,
    name: Option<KeyName>,
    role: Role,
    rights: Arc<[Right]>,
    asks: bool,
}

impl Keys {
    /// The keys of a store that no server works on.
    ///
    /// # Errors
    /// What the database says.
    pub async fn of_store(store: Store, settings: &Settings) -> Result<Self, StoreError> {
        Self::load(store, settings, Arc::default()).await
    }

    /// The keys of the settings and of the store.
    ///
    /// # Errors
    /// What the database says.
    ///
    /// # Panics
    /// Never: the name that keys of the settings have keeps the rule.
    pub(super) async fn load(
        store: Store,
        settings: &Settings,
        refusals: Arc<RecentRefusals>,
    ) -> Result<Self, StoreError> {
        let of_settings = settings.server.api_keys.iter().map(|it| {
            let key = it.expose_secret();
            let principal = format!("key:{}", short_hash(&["api key", key], 16));
            let name = KeyName::parse("API_KEYS").expect("letters and `_` keep the rule");
            let rights = Arc::new([Right::ALL]);
            (hash(key), Holder { principal, name: Some(name), role: Role::Admin, rights, asks: false })
        });
        let keys = Self(Arc::new(Inner {
            store,
            refusals,
            table: RwLock::default(),
            of_settings: of_settings.collect(),
            issuer: settings.oidc.clone().map(Issuer::new),
            is_loopback: settings.server.host.is_loopback(),
            change: tokio::sync::Mutex::default(),
            open_house: CancellationToken::new(),
        }));
        keys.reload().await?;
        Ok(keys)
    }

    /// Takes over what the store holds now.
    async fn reload(&self) -> Result<(), StoreError> {
        let store = &self.0.store;
        let keys: HashMap<KeyId, ApiKey> = store.keys().await?.into_iter().map(|it| (it.id, it)).collect();
        let (before, now) = (self.table(), Timestamp::now());
        let mut secrets = HashMap::new();
        for secret in store.key_secrets().await? {
            let Some(key) = keys.get(&secret.key) else { continue };
            let Some(hash) = HEXLOWER.decode(secret.hash.as_bytes()).ok().and_then(|it| Hash::try_from(it).ok()) else {
                continue;
            };
            let holder = Holder {
                principal: key.id.to_string(),
                name: Some(key.name.clone()),
                role: key.role,
                rights: key.rights.clone().into(),
                asks: key.asks,
            };
            let end = |at: Timestamp, how| (at, SignInError::Ended { name: key.name.clone(), how, at });
            let of_key = key.expires_at.map(|at| end(at, "has ended"));
            let of_secret = secret.expires_at.map(|at| end(at, "was rotated, and this secret of it has ended"));
            let expires = [of_key, of_secret].into_iter().flatten().min_by_key(|it| it.0);
            let refusal = key.revoked_at.map(|_| SignInError::Revoked(key.name.clone()));
            let is_over = refusal.is_some() || expires.as_ref().is_some_and(|(at, _)| *at <= now);
            // A key that has ended and got a new end opens things anew.
            let ended = before.secrets.get(&hash).map(|it| &it.ended).filter(|it| is_over || !it.is_cancelled());
            let ended = ended.cloned().unwrap_or_default();
            if is_over {
                ended.cancel();
            }
            secrets.insert(hash, Entry { holder, refusal, expires, ended });
        }
        let has_keys = !keys.is_empty() || store.has_keys().await?;
        if has_keys {
            self.0.open_house.cancel();
        }
        *self.0.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Table { secrets, has_keys });
        Ok(())
    }

    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.0.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends what is open with secrets that have ended.
    fn sweep(&self, now: Timestamp) {
        for entry in self.table().secrets.values() {
            if entry.expires.as_ref().is_some_and(|(at, _)| *at <= now) {
                entry.ended.cancel();
            }
        }
        if let Some(issuer) = &self.0.issuer {
            issuer.sweep(now);
        }
    }

    /// Whether whoever works on this machine needs no key: there is none at all and no issuer, and nobody else can reach the
    /// server.
    #[must_use]
    pub fn are_none(&self) -> bool {
        self.0.is_loopback && !self.others_administer() && !self.table().has_keys
    }

    /// The name of the key whose holder is this principal; none of a key that is forgotten, and of what is no key.
    #[must_use]
    pub fn name_of(&self, principal: &str) -> Option<KeyName> {
        let table = self.table();
        let mut holders = self.0.of_settings.values().chain(table.secrets.values().map(|it| &it.holder));
        holders.find(|it| it.principal == principal).and_then(|it| it.name.clone())
    }

    /// The issuer whose tokens are accepted, too.
    pub(super) fn issuer(&self) -> Option<&Issuer> {
        self.0.issuer.as_ref()
    }

    /// Whether there are administrators beside those whose keys are in the store.
    fn others_administer(&self) -> bool {
        !self.0.of_settings.is_empty() || self.0.issuer.is_some()
    }

    /// Finds out who asks, by the key or the token that was sent.
    ///
    /// # Errors
    /// [`SignInError`] when it opens nothing.
    pub async fn sign_in(&self, key: Option<&str>, address: &str, surface: Surface) -> Result<SignedIn, SignInError> {
        match (self.sign_in_with_key(key, address, surface), key, &self.0.issuer) {
            (Err(SignInError::Unknown), Some(text), Some(issuer)) if is_token(text) => {
                let token = issuer.sign_in(text).await?;
                let caller = Caller {
                    principal: token.principal,
                    name: None,
                    role: token.role,
                    rights: Arc::new([Right::ALL]),
                    asks: false,
                    address: address.to_owned(),
                    surface,
                };
                Ok(SignedIn { caller, ended: Some(token.ended), display_name: None })
            }
            (signed_in, ..) => signed_in,
        }
    }

    fn sign_in_with_key(&self, key: Option<&str>, address: &str, surface: Surface) -> Result<SignedIn, SignInError> {
        if self.are_none() {
            let caller = Caller::administrator(format!("address:{address}"), address.to_owned(), surface);
            return Ok(SignedIn { caller, ended: Some(self.0.open_house.clone()), display_name: None });
        }
        self.sign_in_with_hash(&hash(key.ok_or(SignInError::NoKey)?), address, surface)
    }

    /// Finds out whose key a browser has shown before.
    ///
    /// # Errors
    /// [`SignInError`] when it does not open anything any more.
    pub(super) fn sign_in_again(
        &self,
        secret_hash: &str,
        address: &str,
        surface: Surface,
    ) -> Result<SignedIn, SignInError> {
        let hash = HEXLOWER.decode(secret_hash.as_bytes()).ok().and_then(|it| Hash::try_from(it).ok());
        self.sign_in_with_hash(&hash.ok_or(SignInError::Unknown)?, address, surface)
    }

    fn sign_in_with_hash(&self, presented: &Hash, address: &str, surface: Surface) -> Result<SignedIn, SignInError> {
        // The time that a look at a table of hashes takes tells nothing about a secret: nobody can make a secret with a
        // hash of their choice.
        let signed_in = |holder: &Holder, ended| {
            let Holder { principal, name, role, rights, asks } = holder.clone();
            let caller = Caller { principal, name, role, rights, asks, address: address.to_owned(), surface };
            SignedIn { caller, ended, display_name: None }
        };
        if let Some(holder) = self.0.of_settings.get(presented) {
            return Ok(signed_in(holder, None));
        }
        let table = self.table();
        let entry = table.secrets.get(presented).ok_or(SignInError::Unknown)?;
        match (&entry.refusal, &entry.expires) {
            (Some(refusal), _) => Err(refusal.clone()),
            (None, Some((at, refusal))) if *at <= Timestamp::now() => Err(refusal.clone()),
            (None, _) => Ok(signed_in(&entry.holder, Some(entry.ended.clone()))),
        }
    }

    /// Lets an administrator do something with keys.
    ///
    /// # Errors
    /// [`AppError::Forbidden`] for whoever is none.
    pub async fn permit(&self, caller: &Caller, what: &str) -> Result<(), AppError> {
        permit_admin(&self.0.store, &self.0.refusals, caller, what).await
    }

    /// All keys, newest first.
    ///
    /// # Errors
    /// [`AppError::Forbidden`] for whoever is not an administrator.
    pub async fn list(&self, caller: &Caller) -> Result<Vec<ApiKey>, AppError> {
        self.permit(caller, "list keys").await?;
        Ok(self.0.store.keys().await?)
    }

    /// Makes a key.
    ///
    /// # Errors
    /// [`AppError`] says what is wrong with it, or that the caller may not.
    pub async fn create(&self, caller: &Caller, new: NewKey) -> Result<IssuedKey, AppError> {
        self.permit(caller, "create a key").await?;
        let (keys, caller) = (self.clone(), caller.clone());
        run_to_completion(async move {
            let _turn = keys.0.change.lock().await;
            let now = now();
            let is_first = !keys.0.store.has_keys().await?;
            let key = keys.checked(new, now, is_first).await?;
            let secret = secret()?;
            let entry = AuditEntry {
                key: Some(key.id),
                outcome: Some(told(&key)),
                ..AuditEntry::by(&caller, AuditEvent::KeyCreated)
            };
            let created = keys.0.store.create_key(&key, &hash_text(&secret), &entry).await?;
            created.map_err(|NameTaken| AppError::Conflict {
                message: format!("there is a key `{}` already; rotate or revoke it, or choose another name", key.name),
                param: Some("name"),
            })?;
            keys.reload().await?;
            tracing::info!(key.id = %key.id, key.name = %key.name, key.role = %key.role, "a key is made");
            Ok(IssuedKey { key, secret, is_first })
        })
        .await
    }

    /// A key as it is asked for, if that makes sense.
    async fn checked(&self, new: NewKey, now: Timestamp, is_first: bool) -> Result<ApiKey, AppError> {
        let NewKey { name, role, rights, asks, expires_at } = new;
        let invalid = |param, message: String| AppError::Invalid { message, param };
        let needs_admin = !self.others_administer() && !self.has_admin(now, None).await?;
        let role = role.unwrap_or(if is_first && needs_admin { Role::Admin } else { Role::Viewer });
        if needs_admin && role != Role::Admin {
            return Err(invalid(
                "role",
                format!(
                    "`role`: there is no administrator yet, and nobody could make another key after this one: make a key \
                     with the role `admin` first, then this `{role}`"
                ),
            ));
        }
        if role == Role::Admin && rights.iter().any(|it| *it != Right::ALL) {
            let message = "`rights`: an administrator has all of them; leave modes and namespaces out, or choose the role \
                           `deployer`";
            return Err(invalid("rights", message.to_owned()));
        }
        if asks && role != Role::Deployer {
            let message = match role {
                Role::Admin => "`ask`: an administrator can make keys that do not ask; a key that asks is a `deployer`",
                Role::Viewer | Role::Deployer => "`ask`: a `viewer` destroys and spends nothing; leave `ask` out",
            };
            return Err(invalid("ask", message.to_owned()));
        }
        if rights.len() > MAX_RIGHTS {
            return Err(invalid(
                "rights",
                format!("`rights`: {} are too many, the most is {MAX_RIGHTS}", rights.len()),
            ));
        }
        let expires_at = expires_at.and_then(|it| Timestamp::from_millisecond(it.as_millisecond()).ok());
        if expires_at.is_some_and(|it| it <= now) {
            return Err(invalid("expires_at", "`expires_at`: this moment is over; name a later one".to_owned()));
        }
        if needs_admin && expires_at.is_some() {
            return Err(invalid(
                "expires_at",
                "`expires_at`: this is the only key of an administrator, and with its end nobody could make another one: \
                 leave the end out"
                    .to_owned(),
            ));
        }
        let id = KeyId::new();
        Ok(ApiKey { id, name, role, rights, asks, created_at: now, expires_at, revoked_at: None })
    }

    /// Whether an administrator whose key has no end is left, but for one.
    async fn has_admin(&self, now: Timestamp, but_for: Option<KeyId>) -> Result<bool, AppError> {
        let keys = self.0.store.keys().await?;
        Ok(keys
            .iter()
            .any(|it| it.role == Role::Admin && it.expires_at.is_none() && it.is_valid(now) && Some(it.id) != but_for))
    }

    /// Gives a key another secret; the one before counts for as long as `overlap` beside it.
    ///
    /// # Errors
    /// [`AppError`] when there is no such key, it was revoked, or the caller may not.
    pub async fn rotate(
        &self,
        caller: &Caller,
        name: &str,
        overlap: Duration,
        expires_at: Option<Timestamp>,
    ) -> Result<IssuedKey, AppError> {
        self.permit(caller, &format!("rotate the key `{}`", shown(name))).await?;
        let (keys, caller, name) = (self.clone(), caller.clone(), name.to_owned());
        run_to_completion(async move {
            let _turn = keys.0.change.lock().await;
            let now = now();
            let mut key = keys.key_in_use(&name).await?;
            if expires_at.is_some() {
                key.expires_at = expires_at;
            }
            if let Some(at) = key.expires_at.filter(|it| *it <= now) {
                let message = format!("`expires_at`: the key `{}` has ended on {at}; name a new end", key.name);
                return Err(AppError::Invalid { message, param: "expires_at" });
            }
            let gets_end = key.expires_at.is_some() && key.role == Role::Admin;
            if gets_end && !keys.others_administer() && !keys.has_admin(now, Some(key.id)).await? {
                let message = "`expires_at`: this is the last key of an administrator without an end, and with its end nobody \
                               could make another one";
                return Err(AppError::Invalid { message: message.to_owned(), param: "expires_at" });
            }
            let overlap_until = now.saturating_add(overlap).unwrap_or(Timestamp::MAX);
            let secret = secret()?;
            let entry = AuditEntry {
                key: Some(key.id),
                outcome: Some(format!("`{}`, the secret before counts until {overlap_until:.0}", key.name)),
                ..AuditEntry::by(&caller, AuditEvent::KeyRotated)
            };
            keys.0.store.rotate_key(&key, &hash_text(&secret), now, overlap_until, &entry).await?;
            keys.reload().await?;
            tracing::info!(key.id = %key.id, key.name = %key.name, "a key is rotated");
            Ok(IssuedKey { key, secret, is_first: false })
        })
        .await
    }

    /// Takes a key out of use at once, for good.
    ///
    /// # Errors
    /// [`AppError`] when there is no such key, no administrator would be left, or the caller may not.
    pub async fn revoke(&self, caller: &Caller, name: &str) -> Result<ApiKey, AppError> {
        self.permit(caller, &format!("revoke the key `{}`", shown(name))).await?;
        let (keys, caller, name) = (self.clone(), caller.clone(), name.to_owned());
        run_to_completion(async move {
            let _turn = keys.0.change.lock().await;
            let now = now();
            let key = match keys.key_in_use(&name).await {
                Err(AppError::Conflict { .. }) => return keys.key(&name).await,
                found => found?,
            };
            let is_last = key.role == Role::Admin
                && key.is_valid(now)
                && key.expires_at.is_none()
                && !keys.has_admin(now, Some(key.id)).await?;
            if is_last && !keys.others_administer() {
                let message = format!(
                    "`{}` is the key of the last administrator, and nobody could make another one: make that first",
                    key.name
                );
                return Err(AppError::Conflict { message, param: None });
            }
            let entry = AuditEntry {
                key: Some(key.id),
                outcome: Some(told(&key)),
                ..AuditEntry::by(&caller, AuditEvent::KeyRevoked)
            };
            keys.0.store.revoke_key(key.id, now, &entry).await?;
            keys.reload().await?;
            tracing::info!(key.id = %key.id, key.name = %key.name, "a key is revoked");
            Ok(ApiKey { revoked_at: Some(now), ..key })
        })
        .await
    }

    /// The key with this id, or the one in use with this name, else the last one that had it.
    async fn key(&self, name: &str) -> Result<ApiKey, AppError> {
        let keys = self.0.store.keys().await?;
        // No name looks like an id.
        let named = |it: &&ApiKey| it.id.to_string() == name || it.name.as_str() == name;
        let found = keys.iter().filter(named).min_by_key(|it| it.revoked_at.is_some()).cloned();
        found.ok_or_else(|| AppError::KeyNotFound(shown(name)))
    }

    async fn key_in_use(&self, name: &str) -> Result<ApiKey, AppError> {
        let key = self.key(name).await?;
        match key.revoked_at {
            None => Ok(key),
            Some(at) => {
                let message =
                    format!("the key `{}` was revoked on {at:.0}, which is for good; make a new one", key.name);
                Err(AppError::Conflict { message, param: None })
            }
        }
    }

    /// Ends what is open with keys and tokens that have ended, and keeps the keys of the issuer fresh, as long as the server
    /// runs.
    pub(super) async fn watch(self, stop: CancellationToken) {
        let sweeping = async {
            let mut ticks = tokio::time::interval(SWEEP);
            loop {
                ticks.tick().await;
                self.sweep(Timestamp::now());
            }
        };
        let watching = async {
            if let Some(issuer) = &self.0.issuer {
                issuer.watch().await;
            }
        };
        stop.run_until_cancelled(async { tokio::join!(sweeping, watching) }).await;
    }
}

/// Now, as exactly as the store keeps it.
fn now() -> Timestamp {
    Timestamp::from_millisecond(Timestamp::now().as_millisecond()).unwrap_or_else(|_| Timestamp::now())
}

/// A name as it is shown, cut to a length that fits a message.
fn shown(name: &str) -> String {
    name.chars().take(80).collect()
}

/// What a key is, for the record.
fn told(key: &ApiKey) -> String {
    let rights: Vec<String> = key.rights.iter().map(Right::to_string).collect();
    let asks = if key.asks { ", asks a person" } else { "" };
    let end = key.expires_at.map(|it| format!(", until {it:.0}")).unwrap_or_default();
    format!("`{}`, {} of {}{asks}{end}", key.name, key.role, rights.join(" "))
}

fn secret() -> Result<SecretString, AppError> {
    Ok(SecretString::from(format!("{PREFIX}{}", random_text()?)))
}

/// What nobody can guess, in letters and digits.
pub(super) fn random_text() -> Result<String, AppError> {
    let mut bytes = [0; SECRET_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| AppError::Internal("the system gives no random bytes".into()))?;
    Ok(BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
}

pub(super) fn hash_text(secret: &SecretString) -> String {
    HEXLOWER.encode(&hash(secret.expose_secret()))
}

/// The secrets of keys are random, so that a plain hash of one cannot be turned back.
fn hash(key: &str) -> Hash {
    Sha256::digest(key.as_bytes()).into()
}
