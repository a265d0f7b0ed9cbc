//! Pods that would still serve for a moment when they are told to stop.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams};

use crate::cloud::kube::apply::is_managed;
use crate::cloud::kube::error::KubeError;
use crate::cloud::kube::exec::RunningContainer;
use crate::cloud::kube::{DEPLOYMENT, Kube};
use crate::id::{DeploymentId, ImageRef, Namespace};

/// A pod that sleeps before its process is told to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PausingPod {
    /// Its name.
    pub name: String,
    /// Its container.
    pub container: RunningContainer,
    /// The image that its container runs.
    pub image: ImageRef,
    /// How long its process has to end.
    pub stop_grace: Duration,
}

impl Kube {
    /// The pods of a deployment that run and sleep before they stop, also those that do so already.
    ///
    /// # Errors
    /// What the API answers.
    pub async fn pausing_pods(
        &self,
        namespace: &Namespace,
        deployment: DeploymentId,
    ) -> Result<Vec<PausingPod>, KubeError> {
        let found = self.pods_of(namespace, deployment).await?;
        Ok(found.iter().filter(|pod| is_managed(*pod)).filter_map(pausing_pod).collect())
    }

    /// The names of all pods of a deployment, also of those that are about to go.
    ///
    /// # Errors
    /// What the API answers.
    pub async fn pod_names(&self, namespace: &Namespace, deployment: DeploymentId) -> Result<Vec<String>, KubeError> {
        Ok(self.pods_of(namespace, deployment).await?.iter().map(ResourceExt::name_any).collect())
    }

    pub(super) async fn pods_of(&self, namespace: &Namespace, deployment: DeploymentId) -> Result<Vec<Pod>, KubeError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace.as_str());
        let params = ListParams::default().labels(&format!("{DEPLOYMENT}={deployment}"));
        Ok(self.call(pods.list(&params)).await?.items)
    }
}

fn pausing_pod(pod: &Pod) -> Option<PausingPod> {
    let spec = pod.spec.as_ref()?;
    let container = spec.containers.first()?;
    let pause = container.lifecycle.as_ref()?.pre_stop.as_ref()?.sleep.as_ref()?.seconds;
    let grace = spec.termination_grace_period_seconds.unwrap_or(30) - pause;
    Some(PausingPod {
        name: pod.name_any(),
        container: RunningContainer::from_pod(pod)?,
        image: ImageRef::parse(container.image.clone()?).ok()?,
        stop_grace: Duration::from_secs(u64::try_from(grace).unwrap_or(0)),
    })
}
