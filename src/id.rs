//! Newtypes of every name and identifier: a value that exists is a valid value.
//!
//! Each is made by `parse` (or `new` for ids of our own), serialises as its text, and refuses what could
//! become a path (`/`, `..`) or an option (a leading `-`) wherever it is handed to a file system or a program.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Says why a text is not the name or identifier that it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not {rule}")]
pub struct IdError {
    /// The text that was refused, cut to a length that fits a message.
    pub value: String,
    /// What would be right, as the end of the sentence "this is not ...".
    pub rule: Cow<'static, str>,
}

impl IdError {
    fn new(value: &str, rule: impl Into<Cow<'static, str>>) -> Self {
        let value = value.chars().take(80).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        Self { value, rule: rule.into() }
    }
}

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
    InstanceId,
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
            && !text.split('/').any(|part| part.ends_with(".lock"))
            && !text.contains("..")
            && !text.contains("//")
            && !text.contains("@{")
            && !text.contains("/.")
            && text != "@"
            && text.chars().all(|c| !c.is_control() && !c.is_whitespace() && !"~^:?*[\\".contains(c))
    }
);

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
    }
);

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
    /// Name of an environment variable that is handed to the application.
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
            && text.starts_with('Z')
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

/// Where a git repository lies: https, ssh (also `user@host:path`) or file.
///
/// Whether the host is allowed is the settings' business (`GIT_ALLOWED_HOSTS`), not the value's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryUrl {
    text: String,
    url: url::Url,
}

impl RepositoryUrl {
    /// The rule that every value keeps.
    pub const RULE: &'static str = "the address of a git repository such as `https://github.com/owner/name`";

    /// Accepts an `https://`, `ssh://`, `file://` or `user@host:path` address without a password in it.
    ///
    /// What is handed to git is the text, what is checked against the allow-list is the parsed host. So the text is
    /// taken apart here too, and refused wherever a second reader could see another host or another path in it.
    ///
    /// # Errors
    /// [`IdError`] when it is none; whatever may be a secret in it is not repeated.
    pub fn parse(text: impl Into<String>) -> Result<Self, IdError> {
        let text = text.into();
        let parts = RepositoryParts::of(&text);
        if parts.as_ref().is_some_and(RepositoryParts::has_credentials) {
            let rule = "an address without credentials; send a token as `git_token` instead";
            return Err(IdError::new("https://***@...", rule));
        }
        parts
            .filter(RepositoryParts::fit)
            .and_then(|parts| {
                let url = url::Url::parse(&parts.full()).ok()?;
                let host = url.host_str().unwrap_or_default();
                let is_plain = host.eq_ignore_ascii_case(parts.host) && url.path() == format!("/{}", parts.path);
                is_plain.then(|| Self { text: parts.text(), url })
            })
            .ok_or_else(|| IdError::new(&without_secrets(&text), Self::RULE))
    }

    /// The address as it was given, but the scheme in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `https`, `ssh` or `file`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.url.scheme()
    }

    /// The host in lower case, with its port where one other than the scheme's own is given; empty for a file.
    #[must_use]
    pub fn host_and_port(&self) -> String {
        let host = self.url.host_str().unwrap_or_default().to_ascii_lowercase();
        match self.url.port() {
            Some(port) if !(port == 22 && self.url.scheme() == "ssh") => format!("{host}:{port}"),
            _ => host,
        }
    }

    /// The path on the host (or the file's path), with its leading `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.url.path()
    }

    /// The last part of the path without `.git`, reduced to what a DNS label may hold; `app` when nothing is left.
    #[must_use]
    pub fn name(&self) -> String {
        let path = self.url.path().trim_end_matches('/');
        let last = path.rsplit('/').next().unwrap_or_default();
        let last = last.strip_suffix(".git").unwrap_or(last);
        let label: String =
            last.to_ascii_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let label = label.trim_matches('-');
        if label.is_empty() { "app".to_owned() } else { label.to_owned() }
    }

    /// The same for two spellings of one repository: host in lower case, no `.git`, no `/` at the end, no scheme.
    #[must_use]
    pub fn identity(&self) -> String {
        let path = self.url.path().trim_end_matches('/');
        format!("{}{}", self.host_and_port(), path.strip_suffix(".git").unwrap_or(path))
    }
}

