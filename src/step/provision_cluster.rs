//! Makes sure that the EKS cluster is there, with its network and its nodes.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::account::expect_owner_of_cluster;
use super::check_hosted_account::CheckHostedAccount;
use super::destroy_cluster::destroy;
use super::{StepAction, StepContext, StepError};
use crate::cloud::aws::eks::DescribedCluster;
use crate::cloud::aws::{Aws, OPERATION_TAG, TARGET_TAG};
use crate::event::Failure;
use crate::id::Region;
use crate::store::record::{EksCluster, Target};
use crate::tool::connection::Connection;
use crate::tool::terraform::{Terraform, module};

/// How often EKS is asked while the cluster comes up.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// The person's way to the cluster, in the target's folder.
const KUBECONFIG: &str = "kubeconfig";

/// Makes sure that the EKS cluster is there. Deployments that arrive together make one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProvisionCluster {
    /// Where.
    pub region: Region,
    /// Keeps a cluster that came up when the deploy that it was made for fails.
    pub keep: bool,
}

/// The cluster is there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClusterProvisioned {
    /// The cluster.
    pub cluster: EksCluster,
    /// True when this operation made it.
    pub made: bool,
    /// True when it stays although the operation fails.
    pub kept: bool,
    /// True when no other deployment runs on it.
    pub alone: bool,
}

impl StepAction for ProvisionCluster {
    const NAME: &'static str = "provision_cluster";
    type Output = ClusterProvisioned;

    fn title(&self) -> String {
        format!("Prepare the EKS cluster in {}", self.region)
    }

    fn weight(&self) -> u32 {
        60
    }

    fn summary(&self, output: &ClusterProvisioned) -> String {
        let EksCluster { name, version, .. } = &output.cluster;
        let is = if output.made { "runs" } else { "is there" };
        format!("`{name}` {is}, Kubernetes {version}")
    }

    async fn check(&self, cx: &StepContext) -> Result<Option<ClusterProvisioned>, StepError> {
        let Some(target) = cx.store.target(cx.target.id).await? else { return Ok(None) };
        if target.locked_by.is_some() {
            return Ok(None);
        }
        let Some(known) = &target.cluster else { return Ok(None) };
        match self.live(cx, &cx.aws(&self.region).await?, known).await? {
            Some(cluster) => Ok(Some(self.found(cx, &target, cluster).await?)),
            None => Ok(None),
        }
    }

    async fn run(&self, cx: &StepContext) -> Result<ClusterProvisioned, StepError> {
        cx.lock_target().await?;
        let result = self.provide(cx).await;
        if result.is_ok() {
            cx.store.unlock_target(cx.target.id, cx.operation).await?;
        }
        result
    }

    async fn undo(&self, cx: &StepContext, left: Option<ClusterProvisioned>) -> Result<Vec<String>, StepError> {
        let made = match &left {
            Some(provisioned) => provisioned.made,
            // What this operation did not begin to make is not touched.
            None => match cx.store.target(cx.target.id).await? {
                Some(target) => has_begun(cx, &target).await?,
                None => false,
            },
        };
        let used = cx.is_target_shared().await?;
        let mut removed = Vec::new();
        match (made, left) {
            (true, Some(provisioned)) if self.keep => cx.lines.warning(format!(
                "The EKS cluster `{}` stays, as `keep_target` asks, and costs money until it is decommissioned.",
                provisioned.cluster.name
            )),
            (true, _) if !used => {
                cx.lock_target().await?;
                removed = Box::pin(destroy(cx, &self.region)).await?;
            }
            (true | false, _) => (),
        }
        cx.store.unlock_target(cx.target.id, cx.operation).await?;
        Ok(removed)
    }
}

impl ProvisionCluster {
    async fn found(
        &self,
        cx: &StepContext,
        target: &Target,
        cluster: EksCluster,
    ) -> Result<ClusterProvisioned, StepError> {
        let made = has_begun(cx, target).await?;
        Ok(ClusterProvisioned { cluster, made, kept: self.keep || !made, alone: is_alone(cx).await? })
    }

    /// A cluster on record as it is now; `None` when it is gone and may be made anew.
    async fn live(&self, cx: &StepContext, aws: &Aws, known: &EksCluster) -> Result<Option<EksCluster>, StepError> {
        let Some(found) = aws.cluster(&known.name).await? else { return Ok(None) };
        expect_owner_of_cluster(aws, known).await?;
        let cluster = in_use(cx, &self.region, &found)?;
        if cluster != *known {
            cx.store.set_target_cluster(cx.target.id, Some(&cluster)).await?;
        }
        Ok(Some(cluster))
    }

    async fn provide(&self, cx: &StepContext) -> Result<ClusterProvisioned, StepError> {
        let aws = cx.aws(&self.region).await?;
        let target = cx.store.target(cx.target.id).await?.unwrap_or_else(|| cx.target.clone());
        if let Some(known) = &target.cluster
            && let Some(cluster) = self.live(cx, &aws, known).await?
        {
            return self.found(cx, &target, cluster).await;
        }
        let ours = cx.target.id.to_string();
        let stranger = aws.cluster(&target.name).await?.filter(|it| it.target.as_ref() != Some(&ours));
        let (cluster, made) = match stranger {
            // A person's own: it is used, and nothing of it is changed.
            Some(found) => (in_use(cx, &self.region, &found)?, false),
            None => (self.make(cx, &aws).await?, true),
        };
        cx.store.set_target_cluster(cx.target.id, Some(&cluster)).await?;
        write_kubeconfig(cx, &cluster).await?;
        Ok(ClusterProvisioned { cluster, made, kept: self.keep || !made, alone: is_alone(cx).await? })
    }

