//! Machine images (AMIs): one by its id, or the newest of a name.

use aws_sdk_ec2::types::Filter;

use super::{Aws, AwsError, AwsErrorKind};

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

impl Aws {
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
}
