//! What this server owns in a cloud: a record for each Terraform workspace, kept before anything is made with it. Whoever
//! has it can take everything back, on any machine.

use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Store, StoreError, parse, parse_json, timestamp, to_json};
use crate::id::{DeploymentId, OperationId, Region, TargetId};

/// Whose workspace it is: the module of a target makes the target, the others make one thing of an application each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkspaceOwner {
    /// A target.
    Target(TargetId),
    /// A deployment.
    Deployment(DeploymentId),
}

impl fmt::Display for WorkspaceOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target(id) => id.fmt(f),
            Self::Deployment(id) => id.fmt(f),
        }
    }
}

/// A Terraform workspace on record: it was begun, and is not taken back.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkspaceRecord {
    /// Number of the account; unknown for what a version made that kept files only.
    pub account: Option<String>,
    /// ARN of who made it; unknown in the same case.
    pub caller: Option<String>,
    /// Where it is made.
    pub region: Region,
    /// The PostgreSQL schema that holds the state; `None` when it lies in the folder.
    pub state_schema: Option<String>,
    /// The values of the module's variables.
    pub variables: Map<String, Value>,
    /// The operation that last began to make something with it.
    pub operation: Option<OperationId>,
    /// When something was first made with it.
    pub begun_at: Timestamp,
}

impl WorkspaceRecord {
    /// The value of a variable of text.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name)?.as_str()
    }
}

impl Store {
    /// The record of a workspace; `None` when nothing was begun with it, or all of it is taken back.
    ///
    /// # Errors
    /// What the database says.
    pub async fn terraform_workspace(
        &self,
        owner: WorkspaceOwner,
        module: &str,
    ) -> Result<Option<WorkspaceRecord>, StoreError> {
        sqlx::query("SELECT * FROM terraform_workspaces WHERE owner = $1 AND module = $2")
            .bind(owner.to_string())
            .bind(module)
            .fetch_optional(&self.pool)
            .await?
            .map(|row| read(&row))
            .transpose()
    }

    /// All that is owned for a target and a deployment on it, by module.
    ///
    /// # Errors
    /// What the database says.
    pub async fn terraform_workspaces(
        &self,
        target: TargetId,
        deployment: DeploymentId,
    ) -> Result<Vec<(String, WorkspaceRecord)>, StoreError> {
        let rows = sqlx::query("SELECT * FROM terraform_workspaces WHERE owner IN ($1, $2) ORDER BY owner, module")
            .bind(target.to_string())
            .bind(deployment.to_string())
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| Ok((row.try_get("module")?, read(row)?))).collect()
    }

    /// Keeps the record of a workspace, in place of an earlier one.
    ///
    /// # Errors
    /// What the database says.
    pub async fn set_terraform_workspace(
        &self,
        owner: WorkspaceOwner,
        module: &str,
        record: &WorkspaceRecord,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO terraform_workspaces
                 (owner, module, account, caller, region, state_schema, variables, operation_id, begun_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             ON CONFLICT (owner, module) DO UPDATE SET account = excluded.account, caller = excluded.caller,
                 region = excluded.region, state_schema = excluded.state_schema, variables = excluded.variables,
                 operation_id = excluded.operation_id, begun_ms = excluded.begun_ms",
        )
        .bind(owner.to_string())
        .bind(module)
        .bind(&record.account)
        .bind(&record.caller)
        .bind(record.region.as_str())
        .bind(&record.state_schema)
        .bind(to_json(&record.variables))
        .bind(record.operation.map(|it| it.to_string()))
        .bind(record.begun_at.as_millisecond())
        .execute(&self.pool)
        .await?;
        self.note_change();
        Ok(())
    }

    /// Forgets a workspace of which nothing is left.
    ///
    /// # Errors
    /// What the database says.
    pub async fn remove_terraform_workspace(&self, owner: WorkspaceOwner, module: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM terraform_workspaces WHERE owner = $1 AND module = $2")
            .bind(owner.to_string())
            .bind(module)
            .execute(&self.pool)
            .await?;
        self.note_change();
        Ok(())
    }
}

fn read(row: &AnyRow) -> Result<WorkspaceRecord, StoreError> {
    let operation: Option<String> = row.try_get("operation_id")?;
    Ok(WorkspaceRecord {
        account: row.try_get("account")?,
        caller: row.try_get("caller")?,
        region: parse(row, "region", |text| Region::parse(text))?,
        state_schema: row.try_get("state_schema")?,
        variables: parse_json(row, "variables")?,
        operation: operation
            .map(|text| OperationId::parse(&text).map_err(|error| StoreError::corrupt("operation_id", error)))
            .transpose()?,
        begun_at: timestamp(row.try_get("begun_ms")?, "begun_ms")?,
    })
}
