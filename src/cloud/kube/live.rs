//! What of an application is on the cluster right now.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, Secret, Service};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde::{Deserialize, Serialize};

use crate::cloud::kube::application::Application;
use crate::cloud::kube::apply::{is_managed, main_node_port};
use crate::cloud::kube::error::KubeError;
use crate::cloud::kube::{
    COMMIT, DEPLOYMENT, Kube, MANAGED_BY, MANAGER, MANIFEST, OPERATION, REPOSITORY, SOURCE_DIRECTORY,
};
use crate::id::{DeploymentName, Namespace};

/// An application as the cluster has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveDeployment {
    /// The image that it should run.
    pub image: String,
    /// How many pods it should have.
    pub replicas: u32,
    /// How many pods of any version serve.
    pub ready: u32,
    /// Whether the cluster has rolled out what was asked for: all pods are of the newest version and serve.
    pub is_rolled_out: bool,
    /// Whether this server made it.
    pub ours: bool,
    /// The deployment that it belongs to.
    pub deployment: Option<String>,
    /// The operation that last changed it.
    pub operation: Option<String>,
    /// The Secret with its environment.
    pub environment_secret: Option<String>,
    /// The port that is probed.
    pub main_port: Option<u16>,
    /// The node port of the main port.
    pub node_port: Option<u16>,
    /// The repository that it was built from.
    pub repository: Option<String>,
    /// The directory of the repository that it was built in; none for the root.
    pub source_directory: Option<String>,
    /// The commit that it was built from.
    pub commit: Option<String>,
    /// The hash of the manifests that were applied.
    pub manifest: Option<String>,
}

/// An application with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedDeployment {
    /// Its name.
    pub name: DeploymentName,
    /// Its namespace.
    pub namespace: Namespace,
    /// The application.
    pub live: LiveDeployment,
}

impl Kube {
    /// Looks at an application; `None` when it has no Deployment.
    ///
    /// # Errors
    /// What the API answers.
    pub async fn live_deployment(
        &self,
        name: &DeploymentName,
        namespace: &Namespace,
    ) -> Result<Option<LiveDeployment>, KubeError> {
        let (deployment, service) = self.get_objects(name, namespace).await?;
        Ok(deployment.map(|it| LiveDeployment::from_objects(&it, service.as_ref())))
    }

    /// All applications that this kind of server has put onto the cluster.
    ///
    /// # Errors
    /// What the API answers.
    pub async fn managed_deployments(&self) -> Result<Vec<NamedDeployment>, KubeError> {
        let deployments: Api<Deployment> = Api::all(self.client.clone());
        let ours = ListParams::default().labels(&format!("{MANAGED_BY}={MANAGER}"));
        let mut found = Vec::new();
        for it in self.call(deployments.list(&ours)).await?.items {
            let name = DeploymentName::parse(it.name_any()).ok();
            let namespace = it.namespace().and_then(|it| Namespace::parse(it).ok());
            let Some((name, namespace)) = name.zip(namespace) else { continue };
            if let Some(live) = self.live_deployment(&name, &namespace).await? {
                found.push(NamedDeployment { name, namespace, live });
            }
        }
        Ok(found)
    }

    /// Whether the application is on the cluster exactly so, rolled out and serving: nothing needs to be applied.
    ///
    /// # Errors
    /// What the API answers.
    pub async fn is_current(&self, application: &Application) -> Result<bool, KubeError> {
        let (deployment, service) = self.get_objects(&application.name, &application.namespace).await?;
        let (Some(deployment), Some(service)) = (deployment, service) else { return Ok(false) };
        let live = LiveDeployment::from_objects(&deployment, Some(&service));
        Ok(live.ours
            && live.is_rolled_out
            && live.deployment == Some(application.deployment.to_string())
            && live.manifest == Some(application.fingerprint()?)
            && live.image == application.image.as_str()
            && live.replicas == application.replicas
            && application.node_port.is_none_or(|port| live.node_port == Some(port)))
    }

