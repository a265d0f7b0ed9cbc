//! Node ports: which are in use in the whole cluster, and the next free one.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::ListParams;

use crate::cloud::kube::Kube;
use crate::cloud::kube::error::KubeError;

/// The node ports that applications may use, in the order in which they are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePorts(Vec<u16>);

impl NodePorts {
    /// Those that the cluster maps to its machine, then the others of the settings: an application on such a one is
    /// reached through the Kubernetes API alone.
    pub fn new(mapped: impl IntoIterator<Item = u16>, others: impl IntoIterator<Item = u16>) -> Self {
        let mapped: BTreeSet<u16> = mapped.into_iter().collect();
        let others = others.into_iter().filter(|port| !mapped.contains(port));
        Self(mapped.iter().copied().chain(others).collect())
    }

    /// The first port that is not among those.
    ///
    /// # Errors
    /// [`KubeError::NodePortsExhausted`] when all are.
    pub fn free(&self, taken: &BTreeSet<u16>) -> Result<u16, KubeError> {
        self.0.iter().copied().find(|port| !taken.contains(port)).ok_or_else(|| KubeError::NodePortsExhausted {
            first: self.0.iter().copied().min().unwrap_or_default(),
            last: self.0.iter().copied().max().unwrap_or_default(),
        })
    }
}

impl Kube {
    /// The first of the ports that no Service of the cluster uses and that is not in `taken`.
    ///
    /// # Errors
    /// [`KubeError::NodePortsExhausted`] when there is none, else what the API answers.
    pub async fn free_node_port(&self, ports: &NodePorts, taken: &BTreeSet<u16>) -> Result<u16, KubeError> {
        let services: Api<Service> = Api::all(self.client.clone());
        let services = self.call(services.list(&ListParams::default())).await?.items;
        let mut taken = taken.clone();
        taken.extend(services.iter().flat_map(node_ports));
        ports.free(&taken)
    }
}

/// All node ports of a Service.
pub(super) fn node_ports(service: &Service) -> Vec<u16> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let ports = spec.ports.iter().flatten().filter_map(|port| port.node_port);
    ports.chain(spec.health_check_node_port).filter_map(|port| u16::try_from(port).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_port_is_taken() {
        let ports = NodePorts::new([], 30000..=30002);

        assert_eq!(ports.free(&BTreeSet::from([30000, 30002])).unwrap(), 30001);
    }

    #[test]
    fn a_port_that_the_cluster_maps_comes_first() {
        let ports = NodePorts::new([30017, 30016], 30000..=30001);
        let free = |taken: &[u16]| ports.free(&taken.iter().copied().collect()).unwrap();

        assert_eq!((free(&[]), free(&[30016]), free(&[30016, 30017])), (30016, 30017, 30000));
    }

    #[test]
    fn a_full_range_names_itself_and_the_setting() {
        let error = NodePorts::new([], 30000..=30002).free(&BTreeSet::from([30000, 30001, 30002])).unwrap_err();

        insta::assert_snapshot!(error, @"all node ports from 30000 to 30002 are in use");
    }
}
