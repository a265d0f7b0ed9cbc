//! Why a build gave no image: from the builder's words and the step that failed to the reason, the line of the Dockerfile
//! and what to do.

use std::io;
use std::time::Duration;

use super::build_progress::{BuildProgress, BuildStep, base_image, frontend, shortened};
use super::dockerfile_line::{instructions, keyword, line_of, short};
use super::{DockerError, is_passing};

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
    /// What to do about it.
    pub hint: String,
}

/// Kinds of failures of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildFailureKind {
    /// The program of a RUN failed.
    Command,
    /// COPY or ADD names what the repository does not hold.
    MissingFile,
    /// The image of a FROM does not exist or may not be pulled.
    MissingBase {
        /// The image.
        image: String,
    },
    /// The context holds no Dockerfile at the path that was given.
    NoDockerfile,
    /// The Dockerfile cannot be read as one.
    Syntax,
    /// The daemon's disk is full.
    NoSpace,
    /// Anything else.
    Other,
}

impl BuildFailure {
    /// Reads a failure of the builder; `None` when it is one that passes by itself (a registry that is busy).
    pub(super) fn read(message: &str, progress: &BuildProgress, dockerfile: &str) -> Option<Self> {
        let message = innermost(message);
        let failed = progress.failed();
        let said = failed.map(|step| step.error.as_str()).unwrap_or_default();
        let text = format!("{message}\n{said}").to_ascii_lowercase();
        let has = |words: &[&str]| words.iter().any(|words| text.contains(words));

        let exit_code = exit_code(&message).or_else(|| exit_code(said));
        let last_lines = failed.map(BuildStep::last_lines).unwrap_or_default();
        let mut step = failed.and_then(|step| step.instruction()).map(str::to_owned);
        let looked_up = failed.and_then(|step| base_image(&step.name)).map(str::to_owned);
        let is_from = step.as_deref().is_some_and(|step| keyword(step) == "FROM");

        let kind = if has(&["no space left on device"])
            || last_lines.iter().any(|l| l.contains("No space left on device"))
        {
            BuildFailureKind::NoSpace
        } else if exit_code.is_some() {
            BuildFailureKind::Command
        } else if has(&["parse error", "unknown instruction", "unknown flag", "no instructions", "requires buildkit"]) {
            step = None;
            BuildFailureKind::Syntax
        } else if is_passing(&message) || is_passing(said) {
            return None;
        } else if looked_up.is_some()
            || is_from
            || has(&[
                "pull access denied",
                "manifest unknown",
                "repository does not exist",
                "failed to resolve source metadata",
            ])
        {
            let named = step.as_deref().filter(|_| is_from).and_then(|step| step.split_whitespace().nth(1));
            let image = looked_up.or_else(|| named.map(str::to_owned)).unwrap_or_default();
            let copied = |text: &String| keyword(text) == "COPY" && text.contains(&format!("--from={}", short(&image)));
            step = match failed.and_then(|step| frontend(&step.name)) {
                Some(frontend) => Some(format!("# syntax={frontend}")),
                None => instructions(dockerfile)
                    .into_iter()
                    .map(|(_, text)| text)
                    .find(copied)
                    .or_else(|| Some(format!("FROM {image}"))),
            };
            BuildFailureKind::MissingBase { image }
        } else if has(&["failed to read dockerfile", "cannot locate specified dockerfile"]) {
            step = None;
            BuildFailureKind::NoDockerfile
        } else if has(&["not found", "no such file", "file does not exist", "no source files", "forbidden path"])
            && step.as_deref().is_some_and(|step| matches!(keyword(step).as_str(), "COPY" | "ADD"))
        {
            BuildFailureKind::MissingFile
        } else {
            BuildFailureKind::Other
        };
        let is_frontend = failed.is_some_and(|step| frontend(&step.name).is_some());
        let line = reported_line(&message)
            .or(is_frontend.then_some(1))
            .or_else(|| step.as_deref().and_then(|step| line_of(step, dockerfile)));
        if step.is_none()
            && let Some(line) = line
        {
            step = instructions(dockerfile).into_iter().find(|(at, _)| *at == line).map(|(_, text)| text);
        }
        let lacks_syntax = dockerfile.contains("<<") && !dockerfile.trim_start().starts_with("# syntax");
        let is_newer = kind == BuildFailureKind::Syntax && lacks_syntax;
        let hint = if is_newer { NEWER_SYNTAX } else { hint(&kind, exit_code, &text) }.to_owned();
        Some(Self { kind, step, line, exit_code, last_lines, message, hint })
    }
}

