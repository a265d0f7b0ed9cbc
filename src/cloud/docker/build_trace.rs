//! Follows a build as the daemon reports it: which step runs, for how long, and what it printed last.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use anstream::adapter::strip_str;
use bollard::moby::buildkit::v1::StatusResponse;

use crate::event::Lines;

/// How many of a step's last lines are kept for the error.
const TAIL: usize = 20;

/// The steps of one build so far.
#[derive(Debug, Default)]
pub(super) struct Trace {
    steps: HashMap<String, Step>,
    /// Keys of `steps` in the order of their start.
    started: Vec<String>,
    /// How many steps of the Dockerfile were taken from the cache.
    pub(super) cached: usize,
}

/// One step: an instruction of the Dockerfile, or work of the builder's own.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// The builder's name, such as `[2/4] RUN make` or `[internal] load build context`.
    pub(super) name: String,
    /// What went wrong in it; empty when nothing did.
    pub(super) error: String,
    /// Its last lines of output.
    pub(super) tail: VecDeque<String>,
    partial: Vec<u8>,
    since: Option<Instant>,
    is_done: bool,
    /// Bytes pulled and to pull, by layer.
    pulls: HashMap<String, (i64, i64)>,
}

impl Trace {
    /// Takes a report of `BuildKit`'s.
    pub(super) fn take(&mut self, status: &StatusResponse, lines: &Lines) {
        for vertex in &status.vertexes {
            let step = self.steps.entry(vertex.digest.clone()).or_default();
            step.name.clone_from(&vertex.name);
            if vertex.cached && !step.is_done && position(&vertex.name).is_some() {
                self.cached += 1;
            }
            let starts = vertex.started.is_some() && step.since.is_none();
            if starts {
                step.since = Some(Instant::now());
                self.started.push(vertex.digest.clone());
            }
            step.is_done = vertex.completed.is_some();
            if !vertex.error.is_empty() {
                step.error.clone_from(&vertex.error);
            }
            if starts && !step.is_done && !vertex.cached && !vertex.name.starts_with("copy /context") {
                lines.progress(step.describe());
            }
        }
        for status in &status.statuses {
            if status.total > 0
                && let Some(step) = self.steps.get_mut(&status.vertex)
            {
                step.pulls.insert(status.id.clone(), (status.current, status.total));
            }
        }
        for log in &status.logs {
            self.steps.entry(log.vertex.clone()).or_default().print(&log.msg, lines);
        }
    }

    /// Takes a piece of the classic builder's output.
    pub(super) fn take_classic(&mut self, text: &str, lines: &Lines) {
        if let Some((place, instruction)) = text.strip_prefix("Step ").and_then(|rest| rest.split_once(" : ")) {
            if let Some(before) = self.started.last().and_then(|key| self.steps.get_mut(key)) {
                before.is_done = true;
            }
            let name = format!("[{place}] {}", instruction.trim_end());
            let step = Step { name, since: Some(Instant::now()), ..Step::default() };
            lines.progress(step.describe());
            self.steps.insert(place.to_owned(), step);
            self.started.push(place.to_owned());
        } else if text.trim() == "---> Using cache" {
            self.cached += 1;
        } else if text.starts_with(" ---> ") || text.starts_with("Removing intermediate container ") {
            // The builder's own.
        } else if let Some(step) = self.started.last().and_then(|key| self.steps.get_mut(key)) {
            step.print(text.as_bytes(), lines);
        }
    }

    /// What is going on, for a person who has been waiting.
    pub(super) fn now(&self) -> Option<String> {
        let running = |key: &&String| self.steps.get(*key).is_some_and(|step| !step.is_done);
        self.started.iter().rev().find(running).and_then(|key| self.steps.get(key)).map(Step::describe)
    }

    /// The step that failed; for the classic builder, which does not say, the one that ran last.
    pub(super) fn failed(&self) -> Option<&Step> {
        let steps = || self.started.iter().rev().filter_map(|key| self.steps.get(key));
        let is_own = |step: &&Step| !step.error.is_empty() && !step.error.contains("context canceled");
        steps().find(is_own).or_else(|| steps().find(|step| !step.is_done))
    }
}

impl Step {
    /// The instruction of the Dockerfile without its place; `None` for the builder's own work.
    pub(super) fn instruction(&self) -> Option<&str> {
        position(&self.name).map(|(_, instruction)| instruction)
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
        if self.partial.len() > 8 * 1024 {
            let line = std::mem::take(&mut self.partial);
            self.keep(&line, lines);
        }
    }

