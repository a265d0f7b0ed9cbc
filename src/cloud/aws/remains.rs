//! What AWS still has of a target, also what Terraform's state lacks: found by the tag of the target, by the name of its
//! cluster, and by its network.

use aws_sdk_ec2::types::Filter;
use futures_util::future::join_all;
use strum::VariantArray as _;

use super::resource::{Resource, ResourceKind};
use super::{Aws, AwsError, AwsErrorKind, TARGET_TAG};
use crate::id::TargetId;

/// What resources may belong to.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    /// The target.
    pub target: TargetId,
    /// Name of the EKS cluster, when the target is one.
    pub cluster: Option<&'a str>,
    /// When the target was begun, in milliseconds since 1970: what has the cluster's name and is older is somebody else's.
    pub begun_ms: Option<i64>,
}

/// What AWS still has of a target.
#[derive(Debug, Default)]
pub struct Remains {
    /// What is there, in the order in which it can go.
    pub found: Vec<Resource>,
    /// The calls that the credentials may not make: what only they tell is not known.
    pub unasked: Vec<String>,
    /// ARNs that AWS lists with the target's tag, of kinds that this program cannot look at: they may be gone.
    pub unconfirmed: Vec<String>,
}

impl Remains {
    /// Takes over what a call has found that Terraform does not need itself. One that is not allowed is noted in its place.
    fn add(&mut self, answer: Result<Vec<Resource>, AwsError>) -> Result<(), AwsError> {
        match answer {
            Ok(found) => self.found.extend(found),
            Err(error) if error.kind == AwsErrorKind::Unauthorized => self.unasked.push(error.call.to_owned()),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// What nobody can say of what may be left, in words.
    #[must_use]
    pub fn not_known(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.unasked.is_empty() {
            lines.push(format!("not asked, as these credentials may not: {}", self.unasked.join(", ")));
        }
        if !self.unconfirmed.is_empty() {
            lines.push(format!("listed with its tag, maybe gone: {}", self.unconfirmed.join(", ")));
        }
        lines
    }

    /// What belongs to the target itself, and not to one application.
    #[must_use]
    pub fn of_target(self) -> Vec<Resource> {
        self.found.into_iter().filter(|it| !it.kind.is_of_application()).collect()
    }
}

/// What an instance is made of.
const OF_INSTANCE: [ResourceKind; 4] =
    [ResourceKind::Instance, ResourceKind::Volume, ResourceKind::NetworkInterface, ResourceKind::SecurityGroup];
/// What an EKS cluster is made of, as far as EC2 has it, without its nodes.
const OF_CLUSTER: [ResourceKind; 8] = [
    ResourceKind::NatGateway,
    ResourceKind::ElasticIp,
    ResourceKind::Subnet,
    ResourceKind::RouteTable,
    ResourceKind::SecurityGroup,
    ResourceKind::InternetGateway,
    ResourceKind::Vpc,
    ResourceKind::LaunchTemplate,
];

impl Aws {
    /// Everything of a target that is there.
    ///
    /// # Errors
    /// [`AwsError`] when a call fails; one that Terraform does not need itself need not be allowed.
    pub async fn remains(&self, owner: Owner<'_>) -> Result<Remains, AwsError> {
        let mut remains = Remains::default();
        let kinds: &[ResourceKind] = if owner.cluster.is_some() { &OF_CLUSTER } else { &OF_INSTANCE };
        let filter = Filter::builder().name(format!("tag:{TARGET_TAG}")).values(owner.target.to_string()).build();
        let (by_filter, listed) = tokio::join!(
            join_all(kinds.iter().map(|kind| Box::pin(self.filtered(*kind, filter.clone())))),
            Box::pin(self.tagged_arns(owner.target)),
        );
        for answer in by_filter {
            remains.found.extend(answer?);
        }
        if let Some(cluster) = owner.cluster {
            Box::pin(self.add_remains_of_cluster(owner, cluster, &filter, &mut remains)).await?;
        }
        match listed {
            Ok(arns) => Box::pin(self.add_confirmed(&arns, kinds, &mut remains)).await?,
            Err(error) => remains.add(Err(error))?,
        }
        remains.found.sort();
        remains.found.dedup();
        Ok(remains)
    }

    async fn add_remains_of_cluster(
        &self,
        owner: Owner<'_>,
        cluster: &str,
        tagged: &Filter,
        remains: &mut Remains,
    ) -> Result<(), AwsError> {
        let (described, balancers, roles, logs) = tokio::join!(
            self.cluster(cluster),
            self.cluster_load_balancers(cluster),
            self.roles_of(owner.target),
            self.log_groups_of(owner, cluster),
        );
        let described = described?;
        // Also where somebody has taken its tag away.
        let has_nodes = described.is_some();
        let is_there = described.is_some_and(|it| it.target == Some(owner.target.to_string()));
        let of = |kind: ResourceKind| move |id: String| Resource { kind, id };
        remains.found.extend(is_there.then(|| of(ResourceKind::Cluster)(cluster.to_owned())));
        remains.found.extend(balancers?.into_iter().map(|it| it.arn).map(of(ResourceKind::LoadBalancer)));
        remains.add(roles)?;
        remains.add(logs)?;
        if is_there {
            // Its nodes and what is in its network belong to it and go with it.
            return Ok(());
        }
        for kind in ResourceKind::VARIANTS.iter().filter(|kind| kind.is_of_node() && !has_nodes) {
            remains.found.extend(Box::pin(self.filtered(*kind, tagged.clone())).await?);
        }
        let networks: Vec<String> =
            remains.found.iter().filter(|it| it.kind == ResourceKind::Vpc).map(|it| it.id.clone()).collect();
        for vpc in networks {
            let inside = Filter::builder().name("vpc-id").values(&vpc).build();
            let (interfaces, balancing) = tokio::join!(
                Box::pin(self.filtered(ResourceKind::NetworkInterface, inside)),
                Box::pin(self.load_balancing_in(&vpc))
            );
            remains.found.extend(interfaces?);
            remains.add(balancing)?;
        }
        Ok(())
    }

    /// Takes over what AWS' list of tags names, and what its own service confirms: the list is late, and keeps what was
    /// deleted for a while.
    async fn add_confirmed(
        &self,
        arns: &[String],
        asked: &[ResourceKind],
        remains: &mut Remains,
    ) -> Result<(), AwsError> {
        for arn in arns {
            let Some(resource) = Resource::from_arn(arn) else {
                remains.unconfirmed.push(arn.clone());
                continue;
            };
            // EC2 was asked for these.
            if asked.contains(&resource.kind) || resource.kind.is_of_node() || remains.found.contains(&resource) {
                continue;
            }
            let confirmed = match resource.kind {
                ResourceKind::Cluster => self.cluster(&resource.id).await.map(|it| it.is_some()),
                ResourceKind::LogGroup => self.has_log_group(&resource.id).await,
                ResourceKind::EncryptionKey => self.has_encryption_key(&resource.id).await,
                ResourceKind::Repository => self.has_repository(&resource.id).await,
                ResourceKind::Certificate => self.certificate(&resource.id).await.map(|it| it.is_some()),
                ResourceKind::LoadBalancer => self.has_load_balancer(&resource.id).await,
                ResourceKind::TargetGroup => self.has_target_group(&resource.id).await,
                ResourceKind::Role => self.has_role(&resource.id).await,
                ResourceKind::Instance
                | ResourceKind::NatGateway
                | ResourceKind::LaunchTemplate
                | ResourceKind::ElasticIp
                | ResourceKind::NetworkInterface
                | ResourceKind::Volume
                | ResourceKind::Subnet
                | ResourceKind::RouteTable
                | ResourceKind::SecurityGroup
                | ResourceKind::InternetGateway
                | ResourceKind::Vpc => {
                    remains.unconfirmed.push(arn.clone());
                    continue;
                }
            };
            remains.add(confirmed.map(|is_there| is_there.then_some(resource).into_iter().collect()))?;
        }
        Ok(())
    }

    /// The resources of one of EC2's kinds that a filter lets through and that are not gone.
    pub(super) async fn filtered(&self, kind: ResourceKind, filter: Filter) -> Result<Vec<Resource>, AwsError> {
        let ec2 = &self.ec2;
        /// The ids of all that a call lists.
        macro_rules! ids {
            ($call:expr, $name:literal, $id:ident) => {{
                let all: Result<Vec<_>, _> = $call.into_paginator().items().send().collect().await;
                let all = all.map_err(|error| AwsError::from_sdk($name, &error))?;
                all.into_iter().filter_map(|it| it.$id).collect::<Vec<String>>()
            }};
        }
        let ids = match kind {
            ResourceKind::Instance => {
                let states = ["pending", "running", "stopping", "stopped", "shutting-down"].map(str::to_owned).to_vec();
                let alive = Filter::builder().name("instance-state-name").set_values(Some(states)).build();
                let mut pages = ec2.describe_instances().filters(filter).filters(alive).into_paginator().send();
                let mut ids = Vec::new();
                while let Some(page) = pages.next().await {
                    let page = page.map_err(|error| AwsError::from_sdk("ec2:DescribeInstances", &error))?;
                    let instances = page
                        .reservations
                        .unwrap_or_default()
                        .into_iter()
                        .flat_map(|it| it.instances.unwrap_or_default());
                    ids.extend(instances.filter_map(|it| it.instance_id));
                }
                ids
            }
            ResourceKind::NatGateway => {
                let states = ["pending", "available", "deleting", "failed"].map(str::to_owned).to_vec();
                let alive = Filter::builder().name("state").set_values(Some(states)).build();
                ids!(
                    ec2.describe_nat_gateways().filter(filter).filter(alive),
                    "ec2:DescribeNatGateways",
                    nat_gateway_id
                )
            }
            ResourceKind::ElasticIp => {
                let answer = ec2.describe_addresses().filters(filter).send().await;
                let answer = answer.map_err(|error| AwsError::from_sdk("ec2:DescribeAddresses", &error))?;
                answer.addresses.unwrap_or_default().into_iter().filter_map(|it| it.allocation_id).collect()
            }
            ResourceKind::NetworkInterface => ids!(
                ec2.describe_network_interfaces().filters(filter),
                "ec2:DescribeNetworkInterfaces",
                network_interface_id
            ),
            ResourceKind::Volume => ids!(ec2.describe_volumes().filters(filter), "ec2:DescribeVolumes", volume_id),
            ResourceKind::Subnet => ids!(ec2.describe_subnets().filters(filter), "ec2:DescribeSubnets", subnet_id),
            ResourceKind::RouteTable => {
                ids!(ec2.describe_route_tables().filters(filter), "ec2:DescribeRouteTables", route_table_id)
            }
            ResourceKind::SecurityGroup => {
                let groups: Result<Vec<_>, _> =
                    ec2.describe_security_groups().filters(filter).into_paginator().items().send().collect().await;
                let groups = groups.map_err(|error| AwsError::from_sdk("ec2:DescribeSecurityGroups", &error))?;
                // The default one of a network goes with it, and not before.
                let own = groups.into_iter().filter(|it| it.group_name.as_deref() != Some("default"));
                own.filter_map(|it| it.group_id).collect()
            }
            ResourceKind::LaunchTemplate => {
                ids!(ec2.describe_launch_templates().filters(filter), "ec2:DescribeLaunchTemplates", launch_template_id)
            }
            ResourceKind::InternetGateway => ids!(
                ec2.describe_internet_gateways().filters(filter),
                "ec2:DescribeInternetGateways",
                internet_gateway_id
            ),
            ResourceKind::Vpc => ids!(ec2.describe_vpcs().filters(filter), "ec2:DescribeVpcs", vpc_id),
            ResourceKind::Cluster
            | ResourceKind::LoadBalancer
            | ResourceKind::TargetGroup
            | ResourceKind::Role
            | ResourceKind::LogGroup
            | ResourceKind::EncryptionKey
            | ResourceKind::Repository
            | ResourceKind::Certificate => Vec::new(),
        };
        Ok(ids.into_iter().map(|id| Resource { kind, id }).collect())
    }

    /// The ARNs of everything here that carries the tag of a target, by AWS' list of tags. IAM is not in it.
    async fn tagged_arns(&self, target: TargetId) -> Result<Vec<String>, AwsError> {
        let tag = aws_sdk_resourcegroupstagging::types::TagFilter::builder()
            .key(TARGET_TAG)
            .values(target.to_string())
            .build();
        let all = self.tagging.get_resources().tag_filters(tag).into_paginator().items().send();
        let all: Result<Vec<_>, _> = all.collect().await;
        let all = all.map_err(|error| AwsError::from_sdk("tag:GetResources", &error))?;
        Ok(all.into_iter().filter_map(|it| it.resource_arn).collect())
    }
}
