//! Takes an application off a cluster, waits until it is really gone, and tells what is left.
//!
//! Only what carries the label of the deployment is touched. What is absent already is success.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use futures_util::future::try_join_all;
use futures_util::{FutureExt, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::{Api, DeleteParams, ListParams, PartialObjectMeta};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::cloud::OnProgress;
use crate::cloud::kube::apply::is_managed;
use crate::cloud::kube::error::KubeError;
use crate::cloud::kube::namespace::NamespaceOutcome;
use crate::cloud::kube::pod_failure::is_ready;
use crate::cloud::kube::stop::PausingPod;
use crate::cloud::kube::watch_cache::WatchCache;
use crate::cloud::kube::{DEPLOYMENT, Kube};
use crate::id::{DeploymentId, Namespace};

/// An object on the cluster, for receipts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectName {
    /// Its kind, such as `Service`.
    pub kind: String,
    /// Its namespace; `None` for a namespace itself.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// What became of an application that was taken off a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApplicationDeleted {
    /// What was deleted.
    pub removed: Vec<ObjectName>,
    /// A sentence on its namespace, when this server made that and something keeps it.
    pub namespace_stays: Option<String>,
}

/// What to do with the namespace of an application that goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespacePolicy {
    /// It stays.
    Keep,
    /// It goes too, if this server made it and nothing else lives in it.
    DeleteIfEmpty,
}

