//! Sections of the cloud modes: Terraform and Helm, and the EC2 instances and EKS clusters that they make.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::Ipv4Net;
use url::Url;

use crate::config::source::Values;
use crate::config::value;
use crate::id::PrincipalArn;

/// The program that makes and destroys what lies in the cloud.
#[derive(Debug, Clone)]
pub struct Terraform {
    /// `TERRAFORM_PROGRAM`.
    pub program: PathBuf,
    /// `TERRAFORM_TIMEOUT_S`, for one call.
    pub timeout: Duration,
}

impl Terraform {
    pub(crate) fn from_values(values: &mut Values) -> Self {
        Self {
            program: values.program("TERRAFORM_PROGRAM"),
            timeout: values.take("TERRAFORM_TIMEOUT_S", value::seconds),
        }
    }
}

/// What an EC2 instance is made of.
#[derive(Debug, Clone)]
pub struct Ec2 {
    /// `EC2_INSTANCE_TYPE`.
    pub instance_type: String,
    /// `EC2_AMI_ID`; else the newest that fits owner and name.
    pub image_id: Option<String>,
    /// `EC2_AMI_OWNER`.
    pub image_owner: String,
    /// `EC2_AMI_NAME`, a pattern with `*`.
    pub image_name: String,
    /// `EC2_SSH_USER`; else the one that the image's maker chose.
    pub ssh_user: Option<String>,
    /// `EC2_VOLUME_GIB`.
    pub volume_gib: u32,
    /// `EC2_SUBNET_ID`; else a subnet of the default VPC.
    pub subnet_id: Option<String>,
    /// `SSH_ALLOWED_CIDR`; else the address that `public_ip_url` tells.
    pub ssh_allowed_cidr: Option<Ipv4Net>,
    /// `PUBLIC_IP_URL`.
    pub public_ip_url: Url,
}

impl Ec2 {
    pub(crate) fn from_values(values: &mut Values) -> Self {
        Self {
            instance_type: values.take("EC2_INSTANCE_TYPE", instance_type),
            image_id: values.optional("EC2_AMI_ID", |text| resource_id(text, "ami-")),
            image_owner: values.take("EC2_AMI_OWNER", image_owner),
            image_name: values.take("EC2_AMI_NAME", image_name),
            ssh_user: values.optional("EC2_SSH_USER", login),
            volume_gib: values.take("EC2_VOLUME_GIB", |text| value::number(text, 8..=16_384_u32)),
            subnet_id: values.optional("EC2_SUBNET_ID", |text| resource_id(text, "subnet-")),
            ssh_allowed_cidr: values.optional("SSH_ALLOWED_CIDR", value::ipv4_net),
            public_ip_url: values.take("PUBLIC_IP_URL", value::http_url),
        }
    }
}

/// What an EKS cluster is made of.
#[derive(Debug, Clone)]
pub struct Eks {
    /// `EKS_VERSION`; else AWS' default.
    pub version: Option<String>,
    /// `EKS_ADMIN_ARNS`.
    pub admin_arns: Vec<PrincipalArn>,
    /// `EKS_NODE_INSTANCE_TYPE`.
    pub instance_type: String,
    /// `EKS_NODE_VOLUME_GIB`.
    pub volume_gib: u32,
    /// `EKS_NODES_MIN`.
    pub nodes_min: u16,
    /// `EKS_NODES`.
    pub nodes: u16,
    /// `EKS_NODES_MAX`.
    pub nodes_max: u16,
    /// `EKS_GROW_NODES`.
    pub grow_nodes: bool,
    /// `EKS_ZONES`.
    pub zones: u8,
    /// `EKS_NAT`.
    pub nat: Nat,
    /// `EKS_VPC_CIDR`.
    pub vpc_cidr: Ipv4Net,
    /// `EKS_PUBLIC_ACCESS_CIDRS`.
    pub public_access_cidrs: Vec<Ipv4Net>,
    /// `EKS_LOGS`.
    pub logs: Vec<String>,
    /// `EKS_ENCRYPT_SECRETS`.
    pub encrypt_secrets: bool,
}

impl Eks {
    pub(crate) fn from_values(values: &mut Values) -> Self {
        let nodes = |text: &str| value::number(text, 1..=100_u16);
        let eks = Self {
            version: values.optional("EKS_VERSION", kubernetes_version),
            admin_arns: values.list("EKS_ADMIN_ARNS", |text| PrincipalArn::parse(text).ok()),
            instance_type: values.take("EKS_NODE_INSTANCE_TYPE", instance_type),
            // EKS' images have a snapshot of 20 GiB.
            volume_gib: values.take("EKS_NODE_VOLUME_GIB", |text| value::number(text, 20..=16_384_u32)),
            nodes_min: values.take("EKS_NODES_MIN", nodes),
            nodes: values.take("EKS_NODES", nodes),
            nodes_max: values.take("EKS_NODES_MAX", nodes),
            grow_nodes: values.take("EKS_GROW_NODES", value::yes_or_no),
            zones: values.take("EKS_ZONES", |text| value::number(text, 2..=3_u8)),
            nat: values.take("EKS_NAT", |text| text.parse().ok()),
            vpc_cidr: values
                .take("EKS_VPC_CIDR", |text| value::ipv4_net(text).filter(|it| (16..=20).contains(&it.prefix_len()))),
            public_access_cidrs: values.list("EKS_PUBLIC_ACCESS_CIDRS", value::ipv4_net),
            logs: values.list("EKS_LOGS", log_type),
            encrypt_secrets: values.take("EKS_ENCRYPT_SECRETS", value::yes_or_no),
        };
        if !(eks.nodes_min..=eks.nodes_max).contains(&eks.nodes) {
            values.refuse("EKS_NODES", "a number from `EKS_NODES_MIN` to `EKS_NODES_MAX`".to_owned());
        }
        eks
    }
}

