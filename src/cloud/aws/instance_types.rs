//! What a region offers: whether it is there, key pairs, types of instances, machine images and subnets.

use aws_sdk_ec2::types::{ArchitectureType, Filter, InstanceType, LocationType, MemoryInfo, VCpuInfo};

use super::{Aws, AwsError, AwsErrorKind};

/// A type of instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceTypeInfo {
    /// Processor architectures of machine images, the best first: `x86_64`, `arm64`.
    pub architectures: Vec<String>,
    /// Memory in MiB.
    pub memory_mib: i64,
    /// Virtual processors.
    pub vcpus: i64,
}

/// A machine image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineImage {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Account that made it.
    pub owner: String,
    /// When it was made, in ISO 8601.
    pub created: String,
    /// Its processor architecture.
    pub architecture: String,
}

impl MachineImage {
    /// Who logs in on an instance of this image, by its maker's custom.
    #[must_use]
    pub fn user(&self) -> &'static str {
        let name = self.name.to_ascii_lowercase();
        if name.contains("ubuntu") {
            "ubuntu"
        } else if name.contains("debian") {
            "admin"
        } else {
            "ec2-user"
        }
    }
}

/// A subnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    /// Its id.
    pub id: String,
    /// Its availability zone.
    pub zone: String,
}

