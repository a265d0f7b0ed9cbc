//! For operators: liveness, readiness, metrics.

use std::sync::OnceLock;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::http::error::ApiError;

/// The server is alive.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Health {
    /// Always `ok`.
    #[schema(value_type = String)]
    pub status: &'static str,
    /// Version of the program.
    #[schema(value_type = String)]
    pub version: &'static str,
}

/// Whether the server can do its work.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Readiness {
    /// `ok`, `not_ready` or `shutting_down`.
    #[schema(value_type = String)]
    pub status: &'static str,
    /// What was looked at.
    pub checks: Vec<CheckObject>,
}

/// One thing that must be right.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct CheckObject {
    /// What was looked at.
    #[schema(value_type = String)]
    pub name: &'static str,
    /// Whether it is right.
    pub ok: bool,
    /// What is wrong with it, and what to do.
    pub message: Option<String>,
}

/// Says that the server is alive.
#[utoipa::path(get, path = "/health", tag = "operators", security(()), responses((status = 200, body = Health)))]
pub async fn live() -> Json<Health> {
    Json(Health { status: "ok", version: env!("CARGO_PKG_VERSION") })
}

/// Says whether the server can do its work: 503 when it cannot.
#[utoipa::path(get, path = "/health/ready", tag = "operators", security(()),
    responses((status = 200, body = Readiness), (status = 503, body = Readiness)))]
pub async fn ready(State(app): State<App>) -> Response {
    let checks: Vec<CheckObject> = app
        .readiness()
        .await
        .into_iter()
        .map(|check| CheckObject { name: check.name, ok: check.result.is_ok(), message: check.result.err() })
        .collect();
    let (code, status) = match (app.is_shutting_down(), checks.iter().all(|check| check.ok)) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "shutting_down"),
        (false, true) => (StatusCode::OK, "ok"),
        (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
    };
    (code, Json(Readiness { status, checks })).into_response()
}

/// Shows the metrics in the text format of Prometheus.
///
/// # Errors
/// [`ApiError::Internal`] when another recorder was installed in this process.
#[utoipa::path(get, path = "/metrics", tag = "operators", security(()),
    responses((status = 200, content_type = "text/plain", body = String)))]
pub async fn metrics(State(app): State<App>) -> Result<Response, ApiError> {
    app.measure_backlog().await;
    let handle = recorder().ok_or_else(|| ApiError::Internal("metrics go to another recorder".into()))?;
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], handle.render()).into_response())
}

/// The recorder that all parts of the program count into. Like the log, there is one per process.
pub(super) fn recorder() -> Option<&'static PrometheusHandle> {
    static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    const BOUNDS_S: &[f64] = &[0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 240.0];
    RECORDER
        .get_or_init(|| {
            let builder =
                PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), BOUNDS_S);
            let handle = builder.ok()?.install_recorder().ok()?;
            metrics::describe_counter!("http_requests_total", "Requests by method, route and status.");
            metrics::describe_histogram!("http_request_duration_seconds", "Time until the answer began, by route.");
            metrics::describe_gauge!("http_open_streams", "Streams that are open.");
            metrics::describe_counter!("operations_total", "Operations that ended, by action and state.");
            metrics::describe_histogram!("operation_duration_seconds", "From acceptance to end, by action and state.");
            metrics::describe_gauge!("operations_running", "Operations that are under way.");
            metrics::describe_gauge!("operations_open", "Operations that have not ended or are stuck, by state.");
            metrics::describe_gauge!(
                "operations_oldest_seconds",
                "Since when the oldest open operation is accepted, or stuck, by state."
            );
            metrics::describe_counter!("step_failures_total", "Steps that failed for good, by phase, step and code.");
            metrics::describe_counter!("step_retries_total", "Steps that were tried again, by step.");
            Some(handle)
        })
        .as_ref()
}

/// Keeps the histograms small until `stop`.
pub(super) async fn upkeep(stop: CancellationToken) {
    let mut ticks = tokio::time::interval(Duration::from_secs(5));
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Some(handle) = recorder() {
            handle.run_upkeep();
        }
    }
}
