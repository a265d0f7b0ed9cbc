//! Why a build gave no image: from the builder's words and the step that failed to the reason, the line of the Dockerfile
//! and what to do.

use std::io;
use std::time::Duration;

use super::build_cause::{self, BuildCause};
use super::build_failure_kind::{BuildFailureKind, exit_code};
use super::build_progress::{BuildProgress, BuildStep, shortened};
use super::build_words::{base_hint, has_word, list, missing_file_hint, missing_path, named, uses_variable};
use super::dockerfile_line::{copy_from, instructions, line_of, short, stages, unset_arguments};
use super::{DockerError, is_passing};
use crate::cloud::message::{MAX_QUOTE_CHARS, bare_cause, cut};

/// Says why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The Dockerfile, or what it runs, is at fault.
    #[error("{0}")]
    Failed(Box<BuildFailure>),
    /// A registry or the network failed in a way that passes.
    #[error("the build was interrupted: {reason}")]
    Transient {
        /// The builder's words.
        reason: String,
    },
    /// It took too long.
    #[error("the build took longer than {} s{}", limit.as_secs(), step.as_ref().map(|step| format!(", in {step}")).unwrap_or_default())]
    TimedOut {
        /// How long it was allowed to take.
        limit: Duration,
        /// What was going on then.
        step: Option<String>,
    },
    /// The context could not be read.
    #[error("cannot read the build context")]
    Context(#[source] io::Error),
    /// The daemon is at fault.
    #[error(transparent)]
    Docker(#[from] DockerError),
}

impl BuildError {
    /// Whether the same build may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Transient { .. } => true,
            Self::Docker(error) => error.is_transient(),
            Self::Failed(_) | Self::TimedOut { .. } | Self::Context(_) => false,
        }
    }

    /// The same, of this Dockerfile.
    #[must_use]
    pub fn in_dockerfile(mut self, source: DockerfileSource) -> Self {
        if let Self::Failed(failure) = &mut self {
            failure.source = source;
        }
        self
    }
}

/// Why a build failed and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildFailure {
    /// The kind of failure.
    pub kind: BuildFailureKind,
    /// The instruction of the Dockerfile, where one failed.
    pub step: Option<String>,
    /// Its line in the Dockerfile, from 1.
    pub line: Option<u32>,
    /// The exit code of its program.
    pub exit_code: Option<i64>,
    /// The last lines that it printed.
    pub last_lines: Vec<String>,
    /// The builder's own words.
    pub message: String,
    /// The Dockerfile that was built.
    pub source: DockerfileSource,
    /// The Dockerfile's stages, as `FROM ... AS` names them.
    stages: Vec<String>,
    /// Its ARGs without a value.
    unset_arguments: Vec<String>,
}

/// A Dockerfile as a person knows it, for the words about its failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerfileSource {
    /// Its path in the repository; `None` for one that was made because the repository has none.
    pub path: Option<String>,
    /// The directory of the repository that a COPY counts from; empty for the root.
    pub context: String,
    /// The names of the build arguments that have a value.
    pub build_args: Vec<String>,
}

impl Default for DockerfileSource {
    fn default() -> Self {
        Self { path: Some("Dockerfile".to_owned()), context: String::new(), build_args: Vec::new() }
    }
}

impl BuildFailure {
    /// Reads a failure of the builder; `None` when it is one that passes by itself (a registry that is busy).
    pub(super) fn read(message: &str, progress: &BuildProgress, dockerfile: &str) -> Option<Self> {
        let message = bare_cause(message);
        let failed = progress.failed();
        let said = failed.map(|step| step.error.as_str()).unwrap_or_default();
        let text = format!("{message}\n{said}").to_ascii_lowercase();

        let exit_code = exit_code(&message).or_else(|| exit_code(said));
        let last_lines = failed.map(BuildStep::last_lines).unwrap_or_default();
        let mut step = failed.and_then(|step| step.instruction()).map(str::to_owned);
        let is_passing = is_passing(&message) || is_passing(said);
        let kind = BuildFailureKind::read(&text, failed, exit_code, &last_lines, dockerfile, is_passing)?;
        match &kind {
            BuildFailureKind::MissingBase { image, .. } => step = Some(format!("FROM {image}")),
            BuildFailureKind::MissingStage { name } => step = copy_from(name, dockerfile).or(step),
            BuildFailureKind::MissingFrontend { image } => step = Some(format!("# syntax={}", short(image))),
            BuildFailureKind::Syntax | BuildFailureKind::NewerSyntax | BuildFailureKind::NoDockerfile => step = None,
            BuildFailureKind::Command
            | BuildFailureKind::MissingFile
            | BuildFailureKind::NoSpace
            | BuildFailureKind::Other => (),
        }
        let is_frontend = matches!(kind, BuildFailureKind::MissingFrontend { .. });
        let line = reported_line(&message)
            .or(is_frontend.then_some(1))
            .or_else(|| step.as_deref().and_then(|step| line_of(step, dockerfile)));
        if (step.is_none() || matches!(kind, BuildFailureKind::MissingBase { .. }))
            && let Some(line) = line
        {
            // As the Dockerfile has it: the builder completes the names of images.
            let written = instructions(dockerfile).into_iter().find(|(at, _)| *at == line).map(|(_, text)| text);
            step = written.or(step);
        }
        Some(Self {
            kind,
            step,
            line,
            exit_code,
            last_lines,
            message: cut(&message, MAX_QUOTE_CHARS),
            source: DockerfileSource::default(),
            stages: stages(dockerfile),
            unset_arguments: unset_arguments(dockerfile),
        })
    }