impl Aws {
    /// Whether the account may use the region.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused or AWS does not answer; in a region that does not exist nobody does.
    pub async fn has_region(&self) -> Result<bool, AwsError> {
        let answer = self.ec2.describe_regions().all_regions(true).region_names(self.region.as_str()).send().await;
        match answer.map_err(|error| AwsError::from_sdk("ec2:DescribeRegions", &error)) {
            Ok(answer) => Ok(answer.regions().iter().any(|it| it.opt_in_status() != Some("not-opted-in"))),
            Err(error) if error.is("InvalidParameterValue") || error.kind == AwsErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the key pair exists in the region.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused or AWS does not answer.
    pub async fn has_key_pair(&self, name: &str) -> Result<bool, AwsError> {
        let answer = self.ec2.describe_key_pairs().key_names(name).send().await;
        match answer.map_err(|error| AwsError::from_sdk("ec2:DescribeKeyPairs", &error)) {
            Ok(answer) => Ok(!answer.key_pairs().is_empty()),
            Err(error) if error.kind == AwsErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A type of instance; `None` when the region does not know it.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused or AWS does not answer.
    pub async fn instance_type(&self, instance_type: &str) -> Result<Option<InstanceTypeInfo>, AwsError> {
        let answer = self.ec2.describe_instance_types().instance_types(InstanceType::from(instance_type)).send().await;
        let answer = match answer.map_err(|error| AwsError::from_sdk("ec2:DescribeInstanceTypes", &error)) {
            Ok(answer) => answer,
            Err(error) if error.is("InvalidInstanceType") || error.is("InvalidParameterValue") => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(answer.instance_types().first().map(|it| InstanceTypeInfo {
            architectures: it
                .processor_info()
                .map(|it| it.supported_architectures().iter().map(|it| it.as_str().to_owned()).collect())
                .unwrap_or_default(),
            memory_mib: it.memory_info().and_then(MemoryInfo::size_in_mib).unwrap_or_default(),
            vcpus: it.v_cpu_info().and_then(VCpuInfo::default_v_cpus).map(i64::from).unwrap_or_default(),
        }))
    }

    /// The availability zones where the type of instance is offered.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused or AWS does not answer.
    pub async fn zones_offering(&self, instance_type: &str) -> Result<Vec<String>, AwsError> {
        let filter = Filter::builder().name("instance-type").values(instance_type).build();
        let call = self.ec2.describe_instance_type_offerings().location_type(LocationType::AvailabilityZone);
        let answer = call.filters(filter).send().await;
        let answer = answer.map_err(|error| AwsError::from_sdk("ec2:DescribeInstanceTypeOfferings", &error))?;
        Ok(answer.instance_type_offerings().iter().filter_map(|it| it.location().map(str::to_owned)).collect())
    }

    /// A machine image by its id.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused or AWS does not answer.
    pub async fn machine_image(&self, id: &str) -> Result<Option<MachineImage>, AwsError> {
        let answer = self.ec2.describe_images().image_ids(id).send().await;
        match answer.map_err(|error| AwsError::from_sdk("ec2:DescribeImages", &error)) {
            Ok(answer) => Ok(answer.images.unwrap_or_default().into_iter().next().map(MachineImage::from)),
            Err(error) if error.kind == AwsErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The newest machine image of a maker whose name fits the pattern.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused or AWS does not answer.
    pub async fn newest_machine_image(
        &self,
        owner: &str,
        name: &str,
        architecture: &str,
    ) -> Result<Option<MachineImage>, AwsError> {
        let filter = |name: &str, value: &str| Filter::builder().name(name).values(value).build();
        let call = self.ec2.describe_images().owners(owner).filters(filter("name", name));
        let call = call.filters(filter("state", "available")).filters(filter("architecture", architecture));
        let answer = call.send().await.map_err(|error| AwsError::from_sdk("ec2:DescribeImages", &error))?;
        let images = answer.images.unwrap_or_default().into_iter().map(MachineImage::from);
        Ok(images.max_by(|a, b| a.created.cmp(&b.created)))
    }

    /// The given subnet, or those of the default VPC, in the order of their zones.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused or AWS does not answer.
    pub async fn subnets(&self, given: Option<&str>) -> Result<Vec<Subnet>, AwsError> {
        let call = self.ec2.describe_subnets();
        let call = match given {
            Some(id) => call.subnet_ids(id),
            None => call.filters(Filter::builder().name("default-for-az").values("true").build()),
        };
        let answer = match call.send().await.map_err(|error| AwsError::from_sdk("ec2:DescribeSubnets", &error)) {
            Ok(answer) => answer,
            Err(error) if error.kind == AwsErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let subnet = |it: &aws_sdk_ec2::types::Subnet| {
            Some(Subnet { id: it.subnet_id()?.to_owned(), zone: it.availability_zone()?.to_owned() })
        };
        let mut found: Vec<Subnet> = answer.subnets().iter().filter_map(subnet).collect();
        found.sort_by(|a, b| a.zone.cmp(&b.zone));
        Ok(found)
    }
}

impl From<aws_sdk_ec2::types::Image> for MachineImage {
    fn from(it: aws_sdk_ec2::types::Image) -> Self {
        Self {
            architecture: it.architecture().map_or("x86_64", |it| it.as_str()).to_owned(),
            id: it.image_id.unwrap_or_default(),
            name: it.name.unwrap_or_default(),
            owner: it.owner_id.unwrap_or_default(),
            created: it.creation_date.unwrap_or_default(),
        }
    }
}

/// The architecture that a machine image needs for a type of instance.
#[must_use]
pub fn architecture(offer: Option<&InstanceTypeInfo>) -> &str {
    let known = [ArchitectureType::X8664, ArchitectureType::Arm64];
    let is_known = |it: &&String| known.iter().any(|known| known.as_str() == it.as_str());
    offer.and_then(|it| it.architectures.iter().find(is_known)).map_or("x86_64", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str) -> MachineImage {
        MachineImage {
            id: "ami-1".into(),
            name: name.into(),
            owner: "1".into(),
            created: String::new(),
            architecture: "x86_64".into(),
        }
    }

    #[test]
    fn the_image_s_maker_chose_who_logs_in() {
        assert_eq!(image("ubuntu/images/hvm-ssd/ubuntu-noble-24.04-amd64-server-1").user(), "ubuntu");
        assert_eq!(image("debian-12-amd64-20260501").user(), "admin");
        assert_eq!(image("al2023-ami-2023.6.20260501.0-kernel-6.1-x86_64").user(), "ec2-user");
    }

    #[test]
    fn an_image_is_for_the_type_s_processor() {
        let offer = |names: &[&str]| InstanceTypeInfo {
            architectures: names.iter().map(|it| (*it).to_owned()).collect(),
            memory_mib: 0,
            vcpus: 0,
        };

        assert_eq!(architecture(Some(&offer(&["i386", "x86_64"]))), "x86_64");
        assert_eq!(architecture(Some(&offer(&["arm64"]))), "arm64");
        assert_eq!(architecture(None), "x86_64");
    }
}
