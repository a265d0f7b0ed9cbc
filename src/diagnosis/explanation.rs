//! The sentences for causes that a message of the node, an exit code or a log tells.

use crate::cloud::message::{MAX_QUOTE_CHARS, bare_cause, cut};
use crate::diagnosis::Cause;
use crate::diagnosis::facts::Facts;
use crate::diagnosis::log::{TimedLine, error_line};
use crate::diagnosis::log_cause;

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

/// A container that cannot be made or started; `node` is the architecture of its node.
pub(super) fn cannot_start(message: &str, facts: &Facts, node: Option<&str>) -> Explanation {
    let message = bare_cause(message);
    let has = |words: &[&str]| words.iter().any(|words| message.contains(words));
    if has(&["exec format error"]) {
        return wrong_architecture(facts, node);
    }
    if has(&[
        "no users found",
        "unable to find user",
        "no matching entries in passwd",
        "no groups found",
        "unable to find group",
    ]) {
        return unknown_user(&message, facts);
    }
    if has(&["no command specified", "no command or entrypoint"]) {
        return Explanation::new(
            Cause::CannotStart,
            format!(
                "The image names no program to start: it has neither ENTRYPOINT nor CMD.{}",
                facts.stages_in_words()
            ),
            match facts.stages.as_slice() {
                [] | [_] => "Add CMD to the Dockerfile.",
                _ => "Add CMD to the last stage of the Dockerfile, or send the stage that serves as `build_target`.",
            },
        );
    }
    if has(&["chdir to cwd", "mkdir "]) && has(&["permission denied"]) {
        return Explanation::new(
            Cause::CannotStart,
            format!(
                "The image cannot start: {} may not enter its WORKDIR ({}).",
                facts.user_in_words(),
                quote(&message)
            ),
            "Give the directory to that user in the Dockerfile (`RUN chown`), or take another WORKDIR.",
        );
    }
    let program = quoted_program(&message).map_or_else(|| "that it names".to_owned(), |it| format!("`{it}`"));
    if has(&["executable file not found"]) {
        return Explanation::new(
            Cause::EntrypointMissing,
            format!("The image cannot start: the program {program} is not in it, in no directory of `PATH`."),
            "Install the program in the last stage, or correct ENTRYPOINT or CMD in the Dockerfile.",
        );
    }
    if has(&["no such file or directory"]) {
        return Explanation::new(
            Cause::EntrypointMissing,
            format!("The image cannot start: the program {program} is not in it."),
            "Correct ENTRYPOINT or CMD in the Dockerfile, or COPY the program to where they expect it.",
        );
    }
    if has(&["permission denied"]) {
        let program = quoted_program(&message).unwrap_or_else(|| "FILE".to_owned());
        let named = if program == "FILE" { "its program".to_owned() } else { format!("`{program}`") };
        return Explanation::new(
            Cause::CannotStart,
            format!("The image cannot start: {named} may not be executed by {}.", facts.user_in_words()),
            format!("Make it executable in the Dockerfile, with `RUN chmod +x {program}`."),
        );
    }
    Explanation::new(
        Cause::CannotStart,
        format!("The image cannot start: {}.", quote(&message)),
        "Look at ENTRYPOINT, CMD, USER and WORKDIR in the Dockerfile: the node refuses one of them.",
    )
}

fn unknown_user(message: &str, facts: &Facts) -> Explanation {
    let named = |before: &str| message.split_once(before).and_then(|(_, rest)| rest.split([':', ' ']).next());
    let is_group = message.contains("group");
    let found = named("unable to find user ").or_else(|| named("unable to find group ")).map(str::to_owned);
    let user = found.or_else(|| facts.user.clone()).filter(|it| !it.is_empty());
    let user = user.map_or_else(|| "that USER names".to_owned(), |it| format!("`{it}`, which USER names,"));
    let stage = facts.stages.last().map(|it| format!(" of the stage `{it}`")).unwrap_or_default();
    let (what, file, add) =
        if is_group { ("group", "/etc/group", "groupadd") } else { ("user", "/etc/passwd", "useradd") };
    Explanation::new(
        Cause::CannotStart,
        format!("The image cannot start: the {what} {user} is not in `{file}`{stage}."),
        format!(
            "Make it in that stage (`RUN {add}`, in Alpine `RUN add{what}`): what an earlier stage makes is not there. Or name \
             a number, such as `USER 1000`."
        ),
    )
}

