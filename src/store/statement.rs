//! A statement whose parts depend on what is asked for. (sqlx's own builder writes `?`, which PostgreSQL does not know.)

use sqlx::any::AnyRow;
use sqlx::{AnyPool, AssertSqlSafe};

use super::StoreError;

/// SQL and the values of its numbered places.
pub(super) struct Statement {
    sql: String,
    values: Vec<String>,
    has_condition: bool,
}

impl Statement {
    /// One that begins so.
    pub(super) fn new(sql: &str) -> Self {
        Self { sql: sql.to_owned(), values: Vec::new(), has_condition: false }
    }

    /// Appends SQL, which must not have a value of anybody in it.
    pub(super) fn push(&mut self, sql: &str) -> &mut Self {
        self.sql.push_str(sql);
        self
    }

    /// Appends what stands before a condition.
    pub(super) fn condition(&mut self) -> &mut Self {
        let word = if self.has_condition { " AND " } else { " WHERE " };
        self.has_condition = true;
        self.push(word)
    }

    /// Appends a place for a value.
    pub(super) fn bind(&mut self, value: impl Into<String>) -> &mut Self {
        self.values.push(value.into());
        self.sql.push('$');
        self.sql.push_str(&self.values.len().to_string());
        self
    }

    /// Appends places for all values, as a list in brackets.
    pub(super) fn bind_list(&mut self, values: impl IntoIterator<Item = String>) -> &mut Self {
        for (index, value) in values.into_iter().enumerate() {
            self.push(if index == 0 { "(" } else { ", " }).bind(value);
        }
        self.push(")")
    }

    /// All rows that it gives.
    pub(super) async fn fetch(self, pool: &AnyPool) -> Result<Vec<AnyRow>, StoreError> {
        let mut query = sqlx::query(AssertSqlSafe(self.sql));
        for value in self.values {
            query = query.bind(value);
        }
        Ok(query.fetch_all(pool).await?)
    }
}
