//! What an application consists of on its cluster, as it is right now.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Namespace as NamespaceObject, Pod, Service};
use k8s_openapi::api::networking::v1::Ingress;
use kube::ResourceExt;
use kube::api::{Api, ListParams};

use crate::cloud::kube::Kube;
use crate::cloud::kube::error::KubeError;
use crate::cloud::kube::pod_failure::{activity, is_ready, unschedulable};
use crate::id::{DeploymentName, Namespace};

/// The parts of an application beside its Deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationParts {
    /// Its pods of any version, by name.
    pub pods: Vec<PodStatus>,
    /// Whether its namespace is there.
    pub has_namespace: bool,
    /// Whether its Service is there.
    pub has_service: bool,
    /// Whether it has an Ingress.
    pub has_ingress: bool,
    /// Whether the Secret with its environment is there, when it has one.
    pub has_secret: Option<bool>,
}

/// How a pod is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodStatus {
    /// Its name.
    pub name: String,
    /// What it is doing, as the end of the sentence "pod x is ...".
    pub activity: String,
    /// Whether it serves, and goes on doing so.
    pub is_ready: bool,
    /// It was told to end: nothing new is sent to it, whatever its probe says.
    pub is_stopping: bool,
    /// What keeps it from serving, in the words of the cluster, when there are any.
    pub reason: Option<String>,
    /// How often its process was started again.
    pub restarts: u32,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// The node that it is on.
    pub node: Option<String>,
}

impl Kube {
    /// Looks at the parts of an application, whose environment is in this Secret.
    ///
    /// # Errors
    /// What the API answers.
    pub async fn parts(
        &self,
        name: &DeploymentName,
        namespace: &Namespace,
        secret: Option<&str>,
    ) -> Result<ApplicationParts, KubeError> {
        let namespaces: Api<NamespaceObject> = Api::all(self.client.clone());
        let services: Api<Service> = Api::namespaced(self.client.clone(), namespace.as_str());
        let ingresses: Api<Ingress> = Api::namespaced(self.client.clone(), namespace.as_str());
        let environment = async {
            match secret {
                Some(secret) => self.has_environment(namespace, secret).await.map(Some),
                None => Ok(None),
            }
        };
        let (pods, namespace, service, ingress, has_secret) = tokio::try_join!(
            self.pods(name, namespace),
            self.call(namespaces.get_metadata_opt(namespace.as_str())),
            self.call(services.get_metadata_opt(name.as_str())),
            self.call(ingresses.get_metadata_opt(name.as_str())),
            environment,
        )?;
        Ok(ApplicationParts {
            pods,
            has_namespace: namespace.is_some(),
            has_service: service.is_some(),
            has_ingress: ingress.is_some(),
            has_secret,
        })
    }

    /// The pods of an application, of any version, by name.
    ///
    /// # Errors
    /// What the API answers.
    pub async fn pods(&self, name: &DeploymentName, namespace: &Namespace) -> Result<Vec<PodStatus>, KubeError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace.as_str());
        let by_label = ListParams::default().labels(&format!("app={name}"));
        let mut pods: Vec<_> = self.call(pods.list(&by_label)).await?.items.iter().map(status).collect();
        pods.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(pods)
    }
}

fn status(pod: &Pod) -> PodStatus {
    let containers = pod.status.as_ref().and_then(|it| it.container_statuses.as_deref()).unwrap_or_default();
    let restarts: i32 = containers.iter().map(|it| it.restart_count).sum();
    let is_stopping = pod.metadata.deletion_timestamp.is_some();
    PodStatus {
        name: pod.name_any(),
        activity: activity(pod),
        is_ready: is_ready(pod) && !is_stopping,
        is_stopping,
        reason: reason(pod, containers),
        restarts: u32::try_from(restarts).unwrap_or_default(),
        created_at: pod.metadata.creation_timestamp.as_ref().map(|it| it.0),
        node: pod.spec.as_ref().and_then(|it| it.node_name.clone()),
    }
}

/// What keeps a pod from being placed, its container from being started, or why it was evicted.
fn reason(pod: &Pod, containers: &[ContainerStatus]) -> Option<String> {
    let waiting = containers.iter().find_map(|it| {
        let waiting = it.state.as_ref()?.waiting.as_ref()?;
        // Of a crash its number says more than the pause after it.
        if waiting.reason.as_deref() == Some("CrashLoopBackOff") { None } else { waiting.message.clone() }
    });
    let evicted = || pod.status.as_ref()?.message.clone();
    unschedulable(pod).or(waiting).or_else(evicted).filter(|it| !it.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_that_was_told_to_end_is_not_ready_and_one_that_waits_says_why() {
        let stopping: Pod = serde_json::from_value(json!({
            "metadata": {"name": "notes-1", "deletionTimestamp": "2026-01-02T03:04:05Z"},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        }))
        .unwrap();
        let message = "Back-off pulling image \"notes:1\"";
        let waiting: Pod = serde_json::from_value(json!({
            "metadata": {"name": "notes-2"},
            "status": {"containerStatuses": [{"name": "app", "image": "", "imageID": "", "ready": false,
                "restartCount": 0, "state": {"waiting": {"reason": "ImagePullBackOff", "message": message}}}]},
        }))
        .unwrap();

        let (stopping, waiting) = (status(&stopping), status(&waiting));

        assert_eq!((stopping.is_ready, stopping.is_stopping, stopping.activity.as_str()), (false, true, "stopping"));
        assert_eq!((waiting.is_stopping, waiting.reason.as_deref()), (false, Some(message)));
    }

    #[test]
    fn a_pod_says_what_it_does_and_how_often_it_was_started_again() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "notes-1", "creationTimestamp": "2026-01-02T03:04:05Z"},
            "spec": {"containers": [], "nodeName": "one"},
            "status": {"containerStatuses": [{"name": "app", "image": "", "imageID": "", "ready": false,
                "restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]},
        }))
        .unwrap();

        let status = status(&pod);

        assert_eq!(status.activity, "waiting to be started again after crash 5");
        assert_eq!((status.is_ready, status.restarts, status.node.as_deref()), (false, 4, Some("one")));
        assert_eq!(status.created_at.unwrap().to_string(), "2026-01-02T03:04:05Z");
    }
}
