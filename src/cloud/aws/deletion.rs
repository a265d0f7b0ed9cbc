//! Removes resources without Terraform, in an order in which nothing is in the way.

use std::time::Duration;

use aws_sdk_ec2::types::{Filter, NetworkInterfaceStatus, RouteTable};
use strum::VariantArray;

use super::resource::{Resource, ResourceKind};
use super::{Aws, AwsError, AwsErrorKind};
use crate::cloud::OnProgress;

/// How long instances may take to terminate.
const TERMINATION_TIMEOUT: Duration = Duration::from_mins(5);
/// How long a cluster, its nodes or a gateway may take to go.
const TIMEOUT: Duration = Duration::from_mins(20);
/// Pause between two looks.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

impl Aws {
    /// Removes resources, and waits until what takes a while is gone. What is gone already is fine.
    ///
    /// # Errors
    /// [`AwsError`] when a call is refused, AWS does not answer, or something does not go.
    pub async fn delete(&self, resources: &[Resource], on_progress: OnProgress<'_>) -> Result<(), AwsError> {
        for kind in ResourceKind::VARIANTS {
            let ids: Vec<&str> = resources.iter().filter(|it| it.kind == *kind).map(|it| it.id.as_str()).collect();
            for id in &ids {
                on_progress(format!("deleting {id}"));
                Box::pin(self.delete_one(*kind, id, resources, on_progress)).await?;
            }
            Box::pin(self.until_gone(*kind, &ids, on_progress)).await?;
        }
        Ok(())
    }

    async fn delete_one(
        &self,
        kind: ResourceKind,
        id: &str,
        resources: &[Resource],
        on_progress: OnProgress<'_>,
    ) -> Result<(), AwsError> {
        let ec2 = &self.ec2;
        /// Sends a deletion; what is not there need not be deleted.
        macro_rules! send {
            ($call:expr, $name:literal) => {
                ignore_not_found($call.send().await.map(drop).map_err(|error| AwsError::from_sdk($name, &error)))
            };
        }
        match kind {
            ResourceKind::Instance => {
                send!(ec2.terminate_instances().instance_ids(id), "ec2:TerminateInstances")
            }
            ResourceKind::Cluster => self.delete_cluster_with_nodes(id, on_progress).await,
            ResourceKind::LoadBalancer => self.delete_load_balancer(id).await,
            ResourceKind::TargetGroup => self.delete_target_group(id).await,
            ResourceKind::NatGateway => {
                send!(ec2.delete_nat_gateway().nat_gateway_id(id), "ec2:DeleteNatGateway")
            }
            ResourceKind::ElasticIp => send!(ec2.release_address().allocation_id(id), "ec2:ReleaseAddress"),
            ResourceKind::NetworkInterface => self.delete_interface(id).await,
            ResourceKind::Volume => send!(ec2.delete_volume().volume_id(id), "ec2:DeleteVolume"),
            ResourceKind::Subnet => send!(ec2.delete_subnet().subnet_id(id), "ec2:DeleteSubnet"),
            ResourceKind::RouteTable => {
                self.disassociate(id).await?;
                send!(ec2.delete_route_table().route_table_id(id), "ec2:DeleteRouteTable")
            }
            ResourceKind::SecurityGroup => {
                send!(ec2.delete_security_group().group_id(id), "ec2:DeleteSecurityGroup")
            }
            ResourceKind::InternetGateway => {
                for vpc in resources.iter().filter(|it| it.kind == ResourceKind::Vpc) {
                    let detach = ec2.detach_internet_gateway().internet_gateway_id(id).vpc_id(&vpc.id);
                    match send!(detach, "ec2:DetachInternetGateway") {
                        Err(error) if !error.is("Gateway.NotAttached") => return Err(error),
                        Ok(()) | Err(_) => (),
                    }
                }
                send!(ec2.delete_internet_gateway().internet_gateway_id(id), "ec2:DeleteInternetGateway")
            }
            ResourceKind::Vpc => send!(ec2.delete_vpc().vpc_id(id), "ec2:DeleteVpc"),
            ResourceKind::LaunchTemplate => {
                send!(ec2.delete_launch_template().launch_template_id(id), "ec2:DeleteLaunchTemplate")
            }
            ResourceKind::Role => self.delete_role(id).await,
            ResourceKind::LogGroup => self.delete_log_group(id).await,
            ResourceKind::EncryptionKey => self.delete_encryption_key(id).await,
            ResourceKind::Repository => self.delete_repository(id).await,
            ResourceKind::Certificate => self.delete_certificate(id).await,
        }
    }

