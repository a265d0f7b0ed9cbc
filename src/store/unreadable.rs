//! Rows that this version cannot read: another one wrote them, or they are damaged. They concern nobody else.

use jiff::Timestamp;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::record::{DeploymentState, Unreadable, VERSION};
use super::{Store, StoreError, timestamp};
use crate::event::{Failure, OperationState};
use crate::id::{Action, DeploymentId, Mode, OperationId};

/// What can be read of an operation that cannot be read as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct UnreadableOperation {
    /// Its id.
    pub id: OperationId,
    /// What it does.
    pub action: Option<Action>,
    /// Where it stands.
    pub state: Option<OperationState>,
    /// Share of the work that is done, in percent.
    pub progress: u8,
    /// The deployment that it changes.
    pub deployment: Option<DeploymentId>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// What cannot be read.
    pub cause: Unreadable,
}

/// What can be read of a deployment that cannot be read as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct UnreadableDeployment {
    /// Its id.
    pub id: DeploymentId,
    /// Kind of target.
    pub mode: Option<Mode>,
    /// Where it stands.
    pub state: Option<DeploymentState>,
    /// Name of the target.
    pub target_name: String,
    /// Name of the application.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// What it is built from.
    pub repository: String,
    /// When it was first asked for.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// What cannot be read.
    pub cause: Unreadable,
}

impl UnreadableOperation {
    /// What there is of a row whose value `error` cannot be read.
    ///
    /// # Errors
    /// When not even its id can be read.
    pub(super) fn of(row: &AnyRow, error: &StoreError) -> Result<Self, StoreError> {
        let id = super::parse(row, "id", OperationId::parse)?;
        let failure = text(row, "failure").and_then(|it| serde_json::from_str(&it).ok());
        Ok(Self {
            id,
            action: text(row, "action").and_then(|it| Action::parse(&it).ok()),
            state: text(row, "state").and_then(|it| OperationState::parse(&it)),
            progress: number(row, "progress").and_then(|it| u8::try_from(it).ok()).unwrap_or(0),
            deployment: text(row, "deployment_id").and_then(|it| DeploymentId::parse(&it).ok()),
            failure,
            created_at: time(row, "created_ms").unwrap_or_else(|| id.created_at()),
            ended_at: time(row, "ended_ms"),
            cause: cause(row, error),
        })
    }
}

impl UnreadableDeployment {
    /// What there is of a row whose value `error` cannot be read.
    ///
    /// # Errors
    /// When not even its id can be read.
    pub(super) fn of(row: &AnyRow, error: &StoreError) -> Result<Self, StoreError> {
        let id = super::parse(row, "id", DeploymentId::parse)?;
        let created_at = time(row, "created_ms").unwrap_or_else(|| id.created_at());
        Ok(Self {
            id,
            mode: text(row, "mode").and_then(|it| Mode::parse(&it).ok()),
            state: text(row, "state").and_then(|it| DeploymentState::parse(&it)),
            target_name: text(row, "instance_id").unwrap_or_default(),
            name: text(row, "name").unwrap_or_default(),
            namespace: text(row, "namespace").unwrap_or_default(),
            repository: text(row, "repository").unwrap_or_default(),
            created_at,
            updated_at: time(row, "updated_ms").unwrap_or(created_at),
            cause: cause(row, error),
        })
    }
}

fn cause(row: &AnyRow, error: &StoreError) -> Unreadable {
    let what = if let StoreError::Corrupt { what, .. } = error { what } else { "row" };
    Unreadable { what: what.to_owned(), written_by: text(row, "written_by") }
}

impl Store {
    /// The version that last worked on an operation, when it is on record.
    ///
    /// # Errors
    /// What the database says.
    pub async fn written_by(&self, id: OperationId) -> Result<Option<String>, StoreError> {
        let version: Option<Option<String>> = sqlx::query_scalar("SELECT written_by FROM operations WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(&self.pool)
            .await?;
        Ok(version.flatten())
    }

    /// Notes that this version works on an operation from now on.
    ///
    /// # Errors
    /// What the database says.
    pub async fn set_written_by(&self, id: OperationId) -> Result<(), StoreError> {
        sqlx::query("UPDATE operations SET written_by = $2 WHERE id = $1")
            .bind(id.to_string())
            .bind(VERSION)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

fn text(row: &AnyRow, column: &str) -> Option<String> {
    row.try_get::<Option<String>, _>(column).ok().flatten()
}

fn number(row: &AnyRow, column: &str) -> Option<i64> {
    row.try_get::<Option<i64>, _>(column).ok().flatten()
}

fn time(row: &AnyRow, column: &'static str) -> Option<Timestamp> {
    timestamp(number(row, column)?, column).ok()
}
