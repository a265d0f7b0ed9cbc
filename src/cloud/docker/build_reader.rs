//! Reads what a builder reports into the one model of a build, `BuildProgress`: what the daemon's API sends as
//! messages, and what the Docker program prints where the build runs on another machine.
//!
//! The program is read as text: `--progress=rawjson` came with buildx 0.13, and Debian's Docker 20.10 has no buildx, so
//! the text would have to be read beside it. The classic builder sends over the API what it also prints.

use bollard::moby::buildkit::v1::{StatusResponse, Vertex};
use bollard::models::{BuildInfo, BuildInfoAux};

use super::build_failure::{BuildError, BuildFailure};
use super::build_progress::{BuildProgress, StepState};
use crate::event::Lines;

/// Follows one build by what its builder reports.
#[derive(Debug)]
pub struct BuildReader {
    progress: BuildProgress,
    /// The classic builder's step that runs; it reports no end of a step.
    classic_step: Option<String>,
    /// Why the build failed, in the builder's words.
    reason: Option<String>,
    /// `sha256:` and the digest of the image's configuration, where the API told it.
    pub(super) image_id: Option<String>,
}

impl BuildReader {
    /// Follows a build that begins; its steps and their output go to `lines`.
    #[must_use]
    pub fn new(lines: Lines) -> Self {
        Self { progress: BuildProgress::new(lines), classic_step: None, reason: None, image_id: None }
    }

    /// Takes a message of the API.
    pub(super) fn take_message(&mut self, message: BuildInfo) {
        match message.aux {
            Some(BuildInfoAux::BuildKit(status)) => self.take_status(&status),
            Some(BuildInfoAux::Default(image)) => self.image_id = image.id.or(self.image_id.take()),
            None => {}
        }
        if let Some(text) = message.stream {
            self.take_classic(&text);
        }
    }

    /// Takes a report of `BuildKit`'s.
    pub(super) fn take_status(&mut self, status: &StatusResponse) {
        for vertex in &status.vertexes {
            self.progress.step(&vertex.digest, &vertex.name, state_of(vertex));
            if !vertex.error.is_empty() {
                self.progress.fail(&vertex.digest, &vertex.error);
            }
        }
        for pull in status.statuses.iter().filter(|status| status.total > 0) {
            self.progress.pulled(&pull.vertex, &pull.id, pull.current, pull.total);
        }
        for log in &status.logs {
            self.progress.print(&log.vertex, &log.msg);
        }
    }

    /// Takes a line of the program: `BuildKit`'s with `--progress=plain`, or the classic builder's.
    pub fn take_line(&mut self, line: &str) {
        let line = line.trim_end_matches(['\r', '\n']);
        let reason = ["ERROR: ", "error: "].iter().find_map(|word| line.strip_prefix(word));
        if self.classic_step.is_some() || is_classic_step(line) {
            self.take_classic(&format!("{line}\n"));
            if !line.trim().is_empty() && !is_classic_step(line) {
                self.reason = Some(reason.unwrap_or(line).to_owned());
            }
        } else if let Some((number, text)) = line.strip_prefix('#').and_then(|rest| rest.split_once(' '))
            && is_number(number)
        {
            self.take_numbered(number, text);
        } else if let Some(reason) = reason {
            self.reason = Some(reason.to_owned());
        } else if line.starts_with("failed to ") || line.starts_with("Error response from daemon") {
            self.reason = Some(line.to_owned());
        }
    }

    /// Takes what stands behind a step's number: its name, then what it printed (behind a time) or how it ended.
    fn take_numbered(&mut self, number: &str, text: &str) {
        let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
        let is_time = first.split_once('.').is_some_and(|(whole, part)| is_number(whole) && is_number(part));
        if !self.progress.knows(number) {
            self.progress.step(number, text, StepState::Running);
        } else if is_time {
            self.progress.print(number, format!("{rest}\n").as_bytes());
        } else {
            match first {
                "CACHED" => self.progress.set_state(number, StepState::Cached),
                "DONE" | "CANCELED" => self.progress.set_state(number, StepState::Done),
                "ERROR:" => self.progress.fail(number, rest),
                _ => {}
            }
        }
    }

    /// Takes a piece of the classic builder's output.
    fn take_classic(&mut self, text: &str) {
        if let Some((place, instruction)) = classic_step(text) {
            if let Some(before) = self.classic_step.replace(place.to_owned()) {
                self.progress.set_state(&before, StepState::Done);
            }
            self.progress.step(place, &format!("[{place}] {}", instruction.trim_end()), StepState::Running);
        } else if let Some(step) = &self.classic_step {
            if text.trim() == "---> Using cache" {
                self.progress.set_state(step, StepState::Cached);
            } else if !text.starts_with(" ---> ") && !text.starts_with("Removing intermediate container ") {
                self.progress.print(step, text.as_bytes());
            }
        }
    }

