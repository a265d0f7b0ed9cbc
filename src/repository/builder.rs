//! Builders that others keep, for what has neither a Dockerfile nor a template here.

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

/// A program that makes an image of sources without a Dockerfile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Builder {
    /// Cloud Native Buildpacks, by `pack`.
    Buildpacks,
    /// Railpack.
    Railpack,
}

impl Builder {
    /// Its name, as people say it.
    #[must_use]
    pub fn described(self) -> &'static str {
        match self {
            Self::Buildpacks => "Cloud Native Buildpacks",
            Self::Railpack => "Railpack",
        }
    }
}

/// Who may build what has no Dockerfile: the setting `BUILDER`, and what is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuilderChoice {
    /// Whether the templates come first.
    pub templates: bool,
    /// The builder that is there, when one may be used.
    pub builder: Option<Builder>,
    /// Whether one would be used if it were there.
    pub allowed: bool,
}

impl BuilderChoice {
    /// Templates alone.
    pub const TEMPLATES: Self = Self { templates: true, builder: None, allowed: false };

    /// Why a language is not built, and the ways out.
    pub(super) fn refusal(self, language: &str, file: &str) -> String {
        let way = if self.allowed {
            "install `pack` (Cloud Native Buildpacks) or `railpack` where this server runs"
        } else {
            "set `BUILDER=auto` and install `pack` (Cloud Native Buildpacks) or `railpack` where this server runs"
        };
        format!(
            "`{file}` says that it is {language}, which is built by a builder of others: {way}, or add a `Dockerfile`"
        )
    }
}

/// A build by such a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignBuild {
    /// The program.
    pub builder: Builder,
    /// What the clone was taken for.
    pub language: String,
    /// The file that tells, when one did.
    pub sign: Option<String>,
}
