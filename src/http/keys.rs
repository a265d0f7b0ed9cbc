//! `/v1/keys`: the keys of callers, for administrators.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::access::Caller;
use crate::app::App;
use crate::app::keys::{IssuedKey, NewKey};
use crate::http::body::{JsonObject, OptionalJsonObject};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::list::List;
use crate::http::path::PathId;
use crate::id::KeyId;
use crate::id::key::{KeyName, Right, Role};
use crate::store::keys::ApiKey;

/// How long the secret before counts beside a new one when nobody says.
pub const DEFAULT_OVERLAP_S: u64 = 24 * 60 * 60;
/// How long it can.
const MAX_OVERLAP_S: u64 = 366 * 24 * 60 * 60;

/// A key of a caller.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct KeyObject {
    /// Always `api_key`.
    pub object: String,
    /// Its id, which stays when it is rotated: the principal of its requests.
    #[schema(value_type = String)]
    pub id: KeyId,
    /// Its name.
    #[schema(value_type = String)]
    pub name: KeyName,
    /// What kind of thing it may do.
    pub role: Role,
    /// Where.
    pub rights: Vec<Right>,
    /// Whether whatever destroys or costs waits for a person's yes.
    pub ask: bool,
    /// Where it stands: `valid`, `expired` or `revoked`.
    pub state: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was taken out of use.
    pub revoked_at: Option<Timestamp>,
    /// What its holder sends: only in the answer that it is made in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// What else changes with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
}

impl From<ApiKey> for KeyObject {
    fn from(it: ApiKey) -> Self {
        let state = match (it.revoked_at, it.is_valid(Timestamp::now())) {
            (Some(_), _) => "revoked",
            (None, true) => "valid",
            (None, false) => "expired",
        };
        Self {
            object: "api_key".to_owned(),
            id: it.id,
            name: it.name,
            role: it.role,
            rights: it.rights,
            ask: it.asks,
            state: state.to_owned(),
            created_at: it.created_at,
            expires_at: it.expires_at,
            revoked_at: it.revoked_at,
            secret: None,
            notice: None,
        }
    }
}

impl From<IssuedKey> for KeyObject {
    fn from(IssuedKey { key, secret, is_first }: IssuedKey) -> Self {
        let notice = is_first.then(|| {
            "This is the first key: from now on every request needs one, also those from this machine".to_owned()
        });
        Self { secret: Some(secret.expose_secret().to_owned()), notice, ..key.into() }
    }
}

/// A key that is to be made.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CreateKeyBody {
    /// Its name, one of a kind among those that are not revoked.
    pub name: String,
    /// `viewer`, `deployer` or `admin`; without it `admin` for the first key, and `viewer` after that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Where it may do things, at most 100; everywhere without this field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rights: Vec<Right>,
    /// When it ends; never without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Whatever destroys or costs waits for a person's yes.
    pub ask: bool,
}

/// How a key is rotated.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RotateKeyBody {
    /// Seconds for which the secret before counts beside the new one, from 0; a day without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap_s: Option<u64>,
    /// A new end of the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// Lists all keys, newest first.
///
/// # Errors
/// [`ApiError::PermissionDenied`] for whoever is not an administrator.
#[utoipa::path(get, path = "/v1/keys", tag = "keys", responses((status = 200, body = List<KeyObject>)))]
pub async fn list(State(app): State<App>, caller: Caller) -> Result<Json<List<KeyObject>>, ApiError> {
    let keys = app.keys().list(&caller).await?.into_iter().map(KeyObject::from).collect();
    Ok(Json(List::new(keys, false, |it| it.id.to_string())))
}

