//! Puts an application on a cluster by server-side apply, and changes its size.

use std::collections::BTreeSet;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace as NamespaceObject, Secret, Service};
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::cloud::kube::application::{Application, EnvironmentSecret};
use crate::cloud::kube::error::KubeError;
use crate::cloud::kube::node_port::{NodePorts, node_ports};
use crate::cloud::kube::{
    CREATED_BY, DEPLOYMENT, Kube, MANAGED_BY, MANAGER, OPERATION, RESTARTED_BEFORE, RESTARTED_BY,
};
use crate::id::{DeploymentName, Namespace, OperationId};

/// How often another port is tried when someone takes the chosen one in the same moment.
const MAX_NODE_PORT_ATTEMPTS: usize = 16;

/// What applying an application did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApplyOutcome {
    /// Whether this operation made the namespace.
    pub created_namespace: bool,
    /// The node port of the main port.
    pub node_port: Option<u16>,
}

impl Kube {
    /// Puts the application on the cluster, or changes what is there. Does not wait for its pods.
    ///
    /// # Errors
    /// [`KubeError::NotOurs`] when objects of that name belong to someone else; [`KubeError::NodePortTaken`] when the
    /// wanted port does; [`KubeError::NodePortsExhausted`]; else what the API answers.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn apply(
        &self,
        application: &Application,
        environment: Option<&EnvironmentSecret>,
        ports: &NodePorts,
    ) -> Result<ApplyOutcome, KubeError> {
        let (created_namespace, live_service) =
            tokio::try_join!(self.ensure_namespace(application), self.check_ownership(application))?;
        let (node_port, ()) = tokio::try_join!(
            self.apply_service(application, live_service.as_ref(), ports),
            self.apply_environment(environment)
        )?;
        let manifest = application.deployment_manifest()?;
        self.apply_object::<Deployment>(&application.namespace, application.name.as_str(), &manifest).await?;
        Ok(ApplyOutcome { created_namespace, node_port })
    }

    /// Sets the number of pods. Does not wait for them.
    ///
    /// # Errors
    /// [`KubeError::NotFound`] when there is no such application, [`KubeError::NotOurs`] when it is not ours.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn scale(
        &self,
        name: &DeploymentName,
        namespace: &Namespace,
        operation: OperationId,
        replicas: u32,
    ) -> Result<(), KubeError> {
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), namespace.as_str());
        let live = self.call(deployments.get(name.as_str())).await?;
        check_managed("Deployment", &live)?;
        let change = json!({
            "metadata": {"labels": {OPERATION: operation}},
            "spec": {"replicas": replicas},
        });
        self.merge(&deployments, name, &change).await
    }

    /// Replaces the pods by new ones of the same version. Does not wait for them. The same operation does it once.
    ///
    /// # Errors
    /// [`KubeError::NotFound`] when there is no such application, [`KubeError::NotOurs`] when it is not ours.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn restart(
        &self,
        name: &DeploymentName,
        namespace: &Namespace,
        operation: OperationId,
    ) -> Result<(), KubeError> {
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), namespace.as_str());
        let live = self.call(deployments.get(name.as_str())).await?;
        check_managed("Deployment", &live)?;
        let before = restarted_by(&live);
        if before == Some(operation.to_string().as_str()) {
            return Ok(());
        }
        // Both annotations come with one request: an undo finds what was there also after a crash in between.
        let change = json!({
            "metadata": {"labels": {OPERATION: operation}, "annotations": {RESTARTED_BEFORE: before}},
            "spec": {"template": {"metadata": {"annotations": {RESTARTED_BY: operation}}}},
        });
        self.merge(&deployments, name, &change).await
    }

    /// Goes back to the pods from before a restart; false when the operation has restarted nothing.
    ///
    /// # Errors
    /// What the API answers.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn undo_restart(
        &self,
        name: &DeploymentName,
        namespace: &Namespace,
        operation: OperationId,
    ) -> Result<bool, KubeError> {
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), namespace.as_str());
        let Some(live) = self.call(deployments.get_opt(name.as_str())).await? else { return Ok(false) };
        if !is_managed(&live) || restarted_by(&live) != Some(operation.to_string().as_str()) {
            return Ok(false);
        }
        let before = live.annotations().get(RESTARTED_BEFORE);
        let change = json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED_BY: before}}}}});
        self.merge(&deployments, name, &change).await?;
        Ok(true)
    }

    /// Changes some fields of a Deployment; null takes one away.
    async fn merge(
        &self,
        deployments: &Api<Deployment>,
        name: &DeploymentName,
        change: &Value,
    ) -> Result<(), KubeError> {
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        self.call(deployments.patch(name.as_str(), &params, &Patch::Merge(change))).await.map(drop)
    }

    /// Makes the namespace when it is not there. One of ours is marked with the operation, so that a deletion that
    /// looked at it before notices (see `delete`).
    async fn ensure_namespace(&self, application: &Application) -> Result<bool, KubeError> {
        let name = application.namespace.as_str();
        let namespaces: Api<NamespaceObject> = Api::all(self.client.clone());
        let operation = application.operation.to_string();
        let live = if let Some(live) = self.call(namespaces.get_opt(name)).await? {
            live
        } else {
            let manifest = serde_json::from_value(application.namespace_manifest()?).map_err(|error| {
                KubeError::Manifest { name: "kubernetes/namespace.yaml", message: error.to_string() }
            })?;
            match self.call(namespaces.create(&PostParams::default(), &manifest)).await {
                Ok(_) => return Ok(true),
                // Another deployment was faster.
                Err(KubeError::Conflict { .. }) => self.call(namespaces.get(name)).await?,
                Err(error) => return Err(error),
            }
        };
        if live.metadata.deletion_timestamp.is_some() {
            let holder = Box::pin(self.holder_of_namespace(name)).await;
            return Err(KubeError::NamespaceTerminating { namespace: name.to_owned(), holder });
        }
        if live.labels().get(MANAGED_BY).is_some_and(|it| it == MANAGER) {
            let change = json!({"metadata": {"annotations": {OPERATION: application.operation}}});
            self.call(namespaces.patch(name, &PatchParams::default(), &Patch::Merge(&change))).await?;
        }
        Ok(live.annotations().get(CREATED_BY) == Some(&operation))
    }

    /// Refuses to take over what someone else made; gives the Service that is there.
    async fn check_ownership(&self, application: &Application) -> Result<Option<Service>, KubeError> {
        let (namespace, name) = (application.namespace.as_str(), application.name.as_str());
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
        let services: Api<Service> = Api::namespaced(self.client.clone(), namespace);
        let (deployment, service) =
            tokio::try_join!(self.call(deployments.get_opt(name)), self.call(services.get_opt(name)))?;
        let ours = application.deployment.to_string();
        if let Some(deployment) = &deployment {
            check_managed("Deployment", deployment)?;
            check_owner("Deployment", deployment, &ours)?;
        }
        if let Some(service) = &service {
            check_managed("Service", service)?;
            check_owner("Service", service, &ours)?;
        }
        Ok(service)
    }

    async fn apply_environment(&self, environment: Option<&EnvironmentSecret>) -> Result<(), KubeError> {
        let Some(environment) = environment else { return Ok(()) };
        self.apply_object::<Secret>(environment.namespace(), environment.name(), &environment.manifest()?).await
    }

    async fn apply_service(
        &self,
        application: &Application,
        live: Option<&Service>,
        ports: &NodePorts,
    ) -> Result<Option<u16>, KubeError> {
        let (namespace, name) = (&application.namespace, application.name.as_str());
        match application.ingress_manifest()? {
            None => self.apply_node_port(application, live, ports).await.map(Some),
            Some(ingress) => {
                self.apply_object::<Service>(namespace, name, &application.service_manifest(None)?).await?;
                self.apply_object::<Ingress>(namespace, name, &ingress).await?;
                Ok(None)
            }
        }
    }

    async fn apply_node_port(
        &self,
        application: &Application,
        live: Option<&Service>,
        ports: &NodePorts,
    ) -> Result<u16, KubeError> {
        // The first port is the one that the application is opened at, whatever number it has inside.
        let present = live.and_then(|service| node_ports(service).into_iter().next());
        let wanted = application.node_port.or(present);
        let mut taken = BTreeSet::new();
        for _ in 0..MAX_NODE_PORT_ATTEMPTS {
            let port = match wanted {
                Some(port) => port,
                None => self.free_node_port(ports, &taken).await?,
            };
            let manifest = application.service_manifest(Some(port))?;
            match self.apply_object::<Service>(&application.namespace, application.name.as_str(), &manifest).await {
                Ok(()) => return Ok(port),
                Err(KubeError::NodePortTaken { .. }) if wanted.is_none() => taken.insert(port),
                Err(KubeError::NodePortTaken { .. }) => return Err(KubeError::NodePortTaken { port }),
                Err(error) => return Err(error),
            };
        }
        Err(KubeError::Conflict { message: "other services kept taking the free node ports".to_owned() })
    }

    async fn apply_object<K>(&self, namespace: &Namespace, name: &str, manifest: &Value) -> Result<(), KubeError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + std::fmt::Debug,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace.as_str());
        let params = PatchParams::apply(MANAGER).force().validation_strict();
        self.call(api.patch(name, &params, &Patch::Apply(manifest))).await.map(drop)
    }
}

