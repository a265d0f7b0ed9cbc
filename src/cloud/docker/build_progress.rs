//! One build as far as it got: its steps, which of them runs and for how long, and what each printed last.
//!
//! [`BuildReader`](super::build_reader::BuildReader) fills it, whatever builds and however that reports.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use crate::cloud::message::{MAX_LINE_CHARS, cut};
use crate::event::Lines;
use anstream::adapter::strip_str;

/// How many of a step's last lines are kept for the error.
const MAX_LAST_LINES: usize = 20;
/// Bytes without an end of line that are kept before they count as a line.
const MAX_PARTIAL_BYTES: usize = 8 * 1024;

/// The steps of one build so far. What happens is told as it comes.
#[derive(Debug)]
pub(super) struct BuildProgress {
    steps: HashMap<String, BuildStep>,
    /// Keys of `steps` in the order of their start.
    started: Vec<String>,
    /// How many steps of the Dockerfile were taken from the cache.
    pub(super) cached_steps: usize,
    lines: Lines,
}

/// One step: an instruction of the Dockerfile, or work of the builder's own.
#[derive(Debug, Default)]
pub(super) struct BuildStep {
    /// The builder's name, such as `[2/4] RUN make` or `[internal] load build context`.
    pub(super) name: String,
    /// What went wrong in it; empty when nothing did.
    pub(super) error: String,
    state: StepState,
    last_lines: VecDeque<String>,
    partial: Vec<u8>,
    since: Option<Instant>,
    /// Bytes pulled and to pull, by layer.
    pulls: HashMap<String, (i64, i64)>,
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum StepState {
    /// Known, and not begun.
    #[default]
    Waiting,
    /// Under way.
    Running,
    /// Taken from the cache.
    Cached,
    /// Ended, well or not.
    Done,
}

impl BuildProgress {
    /// A build of which nothing is known; its steps and their output go to `lines`.
    pub(super) fn new(lines: Lines) -> Self {
        Self { steps: HashMap::new(), started: Vec::new(), cached_steps: 0, lines }
    }

    /// Whether the builder has named this step.
    pub(super) fn knows(&self, key: &str) -> bool {
        self.steps.contains_key(key)
    }

    /// A step has this name and stands here now.
    pub(super) fn step(&mut self, key: &str, name: &str, state: StepState) {
        name.clone_into(&mut self.steps.entry(key.to_owned()).or_default().name);
        self.set_state(key, state);
    }

    /// A step stands here now.
    pub(super) fn set_state(&mut self, key: &str, state: StepState) {
        let Some(step) = self.steps.get_mut(key) else { return };
        let was_done = step.is_done();
        step.state = state;
        if state == StepState::Cached && !was_done && step.instruction().is_some() {
            self.cached_steps += 1;
        }
        if state != StepState::Waiting && step.since.is_none() {
            step.since = Some(Instant::now());
            self.started.push(key.to_owned());
            if state == StepState::Running && !step.name.starts_with("copy /context") {
                self.lines.quoted_progress(step.describe());
            }
        }
    }

    /// A step failed.
    pub(super) fn fail(&mut self, key: &str, error: &str) {
        self.set_state(key, StepState::Done);
        if let Some(step) = self.steps.get_mut(key) {
            error.clone_into(&mut step.error);
        }
    }

    /// A step has pulled so many bytes of a layer.
    pub(super) fn pulled(&mut self, key: &str, layer: &str, current: i64, total: i64) {
        if let Some(step) = self.steps.get_mut(key) {
            step.pulls.insert(layer.to_owned(), (current, total));
        }
    }

    /// A step printed something, which may begin and end within a line.
    pub(super) fn print(&mut self, key: &str, bytes: &[u8]) {
        self.steps.entry(key.to_owned()).or_default().print(bytes, &self.lines);
    }

    /// What is going on, for a person who has been waiting.
    pub(super) fn current_step(&self) -> Option<String> {
        self.latest(|step| !step.is_done()).map(BuildStep::describe)
    }

    /// The step that failed; for the classic builder, which does not say, the one that ran last.
    pub(super) fn failed(&self) -> Option<&BuildStep> {
        // A step that runs beside the one that failed is stopped, and ends with an error, too.
        self.latest(|step| !step.error.is_empty() && !step.error.contains("context canceled"))
            .or_else(|| self.latest(|step| !step.is_done()))
    }

