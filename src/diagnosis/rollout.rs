//! Gathers what a cluster knows about a rollout that did not come to its end, and names the cause.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use crate::cloud::kube::Kube;
use crate::cloud::kube::error::KubeError;
use crate::cloud::kube::exec::RunningContainer;
use crate::cloud::kube::pod_failure::{is_ready, pod_failure};
use crate::diagnosis::classify::{Evidence, classify};
use crate::diagnosis::log;
use crate::diagnosis::sockets::parse_proc_net_tcp;
use crate::diagnosis::{Cause, Diagnosis};
use crate::id::{DeploymentName, Namespace};

/// How many log lines a diagnosis reads.
const MAX_LOG_LINES: u32 = 200;

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
    let Some(snapshot) = kube.snapshot(name, namespace).await? else {
        return Ok(Diagnosis {
            cause: Cause::Unknown,
            reason: format!("The deployment `{name}` is no longer on the cluster: someone deleted it meanwhile."),
            last_log_lines: Vec::new(),
            next_step: "Deploy it again.".to_owned(),
        });
    };
    let worst_pod = worst_pod(&snapshot.pods);
    let mut log = Vec::new();
    let mut listeners = None;
    if let Some(pod) = worst_pod {
        let pod_name = pod.name_any();
        // Logs and sockets are evidence, not a condition: without them the diagnosis is only poorer.
        for previous in [false, true] {
            if log.is_empty() {
                let text =
                    kube.pod_log(namespace.as_str(), &pod_name, MAX_LOG_LINES, previous).await.unwrap_or_default();
                log = log::parse(&text);
            }
        }
        if let Some(container) = RunningContainer::from_pod(pod) {
            let mut text = kube.socket_tables(namespace.as_str(), &pod_name).await.unwrap_or_default();
            if !text.contains("local_address") {
                text = sockets(container).await.unwrap_or_default();
            }
            listeners = text.contains("local_address").then(|| parse_proc_net_tcp(&text));
        }
    }
    Ok(classify(&Evidence {
        deployment: &snapshot.deployment,
        pod: worst_pod,
        events: &snapshot.events,
        log: &log,
        listeners: listeners.as_deref(),
        waited,
        now: jiff::Timestamp::now(),
    }))
}

/// The pod that tells most: one with a definite fault, else one that is not ready, with the most restarts.
fn worst_pod(pods: &BTreeMap<String, Pod>) -> Option<&Pod> {
    let restarts = |pod: &Pod| {
        let statuses = pod.status.as_ref().and_then(|it| it.container_statuses.as_deref()).unwrap_or_default();
        statuses.iter().map(|it| it.restart_count).sum::<i32>()
    };
    pods.values().max_by_key(|pod| (pod_failure(pod).is_some(), !is_ready(pod), restarts(pod)))
}
