//! Nodes that come and go: which instance each is, and whether anything needs it.

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

use crate::cloud::kube::Kube;
use crate::cloud::kube::error::KubeError;

/// The label of a node with its managed node group ("Managed node groups" in the EKS user guide).
const GROUP_LABEL: &str = "eks.amazonaws.com/nodegroup";
/// The annotation of a pod that stands for one that the node itself runs ("Static Pods" in Kubernetes' documentation).
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// A node of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupNode {
    /// Its name.
    pub name: String,
    /// Id of the EC2 instance that it is.
    pub instance: String,
}

/// What runs on a node beside what runs on each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeUse {
    /// Nothing.
    Empty,
    /// Only pods that are about to end.
    Ending,
    /// Pods that would have to move.
    Used,
}

impl Kube {
    /// The nodes of a managed node group on which new pods are put.
    ///
    /// # Errors
    /// [`KubeError`] when the API does not answer.
    pub async fn nodes_of_group(&self, group: &str) -> Result<Vec<GroupNode>, KubeError> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let found = self.call(nodes.list(&ListParams::default().labels(&format!("{GROUP_LABEL}={group}")))).await?;
        Ok(found.items.into_iter().filter_map(group_node).collect())
    }

    /// What runs on a node.
    ///
    /// # Errors
    /// [`KubeError`] when the API does not answer.
    pub async fn node_use(&self, node: &str) -> Result<NodeUse, KubeError> {
        let pods: Api<Pod> = Api::all(self.client.clone());
        let found = self.call(pods.list(&ListParams::default().fields(&format!("spec.nodeName={node}")))).await?;
        Ok(found.iter().map(pod_use).max().unwrap_or(NodeUse::Empty))
    }

    /// Lets new pods be put on a node, or no longer.
    ///
    /// # Errors
    /// [`KubeError`] when the API does not answer or refuses.
    pub async fn set_schedulable(&self, node: &str, is_schedulable: bool) -> Result<(), KubeError> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let patch = Patch::Merge(json!({"spec": {"unschedulable": !is_schedulable}}));
        self.call(nodes.patch(node, &PatchParams::default(), &patch)).await.map(drop)
    }
}

fn group_node(node: Node) -> Option<GroupNode> {
    let spec = node.spec?;
    // aws:///ZONE/INSTANCE
    let instance = spec.provider_id.as_deref()?.rsplit('/').next()?.to_owned();
    let is_schedulable = spec.unschedulable != Some(true);
    node.metadata.name.filter(|_| is_schedulable && !instance.is_empty()).map(|name| GroupNode { name, instance })
}

fn pod_use(pod: &Pod) -> NodeUse {
    let is_of_each_node = pod.metadata.owner_references.iter().flatten().any(|it| it.kind == "DaemonSet")
        || pod.metadata.annotations.iter().flatten().any(|(name, _)| name == MIRROR_ANNOTATION);
    let phase = pod.status.as_ref().and_then(|it| it.phase.as_deref());
    if is_of_each_node || matches!(phase, Some("Succeeded" | "Failed")) {
        NodeUse::Empty
    } else if pod.metadata.deletion_timestamp.is_some() {
        NodeUse::Ending
    } else {
        NodeUse::Used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_would_have_to_move_holds_its_node() {
        let used = |pod: serde_json::Value| pod_use(&serde_json::from_value(pod).unwrap());
        let owned = |kind: &str| json!([{"apiVersion": "apps/v1", "kind": kind, "name": "a", "uid": "1"}]);

        assert_eq!(used(json!({"metadata": {"ownerReferences": owned("ReplicaSet")}})), NodeUse::Used);
        assert_eq!(used(json!({"metadata": {}})), NodeUse::Used);
        assert_eq!(used(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})), NodeUse::Ending);
        for free in [
            json!({"metadata": {"ownerReferences": owned("DaemonSet")}}),
            json!({"metadata": {"annotations": {MIRROR_ANNOTATION: "1"}}}),
            json!({"metadata": {}, "status": {"phase": "Succeeded"}}),
        ] {
            assert_eq!(used(free), NodeUse::Empty);
        }
    }

    #[test]
    fn a_node_is_the_instance_of_its_provider_id_and_one_that_takes_no_pods_is_left_alone() {
        let read = |spec: serde_json::Value| {
            group_node(serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": spec})).unwrap())
        };
        let provider = "aws:///eu-central-1a/i-0a1b";

        let found = read(json!({"providerID": provider}));

        assert_eq!(found, Some(GroupNode { name: "a".into(), instance: "i-0a1b".into() }));
        assert_eq!(read(json!({"providerID": provider, "unschedulable": true})), None);
        assert_eq!(read(json!({})), None);
    }
}
