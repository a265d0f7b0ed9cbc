//! A failed rollout or apply -> the reason in words, and the next thing to do.
//!
//! `diagnose` gathers what the cluster knows (pods, events, log lines, open sockets); `classify` is pure. The words quote
//! what applications print: the caller redacts them.

pub mod classify;
pub mod log;
pub mod sockets;
mod words;

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use crate::cloud::kube::Kube;
use crate::cloud::kube::error::KubeError;
use crate::cloud::kube::exec::RunningContainer;
use crate::cloud::kube::fault::{is_ready, pod_fault};
use crate::diagnosis::classify::{Evidence, classify};
use crate::diagnosis::sockets::parse_proc_net_tcp;
use crate::id::{DeploymentName, Namespace};

/// How many log lines a diagnosis reads.
const READ_LINES: u32 = 200;

/// Why an application does not run, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// The cause, for programs.
    pub cause: Cause,
    /// The cause in one or two sentences.
    pub reason: String,
    /// The last lines that the application printed.
    pub last_log_lines: Vec<String>,
    /// What a person does next.
    pub next_step: String,
}

/// What can be wrong with an application on a cluster. The names are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Cause {
    /// The program that the image names is not in it.
    EntrypointMissing,
    /// The image is built for another kind of processor.
    WrongArchitecture,
    /// The program cannot be started for another reason.
    CannotStart,
    /// The image is not on the node and cannot be fetched.
    ImageUnavailable,
    /// The process ends by itself without an error.
    ProcessEnded,
    /// The process ends with an error again and again.
    CrashLoop,
    /// The process uses more memory than it may.
    OutOfMemory,
    /// The process listens on another port than the one that is probed.
    PortMismatch,
    /// The process listens on the loopback address only.
    LoopbackOnly,
    /// The process runs and listens on no port.
    NeverListens,
    /// The process listens, but never counts as ready.
    NotReady,
    /// Nothing is wrong except the time that it takes.
    SlowStart,
    /// No node has room for it.
    Unschedulable,
    /// The quota of the namespace leaves no room.
    QuotaExceeded,
    /// The cluster refuses to create its pods.
    CreationRefused,
    /// A Secret, `ConfigMap` or volume that it needs is missing.
    ConfigurationMissing,
    /// All node ports of the range are in use.
    NodePortsExhausted,
    /// The cluster itself does not work.
    ClusterBroken,
    /// Objects of the same name belong to someone else.
    NameTaken,
    /// The credentials do not suffice.
    NotPermitted,
    /// None of the others fits.
    Unknown,
}

impl Cause {
    /// Its stable name.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.into()
    }
}

/// Finds out why a rollout did not come to its end. Call it before anything is undone.
///
/// `sockets` reads the socket tables of a container from outside ([`RunningContainer::socket_tables_command`] on its
/// node), for images without `cat`; a caller that cannot do that returns `None`.
///
/// # Errors
/// What the API answers when not even the pods can be listed.
pub async fn diagnose<F>(
    kube: &Kube,
    name: &DeploymentName,
    namespace: &Namespace,
    waited: Duration,
    sockets: impl Fn(RunningContainer) -> F + Send,
) -> Result<Diagnosis, KubeError>
where
    F: Future<Output = Option<String>> + Send,
{
    let Some(scene) = kube.scene(name, namespace).await? else {
        return Ok(Diagnosis {
            cause: Cause::Unknown,
            reason: format!("The deployment `{name}` is no longer on the cluster: someone deleted it meanwhile."),
            last_log_lines: Vec::new(),
            next_step: "Deploy it again.".to_owned(),
        });
    };
    let suspect = suspect(&scene.pods);
    let mut log = Vec::new();
    let mut listeners = None;
    if let Some(pod) = suspect {
        let pod_name = pod.name_any();
        // Logs and sockets are evidence, not a condition: without them the diagnosis is only poorer.
        for previous in [false, true] {
            if log.is_empty() {
                let text = kube.pod_log(namespace.as_str(), &pod_name, READ_LINES, previous).await.unwrap_or_default();
                log = log::parse(&text);
            }
        }
        if let Some(container) = RunningContainer::of(pod) {
            let mut text = kube.socket_tables(namespace.as_str(), &pod_name).await.unwrap_or_default();
            if !text.contains("local_address") {
                text = sockets(container).await.unwrap_or_default();
            }
            listeners = text.contains("local_address").then(|| parse_proc_net_tcp(&text));
        }
    }
    Ok(classify(&Evidence {
        deployment: &scene.deployment,
        pod: suspect,
        events: &scene.events,
        log: &log,
        listeners: listeners.as_deref(),
        waited,
        now: jiff::Timestamp::now(),
    }))
}

