//! Builders that others keep, for what has neither a Dockerfile nor a template here.

use serde::{Deserialize, Serialize};

/// A program that makes an image of sources without a Dockerfile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

    /// Its program, as a refusal names it.
    fn program(self) -> &'static str {
        match self {
            Self::Buildpacks => "`pack` (Cloud Native Buildpacks)",
            Self::Railpack => "`railpack`",
        }
    }
}

/// Who may build what has no Dockerfile: the setting `BUILDER`, and what is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuilderChoice {
    /// Whether the templates come first.
    pub templates: bool,
    /// The builders that are there and may be used, the first before the others.
    pub installed: &'static [Builder],
    /// Whether one would be used if it were there.
    pub allowed: bool,
}

impl BuilderChoice {
    /// Templates alone.
    pub const TEMPLATES: Self = Self { templates: true, installed: &[], allowed: false };

    /// The first of these builders that is there.
    pub(super) fn of(self, builders: &[Builder]) -> Option<Builder> {
        self.installed.iter().copied().find(|builder| builders.contains(builder))
    }

    /// Why a language is not built, and the ways out.
    pub(super) fn refusal(self, language: &str, file: &str, builders: &[Builder]) -> String {
        let names: Vec<&str> = builders.iter().map(|builder| builder.program()).collect();
        let install = format!("install {} where this server runs, or add a `Dockerfile`", names.join(" or "));
        let way = match (builders.is_empty(), self.allowed) {
            (true, _) => {
                "for which neither this server nor a builder that it calls has a way: add a `Dockerfile`".to_owned()
            }
            (false, true) => format!("which is left to a builder of others: {install}"),
            (false, false) => format!("which is left to a builder of others: set `BUILDER=auto` and {install}"),
        };
        format!("`{file}` says that it is {language}, {way}")
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
