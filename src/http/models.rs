//! `GET /v1/models`: the one model that this server is.

use axum::Json;
use serde::Serialize;

use crate::http::auth::Caller;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::list::List;
use crate::http::path::PathId;

/// The model that clients name, and the one that is meant when they name none.
pub const DEFAULT_MODEL: &str = "app-server-default";

/// When the model came to be: the first release, in seconds since 1970.
const CREATED: i64 = 1_767_225_600;

/// A model, as OpenAI's SDKs know it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Model {
    /// Its name.
    #[schema(value_type = String)]
    pub id: &'static str,
    /// Always `model`.
    #[schema(value_type = String)]
    pub object: &'static str,
    /// Seconds since 1970.
    pub created: i64,
    /// Who makes it.
    #[schema(value_type = String)]
    pub owned_by: &'static str,
}

const MODELS: &[Model] = &[Model { id: DEFAULT_MODEL, object: "model", created: CREATED, owned_by: "on-demand-infra" }];

/// Finds a model.
///
/// # Errors
/// [`ApiError::ModelNotFound`] when there is none of that name.
pub fn find(id: &str) -> Result<&'static Model, ApiError> {
    MODELS.iter().find(|model| model.id == id).ok_or_else(|| ApiError::ModelNotFound(id.chars().take(80).collect()))
}

/// Lists the models.
#[utoipa::path(get, path = "/v1/models", tag = "models", responses((status = 200, body = List<Model>)))]
pub async fn list(_: Caller) -> Json<List<Model>> {
    Json(List::new(MODELS.to_vec(), false, |model| model.id.to_owned()))
}

/// Shows one model.
///
/// # Errors
/// [`ApiError::ModelNotFound`].
#[utoipa::path(get, path = "/v1/models/{id}", tag = "models", params(("id" = String, Path, description = "Name of the model")),
    responses((status = 200, body = Model), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub async fn show(_: Caller, PathId(id): PathId) -> Result<Json<Model>, ApiError> {
    find(&id).cloned().map(Json)
}
