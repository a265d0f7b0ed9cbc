//! Terraform workspaces of versions that kept no record of them in the store: files beside the state were all that they knew.

use jiff::Timestamp;
use serde_json::Value;

use super::aws_access::{terraform_folder, terraform_schema};
use super::cloud_target::CloudTarget;
use crate::cloud::aws::OPERATION_TAG;
use crate::config::Settings;
use crate::config::value::Database;
use crate::id::{Mode, OperationId, Region};
use crate::store::record::{EksCluster, Instance, Target};
use crate::store::terraform::{WorkspaceOwner, WorkspaceRecord};
use crate::store::{Store, StoreError};
use crate::tool::terraform::{Workspace, module};

/// Keeps a record of every workspace that has none: of the targets that this server made, and of the applications on targets
/// in a cloud.
///
/// # Errors
/// When the store does not answer.
pub async fn record(store: &Store, settings: &Settings) -> Result<(), StoreError> {
    for target in store.targets_made_here().await? {
        let module = match target.mode {
            Mode::Local => continue,
            Mode::CloudLocal => module::CLOUD_LOCAL,
            Mode::CloudHosted => module::CLOUD_HOSTED,
        };
        record_workspace(store, settings, &target, WorkspaceOwner::Target(target.id), module).await?;
    }
    for deployment in store.present_deployments().await?.into_iter().filter(|it| it.mode == Mode::CloudHosted) {
        let Some(target) = store.target(deployment.target).await? else { continue };
        for module in [module::ECR, module::CERTIFICATE, module::ALIAS] {
            record_workspace(store, settings, &target, WorkspaceOwner::Deployment(deployment.id), module).await?;
        }
    }
    Ok(())
}

async fn record_workspace(
    store: &Store,
    settings: &Settings,
    target: &Target,
    owner: WorkspaceOwner,
    module: &str,
) -> Result<(), StoreError> {
    let target_folder = settings.store.workspace.join("targets").join(target.id.to_string());
    let variables = Workspace::unrecorded_variables(&terraform_folder(&target_folder, owner, module));
    let Some(variables) = variables else { return Ok(()) };
    if store.terraform_workspace(owner, module).await?.is_some() {
        return Ok(());
    }
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let Some(region) = text(variables.get("region")).and_then(|it| Region::parse(it).ok()) else { return Ok(()) };
    let operation = variables.get("tags").and_then(Value::as_object).and_then(|tags| text(tags.get(OPERATION_TAG)));
    let instance = Instance::of(target).map(CloudTarget::account);
    let account = instance.or_else(|| EksCluster::of(target).map(CloudTarget::account)).map(str::to_owned);
    let state_schema = match settings.store.database {
        Database::Sqlite(_) => None,
        Database::Postgres(_) => Some(terraform_schema(owner, module)),
    };
    let record = WorkspaceRecord {
        account,
        caller: None,
        region,
        state_schema,
        variables,
        operation: operation.and_then(|it| OperationId::parse(&it).ok()),
        begun_at: Timestamp::now(),
    };
    store.set_terraform_workspace(owner, module, &record).await
}
