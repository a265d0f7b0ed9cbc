//! Follows a build that the Docker program does on another machine, by the lines that it prints with
//! `--progress=plain`: they become the reports that the API would send.

use std::collections::HashMap;

use bollard::moby::buildkit::v1::{StatusResponse, Vertex, VertexLog};

use super::build::BuildError;
use super::build_failure::BuildFailure;
use super::build_trace::Trace;
use crate::event::Lines;

/// A build as it is printed.
#[derive(Debug, Default)]
pub struct PrintedBuild {
    trace: Trace,
    /// Steps by the number that their lines begin with.
    steps: HashMap<String, Vertex>,
    is_classic: bool,
    reason: Option<String>,
}

impl PrintedBuild {
    /// Takes one line.
    pub fn take(&mut self, line: &str, lines: &Lines) {
        let line = line.trim_end_matches(['\r', '\n']);
        if let Some((number, text)) = line.strip_prefix('#').and_then(|rest| rest.split_once(' '))
            && number.bytes().all(|byte| byte.is_ascii_digit())
        {
            self.take_of_step(number, text, lines);
        } else if let Some(reason) = ["ERROR: ", "error: "].iter().find_map(|word| line.strip_prefix(word)) {
            self.reason = Some(reason.to_owned());
        } else if line.starts_with("failed to ") || line.starts_with("Error response from daemon") {
            self.reason = Some(line.to_owned());
        } else if line.starts_with("Step ") && line.contains(" : ") {
            self.is_classic = true;
            self.trace.take_classic(line, lines);
        } else if self.is_classic {
            self.trace.take_classic(&format!("{line}\n"), lines);
            if !line.trim().is_empty() {
                self.reason = Some(line.to_owned());
            }
        }
    }

    fn take_of_step(&mut self, number: &str, text: &str, lines: &Lines) {
        let first = text.split(' ').next().unwrap_or_default();
        let is_time = first.split_once('.').is_some_and(|(whole, part)| {
            [whole, part].iter().all(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
        });
        let mut report = StatusResponse::default();
        if is_time && self.steps.contains_key(number) {
            let said = text.get(first.len() + 1..).unwrap_or_default();
            report.logs.push(VertexLog {
                vertex: number.to_owned(),
                msg: format!("{said}\n").into(),
                ..Default::default()
            });
        } else if text.starts_with('[') || !self.steps.contains_key(number) {
            let vertex = self.steps.entry(number.to_owned()).or_insert_with(|| Vertex {
                digest: number.to_owned(),
                name: text.to_owned(),
                started: Some(Default::default()),
                ..Default::default()
            });
            report.vertexes.push(vertex.clone());
        } else if let Some(vertex) = self.steps.get_mut(number) {
            match first {
                "CACHED" => (vertex.cached, vertex.completed) = (true, Some(Default::default())),
                "DONE" | "CANCELED" => vertex.completed = Some(Default::default()),
                "ERROR:" => {
                    vertex.completed = Some(Default::default());
                    text.get(first.len() + 1..).unwrap_or_default().clone_into(&mut vertex.error);
                }
                _ => return,
            }
            report.vertexes.push(vertex.clone());
        }
        self.trace.take(&report, lines);
    }

    /// What is going on, for a person who has been waiting.
    #[must_use]
    pub fn now(&self) -> Option<String> {
        self.trace.now()
    }

    /// Why there is no image. `said` is what the program printed last, should it have told no reason.
    #[must_use]
    pub fn failure(&self, said: &str, dockerfile: &str) -> BuildError {
        let reason = self.reason.as_deref().unwrap_or(said);
        match BuildFailure::read(reason, &self.trace, dockerfile) {
            Some(failure) => BuildError::Failed(Box::new(failure)),
            None => BuildError::Transient { reason: reason.to_owned() },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use proptest::prelude::*;

    use super::super::build_failure::BuildFault;
    use super::*;
    use crate::event::Line;

    fn failure(printed: &str, dockerfile: &str) -> BuildFailure {
        let mut build = PrintedBuild::default();
        for line in printed.lines() {
            build.take(line, &Lines::none());
        }
        let error = build.failure("", dockerfile);
        let BuildError::Failed(failure) = error else { panic!("{error:?}") };
        *failure
    }

    #[test]
    fn the_step_that_failed_is_known_with_its_line_and_what_it_printed() {
        let printed = "#1 [internal] load remote build context\n#1 DONE 0.0s\n\n#5 [2/3] RUN make\n#5 0.214 no rule\n\
            #5 0.300 make: stop\n#5 ERROR: process \"/bin/sh -c make\" did not complete successfully: exit code: 2\n------\n\
            > [2/3] RUN make:\n0.214 no rule\n------\nERROR: failed to build: failed to solve: process \"/bin/sh -c make\" \
            did not complete successfully: exit code: 2\n";

        let failure = failure(printed, "FROM busybox\nRUN make\nRUN other\n");

        assert_eq!((failure.cause, failure.line, failure.exit_code), (BuildFault::Command, Some(2), Some(2)));
        assert_eq!(failure.last_lines, ["no rule", "make: stop"]);
    }

    #[test]
    fn a_file_that_is_missing_is_told_from_a_base_image() {
        let file = "#3 [1/1] COPY nope /a\n#3 ERROR: \"/nope\" not found: not found\nERROR: failed to build: failed to \
            solve: failed to compute cache key: \"/nope\" not found: not found\n";
        let base = "#2 [internal] load metadata for docker.io/library/nope:1\n#2 ERROR: pull access denied, repository \
            does not exist or may require authorization\nERROR: failed to solve: nope:1: pull access denied, repository \
            does not exist or may require authorization\n";

        assert_eq!(failure(file, "FROM scratch\nCOPY nope /a\n").cause, BuildFault::MissingFile);
        assert!(matches!(failure(base, "FROM nope:1\n").cause, BuildFault::MissingBase { .. }));
    }

    #[test]
    fn steps_are_told_as_they_start() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&told);
        let lines = Lines::new(move |line| into.lock().unwrap().push(line));
        let mut build = PrintedBuild::default();

        for line in ["#4 [1/2] FROM busybox", "#4 CACHED", "#5 [2/2] RUN echo hi", "#5 0.1 hi", "#5 DONE 0.2s"] {
            build.take(line, &lines);
        }

        let told = told.lock().unwrap();
        assert!(told.contains(&Line::Progress("step 2/2: RUN echo hi".to_owned())), "{told:?}");
        assert!(told.contains(&Line::Output("hi".to_owned())), "{told:?}");
    }

    #[test]
    fn the_classic_builder_is_followed_too() {
        let printed = "Sending build context to Docker daemon  2.048kB\nStep 1/2 : FROM busybox\n ---> 1\nStep 2/2 : RUN \
            false\n ---> Running in 2\nThe command '/bin/sh -c false' returned a non-zero code: 1\n";

        let failure = failure(printed, "FROM busybox\nRUN false\n");

        assert_eq!((failure.cause, failure.line), (BuildFault::Command, Some(2)));
    }

    proptest! {
        #[test]
        fn whatever_is_printed_is_read(lines in proptest::collection::vec("#?[0-9. ]{0,4}\\PC{0,40}", 0..20)) {
            let mut build = PrintedBuild::default();
            for line in &lines {
                build.take(line, &Lines::none());
            }
            let _ = build.failure("", "");
        }
    }
}
