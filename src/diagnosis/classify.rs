//! What the cluster knows about a failed rollout -> its cause, in words. Pure.

use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Event, Pod};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::cloud::kube::fault::{Fault, activity, creation_failure, is_ready, last_end, pod_fault, unschedulable};
use crate::diagnosis::log::{LogLine, is_talking, last_lines, refrain};
use crate::diagnosis::{Cause, Diagnosis};

/// Everything that a diagnosis rests on.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The Deployment.
    pub deployment: &'a Deployment,
    /// The pod of its newest version that tells most, if there is any.
    pub pod: Option<&'a Pod>,
    /// The events about the Deployment, its ReplicaSets and its pods.
    pub events: &'a [Event],
    /// What the pod printed.
    pub log: &'a [LogLine],
    /// Where the pod's processes listen; `None` when that is not known.
    pub listeners: Option<&'a [SocketAddr]>,
    /// How long the rollout was waited for.
    pub waited: Duration,
    /// The time now.
    pub now: Timestamp,
}

/// The words of a diagnosis without the log lines.
struct Words {
    cause: Cause,
    reason: String,
    next_step: String,
}

fn words(cause: Cause, reason: impl Into<String>, next_step: impl Into<String>) -> Words {
    Words { cause, reason: reason.into(), next_step: next_step.into() }
}

/// Names the cause.
#[must_use]
pub fn classify(evidence: &Evidence<'_>) -> Diagnosis {
    let Words { cause, reason, next_step } = match evidence.pod {
        None => without_pod(evidence),
        Some(pod) => match pod_fault(pod) {
            Some(fault) => of_fault(evidence, fault),
            None => of_waiting(evidence, pod),
        },
    };
    Diagnosis { cause, reason, last_log_lines: last_lines(evidence.log), next_step }
}

fn without_pod(evidence: &Evidence<'_>) -> Words {
    let failure = creation_failure(evidence.deployment)
        .or_else(|| last_event(evidence.events, "FailedCreate"))
        .unwrap_or_default();
    if failure.contains("exceeded quota") {
        let detail = &failure[failure.find("exceeded quota").unwrap_or_default()..];
        return words(
            Cause::QuotaExceeded,
            format!("The quota of the namespace leaves no room for another pod: {detail}."),
            "Free some of the quota, raise it, or deploy to another namespace.",
        );
    }
    if failure.is_empty() {
        return words(
            Cause::Unknown,
            "The cluster has created no pod and does not say why; its controllers may not be running.",
            "Check the cluster with `kubectl get pods -A`.",
        );
    }
    words(
        Cause::CreationRefused,
        format!("The cluster refuses to create the pod: {failure}."),
        "Change what it objects to, or deploy to another namespace.",
    )
}

fn of_fault(evidence: &Evidence<'_>, fault: Fault) -> Words {
    match fault {
        Fault::OutOfMemory => words(
            Cause::OutOfMemory,
            format!("The process was killed because it used more memory than its limit of {}.", memory_limit(evidence)),
            "Let the application use less memory, or raise the memory limit in the server's settings.",
        ),
        Fault::CannotStart { message } => cannot_start(&message),
        Fault::Crashed { .. } | Fault::Ended { .. } if prints(evidence, "exec format error") => wrong_architecture(),
        Fault::Ended { times } => ended(times),
        Fault::Crashed { exit_code, times } => crashed(evidence, exit_code, times),
        Fault::ImageUnavailable { message } => image_unavailable(evidence, &message),
        Fault::Misconfigured { message } => misconfigured(&message),
    }
}

fn of_waiting(evidence: &Evidence<'_>, pod: &Pod) -> Words {
    if let Some(message) = unschedulable(pod) {
        return words(
            Cause::Unschedulable,
            format!("No node of the cluster can take the pod: {message}."),
            "Scale down or remove an application that is not needed, ask for fewer replicas, or add a node.",
        );
    }
    if let Some(status) = container_status(pod) {
        let waiting = status.state.as_ref().and_then(|it| it.waiting.as_ref());
        let reason = waiting.and_then(|it| it.reason.as_deref()).unwrap_or_default();
        let message = waiting.and_then(|it| it.message.clone()).unwrap_or_default();
        if reason == "ErrImagePull" {
            return image_unavailable(evidence, &message);
        }
        if reason.starts_with("Create") || reason.starts_with("RunContainer") {
            return cannot_start(&message);
        }
        if status.state.as_ref().is_some_and(|it| it.running.is_some()) {
            return running(evidence, pod, status);
        }
        if let Some(end) = last_end(status) {
            return match end.exit_code {
                0 => ended(status.restart_count + 1),
                code => crashed(evidence, code, status.restart_count + 1),
            };
        }
    }
    if let Some(message) = last_event(evidence.events, "FailedMount") {
        return misconfigured(&message);
    }
    let sandbox = last_event(evidence.events, "FailedCreatePodSandBox").map(|it| format!(": {it}")).unwrap_or_default();
    words(
        Cause::Unknown,
        format!("After {} s the pod is still {}{sandbox}.", evidence.waited.as_secs(), activity(pod)),
        "Try again; if it stays, look at `kubectl describe pod`.",
    )
}

