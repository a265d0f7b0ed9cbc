//! What an EKS cluster is made of besides itself: found by the tag of its target, and removed without Terraform's state.

use std::time::Duration;

use aws_sdk_ec2::types::{Filter, RouteTable};

use super::tagged_resources::{ResourceKind, TaggedResource, ignore_not_found};
use super::{Aws, AwsError, AwsErrorKind, TARGET_TAG};
use crate::cloud::OnProgress;
use crate::id::TargetId;

/// How long a cluster, its nodes or a gateway may take to go.
const TIMEOUT: Duration = Duration::from_mins(20);
/// Pause between two looks.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

impl Aws {
    /// The cluster of a target and everything of its network that carries the target's tag.
    ///
    /// # Errors
    /// [`AwsError`] when a call is refused or AWS does not answer.
    pub async fn tagged_cluster_resources(
        &self,
        target: TargetId,
        cluster: &str,
    ) -> Result<Vec<TaggedResource>, AwsError> {
        let filter = || Filter::builder().name(format!("tag:{TARGET_TAG}")).values(target.to_string()).build();
        let alive = || {
            let states = ["pending", "available", "deleting", "failed"].map(str::to_owned).to_vec();
            Filter::builder().name("state").set_values(Some(states)).build()
        };
        let of = |kind: ResourceKind| move |id: String| TaggedResource { kind, id };
        let mut found = Vec::new();
        let ours = self.cluster(cluster).await?.is_some_and(|it| it.target == Some(target.to_string()));
        found.extend(ours.then(|| TaggedResource { kind: ResourceKind::Cluster, id: cluster.to_owned() }));
        let ec2 = &self.ec2;
        let (gateways, addresses, internet, subnets, tables, groups, networks) = tokio::join!(
            ec2.describe_nat_gateways().filter(filter()).filter(alive()).send(),
            ec2.describe_addresses().filters(filter()).send(),
            ec2.describe_internet_gateways().filters(filter()).send(),
            ec2.describe_subnets().filters(filter()).send(),
            ec2.describe_route_tables().filters(filter()).send(),
            ec2.describe_security_groups().filters(filter()).send(),
            ec2.describe_vpcs().filters(filter()).send(),
        );
        let gateways = gateways.map_err(|error| AwsError::from_sdk("ec2:DescribeNatGateways", &error))?;
        let gateways = gateways.nat_gateways.unwrap_or_default().into_iter().filter_map(|it| it.nat_gateway_id);
        found.extend(gateways.map(of(ResourceKind::NatGateway)));
        let addresses = addresses.map_err(|error| AwsError::from_sdk("ec2:DescribeAddresses", &error))?;
        let addresses = addresses.addresses.unwrap_or_default().into_iter().filter_map(|it| it.allocation_id);
        found.extend(addresses.map(of(ResourceKind::ElasticIp)));
        let subnets = subnets.map_err(|error| AwsError::from_sdk("ec2:DescribeSubnets", &error))?;
        let subnets = subnets.subnets.unwrap_or_default().into_iter().filter_map(|it| it.subnet_id);
        found.extend(subnets.map(of(ResourceKind::Subnet)));
        let tables = tables.map_err(|error| AwsError::from_sdk("ec2:DescribeRouteTables", &error))?;
        let tables = tables.route_tables.unwrap_or_default().into_iter().filter_map(|it| it.route_table_id);
        found.extend(tables.map(of(ResourceKind::RouteTable)));
        let groups = groups.map_err(|error| AwsError::from_sdk("ec2:DescribeSecurityGroups", &error))?;
        let groups = groups.security_groups.unwrap_or_default().into_iter().filter_map(|it| it.group_id);
        found.extend(groups.map(of(ResourceKind::SecurityGroup)));
        let internet = internet.map_err(|error| AwsError::from_sdk("ec2:DescribeInternetGateways", &error))?;
        let internet = internet.internet_gateways.unwrap_or_default().into_iter();
        found.extend(internet.filter_map(|it| it.internet_gateway_id).map(of(ResourceKind::InternetGateway)));
        let networks = networks.map_err(|error| AwsError::from_sdk("ec2:DescribeVpcs", &error))?;
        let networks = networks.vpcs.unwrap_or_default().into_iter().filter_map(|it| it.vpc_id);
        found.extend(networks.map(of(ResourceKind::Vpc)));
        Ok(found)
    }

