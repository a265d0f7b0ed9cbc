//! Nodes of kind clusters, which are containers, and the images that they hold.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum, PortSummaryTypeEnum};
use bollard::query_parameters::ListContainersOptions;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::image::ImageInfo;
use super::layout;
use super::{Docker, DockerError, PROGRESS_INTERVAL};
use crate::event::Lines;
use crate::id::{ExposedPort, ImageRef, Port, Protocol};

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

    /// Whether a node has exactly this image under this name.
    ///
    /// # Errors
    /// [`DockerError`] when the node's container does not run.
    pub async fn node_has_image(
        &self,
        node: &str,
        name: &ImageRef,
        image: &ImageInfo,
        cancel: &CancellationToken,
    ) -> Result<bool, DockerError> {
        let full_name = layout::full_name(name);
        let ids = [image.id.clone(), layout::sha256(&layout::config_of(image)?)];
        let filters: Vec<String> =
            std::iter::once(&full_name).chain(&ids).map(|name| format!("name=={name}")).collect();
        let mut argv = vec!["ctr", "-n", "k8s.io", "images", "ls"];
        argv.extend(filters.iter().map(String::as_str));
        let output = self.exec(node, &argv, None, cancel).await?;
        Ok(output.code == 0 && is_same_image(&output.text(), &full_name, &ids))
    }

    /// Whether a node has any image under this name.
    ///
    /// # Errors
    /// [`DockerError`] when the node cannot be asked.
    pub async fn node_has_name(
        &self,
        node: &str,
        name: &ImageRef,
        cancel: &CancellationToken,
    ) -> Result<bool, DockerError> {
        let full_name = layout::full_name(name);
        let filter = format!("name=={full_name}");
        let output = self.exec(node, &["ctr", "-n", "k8s.io", "images", "ls", &filter], None, cancel).await?;
        if output.code != 0 {
            return Err(DockerError::Transient {
                action: format!("list the images of node `{node}`"),
                reason: output.last_line(),
            });
        }
        Ok(output.text().lines().any(|line| line.split_whitespace().next() == Some(&full_name)))
    }

    /// Whether a node takes orders: its container runs, and what manages its images answers.
    pub async fn node_answers(&self, node: &str, cancel: &CancellationToken) -> bool {
        self.exec(node, &["ctr", "version"], None, cancel).await.is_ok_and(|output| output.code == 0)
    }

    /// Removes an image's name from a node; one that is not there is a success, and so is a node that is not there.
    ///
    /// # Errors
    /// [`DockerError`] when the node does not do it.
    pub async fn remove_from_node(
        &self,
        node: &str,
        name: &ImageRef,
        cancel: &CancellationToken,
    ) -> Result<(), DockerError> {
        let full_name = layout::full_name(name);
        let removed = self.exec(node, &["ctr", "-n", "k8s.io", "images", "rm", &full_name], None, cancel).await;
        match removed {
            Ok(output) if output.code == 0 || output.last_line().contains("not found") => Ok(()),
            Ok(output) => Err(DockerError::Permanent {
                action: format!("remove image `{name}` from node `{node}`"),
                reason: output.last_line(),
            }),
            Err(DockerError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
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

/// Whether `ctr images ls` shows the name and one of the ids with the same digest.
fn is_same_image(listing: &str, full_name: &str, ids: &[String]) -> bool {
    let rows: Vec<(&str, &str)> = listing
        .lines()
        .filter_map(|line| {
            let mut columns = line.split_whitespace();
            Some((columns.next()?, columns.nth(1)?))
        })
        .collect();
    let digest = rows.iter().find(|(name, _)| *name == full_name).map(|(_, digest)| digest);
    digest.is_some_and(|digest| rows.iter().any(|(name, other)| ids.iter().any(|id| id == name) && other == digest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_image_is_the_same_only_when_its_name_points_to_its_id() {
        let listing = "REF TYPE DIGEST SIZE\n\
            docker.io/library/notes:1 type sha256:m1 1 MiB\n\
            sha256:config1 type sha256:m1 1 MiB\n\
            sha256:config2 type sha256:m2 1 MiB\n";
        let is_same = |id: &str| is_same_image(listing, "docker.io/library/notes:1", &[id.to_owned()]);

        assert!(is_same("sha256:config1"));
        assert!(!is_same("sha256:config2"));
        assert!(!is_same("sha256:config3"));
    }

    proptest! {
        #[test]
        fn no_listing_makes_it_panic(text in "(.|\n)*") {
            let _ = is_same_image(&text, "a", &[]);
        }
    }
}