/// The process runs, but the pod does not count as ready: its sockets tell why.
fn running(evidence: &Evidence<'_>, pod: &Pod, status: &ContainerStatus) -> Words {
    let port = probed_port(evidence.deployment);
    let waited = evidence.waited.as_secs();
    if is_ready(pod) {
        return words(
            Cause::SlowStart,
            format!("It is ready now{}, only later than it was waited for ({waited} s).", ready_after(pod)),
            "Deploy it again, or raise `ROLLOUT_TIMEOUT_S`.",
        );
    }
    let Some(listeners) = evidence.listeners else { return silent(evidence, port, status) };
    let (inside, outside): (Vec<SocketAddr>, Vec<SocketAddr>) = listeners.iter().partition(|it| it.ip().is_loopback());
    if outside.iter().any(|it| it.port() == port) {
        return words(
            Cause::NotReady,
            format!(
                "The process listens on port {port}, but the check of that port did not succeed within {waited} s."
            ),
            "Look whether the process accepts connections; if it was just about to, raise `ROLLOUT_TIMEOUT_S`.",
        );
    }
    if inside.iter().any(|it| it.port() == port) {
        return words(
            Cause::LoopbackOnly,
            format!(
                "The process listens on port {port}, but on the loopback address only, where nothing outside its container reaches it."
            ),
            format!("Let it listen on 0.0.0.0:{port} instead of 127.0.0.1:{port}."),
        );
    }
    if let Some(other) = outside.first() {
        let ports = outside.iter().map(|it| it.port().to_string()).collect::<Vec<_>>().join(", ");
        return words(
            Cause::PortMismatch,
            format!(
                "Nothing listens on port {port}, which the application is said to serve; the process listens on {ports}."
            ),
            format!("Correct EXPOSE in the Dockerfile, or send `container_port`: {}.", other.port()),
        );
    }
    if let Some(other) = inside.first() {
        return words(
            Cause::PortMismatch,
            format!(
                "Nothing listens on port {port}; the process listens on {other}, where nothing outside its container reaches it."
            ),
            format!("Let it listen on 0.0.0.0:{port}."),
        );
    }
    silent(evidence, port, status)
}

/// Nothing is known to listen: a process that waits for something, or one that needs more time.
fn silent(evidence: &Evidence<'_>, port: u16, status: &ContainerStatus) -> Words {
    let waited = evidence.waited.as_secs();
    if status.restart_count > 0
        && let Some(end) = last_end(status)
    {
        return crashed(evidence, end.exit_code, status.restart_count);
    }
    if let Some(line) = refrain(evidence.log) {
        return words(
            Cause::NeverListens,
            format!("The process runs, but listens on no port after {waited} s; it keeps printing `{}`.", clip(line)),
            "Give it what it waits for (another service, a variable in `environment`), or let it start without.",
        );
    }
    if is_talking(evidence.log, evidence.now) {
        return words(
            Cause::SlowStart,
            format!(
                "After {waited} s the process is still starting: it runs without an error and prints, but does not listen on port {port} yet."
            ),
            "Raise `ROLLOUT_TIMEOUT_S`, or let it start faster.",
        );
    }
    words(
        Cause::NeverListens,
        format!("The process runs without an error, but listens on no port after {waited} s."),
        format!("Let it listen on 0.0.0.0:{port}; if it only needs more time, raise `ROLLOUT_TIMEOUT_S`."),
    )
}

fn cannot_start(message: &str) -> Words {
    if message.contains("exec format error") {
        return wrong_architecture();
    }
    if message.contains("no such file or directory") || message.contains("executable file not found") {
        let program = quoted_program(message).map_or_else(|| "that it names".to_owned(), |it| format!("`{it}`"));
        return words(
            Cause::EntrypointMissing,
            format!(
                "The image cannot start: the program {program} is not in it (or the interpreter in its first line is not)."
            ),
            "Correct ENTRYPOINT or CMD in the Dockerfile, or copy the program to where they expect it.",
        );
    }
    if message.contains("permission denied") {
        let program = quoted_program(message).map_or_else(|| "its program".to_owned(), |it| format!("`{it}`"));
        return words(
            Cause::CannotStart,
            format!("The image cannot start: {program} may not be executed."),
            "Make it executable in the Dockerfile with `RUN chmod +x`.",
        );
    }
    words(
        Cause::CannotStart,
        format!("The image cannot start: {}.", clip(message)),
        "Correct ENTRYPOINT, CMD, USER or WORKDIR in the Dockerfile.",
    )
}

