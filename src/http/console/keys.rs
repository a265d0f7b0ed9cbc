//! The keys of callers, for administrators: a new secret is on the page that answers, and nowhere else.

use axum::Json;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::page_form::PageForm;
use super::render::{self, Heading};
use super::session::Viewer;
use super::text;
use crate::app::App;
use crate::http::body::{JsonObject, OptionalJsonObject};
use crate::http::error::{ApiError, ErrorObject};
use crate::http::keys::{self as api, KeyObject};
use crate::http::path::PathId;
use crate::id::key::{Right, Role};
use crate::id::{Mode, Namespace};

/// What the fields of the API are called on the page.
const LABELS: [(&str, &str); 6] = [
    ("name", "Name"),
    ("role", "Role"),
    ("rights", "Where"),
    ("ask", "Asks a person"),
    ("expires_at", "Ends"),
    ("overlap_s", "The secret before counts"),
];

/// The form of a new key, as it was typed.
#[derive(Debug, Clone, Default, Serialize)]
struct NewKeyForm {
    name: String,
    role: String,
    rights: String,
    ask: String,
    expires_at: String,
}

/// The page of keys.
#[derive(Debug, Serialize)]
struct KeysPage {
    keys: Vec<KeyRow>,
    roles: Vec<&'static str>,
    form: NewKeyForm,
    /// What is wrong with the form.
    error: Option<FormError>,
    /// The key that was made just now.
    issued: Option<Issued>,
}

/// What the page says beside what there is.
#[derive(Debug, Default)]
struct Answer {
    form: NewKeyForm,
    /// What is wrong with the form.
    error: Option<FormError>,
    /// The key that was made just now, with its secret.
    issued: Option<KeyObject>,
}

/// A key, in a row.
#[derive(Debug, Serialize)]
struct KeyRow {
    id: String,
    name: String,
    role: &'static str,
    rights: Vec<String>,
    asks: bool,
    state: String,
    is_in_use: bool,
    created_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
}

/// A key with its secret.
#[derive(Debug, Serialize)]
struct Issued {
    name: String,
    secret: String,
    notice: Option<String>,
}

/// What is wrong with a form, and where.
#[derive(Debug, Serialize)]
struct FormError {
    param: Option<String>,
    message: String,
}

impl From<KeyObject> for KeyRow {
    fn from(it: KeyObject) -> Self {
        Self {
            id: it.id.to_string(),
            name: it.name.to_string(),
            role: it.role.as_str(),
            rights: it.rights.iter().map(Right::to_string).collect(),
            asks: it.ask,
            is_in_use: it.revoked_at.is_none(),
            state: it.state,
            created_at: it.created_at.to_string(),
            expires_at: it.expires_at.map(|it| format!("{it:.0}")),
            revoked_at: it.revoked_at.map(|it| it.to_string()),
        }
    }
}

/// Shows all keys, newest first.
pub(super) async fn show(State(app): State<App>, viewer: Viewer) -> Result<Html<String>, ApiError> {
    page(app, &viewer, Answer::default()).await
}

/// Makes a key.
pub(super) async fn create(State(app): State<App>, viewer: Viewer, form: PageForm) -> Result<Response, ApiError> {
    let form = NewKeyForm::from(&form);
    let created = match form.body() {
        Ok(body) => api::create(State(app.clone()), viewer.caller.clone(), JsonObject(body)).await,
        Err(error) => Err(error),
    };
    match created {
        Ok((status, Json(key))) => {
            let page = page(app, &viewer, Answer { issued: Some(key), ..Answer::default() }).await?;
            Ok((status, page).into_response())
        }
        Err(error @ (ApiError::Internal(_) | ApiError::PermissionDenied(_))) => Err(error),
        Err(error) => {
            let response = error.into_response();
            let status = response.status();
            let Some(told) = response.extensions().get::<ErrorObject>().cloned() else { return Ok(response) };
            let error = FormError { param: told.param.map(Into::into), message: in_labels(&told.message) };
            let answer = Answer { form, error: Some(error), ..Answer::default() };
            Ok((status, page(app, &viewer, answer).await?).into_response())
        }
    }
}

/// Gives a key another secret.
pub(super) async fn rotate(
    State(app): State<App>,
    viewer: Viewer,
    id: PathId,
    form: PageForm,
) -> Result<Html<String>, ApiError> {
    let mut body = Map::new();
    if let Some(typed) = form.text("overlap_s").filter(|it| !it.is_empty()) {
        let seconds = typed.parse::<u64>().map_or_else(|_| Value::from(typed), Value::from);
        body.insert("overlap_s".to_owned(), seconds);
    }
    let Json(key) = api::rotate(State(app.clone()), viewer.caller.clone(), id, OptionalJsonObject(body)).await?;
    page(app, &viewer, Answer { issued: Some(key), ..Answer::default() }).await
}

