//! Takes the application's certificate off the load balancer that it shares with others.

use serde::{Deserialize, Serialize};

use super::install_ingress::{Front, install, own_certificate, service_of_ours, until_served};
use super::remove_application::Removed;
use super::{StepAction, StepContext, StepError};
use crate::id::{Region, cluster_name_of_target};

/// Takes the application's certificate off the load balancer that it shares with others.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReleaseIngress {
    /// Where.
    pub region: Region,
}

impl StepAction for ReleaseIngress {
    const NAME: &'static str = "release_ingress";
    type Output = Removed;

    fn title(&self) -> String {
        "Release its share of the load balancer".to_owned()
    }

    fn weight(&self) -> u32 {
        4
    }

    fn summary(&self, output: &Removed) -> String {
        output.summary()
    }

    async fn check(&self, _: &StepContext) -> Result<Option<Removed>, StepError> {
        Ok(None)
    }

    async fn run(&self, cx: &StepContext) -> Result<Removed, StepError> {
        cx.lock_target().await?;
        let result = release(cx, &self.region).await;
        cx.store.unlock_target(cx.target.id, cx.operation).await?;
        Ok(Removed { removed: result? })
    }

    async fn undo(&self, cx: &StepContext, _: Option<Removed>) -> Result<Vec<String>, StepError> {
        cx.store.unlock_target(cx.target.id, cx.operation).await?;
        Ok(Vec::new())
    }
}

/// Serves another certificate in place of the application's, or none.
pub(super) async fn release(cx: &StepContext, region: &Region) -> Result<Vec<String>, StepError> {
    let Some(own) = own_certificate(cx)? else { return Ok(Vec::new()) };
    let cluster = cluster_name_of_target(&cx.deployment.target_name);
    if cx.is_cluster_gone(&cluster).await? {
        return Ok(Vec::new());
    }
    let (aws, known) = (cx.aws(region).await?, cx.cluster()?);
    let kube = cx.kube(&cluster).await?;
    let Some(service) = service_of_ours(&kube).await? else { return Ok(Vec::new()) };
    let front = Front::look(&aws, &service).await?;
    if front.further.contains(&own) {
        if let Some(listener) = &front.listener {
            aws.remove_certificate(listener, &own).await?;
        }
    } else if front.certificate.as_ref() == Some(&own) {
        let next = front.further.first().cloned();
        cx.lines.progress("serving the load balancer without its certificate");
        install(cx, &aws, &known, next.as_deref()).await?;
        let now = until_served(cx, &aws, &kube, next.as_deref()).await?;
        if let (Some(listener), Some(next)) = (&now.listener, next.filter(|next| now.further.contains(next))) {
            aws.remove_certificate(listener, &next).await?;
        }
        now.serve(&aws, front.further.get(1..).unwrap_or_default()).await?;
    }
    Ok(Vec::new())
}
