//! What the cluster knows about a failed rollout -> its cause, in words. Pure.

use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Event, Pod};

use crate::cloud::kube::live;
use crate::cloud::kube::pod_failure::{
    PodFailure, activity, creation_failure, is_ready, last_termination, pod_failure, unschedulable,
};
use crate::diagnosis::explanation::{
    Explanation, cannot_start, crashed, ended, image_unavailable, misconfigured, truncate, wrong_architecture,
};
use crate::diagnosis::log::{TimedLine, last_lines, printed_recently, repeated_line};
use crate::diagnosis::{Cause, Diagnosis};

/// Everything that a diagnosis rests on.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The Deployment.
    pub deployment: &'a Deployment,
    /// The pod of its newest version that tells most, if there is any.
    pub pod: Option<&'a Pod>,
    /// The events about the Deployment, its `ReplicaSet`s and its pods.
    pub events: &'a [Event],
    /// What the pod printed.
    pub log: &'a [TimedLine],
    /// Where the pod's processes listen; `None` when that is not known.
    pub listeners: Option<&'a [SocketAddr]>,
    /// How long the rollout was waited for.
    pub waited: Duration,
    /// The time now.
    pub now: Timestamp,
}

/// Names the cause.
#[must_use]
pub fn classify(evidence: &Evidence<'_>) -> Diagnosis {
    let Explanation { cause, reason, next_step } = match evidence.pod {
        None => explain_missing_pod(evidence),
        Some(pod) => match pod_failure(pod) {
            Some(failure) => explain_failure(evidence, failure),
            None => explain_waiting(evidence, pod),
        },
    };
    Diagnosis { cause, reason, last_log_lines: last_lines(evidence.log), next_step }
}

fn explain_missing_pod(evidence: &Evidence<'_>) -> Explanation {
    let failure = creation_failure(evidence.deployment)
        .or_else(|| last_event(evidence.events, "FailedCreate"))
        .unwrap_or_default();
    if failure.contains("exceeded quota") {
        let detail = &failure[failure.find("exceeded quota").unwrap_or_default()..];
        return Explanation::new(
            Cause::QuotaExceeded,
            format!("The quota of the namespace leaves no room for another pod: {detail}."),
            "Free some of the quota, raise it, or deploy to another namespace.",
        );
    }
    if failure.is_empty() {
        return Explanation::new(
            Cause::Unknown,
            "The cluster has created no pod and does not say why; its controllers may not be running.",
            "Check the cluster with `kubectl get pods -A`.",
        );
    }
    Explanation::new(
        Cause::CreationRefused,
        format!("The cluster refuses to create the pod: {failure}."),
        "Change what it objects to, or deploy to another namespace.",
    )
}

fn explain_failure(evidence: &Evidence<'_>, failure: PodFailure) -> Explanation {
    match failure {
        PodFailure::OutOfMemory => Explanation::new(
            Cause::OutOfMemory,
            format!("The process was killed because it used more memory than its limit of {}.", memory_limit(evidence)),
            "Let the application use less memory, or raise the memory limit in the server's settings.",
        ),
        PodFailure::CannotStart { message } => cannot_start(&message),
        PodFailure::Crashed { .. } | PodFailure::Ended { .. } if log_contains(evidence, "exec format error") => {
            wrong_architecture()
        }
        PodFailure::Ended { times } => ended(times),
        PodFailure::Crashed { exit_code, times } => crashed(evidence.log, exit_code, times),
        PodFailure::ImageUnavailable { message } => image_unavailable(&image(evidence), &message),
        PodFailure::Misconfigured { message } => misconfigured(&message),
    }
}

fn explain_waiting(evidence: &Evidence<'_>, pod: &Pod) -> Explanation {
    if let Some(message) = unschedulable(pod) {
        return Explanation::new(
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
            return image_unavailable(&image(evidence), &message);
        }
        if reason.starts_with("Create") || reason.starts_with("RunContainer") {
            return cannot_start(&message);
        }
        if status.state.as_ref().is_some_and(|it| it.running.is_some()) {
            return explain_running(evidence, pod, status);
        }
        if let Some(end) = last_termination(status) {
            return match end.exit_code {
                0 => ended(status.restart_count + 1),
                code => crashed(evidence.log, code, status.restart_count + 1),
            };
        }
    }
    if let Some(message) = last_event(evidence.events, "FailedMount") {
        return misconfigured(&message);
    }
    let sandbox = last_event(evidence.events, "FailedCreatePodSandBox").map(|it| format!(": {it}")).unwrap_or_default();
    Explanation::new(
        Cause::Unknown,
        format!("After {} s the pod is still {}{sandbox}.", evidence.waited.as_secs(), activity(pod)),
        "Try again; if it stays, look at `kubectl describe pod`.",
    )
}