/// The text of a repository's address, taken apart without interpretation.
struct RepositoryParts<'a> {
    scheme: String,
    /// The whole text when it was written as `user@host:path`.
    short: Option<&'a str>,
    user: Option<&'a str>,
    host: &'a str,
    port: Option<&'a str>,
    path: &'a str,
}

impl<'a> RepositoryParts<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let Some((scheme, rest)) = text.split_once("://") else {
            let (user, rest) = text.split_once('@')?;
            let (host, path) = match rest.find(']') {
                Some(end) if rest.starts_with('[') => (&rest[..=end], rest[end + 1..].strip_prefix(':')?),
                _ => rest.split_once(':')?,
            };
            let path = path.strip_prefix('/').unwrap_or(path);
            return Some(Self {
                scheme: "ssh".to_owned(),
                short: Some(text),
                user: Some(user),
                host,
                port: None,
                path,
            });
        };
        let (authority, path) = rest.split_once('/')?;
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let (host, port) = match host.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (host, None),
        };
        Some(Self { scheme: scheme.to_ascii_lowercase(), short: None, user, host, port, path })
    }

    /// A password, or any login with https, where it is a token.
    fn has_credentials(&self) -> bool {
        self.user.is_some_and(|user| user.contains(':') || matches!(self.scheme.as_str(), "https" | "http"))
    }

    fn fit(&self) -> bool {
        let word = |text: &str| {
            !text.is_empty()
                && !text.starts_with('-')
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        };
        let in_brackets = |host: &str| {
            let inner = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
            inner.is_some_and(|it| it.parse::<std::net::Ipv6Addr>().is_ok())
        };
        let place_fits = match self.scheme.as_str() {
            "https" | "ssh" => {
                (word(self.host) || in_brackets(self.host))
                    && self.user.is_none_or(word)
                    && self.port.is_none_or(|port| port.parse::<NonZeroU16>().is_ok() && !port.starts_with(['+', '0']))
            }
            "file" => self.host.is_empty() && self.user.is_none() && self.port.is_none(),
            _ => false,
        };
        let path = self.path.strip_suffix('/').unwrap_or(self.path);
        place_fits && path.len() <= 2048 && path.split('/').all(path_part_fits)
    }

    /// The address as a URL.
    fn full(&self) -> String {
        let user = self.user.map(|user| format!("{user}@")).unwrap_or_default();
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{user}{}{port}/{}", self.scheme, self.host, self.path)
    }

    /// The address as it was written, but the scheme in lower case.
    fn text(&self) -> String {
        self.short.map_or_else(|| self.full(), str::to_owned)
    }
}

/// One part of a repository's path, in its encoded form: no dots alone, no option, nothing hidden by `%`.
fn path_part_fits(part: &str) -> bool {
    let hides = |code: &str| part.to_ascii_lowercase().contains(code);
    !part.is_empty()
        && part != "."
        && part != ".."
        && !part.starts_with('-')
        && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-~+@=,:!%()".contains(c))
        && !["%0", "%1", "%25", "%2d", "%2e", "%2f", "%5c", "%7f"].into_iter().any(hides)
}

/// A refused address as a message may show it: no login, no query.
fn without_secrets(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = text.split_once("://").map_or((None, text), |(scheme, rest)| (Some(scheme), rest));
    let rest = match rest.rsplit_once('@') {
        Some(("git", rest)) => format!("git@{rest}"),
        Some((_, rest)) => format!("***@{rest}"),
        None => rest.to_owned(),
    };
    scheme.map_or(rest.clone(), |scheme| format!("{scheme}://{rest}"))
}

impl fmt::Display for RepositoryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for RepositoryUrl {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        Self::parse(text)
    }
}

impl From<RepositoryUrl> for String {
    fn from(url: RepositoryUrl) -> String {
        url.text
    }
}

/// The name of an application that the person did not name: `appapp-<repo>-<8 hex>`.
///
/// The digits come from what makes the deployment the same one (target, namespace, repository), so the name is found again.
#[must_use]
pub fn derived_deployment_name(repository: &RepositoryUrl, target: &str, namespace: &Namespace) -> DeploymentName {
    let digest = short_hash(&[target, namespace.as_str(), &repository.identity()], 8);
    let name: String = repository.name().chars().take(63 - "appapp-".len() - 9).collect();
    DeploymentName::parse(format!("appapp-{}-{digest}", name.trim_end_matches('-')))
        .expect("a fixed prefix, a label and hexadecimal digits keep the rule")
}

