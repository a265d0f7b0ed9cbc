//! Everything that the API knows about the newest version of an application, for a diagnosis.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::ResourceExt;
use kube::api::{Api, ListParams};

use crate::cloud::kube::Kube;
use crate::cloud::kube::error::KubeError;
use crate::cloud::kube::rollout::newest_pods;
use crate::id::{DeploymentName, Namespace};

/// A Deployment with the pods of its newest version and what was said about them.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The Deployment.
    pub deployment: Deployment,
    /// The pods of its newest version, by name.
    pub pods: BTreeMap<String, Pod>,
    /// The events about the Deployment, its `ReplicaSet`s and its pods.
    pub events: Vec<Event>,
}

impl Snapshot {
    /// How often the process of one of its pods was started again.
    #[must_use]
    pub fn restarts(&self, pod: &str) -> i32 {
        let status = self.pods.get(pod).and_then(|it| it.status.as_ref());
        let containers = status.and_then(|it| it.container_statuses.as_deref()).unwrap_or_default();
        containers.iter().map(|it| it.restart_count).sum()
    }
}

impl Kube {
    /// Looks at everything around an application; `None` when it has no Deployment.
    ///
    /// # Errors
    /// What the API answers.
    pub async fn snapshot(&self, name: &DeploymentName, namespace: &Namespace) -> Result<Option<Snapshot>, KubeError> {
        let namespace = namespace.as_str();
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
        let replica_sets: Api<ReplicaSet> = Api::namespaced(self.client.clone(), namespace);
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let events: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let by_label = ListParams::default().labels(&format!("app={name}"));
        let newest_events = ListParams::default().limit(1000);
        let (deployment, replica_sets, pods, events) = tokio::try_join!(
            self.call(deployments.get_opt(name.as_str())),
            self.call(replica_sets.list(&by_label)),
            self.call(pods.list(&by_label)),
            self.call(events.list(&newest_events)),
        )?;
        let Some(deployment) = deployment else { return Ok(None) };
        let replica_sets = by_name(replica_sets.items);
        let all_pods = by_name(pods.items);
        let pods: BTreeMap<_, _> = newest_pods(&deployment, &replica_sets, &all_pods)
            .into_iter()
            .map(|pod| (pod.name_any(), pod.clone()))
            .collect();
        let about = |event: &Event| {
            let object = event.involved_object.name.as_deref().unwrap_or_default();
            object == name.as_str() || replica_sets.contains_key(object) || pods.contains_key(object)
        };
        let events = events.items.into_iter().filter(about).collect();
        Ok(Some(Snapshot { deployment, pods, events }))
    }
}

fn by_name<K: ResourceExt>(objects: Vec<K>) -> BTreeMap<String, K> {
    objects.into_iter().map(|it| (it.name_any(), it)).collect()
}