/// The pod that tells most: one with a definite fault, else one that is not ready, with the most restarts.
fn suspect(pods: &BTreeMap<String, Pod>) -> Option<&Pod> {
    let restarts = |pod: &Pod| {
        let statuses = pod.status.as_ref().and_then(|it| it.container_statuses.as_deref()).unwrap_or_default();
        statuses.iter().map(|it| it.restart_count).sum::<i32>()
    };
    pods.values().max_by_key(|pod| (pod_fault(pod).is_some(), !is_ready(pod), restarts(pod)))
}

impl Diagnosis {
    /// Puts an error of the cluster's API into the same form, where a person can do something about it.
    #[must_use]
    pub fn of_error(error: &KubeError) -> Self {
        let (cause, next_step) = match error {
            KubeError::NodePortsExhausted { .. } => {
                (Cause::NodePortsExhausted, "Take down an application that is not needed, or widen `NODE_PORT_RANGE`.")
            }
            KubeError::NodePortTaken { .. } => {
                (Cause::NodePortsExhausted, "Leave the node port out, or name a free one.")
            }
            KubeError::QuotaExceeded { .. } => {
                (Cause::QuotaExceeded, "Free some of the quota, raise it, or deploy to another namespace.")
            }
            KubeError::Denied { .. } | KubeError::Invalid { .. } => {
                (Cause::CreationRefused, "Change what the policy objects to, or deploy to another namespace.")
            }
            KubeError::NotOurs { .. } => (Cause::NameTaken, "Choose another `instance_name` or `target_namespace`."),
            KubeError::Forbidden { .. } | KubeError::Unauthorized => {
                (Cause::NotPermitted, "Use a kubeconfig whose account may do this.")
            }
            KubeError::Refused { .. }
            | KubeError::Unreachable { .. }
            | KubeError::Certificate { .. }
            | KubeError::Kubeconfig(_)
            | KubeError::NodeNotReady { .. }
            | KubeError::NoNodes => (
                Cause::ClusterBroken,
                "Check the cluster with `docker ps` and `kubectl get nodes`; a kind cluster that stays broken can be \
                 deleted with `kind delete cluster`, and is made again by the next deploy.",
            ),
            KubeError::Timeout { .. }
            | KubeError::Unavailable { .. }
            | KubeError::NamespaceTerminating { .. }
            | KubeError::Conflict { .. } => (Cause::ClusterBroken, "Try again in a moment."),
            KubeError::NotFound { .. }
            | KubeError::Template(_)
            | KubeError::Manifest { .. }
            | KubeError::Cancelled
            | KubeError::Unexpected(_) => (Cause::Unknown, "Try again; if it stays, read the server's log."),
        };
        let mut reason = error.to_string();
        if let Some(first) = reason.get(..1) {
            reason = format!("{}{}.", first.to_ascii_uppercase(), &reason[1..]);
        }
        Self { cause, reason, last_log_lines: Vec::new(), next_step: next_step.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exhausted_range_of_node_ports_is_a_cause_of_its_own() {
        let diagnosis = Diagnosis::of_error(&KubeError::NodePortsExhausted { first: 30000, last: 30015 });

        insta::assert_json_snapshot!(diagnosis);
    }

    #[test]
    fn the_code_of_a_cause_is_what_it_serialises_to() {
        assert_eq!(
            (Cause::LoopbackOnly.code(), Cause::NodePortsExhausted.code()),
            ("loopback_only", "node_ports_exhausted")
        );
        assert!(Cause::VARIANTS.iter().all(|it| serde_json::to_value(it).unwrap() == it.code()));
    }
}