    fn latest(&self, is_wanted: impl Fn(&BuildStep) -> bool) -> Option<&BuildStep> {
        self.started.iter().rev().filter_map(|key| self.steps.get(key)).find(|step| is_wanted(step))
    }
}

impl BuildStep {
    /// The instruction of the Dockerfile without its place; `None` for the builder's own work.
    pub(super) fn instruction(&self) -> Option<&str> {
        position(&self.name).map(|(_, instruction)| instruction)
    }

    /// The last lines, with one that was not ended.
    pub(super) fn last_lines(&self) -> Vec<String> {
        let rest = plain(&String::from_utf8_lossy(&self.partial));
        let lines = self.last_lines.iter().chain(Some(&rest).filter(|rest| !rest.is_empty()));
        lines.map(|line| cut(line, MAX_LINE_CHARS)).collect()
    }

    fn is_done(&self) -> bool {
        matches!(self.state, StepState::Cached | StepState::Done)
    }

    fn describe(&self) -> String {
        let what = match position(&self.name) {
            Some((place, instruction)) => format!("step {place}: {}", shortened(instruction)),
            None => match base_image(&self.name) {
                Some(image) => format!("looking up `{image}`"),
                None if self.name.starts_with("exporting") => "writing the image".to_owned(),
                None if self.name.contains("/context") || self.name.contains("build context") => {
                    "unpacking the build context".to_owned()
                }
                None => shortened(self.name.trim_start_matches("[internal] ")),
            },
        };
        let (pulled, whole) = self.pulls.values().fold((0, 0), |sum, pull| (sum.0 + pull.0, sum.1 + pull.1));
        let pulled = if whole > 1_000_000 {
            format!(", {} of {} MB", pulled / 1_000_000, whole / 1_000_000)
        } else {
            String::new()
        };
        match self.since.map(|since| since.elapsed().as_secs()) {
            Some(seconds) if seconds > 0 => format!("{what} ({seconds} s{pulled})"),
            _ => what,
        }
    }

    fn print(&mut self, bytes: &[u8], lines: &Lines) {
        self.partial.extend_from_slice(bytes);
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            self.keep(&line, lines);
        }
        if self.partial.len() > MAX_PARTIAL_BYTES {
            let line = std::mem::take(&mut self.partial);
            self.keep(&line, lines);
        }
    }

    fn keep(&mut self, line: &[u8], lines: &Lines) {
        let line = plain(&String::from_utf8_lossy(line));
        if line.is_empty() {
            return;
        }
        if self.last_lines.len() == MAX_LAST_LINES {
            self.last_lines.pop_front();
        }
        self.last_lines.push_back(line.clone());
        lines.output(line);
    }
}

/// Splits `[builder 2/4] RUN make` into `builder 2/4` and `RUN make`.
fn position(name: &str) -> Option<(&str, &str)> {
    let (place, instruction) = name.strip_prefix('[')?.split_once("] ")?;
    let count = place.rsplit(' ').next()?;
    let (step, of) = count.split_once('/')?;
    (step.parse::<u32>().is_ok() && of.parse::<u32>().is_ok()).then_some((place, instruction))
}

/// The image that a step looks up or pulls before the first instruction runs, or for a `COPY --from`.
pub(super) fn base_image(name: &str) -> Option<&str> {
    ["[internal] load metadata for ", FRONTEND, "FROM "].iter().find_map(|words| name.strip_prefix(words)).map(bare)
}

/// The image that reads the Dockerfile, where its first line names one.
pub(super) fn frontend(name: &str) -> Option<&str> {
    name.strip_prefix(FRONTEND).map(bare)
}

const FRONTEND: &str = "resolve image config for ";

fn bare(image: &str) -> &str {
    image.strip_prefix("docker-image://").unwrap_or(image)
}

/// Cuts an instruction to what fits a line.
pub(super) fn shortened(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    cut(&text, 100)
}

/// A line of a terminal as text: the last state of a line that was rewritten, without colours and control characters.
fn plain(line: &str) -> String {
    let line = line.trim_end();
    let line = line.rsplit('\r').next().unwrap_or(line);
    strip_str(line).flat_map(str::chars).filter(|c| *c == '\t' || !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_name_and_no_line_makes_it_panic(name in ".*", line in ".*") {
            let _ = position(&name);
            let _ = base_image(&name);
            let has_escape = plain(&line).contains('\u{1b}');
            prop_assert!(!has_escape);
        }
    }
}
