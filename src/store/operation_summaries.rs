//! Operations in short, for lists that are read often: without their plans and what was asked for, which are long.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::page::readable;
use super::statement::Statement;
use super::{Store, StoreError, parse, timestamp};
use crate::event::OperationState;
use crate::id::{Action, DeploymentId, OperationId};

const SELECT: &str = "SELECT id, action, principal, state, created_ms, ended_ms FROM operations";

/// What is said of an operation in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationSummary {
    /// Its id.
    pub id: OperationId,
    /// What it does.
    pub action: Action,
    /// Whose request it is: the id of a key, or an address.
    pub principal: String,
    /// Where it stands.
    pub state: OperationState,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

impl Store {
    /// Those of these operations that are there and that this version can read.
    ///
    /// # Errors
    /// What the database says.
    pub async fn operation_summaries(
        &self,
        ids: &BTreeSet<OperationId>,
    ) -> Result<BTreeMap<OperationId, OperationSummary>, StoreError> {
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut statement = Statement::new(SELECT);
        statement.condition().push("id IN ").bind_list(ids.iter().map(ToString::to_string));
        let found = readable(&statement.fetch(&self.pool).await?, read);
        Ok(found.into_iter().map(|it| (it.id, it)).collect())
    }

    /// The last operations on a deployment that this version can read, newest first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn last_operations(
        &self,
        deployment: DeploymentId,
        limit: u32,
    ) -> Result<Vec<OperationSummary>, StoreError> {
        let mut statement = Statement::new(SELECT);
        statement.condition().push("deployment_id = ").bind(deployment.to_string());
        statement.push(&format!(" ORDER BY id DESC LIMIT {limit}"));
        Ok(readable(&statement.fetch(&self.pool).await?, read))
    }
}

fn read(row: &AnyRow) -> Result<OperationSummary, StoreError> {
    let ended_ms: Option<i64> = row.try_get("ended_ms")?;
    Ok(OperationSummary {
        id: parse(row, "id", OperationId::parse)?,
        action: parse(row, "action", Action::parse)?,
        principal: row.try_get("principal")?,
        state: parse(row, "state", |text| OperationState::parse(text).ok_or("not an operation state"))?,
        created_at: timestamp(row.try_get("created_ms")?, "created_ms")?,
        ended_at: ended_ms.map(|it| timestamp(it, "ended_ms")).transpose()?,
    })
}
