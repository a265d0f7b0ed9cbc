//! A process that runs and does not count as ready: where it listens and what it prints tell why.

use std::net::SocketAddr;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::cloud::kube::pod_failure::{is_ready, last_termination};
use crate::diagnosis::Cause;
use crate::diagnosis::evidence::Evidence;
use crate::diagnosis::explanation::{Explanation, crashed, quote};
use crate::diagnosis::log::{printed_recently, repeated_line, uncaught_error};
use crate::diagnosis::log_cause;

/// The process runs, but the pod does not count as ready: its sockets tell why.
pub(super) fn explain_running(evidence: &Evidence<'_>, pod: &Pod, status: &ContainerStatus) -> Explanation {
    let port = evidence.probed_port();
    let waited = evidence.waited.as_secs();
    if is_ready(pod) {
        return Explanation::new(
            Cause::SlowStart,
            format!("It is ready now{}, only later than it was waited for ({waited} s).", ready_after(pod)),
            "Deploy it again, or raise `ROLLOUT_TIMEOUT_S`.",
        );
    }
    let Some(listeners) = evidence.listeners else { return not_listening(evidence, port, status) };
    let (inside, outside): (Vec<SocketAddr>, Vec<SocketAddr>) = listeners.iter().partition(|it| it.ip().is_loopback());
    let on_port = || outside.iter().filter(|it| it.port() == port);
    let is_refused = || evidence.last_event("Unhealthy").is_some_and(|it| it.contains("connection refused"));
    // A socket at `::` takes IPv4 too, unless its process says otherwise; only the probe can tell.
    if on_port().next().is_some() && on_port().all(SocketAddr::is_ipv6) && is_refused() {
        return Explanation::new(
            Cause::Ipv6Only,
            format!("The process listens on port {port}, but for IPv6 only, and the pod is reached by IPv4."),
            format!("Let it listen on 0.0.0.0:{port}, or on [::]:{port} without `IPV6_V6ONLY`."),
        );
    }
    if on_port().next().is_some() {
        return Explanation::new(
            Cause::NotReady,
            format!(
                "The process listens on port {port}, but the check of that port did not succeed within {waited} s."
            ),
            "Look whether the process accepts connections; if it was just about to, raise `ROLLOUT_TIMEOUT_S`.",
        );
    }
    if inside.iter().any(|it| it.port() == port) {
        return Explanation::new(
            Cause::LoopbackOnly,
            format!(
                "The process listens on port {port}, but on the loopback address only, where nothing outside its container reaches it."
            ),
            format!("Let it listen on 0.0.0.0:{port} instead of 127.0.0.1:{port}."),
        );
    }
    let said_by = evidence.facts.port_said_by();
    if !outside.is_empty() {
        let mut ports: Vec<String> = outside.iter().map(|it| it.port().to_string()).collect();
        ports.dedup();
        return Explanation::new(
            Cause::PortMismatch,
            format!("Nothing listens on port {port}{said_by}; the process listens on {}.", ports.join(" and ")),
            evidence.facts.port_advice(&ports.join(" or ")),
        );
    }
    if let Some(other) = inside.first() {
        return Explanation::new(
            Cause::PortMismatch,
            format!(
                "Nothing listens on port {port}{said_by}; the process listens on {other}, where nothing outside its container reaches it."
            ),
            format!("Let it listen on 0.0.0.0:{port}."),
        );
    }
    not_listening(evidence, port, status)
}

/// Nothing is known to listen: a process that waits for something, or one that needs more time.
fn not_listening(evidence: &Evidence<'_>, port: u16, status: &ContainerStatus) -> Explanation {
    let waited = evidence.waited.as_secs();
    if status.restart_count > 0
        && let Some(end) = last_termination(status)
    {
        return crashed(evidence.log, evidence.facts, end.exit_code, status.restart_count);
    }
    if let Some(error) = uncaught_error(evidence.log) {
        let known = log_cause::find(evidence.log, evidence.facts);
        let meaning = known.as_ref().map(|it| format!(" {}", it.meaning)).unwrap_or_default();
        return Explanation::new(
            Cause::NeverListens,
            format!(
                "The process runs, but listens on no port after {waited} s; the likely cause is an error that it printed, `{}`.{meaning}",
                quote(error)
            ),
            known.map_or_else(|| "Repair what the error complains about.".to_owned(), |it| it.advice),
        );
    }
    if let Some(line) = repeated_line(evidence.log) {
        let known = log_cause::find(evidence.log, evidence.facts).filter(|it| it.line == line.trim());
        let meaning = known.as_ref().map(|it| format!(" {}", it.meaning)).unwrap_or_default();
        return Explanation::new(
            Cause::NeverListens,
            format!(
                "The process runs, but listens on no port after {waited} s; it keeps printing `{}`.{meaning}",
                quote(line)
            ),
            known.map_or_else(|| "Give it what it waits for, or let it start without.".to_owned(), |it| it.advice),
        );
    }
    if printed_recently(evidence.log, evidence.now) {
        return Explanation::new(
            Cause::SlowStart,
            format!(
                "After {waited} s the process is still starting: it runs and prints, but does not listen on port {port} yet."
            ),
            "Raise `ROLLOUT_TIMEOUT_S`, or let it start faster.",
        );
    }
    let last = evidence.log.iter().rev().map(|line| line.text.trim()).find(|text| !text.is_empty());
    let says =
        last.map_or_else(|| " It prints nothing.".to_owned(), |line| format!(" It says last `{}`.", quote(line)));
    Explanation::new(
        Cause::NeverListens,
        format!("The process runs, but listens on no port after {waited} s.{says}"),
        format!("Let it listen on 0.0.0.0:{port}; if it only needs more time, raise `ROLLOUT_TIMEOUT_S`."),
    )
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
