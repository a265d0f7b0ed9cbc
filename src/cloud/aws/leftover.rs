//! What carries the tag of a target: found without Terraform's state, and removed without it.

use std::fmt;
use std::time::Duration;

use aws_sdk_ec2::types::Filter;

use super::balancer::Balancer;
use super::{Aws, AwsError, Fault, TARGET_TAG};
use crate::cloud::OnProgress;
use crate::id::TargetId;

/// How long instances may take to terminate.
const TERMINATION_TIMEOUT: Duration = Duration::from_mins(5);
/// Pause between two looks.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// A thing that costs money or is in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Its kind.
    pub kind: Kind,
    /// Its id.
    pub id: String,
}

/// Kinds of resources that a target is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
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

impl From<Balancer> for Resource {
    fn from(it: Balancer) -> Self {
        Self { kind: Kind::LoadBalancer, id: it.dns_name }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Instance => "EC2 instance",
            Kind::Volume => "volume",
            Kind::NetworkInterface => "network interface",
            Kind::SecurityGroup => "security group",
            Kind::Cluster => "EKS cluster",
            Kind::NatGateway => "NAT gateway",
            Kind::ElasticIp => "Elastic IP address",
            Kind::Subnet => "subnet",
            Kind::RouteTable => "route table",
            Kind::InternetGateway => "internet gateway",
            Kind::LoadBalancer => "load balancer",
            Kind::Vpc => "VPC",
        };
        write!(f, "{kind} `{}`", self.id)
    }
}

impl Aws {
    /// Everything that carries the tag of this target and is not gone.
    ///
    /// # Errors
    /// [`AwsError`] when a call is refused or AWS does not answer.
    pub async fn tagged(&self, target: TargetId) -> Result<Vec<Resource>, AwsError> {
        let filter = || Filter::builder().name(format!("tag:{TARGET_TAG}")).values(target.to_string()).build();
        let named = |kind: Kind| move |id: String| Resource { kind, id };
        let instances = self.instances_with(&format!("tag:{TARGET_TAG}"), &target.to_string()).await?;
        let volumes = self.ec2.describe_volumes().filters(filter()).send().await;
        let volumes = volumes.map_err(|error| AwsError::from_sdk("ec2:DescribeVolumes", &error))?;
        let interfaces = self.ec2.describe_network_interfaces().filters(filter()).send().await;
        let interfaces = interfaces.map_err(|error| AwsError::from_sdk("ec2:DescribeNetworkInterfaces", &error))?;
        let groups = self.ec2.describe_security_groups().filters(filter()).send().await;
        let groups = groups.map_err(|error| AwsError::from_sdk("ec2:DescribeSecurityGroups", &error))?;
        let mut found: Vec<Resource> = instances.into_iter().map(|it| it.id).map(named(Kind::Instance)).collect();
        let volumes = volumes.volumes.unwrap_or_default().into_iter().filter_map(|it| it.volume_id);
        found.extend(volumes.map(named(Kind::Volume)));
        let interfaces = interfaces.network_interfaces.unwrap_or_default().into_iter();
        found.extend(interfaces.filter_map(|it| it.network_interface_id).map(named(Kind::NetworkInterface)));
        let groups = groups.security_groups.unwrap_or_default().into_iter().filter_map(|it| it.group_id);
        found.extend(groups.map(named(Kind::SecurityGroup)));
        Ok(found)
    }

    /// Removes resources, instances first, and waits until they are gone. What is gone already is fine.
    ///
    /// # Errors
    /// [`AwsError`] when a call is refused, AWS does not answer, or something does not go.
    pub async fn remove(&self, resources: &[Resource], on_progress: OnProgress<'_>) -> Result<(), AwsError> {
        let of = |kind: Kind| resources.iter().filter(move |it| it.kind == kind).map(|it| it.id.clone());
        let instances: Vec<String> = of(Kind::Instance).collect();
        if !instances.is_empty() {
            on_progress(format!("terminating {}", instances.join(", ")));
            let answer = self.ec2.terminate_instances().set_instance_ids(Some(instances.clone())).send().await;
            ignore_not_found(answer.map(drop).map_err(|error| AwsError::from_sdk("ec2:TerminateInstances", &error)))?;
            self.until_terminated(&instances, on_progress).await?;
        }
        for id in of(Kind::NetworkInterface) {
            let answer = self.ec2.delete_network_interface().network_interface_id(id).send().await;
            ignore_not_found(
                answer.map(drop).map_err(|error| AwsError::from_sdk("ec2:DeleteNetworkInterface", &error)),
            )?;
        }
        for id in of(Kind::Volume) {
            let answer = self.ec2.delete_volume().volume_id(id).send().await;
            ignore_not_found(answer.map(drop).map_err(|error| AwsError::from_sdk("ec2:DeleteVolume", &error)))?;
        }
        for id in of(Kind::SecurityGroup) {
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
                        fault: Fault::InUse,
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
            Err(error) if error.fault == Fault::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// What is not there need not be removed.
pub(super) fn ignore_not_found(result: Result<(), AwsError>) -> Result<(), AwsError> {
    match result {
        Err(error) if error.fault == Fault::NotFound => Ok(()),
        result => result,
    }
}