    fn keep(&mut self, line: &[u8], lines: &Lines) {
        let line = plain(&String::from_utf8_lossy(line));
        if line.is_empty() {
            return;
        }
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line.clone());
        lines.output(line);
    }

    /// The last lines, with one that was not ended.
    pub(super) fn last_lines(&self) -> Vec<String> {
        let rest = plain(&String::from_utf8_lossy(&self.partial));
        self.tail.iter().cloned().chain(Some(rest).filter(|rest| !rest.is_empty())).collect()
    }
}

/// Splits `[builder 2/4] RUN make` into `builder 2/4` and `RUN make`.
pub(super) fn position(name: &str) -> Option<(&str, &str)> {
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
    if text.chars().count() <= 100 { text } else { text.chars().take(97).chain("...".chars()).collect() }
}

/// A line of a terminal as text: the last state of a line that was rewritten, without colours and control characters.
fn plain(line: &str) -> String {
    let line = line.trim_end();
    let line = line.rsplit('\r').next().unwrap_or(line);
    strip_str(line).flat_map(str::chars).filter(|c| *c == '\t' || !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use bollard::moby::buildkit::v1::{Vertex, VertexLog};
    use proptest::prelude::*;

    use super::*;
    use crate::event::Line;

    fn sink() -> (Lines, Arc<Mutex<Vec<Line>>>) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&seen);
        (Lines::new(move |line| into.lock().unwrap().push(line)), seen)
    }

    fn vertex(digest: &str, name: &str) -> Vertex {
        Vertex {
            digest: digest.to_owned(),
            name: name.to_owned(),
            started: Some(Default::default()),
            ..Default::default()
        }
    }

    #[test]
    fn a_step_that_starts_is_told_and_a_cached_one_is_counted() {
        let (lines, seen) = sink();
        let mut trace = Trace::default();
        let cached = Vertex { cached: true, completed: Some(Default::default()), ..vertex("a", "[2/3] COPY a b") };

        trace.take(
            &StatusResponse { vertexes: vec![cached, vertex("b", "[3/3] RUN  make   all")], ..Default::default() },
            &lines,
        );

        assert_eq!(*seen.lock().unwrap(), [Line::Progress("step 3/3: RUN make all".to_owned())]);
        assert_eq!(trace.cached, 1);
        assert_eq!(trace.now().as_deref(), Some("step 3/3: RUN make all"));
    }

    #[test]
    fn the_failed_step_knows_its_instruction_and_its_last_lines() {
        let (lines, seen) = sink();
        let mut trace = Trace::default();
        let log = |text: &str| VertexLog { vertex: "b".to_owned(), msg: text.into(), ..Default::default() };

        trace.take(
            &StatusResponse { vertexes: vec![vertex("b", "[build 3/3] RUN make")], ..Default::default() },
            &lines,
        );
        trace.take(
            &StatusResponse {
                logs: vec![log("\u{1b}[31mno ru"), log("le\u{1b}[0m\nmake: stop")],
                ..Default::default()
            },
            &lines,
        );
        let failed = Vertex {
            error: "exit code: 2".to_owned(),
            completed: Some(Default::default()),
            ..vertex("b", "[build 3/3] RUN make")
        };
        trace.take(&StatusResponse { vertexes: vec![failed], ..Default::default() }, &lines);

        let step = trace.failed().unwrap();
        assert_eq!(step.instruction(), Some("RUN make"));
        assert_eq!(step.last_lines(), ["no rule", "make: stop"]);
        assert_eq!(seen.lock().unwrap()[1], Line::Output("no rule".to_owned()));
    }

    #[test]
    fn the_classic_builder_is_followed_too() {
        let (lines, seen) = sink();
        let mut trace = Trace::default();

        for text in [
            "Step 1/2 : FROM busybox",
            "\n",
            " ---> 4779c5e2e968\n",
            "Step 2/2 : RUN false",
            "\n",
            " ---> Running in 1\n",
        ] {
            trace.take_classic(text, &lines);
        }

        assert_eq!(seen.lock().unwrap()[0], Line::Progress("step 1/2: FROM busybox".to_owned()));
        assert_eq!(trace.failed().unwrap().instruction(), Some("RUN false"));
    }

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