/// Takes a key out of use.
pub(super) async fn revoke(State(app): State<App>, viewer: Viewer, id: PathId) -> Result<Redirect, ApiError> {
    let _ = api::revoke(State(app), viewer.caller, id).await?;
    Ok(Redirect::to("/keys"))
}

async fn page(app: App, viewer: &Viewer, answer: Answer) -> Result<Html<String>, ApiError> {
    let Answer { form, error, issued } = answer;
    let Json(keys) = api::list(State(app), viewer.caller.clone()).await?;
    let issued = issued.and_then(|it| {
        let KeyObject { name, secret, notice, .. } = it;
        secret.map(|secret| Issued { name: name.to_string(), secret, notice })
    });
    let roles = Role::ALL.iter().map(|it| it.as_str()).collect();
    let values = KeysPage { keys: keys.data.into_iter().map(KeyRow::from).collect(), roles, form, error, issued };
    render::page(viewer, "keys.html", Heading { title: "Keys", place: "/keys" }, values)
}

impl From<&PageForm> for NewKeyForm {
    fn from(form: &PageForm) -> Self {
        let text = |name: &str| form.text(name).unwrap_or_default().to_owned();
        Self {
            name: text("name"),
            role: text("role"),
            rights: text("rights"),
            ask: text("ask"),
            expires_at: text("expires_at"),
        }
    }
}

impl NewKeyForm {
    /// The body that the API takes. What is empty is left out.
    fn body(&self) -> Result<Map<String, Value>, ApiError> {
        let mut body = Map::new();
        let texts = [("name", &self.name), ("role", &self.role)];
        for (name, text) in texts.into_iter().filter(|(_, text)| !text.trim().is_empty()) {
            body.insert(name.to_owned(), json!(text.trim()));
        }
        let lines = self.rights.lines().map(str::trim).filter(|it| !it.is_empty());
        let rights: Vec<Value> = lines.map(right).collect::<Result<_, _>>()?;
        if !rights.is_empty() {
            body.insert("rights".to_owned(), Value::Array(rights));
        }
        if !self.ask.is_empty() {
            body.insert("ask".to_owned(), json!(true));
        }
        if !self.expires_at.trim().is_empty() {
            let typed = self.expires_at.trim();
            let at = text::moment(typed).map_or_else(|| typed.to_owned(), |it| it.to_string());
            body.insert("expires_at".to_owned(), json!(at));
        }
        Ok(body)
    }
}

/// A right as a line tells it: a mode and a namespace, each a `*` for any.
fn right(line: &str) -> Result<Value, ApiError> {
    let pair = line.split_once(':').map(|(mode, namespace)| (mode.trim(), namespace.trim()));
    let is_known = |(mode, namespace): &(&str, &str)| {
        (*mode == "*" || Mode::parse(mode).is_ok()) && (*namespace == "*" || Namespace::parse(*namespace).is_ok())
    };
    let (mode, namespace) = pair.filter(is_known).ok_or_else(|| {
        let line: String = line.chars().take(80).collect();
        let message = format!("`rights`: `{line}` is no mode and namespace, such as `local:team-a` or `*:team-a`");
        ApiError::invalid("rights", message)
    })?;
    Ok(json!({ "mode": mode, "namespace": namespace }))
}

/// What the API says of a key, with the labels of its fields.
fn in_labels(text: &str) -> String {
    LABELS
        .iter()
        .fold(text.replace("**", ""), |text, (name, label)| text.replace(&format!("`{name}`"), &format!("“{label}”")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_of_a_key_becomes_what_the_api_takes() {
        let form = NewKeyForm {
            name: " ci ".to_owned(),
            role: "deployer".to_owned(),
            rights: "local:team-a\r\n\r\n*:team-b".to_owned(),
            ask: "true".to_owned(),
            expires_at: "2027-01-31T12:00".to_owned(),
        };

        let expected = json!({
            "name": "ci",
            "role": "deployer",
            "rights": [{"mode": "local", "namespace": "team-a"}, {"mode": "*", "namespace": "team-b"}],
            "ask": true,
            "expires_at": "2027-01-31T12:00:00Z",
        });
        assert_eq!(Value::Object(form.body().unwrap()), expected);
        assert!(NewKeyForm::default().body().unwrap().is_empty());
        for wrong in ["team-a", "nowhere:team-a", "local:Team A"] {
            assert!(right(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            in_labels("`ask`: a `viewer`; leave `ask` out"),
            "“Asks a person”: a `viewer`; leave “Asks a person” out"
        );
    }
}
