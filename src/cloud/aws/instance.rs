//! EC2 instances: as AWS describes them, and what their consoles print.

use std::net::IpAddr;

use aws_sdk_ec2::operation::get_console_output::GetConsoleOutputOutput;
use aws_sdk_ec2::types::{Filter, Instance as Ec2Instance, Tag};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Aws, AwsError, AwsErrorKind, TARGET_TAG};

/// An instance as AWS describes it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedInstance {
    /// Its id.
    pub id: String,
    /// `pending`, `running`, `stopping`, `stopped`, `shutting-down` or `terminated`.
    pub state: String,
    /// Its public address, while it runs.
    pub public_ip: Option<IpAddr>,
    /// The key pair that it was made with.
    pub key_pair: Option<String>,
    /// Its zone.
    pub zone: String,
    /// Its machine image.
    pub image: String,
    /// Its Name tag.
    pub name: Option<String>,
    /// The target that it belongs to, by its tag.
    pub target: Option<String>,
}

impl DescribedInstance {
    /// Whether it is gone or about to be.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self.state.as_str(), "shutting-down" | "terminated")
    }
}

impl From<Ec2Instance> for DescribedInstance {
    fn from(it: Ec2Instance) -> Self {
        let tag = |key: &str| tag(it.tags(), key);
        Self {
            state: it
                .state()
                .and_then(aws_sdk_ec2::types::InstanceState::name)
                .map_or_else(String::new, |it| it.as_str().to_owned()),
            public_ip: it.public_ip_address().and_then(|ip| ip.parse().ok()),
            key_pair: it.key_name().map(str::to_owned),
            zone: it.placement().and_then(|it| it.availability_zone()).unwrap_or_default().to_owned(),
            image: it.image_id().unwrap_or_default().to_owned(),
            name: tag("Name"),
            target: tag(TARGET_TAG),
            id: it.instance_id.unwrap_or_default(),
        }
    }
}

impl Aws {
    /// An instance by its id; `None` when AWS knows none, or only as terminated.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused or AWS does not answer.
    pub async fn instance(&self, id: &str) -> Result<Option<DescribedInstance>, AwsError> {
        let answer = self.ec2.describe_instances().instance_ids(id).send().await;
        match answer.map_err(|error| AwsError::from_sdk("ec2:DescribeInstances", &error)) {
            Ok(answer) => {
                let mut found =
                    answer.reservations.unwrap_or_default().into_iter().flat_map(|it| it.instances.unwrap_or_default());
                Ok(found.next().map(DescribedInstance::from).filter(|it| !it.is_gone()))
            }
            Err(error) if error.kind == AwsErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All instances with this Name tag that are not gone.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused or AWS does not answer.
    pub async fn instances_named(&self, name: &str) -> Result<Vec<DescribedInstance>, AwsError> {
        self.instances_with(Filter::builder().name("tag:Name").values(name).build()).await
    }

    async fn instances_with(&self, filter: Filter) -> Result<Vec<DescribedInstance>, AwsError> {
        let mut pages = self.ec2.describe_instances().filters(filter).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| AwsError::from_sdk("ec2:DescribeInstances", &error))?;
            let instances =
                page.reservations.unwrap_or_default().into_iter().flat_map(|it| it.instances.unwrap_or_default());
            found.extend(instances.map(DescribedInstance::from).filter(|it| !it.is_gone()));
        }
        Ok(found)
    }

    /// The host keys that an instance printed on its console while it booted, each as `type base64`; none while it has
    /// not, which may take minutes.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused or AWS does not answer.
    pub async fn host_keys(&self, id: &str) -> Result<Vec<String>, AwsError> {
        let keys = |answer: GetConsoleOutputOutput| {
            let coded: String = answer.output.unwrap_or_default().split_whitespace().collect();
            let text = STANDARD.decode(coded).unwrap_or_default();
            host_keys(&String::from_utf8_lossy(&text))
        };
        let call = self.ec2.get_console_output().instance_id(id);
        let kept = call.clone().send().await.map_err(|error| AwsError::from_sdk("ec2:GetConsoleOutput", &error))?;
        let kept = keys(kept);
        // What AWS keeps of a console is minutes old; instances on Nitro also tell what is there now, others refuse that.
        if kept.is_empty() { Ok(call.latest(true).send().await.map(keys).unwrap_or_default()) } else { Ok(kept) }
    }
}

/// The block of host keys that cloud-init prints, the last one of several boots.
fn host_keys(console: &str) -> Vec<String> {
    let (begin, end) = ("-----BEGIN SSH HOST KEY KEYS-----", "-----END SSH HOST KEY KEYS-----");
    let Some((block, _)) = console.rsplit_once(begin).and_then(|(_, rest)| rest.split_once(end)) else {
        return Vec::new();
    };
    let key = |line: &str| {
        // Lines of the console may begin with a time or a prefix.
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.iter().position(|it| it.starts_with("ssh-") || it.starts_with("ecdsa-"))?;
        let body = words.get(at + 1)?;
        STANDARD.decode(body).ok()?;
        Some(format!("{} {body}", words[at]))
    };
    block.lines().filter_map(key).collect()
}

pub(super) fn tag(tags: &[Tag], key: &str) -> Option<String> {
    tags.iter().find(|it| it.key() == Some(key)).and_then(|it| it.value()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_keys_are_those_of_the_last_boot() {
        let console = "boot\n-----BEGIN SSH HOST KEY KEYS-----\nssh-rsa AAAA root@old\n-----END SSH HOST KEY KEYS-----\n\
             [  12.3] -----BEGIN SSH HOST KEY KEYS-----\nci-info: ssh-ed25519 AAAAC3Nz root@ip-10-0-0-1\r\necdsa-sha2-nistp256 AAAA\n\
             junk\nssh-rsa not!base64\n-----END SSH HOST KEY KEYS-----\n";

        assert_eq!(host_keys(console), ["ssh-ed25519 AAAAC3Nz", "ecdsa-sha2-nistp256 AAAA"]);
        assert_eq!(host_keys("nothing yet"), Vec::<String>::new());
    }
}
