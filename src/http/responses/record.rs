//! What is kept of a response.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::access::Caller;
use crate::app::{App, AppError};
use crate::http::kept;
use crate::http::responses::object::{ResponseBuilder, response_id};
use crate::id::OperationId;
use crate::secret::Redactor;
use crate::store::stored_answers::AnswerKind;

/// A response as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredResponse {
    /// The response object as it stood last.
    pub object: Value,
    /// What was said, as items.
    pub input: Vec<Value>,
    /// The words of the answer as they came, from which its events are made again.
    pub pieces: Vec<String>,
    /// The operations that it tells of.
    pub operations: Vec<OperationId>,
    /// Somebody has cancelled it.
    pub cancelled: bool,
}

impl StoredResponse {
    /// Whether nothing more comes.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        !["queued", "in_progress"].contains(&self.object["status"].as_str().unwrap_or_default())
    }

    /// What was said and answered, as items.
    #[must_use]
    pub fn into_items(mut self) -> Vec<Value> {
        let output = self.object["output"].as_array_mut().map(std::mem::take).unwrap_or_default();
        self.input.into_iter().chain(output).collect()
    }

    /// What is kept for this caller under an id.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn load(app: &App, caller: &Caller, id: Uuid) -> Result<Option<Self>, AppError> {
        app.kept_answer(caller, AnswerKind::Response, &response_id(id)).await
    }

    /// Puts this in the place of what is kept.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn update(&self, app: &App, caller: &Caller, id: Uuid) -> Result<(), AppError> {
        app.update_answer(caller, AnswerKind::Response, &response_id(id), self).await.map(drop)
    }
}

/// Keeps a response while it is made.
#[derive(Debug)]
pub struct Record {
    id: Uuid,
    redactor: Redactor,
    stored: StoredResponse,
}

impl Record {
    /// The record of a request that is not kept yet.
    #[must_use]
    pub fn new(
        app: &App,
        id: Uuid,
        body: &Map<String, Value>,
        input: Vec<Value>,
        operations: Vec<OperationId>,
    ) -> Self {
        let redactor = kept::redactor(app.settings(), body);
        let mut input = Value::Array(input);
        kept::redact(&redactor, &mut input);
        let input = if let Value::Array(input) = input { input } else { Vec::new() };
        let stored = StoredResponse { object: Value::Null, input, pieces: Vec::new(), operations, cancelled: false };
        Self { id, redactor, stored }
    }

    /// The record of a response that goes on.
    #[must_use]
    pub fn of(app: &App, id: Uuid, stored: StoredResponse) -> Self {
        Self { id, redactor: kept::redactor(app.settings(), &Map::new()), stored }
    }

    /// The operations that the response tells of.
    #[must_use]
    pub fn operations(&self) -> &[OperationId] {
        &self.stored.operations
    }

    /// Keeps a response for the first time.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn insert(&mut self, app: &App, caller: &Caller, builder: &ResponseBuilder) -> Result<(), AppError> {
        self.take(builder);
        app.keep_answer(caller, AnswerKind::Response, &response_id(self.id), &self.stored).await
    }

    /// Keeps how it stands now.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn update(&mut self, app: &App, caller: &Caller, builder: &ResponseBuilder) -> Result<(), AppError> {
        self.take(builder);
        self.stored.update(app, caller, self.id).await
    }

    /// Keeps a whole response, in the place of what an equal request has left before.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn put(&mut self, app: &App, caller: &Caller, builder: &ResponseBuilder) -> Result<(), AppError> {
        self.take(builder);
        let id = response_id(self.id);
        if app.update_answer(caller, AnswerKind::Response, &id, &self.stored).await? {
            return Ok(());
        }
        app.keep_answer(caller, AnswerKind::Response, &id, &self.stored).await
    }

    /// Adds an operation that it tells of.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the store fails.
    pub async fn add_operation(&mut self, app: &App, caller: &Caller, operation: OperationId) -> Result<(), AppError> {
        if self.stored.operations.contains(&operation) {
            return Ok(());
        }
        self.stored.operations.push(operation);
        self.stored.update(app, caller, self.id).await
    }

    fn take(&mut self, builder: &ResponseBuilder) {
        let mut object = builder.object();
        kept::redact(&self.redactor, &mut object);
        let pieces = builder.pieces();
        let whole = pieces.concat();
        let clean = self.redactor.redact(&whole);
        // A secret may stand across two of them.
        self.stored.pieces = if *clean == whole { pieces.to_vec() } else { vec![clean.into_owned()] };
        self.stored.cancelled = object["status"] == "cancelled";
        self.stored.object = object;
    }
}
