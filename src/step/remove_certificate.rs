//! Removes the certificate of the application's host name.

use serde::{Deserialize, Serialize};

use super::context::StepContext;
use super::error::StepError;
use super::removal::Removal;
use super::remove_alias::zone;
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
    let aws = cx.aws_on_record(region).await?;
    let terraform = Terraform::new(&cx.settings);
    let workspace = cx.workspace(module::CERTIFICATE, &terraform, &aws).await?;
    let Some(host) = workspace.variable("host").map(str::to_owned) else { return Ok(Vec::new()) };
    let rest = Box::pin(async {
        for arn in aws.certificates_of(cx.target.id, &host).await? {
            aws.delete_certificate(&arn).await?;
        }
        // All certificates of a name share the record, also those that somebody else has.
        if let Some(zone) = zone(&workspace)?
            && !aws.has_certificate_for(&host).await?
        {
            aws.delete_validation_records(&zone, &host).await?;
        }
        Ok(())
    });
    cx.destroy_with(&workspace, rest).await?;
    cx.remove_workspace_state(&workspace).await?;
    Ok(vec![format!("certificate of `{host}`")])
}
