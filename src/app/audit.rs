//! What is told of the record of who did what.

use futures_util::Stream;

use super::refusal::permit_admin;
use super::{App, AppError};
use crate::access::Caller;
use crate::audit::{AuditRecord, Head};
use crate::store::StoreError;
use crate::store::audit::{AuditFilter, AuditLine, AuditOrder};
use crate::store::page::{Page, PageRequest};

impl App {
    /// A page of entries, newest first.
    ///
    /// # Errors
    /// [`AppError::Forbidden`] for whoever is not an administrator; [`AppError::Internal`] when the store fails.
    pub async fn audit(
        &self,
        caller: &Caller,
        filter: AuditFilter,
        wanted: &PageRequest<i64>,
    ) -> Result<Page<AuditRecord>, AppError> {
        permit_admin(&self.0.store, &self.0.refusals, caller, "read the audit").await?;
        let order = AuditOrder::NewestFirst { before: wanted.after };
        let mut entries = self.0.store.audit_lines(&filter, order, wanted.limit.saturating_add(1)).await?;
        let limit = usize::try_from(wanted.limit).unwrap_or(usize::MAX);
        let has_more = entries.len() > limit;
        entries.truncate(limit);
        let unreadable = |error: serde_json::Error| AppError::Internal(error.into());
        let items = entries.iter().map(|it| serde_json::from_str(&it.line).map_err(unreadable));
        Ok(Page { items: items.collect::<Result<_, _>>()?, has_more })
    }

    /// The last entry, and the lines of all entries, oldest first, many at a time.
    ///
    /// # Errors
    /// [`AppError::Forbidden`] for whoever is not an administrator.
    pub async fn audit_lines(
        &self,
        caller: &Caller,
        filter: AuditFilter,
    ) -> Result<(Head, impl Stream<Item = Result<Vec<AuditLine>, StoreError>> + Send + 'static + use<>), AppError> {
        permit_admin(&self.0.store, &self.0.refusals, caller, "read the audit").await?;
        let store = self.0.store.clone();
        Ok((store.audit_head().await?, store.all_audit_lines(filter)))
    }
}