impl std::fmt::Display for BuildFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = match (self.step.as_deref().map(shortened), self.line) {
            (Some(step), Some(line)) => format!(" at line {line} of the Dockerfile, `{step}`"),
            (Some(step), None) => format!(" at `{step}`"),
            (None, Some(line)) => format!(" at line {line} of the Dockerfile"),
            (None, None) => String::new(),
        };
        match (&self.kind, self.exit_code) {
            (BuildFailureKind::MissingBase { image }, _) => write!(f, "the image `{image}` cannot be pulled{place}"),
            (BuildFailureKind::MissingFile, _) => {
                write!(f, "the build failed{place}: {}", missing_file(&self.message).unwrap_or(&self.message))
            }
            (BuildFailureKind::NoDockerfile, _) => f.write_str("the repository has no such Dockerfile"),
            (_, Some(code)) => write!(f, "the build failed{place}: exit code {code}"),
            (_, None) => write!(f, "the build failed{place}: {}", self.message),
        }
    }
}

const NEWER_SYNTAX: &str =
    "put `# syntax=docker/dockerfile:1` into the first line, or do without what this Docker does not know";

fn hint(kind: &BuildFailureKind, exit_code: Option<i64>, text: &str) -> &'static str {
    match kind {
        BuildFailureKind::Command => match exit_code {
            Some(137) => "it was killed, most likely for want of memory: give Docker more, or make the step need less",
            Some(127) => "a program that the step calls is not in the image: install it in an earlier step",
            Some(126) => "the step calls a file that cannot be executed: `chmod +x` it",
            _ => "correct what the last lines of its output complain about, push, and try again",
        },
        BuildFailureKind::MissingFile => {
            "commit the file, or correct its path (it counts from the root of the repository), and look whether .dockerignore leaves it out"
        }
        BuildFailureKind::MissingBase { .. } if text.contains("denied") || text.contains("unauthorized") => {
            "the registry knows no such image or does not let us pull it: correct the name, or run `docker login` where Docker runs"
        }
        BuildFailureKind::MissingBase { .. } if text.contains("no such host") => {
            "its registry has no address from here: correct the name in FROM, or the network"
        }
        BuildFailureKind::MissingBase { .. } => "correct the name and tag in FROM",
        BuildFailureKind::Syntax if text.contains("unknown flag") || text.contains("requires buildkit") => NEWER_SYNTAX,
        BuildFailureKind::Syntax => "correct this line of the Dockerfile",
        BuildFailureKind::NoSpace => "free space where Docker runs, for example with `docker system prune`",
        BuildFailureKind::NoDockerfile => {
            "add the Dockerfile, or name its path with `dockerfile_path`; .dockerignore may leave it out"
        }
        BuildFailureKind::Other => {
            "correct what the builder complains about; if it is not the Dockerfile, look at Docker's own log"
        }
    }
}

/// From the first quote of `failed to compute cache key: "/dist" not found: not found` to the first `not found`.
fn missing_file(message: &str) -> Option<&str> {
    let start = message.find('"')?;
    let end = message.get(start..)?.find("not found")?;
    message.get(start..start + end + "not found".len())
}

/// Drops what the layers of the builder put in front of the cause.
fn innermost(message: &str) -> String {
    let mut rest = message.trim();
    for wrapping in [
        "failed to solve with frontend dockerfile.v0: ",
        "failed to solve with frontend gateway.v0: ",
        "failed to create LLB definition: ",
        "failed to solve: ",
        "rpc error: code = Unknown desc = ",
    ] {
        if let Some((_, inner)) = rest.rsplit_once(wrapping) {
            rest = inner;
        }
    }
    rest.to_owned()
}

/// The exit code in the builder's words: `BuildKit`'s old and new ones, and the classic builder's.
fn exit_code(message: &str) -> Option<i64> {
    let (_, after) = message.rsplit_once("exit code: ").or_else(|| message.rsplit_once("non-zero code: "))?;
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

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
        assert_eq!((failure.kind, failure.line), (BuildFailureKind::MissingFile, Some(4)));
        assert!(failure.hint.contains(".dockerignore"));
    }

    #[test]
    fn a_base_that_does_not_exist_names_the_image_and_its_line() {
        let progress = after(
            "[internal] load metadata for docker.io/library/golang:1.26",
            "pull access denied, repository does not exist",
        );
        let failure = BuildFailure::read("rpc error: code = Unknown desc = failed to solve with frontend dockerfile.v0: failed to create LLB definition: pull access denied, repository does not exist", &progress, DOCKERFILE).unwrap();
        assert_eq!(failure.kind, BuildFailureKind::MissingBase { image: "docker.io/library/golang:1.26".to_owned() });
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
        assert!(failure.hint.contains("docker system prune"));
    }

    proptest! {
        #[test]
        fn no_words_make_it_panic(message in ".*", name in ".*", error in ".*", dockerfile in "(.|\n)*") {
            let _ = BuildFailure::read(&message, &after(&name, &error), &dockerfile);
        }
    }
}