/// The first `digits` hexadecimal digits (at most 64) of SHA-256 over the parts, each ended by a zero byte.
#[must_use]
pub fn short_hash(parts: &[&str], digits: usize) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.finalize().iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).take(digits).map(char::from).collect()
}

/// Declares an enum whose values have one stable text each, the same in JSON, in the database and in sentences.
macro_rules! word {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The stable text.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// Accepts the stable text.
            ///
            /// # Errors
            /// [`IdError`] that lists what is allowed.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => {
                        let words: Vec<String> = Self::ALL.iter().map(|word| format!("`{word}`")).collect();
                        Err(IdError::new(text, format!("one of {}", words.join(", "))))
                    }
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

word!(
    /// Where a deployment runs: the three kinds of target.
    Mode {
        /// A kind cluster on this machine.
        Local = "local",
        /// A kind cluster on an EC2 instance.
        CloudLocal = "cloud-local",
        /// An EKS cluster.
        CloudHosted = "cloud-hosted",
    }
);

word!(
    /// What a request asks for.
    Action {
        /// Builds a repository and runs it.
        Deploy = "deploy",
        /// Builds the newest commit of a deployment and rolls it out.
        Redeploy = "redeploy",
        /// Sets the number of replicas.
        Scale = "scale",
        /// Goes back to an earlier version.
        Rollback = "rollback",
        /// Removes everything that belongs to a deployment.
        Decommission = "decommission",
        /// Tells how a deployment is.
        Status = "status",
        /// Tells what is deployed.
        List = "list",
        /// Shows what an application printed.
        Logs = "logs",
        /// Stops a running operation and takes back what it did.
        Cancel = "cancel",
    }
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn url(text: &str) -> Option<RepositoryUrl> {
        RepositoryUrl::parse(text).ok()
    }

    #[test]
    fn addresses_of_repositories_are_accepted() {
        let good = [
            "https://github.com/owner/name",
            "https://github.com/owner/name.git",
            "https://github.com/owner/name/",
            "https://git.example:8443/deep/er/name.git",
            "https://dev.example/org/My%20Project/_git/name",
            "https://[::1]:8443/a/b",
            "https://127.0.0.1:8443/a.git",
            "ssh://git@github.com/owner/name.git",
            "ssh://git@host:2222/~user/name.git",
            "git@github.com:owner/name.git",
            "git@host:~user/name",
            "git@[::1]:a/b",
            "git@host:/srv/git/name.git",
            "file:///srv/git/name.git",
        ];

        let refused: Vec<&str> = good.into_iter().filter(|text| url(text).is_none()).collect();

        assert!(refused.is_empty(), "{refused:?}");
    }

    #[test]
    fn anything_else_is_no_address() {
        let bad = [
            "",
            "x",
            "-u",
            "github.com/a/b",
            "http://github.com/a/b",
            "git://github.com/a/b",
            "ext::sh -c x",
            "https:github.com/a/b",
            "https:/github.com/a/b",
            "https:///a/b",
            "https://github.com",
            "https://github.com/",
            "https://github.com//a/b",
            "https://github.com/a/../b",
            "https://github.com/a/%2e%2E/b",
            "https://github.com/a/.%2e/b",
            "https://github.com/a%2fb",
            "https://github.com/-a/b",
            "https://github.com/a/%2db",
            "https://github.com/a\\b",
            "https://github.com/a b",
            "https://github.com/a/b?x=y",
            "https://github.com/a/b?",
            "https://github.com/a/b#x",
            "https://@github.com/a/b",
            "https://github.com@evil.example/a/b",
            "https://gith%75b.com/a/b",
            "https://0x7f.1/a/b",
            "https://2130706433/a/b",
            "https://-oProxyCommand=x/a",
            "https://host:0/a",
            "https://host:99999/a",
            "https://host:/a",
            "ssh://-oProxyCommand=x/a",
            "ssh://-x@host/a",
            "ssh://%2dx@host/a",
            "ssh://git:secret@host/a",
            "-x@host:a/b",
            "git@-host:a/b",
            "git@host:-a",
            "git@host:../a",
            "git@host://a",
            "git@host:",
            "file://host/a",
            "file:///",
            "file:///a/../b",
            "file:///a\n",
        ];

        let accepted: Vec<&str> = bad.into_iter().filter(|text| url(text).is_some()).collect();

        assert!(accepted.is_empty(), "{accepted:?}");
    }

    #[test]
    fn the_scheme_is_kept_in_lower_case_because_git_knows_no_other() {
        assert_eq!(url("HTTPS://GitHub.com/A/b").unwrap().as_str(), "https://GitHub.com/A/b");
    }

    #[test]
    fn spellings_of_one_repository_have_one_identity() {
        let spellings = [
            "https://github.com/a/b",
            "https://GITHUB.com/a/b.git",
            "https://github.com:443/a/b/",
            "git@github.com:a/b.git",
            "ssh://git@GitHub.com:22/a/b",
        ];

        let identities: Vec<String> = spellings.iter().map(|text| url(text).unwrap().identity()).collect();

        assert_eq!(identities, ["github.com/a/b"; 5]);
    }

    #[test]
    fn the_name_of_a_repository_fits_a_label() {
        assert_eq!(url("https://github.com/a/My_App.v2.git/").unwrap().name(), "my-app-v2");
        assert_eq!(url("git@host:a/___").unwrap().name(), "app");
    }

    #[test]
    fn refused_addresses_do_not_repeat_what_may_be_a_secret() {
        let shown = |text: &str| RepositoryUrl::parse(text).unwrap_err().to_string();

        assert!(!shown("https://me:hunter2@github.com/a b").contains("hunter2"));
        assert!(!shown("me:hunter2@github.com:a/b").contains("hunter2"));
        assert!(!shown("ftp://hunter2@github.com/a/b").contains("hunter2"));
        assert!(!shown("https://github.com/a/b?token=hunter2").contains("hunter2"));
        assert!(!shown("hunter2@").contains("hunter2"));
    }

    #[test]
    fn a_derived_name_is_the_same_for_the_same_deployment_only() {
        let namespace = Namespace::parse("demo").unwrap();
        let name = |text: &str, target: &str| derived_deployment_name(&url(text).unwrap(), target, &namespace);
        let long = format!("https://github.com/a/{}", "x-".repeat(60));

        assert_eq!(name("https://github.com/a/b", "one"), name("git@github.com:a/b.git", "one"));
        assert_ne!(name("https://github.com/a/b", "one"), name("https://github.com/a/b", "two"));
        assert!(name(&long, "one").as_str().len() <= 63);
    }

    #[test]
    fn names_that_could_be_a_path_or_an_option_are_refused() {
        let evil = ["-x", "--help", "..", "a/../b", "/etc/passwd", "a/b", "a\0b", "a\nb", "", " ", "."];

        assert!(evil.iter().all(|text| DeploymentName::parse(*text).is_err()));
        assert!(evil.iter().all(|text| Namespace::parse(*text).is_err()));
        assert!(evil.iter().all(|text| ClusterName::parse(*text).is_err()));
        assert!(evil.iter().all(|text| InstanceId::parse(*text).is_err()));
        assert!(evil.iter().all(|text| KeyPairName::parse(*text).is_err()));
        assert!(evil.iter().all(|text| SubdomainLabel::parse(*text).is_err()));
        assert!(evil.iter().all(|text| Region::parse(*text).is_err()));
        assert!(evil.iter().all(|text| HostedZoneId::parse(*text).is_err()));
    }

    #[test]
    fn refs_follow_the_rules_of_git() {
        let good = ["main", "feature/x", "v1.2.3", "refs/pull/1/head", "abc123", "a@b", "ünï"];
        let bad =
            ["-x", "+main", "a..b", "a b", "@", "a@{1}", "/a", "a/", "a//b", "a/.b", "a.lock/b", "a~1", "a:b", "."];

        assert!(good.iter().all(|text| GitRef::parse(*text).is_ok()));
        assert!(bad.iter().all(|text| GitRef::parse(*text).is_err()));
    }

    #[test]
    fn a_dockerfile_stays_in_the_repository() {
        let good = ["Dockerfile", "docker/web.Dockerfile", "a b/Dockerfile"];
        let bad = ["", "/Dockerfile", "../Dockerfile", "a/../b", "-f", "a//b", "a/", "a\\b", "a\tb"];

        assert!(good.iter().all(|text| DockerfilePath::parse(*text).is_ok()));
        assert!(bad.iter().all(|text| DockerfilePath::parse(*text).is_err()));
    }

    #[test]
    fn lengths_are_bounded() {
        assert!(DeploymentName::parse("a".repeat(63)).is_ok());
        assert!(DeploymentName::parse("a".repeat(64)).is_err());
        assert!(ClusterName::parse("a".repeat(50)).is_err());
        assert!(GitRef::parse("a".repeat(256)).is_err());
    }

    #[test]
    fn an_error_shows_a_bounded_value_on_one_line() {
        let error = Namespace::parse(format!("a\n{}", "x".repeat(500))).unwrap_err();

        assert_eq!(error.value.chars().count(), 80);
        assert!(!error.value.contains('\n'));
    }

    #[test]
    fn regions_look_like_regions() {
        assert!(["eu-central-1", "us-gov-west-1"].iter().all(|text| Region::parse(*text).is_ok()));
        assert!(
            ["", "moon", "1-2-3", "eu-central", "EU-central-1", "eu--1"].iter().all(|it| Region::parse(*it).is_err())
        );
    }

    #[test]
    fn words_have_one_text_each() {
        assert!(Mode::ALL.iter().all(|mode| Mode::parse(mode.as_str()) == Ok(*mode)));
        assert!(Action::ALL.iter().all(|action| Action::parse(action.as_str()) == Ok(*action)));
        assert!(
            Mode::parse("Local").unwrap_err().to_string().ends_with("one of `local`, `cloud-local`, `cloud-hosted`")
        );
    }

    #[test]
    fn own_ids_are_read_as_they_are_written() {
        let id = DeploymentId::new();

        assert_eq!(DeploymentId::parse(&id.to_string()), Ok(id));
        assert!(OperationId::parse(&id.to_string()).is_err());
        assert!(DeploymentId::parse(&id.to_string().to_uppercase()).is_err());
        assert!(InstanceId::parse(id.to_string()).is_ok());
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_accepted_reads_back(text in prop_oneof![
            ".{0,80}",
            "[a-zA-Z0-9./:@%_ -]{0,60}",
            "(https|ssh|file|HTTPS)://([a-z%]{0,6}@)?[a-z0-9.:\\[\\]-]{0,12}/[a-zA-Z0-9./%~_-]{0,30}",
            "[a-z-]{0,5}@[a-z.-]{0,10}:[a-z./~-]{0,12}",
        ]) {
            if let Some(url) = url(&text) {
                prop_assert_eq!(RepositoryUrl::parse(url.to_string()), Ok(url.clone()));
                prop_assert!(!url.as_str().starts_with('-') && !url.as_str().contains("/../"));
                prop_assert!(!url.host_and_port().starts_with('-'));
                prop_assert!(!url.name().is_empty() && !url.name().starts_with('-') && !url.name().ends_with('-'));
                let name = derived_deployment_name(&url, "target", &Namespace::parse("default").unwrap());
                prop_assert!(name.as_str().len() <= 63);
            }
            if let Ok(name) = DeploymentName::parse(text.as_str()) {
                prop_assert!(Namespace::parse(name.as_str()).is_ok() || name.as_str().starts_with("kube-"));
            }
            for accepted in [
                GitRef::parse(text.as_str()).map(String::from),
                InstanceId::parse(text.as_str()).map(String::from),
                KeyPairName::parse(text.as_str()).map(String::from),
                DockerfilePath::parse(text.as_str()).map(String::from),
                ImageRef::parse(text.as_str()).map(String::from),
                EnvironmentName::parse(text.as_str()).map(String::from),
            ].into_iter().flatten() {
                prop_assert_eq!(&accepted, &text);
                prop_assert!(!accepted.starts_with(['-', '/']));
                prop_assert!(!accepted.split('/').any(|part| part == ".."));
            }
            let _ = (OperationId::parse(&text), Mode::parse(&text), Region::parse(text.as_str()));
        }
    }
}

word!(
    /// A transport protocol, spelled as Kubernetes spells it.
    Protocol {
        /// What HTTP runs on.
        Tcp = "TCP",
        /// Datagrams.
        Udp = "UDP",
        /// Streams of messages.
        Sctp = "SCTP",
    }
);

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
