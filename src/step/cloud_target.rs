//! What an application in AWS runs on, an EC2 instance or an EKS cluster, as steps leave it behind and find it.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::StepError;
use crate::id::Region;
use crate::store::record::{DeploymentFacts, EksCluster, Instance, Target};

/// An EC2 instance or an EKS cluster on record.
pub trait CloudTarget: Clone + Send + Sync {
    /// Name of the step that makes sure that it is there.
    const PROVISIONED_BY: &'static str;
    /// Name of the step that looks for one that was there before.
    const FOUND_BY: &'static str;
    /// Name of the step that destroys it.
    const DESTROYED_BY: &'static str;
    /// The record, as a step leaves it behind.
    type Found: fmt::Debug + Clone + Serialize + DeserializeOwned + Send + Sync + From<Self> + Into<Self>;

    /// The one of a target; `None` while there is none.
    fn of(target: &Target) -> Option<&Self>;

    /// Its region.
    fn region(&self) -> &Region;

    /// Number of the account that pays for it.
    fn account(&self) -> &str;

    /// What people call it, with its kind.
    fn described(&self) -> String;

    /// What AWS calls it, with its kind.
    fn identified(&self) -> String;
}

/// The EC2 instance runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InstanceFound {
    /// The instance, with the address that it has now.
    pub instance: Instance,
}

/// The EKS cluster is there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClusterFound {
    /// The cluster.
    pub cluster: EksCluster,
}

impl InstanceFound {
    /// Takes over where the instance is.
    pub(super) fn record(&self, facts: &mut DeploymentFacts) {
        let Instance { id, public_ip, key_pair, .. } = &self.instance;
        let public_ip = public_ip.to_string();
        if facts.public_ip.as_ref().is_some_and(|it| *it != public_ip) {
            // A stopped and started instance has another public address, so the stored URL is stale; the check of the
            // application stores the new one.
            facts.app_url = None;
        }
        facts.public_ip = Some(public_ip);
        facts.ec2_instance_id = Some(id.clone());
        facts.ec2_key_name = Some(key_pair.to_string());
    }
}

impl ClusterFound {
    /// Takes over where the cluster is.
    pub(super) fn record(&self, facts: &mut DeploymentFacts) {
        facts.eks_cluster_endpoint = Some(self.cluster.endpoint.clone());
    }
}

/// The instance or cluster is there.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Provisioned<T: CloudTarget> {
    /// The instance or cluster.
    #[serde(flatten)]
    pub found: T::Found,
    /// True when this operation made it.
    pub made: bool,
    /// True when it stays although the operation fails.
    pub kept: bool,
    /// True when no other deployment runs on it.
    pub alone: bool,
}

impl CloudTarget for Instance {
    const PROVISIONED_BY: &'static str = "provision_instance";
    const FOUND_BY: &'static str = "find_instance";
    const DESTROYED_BY: &'static str = "destroy_instance";
    type Found = InstanceFound;

    fn of(target: &Target) -> Option<&Self> {
        target.instance.as_ref()
    }

    fn region(&self) -> &Region {
        &self.region
    }

    fn account(&self) -> &str {
        &self.account
    }

    fn described(&self) -> String {
        format!("instance `{}`", self.name)
    }

    fn identified(&self) -> String {
        format!("EC2 instance `{}`", self.id)
    }
}

impl From<Instance> for InstanceFound {
    fn from(instance: Instance) -> Self {
        Self { instance }
    }
}

impl From<InstanceFound> for Instance {
    fn from(found: InstanceFound) -> Self {
        found.instance
    }
}

impl CloudTarget for EksCluster {
    const PROVISIONED_BY: &'static str = "provision_cluster";
    const FOUND_BY: &'static str = "find_cluster";
    const DESTROYED_BY: &'static str = "destroy_cluster";
    type Found = ClusterFound;

    fn of(target: &Target) -> Option<&Self> {
        target.cluster.as_ref()
    }

    fn region(&self) -> &Region {
        &self.region
    }

    fn account(&self) -> &str {
        &self.account
    }

    fn described(&self) -> String {
        format!("EKS cluster `{}`", self.name)
    }

    fn identified(&self) -> String {
        self.described()
    }
}

impl From<EksCluster> for ClusterFound {
    fn from(cluster: EksCluster) -> Self {
        Self { cluster }
    }
}

impl From<ClusterFound> for EksCluster {
    fn from(found: ClusterFound) -> Self {
        found.cluster
    }
}

/// The target has no instance, or has none any more.
pub(super) fn no_instance_on_record(name: &str) -> StepError {
    StepError::permanent(
        "instance_gone",
        format!("there is no EC2 instance on record for `{name}`"),
        "Send `deploy` to have it on a new one",
    )
}

/// Somebody terminated the instance.
pub(super) fn instance_terminated(id: &str) -> StepError {
    StepError::permanent(
        "instance_gone",
        format!("the EC2 instance `{id}` is gone: somebody terminated it"),
        "Send `deploy` to have it on a new one, or `decommission` to remove what is left of it",
    )
}

/// The target has no EKS cluster, or has none any more.
pub(super) fn cluster_gone(name: &str) -> StepError {
    StepError::permanent(
        "cluster_gone",
        format!("the EKS cluster `{name}` is gone"),
        "Send `deploy` to have it on a new one, or `decommission` to remove what is left of it",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_step_leaves_behind_of_a_target_is_stored_under_the_name_of_its_kind() {
        let instance = json!({
            "instance": {
                "id": "i-0123456789abcdef0", "name": "web", "public_ip": "192.0.2.7", "user": "ubuntu",
                "key_pair": "ops", "region": "eu-west-1", "zone": "eu-west-1a", "image": "ami-1",
                "account": "123456789012", "host_keys": ["ssh-ed25519 AAAA"], "are_host_keys_confirmed": true,
            },
            "made": true, "kept": false, "alone": true,
        });
        let cluster = json!({
            "cluster": {
                "name": "web", "endpoint": "https://192.0.2.8", "authority": "UEVN", "version": "1.34",
                "region": "eu-west-1", "account": "123456789012", "vpc": "vpc-1",
            },
            "made": false, "kept": true, "alone": false,
        });

        let provisioned: Provisioned<Instance> = serde_json::from_value(instance.clone()).unwrap();
        assert_eq!(serde_json::to_value(provisioned).unwrap(), instance);
        let provisioned: Provisioned<EksCluster> = serde_json::from_value(cluster.clone()).unwrap();
        assert_eq!(serde_json::to_value(provisioned).unwrap(), cluster);
    }
}
