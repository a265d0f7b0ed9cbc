//! What the cluster knows about a failed rollout -> its cause, in words. Pure.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::cloud::kube::limit::{full_quota, limit_range, settings_of};
use crate::cloud::kube::pod_failure::{
    PodFailure, activity, creation_failure, last_termination, pod_failure, unschedulable,
};
use crate::diagnosis::evidence::Evidence;
use crate::diagnosis::explanation::{
    Explanation, cannot_start, crashed, ended, image_unavailable, misconfigured, wrong_architecture,
};
use crate::diagnosis::log::last_lines;
use crate::diagnosis::running::explain_running;
use crate::diagnosis::{Cause, Diagnosis};

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
    let failure =
        creation_failure(evidence.deployment).or_else(|| evidence.last_event("FailedCreate")).unwrap_or_default();
    if let Some(quota) = full_quota(&failure) {
        return Explanation::new(
            Cause::QuotaExceeded,
            format!("The namespace has no room for another pod: {quota}."),
            "Free some of the quota, raise it, or deploy to another namespace.",
        );
    }
    if let Some(refusal) = limit_range(&failure) {
        return explain_limit_range(refusal, evidence.limit_ranges);
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

fn explain_limit_range(refusal: &str, names: &[String]) -> Explanation {
    let quoted = |names: &[&str]| names.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", ");
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let name = if names.is_empty() { String::new() } else { format!(" {}", quoted(&names)) };
    let settings = match settings_of(refusal).as_slice() {
        [] => String::new(),
        settings => format!("set the server's {} to what it allows, ", quoted(settings)),
    };
    Explanation::new(
        Cause::CreationRefused,
        format!("The LimitRange{name} of the namespace refuses the pod: {refusal}."),
        format!("Change the LimitRange, {settings}or deploy to another namespace."),
    )
}

fn explain_failure(evidence: &Evidence<'_>, failure: PodFailure) -> Explanation {
    match failure {
        PodFailure::OutOfMemory => Explanation::new(
            Cause::OutOfMemory,
            format!(
                "The process was killed because it used more memory than its limit of {}.",
                evidence.memory_limit()
            ),
            "Let the application use less memory, or raise the server's `MEMORY_LIMIT`.",
        ),
        PodFailure::CannotStart { message } => cannot_start(&message, evidence.facts, evidence.node_architecture),
        PodFailure::Crashed { .. } | PodFailure::Ended { .. } if evidence.log_contains("exec format error") => {
            wrong_architecture(evidence.facts, evidence.node_architecture)
        }
        PodFailure::Ended { times } => ended(evidence.log, evidence.facts, times),
        PodFailure::Crashed { exit_code, times } => crashed(evidence.log, evidence.facts, exit_code, times),
        PodFailure::ImageUnavailable { message } => image_unavailable(&evidence.image(), &message),
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
            return image_unavailable(&evidence.image(), &message);
        }
        if reason.starts_with("Create") || reason.starts_with("RunContainer") {
            return cannot_start(&message, evidence.facts, evidence.node_architecture);
        }
        if status.state.as_ref().is_some_and(|it| it.running.is_some()) {
            return explain_running(evidence, pod, status);
        }
        if let Some(end) = last_termination(status) {
            return match end.exit_code {
                0 => ended(evidence.log, evidence.facts, status.restart_count + 1),
                code => crashed(evidence.log, evidence.facts, code, status.restart_count + 1),
            };
        }
    }
    if let Some(message) = evidence.last_event("FailedMount") {
        return misconfigured(&message);
    }
    let sandbox = evidence.last_event("FailedCreatePodSandBox").map(|it| format!(": {it}")).unwrap_or_default();
    Explanation::new(
        Cause::Unknown,
        format!("After {} s the pod is still {}{sandbox}.", evidence.waited.as_secs(), activity(pod)),
        "Try again; if it stays, look at `kubectl describe pod`.",
    )
}

