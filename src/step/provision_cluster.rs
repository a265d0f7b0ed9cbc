//! Makes sure that the EKS cluster is there, with its network and its nodes.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::action::StepAction;
use super::aws_access::require_same_account;
use super::check_hosted_account::CheckHostedAccount;
use super::cloud_target::{CloudTarget, Provisioned, cluster_gone};
use super::cluster_entry::require_entry;
use super::context::StepContext;
use super::destroy_cluster::destroy;
use super::error::StepError;
use super::provision::{self, Provision};
use crate::cloud::aws::eks::DescribedCluster;
use crate::cloud::aws::{Aws, CallerIdentity, OPERATION_TAG, TARGET_TAG};
use crate::event::Failure;
use crate::id::Region;
use crate::store::record::{Deployment, EksCluster, Target};
use crate::tool::connection::Connection;
use crate::tool::terraform::{Terraform, module};

/// How often EKS is asked while the cluster comes up.
const POLL_INTERVAL: Duration = Duration::from_secs(10);
/// Variables that stay as they were once there is a cluster, which an attempt that failed may have left: others would
/// replace its subnets or its nodes, or lock out whoever is let in. Tags always stay: whoever may tag what is new may not
/// change the tag of what is there.
const SETTLED: [&str; 6] = ["zones", "kubernetes_version", "support_type", "ami_type", "admin_arns", "tags"];
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

impl StepAction for ProvisionCluster {
    const NAME: &'static str = EksCluster::PROVISIONED_BY;
    type Output = Provisioned<EksCluster>;

    fn title(&self) -> String {
        format!("Prepare the EKS cluster in {}", self.region)
    }

    fn weight(&self) -> u32 {
        60
    }

    fn summary(&self, output: &Self::Output) -> String {
        let EksCluster { name, version, .. } = &output.found.cluster;
        let is = if output.made { "runs" } else { "is there" };
        format!("`{name}` {is}, Kubernetes {version}")
    }

    fn record(&self, output: &Self::Output, deployment: &mut Deployment) {
        output.found.record(&mut deployment.facts);
    }

    async fn check(&self, cx: &StepContext) -> Result<Option<Self::Output>, StepError> {
        provision::find(self, cx).await
    }

    async fn run(&self, cx: &StepContext) -> Result<Self::Output, StepError> {
        provision::ensure(self, cx).await
    }
}

impl Provision for ProvisionCluster {
    type Target = EksCluster;
    const MODULE: &'static str = module::CLOUD_HOSTED;

    fn region(&self) -> &Region {
        &self.region
    }

    fn keep(&self) -> bool {
        self.keep
    }

    async fn refresh(&self, cx: &StepContext, aws: &Aws, known: &EksCluster) -> Result<Option<EksCluster>, StepError> {
        let Some(found) = aws.cluster(&known.name).await? else { return Ok(None) };
        require_same_account(aws, known).await?;
        let cluster = cluster_record(cx, &self.region, &found)?;
        require_entry(aws, &cluster).await?;
        if cluster != *known {
            cx.store.set_target_cluster(cx.target.id, Some(&cluster)).await?;
        }
        if cluster != *known || !cx.target_folder().join(KUBECONFIG).exists() {
            write_kubeconfig(cx, &cluster).await?;
        }
        Ok(Some(cluster))
    }

    async fn make(&self, cx: &StepContext, aws: &Aws, target: &Target) -> Result<(EksCluster, bool), StepError> {
        let ours = cx.target.id.to_string();
        let found = aws.cluster(&target.name).await?;
        if let Some(going) = found.as_ref().filter(|it| it.is_being_deleted()) {
            cluster_record(cx, &self.region, going)?;
        }
        let stranger = found.filter(|it| it.target.as_ref() != Some(&ours));
        let (cluster, made) = match stranger {
            // A person's own: it is used, and nothing of it is changed.
            Some(found) => {
                let cluster = cluster_record(cx, &self.region, &found)?;
                require_entry(aws, &cluster).await?;
                (cluster, false)
            }
            None => (self.create(cx, aws).await?, true),
        };
        cx.store.set_target_cluster(cx.target.id, Some(&cluster)).await?;
        write_kubeconfig(cx, &cluster).await?;
        Ok((cluster, made))
    }

    async fn destroy(&self, cx: &StepContext) -> Result<Vec<String>, StepError> {
        destroy(cx, &self.region).await
    }
}

