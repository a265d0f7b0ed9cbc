//! Who is refused, and what is remembered of it.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::error::AppError;
use crate::access::{Caller, Missing};
use crate::audit::{AuditEntry, AuditEvent};
use crate::id::key::Role;
use crate::store::Store;

/// Within this time nobody's refusals are remembered twice, and not more than a few: whoever knocks again and again must not
/// fill the store.
const WINDOW: Duration = Duration::from_mins(1);
/// So many different refusals of one caller or address are remembered within that time.
const MAX_REASONS: usize = 20;
/// So many callers and addresses are told apart within that time.
const MAX_CALLERS: usize = 1000;

/// Who was refused lately, and why.
#[derive(Debug, Default)]
pub(super) struct RecentRefusals(Mutex<HashMap<String, (Instant, HashSet<String>)>>);

impl RecentRefusals {
    /// Whether this one is to be remembered.
    pub(super) fn is_news(&self, who: &str, reason: &str) -> bool {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|_, (began, _)| began.elapsed() < WINDOW);
        if !recent.contains_key(who) && recent.len() >= MAX_CALLERS {
            return false;
        }
        let (_, reasons) = recent.entry(who.to_owned()).or_insert_with(|| (Instant::now(), HashSet::new()));
        reasons.len() < MAX_REASONS && reasons.insert(reason.to_owned())
    }
}

/// Lets a caller do what it is allowed to; else refuses, and remembers what `about` says of it.
pub(super) async fn permit(
    store: &Store,
    recent: &RecentRefusals,
    caller: &Caller,
    allowed: Result<(), Missing>,
    about: impl FnOnce(AuditEntry) -> AuditEntry,
) -> Result<(), AppError> {
    let Err(missing) = allowed else { return Ok(()) };
    let message = missing.to_string();
    if recent.is_news(&caller.principal, &message) {
        let entry = AuditEntry { outcome: Some(message.clone()), ..AuditEntry::by(caller, AuditEvent::Refused) };
        store.append_audit(&about(entry)).await?;
    }
    Err(AppError::Forbidden { message })
}

/// Lets an administrator do something.
pub(super) async fn permit_admin(
    store: &Store,
    recent: &RecentRefusals,
    caller: &Caller,
    what: &str,
) -> Result<(), AppError> {
    permit(store, recent, caller, caller.is_at_least(Role::Admin, what), |entry| entry).await
}