fn container_status(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use jiff::Timestamp;
    use k8s_openapi::api::apps::v1::Deployment;
    use k8s_openapi::api::core::v1::Event;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::diagnosis::facts::Facts;
    use crate::diagnosis::log;
    use crate::store::record::PortSource;

    /// What a test says about a pod of an application that should serve port 8080.
    struct Case {
        container: Value,
        conditions: Value,
        log: &'static str,
        listeners: Option<Vec<SocketAddr>>,
        events: Value,
        facts: Facts,
    }

    impl Case {
        fn container(container: Value) -> Self {
            Self {
                container,
                conditions: json!([]),
                log: "",
                listeners: None,
                events: json!([]),
                facts: Facts::default(),
            }
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

        fn of(self, facts: Facts) -> Self {
            Self { facts, ..self }
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
                facts: &self.facts,
                node_architecture: Some("amd64"),
                limit_ranges: &[],
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

    /// A Deployment whose pods are refused with these words.
    fn refused(message: &str, limit_ranges: &[String]) -> Diagnosis {
        let deployment = deployment(
            &json!([{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}]),
        );
        classify(&Evidence {
            deployment: &deployment,
            pod: None,
            events: &[],
            log: &[],
            listeners: None,
            facts: &Facts::default(),
            node_architecture: None,
            limit_ranges,
            waited: Duration::from_secs(20),
            now: Timestamp::UNIX_EPOCH,
        })
    }

    #[test]
    fn a_full_quota_is_told_with_its_name_and_numbers() {
        let diagnosis = refused(
            "pods \"app-1\" is forbidden: exceeded quota: small, requested: cpu=100m, used: cpu=1, limited: cpu=1",
            &[],
        );

        assert_eq!(diagnosis.cause, Cause::QuotaExceeded);
        assert!(
            diagnosis.reason.contains("`small` is cpu=1, of which cpu=1 is used; cpu=100m is wanted"),
            "{diagnosis:?}"
        );
    }

    #[test]
    fn a_limit_range_is_told_with_its_name_its_numbers_and_the_setting() {
        let diagnosis = refused(
            "pods \"app-1\" is forbidden: maximum memory usage per Container is 64Mi, but limit is 512Mi",
            &["tight".to_owned()],
        );

        assert_eq!(diagnosis.cause, Cause::CreationRefused);
        assert_eq!(
            diagnosis.reason,
            "The LimitRange `tight` of the namespace refuses the pod: maximum memory usage per Container is 64Mi, but limit is 512Mi."
        );
        assert!(diagnosis.next_step.contains("`MEMORY_LIMIT`"), "{}", diagnosis.next_step);
    }

    #[test]
    fn who_said_the_port_is_told_and_expose_is_corrected_only_where_there_is_one() {
        let told = |source, is_exposed| {
            let facts = Facts { port: Some((source, is_exposed)), ..Facts::default() };
            explained(Case::running().listening(&["[::]:9090"]).of(facts))
        };

        insta::assert_json_snapshot!([
            told(PortSource::Person, false),
            told(PortSource::Environment, true),
            told(PortSource::Image, true),
            told(PortSource::Image, false),
            told(PortSource::Assumed, false),
            told(PortSource::Seen, false),
        ]);
    }

    #[test]
    fn what_the_image_is_makes_the_words_definite() {
        let facts = |user: &str, architecture: &str, stages: &[&str]| Facts {
            user: Some(user.to_owned()),
            architecture: Some(architecture.to_owned()),
            stages: stages.iter().map(|it| (*it).to_owned()).collect(),
            ..Facts::default()
        };
        let refused = |message: &str| Case::waiting("CreateContainerError", message);
        let crashed = |log: &'static str| Case::ended("Error", 1, 2).printing(log);
        let interactive = Facts { command: vec!["python3".to_owned()], ..Facts::default() };

        insta::assert_json_snapshot!([
            explained(crashed("exec /app: exec format error\n").of(facts("", "arm64", &[]))),
            explained(crashed("exec /app: exec format error\n").of(facts("", "amd64", &[]))),
            explained(
                refused("failed to create containerd container: mount callback failed on /var/lib/containerd/tmpmounts/containerd-mount9: no users found")
                    .of(facts("app", "amd64", &["build", "runtime"]))
            ),
            explained(refused("unable to find user app: no matching entries in passwd file: not found")),
            explained(
                refused("failed to generate container \"25\" spec: failed to generate spec: no command specified")
                    .of(facts("", "amd64", &["build", "test"]))
            ),
            explained(crashed("Error: listen EACCES: permission denied 0.0.0.0:80\n").of(facts("app", "amd64", &[]))),
            explained(crashed("PermissionError: [Errno 13] Permission denied: '/data/x'\n").of(facts("app", "amd64", &[]))),
            explained(Case::ended("Completed", 0, 2).of(facts("", "amd64", &["base", "test"]))),
            explained(Case::ended("Completed", 0, 2).of(interactive)),
            explained(Case::ended("Error", 127, 2).printing("/run.sh: line 2: gunicorn: command not found\n")),
            explained(Case::ended("Error", 127, 2).printing("bye\n")),
        ]);
    }

    #[test]
    fn an_error_that_a_living_process_printed_is_the_likely_cause() {
        let log = "Traceback (most recent call last):\n  File \"a.py\", line 1\nKeyError: 'DATABASE_URL'\nwaiting\n";

        let told = explained(Case::running().listening(&[]).printing(log));

        assert!(told.contains("likely cause is an error that it printed, `KeyError: 'DATABASE_URL'`"), "{told}");
        assert!(told.contains("`environment`"), "{told}");
    }

    #[test]
    fn only_a_missing_variable_is_to_be_sent() {
        for log in ["", "boom\n", "panic: boom\n", "listen tcp :80: bind: permission denied\n"] {
            let told = explained(Case::ended("Error", 1, 2).printing(log));
            assert!(!told.contains("environment"), "{told}");
        }
    }

    proptest! {
        #[test]
        fn no_words_make_it_panic_and_what_to_do_is_not_why(message in ".*", log in "(.|\n){0,200}") {
            let log: &'static str = Box::leak(log.into_boxed_str());
            let told = [
                Case::waiting("RunContainerError", &message).printing(log).diagnosis(),
                Case::ended("Error", 1, 2).printing(log).diagnosis(),
                Case::running().listening(&[]).printing(log).diagnosis(),
                refused(&message, &[]),
            ];
            for it in told {
                prop_assert!(!it.reason.contains(&it.next_step), "{:?}", it);
            }
        }
    }

    #[test]
    fn the_last_lines_come_with_the_diagnosis() {
        let diagnosis = Case::ended("Error", 1, 2).printing("one\ntwo\n").diagnosis();

        assert_eq!(diagnosis.last_log_lines, ["one", "two"]);
    }
}
