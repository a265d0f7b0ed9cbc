//! Newtypes of every name and identifier: a value that exists is a valid value.
//!
//! Each is made by `parse` (or `new` for ids of our own), serialises as its text, and refuses what could
//! become a path (`/`, `..`) or an option (a leading `-`) wherever it is handed to a file system or a program.

use std::fmt;
use std::num::NonZeroU16;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use strum::{EnumString, IntoStaticStr, VariantArray, VariantNames};
use uuid::Uuid;

mod error;
mod plan_hash;
pub mod repository_page;
mod repository_url;
mod source_directory;
#[cfg(test)]
mod tests;

// Every identifier is found under `id`, whichever file it lives in.
pub use error::IdError;
pub use plan_hash::PlanHash;
pub use repository_url::RepositoryUrl;
pub use source_directory::SourceDirectory;

/// Declares a newtype over `String` with one rule: a predicate and the words that describe it.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $rule:literal, $accepts:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The rule that every value keeps, as the end of the sentence "this is not ...".
            pub const RULE: &'static str = $rule;

            /// Accepts a text that keeps the rule.
            ///
            /// # Errors
            /// [`IdError`] with the rule when the text breaks it.
            pub fn parse(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                let accepts: fn(&str) -> bool = $accepts;
                if accepts(&text) { Ok(Self(text)) } else { Err(IdError::new(&text, $rule)) }
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<std::ffi::OsStr> for $name {
            fn as_ref(&self) -> &std::ffi::OsStr {
                self.0.as_ref()
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
    };
}

// Behind the macro: a file sees the macros above its `mod` line alone.
mod build;
pub use build::{BuildSecretName, Platform, StageName};

text_id!(
    /// Name of an application on a cluster: its Kubernetes Deployment and Service (RFC 1035 label).
    DeploymentName,
    "a name of 1 to 63 lower-case letters, digits and `-`, that starts with a letter and ends with a letter or digit",
    |text| dns_label(text, 63) && text.starts_with(|c: char| c.is_ascii_lowercase())
);

text_id!(
    /// Name of a Kubernetes namespace (RFC 1123 label), never one of Kubernetes' own.
    Namespace,
    "a namespace of 1 to 63 lower-case letters, digits and `-`, that starts and ends with a letter or digit and does not start with `kube-`",
    |text| dns_label(text, 63) && !text.starts_with("kube-")
);

text_id!(
    /// Name of a kind cluster. Its node container `<name>-control-plane` must still be a host name of 63 characters.
    ClusterName,
    "a cluster name of 1 to 49 lower-case letters, digits and `-`, that starts and ends with a letter or digit",
    |text| dns_label(text, 49)
);

text_id!(
    /// What a request calls `instance_id`: a cluster's name, an EC2 instance's Name tag, or the id of a deployment.
    TargetName,
    "an instance id of 1 to 100 letters, digits, `.`, `_` and `-`, that starts with a letter or digit",
    |text| {
        text.len() <= 100
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
            && !text.contains("..")
    }
);

text_id!(
    /// A branch, a tag or a commit of a repository (the rules of `git check-ref-format`, without `-` in front).
    GitRef,
    "a branch, tag or commit of a git repository (1 to 255 characters; no spaces, `..`, `~`, `^`, `:`, `?`, `*`, `[`, `\\`, and no `-` or `+` in front)",
    |text| {
        !text.is_empty()
            && text.len() <= 255
            && !text.starts_with(['-', '+', '/', '.'])
            && !text.ends_with(['/', '.'])
            && !text.split('/').any(|part| part.strip_suffix(".lock").is_some())
            && !text.contains("..")
            && !text.contains("//")
            && !text.contains("@{")
            && !text.contains("/.")
            && text != "@"
            && text.chars().all(|c| !c.is_control() && !c.is_whitespace() && !"~^:?*[\\".contains(c))
    }
);

impl GitRef {
    /// The ref without the namespace of branches or tags in front.
    #[must_use]
    pub fn short(&self) -> &str {
        let short = self.0.strip_prefix("refs/heads/").or_else(|| self.0.strip_prefix("refs/tags/"));
        short.unwrap_or(&self.0)
    }
}

text_id!(
    /// The full id of a commit (SHA-1 or SHA-256, lower-case hexadecimal).
    CommitId,
    "a commit id of 40 or 64 lower-case hexadecimal digits",
    |text| matches!(text.len(), 40 | 64) && text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
);

impl CommitId {
    /// The first twelve digits, as people and tags name a commit.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

text_id!(
    /// Name and tag of a container image, as `docker tag` takes it.
    ImageRef,
    "an image reference such as `name:tag`",
    |text| {
        !text.is_empty()
            && text.len() <= 255
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-/:@".contains(c))
            && text.split('/').all(|part| !part.is_empty() && part != "..")
    }
);

impl ImageRef {
    /// The tag, `latest` without one.
    #[must_use]
    pub fn tag(&self) -> &str {
        let name = self.0.rsplit_once('/').map_or(self.0.as_str(), |(_, name)| name);
        let name = name.split_once('@').map_or(name, |(name, _)| name);
        name.split_once(':').map_or("latest", |(_, tag)| tag)
    }
}

text_id!(
    /// Path of a Dockerfile below the root of a repository.
    DockerfilePath,
    "a relative path inside the repository (no `..`, no `/` or `-` in front, at most 255 characters)",
    |text| {
        !text.is_empty()
            && text.len() <= 255
            && !text.starts_with(['/', '-'])
            && !text.ends_with('/')
            && !text.contains(|c: char| c == '\\' || c.is_control())
            && text.split('/').all(|part| !part.is_empty() && part != "..")
    }
);

text_id!(
    /// Name of an environment variable: of the application, or of an ARG of its Dockerfile.
    EnvironmentName,
    "a variable name of letters, digits and `_` that does not start with a digit",
    |text| {
        !text.is_empty()
            && text.len() <= 255
            && !text.starts_with(|c: char| c.is_ascii_digit())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    }
);

text_id!(
    /// Code of an AWS region.
    Region,
    "an AWS region such as `eu-central-1`",
    |text| {
        let parts: Vec<&str> = text.split('-').collect();
        parts.len() >= 3
            && text.len() <= 32
            && parts.iter().all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()))
            && parts[0].chars().all(|c| c.is_ascii_lowercase())
            && parts.last().is_some_and(|last| last.chars().all(|c| c.is_ascii_digit()))
    }
);

