//! What kind of failure of a build it is, by the builder's words.

use super::build_progress::{BuildStep, base_image, frontend};
use super::dockerfile_line::{copy_from, is_base, keyword, platform, short};

/// Kinds of failures of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildFailureKind {
    /// The program of a RUN failed.
    Command,
    /// COPY or ADD names what the context does not hold.
    MissingFile,
    /// The image of a FROM does not exist or may not be pulled.
    MissingBase {
        /// The image.
        image: String,
        /// The platform that FROM asks for.
        platform: Option<String>,
    },
    /// A COPY takes from a stage that is not there, or from an image that cannot be had.
    MissingStage {
        /// The name.
        name: String,
    },
    /// The image that reads the Dockerfile, as its line `# syntax=` names it, cannot be had.
    MissingFrontend {
        /// The image.
        image: String,
    },
    /// The context holds no Dockerfile at the path that was given.
    NoDockerfile,
    /// The Dockerfile cannot be read as one.
    Syntax,
    /// It needs syntax that this Docker does not know by itself.
    NewerSyntax,
    /// The daemon's disk is full.
    NoSpace,
    /// Anything else.
    Other,
}

impl BuildFailureKind {
    /// Sorts a failure by the builder's words; `None` when it passes by itself.
    pub(super) fn read(
        text: &str,
        failed: Option<&BuildStep>,
        exit_code: Option<i64>,
        last_lines: &[String],
        dockerfile: &str,
        is_passing: bool,
    ) -> Option<Self> {
        let has = |words: &[&str]| words.iter().any(|words| text.contains(words));
        let step = failed.and_then(BuildStep::instruction).unwrap_or_default();
        let name = failed.map(|step| step.name.as_str()).unwrap_or_default();
        let is_full = |line: &String| line.contains("No space left on device");
        if has(&["no space left on device"]) || last_lines.iter().any(is_full) {
            return Some(Self::NoSpace);
        }
        if exit_code.is_some() {
            return Some(Self::Command);
        }
        if has(&["parse error", "unknown instruction", "unknown flag", "no instructions", "requires buildkit"]) {
            let lacks_syntax = dockerfile.contains("<<") && !dockerfile.trim_start().starts_with("# syntax");
            let is_newer = lacks_syntax || has(&["unknown flag", "requires buildkit"]);
            return Some(if is_newer { Self::NewerSyntax } else { Self::Syntax });
        }
        if is_passing {
            return None;
        }
        if let Some(image) = frontend(name) {
            return Some(Self::MissingFrontend { image: image.to_owned() });
        }
        let is_from = keyword(step) == "FROM";
        let is_refused = has(&[
            "pull access denied",
            "manifest unknown",
            "repository does not exist",
            "failed to resolve source metadata",
            "no match for platform",
        ]);
        if base_image(name).is_some() || is_from || is_refused {
            let named = step.split_whitespace().skip(1).find(|word| is_from && !word.starts_with("--"));
            let image = base_image(name).or(named).unwrap_or_default().to_owned();
            return Some(match copy_from(&image, dockerfile) {
                Some(_) if !is_base(&image, dockerfile) => Self::MissingStage { name: short(&image).to_owned() },
                Some(_) | None => Self::MissingBase { platform: platform(&image, dockerfile), image },
            });
        }
        if has(&["failed to read dockerfile", "cannot locate specified dockerfile"]) {
            return Some(Self::NoDockerfile);
        }
        let is_missing =
            has(&["not found", "no such file", "file does not exist", "no source files", "forbidden path"]);
        if is_missing && matches!(keyword(step).as_str(), "COPY" | "ADD") {
            return Some(Self::MissingFile);
        }
        Some(Self::Other)
    }
}

/// The exit code in the builder's words: `BuildKit`'s old and new ones, and the classic builder's.
pub(super) fn exit_code(message: &str) -> Option<i64> {
    let (_, after) = message.rsplit_once("exit code: ").or_else(|| message.rsplit_once("non-zero code: "))?;
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}
