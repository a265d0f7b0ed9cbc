//! What is definitely wrong with a pod or a Deployment: more waiting would not help.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use kube::ResourceExt;

/// How many times a process may end before it is called a crash loop.
pub const CRASHES: i32 = 3;

/// A definite cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PodFailure {
    /// The process was killed because it used more memory than its limit.
    OutOfMemory,
    /// The process ended with an error, again and again.
    Crashed {
        /// Its last exit code.
        exit_code: i32,
        /// How many times.
        times: i32,
    },
    /// The process ended by itself without an error, again and again.
    Ended {
        /// How many times.
        times: i32,
    },
    /// The image is not on the node and cannot be fetched.
    ImageUnavailable {
        /// As the node says it.
        message: String,
    },
    /// The image is there, but its program cannot be started.
    CannotStart {
        /// As the container runtime says it.
        message: String,
    },
    /// A Secret, `ConfigMap` or setting that the container needs is missing or wrong.
    Misconfigured {
        /// As the node says it.
        message: String,
    },
}

/// What is definitely wrong with the pod. One that serves is right, whatever happened before.
#[must_use]
pub fn pod_failure(pod: &Pod) -> Option<PodFailure> {
    if is_ready(pod) {
        return None;
    }
    let status = pod.status.as_ref()?;
    status.container_statuses.as_deref().unwrap_or_default().iter().find_map(container_failure)
}

fn container_failure(status: &ContainerStatus) -> Option<PodFailure> {
    let running = status.state.as_ref().is_some_and(|state| state.running.is_some());
    let ended = last_termination(status);
    let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
    let reason = waiting.and_then(|it| it.reason.as_deref()).unwrap_or_default();
    let message = waiting.and_then(|it| it.message.clone()).unwrap_or_default();
    if let Some(end) = ended
        && let Some(failure) = termination_failure(end, status.restart_count, running)
    {
        return Some(failure);
    }
    match reason {
        "ErrImageNeverPull" | "ImagePullBackOff" | "InvalidImageName" | "ImageInspectError" => {
            Some(PodFailure::ImageUnavailable { message })
        }
        // The kubelet has not yet read a Secret that is there: it tries again.
        "CreateContainerConfigError" if message.contains("failed to sync") => None,
        "CreateContainerConfigError" => Some(PodFailure::Misconfigured { message }),
        "CreateContainerError" | "RunContainerError" if is_final(&message) => Some(PodFailure::CannotStart { message }),
        _ => None,
    }
}

/// How the container's process ended the last time, if it did.
#[must_use]
pub fn last_termination(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    [status.state.as_ref(), status.last_state.as_ref()]
        .into_iter()
        .flatten()
        .find_map(|state| state.terminated.as_ref())
}

fn termination_failure(end: &ContainerStateTerminated, restarts: i32, running: bool) -> Option<PodFailure> {
    let times = restarts + 1;
    match end.reason.as_deref().unwrap_or_default() {
        "OOMKilled" => Some(PodFailure::OutOfMemory),
        "StartError" | "ContainerCannotRun" => {
            Some(PodFailure::CannotStart { message: end.message.clone().unwrap_or_default() })
        }
        // A process that runs again may do better this time.
        _ if running || times < CRASHES => None,
        _ if end.exit_code == 0 => Some(PodFailure::Ended { times }),
        _ => Some(PodFailure::Crashed { exit_code: end.exit_code, times }),
    }
}

/// A failure to create a container can pass (a name that is still reserved); these do not.
fn is_final(message: &str) -> bool {
    const FINAL: [&str; 11] = [
        "no such file or directory",
        "executable file not found",
        "exec format error",
        "permission denied",
        "not found",
        "no command specified",
        "a directory",
        "no users found",
        "no groups found",
        "unable to find",
        "no matching entries",
    ];
    FINAL.iter().any(|it| message.contains(it))
}

/// Why no pod can be made for the Deployment, such as a full quota.
#[must_use]
pub fn creation_failure(deployment: &Deployment) -> Option<String> {
    let conditions = deployment.status.as_ref()?.conditions.as_deref()?;
    let failure = conditions
        .iter()
        .find(|it| it.type_.as_deref() == Some("ReplicaFailure") && it.status.as_deref() == Some("True"))?;
    Some(failure.message.clone().unwrap_or_default())
}

/// Why no node takes the pod.
#[must_use]
pub fn unschedulable(pod: &Pod) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_deref()?;
    let failure = conditions.iter().find(|it| {
        it.type_ == "PodScheduled" && it.status == "False" && it.reason.as_deref() == Some("Unschedulable")
    })?;
    let message = failure.message.clone().unwrap_or_default();
    // What follows is about evicting other pods, which never helps here.
    let end = [". no new claims", ", preemption:", " preemption:"].iter().filter_map(|it| message.find(it)).min();
    Some(message[..end.unwrap_or(message.len())].trim_end_matches('.').to_owned())
}