    /// Removes what [`Aws::tagged_cluster_resources`] finds, in an order in which nothing is in the way, and waits until it is gone.
    ///
    /// # Errors
    /// [`AwsError`] when a call is refused, AWS does not answer, or something does not go.
    pub async fn delete_cluster_resources(
        &self,
        target: TargetId,
        cluster: &str,
        on_progress: OnProgress<'_>,
    ) -> Result<(), AwsError> {
        let found = Box::pin(self.tagged_cluster_resources(target, cluster)).await?;
        let of = |kind: ResourceKind| found.iter().filter(move |it| it.kind == kind).map(|it| it.id.as_str());
        if of(ResourceKind::Cluster).next().is_some() {
            for group in self.node_groups(cluster).await? {
                self.delete_node_group(cluster, &group.name).await?;
            }
            let mut wait = Wait::new(on_progress, "the nodes");
            while !self.node_groups(cluster).await?.is_empty() {
                wait.pause().await?;
            }
            self.delete_cluster(cluster).await?;
            let mut wait = Wait::new(on_progress, "the EKS cluster");
            while self.cluster(cluster).await?.is_some() {
                wait.pause().await?;
            }
        }
        let ec2 = &self.ec2;
        for id in of(ResourceKind::NatGateway) {
            let answer = ec2.delete_nat_gateway().nat_gateway_id(id).send().await;
            ignore_not_found(answer.map(drop).map_err(|error| AwsError::from_sdk("ec2:DeleteNatGateway", &error)))?;
        }
        let mut wait = Wait::new(on_progress, "the NAT gateways");
        while of(ResourceKind::NatGateway).next().is_some()
            && Box::pin(self.tagged_cluster_resources(target, cluster))
                .await?
                .iter()
                .any(|it| it.kind == ResourceKind::NatGateway)
        {
            wait.pause().await?;
        }
        for id in of(ResourceKind::ElasticIp) {
            let answer = ec2.release_address().allocation_id(id).send().await;
            ignore_not_found(answer.map(drop).map_err(|error| AwsError::from_sdk("ec2:ReleaseAddress", &error)))?;
        }
        for id in of(ResourceKind::Subnet) {
            let answer = ec2.delete_subnet().subnet_id(id).send().await;
            ignore_not_found(answer.map(drop).map_err(|error| AwsError::from_sdk("ec2:DeleteSubnet", &error)))?;
        }
        for id in of(ResourceKind::RouteTable) {
            self.disassociate(id).await?;
            let answer = ec2.delete_route_table().route_table_id(id).send().await;
            ignore_not_found(answer.map(drop).map_err(|error| AwsError::from_sdk("ec2:DeleteRouteTable", &error)))?;
        }
        for id in of(ResourceKind::SecurityGroup) {
            let answer = ec2.delete_security_group().group_id(id).send().await;
            ignore_not_found(answer.map(drop).map_err(|error| AwsError::from_sdk("ec2:DeleteSecurityGroup", &error)))?;
        }
        for id in of(ResourceKind::InternetGateway) {
            for vpc in of(ResourceKind::Vpc) {
                let answer = ec2.detach_internet_gateway().internet_gateway_id(id).vpc_id(vpc).send().await;
                match answer.map_err(|error| AwsError::from_sdk("ec2:DetachInternetGateway", &error)) {
                    Err(error) if !error.is("Gateway.NotAttached") => ignore_not_found(Err(error))?,
                    Ok(_) | Err(_) => (),
                }
            }
            let answer = ec2.delete_internet_gateway().internet_gateway_id(id).send().await;
            ignore_not_found(
                answer.map(drop).map_err(|error| AwsError::from_sdk("ec2:DeleteInternetGateway", &error)),
            )?;
        }
        for id in of(ResourceKind::Vpc) {
            let answer = ec2.delete_vpc().vpc_id(id).send().await;
            ignore_not_found(answer.map(drop).map_err(|error| AwsError::from_sdk("ec2:DeleteVpc", &error)))?;
        }
        Ok(())
    }

    /// Takes a route table off its subnets.
    async fn disassociate(&self, table: &str) -> Result<(), AwsError> {
        let answer = self.ec2.describe_route_tables().route_table_ids(table).send().await;
        let tables = match answer.map_err(|error| AwsError::from_sdk("ec2:DescribeRouteTables", &error)) {
            Ok(answer) => answer.route_tables.unwrap_or_default(),
            Err(error) if error.kind == AwsErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
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
    what: &'static str,
    start: tokio::time::Instant,
}

impl<'a> Wait<'a> {
    fn new(on_progress: OnProgress<'a>, what: &'static str) -> Self {
        Self { on_progress, what, start: tokio::time::Instant::now() }
    }

    /// Says that it is still there, and waits until the next look.
    async fn pause(&mut self) -> Result<(), AwsError> {
        let waited_s = self.start.elapsed().as_secs();
        if self.start.elapsed() > TIMEOUT {
            return Err(AwsError {
                kind: AwsErrorKind::InUse,
                call: "eks:DeleteCluster",
                code: None,
                message: format!("{} did not go within {waited_s} s", self.what),
            });
        }
        (self.on_progress)(format!("waiting until gone: {}, {waited_s} s", self.what));
        tokio::time::sleep(POLL_INTERVAL).await;
        Ok(())
    }
}