    /// Why it failed, as far as its programs' output tells.
    fn cause(&self) -> Option<BuildCause> {
        if self.kind != BuildFailureKind::Command && self.kind != BuildFailureKind::Other {
            return None;
        }
        let printed: Vec<&str> =
            self.last_lines.iter().rev().map(String::as_str).chain([self.message.as_str()]).collect();
        let step = self.step.as_deref().unwrap_or_default();
        let is_constant = |name: &str| !name.contains(char::is_lowercase);
        let is_meant = |name: &str| is_constant(name) || uses_variable(step, name);
        if let Some(name) =
            self.unset_argument(|name| is_meant(name) && self.last_lines.iter().any(|line| has_word(line, name)))
        {
            let reason = format!("it complains about `{name}`, an ARG without a value");
            return Some(BuildCause { reason, advice: format!("send `{name}` in `build_args`, or give it a default") });
        }
        build_cause::find(&printed, self.source.path.is_none())
    }

    /// An ARG without a value that fits.
    fn unset_argument(&self, fits: impl Fn(&str) -> bool) -> Option<&String> {
        self.unset_arguments.iter().find(|name| !self.source.build_args.contains(name) && fits(name))
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        if let Some(cause) = self.cause() {
            return cause.advice;
        }
        let text = self.message.to_ascii_lowercase();
        match &self.kind {
            BuildFailureKind::Command => self.command_hint(),
            BuildFailureKind::MissingFile => missing_file_hint(&self.message, &self.source.context),
            BuildFailureKind::MissingBase { image, platform } => base_hint(image, platform.as_deref(), &text),
            BuildFailureKind::MissingStage { name } => {
                let known = match self.stages.as_slice() {
                    [] => "the Dockerfile names no stages".to_owned(),
                    stages => format!("the stages are {}", list(stages)),
                };
                format!("correct `--from={name}`: {known}")
            }
            BuildFailureKind::MissingFrontend { .. } => {
                "leave that line out if the Dockerfile needs nothing new, correct its name, or let the machine that builds \
                 reach its registry"
                    .to_owned()
            }
            BuildFailureKind::NewerSyntax => NEWER_SYNTAX.to_owned(),
            BuildFailureKind::Syntax => "correct this line of the Dockerfile".to_owned(),
            BuildFailureKind::NoSpace => {
                "free space where Docker runs, for example with `docker system prune`".to_owned()
            }
            BuildFailureKind::NoDockerfile => {
                "add the Dockerfile, or name its path with `dockerfile_path`; .dockerignore may leave it out".to_owned()
            }
            BuildFailureKind::Other => "see Docker's own log on the machine that builds for more".to_owned(),
        }
    }

    fn command_hint(&self) -> String {
        let step = self.step.as_deref().unwrap_or_default();
        if self.exit_code == Some(137) {
            return "it was killed, most likely for want of memory: give Docker more, or make the step need less"
                .to_owned();
        }
        if let Some(name) = self.unset_argument(|name| uses_variable(step, name)) {
            return format!(
                "the step uses `${name}`, an ARG without a value: send it in `build_args` if that is what it lacks"
            );
        }
        match (&self.source.path, self.last_lines.is_empty()) {
            (_, true) => "it printed nothing; run the step by hand to see more".to_owned(),
            (Some(_), false) => {
                "correct what the last lines of its output complain about, push, and try again".to_owned()
            }
            (None, false) => "change in the repository what the last lines of its output complain about, or add a \
                `Dockerfile` of your own"
                .to_owned(),
        }
    }
}

