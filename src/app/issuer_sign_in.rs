//! Signing in to the console at the issuer: a browser is sent there with a sealed note, and comes back with it.
//!
//! The note is the `state` of the flow. It lies nowhere on the server, so that it outlives a restart and nobody fills the
//! store with sign-ins that they begin. It is sealed for the cookie of the browser that it was made for, and that cookie
//! changes with the sign-in: what comes back a second time, or in another browser, opens nothing.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

use super::keys::{SignInError, SignedIn, hash_text, random_text};
use super::oidc::code_flow::{Attempt, CodeFlowError, SecretText};
use super::{App, AppError};
use crate::access::{Caller, Surface};
use crate::config::section::OidcClient;
use crate::id::key::Right;
use crate::store::sessions::{Person, SessionOwner};

/// How long somebody may take at the issuer.
const WITHIN: SignedDuration = SignedDuration::from_mins(30);
/// How long the address of a page may be to come back to it: addresses that are too long do not arrive.
const MAX_NEXT: usize = 1000;

/// Why nobody is signed in at the issuer.
#[derive(Debug, thiserror::Error)]
pub enum IssuerSignInError {
    /// The settings name no client.
    #[error("nobody signs in at an issuer here: `OIDC_CLIENT_ID` is not set")]
    NotOffered,
    /// It was begun long ago, or not by this browser, or has come to its end before.
    #[error("this sign-in was begun too long ago, in another browser or under another address; begin again")]
    Stale,
    /// The issuer signs nobody in.
    #[error(transparent)]
    Issuer(#[from] CodeFlowError),
    /// The store fails.
    #[error(transparent)]
    App(#[from] AppError),
}

/// What a browser brings back from the issuer.
#[derive(Debug)]
pub struct IssuerAnswer {
    /// The note.
    pub state: String,
    /// Which issuer it comes from, if it says so (RFC 9207).
    pub issuer: Option<String>,
    /// What stands for the person, or what the issuer says instead.
    pub code: Result<SecretString, IssuerRefusal>,
}

/// What the issuer says when it signs nobody in.
#[derive(Debug)]
pub struct IssuerRefusal {
    /// Its code for that.
    pub error: String,
    /// A sentence, perhaps.
    pub description: Option<String>,
}

/// A browser that was let in.
#[derive(Debug)]
pub struct Entered {
    /// The cookie of its session.
    pub cookie: SecretString,
    /// The page that it wanted.
    pub next: String,
}

/// The note.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    /// In seconds since 1970.
    until: i64,
    next: String,
    attempt: Attempt,
}

fn context(cookie: &SecretString) -> String {
    format!("sign-in of {}", hash_text(cookie))
}

impl App {
    /// The client as which people sign in at the issuer, if there is one.
    #[must_use]
    pub fn issuer_client(&self) -> Option<&OidcClient> {
        self.settings().oidc.as_ref()?.client.as_ref()
    }

    /// Where the browser with this cookie goes to sign in, to come back to a page.
    ///
    /// # Errors
    /// [`IssuerSignInError`] when the issuer cannot be asked.
    pub async fn begin_issuer_sign_in(&self, cookie: &SecretString, next: &str) -> Result<Url, IssuerSignInError> {
        let (Some(issuer), Some(client)) = (self.keys().issuer(), self.issuer_client()) else {
            return Err(IssuerSignInError::NotOffered);
        };
        let next = if next.len() > MAX_NEXT { "/" } else { next };
        let note = Note {
            until: (Timestamp::now() + WITHIN).as_second(),
            next: next.to_owned(),
            attempt: Attempt { nonce: random_text()?, verifier: SecretText::new(random_text()?) },
        };
        let text = serde_json::to_string(&note).map_err(|error| AppError::Internal(error.into()))?;
        let state = self.0.sealer.seal(&context(cookie), &SecretString::from(text)).map_err(AppError::from)?;
        Ok(issuer.authorization_url(client, &note.attempt, &state).await?)
    }

    /// Lets the browser with this cookie in, which comes back from the issuer.
    ///
    /// # Errors
    /// [`IssuerSignInError`] when what it brings opens nothing.
    pub async fn finish_issuer_sign_in(
        &self,
        cookie: &SecretString,
        answer: IssuerAnswer,
        address: &str,
    ) -> Result<Entered, IssuerSignInError> {
        let (Some(issuer), Some(client)) = (self.keys().issuer(), self.issuer_client()) else {
            return Err(IssuerSignInError::NotOffered);
        };
        let note = self.note(cookie, &answer.state).ok_or(IssuerSignInError::Stale)?;
        let name = &issuer.settings().issuer;
        if answer.issuer.is_some_and(|it| it != *name) {
            return Err(IssuerSignInError::Stale);
        }
        let code = answer.code.map_err(|it| issuer.refused(&it.error, it.description.as_deref()))?;
        let identity = issuer.identify(client, &note.attempt, &code).await.inspect_err(|error| {
            if let CodeFlowError::Token(refused) = error {
                self.note_refused_sign_in(address, Surface::Console, &SignInError::Token(refused.clone()));
            }
        })?;
        let person = Person {
            issuer: name.clone(),
            principal: identity.principal,
            name: identity.name,
            role: identity.role,
            ends_at: identity.ends_at,
        };
        let cookie = self.keep_session(SessionOwner::Person(person)).await?;
        Ok(Entered { cookie, next: note.next })
    }

    fn note(&self, cookie: &SecretString, state: &str) -> Option<Note> {
        let text = self.0.sealer.unseal(&context(cookie), state).ok()?;
        let note: Note = serde_json::from_str(text.expose_secret()).ok()?;
        (note.until > Timestamp::now().as_second()).then_some(note)
    }

    /// Who uses the session with this id, which is of a person; nobody once it has ended, or people do not sign in at that
    /// issuer any more.
    pub(super) fn person_of_session(&self, id: &str, person: Person, address: &str) -> Option<SignedIn> {
        let issuer = self.keys().issuer().filter(|it| it.settings().issuer == person.issuer)?;
        self.issuer_client()?;
        if person.ends_at <= Timestamp::now() {
            return None;
        }
        let ended = issuer.end_of_session(id, person.ends_at);
        let caller = Caller {
            principal: person.principal,
            name: None,
            role: person.role,
            rights: Arc::new([Right::ALL]),
            asks: false,
            address: address.to_owned(),
            surface: Surface::Console,
        };
        Some(SignedIn { caller, ended: Some(ended), display_name: person.name })
    }
}
