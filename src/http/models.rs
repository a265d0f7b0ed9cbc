//! `GET /v1/models`: the model that this server is, under four names. Three of them preset the mode, for chat pages
//! that can choose nothing but a model.

use axum::Json;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::http::auth::Caller;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::list::List;
use crate::http::path::PathId;
use crate::id::Mode;

/// The model that clients name, and the one that is meant when they name none.
pub const DEFAULT_MODEL: &str = "app-server-default";

/// When the model came to be: the first release, in seconds since 1970.
const CREATED: i64 = 1_767_225_600;

/// A model, as OpenAI's SDKs know it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[schema(as = Model)]
pub struct ModelObject {
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
    /// The mode of requests that name none.
    #[serde(skip)]
    pub mode: Option<Mode>,
}

const fn model(id: &'static str, mode: Option<Mode>) -> ModelObject {
    ModelObject { id, object: "model", created: CREATED, owned_by: "on-demand-infra", mode }
}

const MODELS: &[ModelObject] = &[
    model(DEFAULT_MODEL, None),
    model("deploy-local", Some(Mode::Local)),
    model("deploy-cloud-local", Some(Mode::CloudLocal)),
    model("deploy-cloud-hosted", Some(Mode::CloudHosted)),
];

impl ModelObject {
    /// Puts the mode that the model stands for into a request that names none.
    pub fn preset(&self, body: &mut Map<String, Value>) {
        let Some(mode) = self.mode else { return };
        let field = body.entry("deployment_mode").or_insert(Value::Null);
        if field.is_null() {
            *field = Value::from(mode.as_str());
        }
    }
}

/// Finds a model.
///
/// # Errors
/// [`ApiError::ModelNotFound`] when there is none of that name.
pub fn find(id: &str) -> Result<&'static ModelObject, ApiError> {
    MODELS.iter().find(|model| model.id == id).ok_or_else(|| ApiError::ModelNotFound(id.chars().take(80).collect()))
}

/// Lists the models.
#[utoipa::path(get, path = "/v1/models", tag = "models", responses((status = 200, body = List<ModelObject>)))]
pub async fn list(_: Caller) -> Json<List<ModelObject>> {
    Json(List::new(MODELS.to_vec(), false, |model| model.id.to_owned()))
}

/// Shows one model.
///
/// # Errors
/// [`ApiError::ModelNotFound`].
#[utoipa::path(get, path = "/v1/models/{id}", tag = "models", params(("id" = String, Path, description = "Name of the model")),
    responses((status = 200, body = ModelObject), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub async fn show(_: Caller, PathId(id): PathId) -> Result<Json<ModelObject>, ApiError> {
    find(&id).cloned().map(Json)
}