    async fn make(&self, cx: &StepContext, aws: &Aws) -> Result<EksCluster, StepError> {
        // On record first: whoever finds the cluster after a crash knows whose it is.
        cx.store.set_target_made_here(cx.target.id, true).await?;
        let terraform = Terraform::new(&cx.settings);
        let workspace = cx.workspace(module::CLOUD_HOSTED, &terraform, aws).await?;
        workspace.prepare(&self.variables(cx)?).await?;
        workspace.plan().await?;
        tokio::select! {
            applied = workspace.apply() => applied?,
            () = tell(cx, aws) => (),
        }
        let found = aws.cluster(&cx.target.name).await?.ok_or_else(|| super::account::cluster_gone(&cx.target.name))?;
        in_use(cx, &self.region, &found)
    }

    fn variables(&self, cx: &StepContext) -> Result<serde_json::Value, StepError> {
        let eks = &cx.settings.eks;
        let cidrs: Vec<String> = eks.public_access_cidrs.iter().map(ToString::to_string).collect();
        Ok(json!({
            "region": self.region,
            "name": cx.target.name,
            "tags": { TARGET_TAG: cx.target.id, OPERATION_TAG: cx.operation },
            "zones": cx.output::<CheckHostedAccount>()?.zones,
            "vpc_cidr": eks.vpc_cidr.to_string(),
            "nat": eks.nat.as_str(),
            "kubernetes_version": eks.version,
            "public_access_cidrs": if cidrs.is_empty() { vec!["0.0.0.0/0".to_owned()] } else { cidrs },
            "logs": eks.logs,
            "encrypt_secrets": eks.encrypt_secrets,
            "instance_type": eks.instance_type,
            "volume_gib": eks.volume_gib,
            "nodes": { "min": eks.nodes_min, "desired": eks.nodes, "max": eks.nodes_max },
        }))
    }
}

/// Tells what EKS says of the cluster and its nodes while they come up; never ends.
async fn tell(cx: &StepContext, aws: &Aws) {
    loop {
        tokio::time::sleep(ASK_EVERY).await;
        let name = &cx.target.name;
        let (Ok(Some(cluster)), Ok(groups)) = tokio::join!(aws.cluster(name), aws.node_groups(name)) else { continue };
        let mut parts = vec![format!("EKS says: cluster {}", cluster.status)];
        parts.extend(groups.iter().map(|it| format!("nodes {}", it.status)));
        parts.extend(cluster.issues.into_iter().chain(groups.into_iter().flat_map(|it| it.issues)));
        cx.lines.progress(parts.join(", "));
    }
}

/// A cluster that works, as it goes on record.
fn in_use(cx: &StepContext, region: &Region, found: &DescribedCluster) -> Result<EksCluster, StepError> {
    let name = &cx.target.name;
    let failure = |message: String, next_step: &str| Failure {
        code: "cluster_not_ready".into(),
        message,
        next_step: next_step.into(),
        output: found.issues.clone(),
    };
    match found.status.as_str() {
        "ACTIVE" | "UPDATING" => Ok(EksCluster {
            name: name.clone(),
            endpoint: found.endpoint.clone(),
            authority: found.authority.clone(),
            version: found.version.clone(),
            region: region.clone(),
            account: found.account.clone(),
            vpc: found.vpc.clone(),
        }),
        status @ ("CREATING" | "PENDING") => Err(StepError::Transient(failure(
            format!("the EKS cluster `{name}` is {status}"),
            "Try again in some minutes",
        ))),
        status => Err(StepError::Permanent(failure(
            format!("the EKS cluster `{name}` is {status}"),
            "Look at it in the EKS console, or send another `instance_id`",
        ))),
    }
}

/// Whether an earlier attempt or server of this operation began to make something.
async fn has_begun(cx: &StepContext, target: &Target) -> Result<bool, StepError> {
    Ok(target.made_here && Connection::Local.was_started(&cx.calls_folder(), "terraform-init").await?)
}

async fn is_alone(cx: &StepContext) -> Result<bool, StepError> {
    Ok(!cx.is_target_shared().await?)
}

/// Writes a kubeconfig for the person, who gets tokens from AWS' own program: it holds no secret.
async fn write_kubeconfig(cx: &StepContext, cluster: &EksCluster) -> Result<(), StepError> {
    let EksCluster { name, endpoint, authority, region, .. } = cluster;
    let exec = json!({
        "apiVersion": "client.authentication.k8s.io/v1beta1", "command": "aws",
        "args": ["eks", "get-token", "--region", region, "--cluster-name", name],
        "interactiveMode": "IfAvailable",
    });
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": name,
        "clusters": [{"name": name, "cluster": {"server": endpoint, "certificate-authority-data": authority}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "users": [{"name": name, "user": {"exec": exec}}],
    });
    let text = serde_json::to_string_pretty(&config).unwrap_or_default();
    Connection::Local.write(&cx.target_folder().join(KUBECONFIG), text.as_bytes()).await?;
    Ok(())
}
