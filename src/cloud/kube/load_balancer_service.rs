//! Services of type `LoadBalancer`: what has a load balancer outside of the cluster, which would outlive it.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Namespace as NamespaceObject, Service};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams};

use crate::cloud::kube::Kube;
use crate::cloud::kube::error::KubeError;

/// Pause between two looks whether a namespace is gone.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// A Service of type `LoadBalancer`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadBalancerService {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Name in DNS of its load balancer, once it has one.
    pub hostname: Option<String>,
    /// The annotations.
    pub annotations: std::collections::BTreeMap<String, String>,
}

impl Kube {
    /// All Services of type `LoadBalancer`, or those of one namespace.
    ///
    /// # Errors
    /// What the API answers.
    pub async fn load_balancer_services(&self, namespace: Option<&str>) -> Result<Vec<LoadBalancerService>, KubeError> {
        let services: Api<Service> = match namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let list = self.call(services.list(&ListParams::default())).await?;
        let balanced = list
            .items
            .into_iter()
            .filter(|it| it.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer"));
        Ok(balanced
            .map(|it| {
                let status = it.status.as_ref().and_then(|status| status.load_balancer.as_ref());
                let first = status.and_then(|status| status.ingress.as_ref()).and_then(|all| all.first());
                LoadBalancerService {
                    namespace: it.namespace().unwrap_or_default(),
                    name: it.name_any(),
                    hostname: first.and_then(|it| it.hostname.clone()),
                    annotations: it.metadata.annotations.unwrap_or_default(),
                }
            })
            .collect())
    }

    /// Deletes a Service; one that is not there is fine. Its load balancer goes some time later.
    ///
    /// # Errors
    /// What the API answers.
    pub async fn delete_service(&self, service: &LoadBalancerService) -> Result<(), KubeError> {
        let services: Api<Service> = Api::namespaced(self.client.clone(), &service.namespace);
        match self.call(services.delete(&service.name, &DeleteParams::default())).await {
            Ok(_) | Err(KubeError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The newest warning about a Service, such as why it gets no load balancer.
    ///
    /// # Errors
    /// What the API answers.
    pub async fn warning_about(&self, service: &LoadBalancerService) -> Result<Option<String>, KubeError> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &service.namespace);
        let about = ListParams::default()
            .fields(&format!("involvedObject.kind=Service,involvedObject.name={},type=Warning", service.name));
        let mut events = self.call(events.list(&about)).await?.items;
        events.sort_by_key(|it| it.last_timestamp.as_ref().map(|at| at.0));
        Ok(events.pop().and_then(|it| it.message))
    }

    /// Deletes a namespace with all that is in it, and waits until it is gone; one that is not there is fine.
    ///
    /// # Errors
    /// [`KubeError::Timeout`] when it does not go; else what the API answers.
    pub async fn delete_whole_namespace(&self, name: &str, limit: Duration) -> Result<(), KubeError> {
        let namespaces: Api<NamespaceObject> = Api::all(self.client.clone());
        match self.call(namespaces.delete(name, &DeleteParams::default())).await {
            Ok(_) => (),
            Err(KubeError::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(error),
        }
        let gone = async {
            while self.call(namespaces.get_opt(name)).await?.is_some() {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
            Ok(())
        };
        let late = |_| KubeError::Timeout { what: format!("the namespace `{name}` to go"), after_s: limit.as_secs() };
        tokio::time::timeout(limit, gone).await.map_err(late)?
    }
}