    /// Takes the error with which the API ended.
    pub(super) fn take_error(&mut self, reason: String) {
        self.reason = Some(reason);
    }

    /// What is going on, for a person who has been waiting.
    #[must_use]
    pub fn current_step(&self) -> Option<String> {
        self.progress.current_step()
    }

    /// How many steps of the Dockerfile were taken from the cache.
    pub(super) fn cached_steps(&self) -> usize {
        self.progress.cached_steps
    }

    /// Why there is no image. `last_line` is what the program printed last, should it have told no reason.
    #[must_use]
    pub fn failure(&self, last_line: &str, dockerfile: &str) -> BuildError {
        let reason = self.reason.as_deref().unwrap_or(last_line);
        match BuildFailure::read(reason, &self.progress, dockerfile) {
            Some(failure) => BuildError::Failed(Box::new(failure)),
            None => BuildError::Transient { reason: reason.to_owned() },
        }
    }
}

fn state_of(vertex: &Vertex) -> StepState {
    match (vertex.cached, &vertex.completed, &vertex.started) {
        (true, ..) => StepState::Cached,
        (false, Some(_), _) => StepState::Done,
        (false, None, Some(_)) => StepState::Running,
        (false, None, None) => StepState::Waiting,
    }
}

/// Splits `Step 2/4 : RUN make` into `2/4` and `RUN make`.
fn classic_step(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix("Step ").and_then(|rest| rest.split_once(" : "))
}

