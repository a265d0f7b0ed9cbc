//! What steps need of AWS: clients with the credentials of the operation, and the workspace of Terraform.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::Value;

use super::action::StepAction;
use super::check_account::CheckAccount;
use super::check_hosted_account::CheckHostedAccount;
use super::cloud_target::CloudTarget;
use super::context::StepContext;
use super::error::StepError;
use crate::cloud::aws::remains::Owner;
use crate::cloud::aws::resource::Resource;
use crate::cloud::aws::{AccessKeys, Aws};
use crate::config::value::Database;
use crate::id::{DeploymentId, Region, TargetId, short_hash};
use crate::store::record::{EksCluster, Instance, Target};
use crate::store::terraform::{WorkspaceOwner, WorkspaceRecord};
use crate::store::{Store, StoreError};
use crate::tool::program_error::ProgramError as _;
use crate::tool::terraform::{Backend, Terraform, TerraformError, Workspace, module};

/// What comes before the reason of Terraform when it fails where nothing can be left.
const UNCONFIRMED: &str =
    "all that AWS shows of it is removed, but its state stays until Terraform too finds nothing, and Terraform fails: ";
/// Name of the sealed AWS credentials (a JSON object).
pub const AWS_CREDENTIALS_SECRET: &str = "aws_credentials";

impl StepContext {
    /// Clients of AWS for a region, with the credentials of the request, else those of the settings.
    ///
    /// # Errors
    /// When there are no credentials or they cannot be opened.
    pub async fn aws(&self, region: &Region) -> Result<Aws, StepError> {
        let sealed = self.secret(AWS_CREDENTIALS_SECRET).await?;
        let keys = match (sealed.as_ref().and_then(AccessKeys::from_json), &self.settings.aws.credentials) {
            (Some(keys), _) => Some(keys),
            (None, Some(it)) => Some(AccessKeys::from(it)),
            (None, None) if self.settings.aws.default_credentials => None,
            (None, None) => {
                return Err(StepError::permanent(
                    "aws_credentials_missing",
                    "there are no AWS credentials for this operation",
                    "Send the request again with `aws_credentials`, or set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`",
                ));
            }
        };
        Ok(Aws::connect(region, keys).await?)
    }

