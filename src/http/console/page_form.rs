//! A form that somebody has sent.

use axum::Form;
use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;

use crate::http::error::ApiError;

/// The fields of a form; one that cannot be read is an error like any other.
#[derive(Debug)]
pub(super) struct PageForm<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for PageForm<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        match Form::<T>::from_request(request, state).await {
            Ok(Form(fields)) => Ok(Self(fields)),
            Err(rejection) => {
                let message = format!("the form cannot be read: {}", rejection.body_text());
                Err(ApiError::InvalidValue { param: None, message })
            }
        }
    }
}