/// Makes a key. Its secret is in this answer and nowhere else. The first key is an administrator's, and from then on every
/// request needs one.
///
/// # Errors
/// [`ApiError`] when a field is wrong, the name is taken, or the caller is not an administrator.
#[utoipa::path(post, path = "/v1/keys", tag = "keys", request_body = CreateKeyBody,
    responses((status = 201, body = KeyObject), (status = 400, body = ErrorBody), (status = 408, body = ErrorBody), (status = 409, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    JsonObject(body): JsonObject,
) -> Result<(StatusCode, Json<KeyObject>), ApiError> {
    // Before its body is looked at.
    app.keys().permit(&caller, "create a key").await?;
    known(&body, &["name", "role", "rights", "expires_at", "ask"])?;
    let name = body.get("name").ok_or_else(|| ApiError::MissingParameter {
        param: Some("name".into()),
        message: "`name` is missing: what the key is called".to_owned(),
    })?;
    let name = name.as_str().map(KeyName::parse);
    let name = name.ok_or_else(|| ApiError::invalid("name", "`name` must be text"))?;
    let new = NewKey {
        name: name.map_err(|error| ApiError::invalid("name", format!("`name`: {error}")))?,
        role: field(&body, "role", "`viewer`, `deployer` or `admin`")?,
        rights: rights(&body)?,
        asks: field(&body, "ask", "`true` or `false`")?.unwrap_or(false),
        expires_at: field(&body, "expires_at", MOMENT_RULE)?,
    };
    Ok((StatusCode::CREATED, Json(app.keys().create(&caller, new).await?.into())))
}

/// Gives a key, named by its id or its name, another secret, which is in this answer and nowhere else.
///
/// # Errors
/// [`ApiError`] when there is no such key, it was revoked, or the caller is not an administrator.
#[utoipa::path(post, path = "/v1/keys/{id}/rotate", tag = "keys",
    params(("id" = String, Path, description = "Id or name of the key")), request_body = Option<RotateKeyBody>,
    responses((status = 200, body = KeyObject), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 408, body = ErrorBody), (status = 409, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub async fn rotate(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId,
    OptionalJsonObject(body): OptionalJsonObject,
) -> Result<Json<KeyObject>, ApiError> {
    app.keys().permit(&caller, "rotate a key").await?;
    known(&body, &["overlap_s", "expires_at"])?;
    let rule = "a whole number of seconds from 0 to 31622400";
    let overlap_s = field(&body, "overlap_s", rule)?.unwrap_or(DEFAULT_OVERLAP_S);
    if overlap_s > MAX_OVERLAP_S {
        return Err(ApiError::invalid("overlap_s", format!("`overlap_s` must be {rule}")));
    }
    let expires_at = field(&body, "expires_at", MOMENT_RULE)?;
    Ok(Json(app.keys().rotate(&caller, &id, Duration::from_secs(overlap_s), expires_at).await?.into()))
}

/// Takes a key, named by its id or its name, out of use: at once, for good, and with all that is open with it.
///
/// # Errors
/// [`ApiError`] when there is no such key, it is the last administrator's, or the caller is not an administrator.
#[utoipa::path(post, path = "/v1/keys/{id}/revoke", tag = "keys",
    params(("id" = String, Path, description = "Id or name of the key")),
    responses((status = 200, body = KeyObject), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub async fn revoke(State(app): State<App>, caller: Caller, PathId(id): PathId) -> Result<Json<KeyObject>, ApiError> {
    Ok(Json(app.keys().revoke(&caller, &id).await?.into()))
}

const MOMENT_RULE: &str = "a moment such as `2027-01-31T12:00:00Z`";
const RIGHTS_RULE: &str =
    "a list of objects such as `{\"mode\": \"local\", \"namespace\": \"team-a\"}`, each value a valid one or `*`";

/// The rights that are asked for. None at all are everything; an empty list is nothing, and nobody means that.
fn rights(body: &Map<String, Value>) -> Result<Vec<Right>, ApiError> {
    let rights: Option<Vec<Right>> = field(body, "rights", RIGHTS_RULE)?;
    if rights.as_ref().is_some_and(Vec::is_empty) {
        let message = "`rights` is empty, and a key without rights is of no use; leave `rights` out for everything";
        return Err(ApiError::invalid("rights", message));
    }
    Ok(rights.unwrap_or_else(|| vec![Right::ALL]))
}

/// Reads one field.
fn field<T: DeserializeOwned>(
    body: &Map<String, Value>,
    name: &'static str,
    rule: &str,
) -> Result<Option<T>, ApiError> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => T::deserialize(value)
            .map(Some)
            .map_err(|error| ApiError::invalid(name, format!("`{name}` must be {rule} ({error})"))),
    }
}

/// Refuses fields that there are not: a misspelt limit would be none.
fn known(body: &Map<String, Value>, names: &[&str]) -> Result<(), ApiError> {
    match body.keys().find(|it| !names.contains(&it.as_str())) {
        None => Ok(()),
        Some(name) => {
            let name: String = name.chars().take(80).collect();
            let names: Vec<String> = names.iter().map(|it| format!("`{it}`")).collect();
            let message = format!("`{name}` is not a field here; there are {}", names.join(", "));
            Err(ApiError::UnknownParameter { param: Some(name.into()), message })
        }
    }
}