text_id!(
    /// ARN of an IAM user or role ("IAM identifiers" in the IAM user guide).
    PrincipalArn,
    "the ARN of an IAM user or role such as `arn:aws:iam::111122223333:role/deployers`",
    |text| {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let [arn, partition, service, region, account, name] = parts[..] else { return false };
        let fits = |name: &str| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "+=,.@_-/".contains(c))
        };
        (arn, service, region) == ("arn", "iam", "")
            && (partition == "aws" || partition.starts_with("aws-"))
            && account.len() == 12
            && account.chars().all(|c| c.is_ascii_digit())
            && ["user/", "role/"].iter().any(|kind| name.strip_prefix(kind).is_some_and(fits))
            && text.len() <= 2048
    }
);

text_id!(
    /// Name of an EC2 key pair. Its private key is the file of that name below `EC2_PRIVATE_KEY_BASE_PATH`.
    KeyPairName,
    "a key pair name of 1 to 255 letters, digits, spaces, `.`, `_` and `-`, that starts with a letter, digit or `_`",
    |text| {
        text.len() <= 255
            && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && text.chars().all(|c| c.is_ascii_alphanumeric() || " ._-".contains(c))
            && !text.contains("..")
    }
);

text_id!(
    /// Id of a Route53 hosted zone.
    HostedZoneId,
    "a Route53 hosted zone id such as `Z2FDTNDATAQYW2`",
    |text| {
        (2..=32).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
    }
);

text_id!(
    /// The first part of an application's host name (RFC 1123 label).
    SubdomainLabel,
    "a host name label of 1 to 63 lower-case letters, digits and `-`, that starts and ends with a letter or digit",
    |text| dns_label(text, 63)
);

