//! What steps need of AWS: clients with the credentials of the operation, and the workspace of Terraform.

use secrecy::SecretString;

use super::{StepContext, StepError};
use crate::cloud::aws::{Aws, Keys};
use crate::config::value::Database;
use crate::event::Failure;
use crate::id::{Region, TargetId};
use crate::store::record::Instance;
use crate::tool::terraform::{self, Backend, Terraform, Workspace};

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

    /// The workspace of Terraform for the target.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(super) async fn workspace<'a>(
        &'a self,
        terraform: &'a Terraform,
        aws: &'a Aws,
    ) -> Result<Workspace<'a>, StepError> {
        Ok(Workspace {
            terraform,
            folder: terraform::folder(&self.target_folder()),
            calls: self.calls_folder(),
            backend: self.backend().await?,
            keys: aws.keys(),
            region: aws.region(),
            lines: &self.lines,
            cancel: &self.cancel,
        })
    }

    async fn backend(&self) -> Result<Backend, StepError> {
        let Database::Postgres(url) = &self.settings.store.database else { return Ok(Backend::Folder) };
        let is_encrypted = self.store.is_encrypted().await?;
        Ok(Backend::Postgres { url: with_sslmode(url, is_encrypted), schema: schema(self.target.id) })
    }

    /// Whether the target is gone, or goes when the operation that made it is taken back: what is on it goes with it.
    pub(super) async fn target_goes(&self) -> Result<bool, StepError> {
        if self.try_output::<super::DestroyInstance>()?.is_some() {
            return Ok(true);
        }
        let Some(provisioned) = self.try_output::<super::ProvisionInstance>()? else { return Ok(false) };
        Ok(provisioned.made
            && !provisioned.kept
            && !self.store.is_target_used_by_others(self.target.id, self.deployment.id).await?)
    }
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

/// The schema that holds the state of a target.
pub(super) fn schema(target: TargetId) -> String {
    format!("terraform_{target}")
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
