//! What the credentials may do, asked of EC2 without doing it (`DryRun`).

use aws_sdk_ec2::types::{InstanceType, ResourceType, Tag, TagSpecification};

use super::{Aws, AwsError, TARGET_TAG};

/// What would be made.
#[derive(Debug, Clone, Copy)]
pub struct InstanceSpec<'a> {
    /// Type of the instance.
    pub instance_type: &'a str,
    /// Machine image.
    pub image: &'a str,
    /// Subnet.
    pub subnet: &'a str,
}

impl Aws {
    /// Asks whether an instance and its security group may be made; gives the calls that may not, with the reason.
    ///
    /// # Errors
    /// [`AwsError`] when AWS does not answer.
    pub async fn denied_calls(&self, wanted: InstanceSpec<'_>) -> Result<Vec<AwsError>, AwsError> {
        let tags = |kind: ResourceType| {
            let tag = Tag::builder().key(TARGET_TAG).value("dry-run").build();
            TagSpecification::builder().resource_type(kind).tags(tag).build()
        };
        let run = self
            .ec2
            .run_instances()
            .dry_run(true)
            .min_count(1)
            .max_count(1)
            .instance_type(InstanceType::from(wanted.instance_type))
            .image_id(wanted.image)
            .subnet_id(wanted.subnet)
            .tag_specifications(tags(ResourceType::Instance))
            .tag_specifications(tags(ResourceType::Volume));
        let group = self
            .ec2
            .create_security_group()
            .dry_run(true)
            .group_name("dry-run")
            .description("dry run")
            .tag_specifications(tags(ResourceType::SecurityGroup));
        let (run, group) = tokio::join!(run.send(), group.send());
        let answers = [
            run.map(drop).map_err(|error| AwsError::from_sdk("ec2:RunInstances", &error)),
            group.map(drop).map_err(|error| AwsError::from_sdk("ec2:CreateSecurityGroup", &error)),
        ];
        let mut forbidden = Vec::new();
        for answer in answers {
            match answer {
                Ok(()) => (),
                Err(error) if error.is("DryRunOperation") => (),
                Err(error) if error.kind.is_transient() => return Err(error),
                // Other refusals, such as a limit that is reached, would stop the real call too.
                Err(error) => forbidden.push(error),
            }
        }
        Ok(forbidden)
    }
}
