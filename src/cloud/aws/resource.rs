//! What a target consists of in AWS, thing by thing.

use std::fmt;

/// A thing that costs money or is in the way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    /// Its kind.
    pub kind: ResourceKind,
    /// Its id; the name of what has none, the ARN of what is only known by it.
    pub id: String,
}

/// Kinds of resources that a target is made of, in the order in which they go: nothing is in the way of what comes later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, strum::VariantArray)]
pub enum ResourceKind {
    /// An EC2 instance, by its id.
    Instance,
    /// An EKS cluster with its nodes, by its name.
    Cluster,
    /// A load balancer, by its ARN.
    LoadBalancer,
    /// Where a load balancer sends to, by its ARN.
    TargetGroup,
    /// A NAT gateway, by its id.
    NatGateway,
    /// An Elastic IP address, by the id of its allocation.
    ElasticIp,
    /// A network interface, by its id.
    NetworkInterface,
    /// A volume, by its id.
    Volume,
    /// A subnet, by its id.
    Subnet,
    /// A route table, by its id.
    RouteTable,
    /// A security group, by its id.
    SecurityGroup,
    /// An internet gateway, by its id.
    InternetGateway,
    /// A virtual network, by its id.
    Vpc,
    /// The template that the nodes of a cluster are launched by, by its id.
    LaunchTemplate,
    /// A role, by its name.
    Role,
    /// A log group of `CloudWatch`, by its name.
    LogGroup,
    /// A KMS key, by its id.
    EncryptionKey,
    /// An ECR repository of an application, by its name.
    Repository,
    /// A certificate of an application, by its ARN.
    Certificate,
}

impl ResourceKind {
    /// Whether it belongs to one application, and not to what all of them run on.
    #[must_use]
    pub fn is_of_application(self) -> bool {
        matches!(self, Self::Repository | Self::Certificate)
    }

    /// Whether a cluster's controllers or AWS itself made it for something else, with which it goes as a rule.
    #[must_use]
    pub fn is_by_product(self) -> bool {
        matches!(self, Self::LoadBalancer | Self::TargetGroup | Self::NetworkInterface)
    }

    /// Whether a node of a cluster consists of it. A node carries its cluster's tags and goes with its group.
    #[must_use]
    pub fn is_of_node(self) -> bool {
        matches!(self, Self::Instance | Self::Volume | Self::NetworkInterface)
    }
}

impl Resource {
    /// Reads the ARN of a resource of one of these kinds; its form is the service's ("Actions, resources, and condition
    /// keys" in the Service Authorization Reference).
    #[must_use]
    pub fn from_arn(arn: &str) -> Option<Self> {
        use ResourceKind as Kind;
        let mut parts = arn.splitn(6, ':').skip(2);
        let (service, path) = (parts.next()?, parts.nth(2)?);
        let (kind, id) = path.split_once(['/', ':'])?;
        let (kind, id) = match (service, kind) {
            ("ec2", "instance") => (Kind::Instance, id),
            ("ec2", "natgateway") => (Kind::NatGateway, id),
            ("ec2", "elastic-ip") => (Kind::ElasticIp, id),
            ("ec2", "network-interface") => (Kind::NetworkInterface, id),
            ("ec2", "volume") => (Kind::Volume, id),
            ("ec2", "subnet") => (Kind::Subnet, id),
            ("ec2", "route-table") => (Kind::RouteTable, id),
            ("ec2", "security-group") => (Kind::SecurityGroup, id),
            ("ec2", "internet-gateway") => (Kind::InternetGateway, id),
            ("ec2", "vpc") => (Kind::Vpc, id),
            ("ec2", "launch-template") => (Kind::LaunchTemplate, id),
            ("eks", "cluster") => (Kind::Cluster, id),
            // What is a cluster's goes with it: nodegroup/CLUSTER/GROUP/ID, addon/CLUSTER/NAME/ID.
            ("eks", "nodegroup" | "addon" | "access-entry") => (Kind::Cluster, id.split('/').next()?),
            ("elasticloadbalancing", "loadbalancer") => (Kind::LoadBalancer, arn),
            ("elasticloadbalancing", "targetgroup") => (Kind::TargetGroup, arn),
            ("iam", "role") => (Kind::Role, id.rsplit('/').next()?),
            ("logs", "log-group") => (Kind::LogGroup, id.trim_end_matches(":*")),
            ("kms", "key") => (Kind::EncryptionKey, id),
            ("ecr", "repository") => (Kind::Repository, id),
            ("acm", "certificate") => (Kind::Certificate, arn),
            _ => return None,
        };
        Some(Self { kind, id: id.to_owned() })
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ResourceKind::Instance => "EC2 instance",
            ResourceKind::Cluster => "EKS cluster",
            ResourceKind::LoadBalancer => "load balancer",
            ResourceKind::TargetGroup => "target group",
            ResourceKind::NatGateway => "NAT gateway",
            ResourceKind::ElasticIp => "Elastic IP address",
            ResourceKind::NetworkInterface => "network interface",
            ResourceKind::Volume => "volume",
            ResourceKind::Subnet => "subnet",
            ResourceKind::RouteTable => "route table",
            ResourceKind::SecurityGroup => "security group",
            ResourceKind::InternetGateway => "internet gateway",
            ResourceKind::Vpc => "VPC",
            ResourceKind::LaunchTemplate => "launch template",
            ResourceKind::Role => "IAM role",
            ResourceKind::LogGroup => "log group",
            ResourceKind::EncryptionKey => "KMS key",
            ResourceKind::Repository => "ECR repository",
            ResourceKind::Certificate => "certificate",
        };
        write!(f, "{kind} `{}`", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_tells_what_it_names() {
        let read = |arn: &str| Resource::from_arn(arn).map(|it| it.to_string());

        let balancer = "arn:aws:elasticloadbalancing:eu-west-1:111122223333:loadbalancer/net/a/5";
        let expected = [
            ("arn:aws:ec2:eu-west-1:111122223333:instance/i-1", "EC2 instance `i-1`"),
            ("arn:aws-cn:eks:cn-north-1:111122223333:cluster/shop", "EKS cluster `shop`"),
            ("arn:aws:eks:eu-west-1:111122223333:nodegroup/shop/nodes/0a", "EKS cluster `shop`"),
            ("arn:aws:iam::111122223333:role/path/shop-node", "IAM role `shop-node`"),
            (
                "arn:aws:logs:eu-west-1:111122223333:log-group:/aws/eks/shop/cluster:*",
                "log group `/aws/eks/shop/cluster`",
            ),
            ("arn:aws:ecr:eu-west-1:111122223333:repository/shop/team/notes", "ECR repository `shop/team/notes`"),
            ("arn:aws:kms:eu-west-1:111122223333:key/1-2", "KMS key `1-2`"),
        ];
        for (arn, words) in expected {
            assert_eq!(read(arn).as_deref(), Some(words));
        }
        assert_eq!(read(balancer), Some(format!("load balancer `{balancer}`")));
        for other in ["arn:aws:s3:::bucket", "arn:aws:ec2:eu-west-1:111122223333:image/ami-1", "i-1", ""] {
            assert_eq!(read(other), None);
        }
    }
}
