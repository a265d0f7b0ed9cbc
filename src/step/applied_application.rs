//! An application as a version of it is put on a cluster, and what the cluster makes of that.

use serde::{Deserialize, Serialize};

use super::check_hosted_account::CheckHostedAccount;
use super::context::StepContext;
use super::error::StepError;
use super::install_ingress::InstallIngress;
use crate::cloud::docker::node::Node;
use crate::cloud::kube::Kube;
use crate::cloud::kube::application::{Application, Expose, Resources};
use crate::cloud::kube::node_port::NodePorts;
use crate::id::{ClusterName, CommitId, EnvironmentName, ExposedPort, ImageRef, Mode, Port, SourceDirectory};
use crate::store::build_options::BuildOptions;
use crate::store::record::{PortSource, Version};

/// Since 1.30 a pod can sleep before it stops ("Feature Gates" of Kubernetes: `PodLifecycleSleepAction`).
pub(super) const SLEEP_HOOK_MINOR: u32 = 30;

/// The application as it was applied.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ApplicationApplied {
    /// What runs.
    pub commit: CommitId,
    /// Its image.
    pub image: ImageRef,
    /// Digest of the image's configuration.
    pub image_id: String,
    /// The port that is probed.
    pub main_port: Port,
    /// Who said so.
    #[serde(default)]
    pub port_source: PortSource,
    /// The ports that its image exposes.
    pub ports: Vec<ExposedPort>,
    /// Secret with the environment.
    pub environment_secret: Option<String>,
    /// Names of the environment variables.
    pub environment_names: Vec<EnvironmentName>,
    /// Seconds to end after SIGTERM that the person gave.
    #[serde(default)]
    pub stop_grace_s: Option<u16>,
    /// How its build differed from that of the Dockerfile alone.
    #[serde(default)]
    pub build: BuildOptions,
    /// How many replicas.
    #[serde(default)]
    pub replicas: u16,
    /// The directory of the repository in which its build began; none for the root.
    #[serde(default)]
    pub source_directory: Option<SourceDirectory>,
    /// The node port of the main port.
    pub node_port: Option<u16>,
    /// True when this step made the namespace.
    pub created_namespace: bool,
    /// False when the cluster ran exactly this already.
    pub changed: bool,
}

impl ApplicationApplied {
    /// An earlier version, to be applied again with so many replicas.
    pub(super) fn from_version(version: &Version, replicas: u16) -> Self {
        Self {
            commit: version.commit.clone(),
            image: version.image.clone(),
            image_id: version.image_id.clone(),
            main_port: version.main_port,
            port_source: version.port_source,
            ports: version.ports.clone(),
            environment_secret: version.environment_secret.clone(),
            environment_names: version.environment_names.clone(),
            stop_grace_s: version.stop_grace_s,
            build: version.build_options.clone(),
            replicas,
            source_directory: version.source_directory.clone(),
            node_port: None,
            created_namespace: false,
            changed: true,
        }
    }

    /// The same, served at another port, at which its process was seen to listen.
    #[must_use]
    pub fn at_port(self, port: Port) -> Self {
        Self { main_port: port, port_source: PortSource::Seen, ..self }
    }

    /// What it is on a cluster.
    pub(super) async fn application(
        &self,
        cx: &StepContext,
        kube: &Kube,
        node_port: Option<u16>,
    ) -> Result<Application, StepError> {
        Ok(Application {
            name: cx.deployment.name.clone(),
            namespace: cx.deployment.namespace.clone(),
            deployment: cx.deployment.id,
            operation: cx.operation,
            image: self.image.clone(),
            replicas: u32::from(self.replicas),
            main_port: self.main_port,
            ports: self.ports.clone(),
            expose: expose(cx),
            node_port,
            environment_secret: self.environment_secret.clone(),
            resources: resources(cx),
            repository: cx.deployment.repository.clone(),
            source_directory: self.source_directory.clone(),
            commit: self.commit.clone(),
            stop_pause_s: stop_pause_s(cx, kube).await?,
            stop_grace_s: self.stop_grace_s.unwrap_or(cx.settings.rollout.stop_grace_s),
            rollout_timeout_s: u32::try_from(cx.settings.rollout.timeout.as_secs()).unwrap_or(u32::MAX),
        })
    }

    /// Whether this is the version that ran before: nothing new to go back to.
    #[must_use]
    pub fn is_same_version(&self, version: &Version) -> bool {
        self.image_id == version.image_id
            && self.commit == version.commit
            && self.main_port == version.main_port
            && self.ports == version.ports
            && self.environment_secret == version.environment_secret
            && self.stop_grace_s == version.stop_grace_s
            && self.build.key() == version.build_options.key()
    }
}

/// The node ports that an application may have: those that its cluster maps come first.
pub(super) async fn node_ports(cx: &StepContext, cluster: &ClusterName) -> Result<NodePorts, StepError> {
    let nodes = match cx.target.mode {
        Mode::Local | Mode::CloudLocal => cx.host().await?.docker.nodes_of_cluster(cluster.as_str()).await?,
        Mode::CloudHosted => Vec::new(),
    };
    let mapped = nodes.iter().flat_map(Node::mapped_node_ports);
    Ok(NodePorts::new(mapped, cx.settings.kind.node_port_range.ports()))
}

/// How it is reached: at its own host name, else at that of the load balancer, else at a port of the nodes.
fn expose(cx: &StepContext) -> Expose {
    if cx.target.mode != Mode::CloudHosted {
        return Expose::NodePort;
    }
    let facts = &cx.deployment.facts;
    let own = cx.try_output::<CheckHostedAccount>().ok().flatten().and_then(|it| it.host).or(facts.host.clone());
    let shared = || {
        let installed = cx.try_output::<InstallIngress>().ok().flatten().map(|it| it.dns_name);
        installed.or_else(|| facts.nlb_dns_name.clone()).unwrap_or_default()
    };
    Expose::Host(own.map_or_else(shared, |host| host.name))
}

/// For how many seconds a pod that goes still serves.
async fn stop_pause_s(cx: &StepContext, kube: &Kube) -> Result<u16, StepError> {
    Ok(if kube.is_at_least(SLEEP_HOOK_MINOR).await? { cx.settings.rollout.stop_pause_s } else { 0 })
}

fn resources(cx: &StepContext) -> Resources {
    let wanted = &cx.settings.kubernetes.resources;
    Resources {
        cpu_request: wanted.cpu_request.as_str().to_owned(),
        memory_request: wanted.memory_request.as_str().to_owned(),
        cpu_limit: wanted.cpu_limit.as_str().to_owned(),
        memory_limit: wanted.memory_limit.as_str().to_owned(),
    }
}
