//! Nodes that come and go: which instance each is, and whether anything needs it.

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

use crate::cloud::kube::Kube;
use crate::cloud::kube::error::KubeError;

/// The label of a node with its managed node group ("Managed node groups" in the EKS user guide).
const GROUP_LABEL: &str = "eks.amazonaws.com/nodegroup";
/// The label of a node with its availability zone.
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";
/// The annotation of a node that was cordoned to be given back: whoever finds it finishes that, or takes it back.
const RETURNING_ANNOTATION: &str = "on-demand-infra/returning";
/// The annotation of a pod that stands for one that the node itself runs ("Static Pods" in Kubernetes' documentation).
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// A node of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupNode {
    /// Its name.
    pub name: String,
    /// Id of the EC2 instance that it is.
    pub instance: String,
    /// Its availability zone.
    pub zone: String,
    /// Whether it was cordoned to be given back.
    pub is_returning: bool,
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
    /// The nodes of a managed node group that are ready, without those that somebody else has cordoned.
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

    /// The processor architecture of a node, such as `amd64`; `None` when it cannot be asked.
    pub async fn node_architecture(&self, node: &str) -> Option<String> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        Some(self.call(nodes.get(node)).await.ok()?.status?.node_info?.architecture)
    }

    /// Whether a pod waits for a node, or for what it needs there.
    ///
    /// # Errors
    /// [`KubeError`] when the API does not answer.
    pub async fn has_pending_pods(&self) -> Result<bool, KubeError> {
        let pods: Api<Pod> = Api::all(self.client.clone());
        let found = self.call(pods.list(&ListParams::default().fields("status.phase=Pending"))).await?;
        Ok(found.iter().any(|it| it.metadata.deletion_timestamp.is_none()))
    }

    /// Cordons a node to give it back, or takes that back.
    ///
    /// # Errors
    /// [`KubeError`] when the API does not answer or refuses.
    pub async fn set_returning(&self, node: &str, is_returning: bool) -> Result<(), KubeError> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let mark = is_returning.then_some("true");
        let patch = Patch::Merge(json!({
            "metadata": {"annotations": {RETURNING_ANNOTATION: mark}}, "spec": {"unschedulable": is_returning},
        }));
        self.call(nodes.patch(node, &PatchParams::default(), &patch)).await.map(drop)
    }
}

fn group_node(node: Node) -> Option<GroupNode> {
    let (metadata, spec, status) = (node.metadata, node.spec?, node.status?);
    let is_ready = status.conditions.iter().flatten().any(|it| it.type_ == "Ready" && it.status == "True");
    let is_returning = metadata.annotations.iter().flatten().any(|(name, _)| name == RETURNING_ANNOTATION);
    let is_somebodys = spec.unschedulable == Some(true) && !is_returning;
    // aws:///ZONE/INSTANCE
    let instance = spec.provider_id.as_deref()?.rsplit('/').next()?.to_owned();
    if !is_ready || is_somebodys || instance.is_empty() {
        return None;
    }
    let zone = metadata.labels.and_then(|mut it| it.remove(ZONE_LABEL)).unwrap_or_default();
    Some(GroupNode { name: metadata.name?, instance, zone, is_returning })
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
    fn a_node_is_the_instance_of_its_provider_id_and_one_that_somebody_has_cordoned_is_left_alone() {
        let read = |spec: serde_json::Value, annotations: serde_json::Value, ready: &str| {
            group_node(
                serde_json::from_value(json!({
                    "metadata": {"name": "a", "labels": {ZONE_LABEL: "eu-central-1a"}, "annotations": annotations},
                    "spec": spec, "status": {"conditions": [{"type": "Ready", "status": ready}]},
                }))
                .unwrap(),
            )
        };
        let provider = "aws:///eu-central-1a/i-0a1b";
        let node = |is_returning| {
            let (name, instance, zone) = ("a".into(), "i-0a1b".into(), "eu-central-1a".into());
            Some(GroupNode { name, instance, zone, is_returning })
        };
        let cordoned = json!({"providerID": provider, "unschedulable": true});

        assert_eq!(read(json!({"providerID": provider}), json!({}), "True"), node(false));
        assert_eq!(read(cordoned.clone(), json!({RETURNING_ANNOTATION: "true"}), "True"), node(true));
        assert_eq!(read(cordoned, json!({}), "True"), None);
        assert_eq!(read(json!({"providerID": provider}), json!({}), "False"), None);
        assert_eq!(read(json!({}), json!({}), "True"), None);
    }
}
