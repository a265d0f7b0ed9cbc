//! Names of a build: the stage that is built, the platform that it is for, the secrets that it may mount.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::IdError;

text_id!(
    /// A stage of a Dockerfile: its name, or its number from 0.
    StageName,
    "a stage of the Dockerfile (its name of letters, digits, `.`, `_` and `-`, that starts with a letter, or its number from 0)",
    |text| {
        let is_number = text.len() <= 3 && text.chars().all(|c| c.is_ascii_digit());
        let is_name = text.len() <= 128
            && text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        !text.is_empty() && (is_number || is_name)
    }
);

text_id!(
    /// What an image is built for: `linux` and a processor architecture, as Docker spells them.
    Platform,
    "a platform such as `linux/amd64`, `linux/arm64` or `linux/arm/v7`",
    |text| {
        let fits = |part: &str| {
            (1..=16).contains(&part.len()) && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        };
        let parts: Vec<&str> = text.split('/').collect();
        (2..=3).contains(&parts.len())
            && parts[0] == "linux"
            && !matches!(parts[1], "x64" | "x86")
            && parts[1..].iter().all(|part| fits(part))
    }
);

impl Platform {
    /// The processor architecture, such as `amd64`.
    #[must_use]
    pub fn architecture(&self) -> &str {
        self.as_str().split('/').nth(1).unwrap_or_default()
    }
}

text_id!(
    /// Name of a secret of a build: the `id` of `RUN --mount=type=secret,id=<name>`.
    BuildSecretName,
    "the id of a secret mount: 1 to 128 letters, digits, `.`, `_` and `-`, that starts with a letter, digit or `_`",
    |text| {
        text.len() <= 128
            && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
            && !text.contains("..")
    }
);
