//! Who asks, and what they may do: decided here for every way in, from the role of a key and its rights.
//!
//! A role says what kind of thing may be done, a right says where: a pair of mode and namespace. What lies outside of all
//! rights of a caller is out of sight, as if it were not there; what is in sight and not allowed is refused, and the
//! refusal names what is missing ([`Missing`]).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use crate::id::key::{KeyName, Right, Role};
use crate::id::{Action, Mode, Namespace};

/// The way in by which a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Surface {
    /// `POST /v1/chat/completions`.
    ChatCompletions,
    /// `POST /v1/responses`.
    Responses,
    /// `POST /mcp`.
    Mcp,
    /// The other routes of HTTP.
    Http,
    /// The console in a browser.
    Console,
    /// A command on the machine of the store, while no server runs.
    Cli,
}

/// Who asks: a holder of a key or of an issuer's token, or (on a server without either) an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The id of a key, `key:` and the first digits of the hash of one of the settings, `oidc:` and the subject and issuer of
    /// a token, or `address:` and the address.
    pub principal: String,
    /// The name of the key; none of a token, and on a server without keys.
    pub name: Option<KeyName>,
    /// What kind of thing may be done.
    pub role: Role,
    /// Where. Those of an administrator are not looked at.
    pub rights: Arc<[Right]>,
    /// Whatever destroys or costs waits for a person's yes, also when explicit fields ask for it.
    pub asks: bool,
    /// The address at the other end.
    pub address: String,
    /// The way in.
    pub surface: Surface,
}

/// The role or the right that a caller lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{who} may not {what}: that needs {needed}")]
pub struct Missing {
    /// The key or token.
    who: String,
    /// What was to be done.
    what: String,
    /// The role or right, and what there is instead.
    needed: String,
}

impl Caller {
    /// Whoever works on the machine of the store itself, as an administrator.
    #[must_use]
    pub fn administrator(principal: String, address: String, surface: Surface) -> Self {
        let rights = Arc::new([Right::ALL]);
        Self { principal, name: None, role: Role::Admin, rights, asks: false, address, surface }
    }

    /// Whether everything is allowed.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.role == Role::Admin
    }

    /// The rights that limit what is in sight; none for whoever sees everything.
    #[must_use]
    pub fn limits(&self) -> Option<&[Right]> {
        let all = self.is_admin() || self.rights.contains(&Right::ALL);
        (!all).then_some(&*self.rights)
    }

    /// Whether what is there is in sight.
    #[must_use]
    pub fn sees(&self, mode: Option<Mode>, namespace: &str) -> bool {
        self.limits().is_none_or(|rights| rights.iter().any(|it| it.covers(mode, namespace)))
    }

    /// The namespace to work in when a request names none: that of a caller with a single one.
    #[must_use]
    pub fn namespace(&self) -> Option<&Namespace> {
        let (first, rest) = self.limits()?.split_first()?;
        let namespace = first.namespace.as_ref()?;
        rest.iter().all(|it| it.namespace.as_ref() == Some(namespace)).then_some(namespace)
    }

    /// Whether an action may be carried out at all, or (with `is_plan`) be planned. Of a cancel there is no plan.
    ///
    /// # Errors
    /// [`Missing`] names the role.
    pub fn may(&self, action: Action, is_plan: bool) -> Result<(), Missing> {
        let is_plan = is_plan && action != Action::Cancel;
        let needed = if action.changes() && !is_plan { Role::Deployer } else { Role::Viewer };
        self.is_at_least(needed, action.as_str())
    }

    /// Whether the role suffices for something, which a verb names.
    ///
    /// # Errors
    /// [`Missing`] names the role.
    pub fn is_at_least(&self, needed: Role, what: &str) -> Result<(), Missing> {
        if self.role >= needed {
            return Ok(());
        }
        Err(self.missing(what, format!("the role `{needed}`")))
    }

    /// Whether something may be done in a place where nothing is yet.
    ///
    /// # Errors
    /// [`Missing`] names the right.
    pub fn may_at(&self, what: &str, mode: Mode, namespace: &Namespace) -> Result<(), Missing> {
        if self.sees(Some(mode), namespace.as_str()) {
            return Ok(());
        }
        let needed = Right { mode: Some(mode), namespace: Some(namespace.clone()) };
        let rights: Vec<String> = self.rights.iter().map(|it| format!("`{it}`")).collect();
        let what = format!("{what} in mode `{mode}` and namespace `{namespace}`");
        Err(self.missing(&what, format!("the right `{needed}`, and it has {}", rights.join(", "))))
    }

    /// Whether an operation of some principal may be stopped or gone on with: whoever asks a person first takes back only
    /// what it has begun itself.
    ///
    /// # Errors
    /// [`Missing`] names what is missing.
    pub fn may_interrupt(&self, what: &str, principal: &str) -> Result<(), Missing> {
        self.is_at_least(Role::Deployer, what)?;
        if self.asks && self.principal != principal {
            let needed = "a key that does not ask a person (`ask`), because another one began it".to_owned();
            return Err(self.missing(what, needed));
        }
        Ok(())
    }

    /// Whether a target may be taken over that is not on record here: whatever runs on it, in any namespace.
    #[must_use]
    pub fn may_take_over(&self, mode: Mode) -> bool {
        self.role >= Role::Deployer
            && self
                .limits()
                .is_none_or(|rights| rights.iter().any(|it| it.namespace.is_none() && it.covers(Some(mode), "")))
    }

    fn missing(&self, what: &str, needed: String) -> Missing {
        // Whoever has neither key nor token is an administrator, and lacks nothing.
        let what_opens = self.name.as_ref().map_or_else(|| "the token".to_owned(), |it| format!("the key `{it}`"));
        Missing { who: format!("{what_opens} (role `{}`)", self.role), what: what.to_owned(), needed }
    }
}
