//! Node ports: which are in use in the whole cluster, and the next free one.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::ListParams;
use serde::{Deserialize, Serialize};

use crate::cloud::kube::Kube;
use crate::cloud::kube::error::KubeError;

/// The node ports that applications may use, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePortRange {
    /// The first port.
    pub first: u16,
    /// The last port.
    pub last: u16,
}

impl NodePortRange {
    /// The first port of the range that is not among those.
    ///
    /// # Errors
    /// [`KubeError::NodePortsExhausted`] when all are.
    pub fn free(&self, taken: &BTreeSet<u16>) -> Result<u16, KubeError> {
        (self.first..=self.last)
            .find(|port| !taken.contains(port))
            .ok_or(KubeError::NodePortsExhausted { first: self.first, last: self.last })
    }
}

impl Kube {
    /// The first port of the range that no Service of the cluster uses and that is not in `taken`.
    ///
    /// # Errors
    /// [`KubeError::NodePortsExhausted`] when there is none, else what the API answers.
    pub async fn free_node_port(&self, range: NodePortRange, taken: &BTreeSet<u16>) -> Result<u16, KubeError> {
        let services: Api<Service> = Api::all(self.client.clone());
        let services = self.call(services.list(&ListParams::default())).await?.items;
        let mut taken = taken.clone();
        taken.extend(services.iter().flat_map(node_ports));
        range.free(&taken)
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

    const RANGE: NodePortRange = NodePortRange { first: 30000, last: 30002 };

    #[test]
    fn the_lowest_free_port_is_taken() {
        assert_eq!(RANGE.free(&BTreeSet::from([30000, 30002])).unwrap(), 30001);
    }

    #[test]
    fn a_full_range_names_itself_and_the_setting() {
        let error = RANGE.free(&BTreeSet::from([30000, 30001, 30002])).unwrap_err();

        insta::assert_snapshot!(error, @"all node ports from 30000 to 30002 are in use; take an application down or widen `NODE_PORT_RANGE`");
    }
}
