//! One stage of a Dockerfile, with the variables that are known in it.

use std::collections::BTreeMap;

use super::expand::expand;
use crate::id::ExposedPort;

/// One stage while it is read.
#[derive(Debug, Clone, Default)]
pub(super) struct Stage {
    pub(super) name: Option<String>,
    /// The image that the chain of stages starts from; `None` when a variable hides it.
    pub(super) base: Option<String>,
    pub(super) from_line: usize,
    pub(super) user: Option<(usize, String)>,
    pub(super) has_healthcheck: bool,
    pub(super) environment: BTreeMap<String, Option<String>>,
    pub(super) arguments: BTreeMap<String, Option<String>>,
    pub(super) ports: Vec<ExposedPort>,
}

impl Stage {
    fn value(&self, name: &str) -> Option<String> {
        self.environment.get(name).or_else(|| self.arguments.get(name)).cloned().flatten()
    }

    /// The text with the stage's variables put in; `None` when one of them is not known.
    pub(super) fn expand(&self, text: &str, escape: char) -> Option<String> {
        expand(text, escape, &|name| self.value(name))
    }
}