fn dns_label(text: &str, longest: usize) -> bool {
    !text.is_empty()
        && text.len() <= longest
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// Declares an id of our own: a prefix and a UUID of version 7, so that ids sort by their time of birth.
macro_rules! own_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Uuid);

        impl $name {
            /// A new id, later than all before it.
            #[must_use]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// Accepts the text that `Display` writes.
            ///
            /// # Errors
            /// [`IdError`] when it is something else.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                text.strip_prefix($prefix)
                    .filter(|hex| hex.len() == 32 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
                    .and_then(|hex| Uuid::try_parse(hex).ok())
                    .map(Self)
                    .ok_or_else(|| IdError::new(text, concat!("an id that starts with `", $prefix, "`")))
            }

            /// The UUID behind the prefix.
            #[must_use]
            pub fn uuid(&self) -> Uuid {
                self.0
            }

            /// When it was made.
            #[must_use]
            pub fn created_at(&self) -> jiff::Timestamp {
                let (seconds, nanoseconds) = self.0.get_timestamp().map_or((0, 0), |it| it.to_unix());
                let seconds = i64::try_from(seconds).unwrap_or_default();
                let nanoseconds = i32::try_from(nanoseconds).unwrap_or_default();
                jiff::Timestamp::new(seconds, nanoseconds).unwrap_or_default()
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0.simple())
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
    };
}

own_id!(
    /// Id of a key: the principal of whoever holds it, which stays when the key is rotated.
    KeyId,
    "key_"
);

own_id!(
    /// Id of an operation.
    OperationId,
    "op_"
);
own_id!(
    /// Id of a deployment.
    DeploymentId,
    "dep_"
);
own_id!(
    /// Id of a target: a cluster or an instance that deployments run on.
    TargetId,
    "tgt_"
);

/// A TCP port of an application.
pub type Port = NonZeroU16;

/// The name of an application that the person did not name: `appapp-<repo>-<8 hex>`.
///
/// The digits come from what makes the deployment the same one (target, namespace, repository, directory), so the name is
/// found again.
///
/// # Panics
/// Never: a fixed prefix, a label and hexadecimal digits keep the rule.
#[must_use]
pub fn derived_deployment_name(
    repository: &RepositoryUrl,
    directory: Option<&SourceDirectory>,
    target: &str,
    namespace: &Namespace,
) -> DeploymentName {
    let identity = repository.identity();
    let mut parts = vec![target, namespace.as_str(), &identity];
    parts.extend(directory.map(SourceDirectory::as_str));
    let digest = short_hash(&parts, 8);
    let name: String = repository.name().chars().take(63 - "appapp-".len() - 9).collect();
    DeploymentName::parse(format!("appapp-{}-{digest}", name.trim_end_matches('-')))
        .expect("a fixed prefix, a label and hexadecimal digits keep the rule")
}

/// The name of an EC2 instance that the person did not name: `appcl-<repo>-<6 hex>`.
///
/// The digits come from `tag`, which should be another one for every installation: an account may serve several.
///
/// # Panics
/// Never: a fixed prefix, a label and hexadecimal digits keep the rule.
#[must_use]
pub fn derived_instance_name(repository: &RepositoryUrl, tag: &[u8]) -> TargetName {
    let digits = HEXLOWER.encode(&tag[..tag.len().min(3)]);
    let name: String = repository.name().chars().take(49 - "appcl-".len() - 7).collect();
    TargetName::parse(format!("appcl-{}-{digits:0>6}", name.trim_end_matches('-')))
        .expect("a fixed prefix, a label and hexadecimal digits keep the rule")
}

/// The name of an EKS cluster that the person did not name: `appeks-<repo>-<8 hex>`, with digits from a tag that stays the
/// same for the same request.
///
/// # Panics
/// Never: a fixed prefix, a label and hexadecimal digits keep the rule.
#[must_use]
pub fn derived_cluster_name(repository: &RepositoryUrl, tag: &[u8]) -> TargetName {
    let digits = HEXLOWER.encode(&tag[..tag.len().min(4)]);
    let name: String = repository.name().chars().take(49 - "appeks-".len() - 9).collect();
    TargetName::parse(format!("appeks-{}-{digits:0>8}", name.trim_end_matches('-')))
        .expect("a fixed prefix, a label and hexadecimal digits keep the rule")
}

