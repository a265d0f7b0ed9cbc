//! Whether the server can do its work, for administrators.

use axum::extract::State;
use axum::response::Html;
use serde::Serialize;

use super::render::{self, Heading};
use super::session::Viewer;
use crate::app::{App, ReadinessCheck};
use crate::http::error::ApiError;

/// The page of checks.
#[derive(Debug, Serialize)]
struct DoctorPage {
    checks: Vec<CheckRow>,
    is_ready: bool,
    version: &'static str,
}

/// A check, in a row.
#[derive(Debug, Serialize)]
struct CheckRow {
    name: &'static str,
    state: &'static str,
    /// What is wrong, and what to do.
    fault: Option<String>,
}

impl From<ReadinessCheck> for CheckRow {
    fn from(ReadinessCheck { name, result }: ReadinessCheck) -> Self {
        let state = if result.is_ok() { "ok" } else { "failed" };
        Self { name, state, fault: result.err() }
    }
}

/// Shows how everything is that the server needs.
pub(super) async fn show(State(app): State<App>, viewer: Viewer) -> Result<Html<String>, ApiError> {
    app.keys().permit(&viewer.caller, "see what the server needs").await?;
    let checks: Vec<CheckRow> = app.readiness().await.into_iter().map(CheckRow::from).collect();
    let is_ready = checks.iter().all(|it| it.fault.is_none());
    let values = DoctorPage { checks, is_ready, version: env!("CARGO_PKG_VERSION") };
    render::page(&viewer, "doctor.html", Heading { title: "Doctor", place: "/doctor" }, values)
}
