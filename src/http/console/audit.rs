//! The record of who did what, for administrators, newest first.

use axum::extract::State;
use axum::response::Html;
use serde::Serialize;
use strum::VariantArray as _;

use super::render::{self, Heading};
use super::session::Viewer;
use super::text;
use crate::app::App;
use crate::audit::{AuditEvent, AuditRecord, ConfirmedBy};
use crate::http::audit as api;
use crate::http::error::ApiError;
use crate::http::list::ListQuery;
use crate::id::Action;
use crate::store::page::PageRequest;

/// How many entries a page has.
const PER_PAGE: u32 = 50;
/// What entries are looked up by.
const FILTERS: [&str; 7] = ["event", "action", "principal", "deployment", "operation", "since", "until"];

/// A page of the record.
#[derive(Debug, Serialize)]
struct AuditPage {
    entries: Vec<EntryRow>,
    filters: Vec<Filter>,
    is_filtered: bool,
    events: Vec<&'static str>,
    actions: Vec<&'static str>,
    /// The first page, when this is another one.
    first_page: Option<String>,
    next_page: Option<String>,
}

/// What is looked for.
#[derive(Debug, Serialize)]
struct Filter {
    name: &'static str,
    value: String,
}

/// An entry, in a row.
#[derive(Debug, Serialize)]
struct EntryRow {
    sequence: i64,
    at: String,
    event: &'static str,
    principal: String,
    key_name: Option<String>,
    address: Option<String>,
    surface: Option<&'static str>,
    action: Option<&'static str>,
    deployment: Option<String>,
    deployment_name: Option<String>,
    operation: Option<String>,
    confirmed: Option<&'static str>,
    key: Option<String>,
    outcome: Option<String>,
}

impl From<AuditRecord> for EntryRow {
    fn from(AuditRecord { sequence, entry, .. }: AuditRecord) -> Self {
        Self {
            sequence,
            at: entry.at.to_string(),
            event: entry.event.as_str(),
            principal: entry.principal,
            key_name: entry.key_name,
            address: entry.address,
            surface: entry.surface.map(Into::into),
            action: entry.action.map(Action::as_str),
            deployment: entry.deployment.map(|it| it.to_string()),
            deployment_name: entry.deployment_name,
            operation: entry.operation.map(|it| it.to_string()),
            confirmed: entry.confirmed.and_then(confirmed_by),
            key: entry.key.map(|it| it.to_string()),
            outcome: entry.outcome.map(|it| text::plain(&it)),
        }
    }
}

fn confirmed_by(it: ConfirmedBy) -> Option<&'static str> {
    match it {
        ConfirmedBy::Nothing => None,
        ConfirmedBy::Field => Some("confirmed by a field"),
        ConfirmedBy::PlanHash => Some("confirmed by the hash of the plan"),
        ConfirmedBy::Conversation => Some("confirmed by a person's yes"),
    }
}

/// Shows entries.
pub(super) async fn show(State(app): State<App>, viewer: Viewer, query: ListQuery) -> Result<Html<String>, ApiError> {
    let filter = api::filter(&query, text::moment)?;
    let after: Option<i64> = query.read("after", "the number of an entry", |text| text.parse().ok())?;
    let mut filters = Vec::new();
    for name in FILTERS {
        let value = query.read(name, "text", |text| Some(text.to_owned()))?.unwrap_or_default();
        filters.push(Filter { name, value });
    }
    let page = app.audit(&viewer.caller, filter, &PageRequest { after, limit: PER_PAGE }).await?;
    let last = page.items.last().map(|it| it.sequence).filter(|_| page.has_more);
    let values = AuditPage {
        first_page: after.map(|_| address(&filters, None)),
        next_page: last.map(|it| address(&filters, Some(it))),
        is_filtered: filters.iter().any(|it| !it.value.is_empty()),
        filters,
        events: AuditEvent::VARIANTS.iter().map(|it| it.as_str()).collect(),
        actions: Action::ALL.iter().map(|it| it.as_str()).collect(),
        entries: page.items.into_iter().map(EntryRow::from).collect(),
    };
    render::page(&viewer, "audit.html", Heading { title: "Audit", place: "/audit" }, values)
}

/// The address of a page of the same entries.
fn address(filters: &[Filter], after: Option<i64>) -> String {
    let filters = filters.iter().map(|it| (it.name, Some(it.value.clone()).filter(|value| !value.is_empty())));
    text::address("/audit", filters.chain([("after", after.map(|it| it.to_string()))]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_looks_for_the_same() {
        let filter = |name, value: &str| Filter { name, value: value.to_owned() };

        let address = address(&[filter("event", ""), filter("since", "2027-01-31T12:00")], Some(7));

        assert_eq!(address, "/audit?since=2027-01-31T12%3A00&after=7");
    }
}
