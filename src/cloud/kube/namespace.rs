//! Deletes a namespace that this server made, once nothing else lives in it.

use k8s_openapi::api::core::v1::{LimitRange, Namespace as NamespaceObject};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, PartialObjectMeta, Preconditions};
use kube::runtime::watcher;

use crate::cloud::OnProgress;
use crate::cloud::kube::Kube;
use crate::cloud::kube::apply::is_managed;
use crate::cloud::kube::error::KubeError;
use crate::id::{DeploymentId, Namespace};

/// What became of a namespace.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NamespaceOutcome {
    /// It is not there, or somebody else made it.
    NotOurs,
    /// It is gone.
    Gone,
    /// It is ours, and stays for this reason.
    Stays(String),
}

impl Kube {
    /// The names of the namespace's `LimitRange`s; none when they cannot be listed.
    pub async fn limit_ranges(&self, namespace: &Namespace) -> Vec<String> {
        let api: Api<LimitRange> = Api::namespaced(self.client.clone(), namespace.as_str());
        let found = self.call(api.list(&ListParams::default())).await;
        found.map(|list| list.items.iter().map(ResourceExt::name_any).collect()).unwrap_or_default()
    }

    /// Deletes the namespace of a deployment if this server made it and nothing else lives in it, and waits until it is
    /// gone.
    pub(super) async fn delete_namespace(
        &self,
        namespace: &Namespace,
        deployment: DeploymentId,
        on_progress: OnProgress<'_>,
    ) -> Result<NamespaceOutcome, KubeError> {
        let api: Api<NamespaceObject> = Api::all(self.client.clone());
        let Some(live) = self.call(api.get_opt(namespace.as_str())).await? else {
            return Ok(NamespaceOutcome::NotOurs);
        };
        if !is_managed(&live) {
            return Ok(NamespaceOutcome::NotOurs);
        }
        if live.metadata.deletion_timestamp.is_none() {
            if let Some(reason) = self.foreign_objects(namespace, deployment).await?.reason() {
                return Ok(NamespaceOutcome::Stays(reason));
            }
            // Every `apply` marks the namespace first: one that came since we looked makes this a conflict.
            let unchanged = Preconditions { resource_version: live.resource_version(), uid: live.uid() };
            match self.call(api.delete(namespace.as_str(), &DeleteParams::default().preconditions(unchanged))).await {
                Ok(_) => (),
                Err(KubeError::Conflict { .. }) => {
                    let reason = "it was changed in this moment, as by a deployment that comes into it";
                    return Ok(NamespaceOutcome::Stays(reason.to_owned()));
                }
                Err(KubeError::NotFound { .. }) => return Ok(NamespaceOutcome::NotOurs),
                Err(error) => return Err(error),
            }
        }
        on_progress(format!("waiting until the namespace `{namespace}` is gone"));
        let metadata: Api<PartialObjectMeta<NamespaceObject>> = Api::all(self.client.clone());
        let config = watcher::Config::default().fields(&format!("metadata.name={namespace}"));
        self.watch_until_empty(metadata, config).await?;
        Ok(NamespaceOutcome::Gone)
    }
}