/// How the nodes of a new EKS cluster reach the internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Nat {
    /// By public addresses of their own.
    None,
    /// Through one NAT gateway.
    One,
    /// Through one NAT gateway in each zone.
    PerZone,
}

impl Nat {
    /// As the setting and the Terraform module say it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// How many gateways that makes.
    #[must_use]
    pub fn gateways(self, zones: u8) -> u8 {
        match self {
            Self::None => 0,
            Self::One => 1,
            Self::PerZone => zones,
        }
    }
}

/// The program that installs charts.
#[derive(Debug, Clone)]
pub struct Helm {
    /// `HELM_PROGRAM`.
    pub program: PathBuf,
    /// `HELM_TIMEOUT_S`, for one call.
    pub timeout: Duration,
}

impl Helm {
    pub(crate) fn from_values(values: &mut Values) -> Self {
        Self {
            program: values.program("HELM_PROGRAM"),
            timeout: values.take("HELM_TIMEOUT_S", |text| value::number(text, 1..=840_u64).map(Duration::from_secs)),
        }
    }
}

/// How applications are reached in cloud-hosted mode.
#[derive(Debug, Clone)]
pub struct Ingress {
    /// `INGRESS_CHART`.
    pub chart: String,
    /// `INGRESS_CHART_VERSION`.
    pub chart_version: String,
    /// `INGRESS_CHART_REPOSITORY`.
    pub chart_repository: Option<Url>,
    /// `INGRESS_VALUES`, absolute.
    pub values: Option<PathBuf>,
    /// `LOAD_BALANCER_TIMEOUT_S`.
    pub load_balancer_timeout: Duration,
    /// `CERTIFICATE_TIMEOUT_S`.
    pub certificate_timeout: Duration,
    /// `CERTIFICATE_PATIENCE_S`.
    pub certificate_patience: Duration,
    /// `DEFAULT_DOMAIN_NAME_FOR_APPS`.
    pub default_domain: Option<String>,
}

impl Ingress {
    pub(crate) fn from_values(values: &mut Values) -> Self {
        Self {
            chart: values.take("INGRESS_CHART", value::word),
            chart_version: values.take("INGRESS_CHART_VERSION", value::word),
            chart_repository: values.optional("INGRESS_CHART_REPOSITORY", value::http_url),
            values: values.optional_path("INGRESS_VALUES"),
            load_balancer_timeout: values.take("LOAD_BALANCER_TIMEOUT_S", value::seconds),
            certificate_timeout: values.take("CERTIFICATE_TIMEOUT_S", value::seconds),
            certificate_patience: values.take("CERTIFICATE_PATIENCE_S", value::seconds),
            default_domain: values.optional("DEFAULT_DOMAIN_NAME_FOR_APPS", value::domain),
        }
    }
}

fn instance_type(text: &str) -> Option<String> {
    let (family, size) = text.split_once('.')?;
    let fits =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    (fits(family) && fits(size) && text.len() <= 40).then(|| text.to_owned())
}

fn kubernetes_version(text: &str) -> Option<String> {
    let minor: u8 = text.strip_prefix("1.")?.parse().ok()?;
    (minor > 0).then(|| text.to_owned())
}

fn log_type(text: &str) -> Option<String> {
    matches!(text, "api" | "audit" | "authenticator" | "controllerManager" | "scheduler").then(|| text.to_owned())
}

fn resource_id(text: &str, prefix: &str) -> Option<String> {
    let digits = text.strip_prefix(prefix)?;
    ((8..=32).contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_hexdigit())).then(|| text.to_owned())
}

fn image_owner(text: &str) -> Option<String> {
    let is_account = text.len() == 12 && text.chars().all(|c| c.is_ascii_digit());
    (is_account || matches!(text, "amazon" | "self" | "aws-marketplace")).then(|| text.to_owned())
}

fn image_name(text: &str) -> Option<String> {
    let fits = text.len() <= 128 && text.chars().all(|c| c.is_ascii_alphanumeric() || " ()[]./'@_*?-".contains(c));
    fits.then(|| text.to_owned())
}

fn login(text: &str) -> Option<String> {
    let begins = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let fits = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c));
    (begins && fits && text.len() <= 32).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_things_on_aws_are_checked() {
        assert!(instance_type("t3.medium").is_some() && instance_type("u-6tb1.metal").is_some());
        assert!(instance_type("t3").is_none() && instance_type("T3.x; rm").is_none());
        assert!(resource_id("ami-0a1b2c3d4e5f60718", "ami-").is_some() && resource_id("ami-xyz", "ami-").is_none());
        assert!(image_owner("099720109477").is_some() && image_owner("canonical").is_none());
        assert!(image_name("ubuntu/images/hvm-ssd*/ubuntu-*").is_some() && image_name("a;b").is_none());
        assert!(login("ec2-user").is_some() && login("-oProxyCommand").is_none());
    }
}
