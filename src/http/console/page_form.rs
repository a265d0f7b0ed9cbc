//! A form that somebody has sent: read once, where its token is looked at.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use url::form_urlencoded;

use crate::http::error::ApiError;

/// The fields of a form. Some are secrets: nothing prints it.
#[derive(Clone)]
pub(super) struct PageForm(Vec<(String, String)>);

impl PageForm {
    /// Reads the body of a request.
    pub(super) fn read(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    /// What a field holds, the last of its name.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(it, _)| it == name).map(|(_, text)| text.as_str())
    }

    /// The same of a field that every such form has.
    ///
    /// # Errors
    /// [`ApiError`] when this one has not.
    pub(super) fn required(&self, name: &'static str) -> Result<&str, ApiError> {
        self.text(name).ok_or_else(|| ApiError::invalid(name, format!("the form has no field `{name}`")))
    }

    /// All fields.
    pub(super) fn into_pairs(self) -> Vec<(String, String)> {
        self.0
    }
}

impl<S: Sync> FromRequestParts<S> for PageForm {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let form = parts.extensions.remove::<Self>();
        form.ok_or_else(|| ApiError::Internal("a page asks for a form and is not behind `session`".into()))
    }
}