/// The process runs, but the pod does not count as ready: its sockets tell why.
fn explain_running(evidence: &Evidence<'_>, pod: &Pod, status: &ContainerStatus) -> Explanation {
    let port = probed_port(evidence.deployment);
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
    let is_refused = || last_event(evidence.events, "Unhealthy").is_some_and(|it| it.contains("connection refused"));
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
    if !outside.is_empty() {
        let mut ports: Vec<String> = outside.iter().map(|it| it.port().to_string()).collect();
        ports.dedup();
        return Explanation::new(
            Cause::PortMismatch,
            format!("Nothing listens on port {port}; the process listens on {}.", ports.join(" and ")),
            format!("Send `container_port` ({}), or correct EXPOSE in the Dockerfile.", ports.join(" or ")),
        );
    }
    if let Some(other) = inside.first() {
        return Explanation::new(
            Cause::PortMismatch,
            format!(
                "Nothing listens on port {port}; the process listens on {other}, where nothing outside its container reaches it."
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
        return crashed(evidence.log, end.exit_code, status.restart_count);
    }
    if let Some(line) = repeated_line(evidence.log) {
        return Explanation::new(
            Cause::NeverListens,
            format!(
                "The process runs, but listens on no port after {waited} s; it keeps printing `{}`.",
                truncate(line)
            ),
            "Give it what it waits for (another service, a variable in `environment`), or let it start without.",
        );
    }
    if printed_recently(evidence.log, evidence.now) {
        return Explanation::new(
            Cause::SlowStart,
            format!(
                "After {waited} s the process is still starting: it runs without an error and prints, but does not listen on port {port} yet."
            ),
            "Raise `ROLLOUT_TIMEOUT_S`, or let it start faster.",
        );
    }
    Explanation::new(
        Cause::NeverListens,
        format!("The process runs without an error, but listens on no port after {waited} s."),
        format!("Let it listen on 0.0.0.0:{port}; if it only needs more time, raise `ROLLOUT_TIMEOUT_S`."),
    )
}

fn image(evidence: &Evidence<'_>) -> String {
    container(evidence.deployment).and_then(|it| it.image.clone()).unwrap_or_default()
}

fn log_contains(evidence: &Evidence<'_>, text: &str) -> bool {
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
    container(deployment).and_then(live::probed_port).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::log;
    use serde_json::{Value, json};

    /// What a test says about a pod of an application that should serve port 8080.
    struct Case {
        container: Value,
        conditions: Value,
        log: &'static str,
        listeners: Option<Vec<SocketAddr>>,
        events: Value,
    }

    impl Case {
        fn container(container: Value) -> Self {
            Self { container, conditions: json!([]), log: "", listeners: None, events: json!([]) }
        }

        fn running() -> Self {
            Self::container(json!({"state": {"running": {}}, "restartCount": 0}))
        }

        fn waiting(reason: &str, message: &str) -> Self {
            Self::container(json!({"state": {"waiting": {"reason": reason, "message": message}}, "restartCount": 0}))
        }

        fn ended(reason: &str, exit_code: i32, restarts: i32) -> Self {
            Self::container(json!({
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"reason": reason, "exitCode": exit_code}},
                "restartCount": restarts,
            }))
        }

        fn printing(self, log: &'static str) -> Self {
            Self { log, ..self }
        }

        fn listening(self, addresses: &[&str]) -> Self {
            Self { listeners: Some(addresses.iter().map(|it| it.parse().unwrap()).collect()), ..self }
        }

        fn diagnosis(self) -> Diagnosis {
            let mut status = self.container;
            for (key, value) in [("name", json!("app")), ("image", json!("a:1")), ("ready", json!(false))] {
                status[key] = value;
            }
            let statuses = if status["state"].is_null() { json!([]) } else { json!([status]) };
            let pod: Pod = serde_json::from_value(json!({
                "metadata": {"name": "app-1"},
                "spec": {"containers": []},
                "status": {"containerStatuses": statuses, "conditions": self.conditions},
            }))
            .unwrap();
            let events: Vec<Event> = serde_json::from_value(self.events).unwrap();
            classify(&Evidence {
                deployment: &deployment(&json!([])),
                pod: Some(&pod),
                events: &events,
                log: &log::parse(self.log),
                listeners: self.listeners.as_deref(),
                waited: Duration::from_mins(3),
                now: "2026-01-01T00:03:00Z".parse().unwrap(),
            })
        }
    }

    fn deployment(conditions: &Value) -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"name": "app"},
            "spec": {"selector": {}, "template": {"spec": {"containers": [{
                "name": "app", "image": "on-demand-infra/app:1",
                "readinessProbe": {"tcpSocket": {"port": 8080}},
                "resources": {"limits": {"memory": "512Mi"}},
            }]}}},
            "status": {"conditions": conditions},
        }))
        .unwrap()
    }

    fn explained(case: Case) -> String {
        let diagnosis = case.diagnosis();
        format!("{}: {} {}", diagnosis.cause.code(), diagnosis.reason, diagnosis.next_step)
    }

    #[test]
    fn every_cause_has_its_own_words() {
        let start = "failed to create containerd task: runc create failed: exec: \"/no/such\": stat /no/such: no such file or directory: unknown";
        let format = "failed to create containerd task: exec /app: exec format error: unknown";
        let pull = "Back-off pulling image \"a:1\": ErrImagePull: failed to resolve: lookup docker.io: no such host";
        let early = "2026-01-01T00:00:01Z warming up\n";
        let recent = "2026-01-01T00:02:50Z compiled 80 of 90 pages\n";
        let waiting = "waiting for db\nwaiting for db\nwaiting for db\n";
        let mount = json!([{"metadata": {}, "involvedObject": {}, "reason": "FailedMount", "message": "secret \"keys\" not found"}]);
        let full = json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1"}]);
        let ready = json!([{"type": "Ready", "status": "True"}]);
        let placed = Case::container(json!({}));

        let told = [
            explained(Case::ended("OOMKilled", 137, 0)),
            explained(Case::ended("Error", 1, 2).printing("Traceback\nKeyError: 'DATABASE_URL'\n")),
            explained(Case::ended("Error", 127, 1)),
            explained(Case::ended("Completed", 0, 2)),
            explained(Case::ended("Error", 1, 2).printing("exec /app: exec format error\n")),
            explained(Case::waiting("RunContainerError", start)),
            explained(Case::waiting("RunContainerError", format)),
            explained(Case::waiting("CreateContainerError", "exec: \"/app\": permission denied: unknown")),
            explained(Case::waiting("ImagePullBackOff", pull)),
            explained(Case::waiting("CreateContainerConfigError", "secret \"app-env-1\" not found")),
            explained(Case { events: mount, ..Case::waiting("ContainerCreating", "") }),
            explained(Case { conditions: full, ..placed }),
            explained(Case::running().listening(&["[::]:9090"])),
            explained(Case::running().listening(&["127.0.0.1:8080", "0.0.0.0:9090"])),
            explained(Case::running().listening(&["127.0.0.1:9090"])),
            explained(Case::running().listening(&["0.0.0.0:8080"])),
            explained(Case::running().listening(&[]).printing(waiting)),
            explained(Case::running().listening(&[]).printing(early)),
            explained(Case::running().listening(&[]).printing(recent)),
            explained(Case::running()),
            explained(Case { conditions: ready, ..Case::running() }),
        ];

        insta::assert_json_snapshot!(told);
    }

    #[test]
    fn a_full_quota_is_found_in_the_condition_of_the_deployment() {
        let deployment = deployment(&json!([{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
            "message": "pods \"app-1\" is forbidden: exceeded quota: small, requested: cpu=100m, used: cpu=1, limited: cpu=1"}]));

        let diagnosis = classify(&Evidence {
            deployment: &deployment,
            pod: None,
            events: &[],
            log: &[],
            listeners: None,
            waited: Duration::from_secs(20),
            now: Timestamp::UNIX_EPOCH,
        });

        assert_eq!(diagnosis.cause, Cause::QuotaExceeded);
        assert!(diagnosis.reason.contains("exceeded quota: small"), "{}", diagnosis.reason);
    }

    #[test]
    fn the_last_lines_come_with_the_diagnosis() {
        let diagnosis = Case::ended("Error", 1, 2).printing("one\ntwo\n").diagnosis();

        assert_eq!(diagnosis.last_log_lines, ["one", "two"]);
    }
}