impl std::fmt::Display for BuildFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let step = self.step.as_deref().map(shortened);
        let place = match (&self.source.path, step, self.line) {
            (None, Some(step), _) => format!(" at `{step}`, in the Dockerfile that was made for it"),
            (None, None, _) => " in the Dockerfile that was made for it".to_owned(),
            (Some(path), Some(step), Some(line)) => format!(" at line {line} of {}, `{step}`", named(path)),
            (Some(_), Some(step), None) => format!(" at `{step}`"),
            (Some(path), None, Some(line)) => format!(" at line {line} of {}", named(path)),
            (Some(_), None, None) => String::new(),
        };
        match (&self.kind, self.exit_code) {
            (BuildFailureKind::MissingBase { image, platform }, _) => {
                let platform = platform.as_ref().map(|it| format!(" for `{it}`")).unwrap_or_default();
                write!(f, "the image `{image}`{platform} cannot be pulled{place}")
            }
            (BuildFailureKind::MissingStage { name }, _) => {
                write!(f, "the build failed{place}: `{name}` is no stage, and no image that can be pulled")
            }
            (BuildFailureKind::MissingFrontend { image }, _) => {
                write!(f, "the image `{image}`, which is to read the Dockerfile, cannot be pulled{place}")
            }
            (BuildFailureKind::MissingFile, _) => match missing_path(&self.message) {
                Some(path) => write!(f, "the build failed{place}: the build context has no `{path}`"),
                None => write!(f, "the build failed{place}: {}", self.message),
            },
            (BuildFailureKind::NoDockerfile, _) => f.write_str("the repository has no such Dockerfile"),
            (_, Some(code)) => {
                let cause = self.cause().map(|cause| format!(": {}", cause.reason)).unwrap_or_default();
                write!(f, "the build failed{place}: exit code {code}{cause}")
            }
            (_, None) => {
                let cause = self.cause().map(|cause| format!(": {}", cause.reason)).unwrap_or_default();
                write!(f, "the build failed{place}: {}{cause}", self.message)
            }
        }
    }
}

const NEWER_SYNTAX: &str =
    "put `# syntax=docker/dockerfile:1` into the first line, or do without what this Docker does not know";

