//! Lists: `limit`, `after`, filters, and the page that OpenAI's SDKs know how to turn.

use std::collections::BTreeMap;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::Serialize;

use crate::http::error::ApiError;
use crate::store::page::PageRequest;

/// How many entries a page has when nobody says.
const DEFAULT_LIMIT: u32 = 20;
/// How many it can have.
const MAX_LIMIT: u32 = 100;

/// One page of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct List<T> {
    /// Always `list`.
    #[schema(value_type = String)]
    pub object: &'static str,
    /// The entries, newest first.
    pub data: Vec<T>,
    /// Id of the first entry.
    pub first_id: Option<String>,
    /// Id of the last entry: what `after` takes for the next page.
    pub last_id: Option<String>,
    /// Whether there is a next page.
    pub has_more: bool,
}

impl<T> List<T> {
    /// A page of entries.
    pub fn new(data: Vec<T>, has_more: bool, id: impl Fn(&T) -> String) -> Self {
        let (first_id, last_id) = (data.first().map(&id), data.last().map(&id));
        Self { object: "list", data, first_id, last_id, has_more }
    }
}

/// What every list takes in its query, for the API document.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "`ListQuery` reads the values, with errors of our own")]
pub struct PageParams {
    /// How many, from 1 to 100
    limit: Option<u32>,
    /// `last_id` of the page before
    after: Option<String>,
}

/// The query of a list; an empty value is the same as none.
#[derive(Debug)]
pub struct ListQuery(BTreeMap<String, String>);

impl ListQuery {
    /// Which page is wanted: `after`, an id that `parse` reads, and `limit`.
    ///
    /// # Errors
    /// [`ApiError`] when `after` is not such an id, or `limit` is no number from 1 to 100.
    pub fn page<I, E>(&self, rule: &str, parse: impl FnOnce(&str) -> Result<I, E>) -> Result<PageRequest<I>, ApiError> {
        Ok(PageRequest { after: self.read("after", rule, |text| parse(text).ok())?, limit: self.limit()? })
    }

    /// The values under `name[key]`, by their keys.
    pub fn entries<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |(full, value)| {
            let key = full.strip_prefix(name)?.strip_prefix('[')?.strip_suffix(']')?;
            Some((key, value.as_str()))
        })
    }

    fn limit(&self) -> Result<u32, ApiError> {
        let parse = |text: &str| text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
        Ok(self.read("limit", "a whole number from 1 to 100", parse)?.unwrap_or(DEFAULT_LIMIT))
    }

    /// Reads one value.
    ///
    /// # Errors
    /// [`ApiError`] with the rule when `parse` refuses it.
    pub fn read<T>(
        &self,
        name: &'static str,
        rule: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some(text) = self.0.get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        // PostgreSQL has no text with a NUL in it.
        match parse(text).filter(|_| !text.contains('\0')) {
            Some(value) => Ok(Some(value)),
            None => Err(ApiError::invalid(name, format!("`{name}` must be {rule}"))),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ListQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Ok(Query(pairs)) = query else {
            return Err(ApiError::InvalidValue { param: None, message: "the query cannot be read".to_owned() });
        };
        Ok(Self(pairs.into_iter().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, value: &str) -> ListQuery {
        ListQuery(BTreeMap::from([(name.to_owned(), value.to_owned())]))
    }

    #[test]
    fn a_limit_is_from_1_to_100() {
        assert_eq!(query("limit", "").limit().unwrap(), 20);
        assert_eq!(query("limit", "100").limit().unwrap(), 100);
        assert!(query("limit", "0").limit().is_err());
        assert!(query("limit", "101").limit().is_err());
        assert!(query("limit", "many").limit().is_err());
    }
}
