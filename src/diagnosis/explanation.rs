//! The sentences for causes that a message of the node or an exit code tells.

use crate::diagnosis::Cause;
use crate::diagnosis::log::{TimedLine, error_line};

/// The words of a diagnosis without the log lines.
pub(super) struct Explanation {
    pub(super) cause: Cause,
    pub(super) reason: String,
    pub(super) next_step: String,
}

impl Explanation {
    pub(super) fn new(cause: Cause, reason: impl Into<String>, next_step: impl Into<String>) -> Self {
        Self { cause, reason: reason.into(), next_step: next_step.into() }
    }
}

pub(super) fn cannot_start(message: &str) -> Explanation {
    if message.contains("exec format error") {
        return wrong_architecture();
    }
    if message.contains("no such file or directory") || message.contains("executable file not found") {
        let program = quoted_program(message).map_or_else(|| "that it names".to_owned(), |it| format!("`{it}`"));
        return Explanation::new(
            Cause::EntrypointMissing,
            format!(
                "The image cannot start: the program {program} is not in it (or the interpreter in its first line is not)."
            ),
            "Correct ENTRYPOINT or CMD in the Dockerfile, or copy the program to where they expect it.",
        );
    }
    if message.contains("permission denied") {
        let program = quoted_program(message).map_or_else(|| "its program".to_owned(), |it| format!("`{it}`"));
        return Explanation::new(
            Cause::CannotStart,
            format!("The image cannot start: {program} may not be executed."),
            "Make it executable in the Dockerfile with `RUN chmod +x`.",
        );
    }
    Explanation::new(
        Cause::CannotStart,
        format!("The image cannot start: {}.", truncate(message)),
        "Correct ENTRYPOINT, CMD, USER or WORKDIR in the Dockerfile.",
    )
}

pub(super) fn wrong_architecture() -> Explanation {
    Explanation::new(
        Cause::WrongArchitecture,
        "The image cannot start: its program is not one that the node's processor can run (`exec format error`), or a script without `#!` in its first line.",
        "Build for the processor of the node: no `--platform` in FROM, and no binaries built elsewhere.",
    )
}

pub(super) fn ended(times: i32) -> Explanation {
    Explanation::new(
        Cause::ProcessEnded,
        format!("The process ends by itself without an error (exit code 0), {}.", times_in_words(times)),
        "Let the process stay in the foreground and serve; a server that goes to the background ends the container.",
    )
}

pub(super) fn crashed(log: &[TimedLine], exit_code: i32, times: i32) -> Explanation {
    let how = match exit_code {
        126 => " (its program may not be executed)",
        127 => " (a program that it calls is not in the image)",
        132 | 134 | 136 | 139 => " (it crashed in native code)",
        137 => " (it was killed)",
        143 => " (it was asked to stop)",
        _ => "",
    };
    let says = error_line(log).map(|line| format!(" It says `{}`.", truncate(line))).unwrap_or_default();
    Explanation::new(
        Cause::CrashLoop,
        format!("The process ends with exit code {exit_code}{how}, {}.{says}", times_in_words(times)),
        "Repair what the last lines complain about; a missing variable can be sent in `environment`.",
    )
}

pub(super) fn image_unavailable(image: &str, message: &str) -> Explanation {
    let message = innermost(message);
    Explanation::new(
        Cause::ImageUnavailable,
        format!("The node does not have the image `{image}` and cannot fetch it: {}.", truncate(&message)),
        "Deploy again, so that the image is built and brought to the node.",
    )
}

pub(super) fn misconfigured(message: &str) -> Explanation {
    Explanation::new(
        Cause::ConfigurationMissing,
        format!("Something that the container needs is missing: {}.", truncate(message)),
        "Deploy again with `environment`, or put back the Secret, ConfigMap or volume.",
    )
}

fn times_in_words(times: i32) -> String {
    if times <= 1 { "shortly after its start".to_owned() } else { format!("{times} times so far") }
}

/// The last parts of a chain of causes that are joined by `: `; the first ones repeat the name of the image.
fn innermost(message: &str) -> String {
    let parts: Vec<&str> = message.split(": ").collect();
    parts[parts.len().saturating_sub(3)..].join(": ")
}

/// The program in a message such as `exec: "/app": stat /app: no such file or directory`.
fn quoted_program(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("exec: \"").or_else(|| message.split_once("exec \""))?;
    rest.split('"').next().filter(|it| !it.is_empty())
}

pub(super) fn truncate(text: &str) -> String {
    const MAX_CHARS: usize = 300;
    let text = text.trim().trim_end_matches('.');
    if text.chars().count() <= MAX_CHARS {
        text.to_owned()
    } else {
        format!("{}...", text.chars().take(MAX_CHARS).collect::<String>())
    }
}
