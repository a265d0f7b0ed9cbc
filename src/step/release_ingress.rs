//! Takes the application's certificate off the load balancer that it shares with others.

use serde::{Deserialize, Serialize};

use super::context::StepContext;
use super::error::StepError;
use super::ingress::{IngressLoadBalancer, ingress_service, install, own_certificate, wait_until_serving};
use super::removal::Removal;
use crate::id::{Region, cluster_name_of_target};

/// Takes the application's certificate off the load balancer that it shares with others.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReleaseIngress {
    /// Where.
    pub region: Region,
}

impl Removal for ReleaseIngress {
    const NAME: &'static str = "release_ingress";

    fn title(&self) -> String {
        "Release its share of the load balancer".to_owned()
    }

    fn weight(&self) -> u32 {
        4
    }

    async fn remove(&self, cx: &StepContext) -> Result<Vec<String>, StepError> {
        cx.lock_target().await?;
        let result = release(cx, &self.region).await;
        cx.unlock_target().await?;
        result
    }
}

/// Serves another certificate in place of the application's, or none.
pub(super) async fn release(cx: &StepContext, region: &Region) -> Result<Vec<String>, StepError> {
    let Some(own) = own_certificate(cx)? else { return Ok(Vec::new()) };
    let cluster = cluster_name_of_target(&cx.deployment.target_name);
    if cx.is_cluster_gone(&cluster).await? {
        return Ok(Vec::new());
    }
    let (aws, known) = (cx.aws_on_record(region).await?, cx.cluster()?);
    let kube = cx.kube(&cluster).await?;
    let Some(service) = ingress_service(&kube).await? else { return Ok(Vec::new()) };
    let front = IngressLoadBalancer::describe(&aws, &service).await?;
    if front.additional_certificates.contains(&own) {
        if let Some(listener) = &front.listener {
            aws.remove_certificate(listener, &own).await?;
        }
    } else if front.certificate.as_ref() == Some(&own) {
        let next = front.additional_certificates.first().cloned();
        cx.lines.progress("serving the load balancer without its certificate");
        install(cx, &aws, &known, next.as_deref()).await?;
        let now = wait_until_serving(cx, &aws, &kube, next.as_deref()).await?;
        if let (Some(listener), Some(next)) =
            (&now.listener, next.filter(|next| now.additional_certificates.contains(next)))
        {
            aws.remove_certificate(listener, &next).await?;
        }
        now.add_certificates(&aws, front.additional_certificates.get(1..).unwrap_or_default()).await?;
    }
    Ok(Vec::new())
}