/// The kind cluster on an EC2 instance: it has the instance's name, or one made of it when that is none for a cluster.
///
/// # Panics
/// Never: a fixed prefix and hexadecimal digits keep the rule.
#[must_use]
pub fn cluster_name_of_target(instance: &str) -> ClusterName {
    ClusterName::parse(instance).unwrap_or_else(|_| {
        ClusterName::parse(format!("instance-{}", short_hash(&[instance], 12)))
            .expect("a fixed prefix and hexadecimal digits keep the rule")
    })
}

/// The first `digits` hexadecimal digits (at most 64) of SHA-256 over the parts, each ended by a zero byte.
#[must_use]
pub fn short_hash(parts: &[&str], digits: usize) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let mut text = HEXLOWER.encode(&hash.finalize());
    text.truncate(digits);
    text
}

/// What the enums have in common whose values have one stable text each, the same in JSON, in the database and in
/// sentences; strum and serde derive it from the name.
macro_rules! words {
    ($($name:ident),+) => {
        $(impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [Self] = <Self as VariantArray>::VARIANTS;

            /// The stable text.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                self.into()
            }

            /// Accepts the stable text.
            ///
            /// # Errors
            /// [`IdError`] that lists what is allowed.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                text.parse().map_err(|_| {
                    let words: Vec<String> = Self::ALL.iter().map(|word| format!("`{word}`")).collect();
                    IdError::new(text, format!("one of {}", words.join(", ")))
                })
            }
        })+
    };
}

words!(Mode, Action, Protocol);

// Behind both macros, like `build`.
pub mod key;

/// Where a deployment runs: the three kinds of target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
#[derive(strum::Display, EnumString, IntoStaticStr, VariantArray, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum Mode {
    /// A kind cluster on this machine.
    Local,
    /// A kind cluster on an EC2 instance.
    CloudLocal,
    /// An EKS cluster.
    CloudHosted,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[derive(strum::Display, EnumString, IntoStaticStr, VariantArray, VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum Action {
    /// Builds a repository and runs it.
    Deploy,
    /// Builds the newest commit of a deployment and rolls it out.
    Redeploy,
    /// Sets the number of replicas.
    Scale,
    /// Replaces the pods by new ones of the same version.
    Restart,
    /// Goes back to an earlier version.
    Rollback,
    /// Removes everything that belongs to a deployment.
    Decommission,
    /// Tells how a deployment is.
    Status,
    /// Tells what is deployed.
    List,
    /// Shows what an application printed.
    Logs,
    /// Stops a running operation and takes back what it did.
    Cancel,
    /// Takes the last change back.
    Undo,
    /// Tells what the targets cost.
    Cost,
}

impl Action {
    /// Whether it changes something, rather than looks at it.
    #[must_use]
    pub const fn changes(self) -> bool {
        match self {
            Self::Deploy
            | Self::Redeploy
            | Self::Scale
            | Self::Restart
            | Self::Rollback
            | Self::Decommission
            | Self::Cancel
            | Self::Undo => true,
            Self::Status | Self::List | Self::Logs | Self::Cost => false,
        }
    }
}

/// A transport protocol, spelled as Kubernetes spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "UPPERCASE")]
#[derive(strum::Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "UPPERCASE")]
pub enum Protocol {
    /// What HTTP runs on.
    Tcp,
    /// Datagrams.
    Udp,
    /// Streams of messages.
    Sctp,
}

/// The host name of an application: a label below the name of a hosted zone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Domain {
    /// The zone that the name lies in.
    pub zone: HostedZoneId,
    /// The first part of the name.
    pub label: SubdomainLabel,
}

/// A port with its protocol; `Display` writes it as EXPOSE does (`8125/udp`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ExposedPort {
    /// The number inside the container.
    pub number: Port,
    /// What is spoken there.
    pub protocol: Protocol,
}

impl ExposedPort {
    /// Accepts `5000/tcp` in any case, or a bare number, which is TCP.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let protocol = Protocol::parse(&protocol.to_ascii_uppercase()).ok()?;
        Some(Self { number: number.parse().ok()?, protocol })
    }

    /// Its name in manifests, such as `tcp-8080`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}-{}", self.protocol.as_str().to_ascii_lowercase(), self.number)
    }
}

impl fmt::Display for ExposedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol.as_str().to_ascii_lowercase())
    }
}