    /// Whether the Secret with an environment is there.
    ///
    /// # Errors
    /// What the API answers.
    pub async fn has_environment(&self, namespace: &Namespace, secret: &str) -> Result<bool, KubeError> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace.as_str());
        Ok(self.call(secrets.get_metadata_opt(secret)).await?.is_some())
    }

    async fn get_objects(
        &self,
        name: &DeploymentName,
        namespace: &Namespace,
    ) -> Result<(Option<Deployment>, Option<Service>), KubeError> {
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), namespace.as_str());
        let services: Api<Service> = Api::namespaced(self.client.clone(), namespace.as_str());
        tokio::try_join!(self.call(deployments.get_opt(name.as_str())), self.call(services.get_opt(name.as_str())))
    }
}

impl LiveDeployment {
    fn from_objects(deployment: &Deployment, service: Option<&Service>) -> Self {
        let label = |key: &str| deployment.labels().get(key).cloned();
        let annotation = |key: &str| deployment.annotations().get(key).cloned();
        let status = deployment.status.clone().unwrap_or_default();
        let container = main_container(deployment);
        let main_port = container.and_then(probed_port);
        let replicas = count(deployment.spec.replicas);
        let is_rolled_out = status.observed_generation >= deployment.metadata.generation
            && [status.replicas, status.updated_replicas, status.available_replicas].map(count) == [replicas; 3];
        Self {
            image: container.and_then(|it| it.image.clone()).unwrap_or_default(),
            replicas,
            ready: count(status.ready_replicas),
            is_rolled_out,
            ours: is_managed(deployment),
            deployment: label(DEPLOYMENT),
            operation: label(OPERATION),
            environment_secret: container.and_then(environment_secret),
            main_port,
            node_port: service.zip(main_port).and_then(|(service, port)| main_node_port(service, port)),
            repository: annotation(REPOSITORY),
            source_directory: annotation(SOURCE_DIRECTORY),
            commit: annotation(COMMIT),
            manifest: annotation(MANIFEST),
        }
    }
}

/// Kubernetes' counts are signed and may be absent.
pub(super) fn count(number: Option<i32>) -> u32 {
    number.and_then(|it| u32::try_from(it).ok()).unwrap_or_default()
}

fn main_container(deployment: &Deployment) -> Option<&Container> {
    deployment.spec.template.spec.as_ref()?.containers.first()
}

/// The port of its readiness probe.
pub(crate) fn probed_port(container: &Container) -> Option<u16> {
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
    match &container.readiness_probe.as_ref()?.tcp_socket.as_ref()?.port {
        IntOrString::Int(port) => u16::try_from(*port).ok(),
        IntOrString::String(_) => None,
    }
}

fn environment_secret(container: &Container) -> Option<String> {
    container.env_from.iter().flatten().find_map(|it| it.secret_ref.as_ref().map(|secret| secret.name.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::kube::application::tests::application;

    fn live(status: serde_json::Value) -> LiveDeployment {
        let mut manifest = application().deployment_manifest().unwrap();
        manifest["metadata"]["generation"] = 3.into();
        manifest["status"] = status;
        LiveDeployment::from_objects(&serde_json::from_value(manifest).unwrap(), None)
    }

    #[test]
    fn a_deployment_is_read_back_as_it_was_applied() {
        let live = live(serde_json::json!({
            "observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, "readyReplicas": 2,
        }));

        insta::assert_json_snapshot!(live);
    }

    #[test]
    fn a_deployment_whose_pods_are_of_two_versions_has_not_settled() {
        let live = live(serde_json::json!({
            "observedGeneration": 3, "replicas": 3, "updatedReplicas": 1, "availableReplicas": 2, "readyReplicas": 2,
        }));

        assert!(!live.is_rolled_out);
        assert_eq!(live.ready, 2);
    }
}
