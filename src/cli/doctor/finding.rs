//! What a check finds, and who needs what it checks.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde::Serialize;

use crate::id::Mode;

/// How long one check may take.
pub(super) const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Who needs it.
    pub area: Area,
    /// What was looked at, in a word or two.
    pub name: &'static str,
    /// How it is.
    pub status: Status,
    /// What was found, in one line.
    pub found: String,
    /// What to do; empty when there is nothing to do.
    pub advice: String,
}

/// Who needs what is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, strum::Display)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Area {
    /// The server itself.
    Common,
    /// Mode `local`.
    Local,
    /// Mode `cloud-local`.
    CloudLocal,
    /// Mode `cloud-hosted`.
    CloudHosted,
    /// The chat model.
    #[strum(to_string = "chat model")]
    ChatModel,
}

impl Area {
    /// What a mode needs beside what all need.
    pub(super) fn of(mode: Mode) -> Self {
        match mode {
            Mode::Local => Self::Local,
            Mode::CloudLocal => Self::CloudLocal,
            Mode::CloudHosted => Self::CloudHosted,
        }
    }
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, strum::Display)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// It works without, or differently.
    Warn,
    /// What needs it does not work.
    Fail,
}

/// What a check says, before it is known where it belongs.
pub(super) struct Verdict {
    pub(super) status: Status,
    pub(super) found: String,
    pub(super) advice: String,
}

/// One check: who needs it, its name, and its work.
pub(super) type Check<'a> = (Area, &'static str, Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>);

impl Verdict {
    pub(super) fn ok(found: impl Into<String>) -> Self {
        Self { status: Status::Ok, found: found.into(), advice: String::new() }
    }

    pub(super) fn warn(found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { status: Status::Warn, found: found.into(), advice: advice.into() }
    }

    pub(super) fn fail(found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { status: Status::Fail, found: found.into(), advice: advice.into() }
    }

    pub(super) fn of(self, area: Area, name: &'static str) -> Finding {
        Finding { area, name, status: self.status, found: self.found, advice: self.advice }
    }
}