    /// The workspace of Terraform for a module: one state for the target, and one for each thing of an application.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(super) async fn workspace<'a>(
        &'a self,
        module: &'static str,
        terraform: &'a Terraform,
        aws: &'a Aws,
    ) -> Result<Workspace<'a>, StepError> {
        let record = self.store.terraform_workspace(self.workspace_owner(module), module).await?;
        if let Some(known) = record.as_ref().and_then(|it| RecordedAccount::of_workspace(it, module)) {
            known.require(aws).await?;
        }
        let folder = terraform_folder(&self.target_folder(), self.workspace_owner(module), module);
        Ok(Workspace {
            module,
            terraform,
            folder,
            calls: self.calls(),
            backend: self.backend(module).await?,
            record,
            keys: aws.access_keys(),
            region: aws.region(),
            lines: &self.lines,
            cancel: &self.cancel,
        })
    }

    /// Keeps in the store what a workspace is about to make, then makes its folder usable. Nothing is made before: from
    /// now on whoever has the store takes it back.
    pub(super) async fn prepare(
        &self,
        workspace: &mut Workspace<'_>,
        aws: &Aws,
        variables: Value,
    ) -> Result<(), StepError> {
        let identity = aws.caller_identity().await?;
        let variables =
            serde_json::from_value(variables).map_err(|error| StepError::unreadable(workspace.module, &error))?;
        let record = WorkspaceRecord {
            account: Some(identity.account),
            caller: Some(identity.arn),
            region: aws.region().clone(),
            state_schema: workspace.backend.schema().map(str::to_owned),
            variables,
            operation: Some(self.operation),
            begun_at: workspace.record.as_ref().map_or_else(Timestamp::now, |it| it.begun_at),
        };
        self.set_record(workspace, record).await?;
        Ok(workspace.prepare().await?)
    }

    /// Lets the next plan of a workspace that is prepared have another value of a variable.
    pub(super) async fn set_variable(
        &self,
        workspace: &mut Workspace<'_>,
        name: &str,
        value: Value,
    ) -> Result<(), StepError> {
        let Some(mut record) = workspace.record.take() else { return Ok(()) };
        record.variables.insert(name.to_owned(), value);
        self.set_record(workspace, record).await?;
        Ok(workspace.write_variables()?)
    }

    async fn set_record(&self, workspace: &mut Workspace<'_>, record: WorkspaceRecord) -> Result<(), StepError> {
        let owner = self.workspace_owner(workspace.module);
        self.store.set_terraform_workspace(owner, workspace.module, &record).await?;
        workspace.record = Some(record);
        Ok(())
    }

    /// Whether this operation, or an attempt of it by an earlier server, began to make something with a module.
    pub(super) async fn began_with(&self, module: &str) -> Result<bool, StepError> {
        let record = self.store.terraform_workspace(self.workspace_owner(module), module).await?;
        Ok(record.is_some_and(|it| it.operation == Some(self.operation)))
    }

    /// Whether this deployment began to make its alias: then the name is its own.
    pub(super) async fn has_begun_alias(&self) -> Result<bool, StepError> {
        let owner = self.workspace_owner(module::ALIAS);
        Ok(self.store.terraform_workspace(owner, module::ALIAS).await?.is_some())
    }

    fn workspace_owner(&self, module: &str) -> WorkspaceOwner {
        workspace_owner(self.target.id, self.deployment.id, module)
    }

    async fn backend(&self, module: &str) -> Result<Backend, StepError> {
        let Database::Postgres(url) = &self.settings.store.database else { return Ok(Backend::Folder) };
        let is_encrypted = self.store.is_encrypted().await?;
        let schema = terraform_schema(self.workspace_owner(module), module);
        Ok(Backend::Postgres { url: with_sslmode(url, is_encrypted), schema })
    }

    /// Destroys by Terraform what a workspace's state knows.
    pub(super) async fn destroy_workspace(&self, workspace: &Workspace<'_>) -> Result<(), TerraformError> {
        if !workspace.exists() {
            return Ok(());
        }
        workspace.init().await?;
        workspace.destroy().await
    }

    /// Destroys by Terraform what a workspace's state knows, then by `rest` what the state lacks or Terraform could not
    /// destroy. After a failure of Terraform it is asked once more: only when it too finds nothing any more, the state may
    /// be forgotten.
    ///
    /// # Errors
    /// What Terraform says at last, and what `rest` says.
    pub(super) async fn destroy_with(
        &self,
        workspace: &Workspace<'_>,
        rest: impl Future<Output = Result<(), StepError>> + Send,
    ) -> Result<(), StepError> {
        let has_failed = match self.destroy_workspace(workspace).await {
            Ok(()) => false,
            Err(error) if error.is_transient() || error.is_cancelled() => return Err(error.into()),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "Terraform does not destroy: it is done without"
                );
                true
            }
        };
        rest.await?;
        if has_failed {
            self.destroy_workspace(workspace)
                .await
                .map_err(|error| StepError::from(error).with_context(UNCONFIRMED))?;
        }
        Ok(())
    }

    /// Removes what belongs to a target and is not in the state of its workspace: made by a call that died before it wrote
    /// that down, it would be made a second time, or its name be taken.
    pub(super) async fn remove_orphaned_resources(
        &self,
        aws: &Aws,
        workspace: &Workspace<'_>,
    ) -> Result<(), StepError> {
        let known = workspace.resource_ids().await?;
        let mut orphans = self.remains_of_target(aws, workspace).await?;
        // What else is in a network is there because of what is known or goes with what is not.
        orphans.retain(|it| !it.kind.is_by_product() && !known.contains(&it.id));
        if !orphans.is_empty() {
            self.lines.progress("removing what an interrupted call left");
            self.delete_resources(aws, &orphans).await?;
        }
        Ok(())
    }

    /// What AWS still has of the target, without what belongs to one application. What it could not be asked is a warning.
    pub(super) async fn remains_of_target(
        &self,
        aws: &Aws,
        workspace: &Workspace<'_>,
    ) -> Result<Vec<Resource>, StepError> {
        let remains = Box::pin(aws.remains(self.owner(workspace))).await?;
        for line in remains.not_known() {
            self.lines.warning(format!("AWS does not tell all that may be left of `{}`: {line}.", self.target.name));
        }
        Ok(remains.of_target())
    }

    /// What the resources of the target belong to.
    fn owner<'a>(&'a self, workspace: &Workspace<'_>) -> Owner<'a> {
        Owner {
            target: self.target.id,
            cluster: (workspace.module == module::CLOUD_HOSTED).then_some(self.target.name.as_str()),
            begun_ms: workspace.record.as_ref().map(|it| it.begun_at.as_millisecond()),
        }
    }

    /// Removes resources without Terraform.
    pub(super) async fn delete_resources(&self, aws: &Aws, resources: &[Resource]) -> Result<(), StepError> {
        let on_progress = |text: String| self.lines.progress(text);
        tokio::select! {
            result = Box::pin(aws.delete(resources, &on_progress)) => Ok(result?),
            () = self.cancel.cancelled() => Err(StepError::Cancelled),
        }
    }

    /// Forgets the state of a workspace of which nothing is left. Its record goes last: with it all of this is done again
    /// after a crash.
    pub(super) async fn remove_workspace_state(&self, workspace: &Workspace<'_>) -> Result<(), StepError> {
        let owner = self.workspace_owner(workspace.module);
        self.store.drop_schema(&terraform_schema(owner, workspace.module)).await?;
        let _ = tokio::fs::remove_dir_all(&workspace.folder).await;
        Ok(self.store.remove_terraform_workspace(owner, workspace.module).await?)
    }

    /// Clients of AWS for the region of an instance or a cluster on record, with credentials of its account.
    ///
    /// # Errors
    /// When the credentials are those of another account, or AWS does not answer.
    pub(super) async fn aws_of<T: CloudTarget>(&self, known: &T) -> Result<Aws, StepError> {
        let aws = self.aws(known.region()).await?;
        require_same_account(&aws, known).await?;
        Ok(aws)
    }

    /// Clients of AWS for what takes something back or removes it: with credentials of the account that it is in. In
    /// another one nothing would be found, and what is there would be forgotten.
    ///
    /// # Errors
    /// When the credentials are those of another account, or AWS does not answer.
    pub(super) async fn aws_on_record(&self, region: &Region) -> Result<Aws, StepError> {
        let aws = self.aws(region).await?;
        let recorded = account_on_record(&self.store, &self.target, self.deployment.id, &self.outputs).await?;
        if let Some(recorded) = recorded {
            recorded.require(&aws).await?;
        }
        Ok(aws)
    }

    /// Name of the application's ECR repository: where the application runs. What ECR would not take of a cluster's name
    /// is hashed.
    pub(super) fn repository_name(&self) -> String {
        let cluster = &self.target.name;
        // "repositoryName" of CreateRepository in the API reference.
        let fits = cluster
            .split(['-', '_'])
            .all(|word| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()));
        let cluster = if fits { cluster.clone() } else { format!("cluster-{}", short_hash(&[cluster], 12)) };
        format!("{cluster}/{}/{}", self.deployment.namespace, self.deployment.name)
    }
}

