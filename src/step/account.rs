//! What steps need of AWS: clients with the credentials of the operation, and the workspace of Terraform.

use std::path::PathBuf;

use secrecy::SecretString;

use super::find_cluster::FindCluster;
use super::provision_cluster::ProvisionCluster;
use super::{StepContext, StepError};
use crate::cloud::aws::{Aws, Keys};
use crate::cloud::kube::Kube;
use crate::cloud::kube::error::KubeError;
use crate::config::value::Database;
use crate::event::Failure;
use crate::id::{ClusterName, Mode, Region};
use crate::store::record::{EksCluster, Instance};
use crate::tool::program_error::ProgramError as _;
use crate::tool::terraform::{Backend, Terraform, TerraformError, Workspace, module};

/// Name of the sealed AWS credentials (a JSON object).
pub const AWS_KEYS: &str = "aws_credentials";

impl StepContext {
    /// Clients of AWS for a region, with the credentials of the request, else those of the settings.
    ///
    /// # Errors
    /// When there are no credentials or they cannot be opened.
    pub async fn aws(&self, region: &Region) -> Result<Aws, StepError> {
        let sealed = self.secret(AWS_KEYS).await?;
        let keys = match (sealed.as_ref().and_then(Keys::from_json), &self.settings.aws.credentials) {
            (Some(keys), _) => Some(keys),
            (None, Some(it)) => Some(Keys::from(it)),
            (None, None) if self.settings.aws.default_credentials => None,
            (None, None) => {
                return Err(StepError::Permanent(Failure {
                    code: "aws_credentials_missing".into(),
                    message: "there are no AWS credentials for this operation".into(),
                    next_step: "Send the request again with `aws_credentials`, or set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`".into(),
                    output: Vec::new(),
                }));
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
        let folder = match module {
            module::CLOUD_LOCAL | module::CLOUD_HOSTED => self.target_folder().join("terraform"),
            of_application => self.application_folder().join(of_application),
        };
        Ok(Workspace {
            module,
            terraform,
            folder,
            calls: self.calls_folder(),
            backend: self.backend(module).await?,
            keys: aws.keys(),
            region: aws.region(),
            lines: &self.lines,
            cancel: &self.cancel,
        })
    }

    /// Where the states of an application on a cloud target are kept.
    pub(super) fn application_folder(&self) -> PathBuf {
        self.target_folder().join("applications").join(self.deployment.id.to_string())
    }

    /// Whether this deployment began to make its alias: then the name is its own.
    pub(super) fn has_state_of_alias(&self) -> bool {
        self.application_folder().join(module::ALIAS).exists()
    }

    async fn backend(&self, module: &str) -> Result<Backend, StepError> {
        let Database::Postgres(url) = &self.settings.store.database else { return Ok(Backend::Folder) };
        let is_encrypted = self.store.is_encrypted().await?;
        Ok(Backend::Postgres { url: with_sslmode(url, is_encrypted), schema: self.schema(module) })
    }

    /// The schema that holds the state of a module.
    pub(super) fn schema(&self, module: &str) -> String {
        match module {
            module::CLOUD_LOCAL | module::CLOUD_HOSTED => format!("terraform_{}", self.target.id),
            of_application => format!("terraform_{}_{of_application}", self.deployment.id),
        }
    }

    /// Destroys by Terraform what a workspace's state knows.
    pub(super) async fn destroy_known(&self, workspace: &Workspace<'_>) -> Result<(), TerraformError> {
        if !workspace.exists() {
            return Ok(());
        }
        workspace.reopen().await?;
        workspace.destroy().await
    }

    /// The same, where somebody looks by tag afterwards: what Terraform cannot do is left to them.
    pub(super) async fn unmake(&self, workspace: &Workspace<'_>) -> Result<(), StepError> {
        match self.destroy_known(workspace).await {
            Ok(()) => Ok(()),
            Err(error) if error.is_transient() || error.is_cancelled() => Err(error.into()),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "Terraform does not destroy: it is done without"
                );
                Ok(())
            }
        }
    }

    /// Forgets the state of a workspace of which nothing is left.
    pub(super) async fn forget(&self, workspace: &Workspace<'_>) -> Result<(), StepError> {
        self.store.drop_schema(&self.schema(workspace.module)).await?;
        let _ = tokio::fs::remove_dir_all(&workspace.folder).await;
        Ok(())
    }

