//! `ApiError`: every way in which a request can be refused, and the OpenAI error object that says so.

use std::borrow::Cow;

use axum::Json;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::app::keys::SignInError;
use crate::app::oidc::TokenError;
use crate::app::{AppError, BoxError};
use crate::conversation::AnswerError;
use crate::http::request_id;
use crate::id::OperationId;
use crate::intent::selection::SelectionError;
use crate::intent::{IntentError, IntentErrorCode};
use crate::llm::LlmError;

/// Says why a request is not answered with what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The body is not JSON.
    #[error("the body is not valid JSON: {0}")]
    MalformedJson(String),
    /// A value is out of range, of the wrong kind or against its rule.
    #[error("{message}")]
    InvalidValue {
        /// The field.
        param: Option<Cow<'static, str>>,
        /// What would be right.
        message: String,
    },
    /// A field that is needed is not there.
    #[error("{message}")]
    MissingParameter {
        /// The first of them.
        param: Option<Cow<'static, str>>,
        /// All of them.
        message: String,
    },
    /// A field is not one of ours, but nearly.
    #[error("{message}")]
    UnknownParameter {
        /// The field.
        param: Option<Cow<'static, str>>,
        /// Which one was meant.
        message: String,
    },
    /// Several deployments fit.
    #[error("{message}")]
    AmbiguousDeployment {
        /// The field that would tell.
        param: &'static str,
        /// Which ones.
        message: String,
    },
    /// The key or token is missing, or opens nothing.
    #[error(transparent)]
    InvalidApiKey(SignInError),
    /// No token can be checked, because its issuer does not tell its keys.
    #[error("{0}")]
    IssuerUnavailable(String),
    /// The caller may not do it.
    #[error("{0}")]
    PermissionDenied(String),
    /// There is no such key.
    #[error("{0}")]
    KeyNotFound(String),
    /// A server without keys is asked under a name that is not this machine's.
    #[error(
        "this server has no API keys and answers only under `localhost` or a loopback address; set `API_KEYS` to use `{0}`"
    )]
    HostNotAllowed(String),
    /// A server without keys is asked by a web page of elsewhere.
    #[error("this server has no API keys and answers no page of `{0}`; list it in `ALLOWED_ORIGINS`, or make a key")]
    OriginNotAllowed(String),
    /// The server is asked under a name that is not on its list.
    #[error("this server does not answer as `{0}`; list it in `ALLOWED_HOSTS`")]
    HostNotListed(String),
    /// A web page of elsewhere asks what only pages of the lists may ask.
    #[error("this server answers no page of `{0}` here; list it in `ALLOWED_ORIGINS`")]
    OriginNotListed(String),
    /// There is no such model.
    #[error("the model `{0}` does not exist; `GET /v1/models` lists those that do")]
    ModelNotFound(String),
    /// Embeddings are asked for, and the settings name no model for them.
    #[error(
        "this server has no embedding model: set `AZURE_EMBEDDING_DEPLOYMENT` beside `AZURE_OPENAI_ENDPOINT` and `AZURE_OPENAI_API_KEY`, or `LLM_EMBEDDING_MODEL` beside `LLM_BASE_URL`"
    )]
    NoEmbeddingModel,
    /// The model alone is wanted, and the settings name none.
    #[error(
        "`{param}` asks for an answer of the chat model alone, and this server has none: set `AZURE_OPENAI_ENDPOINT`, `AZURE_OPENAI_API_KEY` and `AZURE_OPENAI_DEPLOYMENT`, or `LLM_BASE_URL` and `LLM_MODEL`"
    )]
    NoChatModel {
        /// The field that asks for it.
        param: &'static str,
    },
    /// There is no such deployment.
    #[error("{0}")]
    DeploymentNotFound(String),
    /// No such response is stored for the caller.
    #[error("there is no response `{id}`: it is another key's, or was deleted, or not stored")]
    ResponseNotFound {
        /// What was asked for.
        id: String,
        /// The field that names it, when it is not the path.
        param: Option<&'static str>,
    },
    /// No such chat completion is stored for the caller.
    #[error(
        "there is no stored chat completion `{0}`: it is another key's, or was deleted, or not stored (`store: true`)"
    )]
    CompletionNotFound(String),
    /// There is no such operation.
    #[error("there is no operation `{0}`")]
    OperationNotFound(String),
    /// There is no such route.
    #[error("there is no `{0}` here; `/openapi.json` lists every route")]
    RouteNotFound(String),
    /// The route exists, for other methods.
    #[error("`{0}` is not possible here; `/openapi.json` lists every route")]
    MethodNotAllowed(String),
    /// The body came too slowly.
    #[error("the body did not arrive in time")]
    BodyTimeout,
    /// Another operation is running on the deployment.
    #[error("{message}")]
    DeploymentBusy {
        /// Names the deployment and the operation.
        message: String,
        /// The operation that is running.
        operation: OperationId,
    },
    /// The request contradicts what exists.
    #[error("{message}")]
    Conflict {
        /// The field to change.
        param: Option<&'static str>,
        /// What contradicts what.
        message: String,
    },
    /// What is stored cannot be read by this version of the program.
    #[error("{0}")]
    Unreadable(String),
    /// The body is too large.
    #[error("the body is larger than {0} bytes")]
    BodyTooLarge(u64),
    /// The body is not JSON by its own account.
    #[error("{0}")]
    UnsupportedMediaType(&'static str),
    /// The body, or `messages`, is of the wrong JSON kind.
    #[error("{message}")]
    WrongKind {
        /// The field, or nothing for the body itself.
        param: Option<&'static str>,
        /// What it should be.
        message: &'static str,
    },
    /// The same key came with another request.
    #[error("this idempotency key was used for another request; use a new key for a new request")]
    IdempotencyKeyReused,
    /// Too many requests in the last minute.
    #[error("too many requests; try again in {retry_after_s} s")]
    RateLimited {
        /// When the next one may come.
        retry_after_s: u64,
    },
    /// The header is too large.
    #[error("the header of the request is larger than {0} bytes")]
    HeaderTooLarge(usize),
    /// A fault of ours. Its cause goes to the log only.
    #[error("something went wrong on our side")]
    Internal(#[source] BoxError),
    /// The server is about to stop.
    #[error("the server is shutting down; send the request again in a moment")]
    ShuttingDown,
    /// The chat model, or the embedding model, gave no answer.
    #[error(transparent)]
    Model(#[from] LlmError),
    /// As many streams are open as the settings allow.
    #[error("too many streams are open; try again in a moment")]
    TooManyStreams,
}

/// Status, OpenAI error type and stable code of an error.
type Class = (StatusCode, &'static str, &'static str);

const INVALID: &str = "invalid_request_error";

impl ApiError {
    /// Status, OpenAI error type and stable code, in one table.
    fn class(&self) -> Class {
        match self {
            Self::MalformedJson(_) => (StatusCode::BAD_REQUEST, INVALID, "invalid_json"),
            Self::InvalidValue { .. } => (StatusCode::BAD_REQUEST, INVALID, "invalid_value"),
            Self::MissingParameter { .. } => (StatusCode::BAD_REQUEST, INVALID, "missing_required_parameter"),
            Self::UnknownParameter { .. } => (StatusCode::BAD_REQUEST, INVALID, "unknown_parameter"),
            Self::AmbiguousDeployment { .. } => (StatusCode::BAD_REQUEST, INVALID, "ambiguous_deployment"),
            Self::InvalidApiKey(_) => (StatusCode::UNAUTHORIZED, INVALID, "invalid_api_key"),
            Self::HostNotAllowed(_) | Self::HostNotListed(_) => (StatusCode::FORBIDDEN, INVALID, "host_not_allowed"),
            Self::OriginNotAllowed(_) | Self::OriginNotListed(_) => {
                (StatusCode::FORBIDDEN, INVALID, "origin_not_allowed")
            }
            Self::PermissionDenied(_) => (StatusCode::FORBIDDEN, INVALID, "permission_denied"),
            Self::KeyNotFound(_) => (StatusCode::NOT_FOUND, INVALID, "key_not_found"),
            Self::ModelNotFound(_) => (StatusCode::NOT_FOUND, INVALID, "model_not_found"),
            Self::NoEmbeddingModel => (StatusCode::NOT_FOUND, INVALID, "no_embedding_model"),
            Self::NoChatModel { .. } => (StatusCode::BAD_REQUEST, INVALID, "no_chat_model"),
            Self::DeploymentNotFound(_) => (StatusCode::NOT_FOUND, INVALID, "deployment_not_found"),
            Self::ResponseNotFound { .. } => (StatusCode::NOT_FOUND, INVALID, "response_not_found"),
            Self::CompletionNotFound(_) => (StatusCode::NOT_FOUND, INVALID, "completion_not_found"),
            Self::OperationNotFound(_) => (StatusCode::NOT_FOUND, INVALID, "operation_not_found"),
            Self::RouteNotFound(_) => (StatusCode::NOT_FOUND, INVALID, "route_not_found"),
            Self::MethodNotAllowed(_) => (StatusCode::METHOD_NOT_ALLOWED, INVALID, "method_not_allowed"),
            Self::BodyTimeout => (StatusCode::REQUEST_TIMEOUT, INVALID, "request_timeout"),
            Self::DeploymentBusy { .. } => (StatusCode::CONFLICT, INVALID, "deployment_busy"),
            Self::Conflict { .. } => (StatusCode::CONFLICT, INVALID, "conflict"),
            Self::Unreadable(_) => (StatusCode::CONFLICT, INVALID, "unreadable"),
            Self::BodyTooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, INVALID, "body_too_large"),
            Self::UnsupportedMediaType(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, INVALID, "unsupported_media_type"),
            Self::WrongKind { .. } => (StatusCode::UNPROCESSABLE_ENTITY, INVALID, "invalid_type"),
            Self::IdempotencyKeyReused => (StatusCode::UNPROCESSABLE_ENTITY, INVALID, "idempotency_key_reused"),
            Self::RateLimited { .. } => (StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", "rate_limit_exceeded"),
            Self::HeaderTooLarge(_) => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, INVALID, "header_too_large"),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "server_error", "internal_error"),
            Self::IssuerUnavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "server_error", "issuer_unavailable"),
            Self::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, "server_error", "shutting_down"),
            Self::TooManyStreams => (StatusCode::SERVICE_UNAVAILABLE, "server_error", "too_many_streams"),
            Self::Model(error) => model_class(error),
        }
    }

    fn param(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::InvalidValue { param, .. }
            | Self::MissingParameter { param, .. }
            | Self::UnknownParameter { param, .. } => param.clone(),
            Self::AmbiguousDeployment { param, .. } | Self::NoChatModel { param } => Some((*param).into()),
            Self::Conflict { param, .. } | Self::WrongKind { param, .. } | Self::ResponseNotFound { param, .. } => {
                param.map(Into::into)
            }
            Self::ModelNotFound(_) | Self::NoEmbeddingModel => Some("model".into()),
            Self::Model(LlmError::Refused { param, .. }) => param.clone().map(Into::into),
            Self::Model(LlmError::Filtered { .. }) => Some("messages".into()),
            Self::MalformedJson(_)
            | Self::InvalidApiKey(_)
            | Self::IssuerUnavailable(_)
            | Self::HostNotAllowed(_)
            | Self::HostNotListed(_)
            | Self::OriginNotAllowed(_)
            | Self::OriginNotListed(_)
            | Self::PermissionDenied(_)
            | Self::KeyNotFound(_)
            | Self::DeploymentNotFound(_)
            | Self::CompletionNotFound(_)
            | Self::OperationNotFound(_)
            | Self::RouteNotFound(_)
            | Self::MethodNotAllowed(_)
            | Self::BodyTimeout
            | Self::DeploymentBusy { .. }
            | Self::Unreadable(_)
            | Self::BodyTooLarge(_)
            | Self::UnsupportedMediaType(_)
            | Self::IdempotencyKeyReused
            | Self::RateLimited { .. }
            | Self::HeaderTooLarge(_)
            | Self::Internal(_)
            | Self::ShuttingDown
            | Self::Model(_)
            | Self::TooManyStreams => None,
        }
    }

    /// Seconds after which the same request may well succeed.
    fn retry_after_s(&self) -> Option<u64> {
        if let Self::RateLimited { retry_after_s } = self {
            return Some(*retry_after_s);
        }
        if let Self::Model(error) = self {
            let wanted = error.retry_after().map(|it| it.as_secs() + 1);
            return wanted.or_else(|| error.is_outage().then_some(5));
        }
        (self.class().0 == StatusCode::SERVICE_UNAVAILABLE).then_some(5)
    }

    /// Whether sending the same again can never help. SDKs send 409 and 5xx again unless they are told.
    fn is_final(&self) -> bool {
        if let Self::Model(error) = self {
            return !error.is_transient() && !error.is_outage() && error.retry_after().is_none();
        }
        let (status, ..) = self.class();
        status.is_client_error() && !matches!(self, Self::RateLimited { .. } | Self::BodyTimeout)
    }

    /// A wrong value of one field.
    pub fn invalid(param: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::InvalidValue { param: Some(param.into()), message: message.into() }
    }

    /// `{"error": {"message", "type", "param", "code"}}`, also for an error in the middle of a stream. Logs a fault of
    /// ours, once; the client gets the id of its request to quote.
    #[must_use]
    pub fn body(self, request_id: &str) -> ErrorBody {
        let (_, kind, code) = self.class();
        let code = if let Self::Model(LlmError::Refused { code: Some(code), .. }) = &self {
            Cow::Owned(code.clone())
        } else {
            Cow::Borrowed(code)
        };
        let message = if let Self::Internal(source) = &self {
            tracing::error!(request.id = request_id, error = %chain(source.as_ref()), "A request failed by a fault of ours.");
            format!("{self} (request `{request_id}`)")
        } else {
            self.to_string()
        };
        ErrorBody { error: ErrorObject { message, kind, param: self.param(), code } }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, ..) = self.class();
        let (retry_after, is_final) = (self.retry_after_s(), self.is_final());
        let challenge = if let Self::InvalidApiKey(error) = &self { Some(challenge(error)) } else { None };
        let body = self.body(&request_id::current());
        let told = body.error.clone();
        let mut response = (status, Json(body)).into_response();
        // For a surface that has another form for it.
        response.extensions_mut().insert(told);
        let headers = response.headers_mut();
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if is_final {
            headers.insert("x-should-retry", HeaderValue::from_static("false"));
        }
        if let Some(challenge) = challenge {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// What a client is told in the header that asks for a key (RFC 6750): nothing is wrong with one that was not sent.
fn challenge(error: &SignInError) -> HeaderValue {
    let plain = HeaderValue::from_static("Bearer");
    if *error == SignInError::NoKey {
        return plain;
    }
    let fits = |it: char| matches!(it, ' '..='~') && it != '"' && it != '\\';
    let description: String = error.to_string().chars().map(|it| if fits(it) { it } else { '?' }).collect();
    HeaderValue::from_str(&format!("Bearer error=\"invalid_token\", error_description=\"{description}\""))
        .unwrap_or(plain)
}

/// The model's errors: what the caller sent is the caller's, everything else is not.
fn model_class(error: &LlmError) -> Class {
    match error {
        LlmError::Refused { status, .. } => {
            let status = StatusCode::from_u16(*status).ok().filter(StatusCode::is_client_error);
            (status.unwrap_or(StatusCode::BAD_REQUEST), INVALID, "invalid_value")
        }
        LlmError::Filtered { .. } => (StatusCode::BAD_REQUEST, INVALID, "content_filter"),
        LlmError::RateLimited { .. } => (StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", "rate_limit_exceeded"),
        LlmError::Unreachable { .. }
        | LlmError::TimedOut(_)
        | LlmError::Unauthorized { .. }
        | LlmError::Forbidden { .. }
        | LlmError::NoSuchModel { .. }
        | LlmError::ServerError { .. }
        | LlmError::Malformed
        | LlmError::Truncated
        | LlmError::InStream { .. }
        | LlmError::CircuitOpen(_) => (StatusCode::SERVICE_UNAVAILABLE, "server_error", "model_unavailable"),
    }
}

impl From<SignInError> for ApiError {
    fn from(error: SignInError) -> Self {
        if let SignInError::Token(refused @ TokenError::NoRole { .. }) = &error {
            Self::PermissionDenied(refused.to_string())
        } else if let SignInError::Token(unchecked @ TokenError::Unchecked(_)) = &error {
            Self::IssuerUnavailable(unchecked.to_string())
        } else {
            Self::InvalidApiKey(error)
        }
    }
}

impl From<AnswerError> for ApiError {
    fn from(error: AnswerError) -> Self {
        match error {
            AnswerError::App(error) => error.into(),
            AnswerError::Model(error) => Self::Model(error),
        }
    }
}

impl From<AppError> for ApiError {
    fn from(error: AppError) -> Self {
        let text = error.to_string();
        match error {
            AppError::Busy { deployment: _, operation } => Self::DeploymentBusy { message: text, operation },
            AppError::Selection(SelectionError::NotFound { .. }) => Self::DeploymentNotFound(text),
            AppError::Selection(SelectionError::Several { fields, .. }) => {
                Self::AmbiguousDeployment { param: fields.first().copied().unwrap_or("instance_id"), message: text }
            }
            AppError::NotFound { message } => Self::DeploymentNotFound(message),
            AppError::Forbidden { message } => Self::PermissionDenied(message),
            AppError::OperationNotFound(id) => Self::OperationNotFound(id.to_string()),
            AppError::KeyNotFound(_) => Self::KeyNotFound(text),
            AppError::Ambiguous { message, param } => Self::AmbiguousDeployment { param, message },
            AppError::Conflict { message, param } => Self::Conflict { param, message },
            AppError::Invalid { message, param } => Self::invalid(param, message),
            AppError::Unreadable { message } => Self::Unreadable(message),
            AppError::KeyReused => Self::IdempotencyKeyReused,
            AppError::ShuttingDown => Self::ShuttingDown,
            AppError::Internal(source) => Self::Internal(source),
        }
    }
}

impl From<IntentError> for ApiError {
    fn from(IntentError { param, message, code }: IntentError) -> Self {
        match code {
            IntentErrorCode::InvalidValue => Self::InvalidValue { param, message },
            IntentErrorCode::MissingRequiredParameter => Self::MissingParameter { param, message },
            IntentErrorCode::UnknownParameter => Self::UnknownParameter { param, message },
        }
    }
}

/// The body of every answer that is an error.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ErrorBody {
    /// What is wrong.
    pub error: ErrorObject,
}

/// What is wrong with a request.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ErrorObject {
    /// For a person: the cause and what would be right.
    pub message: String,
    /// OpenAI's class of errors.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    pub kind: &'static str,
    /// The field that is wrong.
    #[schema(value_type = Option<String>)]
    pub param: Option<Cow<'static, str>>,
    /// The stable name of the error.
    #[schema(value_type = String)]
    pub code: Cow<'static, str>,
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_an_api() {
        let text = || "text".to_owned();
        let errors = [
            ApiError::MalformedJson(text()),
            ApiError::invalid("n", text()),
            ApiError::MissingParameter { param: Some("action".into()), message: text() },
            ApiError::UnknownParameter { param: Some("actoin".into()), message: text() },
            ApiError::AmbiguousDeployment { param: "instance_id", message: text() },
            ApiError::InvalidApiKey(SignInError::Unknown),
            ApiError::IssuerUnavailable(text()),
            ApiError::HostNotAllowed(text()),
            ApiError::HostNotListed(text()),
            ApiError::OriginNotAllowed(text()),
            ApiError::OriginNotListed(text()),
            ApiError::PermissionDenied(text()),
            ApiError::KeyNotFound(text()),
            ApiError::ModelNotFound(text()),
            ApiError::NoEmbeddingModel,
            ApiError::DeploymentNotFound(text()),
            ApiError::ResponseNotFound { id: text(), param: Some("previous_response_id") },
            ApiError::CompletionNotFound(text()),
            ApiError::OperationNotFound(text()),
            ApiError::RouteNotFound(text()),
            ApiError::MethodNotAllowed(text()),
            ApiError::BodyTimeout,
            ApiError::DeploymentBusy { message: text(), operation: OperationId::new() },
            ApiError::Conflict { param: None, message: text() },
            ApiError::Unreadable(text()),
            ApiError::BodyTooLarge(1),
            ApiError::UnsupportedMediaType("text"),
            ApiError::WrongKind { param: Some("messages"), message: "text" },
            ApiError::IdempotencyKeyReused,
            ApiError::RateLimited { retry_after_s: 1 },
            ApiError::HeaderTooLarge(1),
            ApiError::Internal("text".into()),
            ApiError::ShuttingDown,
            ApiError::TooManyStreams,
            ApiError::Model(LlmError::Truncated),
            ApiError::Model(LlmError::NoSuchModel { model: text(), address: text(), setting: "SETTING" }),
            ApiError::Model(LlmError::RateLimited { retry_after: None }),
            ApiError::Model(LlmError::Filtered { message: text() }),
            ApiError::Model(LlmError::Refused {
                status: 400,
                message: text(),
                param: Some("temperature".to_owned()),
                code: Some("unsupported_value".to_owned()),
            }),
        ];

        let table: Vec<String> = errors
            .into_iter()
            .map(|error| {
                let (status, kind, code) = error.class();
                let param = error.param().unwrap_or("-".into());
                format!("{} {kind} {code} {param}{}", status.as_u16(), if error.is_final() { " final" } else { "" })
            })
            .collect();

        insta::assert_snapshot!(table.join("\n"));
    }

    #[test]
    fn a_fault_of_ours_tells_the_client_only_the_id_of_its_request() {
        let body = ApiError::Internal("password in the connection string".into()).body("req_1");

        insta::assert_json_snapshot!(body, @r#"
        {
          "error": {
            "message": "something went wrong on our side (request `req_1`)",
            "type": "server_error",
            "param": null,
            "code": "internal_error"
          }
        }
        "#);
    }
}