/// Makes sure that the credentials are those of the account where the instance or the cluster is.
///
/// # Errors
/// A permanent failure when they are of another account; else what AWS says.
pub async fn require_same_account<T: CloudTarget>(aws: &Aws, known: &T) -> Result<(), StepError> {
    RecordedAccount::of(known).require(aws).await
}

/// An AWS account, and what is known to be in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedAccount {
    /// Its number.
    pub number: String,
    /// What is in it, in words.
    pub holds: String,
}

impl RecordedAccount {
    fn of(known: &impl CloudTarget) -> Self {
        Self { number: known.account().to_owned(), holds: format!("the {}", known.described()) }
    }

    fn of_workspace(record: &WorkspaceRecord, module: &str) -> Option<Self> {
        let holds = format!("what Terraform made with the module `{module}`");
        Some(Self { number: record.account.clone()?, holds })
    }

    async fn require(&self, aws: &Aws) -> Result<(), StepError> {
        let identity = aws.caller_identity().await?;
        if self.number == identity.account {
            return Ok(());
        }
        let Self { number, holds } = self;
        Err(StepError::permanent(
            "aws_other_account",
            format!("{holds} belongs to the account {number}, and the credentials to {}", identity.account),
            "Send the credentials of that account",
        ))
    }
}

/// The account that an operation works in, as far as that is on record: where its target is or was, where Terraform began
/// to make something of it, else the one that its own steps have found. `before` is the target as it was.
///
/// # Errors
/// What the store says.
pub async fn account_on_record(
    store: &Store,
    before: &Target,
    deployment: DeploymentId,
    outputs: &BTreeMap<String, Value>,
) -> Result<Option<RecordedAccount>, StoreError> {
    let now = store.target(before.id).await?;
    let of_target = |target: &Target| {
        let instance = target.instance.as_ref().map(RecordedAccount::of);
        instance.or_else(|| target.cluster.as_ref().map(RecordedAccount::of))
    };
    if let Some(found) = now.iter().chain([before]).find_map(of_target) {
        return Ok(Some(found));
    }
    for module in module::ALL {
        let owner = workspace_owner(before.id, deployment, module);
        let record = store.terraform_workspace(owner, module).await?;
        if let Some(found) = record.and_then(|it| RecordedAccount::of_workspace(&it, module)) {
            return Ok(Some(found));
        }
    }
    // What was made may be on no record any more while the rest is taken back.
    let of_step = |(step, account): (&str, &str)| {
        let number = outputs.get(step)?.pointer(account)?.as_str().filter(|it| !it.is_empty())?;
        Some(RecordedAccount { number: number.to_owned(), holds: "what the operation works on".to_owned() })
    };
    let steps = [
        (Instance::PROVISIONED_BY, "/instance/account"),
        (Instance::FOUND_BY, "/instance/account"),
        (EksCluster::PROVISIONED_BY, "/cluster/account"),
        (EksCluster::FOUND_BY, "/cluster/account"),
        (CheckAccount::NAME, "/account"),
        (CheckHostedAccount::NAME, "/account"),
    ];
    Ok(steps.into_iter().find_map(of_step))
}

