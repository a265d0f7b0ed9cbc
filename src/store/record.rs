//! What the store keeps, as the rest of the program sees it.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::event::{Failure, OperationState};
use crate::id::{
    Action, CommitId, DeploymentId, DeploymentName, DockerfilePath, EnvironmentName, ExposedPort, GitRef, HostedZoneId,
    ImageRef, KeyPairName, Mode, Namespace, OperationId, Port, Region, RepositoryUrl, SourceDirectory, TargetId,
};
use crate::store::build_options::BuildOptions;

/// The version of this program, as rows name it that it writes.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What cannot be read of a row, and who can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The column, or what the row consists of.
    pub what: String,
    /// The version that last wrote the row, when it is on record.
    pub written_by: Option<String>,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {VERSION} cannot read its `{}`", self.what)?;
        match &self.written_by {
            Some(version) if version != VERSION => write!(f, ", which version {version} wrote"),
            Some(_) => write!(f, ", although it wrote it: the stored value is damaged"),
            None => Ok(()),
        }
    }
}

/// One run of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// Its id.
    pub id: OperationId,
    /// What it does.
    pub action: Action,
    /// Whose request it is: the id of a key, or an address.
    pub principal: String,
    /// The request, without secrets.
    pub intent: serde_json::Value,
    /// The graph of steps.
    pub plan: serde_json::Value,
    /// Where it stands.
    pub state: OperationState,
    /// Share of the work that is done, in percent.
    pub progress: u8,
    /// The deployment that it changes.
    pub deployment: DeploymentId,
    /// The target that it runs on.
    pub target: TargetId,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// What it left behind or removed, in words.
    pub receipt: Vec<String>,
    /// Things that the person should know and that stopped nothing.
    pub warnings: Vec<String>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The version of this program that last worked on it.
    pub written_by: Option<String>,
    /// Whether sealed secrets of it are stored.
    pub keeps_secrets: bool,
    /// Whether somebody asked to cancel it.
    pub is_cancel_requested: bool,
}

impl Operation {
    /// Until when a stuck operation keeps its sealed secrets, when they are kept for this long.
    #[must_use]
    pub fn secrets_kept_until(&self, retention: Duration) -> Option<Timestamp> {
        let is_stuck = self.state == OperationState::Stuck && self.keeps_secrets;
        self.ended_at.filter(|_| is_stuck).map(|it| it.saturating_add(retention).unwrap_or(Timestamp::MAX))
    }
}

/// An application from a git repository, running on a target.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// Kind of target.
    pub mode: Mode,
    /// Where it stands.
    pub state: DeploymentState,
    /// The target that it runs on.
    pub target: TargetId,
    /// Name of the target, as people call it (`instance_id`).
    pub target_name: String,
    /// Name of the Kubernetes Deployment.
    pub name: DeploymentName,
    /// Its namespace.
    pub namespace: Namespace,
    /// What it is built from.
    pub repository: RepositoryUrl,
    /// Branch, tag or commit that was asked for; the default branch without one.
    pub git_ref: Option<GitRef>,
    /// The directory of the repository in which its build begins; none for the root.
    pub source_directory: Option<SourceDirectory>,
    /// The operation that runs on it now, or that last changed it.
    pub operation: OperationId,
    /// What is known of it as it runs.
    pub facts: DeploymentFacts,
    /// When it was first asked for.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Deployment {
    /// The sentence that deploys the same again. Its environment and its tokens are not part of it.
    #[must_use]
    pub fn deploy_sentence(&self) -> String {
        let Self { repository, git_ref, source_directory, mode, namespace, name, .. } = self;
        let branch = git_ref.as_ref().map(|it| format!(" branch {it}")).unwrap_or_default();
        let directory = source_directory.as_ref().map(|it| format!(" from the directory {it}")).unwrap_or_default();
        format!("deploy {repository}{branch}{directory} to {mode} in namespace {namespace} as {name}")
    }
}

