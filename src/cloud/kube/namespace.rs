//! Deletes a namespace that this server made, once nothing else lives in it.

use futures_util::FutureExt;
use futures_util::future::try_join_all;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{
    ConfigMap, Namespace as NamespaceObject, PersistentVolumeClaim, Pod, Secret, Service,
};
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::{Api, DeleteParams, ListParams, PartialObjectMeta, Preconditions};
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};

use crate::cloud::OnProgress;
use crate::cloud::kube::Kube;
use crate::cloud::kube::apply::is_managed;
use crate::cloud::kube::delete::{MetadataResource, ObjectName, object_name};
use crate::cloud::kube::error::KubeError;
use crate::id::Namespace;

impl Kube {
    /// Deletes the namespace if this server made it and nothing lives in it, and waits until it is gone.
    /// Gives its name when it went.
    pub(super) async fn delete_namespace(
        &self,
        namespace: &Namespace,
        on_progress: OnProgress<'_>,
    ) -> Result<Option<ObjectName>, KubeError> {
        let api: Api<NamespaceObject> = Api::all(self.client.clone());
        let Some(live) = self.call(api.get_opt(namespace.as_str())).await? else { return Ok(None) };
        if !is_managed(&live) {
            return Ok(None);
        }
        if live.metadata.deletion_timestamp.is_none() {
            if !self.is_empty(namespace).await? {
                return Ok(None);
            }
            // Every `apply` marks the namespace first: one that came since we looked makes this a conflict.
            let unchanged = Preconditions { resource_version: live.resource_version(), uid: live.uid() };
            match self.call(api.delete(namespace.as_str(), &DeleteParams::default().preconditions(unchanged))).await {
                Ok(_) => (),
                Err(KubeError::Conflict { .. } | KubeError::NotFound { .. }) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        on_progress(format!("waiting until the namespace `{namespace}` is gone"));
        let metadata: Api<PartialObjectMeta<NamespaceObject>> = Api::all(self.client.clone());
        let config = watcher::Config::default().fields(&format!("metadata.name={namespace}"));
        self.watch_until_empty(metadata, config).await?;
        Ok(Some(object_name::<NamespaceObject>(&live)))
    }

    async fn is_empty(&self, namespace: &Namespace) -> Result<bool, KubeError> {
        let counts = try_join_all([
            self.count_objects::<Deployment>(namespace).boxed(),
            self.count_objects::<ReplicaSet>(namespace).boxed(),
            self.count_objects::<StatefulSet>(namespace).boxed(),
            self.count_objects::<DaemonSet>(namespace).boxed(),
            self.count_objects::<Job>(namespace).boxed(),
            self.count_objects::<CronJob>(namespace).boxed(),
            self.count_objects::<Pod>(namespace).boxed(),
            self.count_objects::<Service>(namespace).boxed(),
            self.count_objects::<Ingress>(namespace).boxed(),
            self.count_objects::<PersistentVolumeClaim>(namespace).boxed(),
            self.count_objects::<Secret>(namespace).boxed(),
            self.count_objects::<ConfigMap>(namespace).boxed(),
        ])
        .await?;
        Ok(counts.iter().sum::<usize>() == 0)
    }

    /// How many objects of a kind live there that Kubernetes did not put there itself.
    async fn count_objects<K>(&self, namespace: &Namespace) -> Result<usize, KubeError>
    where
        K: MetadataResource + Resource<Scope = NamespaceResourceScope>,
    {
        let api: Api<PartialObjectMeta<K>> = Api::namespaced(self.client.clone(), namespace.as_str());
        let list = self.call(api.list(&ListParams::default())).await?;
        Ok(list.items.iter().filter(|it| !is_default_object(&it.name_any())).count())
    }
}

/// What every namespace has.
fn is_default_object(name: &str) -> bool {
    name == "kube-root-ca.crt" || name.starts_with("default-token-")
}
