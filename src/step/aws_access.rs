//! What steps need of AWS: clients with the credentials of the operation, and the workspace of Terraform.

use std::path::PathBuf;

use secrecy::SecretString;

use super::cloud_target::CloudTarget;
use super::context::StepContext;
use super::error::StepError;
use crate::cloud::aws::{AccessKeys, Aws};
use crate::config::value::Database;
use crate::id::{Region, short_hash};
use crate::tool::program_error::ProgramError as _;
use crate::tool::terraform::{Backend, Terraform, TerraformError, Workspace, module};

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
            keys: aws.access_keys(),
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
    pub(super) async fn destroy_workspace(&self, workspace: &Workspace<'_>) -> Result<(), TerraformError> {
        if !workspace.exists() {
            return Ok(());
        }
        workspace.init().await?;
        workspace.destroy().await
    }

    /// Like `destroy_workspace`, but a permanent failure of Terraform is only logged: the caller deletes afterwards
    /// whatever still carries the target's tag. Transient failures and cancellation are passed on.
    pub(super) async fn destroy_best_effort(&self, workspace: &Workspace<'_>) -> Result<(), StepError> {
        match self.destroy_workspace(workspace).await {
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
    pub(super) async fn remove_workspace_state(&self, workspace: &Workspace<'_>) -> Result<(), StepError> {
        self.store.drop_schema(&self.schema(workspace.module)).await?;
        let _ = tokio::fs::remove_dir_all(&workspace.folder).await;
        Ok(())
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
pub(super) async fn require_same_account<T: CloudTarget>(aws: &Aws, known: &T) -> Result<(), StepError> {
    let identity = aws.caller_identity().await?;
    if identity.account == known.account() {
        return Ok(());
    }
    Err(StepError::permanent(
        "aws_other_account",
        format!(
            "the {} belongs to the account {}, and the credentials to {}",
            known.described(),
            known.account(),
            identity.account
        ),
        "Send the credentials of that account",
    ))
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