fn wrong_architecture() -> Words {
    words(
        Cause::WrongArchitecture,
        "The image cannot start: its program is not one that the node's processor can run (`exec format error`), or a script without `#!` in its first line.",
        "Build for the processor of the node: no `--platform` in FROM, and no binaries built elsewhere.",
    )
}

fn ended(times: i32) -> Words {
    words(
        Cause::ProcessEnded,
        format!("The process ends by itself without an error (exit code 0), {}.", so_often(times)),
        "Let the process stay in the foreground and serve; a server that goes to the background ends the container.",
    )
}

fn crashed(evidence: &Evidence<'_>, exit_code: i32, times: i32) -> Words {
    let how = match exit_code {
        126 => " (its program may not be executed)",
        127 => " (a program that it calls is not in the image)",
        132 | 134 | 136 | 139 => " (it crashed in native code)",
        137 => " (it was killed)",
        143 => " (it was asked to stop)",
        _ => "",
    };
    let last = evidence.log.iter().rev().find(|line| !line.text.trim().is_empty());
    let says = last.map(|line| format!(" Its last line is `{}`.", clip(line.text.trim()))).unwrap_or_default();
    words(
        Cause::CrashLoop,
        format!("The process ends with exit code {exit_code}{how}, {}.{says}", so_often(times)),
        "Repair what the last lines complain about; a missing variable can be sent in `environment`.",
    )
}

fn image_unavailable(evidence: &Evidence<'_>, message: &str) -> Words {
    let image = container(evidence.deployment).and_then(|it| it.image.clone()).unwrap_or_default();
    words(
        Cause::ImageUnavailable,
        format!("The node does not have the image `{image}` and cannot fetch it: {}.", clip(message)),
        "Deploy again, so that the image is built and brought to the node.",
    )
}

fn misconfigured(message: &str) -> Words {
    words(
        Cause::ConfigurationMissing,
        format!("Something that the container needs is missing: {}.", clip(message)),
        "Deploy again with `environment`, or put back the Secret, ConfigMap or volume.",
    )
}

fn so_often(times: i32) -> String {
    if times <= 1 { "shortly after its start".to_owned() } else { format!("{times} times so far") }
}

/// The program in a message such as `exec: "/app": stat /app: no such file or directory`.
fn quoted_program(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("exec: \"").or_else(|| message.split_once("exec \""))?;
    rest.split('"').next().filter(|it| !it.is_empty())
}

fn clip(text: &str) -> String {
    const LONGEST: usize = 300;
    let text = text.trim().trim_end_matches('.');
    if text.chars().count() <= LONGEST {
        text.to_owned()
    } else {
        format!("{}...", text.chars().take(LONGEST).collect::<String>())
    }
}

fn prints(evidence: &Evidence<'_>, text: &str) -> bool {
    evidence.log.iter().any(|line| line.text.contains(text))
}

fn last_event(events: &[Event], reason: &str) -> Option<String> {
    let time = |event: &&Event| {
        event.last_timestamp.as_ref().map(|it| it.0).or_else(|| event.event_time.as_ref().map(|it| it.0))
    };
    events
        .iter()
        .filter(|event| event.reason.as_deref() == Some(reason))
        .max_by_key(time)
        .and_then(|event| event.message.clone())
}

fn container(deployment: &Deployment) -> Option<&Container> {
    deployment.spec.template.spec.as_ref()?.containers.first()
}

fn container_status(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()
}

fn memory_limit(evidence: &Evidence<'_>) -> String {
    container(evidence.deployment)
        .and_then(|it| it.resources.as_ref()?.limits.as_ref()?.get("memory").map(|limit| limit.0.clone()))
        .unwrap_or_else(|| "the node".to_owned())
}

fn probed_port(deployment: &Deployment) -> u16 {
    let port =
        container(deployment).and_then(|it| it.readiness_probe.as_ref()?.tcp_socket.as_ref()).and_then(|it| match &it
            .port
        {
            IntOrString::Int(port) => u16::try_from(*port).ok(),
            IntOrString::String(_) => None,
        });
    port.unwrap_or_default()
}

/// How long the pod took from its start until it was ready, as part of a sentence.
fn ready_after(pod: &Pod) -> String {
    let status = pod.status.as_ref();
    let started = status.and_then(|it| it.start_time.as_ref()).map(|it| it.0);
    let ready = status
        .and_then(|it| it.conditions.as_ref())
        .and_then(|it| it.iter().find(|condition| condition.type_ == "Ready"))
        .and_then(|it| it.last_transition_time.as_ref())
        .map(|it| it.0);
    match started.zip(ready) {
        Some((started, ready)) => format!(", {} s after its start", ready.duration_since(started).as_secs().max(0)),
        None => String::new(),
    }
}