fn is_classic_step(text: &str) -> bool {
    classic_step(text).is_some()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use bollard::moby::buildkit::v1::VertexLog;
    use proptest::prelude::*;

    use super::super::build_failure_kind::BuildFailureKind;
    use super::*;
    use crate::event::Line;

    fn sink() -> (BuildReader, Arc<Mutex<Vec<Line>>>) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&seen);
        (BuildReader::new(Lines::new(move |line| into.lock().unwrap().push(line))), seen)
    }

    fn vertex(digest: &str, name: &str) -> Vertex {
        Vertex {
            digest: digest.to_owned(),
            name: name.to_owned(),
            started: Some(Default::default()),
            ..Default::default()
        }
    }

    fn reported(vertexes: Vec<Vertex>) -> StatusResponse {
        StatusResponse { vertexes, ..Default::default() }
    }

    fn failure(printed: &str, dockerfile: &str) -> BuildFailure {
        let mut build = BuildReader::new(Lines::none());
        for line in printed.lines() {
            build.take_line(line);
        }
        let error = build.failure("", dockerfile);
        let BuildError::Failed(failure) = error else { panic!("{error:?}") };
        *failure
    }

    #[test]
    fn a_step_that_starts_is_told_and_a_cached_one_is_counted() {
        let (mut build, seen) = sink();
        let cached = Vertex { cached: true, completed: Some(Default::default()), ..vertex("a", "[2/3] COPY a b") };

        build.take_status(&reported(vec![cached, vertex("b", "[3/3] RUN  make   all")]));

        assert_eq!(*seen.lock().unwrap(), [Line::QuotedProgress("step 3/3: RUN make all".to_owned())]);
        assert_eq!(build.cached_steps(), 1);
        assert_eq!(build.current_step().as_deref(), Some("step 3/3: RUN make all"));
    }

    #[test]
    fn the_failed_step_knows_its_instruction_and_its_last_lines() {
        let (mut build, seen) = sink();
        let log = |text: &str| VertexLog { vertex: "b".to_owned(), msg: text.into(), ..Default::default() };

        build.take_status(&reported(vec![vertex("b", "[build 3/3] RUN make")]));
        build.take_status(&StatusResponse {
            logs: vec![log("\u{1b}[31mno ru"), log("le\u{1b}[0m\nmake: stop")],
            ..Default::default()
        });
        let failed = Vertex {
            error: "exit code: 2".to_owned(),
            completed: Some(Default::default()),
            ..vertex("b", "[build 3/3] RUN make")
        };
        build.take_status(&reported(vec![failed]));

        let step = build.progress.failed().unwrap();
        assert_eq!(step.instruction(), Some("RUN make"));
        assert_eq!(step.last_lines(), ["no rule", "make: stop"]);
        assert_eq!(seen.lock().unwrap()[1], Line::Output("no rule".to_owned()));
    }

    #[test]
    fn the_classic_builder_is_followed_over_the_api_too() {
        let (mut build, seen) = sink();

        for text in [
            "Step 1/2 : FROM busybox",
            "\n",
            " ---> 4779c5e2e968\n",
            "Step 2/2 : RUN false",
            "\n",
            " ---> Running in 1\n",
        ] {
            build.take_message(BuildInfo { stream: Some(text.to_owned()), ..Default::default() });
        }

        assert_eq!(seen.lock().unwrap()[0], Line::QuotedProgress("step 1/2: FROM busybox".to_owned()));
        assert_eq!(build.progress.failed().unwrap().instruction(), Some("RUN false"));
    }

    #[test]
    fn the_step_that_failed_is_known_with_its_line_and_what_it_printed() {
        let printed = "#1 [internal] load remote build context\n#1 DONE 0.0s\n\n#5 [2/3] RUN make\n#5 0.214 no rule\n\
            #5 0.300 make: stop\n#5 ERROR: process \"/bin/sh -c make\" did not complete successfully: exit code: 2\n------\n\
            > [2/3] RUN make:\n0.214 no rule\n------\nERROR: failed to build: failed to solve: process \"/bin/sh -c make\" \
            did not complete successfully: exit code: 2\n";

        let failure = failure(printed, "FROM busybox\nRUN make\nRUN other\n");

        assert_eq!((failure.kind, failure.line, failure.exit_code), (BuildFailureKind::Command, Some(2), Some(2)));
        assert_eq!(failure.last_lines, ["no rule", "make: stop"]);
    }

    #[test]
    fn a_file_that_is_missing_is_told_from_a_base_image() {
        let file = "#3 [1/1] COPY nope /a\n#3 ERROR: \"/nope\" not found: not found\nERROR: failed to build: failed to \
            solve: failed to compute cache key: \"/nope\" not found: not found\n";
        let base = "#2 [internal] load metadata for docker.io/library/nope:1\n#2 ERROR: pull access denied, repository \
            does not exist or may require authorization\nERROR: failed to solve: nope:1: pull access denied, repository \
            does not exist or may require authorization\n";

        assert_eq!(failure(file, "FROM scratch\nCOPY nope /a\n").kind, BuildFailureKind::MissingFile);
        assert!(matches!(failure(base, "FROM nope:1\n").kind, BuildFailureKind::MissingBase { .. }));
    }

    #[test]
    fn printed_steps_are_told_as_they_start() {
        let (mut build, told) = sink();

        for line in ["#4 [1/2] FROM busybox", "#4 CACHED", "#5 [2/2] RUN echo hi", "#5 0.1 hi", "#5 DONE 0.2s"] {
            build.take_line(line);
        }

        let told = told.lock().unwrap();
        assert!(told.contains(&Line::QuotedProgress("step 2/2: RUN echo hi".to_owned())), "{told:?}");
        assert!(told.contains(&Line::Output("hi".to_owned())), "{told:?}");
        assert_eq!(build.cached_steps(), 1);
    }

    #[test]
    fn the_classic_builder_is_followed_as_it_prints_too() {
        let printed = "Sending build context to Docker daemon  2.048kB\nStep 1/2 : FROM busybox\n ---> 1\nStep 2/2 : RUN \
            false\n ---> Running in 2\nThe command '/bin/sh -c false' returned a non-zero code: 1\n";

        let failure = failure(printed, "FROM busybox\nRUN false\n");

        assert_eq!((failure.kind, failure.line), (BuildFailureKind::Command, Some(2)));
    }

    #[test]
    fn what_a_step_of_the_classic_builder_prints_is_its_output_whatever_it_looks_like() {
        let printed = "Step 1/1 : RUN check\n ---> Running in 2\n#1 of 2\nERROR: no space\nThe command '/bin/sh -c check' \
            returned a non-zero code: 1\n";

        let failure = failure(printed, "RUN check\n");

        assert_eq!(failure.step.as_deref(), Some("RUN check"));
        assert_eq!(failure.last_lines[..2], ["#1 of 2", "ERROR: no space"]);
    }

    proptest! {
        #[test]
        fn whatever_is_printed_is_read(lines in proptest::collection::vec("#?[0-9. ]{0,4}\\PC{0,40}", 0..20)) {
            let mut build = BuildReader::new(Lines::none());
            for line in &lines {
                build.take_line(line);
            }
            let _ = build.failure("", "");
        }
    }
}