fn workspace_owner(target: TargetId, deployment: DeploymentId, module: &str) -> WorkspaceOwner {
    match module {
        module::CLOUD_LOCAL | module::CLOUD_HOSTED => WorkspaceOwner::Target(target),
        _ => WorkspaceOwner::Deployment(deployment),
    }
}

/// The folder of a workspace, in that of its target.
pub(super) fn terraform_folder(target_folder: &Path, owner: WorkspaceOwner, module: &str) -> PathBuf {
    match owner {
        WorkspaceOwner::Target(_) => target_folder.join("terraform"),
        WorkspaceOwner::Deployment(id) => target_folder.join("applications").join(id.to_string()).join(module),
    }
}

/// The schema that holds the state of a workspace in PostgreSQL.
pub(super) fn terraform_schema(owner: WorkspaceOwner, module: &str) -> String {
    match owner {
        WorkspaceOwner::Target(id) => format!("terraform_{id}"),
        WorkspaceOwner::Deployment(id) => format!("terraform_{id}_{module}"),
    }
}

/// Terraform's `pg` backend (lib/pq) defaults to `sslmode=require`, while our client falls back to plain text
/// (`prefer`): the mode that our connection ended up with is written into the address, unless the setting names a mode.
fn with_sslmode(url: &SecretString, is_encrypted: bool) -> SecretString {
    use secrecy::ExposeSecret;
    let text = url.expose_secret();
    let Ok(mut parsed) = url::Url::parse(text) else { return url.clone() };
    let strict = |mode: &str| matches!(mode, "disable" | "require" | "verify-ca" | "verify-full");
    if parsed.query_pairs().any(|(name, mode)| name == "sslmode" && strict(&mode)) {
        return url.clone();
    }
    let kept: Vec<(String, String)> = parsed
        .query_pairs()
        .filter(|(name, _)| name != "sslmode")
        .map(|(n, v)| (n.into_owned(), v.into_owned()))
        .collect();
    parsed
        .query_pairs_mut()
        .clear()
        .extend_pairs(kept)
        .append_pair("sslmode", if is_encrypted { "require" } else { "disable" });
    SecretString::from(String::from(parsed))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn terraform_is_told_whether_the_database_encrypts() {
        let told =
            |url: &str, is_encrypted| with_sslmode(&SecretString::from(url), is_encrypted).expose_secret().to_owned();

        assert_eq!(told("postgres://u:p@h/d", false), "postgres://u:p@h/d?sslmode=disable");
        assert_eq!(told("postgres://u:p@h/d?sslmode=prefer&a=b", true), "postgres://u:p@h/d?a=b&sslmode=require");
        assert_eq!(told("postgres://u:p@h/d?sslmode=verify-full", false), "postgres://u:p@h/d?sslmode=verify-full");
    }
}
