//! `POST /v1/chat/completions`: understand, accept, answer.

use std::convert::identity;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use futures_util::TryStreamExt;
use jiff::Timestamp;
use uuid::Uuid;

use crate::app::{Accepted, App, AppError};
use crate::http::auth::Caller;
use crate::http::body::JsonObject;
use crate::http::deployments::DeploymentObject;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::limit::Streams;
use crate::http::models;
use crate::http::request_id::RequestId;
use crate::id::OperationId;
use crate::reply::view::Report;
use crate::reply::{outcome, report};

pub mod intake;
pub mod key;
pub mod page;
pub mod request;
pub mod stream;
pub mod wire;

use intake::Understood;
use request::ChatRequest;
use stream::Writer;
use wire::{ChatCompletion, Head, OperationLink, Words};

/// Answers a conversation: with words, or by carrying out what it asks for.
///
/// # Errors
/// [`ApiError`] when the request cannot be accepted. Work that fails is an answer.
#[utoipa::path(post, path = "/v1/chat/completions", tag = "chat", request_body = super::openapi::ChatBody,
    responses((status = 200, content((ChatCompletion = "application/json"), (super::openapi::Frame = "text/event-stream")),
            description = "The answer; with `stream` in chunks, one in the data of each event, and `[DONE]` in the last"),
        (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 408, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody),
        (status = 422, body = ErrorBody)))]
pub async fn complete(
    State(app): State<App>,
    State(streams): State<Streams>,
    caller: Caller,
    request_id: RequestId,
    headers: HeaderMap,
    JsonObject(body): JsonObject,
) -> Result<Response, ApiError> {
    let chat = ChatRequest::read(&body)?;
    models::find(&chat.model)?;
    let writer = if chat.stream { Some(Writer::open(&streams, &chat, &headers, request_id)?) } else { None };
    let reply = Reply { chat, writer };
    if let Some(text) = page::background_answer(&headers, &reply.chat) {
        return Ok(reply.say(text));
    }
    let request = match intake::read(&body, &reply.chat, app.settings())? {
        Understood::Words(text) => return Ok(reply.say(text)),
        Understood::Request(request) => *request,
    };
    let key = key::of(&caller, &headers, &body, &request)?;
    // Boxed: the future of planning is large, and the handler is copied around with it.
    match Box::pin(app.accept(&caller.principal, Some(key), request)).await? {
        Accepted::Operation { id, attached: _ } => reply.operation(app, id).await,
        Accepted::Plan(plan) => Ok(reply.say(report::plan(&plan))),
        Accepted::Report(answer) => reply.report(&app, answer).await,
    }
}

/// How the answer is given: whole, or through a writer.
struct Reply {
    chat: ChatRequest,
    writer: Option<Writer>,
}

impl Reply {
    fn say(self, words: impl Into<Words>) -> Response {
        let head = self.head(Uuid::now_v7(), Timestamp::now().as_second());
        match self.writer {
            None => Json(ChatCompletion::new(&head, words.into())).into_response(),
            Some(writer) => writer.words(head, words.into()),
        }
    }

    /// Every answer about one operation has the same head, so that those who attach get the same answer.
    async fn operation(self, app: App, id: OperationId) -> Result<Response, ApiError> {
        let began = id.uuid().get_timestamp().map_or(0, |it| it.to_unix().0);
        let head = self.head(id.uuid(), i64::try_from(began).unwrap_or(0));
        if let Some(writer) = self.writer {
            return Ok(writer.operation(head, app, id));
        }
        wait(&app, id, app.settings().server.answer_within).await?;
        Ok(Json(ChatCompletion::new(&head, words(&app, id).await?)).into_response())
    }

    async fn report(self, app: &App, report: Report) -> Result<Response, ApiError> {
        Ok(match report {
            Report::Deployments(deployments) => self.say(report::deployments(&deployments)),
            Report::Status { deployment, live } => self.say(Words {
                content: report::status(&deployment, &live),
                deployment: Some(DeploymentObject::from(&deployment)),
                operation: None,
            }),
            Report::Logs { deployment, follow, tail } => {
                let follow = follow && self.writer.is_some();
                let lines = app.logs(&deployment, tail, follow).await?;
                match self.writer {
                    Some(writer) if follow => {
                        let head = head(&self.chat, Uuid::now_v7(), Timestamp::now().as_second());
                        writer.logs(head, app.shutdown_token(), &deployment, lines)
                    }
                    writer => {
                        let lines: Vec<String> = lines.try_collect().await?;
                        Self { chat: self.chat, writer }.say(Words {
                            content: report::logs(&deployment, &lines),
                            deployment: Some(DeploymentObject::from(&deployment)),
                            operation: None,
                        })
                    }
                }
            }
            Report::Cancelled(id) => {
                let state = app.operation(id).await?.map(|operation| operation.state);
                self.say(Words {
                    content: report::cancelled(id),
                    operation: state.map(|state| OperationLink::new(id, state)),
                    deployment: None,
                })
            }
        })
    }

    fn head(&self, id: Uuid, created: i64) -> Head {
        head(&self.chat, id, created)
    }
}

fn head(chat: &ChatRequest, id: Uuid, created: i64) -> Head {
    Head { id: format!("chatcmpl-{}", id.simple()), created, model: chat.model.clone(), prompt_tokens: chat.tokens() }
}

/// Waits until an operation has ended, or the time is up, or the server stops. The operation goes on in any case.
async fn wait(app: &App, id: OperationId, within: Duration) -> Result<(), ApiError> {
    let ended = app.follow(id, 0).map_ok(drop).try_fold((), |(), ()| async { Ok::<_, AppError>(()) });
    let ended = tokio::time::timeout(within, app.shutdown_token().run_until_cancelled_owned(ended)).await;
    ended.ok().and_then(identity).transpose()?;
    Ok(())
}

/// What there is to say about an operation as it stands now.
async fn words(app: &App, id: OperationId) -> Result<Words, ApiError> {
    let operation = app.operation(id).await?.ok_or_else(|| ApiError::OperationNotFound(id.to_string()))?;
    let deployment = app.deployment(operation.deployment).await?;
    let steps = if operation.state.is_ended() { Vec::new() } else { app.steps(&operation).await? };
    Ok(Words {
        content: outcome::outcome(&operation, deployment.as_ref(), &steps),
        operation: Some(OperationLink::new(id, operation.state)),
        deployment: deployment.as_ref().map(DeploymentObject::from),
    })
}