/// Whether the pod serves.
#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|it| it.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|it| it.type_ == "Ready" && it.status == "True")
}

/// What the pod is doing, as the end of the sentence "pod x is ...".
#[must_use]
pub fn activity(pod: &Pod) -> String {
    if pod.metadata.deletion_timestamp.is_some() {
        return "stopping".to_owned();
    }
    if is_ready(pod) {
        return "ready".to_owned();
    }
    if unschedulable(pod).is_some() {
        return "waiting for a node with room".to_owned();
    }
    let statuses = pod.status.as_ref().and_then(|it| it.container_statuses.as_deref()).unwrap_or_default();
    let Some(status) = statuses.first() else { return "being placed on a node".to_owned() };
    let state = status.state.clone().unwrap_or_default();
    if state.running.is_some() {
        return "running and does not answer on its port yet".to_owned();
    }
    let ends = status.restart_count + 1;
    if let Some(end) = state.terminated {
        return format!("stopped with exit code {} (start {ends})", end.exit_code);
    }
    match state.waiting.and_then(|it| it.reason).as_deref() {
        Some("ContainerCreating" | "PodInitializing") | None => "starting".to_owned(),
        Some("ErrImagePull" | "ImagePullBackOff") => "pulling its image, without success so far".to_owned(),
        Some("CrashLoopBackOff") => format!("waiting to be started again after crash {ends}"),
        Some(reason) => format!("waiting ({reason})"),
    }
}

/// The template hash that ties a pod to its `ReplicaSet`.
#[must_use]
pub fn template_hash(object: &impl ResourceExt) -> Option<&str> {
    object.labels().get("pod-template-hash").map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(ready: bool, restarts: i32, state: &Value, last: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "app-1"},
            "spec": {"containers": []},
            "status": {
                "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
                "containerStatuses": [{"name": "app", "image": "a:1", "ready": ready, "restartCount": restarts,
                    "state": state, "lastState": last}],
            },
        }))
        .unwrap()
    }

    fn failed() -> Value {
        json!({"terminated": {"exitCode": 1, "reason": "Error"}})
    }

    #[test]
    fn a_crash_is_definite_the_third_time() {
        let back_off = || json!({"waiting": {"reason": "CrashLoopBackOff"}});

        assert_eq!(pod_failure(&pod(false, 1, &back_off(), &failed())), None);
        assert_eq!(pod_failure(&pod(false, 1, &failed(), &failed())), None);
        assert_eq!(
            pod_failure(&pod(false, 2, &failed(), &failed())),
            Some(PodFailure::Crashed { exit_code: 1, times: 3 })
        );
    }

    #[test]
    fn a_process_that_runs_again_has_another_chance() {
        assert_eq!(pod_failure(&pod(false, 5, &json!({"running": {}}), &failed())), None);
        assert_eq!(pod_failure(&pod(true, 5, &json!({"running": {}}), &failed())), None);
    }

    #[test]
    fn a_process_that_ran_out_of_memory_is_not_waited_for() {
        let killed = || json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});

        assert_eq!(pod_failure(&pod(false, 1, &json!({"running": {}}), &killed())), Some(PodFailure::OutOfMemory));
        assert_eq!(pod_failure(&pod(true, 1, &json!({"running": {}}), &killed())), None);
    }

    #[test]
    fn a_container_that_could_not_be_created_this_time_may_be_the_next() {
        let reserved = json!({"waiting": {"reason": "CreateContainerError", "message": "name \"app\" is reserved"}});

        assert_eq!(pod_failure(&pod(false, 0, &reserved, &json!({}))), None);
    }

    #[test]
    fn a_user_that_the_image_does_not_have_will_not_come() {
        let message =
            "failed to create containerd container: mount callback failed on /tmp/containerd-mount1: no users found";
        let waiting = json!({"waiting": {"reason": "CreateContainerError", "message": message}});

        assert!(matches!(pod_failure(&pod(false, 0, &waiting, &json!({}))), Some(PodFailure::CannotStart { .. })));
    }

    #[test]
    fn a_secret_that_is_not_there_is_told_from_one_that_was_not_read_yet() {
        let waiting = |message: &str| {
            let state = json!({"waiting": {"reason": "CreateContainerConfigError", "message": message}});
            pod_failure(&pod(false, 0, &state, &json!({})))
        };

        let lacks = "secret \"app-env-1\" not found".to_owned();
        assert_eq!(waiting(&lacks), Some(PodFailure::Misconfigured { message: lacks }));
        assert_eq!(waiting("failed to sync secret cache: timed out waiting for the condition"), None);
    }
}
