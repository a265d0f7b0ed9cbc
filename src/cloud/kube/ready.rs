//! Whether a cluster answers and can run something.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::ListParams;

use crate::cloud::kube::Kube;
use crate::cloud::kube::error::KubeError;

/// How long a cluster that works may take to say so; a client goes on for longer to repeat a request that an API server
/// refuses while it starts.
const READY_TIMEOUT: Duration = Duration::from_secs(4);

/// What a cluster that works says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterInfo {
    /// The version of its API, such as `v1.34.4`.
    pub version: String,
    /// The names of the nodes that can run something.
    pub nodes: Vec<String>,
}

impl Kube {
    /// Asks for the version of the API.
    ///
    /// # Errors
    /// [`KubeError`] when the API does not answer.
    pub async fn version(&self) -> Result<String, KubeError> {
        match self.call(self.client.apiserver_version()).await {
            Ok(info) => Ok(info.git_version),
            // The default role `system:discovery` lets everyone ask for the version; an API server that has just started
            // refuses until it has loaded its roles.
            Err(KubeError::Forbidden { message }) => {
                Err(KubeError::Unavailable { code: 403, message: format!("it is still starting ({message})") })
            }
            Err(error) => Err(error),
        }
    }

    /// Whether its Kubernetes is 1.`minor` or newer; one whose version cannot be read is not.
    ///
    /// # Errors
    /// [`KubeError`] when the API does not answer.
    pub async fn is_at_least(&self, minor: u32) -> Result<bool, KubeError> {
        // Such as `v1.34.2`, and `v1.34.1-eks-113cf36` from EKS.
        let version = self.version().await?;
        let mut numbers = version.trim_start_matches('v').split('.').map(|it| it.parse().unwrap_or(0_u32));
        Ok((numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (1, minor))
    }

    /// Checks that the API answers within four seconds and that a node is ready.
    ///
    /// # Errors
    /// [`KubeError`] that says what is broken: connection, certificate, credentials, or the node with its condition.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn ready(&self) -> Result<ClusterInfo, KubeError> {
        let looked = tokio::time::timeout(READY_TIMEOUT, self.look_for_ready_nodes()).await;
        looked.unwrap_or_else(|_| Err(self.timed_out(READY_TIMEOUT)))
    }

    async fn look_for_ready_nodes(&self) -> Result<ClusterInfo, KubeError> {
        let version = self.version().await?;
        let nodes: Api<Node> = Api::all(self.client.clone());
        let nodes = self.call(nodes.list(&ListParams::default())).await?.items;
        let (ready, broken): (Vec<_>, Vec<_>) = nodes.iter().map(not_ready).partition(|(_, reason)| reason.is_none());
        if !ready.is_empty() {
            return Ok(ClusterInfo { version, nodes: ready.into_iter().map(|(name, _)| name).collect() });
        }
        match broken.into_iter().next() {
            Some((node, reason)) => Err(KubeError::NodeNotReady { node, reason: reason.unwrap_or_default() }),
            None => Err(KubeError::NoNodes),
        }
    }
}

/// The name of the node, and why it is not ready.
fn not_ready(node: &Node) -> (String, Option<String>) {
    let name = node.metadata.name.clone().unwrap_or_default();
    let conditions = node.status.as_ref().and_then(|it| it.conditions.as_deref()).unwrap_or_default();
    let reason = match conditions.iter().find(|it| it.type_ == "Ready") {
        Some(it) if it.status == "True" => None,
        Some(it) => {
            Some(it.message.clone().or_else(|| it.reason.clone()).unwrap_or_else(|| "no reason given".to_owned()))
        }
        None => Some("it has not reported yet".to_owned()),
    };
    (name, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_node_that_is_not_ready_says_why() {
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": "one"},
            "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "KubeletNotReady",
                "message": "container runtime network not ready: cni plugin not initialized"}]},
        }))
        .unwrap();

        let (name, reason) = not_ready(&node);

        assert_eq!(name, "one");
        assert_eq!(reason.as_deref(), Some("container runtime network not ready: cni plugin not initialized"));
    }
}
