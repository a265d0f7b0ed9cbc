//! Sections of the cloud modes: Terraform, and the EC2 instances that it makes.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::config::source::Values;
use crate::config::value;

/// The program that makes and destroys what lies in the cloud.
#[derive(Debug, Clone)]
pub struct Terraform {
    /// `TERRAFORM_PROGRAM`.
    pub program: PathBuf,
    /// `TERRAFORM_TIMEOUT_S`, for one call.
    pub timeout: Duration,
}

impl Terraform {
    pub(in crate::config) fn from_values(values: &mut Values) -> Self {
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
    pub ssh_allowed_cidr: Option<Cidr>,
    /// `PUBLIC_IP_URL`.
    pub public_ip_url: Url,
}

impl Ec2 {
    pub(in crate::config) fn from_values(values: &mut Values) -> Self {
        Self {
            instance_type: values.take("EC2_INSTANCE_TYPE", instance_type),
            image_id: values.optional("EC2_AMI_ID", |text| resource_id(text, "ami-")),
            image_owner: values.take("EC2_AMI_OWNER", image_owner),
            image_name: values.take("EC2_AMI_NAME", image_name),
            ssh_user: values.optional("EC2_SSH_USER", login),
            volume_gib: values.take("EC2_VOLUME_GIB", |text| value::number(text, 8..=16_384_u32)),
            subnet_id: values.optional("EC2_SUBNET_ID", |text| resource_id(text, "subnet-")),
            ssh_allowed_cidr: values.optional("SSH_ALLOWED_CIDR", Cidr::parse),
            public_ip_url: values.take("PUBLIC_IP_URL", value::http_url),
        }
    }
}

/// A range of IPv4 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    network: Ipv4Addr,
    length: u8,
}

impl Cidr {
    /// Accepts `address/length` without host bits, such as `203.0.113.0/24`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (network, length) = text.split_once('/')?;
        let (network, length): (Ipv4Addr, u8) = (network.parse().ok()?, length.parse().ok()?);
        let host_bits = u32::MAX.checked_shr(u32::from(length)).unwrap_or(0);
        (length <= 32 && u32::from(network) & host_bits == 0).then_some(Self { network, length })
    }

    /// The range of one address.
    #[must_use]
    pub fn of(address: Ipv4Addr) -> Self {
        Self { network: address, length: 32 }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.length)
    }
}

fn instance_type(text: &str) -> Option<String> {
    let (family, size) = text.split_once('.')?;
    let fits =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    (fits(family) && fits(size) && text.len() <= 40).then(|| text.to_owned())
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
    fn a_range_has_no_host_bits() {
        assert_eq!(Cidr::parse("203.0.113.0/24").unwrap().to_string(), "203.0.113.0/24");
        assert_eq!(Cidr::parse("0.0.0.0/0").unwrap().to_string(), "0.0.0.0/0");
        assert_eq!(Cidr::of(Ipv4Addr::new(203, 0, 113, 9)).to_string(), "203.0.113.9/32");
        for wrong in ["203.0.113.9/24", "203.0.113.0", "203.0.113.0/33", "::/0", "x/8", ""] {
            assert_eq!(Cidr::parse(wrong), None, "{wrong}");
        }
    }

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