    /// Waits for those kinds that go by and by and are in the way of others until then.
    async fn until_gone(&self, kind: ResourceKind, ids: &[&str], on_progress: OnProgress<'_>) -> Result<(), AwsError> {
        let (name, call, limit) = match kind {
            // A terminating instance still holds its security group.
            ResourceKind::Instance => ("instance-id", "ec2:TerminateInstances", TERMINATION_TIMEOUT),
            ResourceKind::NatGateway => ("nat-gateway-id", "ec2:DeleteNatGateway", TIMEOUT),
            ResourceKind::Cluster
            | ResourceKind::LoadBalancer
            | ResourceKind::TargetGroup
            | ResourceKind::ElasticIp
            | ResourceKind::NetworkInterface
            | ResourceKind::Volume
            | ResourceKind::Subnet
            | ResourceKind::RouteTable
            | ResourceKind::SecurityGroup
            | ResourceKind::InternetGateway
            | ResourceKind::Vpc
            | ResourceKind::LaunchTemplate
            | ResourceKind::Role
            | ResourceKind::LogGroup
            | ResourceKind::EncryptionKey
            | ResourceKind::Repository
            | ResourceKind::Certificate => return Ok(()),
        };
        if ids.is_empty() {
            return Ok(());
        }
        let these =
            Filter::builder().name(name).set_values(Some(ids.iter().map(|id| (*id).to_owned()).collect())).build();
        let mut wait = Wait::new(on_progress, call, limit);
        loop {
            let left = self.filtered(kind, these.clone()).await?;
            let Some(first) = left.first() else { return Ok(()) };
            wait.pause(&first.to_string()).await?;
        }
    }

    async fn delete_cluster_with_nodes(&self, cluster: &str, on_progress: OnProgress<'_>) -> Result<(), AwsError> {
        for group in self.node_groups(cluster).await? {
            self.delete_node_group(cluster, &group.name).await?;
        }
        let mut wait = Wait::new(on_progress, "eks:DeleteNodegroup", TIMEOUT);
        while !self.node_groups(cluster).await?.is_empty() {
            wait.pause("the nodes").await?;
        }
        self.delete_cluster(cluster).await?;
        let mut wait = Wait::new(on_progress, "eks:DeleteCluster", TIMEOUT);
        while self.cluster(cluster).await?.is_some() {
            wait.pause("the EKS cluster").await?;
        }
        Ok(())
    }

    /// Deletes a network interface that nothing uses. One that another service of AWS made goes with what it is for.
    async fn delete_interface(&self, id: &str) -> Result<(), AwsError> {
        let answer = self.ec2.describe_network_interfaces().network_interface_ids(id).send().await;
        let answer = answer.map(|it| it.network_interfaces.unwrap_or_default());
        let interfaces =
            ignore_not_found(answer.map_err(|error| AwsError::from_sdk("ec2:DescribeNetworkInterfaces", &error)))?;
        if let Some(used) = interfaces.iter().find(|it| it.status() != Some(&NetworkInterfaceStatus::Available)) {
            let description = used.description().unwrap_or_default();
            return Err(AwsError {
                kind: AwsErrorKind::InUse,
                call: "ec2:DeleteNetworkInterface",
                code: None,
                message: format!("the network interface `{id}` is still used ({description})"),
            });
        }
        let answer = self.ec2.delete_network_interface().network_interface_id(id).send().await;
        ignore_not_found(answer.map(drop).map_err(|error| AwsError::from_sdk("ec2:DeleteNetworkInterface", &error)))
    }

    /// Takes a route table off its subnets.
    async fn disassociate(&self, table: &str) -> Result<(), AwsError> {
        let answer = self.ec2.describe_route_tables().route_table_ids(table).send().await;
        let answer = answer.map(|it| it.route_tables.unwrap_or_default());
        let tables = ignore_not_found(answer.map_err(|error| AwsError::from_sdk("ec2:DescribeRouteTables", &error)))?;
        let associations = tables.iter().flat_map(RouteTable::associations).filter(|it| it.main() != Some(true));
        for id in associations.filter_map(|it| it.route_table_association_id()) {
            let answer = self.ec2.disassociate_route_table().association_id(id).send().await;
            ignore_not_found(
                answer.map(drop).map_err(|error| AwsError::from_sdk("ec2:DisassociateRouteTable", &error)),
            )?;
        }
        Ok(())
    }
}

/// A wait until something is gone.
struct Wait<'a> {
    on_progress: OnProgress<'a>,
    call: &'static str,
    limit: Duration,
    start: tokio::time::Instant,
}

impl<'a> Wait<'a> {
    fn new(on_progress: OnProgress<'a>, call: &'static str, limit: Duration) -> Self {
        Self { on_progress, call, limit, start: tokio::time::Instant::now() }
    }

    /// Says what is still there, and waits until the next look.
    async fn pause(&mut self, what: &str) -> Result<(), AwsError> {
        let waited_s = self.start.elapsed().as_secs();
        if self.start.elapsed() > self.limit {
            return Err(AwsError {
                kind: AwsErrorKind::InUse,
                call: self.call,
                code: None,
                message: format!("{what} did not go within {waited_s} s"),
            });
        }
        (self.on_progress)(format!("waiting until gone: {what}, {waited_s} s"));
        tokio::time::sleep(POLL_INTERVAL).await;
        Ok(())
    }
}

/// What is not there need not be removed, and nothing hangs on it.
pub(super) fn ignore_not_found<T: Default>(result: Result<T, AwsError>) -> Result<T, AwsError> {
    match result {
        Err(error) if error.kind == AwsErrorKind::NotFound => Ok(T::default()),
        result => result,
    }
}
