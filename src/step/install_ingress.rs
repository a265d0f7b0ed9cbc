//! Makes sure that the cluster has its ingress controller behind a load balancer, with the application's certificate.

use serde::{Deserialize, Serialize};

use super::action::{StepAction, StepUndo};
use super::context::StepContext;
use super::error::StepError;
use super::ingress::{
    IngressLoadBalancer, has_current_values, ingress_service, install, load_balancer_timed_out, own_certificate,
    wait_until_serving,
};
use super::release_ingress::release;
use super::uninstall_ingress::uninstall;
use crate::cloud::aws::load_balancer::NetworkLoadBalancer;
use crate::id::{Region, cluster_name_of_target};
use crate::store::record::Deployment;
use crate::tool::connection::Connection;

/// Makes sure that the cluster has its ingress controller behind a load balancer. All applications of a cluster share it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InstallIngress {
    /// Where.
    pub region: Region,
}

/// The load balancer takes requests.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IngressInstalled {
    /// Its name in DNS.
    pub dns_name: String,
    /// The hosted zone of that name.
    pub zone: String,
    /// True when this operation installed the controller.
    pub made: bool,
}

impl StepAction for InstallIngress {
    const NAME: &'static str = "install_ingress";
    type Output = IngressInstalled;

    fn title(&self) -> String {
        "Prepare the ingress controller and its load balancer".to_owned()
    }

    fn weight(&self) -> u32 {
        20
    }

    fn summary(&self, output: &IngressInstalled) -> String {
        format!("`{}`", output.dns_name)
    }

    fn record(&self, output: &IngressInstalled, deployment: &mut Deployment) {
        deployment.facts.nlb_dns_name = Some(output.dns_name.clone());
    }

    async fn check(&self, cx: &StepContext) -> Result<Option<IngressInstalled>, StepError> {
        let kube = cx.kube(&cluster_name_of_target(&cx.deployment.target_name)).await?;
        let Some(service) = ingress_service(&kube).await? else { return Ok(None) };
        let front = IngressLoadBalancer::describe(&cx.aws(&self.region).await?, &service).await?;
        let own = own_certificate(cx)?;
        let is_served = own.as_ref().is_none_or(|own| front.serves(own));
        let is_current = has_current_values(cx, &service, &front)? && is_served;
        match front.balancer.filter(|it| it.state == "active" && is_current) {
            Some(balancer) => Ok(Some(self.installed(cx, balancer).await?)),
            None => Ok(None),
        }
    }

    async fn run(&self, cx: &StepContext) -> Result<IngressInstalled, StepError> {
        cx.with_target_locked(self.ensure(cx)).await
    }
}

impl StepUndo for InstallIngress {
    async fn undo(&self, cx: &StepContext, left: Option<IngressInstalled>) -> Result<Vec<String>, StepError> {
        let goes = cx.will_destroy_cluster().await?;
        let made = match &left {
            Some(installed) => installed.made,
            None => self.was_started(cx).await?,
        };
        let is_alone = !cx.is_target_shared().await?;
        let is_new = cx.deployment.facts.version.is_none();
        cx.lock_target().await?;
        let removed = if goes || (made && is_alone && is_new) {
            uninstall(cx, &self.region, goes).await
        } else if is_new {
            release(cx, &self.region).await
        } else {
            Ok(Vec::new())
        };
        cx.unlock_target().await?;
        removed
    }
}

impl InstallIngress {
    async fn ensure(&self, cx: &StepContext) -> Result<IngressInstalled, StepError> {
        let (aws, known) = (cx.aws(&self.region).await?, cx.cluster()?);
        let kube = cx.kube(&cluster_name_of_target(&cx.deployment.target_name)).await?;
        let own = own_certificate(cx)?;
        let before = match ingress_service(&kube).await? {
            Some(service) => IngressLoadBalancer::describe(&aws, &service).await?,
            None => IngressLoadBalancer::default(),
        };
        let certificate = before.certificate.clone().or_else(|| own.clone());
        cx.lines.progress("installing the ingress controller");
        install(cx, &aws, &known, certificate.as_deref()).await?;
        let front = wait_until_serving(cx, &aws, &kube, certificate.as_deref()).await?;
        let others: Vec<String> = before.additional_certificates.into_iter().chain(own).collect();
        front.add_certificates(&aws, &others).await?;
        match front.balancer {
            Some(balancer) => self.installed(cx, balancer).await,
            None => Err(load_balancer_timed_out(cx, "there is no load balancer")),
        }
    }

    async fn installed(&self, cx: &StepContext, balancer: NetworkLoadBalancer) -> Result<IngressInstalled, StepError> {
        let made = self.was_started(cx).await?;
        Ok(IngressInstalled { dns_name: balancer.dns_name, zone: balancer.zone, made })
    }

    /// Whether this operation called helm when no application with an ingress was there yet.
    async fn was_started(&self, cx: &StepContext) -> Result<bool, StepError> {
        Ok(Connection::Local.was_started(&cx.calls(), "helm-upgrade").await?)
    }
}
