//! Removes the certificate of the application's host name.

use serde::{Deserialize, Serialize};

use super::context::StepContext;
use super::error::StepError;
use super::removal::Removal;
use crate::id::Region;
use crate::tool::terraform::{Terraform, module};

/// Removes the certificate of the application's host name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RemoveCertificate {
    /// Where.
    pub region: Region,
}

impl Removal for RemoveCertificate {
    const NAME: &'static str = "remove_certificate";

    fn title(&self) -> String {
        "Remove its certificate".to_owned()
    }

    fn weight(&self) -> u32 {
        8
    }

    async fn remove(&self, cx: &StepContext) -> Result<Vec<String>, StepError> {
        remove(cx, &self.region).await
    }
}

/// Removes the certificate, and the record that proved whose the name is.
pub(super) async fn remove(cx: &StepContext, region: &Region) -> Result<Vec<String>, StepError> {
    let aws = cx.aws(region).await?;
    let terraform = Terraform::new(&cx.settings);
    let workspace = cx.workspace(module::CERTIFICATE, &terraform, &aws).await?;
    let Some(host) = workspace.variable("host") else { return Ok(Vec::new()) };
    cx.destroy_workspace(&workspace).await?;
    // Terraform may have been killed between creating the resource and saving its state; such a resource is deleted
    // through the API.
    for arn in aws.certificates_of(cx.target.id, &host).await? {
        aws.delete_certificate(&arn).await?;
    }
    cx.remove_workspace_state(&workspace).await?;
    Ok(vec![format!("certificate of `{host}`")])
}