pub(super) fn wrong_architecture(facts: &Facts, node: Option<&str>) -> Explanation {
    let image = facts.architecture.as_deref().filter(|it| !it.is_empty());
    let reason = match (image, node) {
        (Some(image), Some(node)) if image != node => {
            format!(
                "The image is built for `{image}`, and its node is `{node}`: it cannot run there (`exec format error`)."
            )
        }
        (Some(image), Some(_)) => format!(
            "The image and its node are both `{image}`, but what it starts is not a program for that (`exec format error`): it was compiled for another processor, or is a script without `#!` in its first line."
        ),
        _ => {
            let node = node.map(|it| format!(", which is `{it}`,")).unwrap_or_default();
            format!(
                "What the image starts is not a program that the node's processor{node} can run (`exec format error`), or a script without `#!` in its first line."
            )
        }
    };
    let next_step = if image.zip(node).is_some_and(|(image, node)| image != node) {
        format!(
            "Build for `{}`: leave `--platform` out of FROM, or send it as `build_platform`.",
            node.map_or_else(String::new, |it| format!("linux/{it}"))
        )
    } else {
        "Compile the program in the Dockerfile instead of copying one that was compiled elsewhere; begin a script with `#!`."
            .to_owned()
    };
    Explanation::new(Cause::WrongArchitecture, reason, next_step)
}

pub(super) fn ended(log: &[TimedLine], facts: &Facts, times: i32) -> Explanation {
    let ends = format!("The process ends by itself without an error (exit code 0), {}.", times_in_words(times));
    if let Some(stage) = facts.side_stage() {
        return Explanation::new(
            Cause::ProcessEnded,
            format!("{ends}{}", facts.stages_in_words()),
            format!("Put the stage that serves last, or send it as `build_target`: `{stage}` sounds like another."),
        );
    }
    if let Some(shell) = interactive(&facts.command) {
        return Explanation::new(
            Cause::ProcessEnded,
            format!("{ends} The image starts `{shell}` without anything to run, as its base image does."),
            "Add CMD with the application's own command to the Dockerfile.",
        );
    }
    let says = error_line(log).map(|line| format!(" It says last `{}`.", quote(line))).unwrap_or_default();
    Explanation::new(
        Cause::ProcessEnded,
        format!("{ends}{says}"),
        "Let the process stay in the foreground and serve; a server that goes to the background ends the container.",
    )
}

/// The shell or interpreter that an image starts with nothing to run: a container has no terminal, so that it ends at once.
fn interactive(command: &[String]) -> Option<&str> {
    let [words @ .., program] = command else { return None };
    let name = program.rsplit('/').next().unwrap_or(program);
    let is_shell = ["sh", "bash", "ash", "python", "python3", "node", "irb", "jshell", "psql"].contains(&name);
    (is_shell && words.iter().all(|it| it.ends_with("docker-entrypoint.sh"))).then_some(program)
}

pub(super) fn crashed(log: &[TimedLine], facts: &Facts, exit_code: i32, times: i32) -> Explanation {
    let how = match exit_code {
        132 | 134 | 136 | 139 => " (it crashed in native code)",
        137 => " (it was killed)",
        143 => " (it was asked to stop)",
        _ => "",
    };
    let ends = format!("The process ends with exit code {exit_code}{how}, {}.", times_in_words(times));
    if let Some(known) = log_cause::find(log, facts) {
        return Explanation::new(
            known.cause.unwrap_or(Cause::CrashLoop),
            format!("{ends} It says `{}`. {}", quote(&known.line), known.meaning),
            known.advice,
        );
    }
    let side_stage = facts.side_stage().map(|_| facts.stages_in_words()).unwrap_or_default();
    match error_line(log) {
        Some(line) => Explanation::new(
            Cause::CrashLoop,
            format!("{ends} It says `{}`.{side_stage}", quote(line)),
            "Repair what its last lines complain about.",
        ),
        None => Explanation::new(
            Cause::CrashLoop,
            format!("{ends} It prints nothing.{side_stage}"),
            "Start the image by hand (`docker run`) to see more, or let the application print why it ends.",
        ),
    }
}

pub(super) fn image_unavailable(image: &str, message: &str) -> Explanation {
    let message = innermost(&bare_cause(message));
    Explanation::new(
        Cause::ImageUnavailable,
        format!("The node does not have the image `{image}` and cannot fetch it: {}.", quote(&message)),
        "Deploy again, so that the image is built and brought to the node.",
    )
}

pub(super) fn misconfigured(message: &str) -> Explanation {
    let message = bare_cause(message);
    let (what, next_step) = if message.contains("runAsNonRoot") {
        ("The cluster runs no image as root", "Let USER in the Dockerfile name a user that is not root, by its number.")
    } else if message.contains("-env-") {
        ("Something that the container needs is missing", "Deploy again with `environment`, which makes it anew.")
    } else {
        (
            "Something that the container needs is missing",
            "Put back the Secret, ConfigMap or volume, then deploy again.",
        )
    };
    Explanation::new(Cause::ConfigurationMissing, format!("{what}: {}.", quote(&message)), next_step)
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
fn quoted_program(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("exec: \"").or_else(|| message.split_once("exec \""))?;
    rest.split('"').next().filter(|it| !it.is_empty()).map(str::to_owned)
}

/// What somebody else said, within a sentence of ours.
pub(super) fn quote(text: &str) -> String {
    cut(text.trim().trim_end_matches('.'), MAX_QUOTE_CHARS)
}
