//! Sessions of the console: a browser shows a key once, or comes back from the issuer, and gets a cookie for it.
//!
//! A session of a key is a matter of its key: what the key may do is looked up anew for each request, and the session ends
//! with the key. It lies in the store, as two hashes, so that it outlives the server; nothing in it can be turned back into
//! a key. One of a person is what the issuer's token said, and ends when that does; the token itself is not kept.

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};

use super::keys::{SignInError, SignedIn, hash_text, random_text};
use super::{App, AppError};
use crate::access::Surface;
use crate::store::sessions::{IDLE, LONGEST, Session, SessionOwner};

/// How exactly is noted when a session was used last.
const NOTED_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// Why a browser is not let in.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// There is no such session, or it is over.
    #[error("the session is over; sign in again")]
    Over,
    /// Its key opens nothing any more.
    #[error(transparent)]
    Key(SignInError),
    /// The store fails.
    #[error(transparent)]
    App(#[from] AppError),
}

impl App {
    /// What a browser is recognised by, before it has signed in and after: nobody can guess it.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the system gives no random bytes.
    pub fn new_cookie(&self) -> Result<SecretString, AppError> {
        Ok(SecretString::from(random_text()?))
    }

    /// Lets a browser in with a key: the cookie of its session.
    ///
    /// # Errors
    /// [`SessionError`] when the key opens nothing.
    pub async fn open_session(&self, key: &SecretString, address: &str) -> Result<SecretString, SessionError> {
        let secret_hash = hash_text(key);
        let surface = Surface::Console;
        self.keys().sign_in_again(&secret_hash, address, surface).map_err(|error| {
            self.note_refused_sign_in(address, surface, &error);
            SessionError::Key(error)
        })?;
        Ok(self.keep_session(SessionOwner::Key { secret_hash }).await?)
    }

    /// Makes a session: its cookie, which is another one than before, so that whoever knew that one is not let in by it.
    pub(super) async fn keep_session(&self, owner: SessionOwner) -> Result<SecretString, AppError> {
        let (cookie, now) = (self.new_cookie()?, Timestamp::now());
        let session = Session { id: hash_text(&cookie), owner, created_at: now, used_at: now };
        self.0.store.insert_session(&session).await?;
        Ok(cookie)
    }

    /// Who uses a session.
    ///
    /// # Errors
    /// [`SessionError`] when it is over.
    pub async fn session(&self, cookie: &SecretString, address: &str) -> Result<SignedIn, SessionError> {
        let id = hash_text(cookie);
        let now = Timestamp::now();
        let session = self.0.store.session(&id).await.map_err(AppError::from)?.ok_or(SessionError::Over)?;
        if now.duration_since(session.used_at) > IDLE || now.duration_since(session.created_at) > LONGEST {
            return Err(SessionError::Over);
        }
        let signed_in = match session.owner {
            SessionOwner::Key { secret_hash } => {
                self.keys().sign_in_again(&secret_hash, address, Surface::Console).map_err(SessionError::Key)?
            }
            SessionOwner::Person(person) => self.person_of_session(&id, person, address).ok_or(SessionError::Over)?,
        };
        if now.duration_since(session.used_at) > NOTED_EVERY {
            self.0.store.touch_session(&id, now).await.map_err(AppError::from)?;
        }
        Ok(signed_in)
    }

    /// Ends a session; that it is over already is no error.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn close_session(&self, cookie: &SecretString) -> Result<(), AppError> {
        let id = hash_text(cookie);
        self.0.store.delete_session(&id).await?;
        if let Some(issuer) = self.keys().issuer() {
            issuer.end_session(&id);
        }
        Ok(())
    }
}

/// What a page of a browser with this cookie sends along with a change, which no page of elsewhere can know.
#[must_use]
pub fn form_token(cookie: &SecretString) -> String {
    hash_text(&SecretString::from(format!("form token of {}", cookie.expose_secret())))
}
