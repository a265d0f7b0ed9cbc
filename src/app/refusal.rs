//! Who is refused, and what is remembered of it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::error::AppError;
use crate::access::{Caller, Missing};
use crate::audit::{AuditEntry, AuditEvent};
use crate::id::key::Role;
use crate::store::Store;

/// So often at the most one address is remembered for the same reason: whoever guesses keys must not fill the store.
const REFUSALS_EVERY: Duration = Duration::from_mins(1);
/// So many addresses are told apart within that time.
const MAX_ADDRESSES: usize = 1000;

/// Whoever was not let in lately.
#[derive(Debug, Default)]
pub(super) struct RecentRefusals(Mutex<HashMap<String, Instant>>);

impl RecentRefusals {
    /// Whether this one is to be remembered.
    pub(super) fn is_news(&self, who: String) -> bool {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|_, at| at.elapsed() < REFUSALS_EVERY);
        if recent.len() >= MAX_ADDRESSES || recent.contains_key(&who) {
            return false;
        }
        recent.insert(who, Instant::now());
        true
    }
}

/// Lets a caller do what it is allowed to; else refuses, and remembers what `about` says of it.
pub(super) async fn permit(
    store: &Store,
    caller: &Caller,
    allowed: Result<(), Missing>,
    about: impl FnOnce(AuditEntry) -> AuditEntry,
) -> Result<(), AppError> {
    let Err(missing) = allowed else { return Ok(()) };
    let message = missing.to_string();
    let entry = AuditEntry { outcome: Some(message.clone()), ..AuditEntry::by(caller, AuditEvent::Refused) };
    store.append_audit(&about(entry)).await?;
    Err(AppError::Forbidden { message })
}

/// Lets an administrator do something.
pub(super) async fn permit_admin(store: &Store, caller: &Caller, what: &str) -> Result<(), AppError> {
    permit(store, caller, caller.is_at_least(Role::Admin, what), |entry| entry).await
}