/// The operation that restarted the pods of a Deployment.
fn restarted_by(deployment: &Deployment) -> Option<&str> {
    let pods = deployment.spec.template.metadata.as_ref()?;
    pods.annotations.as_ref()?.get(RESTARTED_BY).map(String::as_str)
}

/// The node port of a Service that leads to that port.
pub(super) fn main_node_port(service: &Service, main_port: u16) -> Option<u16> {
    let ports = service.spec.as_ref()?.ports.as_ref()?;
    let port = ports.iter().find(|it| it.port == i32::from(main_port) && it.protocol.as_deref() != Some("UDP"))?;
    port.node_port.and_then(|port| u16::try_from(port).ok())
}

/// Whether this server made the object.
pub(super) fn is_managed(object: &impl ResourceExt) -> bool {
    object.labels().get(MANAGED_BY).is_some_and(|it| it == MANAGER)
}

fn check_managed(kind: &'static str, object: &impl ResourceExt) -> Result<(), KubeError> {
    if is_managed(object) { Ok(()) } else { Err(not_ours(kind, object, "someone else".to_owned())) }
}

fn check_owner(kind: &'static str, object: &impl ResourceExt, ours: &str) -> Result<(), KubeError> {
    match object.labels().get(DEPLOYMENT) {
        Some(id) if id == ours => Ok(()),
        Some(id) => Err(not_ours(kind, object, format!("the deployment `{id}`"))),
        None => Err(not_ours(kind, object, "an unknown deployment".to_owned())),
    }
}

fn not_ours(kind: &'static str, object: &impl ResourceExt, owner: String) -> KubeError {
    KubeError::NotOurs { kind, name: object.name_any(), namespace: object.namespace().unwrap_or_default(), owner }
}
