//! Asks for the certificate of the application's host name, and puts the record there that proves whose the name is.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::action::{StepAction, StepUndo};
use super::check_hosted_account::CheckHostedAccount;
use super::context::StepContext;
use super::error::StepError;
use super::remove_certificate;
use crate::cloud::aws::{OPERATION_TAG, TARGET_TAG};
use crate::id::Region;
use crate::store::record::ApplicationHost;
use crate::tool::terraform::{Terraform, module};

/// Asks for the certificate of the application's host name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RequestCertificate {
    /// Where.
    pub region: Region,
}

/// The certificate is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CertificateRequested {
    /// Its ARN.
    pub arn: String,
    /// The name that it is for.
    pub host: ApplicationHost,
}

/// What the module puts out.
#[derive(Debug, Deserialize)]
struct Outputs {
    certificate_arn: String,
}

impl StepAction for RequestCertificate {
    const NAME: &'static str = "request_certificate";
    type Output = CertificateRequested;

    fn title(&self) -> String {
        "Ask for a certificate".to_owned()
    }

    fn weight(&self) -> u32 {
        10
    }

    fn summary(&self, output: &CertificateRequested) -> String {
        format!("for `{}`", output.host.name)
    }

    async fn check(&self, cx: &StepContext) -> Result<Option<CertificateRequested>, StepError> {
        let Some(arn) = cx.deployment.facts.acm_certificate_arn.clone() else { return Ok(None) };
        let is_there = cx.aws(&self.region).await?.certificate(&arn).await?.is_some_and(|it| it.failure.is_none());
        Ok(if is_there { Some(CertificateRequested { arn, host: host(cx)? }) } else { None })
    }

    async fn run(&self, cx: &StepContext) -> Result<CertificateRequested, StepError> {
        let aws = cx.aws(&self.region).await?;
        let host = host(cx)?;
        let terraform = Terraform::new(&cx.settings);
        let mut workspace = cx.workspace(module::CERTIFICATE, &terraform, &aws).await?;
        let variables = json!({
            "region": self.region,
            "host": host.name,
            "zone_id": host.zone,
            "tags": { TARGET_TAG: cx.target.id, OPERATION_TAG: cx.operation },
        });
        cx.prepare(&mut workspace, &aws, variables).await?;
        workspace.plan().await?;
        workspace.apply().await?;
        let outputs: Outputs = workspace.outputs().await?;
        Ok(CertificateRequested { arn: outputs.certificate_arn, host })
    }
}

impl StepUndo for RequestCertificate {
    async fn undo(&self, cx: &StepContext, _: Option<CertificateRequested>) -> Result<Vec<String>, StepError> {
        if cx.deployment.facts.acm_certificate_arn.is_some() {
            return Ok(Vec::new());
        }
        remove_certificate::remove(cx, &self.region).await
    }
}

/// The host name, as the look ahead made it of label and zone.
pub(super) fn host(cx: &StepContext) -> Result<ApplicationHost, StepError> {
    let checked = cx.try_output::<CheckHostedAccount>()?.and_then(|it| it.host);
    checked.or_else(|| cx.deployment.facts.host.clone()).ok_or_else(|| {
        StepError::permanent(
            "internal_error",
            "the application has no host name",
            "Report this with the operation's id",
        )
    })
}
