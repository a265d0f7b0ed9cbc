//! Lists of what the store holds, newest first and a page at a time.

use std::fmt::Display;

use sqlx::any::AnyRow;

use super::statement::Statement;
use super::{Store, StoreError};
use crate::id::key::Right;

/// Which page of a list is wanted. Ids sort by their time of birth, so that older entries have smaller ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest<I> {
    /// Only entries older than this one.
    pub after: Option<I>,
    /// How many at the most.
    pub limit: u32,
}

/// One page of a list, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// True when older ones follow.
    pub has_more: bool,
}

/// Where a page is read from.
pub(super) struct Listing<'a> {
    /// The columns and the table.
    pub(super) select: &'static str,
    /// Conditions on it, and the value of each, when there is one: it stands at the `?` of the condition, or behind it.
    pub(super) conditions: Vec<(&'static str, Option<String>)>,
    /// What is in sight.
    pub(super) within: Option<Within<'a>>,
}

/// The rights that limit a list, and what stands around the condition on mode and namespace.
pub(super) struct Within<'a> {
    pub(super) rights: &'a [Right],
    pub(super) around: (&'static str, &'static str),
}

impl Within<'_> {
    /// Appends the condition.
    pub(super) fn push_to(&self, statement: &mut Statement) {
        let (before, after) = self.around;
        statement.push(before).push("(1 = 0");
        for Right { mode, namespace } in self.rights {
            statement.push(" OR (1 = 1");
            if let Some(mode) = mode {
                statement.push(" AND mode = ").bind(mode.as_str());
            }
            if let Some(namespace) = namespace {
                statement.push(" AND namespace = ").bind(namespace.as_str());
            }
            statement.push(")");
        }
        statement.push(")").push(after);
    }
}

impl Store {
    /// Reads a page of a table. A row that does not even have an id is left out.
    pub(super) async fn page<I: Display, T>(
        &self,
        listing: Listing<'_>,
        wanted: &PageRequest<I>,
        read: impl Fn(&AnyRow) -> Result<T, StoreError>,
    ) -> Result<Page<T>, StoreError> {
        // Only what is asked for is part of the statement: a condition that may be off keeps the database from its index.
        let mut statement = Statement::new(listing.select);
        let after = wanted.after.as_ref().map(|id| ("id <", Some(id.to_string())));
        for (condition, value) in listing.conditions.into_iter().chain(after) {
            let (before, behind) = condition.split_once('?').unwrap_or((condition, ""));
            statement.condition().push(before);
            if let Some(value) = value {
                statement.push(" ").bind(value);
            }
            statement.push(behind);
        }
        if let Some(within) = &listing.within {
            within.push_to(statement.condition());
        }
        // One more than is wanted tells whether there is a next page.
        statement.push(&format!(" ORDER BY id DESC LIMIT {}", u64::from(wanted.limit) + 1));
        let mut rows = statement.fetch(&self.pool).await?;
        let limit = usize::try_from(wanted.limit).unwrap_or(usize::MAX);
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        Ok(Page { items: readable(&rows, read), has_more })
    }
}

/// What can be read. What cannot is said in the log, and keeps nobody from the rest.
pub(super) fn readable<T>(rows: &[AnyRow], read: impl Fn(&AnyRow) -> Result<T, StoreError>) -> Vec<T> {
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        match read(row) {
            Ok(item) => items.push(item),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a row of the store is left out");
            }
        }
    }
    items
}
