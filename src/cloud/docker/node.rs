//! Nodes of kind clusters, which are containers.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum, PortSummaryTypeEnum};
use bollard::query_parameters::ListContainersOptions;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Docker, DockerError, PROGRESS_INTERVAL};
use crate::config::value::{FIRST_NODE_PORT, LAST_NODE_PORT};
use crate::event::Lines;
use crate::id::{ExposedPort, Port, Protocol};

/// Between two looks whether a node has come up.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// A node of a kind cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Id of its container: another one when the node was made anew.
    pub id: String,
    /// Name of its container.
    pub container: String,
    /// `control-plane`, `worker` or `external-load-balancer`.
    pub role: String,
    /// Whether its container runs.
    pub is_running: bool,
    /// Whether somebody has paused it.
    pub is_paused: bool,
    /// Which of its ports are reachable on the machine where Docker runs.
    pub published: Vec<PublishedPort>,
    /// Its address in the Docker network of its cluster, for callers inside that network.
    pub address: Option<String>,
}

/// A port of a node that is reachable from outside.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublishedPort {
    /// Address on the machine where Docker runs, such as `127.0.0.1`.
    pub host_address: String,
    /// Port on that machine.
    pub host_port: u16,
    /// Port of the node and its protocol.
    pub node_port: ExposedPort,
}

impl Node {
    /// Whether pods run on it.
    #[must_use]
    pub fn runs_pods(&self) -> bool {
        self.role == "control-plane" || self.role == "worker"
    }
}

impl Docker {
    /// The nodes of a kind cluster, by name; none when there is no such cluster.
    ///
    /// # Errors
    /// [`DockerError`] when the daemon does not answer.
    pub async fn nodes_of_cluster(&self, cluster: &str) -> Result<Vec<Node>, DockerError> {
        let filters = HashMap::from([("label".to_owned(), vec![format!("io.x-k8s.kind.cluster={cluster}")])]);
        let options = ListContainersOptions { all: true, filters: Some(filters), ..Default::default() };
        let containers = self
            .client()?
            .list_containers(Some(options))
            .await
            .map_err(|error| self.error("list containers", &error))?;
        let mut nodes: Vec<Node> = containers.into_iter().map(Node::from).collect();
        nodes.sort_by(|a, b| a.container.cmp(&b.container));
        Ok(nodes)
    }

    /// Waits until a node takes images. Its container need not exist yet.
    ///
    /// # Errors
    /// [`DockerError::NodeNotReady`] when it takes longer than `timeout`.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn wait_for_node(
        &self,
        node: &str,
        timeout: Duration,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<(), DockerError> {
        let start = Instant::now();
        let mut said = start;
        loop {
            let reason = match self.exec(node, &["ctr", "version"], None, cancel).await {
                Ok(output) if output.code == 0 => return Ok(()),
                Ok(output) => output.last_line(),
                Err(error @ (DockerError::Unreachable { .. } | DockerError::Cancelled)) => return Err(error),
                Err(error) => error.to_string(),
            };
            if start.elapsed() >= timeout {
                return Err(DockerError::NodeNotReady { node: node.to_owned(), waited_s: timeout.as_secs(), reason });
            }
            if said.elapsed() >= PROGRESS_INTERVAL {
                said = Instant::now();
                lines.progress(format!("waiting for node `{node}` ({} s)", start.elapsed().as_secs()));
            }
            tokio::select! {
                () = cancel.cancelled() => return Err(DockerError::Cancelled),
                () = tokio::time::sleep(POLL_INTERVAL) => {}
            }
        }
    }

    /// The ports of the machine that any container holds on its loopback, or on all of its addresses.
    ///
    /// # Errors
    /// [`DockerError`] when Docker does not answer.
    pub async fn published_ports(&self) -> Result<BTreeSet<u16>, DockerError> {
        let listed = self.client()?.list_containers(None::<ListContainersOptions>).await;
        let containers = listed.map_err(|error| self.error("list containers", &error))?;
        let ports = containers.into_iter().flat_map(|it| it.ports.unwrap_or_default());
        let is_local = |ip: Option<&str>| ip.is_none_or(|ip| matches!(ip, "" | "127.0.0.1" | "0.0.0.0" | "::"));
        Ok(ports.filter(|port| is_local(port.ip.as_deref())).filter_map(|port| port.public_port).collect())
    }

    /// Whether a node takes orders: its container runs, and what manages its images answers.
    pub async fn node_answers(&self, node: &str, cancel: &CancellationToken) -> bool {
        self.exec(node, &["ctr", "version"], None, cancel).await.is_ok_and(|output| output.code == 0)
    }
}

impl Node {
    /// The node ports that are mapped to the machine.
    pub fn mapped_node_ports(&self) -> impl Iterator<Item = u16> + '_ {
        let tcp = self.published.iter().filter(|it| it.node_port.protocol == Protocol::Tcp);
        tcp.map(|it| it.node_port.number.get()).filter(|port| (FIRST_NODE_PORT..=LAST_NODE_PORT).contains(port))
    }
}

impl From<ContainerSummary> for Node {
    fn from(container: ContainerSummary) -> Self {
        let labels = container.labels.unwrap_or_default();
        let mut published: Vec<PublishedPort> = container
            .ports
            .into_iter()
            .flatten()
            .filter_map(|port| {
                let protocol = match port.typ {
                    Some(PortSummaryTypeEnum::UDP) => Protocol::Udp,
                    Some(PortSummaryTypeEnum::SCTP) => Protocol::Sctp,
                    Some(PortSummaryTypeEnum::TCP | PortSummaryTypeEnum::EMPTY) | None => Protocol::Tcp,
                };
                Some(PublishedPort {
                    host_address: port.ip?,
                    host_port: port.public_port?,
                    node_port: ExposedPort { number: Port::new(port.private_port)?, protocol },
                })
            })
            .collect();
        published.sort();
        let networks = container.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        let address = networks
            .get("kind")
            .or_else(|| networks.values().next())
            .and_then(|network| network.ip_address.clone())
            .filter(|address| !address.is_empty());
        Self {
            id: container.id.unwrap_or_default(),
            container: container
                .names
                .unwrap_or_default()
                .first()
                .map(|name| name.trim_start_matches('/').to_owned())
                .unwrap_or_default(),
            role: labels.get("io.x-k8s.kind.role").cloned().unwrap_or_default(),
            is_running: container.state == Some(ContainerSummaryStateEnum::RUNNING),
            is_paused: container.state == Some(ContainerSummaryStateEnum::PAUSED),
            published,
            address,
        }
    }
}
