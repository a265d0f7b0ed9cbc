//! What carries the tag of a target: found without Terraform's state, and removed without it.

use std::fmt;
use std::time::Duration;

use aws_sdk_ec2::types::Filter;

use super::load_balancer::NetworkLoadBalancer;
use super::{Aws, AwsError, AwsErrorKind, TARGET_TAG};
use crate::cloud::OnProgress;
use crate::id::TargetId;

/// How long instances may take to terminate.
const TERMINATION_TIMEOUT: Duration = Duration::from_mins(5);
/// Pause between two looks.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// A thing that costs money or is in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaggedResource {
    /// Its kind.
    pub kind: ResourceKind,
    /// Its id.
    pub id: String,
}

/// Kinds of resources that a target is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResourceKind {
    /// An EC2 instance.
    Instance,
    /// A volume.
    Volume,
    /// A network interface.
    NetworkInterface,
    /// A security group.
    SecurityGroup,
    /// An EKS cluster with its nodes.
    Cluster,
    /// A NAT gateway.
    NatGateway,
    /// An Elastic IP address.
    ElasticIp,
    /// A subnet.
    Subnet,
    /// A route table.
    RouteTable,
    /// An internet gateway.
    InternetGateway,
    /// A load balancer.
    LoadBalancer,
    /// A virtual network.
    Vpc,
}

impl From<NetworkLoadBalancer> for TaggedResource {
    fn from(it: NetworkLoadBalancer) -> Self {
        Self { kind: ResourceKind::LoadBalancer, id: it.dns_name }
    }
}

impl fmt::Display for TaggedResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ResourceKind::Instance => "EC2 instance",
            ResourceKind::Volume => "volume",
            ResourceKind::NetworkInterface => "network interface",
            ResourceKind::SecurityGroup => "security group",
            ResourceKind::Cluster => "EKS cluster",
            ResourceKind::NatGateway => "NAT gateway",
            ResourceKind::ElasticIp => "Elastic IP address",
            ResourceKind::Subnet => "subnet",
            ResourceKind::RouteTable => "route table",
            ResourceKind::InternetGateway => "internet gateway",
            ResourceKind::LoadBalancer => "load balancer",
            ResourceKind::Vpc => "VPC",
        };
        write!(f, "{kind} `{}`", self.id)
    }
}

impl Aws {
    /// Everything that carries the tag of this target and is not gone.
    ///
    /// # Errors
    /// [`AwsError`] when a call is refused or AWS does not answer.
    pub async fn tagged_resources(&self, target: TargetId) -> Result<Vec<TaggedResource>, AwsError> {
        let filter = || Filter::builder().name(format!("tag:{TARGET_TAG}")).values(target.to_string()).build();
        let named = |kind: ResourceKind| move |id: String| TaggedResource { kind, id };
        let instances = self.instances_with(&format!("tag:{TARGET_TAG}"), &target.to_string()).await?;
        let volumes = self.ec2.describe_volumes().filters(filter()).send().await;
        let volumes = volumes.map_err(|error| AwsError::from_sdk("ec2:DescribeVolumes", &error))?;
        let interfaces = self.ec2.describe_network_interfaces().filters(filter()).send().await;
        let interfaces = interfaces.map_err(|error| AwsError::from_sdk("ec2:DescribeNetworkInterfaces", &error))?;
        let groups = self.ec2.describe_security_groups().filters(filter()).send().await;
        let groups = groups.map_err(|error| AwsError::from_sdk("ec2:DescribeSecurityGroups", &error))?;
        let mut found: Vec<TaggedResource> =
            instances.into_iter().map(|it| it.id).map(named(ResourceKind::Instance)).collect();
        let volumes = volumes.volumes.unwrap_or_default().into_iter().filter_map(|it| it.volume_id);
        found.extend(volumes.map(named(ResourceKind::Volume)));
        let interfaces = interfaces.network_interfaces.unwrap_or_default().into_iter();
        found.extend(interfaces.filter_map(|it| it.network_interface_id).map(named(ResourceKind::NetworkInterface)));
        let groups = groups.security_groups.unwrap_or_default().into_iter().filter_map(|it| it.group_id);
        found.extend(groups.map(named(ResourceKind::SecurityGroup)));
        Ok(found)
    }

    /// Removes resources, instances first, and waits until they are gone. What is gone already is fine.
    ///
    /// # Errors
    /// [`AwsError`] when a call is refused, AWS does not answer, or something does not go.
    pub async fn delete_resources(
        &self,
        resources: &[TaggedResource],
        on_progress: OnProgress<'_>,
    ) -> Result<(), AwsError> {
        let of = |kind: ResourceKind| resources.iter().filter(move |it| it.kind == kind).map(|it| it.id.clone());
        let instances: Vec<String> = of(ResourceKind::Instance).collect();
        if !instances.is_empty() {
            on_progress(format!("terminating {}", instances.join(", ")));
            let answer = self.ec2.terminate_instances().set_instance_ids(Some(instances.clone())).send().await;
            ignore_not_found(answer.map(drop).map_err(|error| AwsError::from_sdk("ec2:TerminateInstances", &error)))?;
            self.until_terminated(&instances, on_progress).await?;
        }
        for id in of(ResourceKind::NetworkInterface) {
            let answer = self.ec2.delete_network_interface().network_interface_id(id).send().await;
            ignore_not_found(
                answer.map(drop).map_err(|error| AwsError::from_sdk("ec2:DeleteNetworkInterface", &error)),
            )?;
        }
        for id in of(ResourceKind::Volume) {
            let answer = self.ec2.delete_volume().volume_id(id).send().await;
            ignore_not_found(answer.map(drop).map_err(|error| AwsError::from_sdk("ec2:DeleteVolume", &error)))?;
        }
        for id in of(ResourceKind::SecurityGroup) {
            on_progress(format!("deleting {id}"));
            let answer = self.ec2.delete_security_group().group_id(id).send().await;
            ignore_not_found(answer.map(drop).map_err(|error| AwsError::from_sdk("ec2:DeleteSecurityGroup", &error)))?;
        }
        Ok(())
    }

    async fn until_terminated(&self, ids: &[String], on_progress: OnProgress<'_>) -> Result<(), AwsError> {
        let start = tokio::time::Instant::now();
        for id in ids {
            // A terminating instance still holds its security group.
            while self.is_terminating(id).await? {
                if start.elapsed() > TERMINATION_TIMEOUT {
                    return Err(AwsError {
                        kind: AwsErrorKind::InUse,
                        call: "ec2:TerminateInstances",
                        code: None,
                        message: format!("`{id}` has not terminated within {} s", TERMINATION_TIMEOUT.as_secs()),
                    });
                }
                on_progress(format!("waiting until {id} has terminated, {} s", start.elapsed().as_secs()));
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        }
        Ok(())
    }

    async fn is_terminating(&self, id: &str) -> Result<bool, AwsError> {
        let answer = self.ec2.describe_instances().instance_ids(id).send().await;
        match answer.map_err(|error| AwsError::from_sdk("ec2:DescribeInstances", &error)) {
            Ok(answer) => Ok(answer
                .reservations()
                .iter()
                .flat_map(aws_sdk_ec2::types::Reservation::instances)
                .any(|it| it.state().and_then(|it| it.name()).is_some_and(|it| it.as_str() != "terminated"))),
            Err(error) if error.kind == AwsErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// What is not there need not be removed.
pub(super) fn ignore_not_found(result: Result<(), AwsError>) -> Result<(), AwsError> {
    match result {
        Err(error) if error.kind == AwsErrorKind::NotFound => Ok(()),
        result => result,
    }
}
