//! `GET /v1/models`: the model that this server is, under four names, of which three preset the mode, for chat pages
//! that can choose nothing but a model; and the chat model alone and the embedding model, when there are any.

use std::borrow::Cow;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::access::Caller;
use crate::app::App;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::list::List;
use crate::http::path::PathId;
use crate::id::Mode;

/// The model that clients name, and the one that is meant when they name none.
pub const DEFAULT_MODEL: &str = "app-server-default";

/// The chat model alone: what is said to it passes through, and nothing of ours is offered to it.
pub const CHAT_MODEL: &str = "chat";

/// When the model came to be: the first release, in seconds since 1970.
const CREATED: i64 = 1_767_225_600;

/// A model, as OpenAI's SDKs know it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[schema(as = Model)]
pub struct ModelObject {
    /// Its name.
    #[schema(value_type = String)]
    pub id: Cow<'static, str>,
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
    ModelObject { id: Cow::Borrowed(id), object: "model", created: CREATED, owned_by: "on-demand-infra", mode }
}

const MODELS: &[ModelObject] = &[
    model(DEFAULT_MODEL, None),
    model("deploy-local", Some(Mode::Local)),
    model("deploy-cloud-local", Some(Mode::CloudLocal)),
    model("deploy-cloud-hosted", Some(Mode::CloudHosted)),
    model(CHAT_MODEL, None),
];

impl ModelObject {
    /// Whether the settings have what it needs.
    fn is_served(&self, app: &App) -> bool {
        self.id != CHAT_MODEL || app.model().is_some()
    }

    /// Puts the mode that the model stands for into a request that names none.
    pub fn preset(&self, body: &mut Map<String, Value>) {
        let Some(mode) = self.mode else { return };
        let field = body.entry("deployment_mode").or_insert(Value::Null);
        if field.is_null() {
            *field = Value::from(mode.as_str());
        }
    }
}

/// Finds a model that answers in a chat.
///
/// # Errors
/// [`ApiError::ModelNotFound`] when there is none of that name.
pub fn find(id: &str) -> Result<&'static ModelObject, ApiError> {
    MODELS.iter().find(|model| model.id == id).ok_or_else(|| not_found(id))
}

/// Finds the model that a chat is for; the embedding model is none.
///
/// # Errors
/// [`ApiError`] when there is none of that name, or when it makes embeddings.
pub fn find_for_chat(app: &App, id: &str) -> Result<&'static ModelObject, ApiError> {
    find(id).map_err(|error| match embedding_model(app) {
        Some(model) if model.id == id => {
            ApiError::invalid("model", format!("`{id}` makes embeddings and does not chat: choose `{DEFAULT_MODEL}`"))
        }
        Some(_) | None => error,
    })
}

/// There is no model of that name.
pub(super) fn not_found(id: &str) -> ApiError {
    ApiError::ModelNotFound(id.chars().take(80).collect())
}

fn embedding_model(app: &App) -> Option<ModelObject> {
    let name = app.embedding_model()?.name().to_owned();
    Some(ModelObject { id: Cow::Owned(name), ..model("", None) })
}

/// Lists the models.
#[utoipa::path(get, path = "/v1/models", tag = "models", responses((status = 200, body = List<ModelObject>)))]
pub async fn list(State(app): State<App>, _: Caller) -> Json<List<ModelObject>> {
    let served = MODELS.iter().filter(|it| it.is_served(&app)).cloned();
    let models = served.chain(embedding_model(&app)).collect();
    Json(List::new(models, false, |model: &ModelObject| model.id.to_string()))
}

/// Shows one model.
///
/// # Errors
/// [`ApiError::ModelNotFound`].
#[utoipa::path(get, path = "/v1/models/{id}", tag = "models", params(("id" = String, Path, description = "Name of the model")),
    responses((status = 200, body = ModelObject), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub async fn show(State(app): State<App>, _: Caller, PathId(id): PathId) -> Result<Json<ModelObject>, ApiError> {
    if let Some(model) = embedding_model(&app).filter(|it| it.id == id) {
        return Ok(Json(model));
    }
    let model = find(&id)?;
    if model.is_served(&app) { Ok(Json(model.clone())) } else { Err(not_found(&id)) }
}
