//! Types of instances: what they have, and where a region offers them.

use aws_sdk_ec2::types::{ArchitectureType, Filter, InstanceType, LocationType, MemoryInfo, VCpuInfo};

use super::{Aws, AwsError};

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

impl Aws {
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
}

/// The architecture that a machine image needs for a type of instance.
#[must_use]
pub fn architecture(instance_type: Option<&InstanceTypeInfo>) -> &str {
    let known = [ArchitectureType::X8664, ArchitectureType::Arm64];
    let is_known = |it: &&String| known.iter().any(|known| known.as_str() == it.as_str());
    instance_type.and_then(|it| it.architectures.iter().find(is_known)).map_or("x86_64", String::as_str)
}

/// An architecture in Docker's words.
#[must_use]
pub fn docker_architecture(architecture: &str) -> &str {
    if architecture == "x86_64" { "amd64" } else { architecture }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_for_the_type_s_processor() {
        let instance_type = |names: &[&str]| InstanceTypeInfo {
            architectures: names.iter().map(|it| (*it).to_owned()).collect(),
            memory_mib: 0,
            vcpus: 0,
        };

        assert_eq!(architecture(Some(&instance_type(&["i386", "x86_64"]))), "x86_64");
        assert_eq!(architecture(Some(&instance_type(&["arm64"]))), "arm64");
        assert_eq!(architecture(None), "x86_64");
    }
}