impl ProvisionCluster {
    async fn create(&self, cx: &StepContext, aws: &Aws) -> Result<EksCluster, StepError> {
        // On record first: whoever finds the cluster after a crash knows whose it is.
        cx.store.set_target_made_here(cx.target.id, true).await?;
        let cluster_is_there = aws.cluster(&cx.target.name).await?.is_some();
        let terraform = Terraform::new(&cx.settings);
        let mut workspace = cx.workspace(module::CLOUD_HOSTED, &terraform, aws).await?;
        let mut variables = self.variables(cx, &aws.caller_identity().await?)?;
        let earlier = workspace.record.as_ref().map(|it| &it.variables);
        for name in SETTLED.into_iter().filter(|name| cluster_is_there || *name == "tags") {
            if let Some(value) = earlier.and_then(|it| it.get(name)) {
                variables[name] = value.clone();
            }
        }
        cx.prepare(&mut workspace, aws, variables).await?;
        cx.remove_orphaned_resources(aws, &workspace).await?;
        workspace.plan().await?;
        tokio::select! {
            applied = workspace.apply() => applied?,
            () = report_progress(cx, aws) => (),
        }
        let found = aws.cluster(&cx.target.name).await?.ok_or_else(|| cluster_gone(&cx.target.name))?;
        cluster_record(cx, &self.region, &found)
    }

    fn variables(&self, cx: &StepContext, caller: &CallerIdentity) -> Result<serde_json::Value, StepError> {
        let eks = &cx.settings.eks;
        let checked = cx.output::<CheckHostedAccount>()?;
        // EKS lets in whoever makes a cluster, and refuses to do so twice.
        let admins: Vec<_> = eks.admin_arns.iter().filter(|it| !caller.is(it)).collect();
        let cidrs: Vec<String> = eks.public_access_cidrs.iter().map(ToString::to_string).collect();
        Ok(json!({
            "region": self.region,
            "name": cx.target.name,
            "target": cx.target.id,
            "tags": { TARGET_TAG: cx.target.id, OPERATION_TAG: cx.operation },
            "zones": checked.zones,
            "vpc_cidr": eks.vpc_cidr.to_string(),
            "nat": eks.nat.as_str(),
            "kubernetes_version": checked.version,
            "support_type": if checked.is_extended { "EXTENDED" } else { "STANDARD" },
            "admin_arns": admins,
            "public_access_cidrs": if cidrs.is_empty() { vec!["0.0.0.0/0".to_owned()] } else { cidrs },
            "logs": eks.logs,
            "encrypt_secrets": eks.encrypt_secrets,
            "instance_type": eks.instance_type,
            "ami_type": if checked.architecture == "arm64" { "AL2023_ARM_64_STANDARD" } else { "AL2023_x86_64_STANDARD" },
            "volume_gib": eks.volume_gib,
            "nodes": { "min": eks.nodes_min, "desired": eks.nodes, "max": eks.nodes_max },
        }))
    }
}

/// Tells what EKS says of the cluster and its nodes while they come up; never ends.
async fn report_progress(cx: &StepContext, aws: &Aws) {
    loop {
        tokio::time::sleep(POLL_INTERVAL).await;
        let name = &cx.target.name;
        let (Ok(Some(cluster)), Ok(groups)) = tokio::join!(aws.cluster(name), aws.node_groups(name)) else { continue };
        let mut parts = vec![format!("EKS says: cluster {}", cluster.status)];
        parts.extend(groups.iter().map(|it| format!("nodes {}", it.status)));
        parts.extend(cluster.issues.into_iter().chain(groups.into_iter().flat_map(|it| it.issues)));
        cx.lines.progress(parts.join(", "));
    }
}

/// A cluster that works, as it goes on record.
fn cluster_record(cx: &StepContext, region: &Region, found: &DescribedCluster) -> Result<EksCluster, StepError> {
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
        status @ ("CREATING" | "PENDING" | "DELETING") => Err(StepError::Settling(failure(
            format!("the EKS cluster `{name}` is {status}"),
            "Try again in some minutes",
        ))),
        status => Err(StepError::Permanent(failure(
            format!("the EKS cluster `{name}` is {status}"),
            "Look at it in the EKS console, or send another `instance_id`",
        ))),
    }
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
