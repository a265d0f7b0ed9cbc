//! One stage of a Dockerfile, with the variables that are known in it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::expand::expand;
use crate::id::{ExposedPort, StageName};

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
    /// Those of them that have no value; one whose value is not known has one.
    pub(super) unset: BTreeSet<String>,
    pub(super) ports: Vec<ExposedPort>,
    pub(super) inputs: StageInputs,
}

/// What a stage takes from elsewhere; not that which it stands on.
#[derive(Debug, Clone, Default)]
pub(super) struct StageInputs {
    /// The stage that it stands on, and those that it copies from or mounts, by their place in the file.
    pub(super) stages: Vec<usize>,
    /// What it takes from the context, as far as the names are known.
    pub(super) sources: Vec<ContextSource>,
    /// Secrets that its RUN lines mount.
    pub(super) secrets: Vec<SecretMount>,
    /// ARGs without a value that it uses.
    pub(super) unset_args: Vec<UnsetArg>,
}

/// A file or directory that COPY or ADD takes from the context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ContextSource {
    pub(super) line: usize,
    /// `COPY` or `ADD`.
    pub(super) keyword: &'static str,
    pub(super) path: String,
}

/// A secret that a RUN line mounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretMount {
    /// The line of the RUN.
    pub line: usize,
    /// Its id.
    pub name: String,
    /// Without it the RUN fails before it begins.
    pub required: bool,
}

/// An ARG that has no value, where it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UnsetArg {
    /// The line that uses it.
    pub(super) line: usize,
    pub(super) name: String,
}

impl Stage {
    fn value(&self, name: &str) -> Option<String> {
        self.environment.get(name).or_else(|| self.arguments.get(name)).cloned().flatten()
    }

    /// The text with the stage's variables put in; `None` when one of them is not known.
    pub(super) fn expand(&self, text: &str, escape: char) -> Option<String> {
        expand(text, escape, &|name| self.value(name))
    }

    /// ARGs of the stage that have no value and are used in a text without a default.
    pub(super) fn unset_in(&self, text: &str) -> Vec<String> {
        let is_unset = |name: &str| self.unset.contains(name) && !self.environment.contains_key(name);
        let mut names: Vec<String> = variables(text).filter(|name| is_unset(name)).map(str::to_owned).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// Names of the variables that a shell's text uses without a default (`${NAME:-x}` has one).
fn variables(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('$').filter_map(|(at, _)| {
        let rest = &text[at + 1..];
        let (rest, is_braced) = rest.strip_prefix('{').map_or((rest, false), |rest| (rest, true));
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        let has_default = is_braced && !behind.starts_with(['}', '#', '%', '/']);
        let is_escaped = text[..at].ends_with('\\');
        (!name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && !has_default && !is_escaped)
            .then_some(name)
    })
}

/// The place of the stage that a name or a number means, among those that are there.
pub(super) fn find(stages: &[Stage], wanted: &str) -> Option<usize> {
    let by_name = |stage: &Stage| stage.name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(wanted));
    let by_number = || wanted.parse().ok().filter(|number| *number < stages.len());
    stages.iter().rposition(by_name).or_else(by_number)
}

/// The places of the stages that a build of `target` runs, in the order of the file.
pub(super) fn needed(stages: &[Stage], target: usize) -> Vec<usize> {
    let mut is_needed = vec![false; stages.len()];
    let mut open = vec![target];
    while let Some(next) = open.pop() {
        if !std::mem::replace(&mut is_needed[next], true) {
            open.extend(stages[next].inputs.stages.iter().filter(|stage| **stage < next));
        }
    }
    (0..stages.len()).filter(|stage| is_needed[*stage]).collect()
}

/// How the stages are told to a person: by name, else by number.
pub(super) fn names(stages: &[Stage]) -> Vec<String> {
    stages.iter().enumerate().map(|(number, stage)| stage.name.clone().unwrap_or_else(|| number.to_string())).collect()
}

/// The stage that becomes the image: the one that is asked for, else the last one.
pub(super) fn target(stages: &[Stage], asked: Option<&StageName>) -> Option<usize> {
    asked.map_or_else(|| stages.len().checked_sub(1), |asked| find(stages, asked.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(name: &str, stages: &[usize]) -> Stage {
        let inputs = StageInputs { stages: stages.to_vec(), ..StageInputs::default() };
        Stage { name: (!name.is_empty()).then(|| name.to_owned()), inputs, ..Stage::default() }
    }

    #[test]
    fn a_stage_is_found_by_its_name_or_its_number() {
        let stages = [stage("build", &[]), stage("", &[]), stage("Web", &[])];
        let asked = |text: &str| target(&stages, Some(&StageName::parse(text).unwrap()));

        assert_eq!(
            [asked("web"), asked("BUILD"), asked("1"), asked("3"), asked("x")],
            [Some(2), Some(0), Some(1), None, None]
        );
        assert_eq!(target(&stages, None), Some(2));
        assert_eq!(target(&[], None), None);
        assert_eq!(names(&stages), ["build", "1", "Web"]);
    }

    #[test]
    fn a_build_needs_the_stages_that_its_target_leads_to() {
        let stages = [stage("a", &[]), stage("b", &[0]), stage("c", &[]), stage("d", &[1])];

        assert_eq!(needed(&stages, 3), [0, 1, 3]);
        assert_eq!(needed(&stages, 2), [2]);
    }

    #[test]
    fn a_variable_with_a_default_or_behind_an_escape_is_not_missed() {
        let found: Vec<&str> = variables("a $A ${B} ${C:-1} ${D-2} \\$E $1 ${F%x} $(G) ${H:?} $").collect();

        assert_eq!(found, ["A", "B", "F"]);
    }
}