/// What is known of a running deployment; nothing before the first roll-out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeploymentFacts {
    /// The version that runs.
    pub version: Option<Version>,
    /// How many replicas are wanted.
    pub replicas: Option<u16>,
    /// Where it answers.
    pub app_url: Option<String>,
    /// Its node port, in the modes that have one.
    pub node_port: Option<u16>,
    /// HTTP status of the last fetch.
    pub http_status: Option<u16>,
    /// Public address of the EC2 instance.
    pub public_ip: Option<String>,
    /// Id of the EC2 instance.
    pub ec2_instance_id: Option<String>,
    /// Key pair of the EC2 instance.
    pub ec2_key_name: Option<String>,
    /// What the instance or the cluster costs, in words.
    pub cost: Option<String>,
    /// The same as numbers.
    pub price: Option<Cost>,
    /// The application's own host name, with the zone that it lies in.
    pub host: Option<ApplicationHost>,
    /// ECR repository.
    pub ecr_repository_url: Option<String>,
    /// Endpoint of the EKS cluster.
    pub eks_cluster_endpoint: Option<String>,
    /// DNS name of the NLB.
    pub nlb_dns_name: Option<String>,
    /// Certificate of the domain.
    pub acm_certificate_arn: Option<String>,
    /// What is not well with it although it runs.
    pub concerns: Vec<Concern>,
    /// Base images that were loaded into the cluster's nodes ahead of a build: they stay there as a cache.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub base_images: Vec<ImageRef>,
    /// Things that the person should know.
    pub warnings: Vec<String>,
    /// True when we made the namespace.
    pub owns_namespace: bool,
}

/// Something that is not well with an application that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concern {
    /// What, as the end of a sentence about the application: `its first page answers with HTTP 500`.
    pub what: String,
    /// The lines that show it, without secrets; often none.
    pub evidence: Vec<String>,
}

impl Concern {
    /// One without evidence.
    #[must_use]
    pub fn of(what: String) -> Self {
        Self { what, evidence: Vec::new() }
    }
}

/// What something costs, without traffic and taxes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Per hour.
    pub hour: f64,
    /// Per month of 730 hours.
    pub month: f64,
    /// Currency.
    pub currency: String,
    /// Month of those prices that are from the program's own table, such as `2025-01`.
    pub as_of: Option<String>,
    /// Day on which the others were asked of AWS, such as `2026-11-30`.
    #[serde(default)]
    pub listed_on: Option<String>,
}

impl Cost {
    /// Where its prices are from.
    #[must_use]
    pub fn source(&self) -> String {
        match (&self.listed_on, &self.as_of) {
            (Some(day), None) => format!("AWS' price list of {day}"),
            (Some(day), Some(month)) => format!("AWS' price list of {day}, in part list prices of {month}"),
            (None, Some(month)) => format!("list prices of {month}"),
            (None, None) => "prices of an unknown date".to_owned(),
        }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hour, month, currency, .. } = self;
        write!(f, "about {hour:.3} {currency} per hour, {month:.0} {currency} per month ({})", self.source())
    }
}

/// The own host name of an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplicationHost {
    /// The name, such as `shop.apps.example.com`.
    pub name: String,
    /// The zone that it lies in.
    pub zone: HostedZoneId,
}

/// One version of a deployment that was rolled out; enough to roll back to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// Counted from 1.
    pub revision: u32,
    /// What was built.
    pub commit: CommitId,
    /// Branch, tag or commit that was asked for.
    pub git_ref: Option<GitRef>,
    /// The image that runs.
    pub image: ImageRef,
    /// The image's id (digest of its configuration).
    pub image_id: String,
    /// The port that is probed and served.
    pub main_port: Port,
    /// Who said so.
    #[serde(default)]
    pub port_source: PortSource,
    /// All ports.
    pub ports: Vec<ExposedPort>,
    /// Port that the person gave.
    pub container_port: Option<Port>,
    /// Seconds to end after SIGTERM that the person gave.
    #[serde(default)]
    pub stop_grace_s: Option<u16>,
    /// The directory of the repository in which its build began; none for the root.
    #[serde(default)]
    pub source_directory: Option<SourceDirectory>,
    /// Dockerfile that the person gave.
    pub dockerfile: Option<DockerfilePath>,
    /// What its image was built of.
    #[serde(default)]
    pub build: VersionBuild,
    /// How its build differed from that of the Dockerfile alone.
    #[serde(default)]
    pub build_options: BuildOptions,
    /// Secret with the environment variables.
    pub environment_secret: Option<String>,
    /// Names of the environment variables.
    pub environment_names: Vec<EnvironmentName>,
    /// The operation that rolled it out.
    pub operation: OperationId,
    /// When it was rolled out.
    pub deployed_at: Timestamp,
}