impl Kube {
    /// Deletes everything of a deployment and waits until it is gone; says what that was.
    ///
    /// # Errors
    /// [`KubeError::Timeout`] when something does not go within `timeout`; else what the API answers. Calling it again
    /// carries on.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn delete_application<F>(
        &self,
        namespace: &Namespace,
        deployment: DeploymentId,
        fate: NamespacePolicy,
        timeout: Duration,
        on_progress: OnProgress<'_>,
        stop: impl FnOnce(Vec<PausingPod>) -> F + Send,
    ) -> Result<ApplicationDeleted, KubeError>
    where
        F: Future<Output = Vec<String>> + Send,
    {
        let deadline = tokio::time::Instant::now() + timeout;
        on_progress("taking the application off the cluster".to_owned());
        let (orphan, foreground) = (DeleteParams::orphan(), DeleteParams::foreground());
        let (mut removed, services, ingresses) = tokio::try_join!(
            self.delete_kind::<Deployment>(namespace, deployment, &[], &orphan),
            self.delete_kind::<Service>(namespace, deployment, &[], &foreground),
            self.delete_kind::<Ingress>(namespace, deployment, &[], &foreground),
        )?;
        // Its pods are left without an owner, so that each goes as it should and none takes its place.
        self.delete_kind::<ReplicaSet>(namespace, deployment, &[], &orphan).await?;
        removed.extend(services);
        removed.extend(ingresses);
        on_progress("waiting until its pods are gone".to_owned());
        let pods_go = async {
            let stopped = stop(self.pausing_pods(namespace, deployment).await?).await;
            self.delete_pods(namespace, deployment, &stopped).await?;
            self.wait_until_gone::<Deployment>(namespace, deployment).await?;
            self.wait_until_gone::<ReplicaSet>(namespace, deployment).await?;
            self.wait_until_gone::<Pod>(namespace, deployment).await
        };
        let Ok(gone) = tokio::time::timeout_at(deadline, pods_go).await else {
            let holder = Box::pin(self.holder_of_deployment(deployment)).await;
            return Err(KubeError::overdue(format!("the pods in namespace `{namespace}`"), timeout, holder));
        };
        gone?;
        // The environment goes last: pods that are still there may read it when they restart.
        removed.extend(self.delete_kind::<Secret>(namespace, deployment, &[], &foreground).await?);
        let rest = try_join_all([
            self.wait_until_gone::<Service>(namespace, deployment).boxed(),
            self.wait_until_gone::<Ingress>(namespace, deployment).boxed(),
            self.wait_until_gone::<Secret>(namespace, deployment).boxed(),
        ]);
        let Ok(gone) = tokio::time::timeout_at(deadline, rest).await else {
            let holder = Box::pin(self.holder_of_deployment(deployment)).await;
            let what = format!("what belongs to the application in namespace `{namespace}`");
            return Err(KubeError::overdue(what, timeout, holder));
        };
        gone?;
        let mut namespace_stays = None;
        if fate == NamespacePolicy::DeleteIfEmpty {
            let deleted = self.delete_namespace(namespace, deployment, on_progress).boxed();
            let Ok(outcome) = tokio::time::timeout_at(deadline, deleted).await else {
                let holder = Box::pin(self.holder_of_namespace(namespace.as_str())).await;
                return Err(KubeError::overdue(format!("the namespace `{namespace}`"), timeout, holder));
            };
            match outcome? {
                NamespaceOutcome::NotOurs => (),
                NamespaceOutcome::Gone => removed.push(ObjectName {
                    kind: "Namespace".to_owned(),
                    namespace: None,
                    name: namespace.to_string(),
                }),
                NamespaceOutcome::Stays(reason) => {
                    namespace_stays = Some(format!("The namespace `{namespace}` stays: {reason}."));
                }
            }
        }
        Ok(ApplicationDeleted { removed, namespace_stays })
    }

    /// Deletes the environments of a deployment that no version refers to any more: all but those named.
    ///
    /// # Errors
    /// What the API answers.
    pub async fn prune_environments(
        &self,
        namespace: &Namespace,
        deployment: DeploymentId,
        keep: &[String],
    ) -> Result<Vec<ObjectName>, KubeError> {
        self.delete_kind::<Secret>(namespace, deployment, keep, &DeleteParams::foreground()).await
    }

    /// Lists what still carries the label of a deployment, in all namespaces: nothing, when it is gone.
    ///
    /// # Errors
    /// What the API answers.
    pub async fn remaining_objects(&self, deployment: DeploymentId) -> Result<Vec<ObjectName>, KubeError> {
        let lists = try_join_all([
            self.list_by_deployment::<Deployment>(deployment).boxed(),
            self.list_by_deployment::<ReplicaSet>(deployment).boxed(),
            self.list_by_deployment::<Pod>(deployment).boxed(),
            self.list_by_deployment::<Service>(deployment).boxed(),
            self.list_by_deployment::<Secret>(deployment).boxed(),
            self.list_by_deployment::<Ingress>(deployment).boxed(),
        ])
        .await?;
        Ok(lists.concat())
    }

    async fn list_by_deployment<K: MetadataResource>(
        &self,
        deployment: DeploymentId,
    ) -> Result<Vec<ObjectName>, KubeError> {
        let api: Api<PartialObjectMeta<K>> = Api::all(self.client.clone());
        let params = ListParams::default().labels(&format!("{DEPLOYMENT}={deployment}"));
        let list = self.call(api.list(&params)).await?;
        Ok(list.items.iter().map(|it| object_name::<K>(it)).collect())
    }

    async fn delete_kind<K>(
        &self,
        namespace: &Namespace,
        deployment: DeploymentId,
        keep: &[String],
        how: &DeleteParams,
    ) -> Result<Vec<ObjectName>, KubeError>
    where
        K: MetadataResource + Resource<Scope = NamespaceResourceScope>,
    {
        let metadata: Api<PartialObjectMeta<K>> = Api::namespaced(self.client.clone(), namespace.as_str());
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace.as_str());
        let params = ListParams::default().labels(&format!("{DEPLOYMENT}={deployment}"));
        let found = match self.call(metadata.list(&params)).await {
            Ok(found) => found.items,
            Err(KubeError::NotFound { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut receipt = Vec::new();
        for object in found.iter().filter(|it| is_managed(*it) && !keep.contains(&it.name_any())) {
            match self.call(api.delete(&object.name_any(), how)).await {
                Ok(_) | Err(KubeError::NotFound { .. }) => receipt.push(object_name::<K>(object)),
                Err(error) => return Err(error),
            }
        }
        Ok(receipt)
    }

    /// Deletes the pods; without their grace period those that were stopped, and those that never came up.
    async fn delete_pods(
        &self,
        namespace: &Namespace,
        deployment: DeploymentId,
        stopped: &[String],
    ) -> Result<(), KubeError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace.as_str());
        let found = self.pods_of(namespace, deployment).await?;
        for pod in found.iter().filter(|pod| is_managed(*pod) && !is_stopping(pod)) {
            let is_idle = !is_ready(pod) || stopped.contains(&pod.name_any());
            let how = if is_idle { DeleteParams::default().grace_period(1) } else { DeleteParams::default() };
            match self.call(pods.delete(&pod.name_any(), &how)).await {
                Ok(_) | Err(KubeError::NotFound { .. }) => (),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits until the deployment has no pods.
    ///
    /// # Errors
    /// What the API answers.
    pub async fn wait_until_pods_are_gone(
        &self,
        namespace: &Namespace,
        deployment: DeploymentId,
    ) -> Result<(), KubeError> {
        self.wait_until_gone::<Pod>(namespace, deployment).await
    }

    async fn wait_until_gone<K>(&self, namespace: &Namespace, deployment: DeploymentId) -> Result<(), KubeError>
    where
        K: MetadataResource + Resource<Scope = NamespaceResourceScope>,
    {
        let api: Api<PartialObjectMeta<K>> = Api::namespaced(self.client.clone(), namespace.as_str());
        let config = watcher::Config::default().labels(&format!("{DEPLOYMENT}={deployment}"));
        self.watch_until_empty(api, config).await
    }

    /// Waits until nothing that the watch selects is there.
    pub(super) async fn watch_until_empty<K: MetadataResource>(
        &self,
        api: Api<PartialObjectMeta<K>>,
        config: watcher::Config,
    ) -> Result<(), KubeError> {
        let mut events = std::pin::pin!(watcher(api, config).default_backoff());
        let mut watched = WatchCache::default();
        while let Some(event) = events.next().await {
            match event.map_err(|error| KubeError::from_watch(error, &self.server)) {
                Ok(event) => watched.apply_event(event),
                Err(error) if error.is_transient() => (),
                Err(error) => return Err(error),
            }
            if watched.synced && watched.objects.is_empty() {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// A kind that we delete, list or watch by its metadata alone.
pub(super) trait MetadataResource:
    Resource<DynamicType = ()> + DeserializeOwned + Clone + fmt::Debug + Send + Sync + 'static
{
}

impl<K: Resource<DynamicType = ()> + DeserializeOwned + Clone + fmt::Debug + Send + Sync + 'static> MetadataResource
    for K
{
}

fn is_stopping(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

fn object_name<K: Resource<DynamicType = ()>>(object: &impl ResourceExt) -> ObjectName {
    ObjectName { kind: K::kind(&()).into_owned(), namespace: object.namespace(), name: object.name_any() }
}