/// The line that the builder itself names: `parse error line 4:`, `parse error on line 4:` or `Dockerfile:4`.
fn reported_line(message: &str) -> Option<u32> {
    let after = ["parse error line ", "parse error on line ", "Dockerfile:"]
        .iter()
        .find_map(|words| message.split_once(words).map(|(_, after)| after))?;
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::build_progress::StepState;
    use super::*;
    use crate::event::Lines;

    fn after(name: &str, error: &str) -> BuildProgress {
        let mut progress = BuildProgress::new(Lines::none());
        progress.step("d", name, StepState::Done);
        if !error.is_empty() {
            progress.fail("d", error);
        }
        progress
    }

    const DOCKERFILE: &str = "# syntax=docker/dockerfile:1\nFROM golang:1.26\nARG SRC=dist\nCOPY $SRC /www\nRUN go build \\\n  # why\n  -o /server .\nRUN <<EOF\nRUN me not\nEOF\nRUN true\n";

    #[test]
    fn a_failing_command_is_read_in_both_of_buildkits_wordings() {
        for message in [
            "executor failed running [/bin/sh -c go build   -o /server .]: exit code: 1",
            "process \"/bin/sh -c go build   -o /server .\" did not complete successfully: exit code: 1",
            "failed to solve: process \"/bin/sh -c go build -o /server .\" did not complete successfully: exit code: 1",
            "The command '/bin/sh -c go build   -o /server .' returned a non-zero code: 1",
        ] {
            let progress = after("[build 3/3] RUN go build   -o /server .", message);
            let failure = BuildFailure::read(message, &progress, DOCKERFILE).unwrap();
            assert_eq!((failure.kind, failure.line, failure.exit_code), (BuildFailureKind::Command, Some(5), Some(1)));
        }
    }

    #[test]
    fn a_missing_file_is_found_behind_a_variable() {
        let progress = after("[2/2] COPY dist /www", "\"/dist\" not found: not found");
        let failure =
            BuildFailure::read("failed to compute cache key: \"/dist\" not found: not found", &progress, DOCKERFILE)
                .unwrap();
        assert_eq!((&failure.kind, failure.line), (&BuildFailureKind::MissingFile, Some(4)));
        assert!(failure.hint().contains("make it in an earlier stage"), "{}", failure.hint());
    }

    #[test]
    fn a_base_that_does_not_exist_names_the_image_and_its_line() {
        let progress = after(
            "[internal] load metadata for docker.io/library/golang:1.26",
            "pull access denied, repository does not exist",
        );
        let failure = BuildFailure::read("rpc error: code = Unknown desc = failed to solve with frontend dockerfile.v0: failed to create LLB definition: pull access denied, repository does not exist", &progress, DOCKERFILE).unwrap();
        assert_eq!(
            failure.kind,
            BuildFailureKind::MissingBase { image: "docker.io/library/golang:1.26".to_owned(), platform: None }
        );
        assert_eq!(failure.line, Some(2));
    }

    #[test]
    fn a_busy_registry_passes_but_a_timeout_inside_a_command_does_not() {
        let lookup =
            after("[internal] load metadata for docker.io/library/golang:1.26", "net/http: TLS handshake timeout");
        assert_eq!(
            BuildFailure::read("failed to do request: net/http: TLS handshake timeout", &lookup, DOCKERFILE),
            None
        );
        assert_eq!(
            BuildFailure::read("toomanyrequests: You have reached your pull rate limit", &lookup, DOCKERFILE),
            None
        );

        let command =
            after("[2/2] RUN timeout 5 make", "executor failed running [/bin/sh -c timeout 5 make]: exit code: 124");
        let failure =
            BuildFailure::read("executor failed running [/bin/sh -c timeout 5 make]: exit code: 124", &command, "")
                .unwrap();
        assert_eq!(failure.exit_code, Some(124));
    }

    #[test]
    fn an_unknown_instruction_names_its_line() {
        let message = "failed to create LLB definition: dockerfile parse error line 3: unknown instruction: RUNN";
        let failure =
            BuildFailure::read(message, &BuildProgress::new(Lines::none()), "FROM a\nWORKDIR /\nRUNN echo built\n")
                .unwrap();
        assert_eq!((failure.kind, failure.line), (BuildFailureKind::Syntax, Some(3)));
        assert_eq!(failure.step.as_deref(), Some("RUNN echo built"));
        assert_eq!(failure.message, "dockerfile parse error line 3: unknown instruction: RUNN");
    }

    #[test]
    fn a_full_disk_says_how_to_free_space() {
        let progress =
            after("[2/2] RUN make", "executor failed running: exit code: 1: write /x: no space left on device");
        let failure = BuildFailure::read("write /x: no space left on device", &progress, DOCKERFILE).unwrap();
        assert_eq!(failure.kind, BuildFailureKind::NoSpace);
        assert!(failure.hint().contains("docker system prune"));
    }

    /// What a person is told of a step that printed these lines and ended with this error.
    fn told(name: &str, printed: &str, error: &str, dockerfile: &str, source: DockerfileSource) -> String {
        let mut progress = after(name, "");
        progress.print("d", printed.as_bytes());
        progress.fail("d", error);
        let failure = BuildFailure { source, ..BuildFailure::read(error, &progress, dockerfile).unwrap() };
        format!("{failure}; {}", failure.hint())
    }

    #[test]
    fn a_copy_counts_from_its_context_and_what_a_build_makes_is_no_file_to_commit() {
        let copy = |path: &str, message: &str| {
            let source = DockerfileSource {
                path: Some("demos/blog/Dockerfile".to_owned()),
                context: "demos/blog".to_owned(),
                ..DockerfileSource::default()
            };
            told(&format!("[2/2] COPY {path} /www"), "", message, &format!("FROM a:1\nCOPY {path} /www\n"), source)
        };

        insta::assert_json_snapshot!([
            copy("conf", "failed to compute cache key: \"/conf\" not found: not found"),
            copy(
                "conf",
                "failed to solve: failed to compute cache key: failed to calculate checksum of ref 3o::j6: \"/conf\": not found"
            ),
            copy("conf", "COPY failed: stat /var/lib/docker/tmp/docker-builder12/conf: no such file or directory"),
            copy(
                "conf",
                "COPY failed: file not found in build context or excluded by .dockerignore: stat conf: file does not exist"
            ),
            copy("dist", "failed to compute cache key: \"/dist\" not found: not found"),
            copy("target/app.jar", "failed to compute cache key: \"/target/app.jar\" not found: not found"),
            copy(".git", "failed to compute cache key: \"/.git\" not found: not found"),
        ]);
    }

    #[test]
    fn what_cannot_be_pulled_is_named_as_what_it_is() {
        let lookup =
            |name: &str, error: &str, dockerfile: &str| told(name, "", error, dockerfile, DockerfileSource::default());
        let unknown =
            "failed to do request: Head \"https://registry.test/v2/\": dial tcp: lookup registry.test: no such host";

        insta::assert_json_snapshot!([
            lookup(
                "[internal] load metadata for docker.io/library/alpine:3",
                unknown,
                "FROM --platform=linux/arm64 alpine:3\n",
            ),
            lookup(
                "[internal] load metadata for docker.io/library/alpine:3",
                "no match for platform in manifest sha256:ab: not found",
                "FROM alpine:3\n",
            ),
            lookup("[internal] load metadata for docker.io/library/alpine:3", unknown, "FROM alpine:3\n"),
            lookup(
                "resolve image config for docker.io/docker/dockerfile:9",
                unknown,
                "# syntax=docker/dockerfile:9\nFROM alpine:3\n",
            ),
            lookup(
                "resolve image config for docker-image://docker.io/docker/dockerfile:9",
                unknown,
                "# syntax=docker/dockerfile:9\nFROM alpine:3\n",
            ),
            lookup(
                "[internal] load metadata for docker.io/library/builder:latest",
                "pull access denied, repository does not exist or may require authorization",
                "FROM alpine:3 AS build\nFROM alpine:3\nCOPY --from=builder /a /a\n",
            ),
        ]);
    }

    #[test]
    fn a_command_that_failed_is_explained_by_what_it_printed() {
        let dockerfile = "FROM a:1\nARG VERSION\nRUN ./make\nRUN ./fetch $VERSION\n";
        let run = |step: &str, printed: &str, code: u8, source: DockerfileSource| {
            let error = format!("executor failed running [/bin/sh -c {step}]: exit code: {code}");
            told(&format!("[2/3] RUN {step}"), printed, &error, dockerfile, source)
        };
        let ours = || DockerfileSource { path: None, ..DockerfileSource::default() };
        let with_version =
            || DockerfileSource { build_args: vec!["VERSION".to_owned()], ..DockerfileSource::default() };

        insta::assert_json_snapshot!([
            run("./make", "/bin/sh: 1: make: not found\n", 127, DockerfileSource::default()),
            run("./make", "bye\n", 127, DockerfileSource::default()),
            run("./make", "", 1, DockerfileSource::default()),
            run("./make", "Error: pg_config executable not found.\n", 1, DockerfileSource::default()),
            run("./make", "Error: pg_config executable not found.\n", 1, ours()),
            run("./make", "boom\n", 1, ours()),
            run("./make", "error: VERSION is needed\n", 2, DockerfileSource::default()),
            run("./fetch $VERSION", "curl: (22) 404\n", 22, DockerfileSource::default()),
            run("./fetch $VERSION", "curl: (22) 404\n", 22, with_version()),
            run(
                "./make",
                "fatal: not a git repository (or any of the parent directories): .git\n",
                128,
                DockerfileSource::default()
            ),
            run("./make", "exec /bin/sh: exec format error\n", 1, DockerfileSource::default()),
        ]);
    }

    #[test]
    fn a_line_of_three_kilobytes_is_cut_with_a_mark() {
        let long = "x".repeat(3000);
        let mut progress = after("[2/2] RUN make", "");
        progress.print("d", format!("{long}\n").as_bytes());
        progress.fail("d", &long);

        let failure = BuildFailure::read(&long, &progress, "FROM a\nRUN make\n").unwrap();

        assert!([&failure.message, &failure.last_lines[0]].iter().all(|it| it.len() < 600 && it.ends_with('…')));
    }

    proptest! {
        #[test]
        fn no_words_make_it_panic_and_what_to_do_is_not_why(
            message in ".*", name in ".*", error in ".*", dockerfile in "(.|\n)*", printed in "(.|\n)*", ours: bool,
        ) {
            let mut progress = after(&name, &error);
            progress.print("d", printed.as_bytes());
            if let Some(mut failure) = BuildFailure::read(&message, &progress, &dockerfile) {
                failure.source.path = failure.source.path.filter(|_| !ours);
                prop_assert!(!failure.to_string().contains(&failure.hint()));
            }
        }
    }
}
