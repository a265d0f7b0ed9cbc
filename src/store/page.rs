//! Lists of what the store holds, newest first and a page at a time.

use std::fmt::Display;

use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use super::{Store, StoreError};

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

impl Store {
    /// Reads a page of a table. `condition` compares columns with the filters `$1` and `$2`, which are empty when they
    /// are not set.
    pub(super) async fn page<I: Display, T>(
        &self,
        (table, condition): (&'static str, &'static str),
        filters: [String; 2],
        wanted: &PageRequest<I>,
        read: impl Fn(&AnyRow) -> Result<T, StoreError>,
    ) -> Result<Page<T>, StoreError> {
        let statement =
            format!("SELECT * FROM {table} WHERE {condition} AND ($3 = '' OR id < $3) ORDER BY id DESC LIMIT $4");
        let [first, second] = filters;
        let mut rows = sqlx::query(AssertSqlSafe(statement))
            .bind(first)
            .bind(second)
            .bind(wanted.after.as_ref().map(ToString::to_string).unwrap_or_default())
            // One more than is wanted tells whether there is a next page.
            .bind(i64::from(wanted.limit) + 1)
            .fetch_all(&self.pool)
            .await?;
        let limit = usize::try_from(wanted.limit).unwrap_or(usize::MAX);
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        Ok(Page { items: rows.iter().map(read).collect::<Result<_, _>>()?, has_more })
    }
}