    /// The EKS cluster that the application runs on: as an earlier step of this plan made or found it, else as the record
    /// of the target has it.
    ///
    /// # Errors
    /// A permanent failure when there is none, or what is stored cannot be read.
    pub fn cluster(&self) -> Result<EksCluster, StepError> {
        if let Some(provisioned) = self.try_output::<ProvisionCluster>()? {
            return Ok(provisioned.cluster);
        }
        if let Some(found) = self.try_output::<FindCluster>()? {
            return Ok(found.cluster);
        }
        self.target.cluster.clone().ok_or_else(|| cluster_gone(&self.target.name))
    }

    /// Whether the cluster of the application is gone: then there is nothing on it to look at or to take back.
    ///
    /// # Errors
    /// When it is not known.
    pub(super) async fn is_cluster_gone(&self, cluster: &ClusterName) -> Result<bool, StepError> {
        match self.target.mode {
            Mode::Local | Mode::CloudLocal => {
                Ok(self.host().await?.docker.nodes_of_cluster(cluster.as_str()).await?.is_empty())
            }
            Mode::CloudHosted => {
                let Ok(known) = self.cluster() else { return Ok(true) };
                Ok(self.aws(&known.region).await?.cluster(&known.name).await?.is_none())
            }
        }
    }

    /// Whether the target is gone, or goes when the operation that made it is taken back: what is on it goes with it.
    pub(super) async fn target_goes(&self) -> Result<bool, StepError> {
        if self.try_output::<super::DestroyInstance>()?.is_some() {
            return Ok(true);
        }
        let provisioned = self.try_output::<super::ProvisionInstance>()?;
        Ok(provisioned.is_some_and(|it| it.made && !it.kept) && !self.is_target_shared().await?)
    }

    /// Whether the EKS cluster goes when the operation that made it is taken back. What was built for it is here.
    pub(super) async fn cluster_goes(&self) -> Result<bool, StepError> {
        let provisioned = self.try_output::<ProvisionCluster>()?;
        Ok(provisioned.is_some_and(|it| it.made && !it.kept) && !self.is_target_shared().await?)
    }

    /// Whether other deployments are on the target, or about to be.
    pub(super) async fn is_target_shared(&self) -> Result<bool, StepError> {
        Ok(self.store.is_target_used_by_others(self.target.id, self.deployment.id).await?)
    }
}

/// A client of an EKS cluster's API.
///
/// # Errors
/// When what is on record of it cannot be used.
pub async fn kube_of(aws: &Aws, cluster: &EksCluster) -> Result<Kube, KubeError> {
    let tokens = aws.tokens(&cluster.name);
    Kube::with_tokens(&cluster.endpoint, &cluster.authority, move || tokens.sign().ok()).await
}

/// Makes sure that the credentials are those of the account where the instance is.
pub(super) async fn expect_owner(aws: &Aws, instance: &Instance) -> Result<(), StepError> {
    let identity = aws.who_am_i().await?;
    if identity.account == instance.account {
        return Ok(());
    }
    Err(StepError::Permanent(Failure {
        code: "aws_other_account".into(),
        message: format!(
            "the instance `{}` belongs to the account {}, and the credentials to {}",
            instance.name, instance.account, identity.account
        ),
        next_step: "Send the credentials of that account".into(),
        output: Vec::new(),
    }))
}

/// Makes sure that the credentials are those of the account where the cluster is.
pub(super) async fn expect_owner_of_cluster(aws: &Aws, cluster: &EksCluster) -> Result<(), StepError> {
    let identity = aws.who_am_i().await?;
    if identity.account == cluster.account {
        return Ok(());
    }
    Err(StepError::Permanent(Failure {
        code: "aws_other_account".into(),
        message: format!(
            "the EKS cluster `{}` belongs to the account {}, and the credentials to {}",
            cluster.name, cluster.account, identity.account
        ),
        next_step: "Send the credentials of that account".into(),
        output: Vec::new(),
    }))
}

/// The target has no EKS cluster, or has none any more.
pub(super) fn cluster_gone(name: &str) -> StepError {
    StepError::Permanent(Failure {
        code: "cluster_gone".into(),
        message: format!("the EKS cluster `{name}` is gone"),
        next_step: "Send `deploy` to have it on a new one, or `decommission` to remove what is left of it".into(),
        output: Vec::new(),
    })
}

/// Terraform's client insists on encryption unless it is told; ours takes what there is.
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
