//! How a build differs from that of its Dockerfile alone; part of the record, so that the next one is the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{BuildSecretName, EnvironmentName, Platform, StageName};

/// Characters of an argument's value that a sentence shows.
const MAX_SHOWN: usize = 60;

/// How a build differs from that of its Dockerfile alone, as the person said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildOptions {
    /// Values of the Dockerfile's ARG lines; they are no secrets.
    pub args: BTreeMap<EnvironmentName, String>,
    /// The stage that becomes the image; the last one without it.
    pub target: Option<StageName>,
    /// What the image is for; what Docker itself runs on without it.
    pub platform: Option<Platform>,
    /// Names of the secrets that came for its RUN lines. Their values are gone when the operation ends.
    pub secrets: BTreeSet<BuildSecretName>,
}

impl BuildOptions {
    /// What makes the image another one; nothing for a build of the Dockerfile alone. Secrets do not: as in Docker's own
    /// cache, another value is no other build.
    #[must_use]
    pub fn key(&self) -> Vec<String> {
        let args = self.args.iter().map(|(name, value)| format!("arg {name}={value}"));
        let target = self.target.iter().map(|target| format!("target {target}"));
        let platform = self.platform.iter().map(|platform| format!("platform {platform}"));
        args.chain(target).chain(platform).collect()
    }
}

impl fmt::Display for BuildOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = self.target.iter().map(|target| format!("stage `{target}`"));
        let platform = self.platform.iter().map(|platform| format!("for `{platform}`"));
        let args = self.args.iter().map(|(name, value)| format!("`{name}={}`", shown(value)));
        let secrets = self.secrets.iter().map(|name| format!("secret `{name}`"));
        let parts: Vec<String> = target.chain(platform).chain(args).chain(secrets).collect();
        f.write_str(&parts.join(", "))
    }
}

fn shown(value: &str) -> String {
    let plain: String = value.chars().take(MAX_SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if value.chars().count() > MAX_SHOWN { format!("{plain}...") } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> BuildOptions {
        BuildOptions {
            args: BTreeMap::from([(EnvironmentName::parse("VERSION").unwrap(), "1.2\n".to_owned())]),
            target: StageName::parse("web").ok(),
            platform: Platform::parse("linux/arm64").ok(),
            secrets: BTreeSet::from([BuildSecretName::parse("npm").unwrap()]),
        }
    }

    #[test]
    fn they_are_told_in_few_words() {
        assert_eq!(options().to_string(), "stage `web`, for `linux/arm64`, `VERSION=1.2 `, secret `npm`");
        assert_eq!(BuildOptions::default().to_string(), "");
    }

    #[test]
    fn the_key_tells_builds_apart_but_not_their_secrets() {
        let without_secret = BuildOptions { secrets: BTreeSet::new(), ..options() };
        let another = BuildOptions { target: None, ..options() };

        assert_eq!(options().key(), without_secret.key());
        assert_ne!(options().key(), another.key());
        assert_eq!(BuildOptions::default().key(), Vec::<String>::new());
    }
}
