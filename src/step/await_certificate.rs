//! Waits until the certificate is issued.
//!
//! That takes a minute when the zone is in use, and for ever when no domain names its name servers. So after a while the
//! operation says what is missing and waits: `resume` looks again at once, and from time to time it looks by itself.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::action::StepAction;
use super::context::StepContext;
use super::error::{StepError, Waiting};
use super::request_certificate::RequestCertificate;
use crate::cloud::aws::Aws;
use crate::cloud::aws::domain::DescribedCertificate;
use crate::id::Region;
use crate::store::record::Deployment;

/// Pause between two looks at first.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// Pause between two looks of an operation that waits.
const WAITING_POLL_INTERVAL: Duration = Duration::from_secs(30);

/// Waits until the certificate is issued.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AwaitCertificate {
    /// Where.
    pub region: Region,
}

/// The certificate can be used.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CertificateIssued {
    /// Its ARN.
    pub arn: String,
}

impl StepAction for AwaitCertificate {
    const NAME: &'static str = "await_certificate";
    type Output = CertificateIssued;

    fn title(&self) -> String {
        "Wait until the certificate is issued".to_owned()
    }

    fn weight(&self) -> u32 {
        20
    }

    fn summary(&self, _: &CertificateIssued) -> String {
        "issued".to_owned()
    }

    fn record(&self, output: &CertificateIssued, deployment: &mut Deployment) {
        deployment.facts.acm_certificate_arn = Some(output.arn.clone());
    }

    async fn check(&self, cx: &StepContext) -> Result<Option<CertificateIssued>, StepError> {
        let arn = cx.output::<RequestCertificate>()?.arn;
        let found = cx.aws(&self.region).await?.certificate(&arn).await?;
        Ok(found.filter(|it| it.is_issued).map(|_| CertificateIssued { arn }))
    }

    async fn run(&self, cx: &StepContext) -> Result<CertificateIssued, StepError> {
        let requested = cx.output::<RequestCertificate>()?;
        // Each time anew: whoever resumes the operation may have sent other credentials.
        let aws = cx.aws(&self.region).await?;
        let found = aws.certificate(&requested.arn).await?.ok_or_else(|| refused("it was deleted", &requested.arn))?;
        if found.is_issued {
            return Ok(CertificateIssued { arn: requested.arn });
        }
        if let Some(reason) = &found.failure {
            return Err(refused(reason, &requested.arn));
        }
        let missing = self.missing(cx, &aws, &found).await?;
        let settings = &cx.settings.ingress;
        let now = Timestamp::now();
        let until = cx.waits_until.unwrap_or_else(|| {
            let rest = settings.certificate_timeout.saturating_sub(found.age);
            now.checked_add(rest).unwrap_or(Timestamp::MAX)
        });
        if now >= until {
            return Err(StepError::permanent(
                "certificate_not_validated",
                format!(
                    "the certificate for `{}` was not issued within {} s: {missing}",
                    requested.host.name,
                    settings.certificate_timeout.as_secs()
                ),
                "Add what is missing, then send the request again; or raise `CERTIFICATE_TIMEOUT_S`",
            ));
        }
        let waited = Duration::try_from(now.duration_since(cx.begun_at)).unwrap_or_default();
        let (look_again, missing) = if waited < settings.certificate_patience {
            cx.lines.progress(format!("ACM says {}, {} s", found.status, found.age.as_secs()));
            (POLL_INTERVAL, None)
        } else {
            (WAITING_POLL_INTERVAL, Some(missing))
        };
        Err(StepError::Waiting(Waiting { until: Some(until), look_again, missing }))
    }
}

impl AwaitCertificate {
    /// What a person can look at: the record, and who has to name the zone's servers.
    async fn missing(&self, cx: &StepContext, aws: &Aws, found: &DescribedCertificate) -> Result<String, StepError> {
        let host = cx.output::<RequestCertificate>()?.host;
        let zone = aws.zone(&host.zone).await?;
        let (zone_name, servers) = zone.map(|it| (it.name, it.name_servers.join(", "))).unwrap_or_default();
        let record = found.record.as_ref().map_or_else(
            || "the record that validates it".to_owned(),
            |(name, kind, value)| format!("the {kind} record `{name}` with `{value}`"),
        );
        Ok(format!(
            "ACM does not see {record}. It is in the zone `{}`; is `{zone_name}` delegated to that zone's name servers ({servers})?",
            host.zone
        ))
    }
}

fn refused(reason: &str, arn: &str) -> StepError {
    StepError::permanent(
        "certificate_refused",
        format!("the certificate `{arn}` will not be issued: {reason}"),
        "Look at it in the ACM console, then send the request again",
    )
}
