//! Lets the application's host name lead to the load balancer.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::action::{StepAction, StepUndo};
use super::context::StepContext;
use super::error::StepError;
use super::install_ingress::InstallIngress;
use super::remove_alias;
use super::request_certificate::host;
use crate::id::Region;
use crate::store::record::{ApplicationHost, Deployment};
use crate::tool::terraform::{Terraform, module};

/// Lets the application's host name lead to the load balancer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CreateAlias {
    /// Where.
    pub region: Region,
}

/// The name leads there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AliasCreated {
    /// The name.
    pub host: ApplicationHost,
}

impl StepAction for CreateAlias {
    const NAME: &'static str = "create_alias";
    type Output = AliasCreated;

    fn title(&self) -> String {
        "Let its name lead to the load balancer".to_owned()
    }

    fn weight(&self) -> u32 {
        10
    }

    fn summary(&self, output: &AliasCreated) -> String {
        format!("`{}`", output.host.name)
    }

    fn record(&self, output: &AliasCreated, deployment: &mut Deployment) {
        deployment.facts.host = Some(output.host.clone());
    }

    async fn check(&self, cx: &StepContext) -> Result<Option<AliasCreated>, StepError> {
        let Some(host) = cx.deployment.facts.host.clone() else { return Ok(None) };
        let ingress = cx.output::<InstallIngress>()?;
        let leads_to = cx.aws(&self.region).await?.find_record(&host.zone, &host.name).await?;
        let is_there = leads_to.is_some_and(|name| name.eq_ignore_ascii_case(&ingress.dns_name));
        Ok(is_there.then_some(AliasCreated { host }))
    }

    async fn run(&self, cx: &StepContext) -> Result<AliasCreated, StepError> {
        let aws = cx.aws(&self.region).await?;
        let (host, ingress) = (host(cx)?, cx.output::<InstallIngress>()?);
        let terraform = Terraform::new(&cx.settings);
        let mut workspace = cx.workspace(module::ALIAS, &terraform, &aws).await?;
        let variables = json!({
            "region": self.region,
            "host": host.name,
            "zone_id": host.zone,
            "balancer_name": ingress.dns_name,
            "balancer_zone_id": ingress.zone,
        });
        let was_begun = workspace.exists();
        cx.prepare(&mut workspace, &aws, variables).await?;
        if was_begun && workspace.resource_ids().await?.is_empty() {
            // A call that died before it wrote the state has left it, and its name is taken.
            aws.delete_alias(&host.zone, &host.name, &ingress.dns_name).await?;
        }
        workspace.plan().await?;
        workspace.apply().await?;
        Ok(AliasCreated { host })
    }
}

impl StepUndo for CreateAlias {
    async fn undo(&self, cx: &StepContext, _: Option<AliasCreated>) -> Result<Vec<String>, StepError> {
        if cx.deployment.facts.host.is_some() {
            return Ok(Vec::new());
        }
        remove_alias::remove(cx, &self.region).await
    }
}