/// What a commit says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitSummary {
    /// The beginning of its message.
    pub subject: String,
    /// When it was made.
    pub committed_at: Timestamp,
}

/// What the image of a version was built of, and what came of that; nothing of one that an earlier release built.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VersionBuild {
    /// The Dockerfile in the repository.
    pub dockerfile: Option<String>,
    /// The text of the one that was made, when the repository has none.
    pub generated: Option<String>,
    /// The builder of others, when it made the image.
    pub builder: Option<String>,
    /// The directory of the build context; empty for the root.
    pub context: String,
    /// What its commit says of itself.
    pub commit: Option<CommitSummary>,
    /// Size of all layers of the image.
    pub size_bytes: Option<u64>,
    /// How long the build took; nothing of an image that was found.
    pub took_ms: Option<u64>,
}

/// Who said which port an application listens on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortSource {
    /// The person, in `container_port`.
    Person,
    /// The person, in the variable `PORT` of the application's environment.
    Environment,
    /// The image: EXPOSE, or its own variable `PORT`.
    #[default]
    Image,
    /// Nobody; it is what is usual.
    Assumed,
    /// The process, which was seen to listen there.
    Seen,
}

impl PortSource {
    /// Whether it is the person's own word, which gives way to nothing.
    #[must_use]
    pub fn is_given(self) -> bool {
        matches!(self, Self::Person | Self::Environment)
    }
}

/// Where a deployment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[derive(EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum DeploymentState {
    /// Its first roll-out is under way.
    Deploying,
    /// It runs.
    Running,
    /// It ran and is broken now.
    Failed,
    /// It is being removed.
    Removing,
    /// It is gone.
    Removed,
}

impl DeploymentState {
    /// The stable text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Reads the stable text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// A cluster or an instance that deployments run on.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Its id.
    pub id: TargetId,
    /// Its kind.
    pub mode: Mode,
    /// Its name.
    pub name: String,
    /// True when this server made it.
    pub made_here: bool,
    /// The operation that holds its lock.
    pub locked_by: Option<OperationId>,
    /// Region of AWS that it lies in; known before anything is made there.
    pub region: Option<Region>,
    /// The EC2 instance, while there is one.
    pub instance: Option<Instance>,
    /// The EKS cluster, while there is one.
    pub cluster: Option<EksCluster>,
}

/// An EKS cluster that deployments run on, with all that it takes to reach it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EksCluster {
    /// Its name, which people call `instance_id`.
    pub name: String,
    /// Address of its API, with `https://`.
    pub endpoint: String,
    /// Certificate of its authority, PEM in base64 (as EKS tells it and a kubeconfig holds it).
    pub authority: String,
    /// Kubernetes version, such as `1.34`.
    pub version: String,
    /// Region.
    pub region: Region,
    /// Number of the account that pays for it.
    pub account: String,
    /// The network that it lies in.
    pub vpc: String,
}

/// An EC2 instance that deployments run on, with all that it takes to reach it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its id, such as `i-0123456789abcdef0`.
    pub id: String,
    /// Its Name tag, which people call `instance_id`.
    pub name: String,
    /// Public address; another one after a stop and a start.
    pub public_ip: IpAddr,
    /// Who logs in with the key pair: the image's maker decides.
    pub user: String,
    /// The key pair whose private key is below `EC2_PRIVATE_KEY_BASE_PATH`.
    pub key_pair: KeyPairName,
    /// Region.
    pub region: Region,
    /// Availability zone.
    pub zone: String,
    /// Id of the machine image.
    pub image: String,
    /// Number of the account that pays for it.
    pub account: String,
    /// Its host keys (`ssh-ed25519 AAAA...`): those that its console told, or that the first contact has shown.
    #[serde(default)]
    pub host_keys: Vec<String>,
    /// Whether its console has told one of them.
    #[serde(default)]
    pub are_host_keys_confirmed: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_has_one_name_in_json_and_in_its_column() {
        assert!(DeploymentState::VARIANTS.iter().all(|it| serde_json::to_value(it).unwrap() == it.as_str()));
        assert!(DeploymentState::VARIANTS.iter().all(|it| DeploymentState::parse(it.as_str()) == Some(*it)));
    }
}
