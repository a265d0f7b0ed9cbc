//! Gathers what a cluster knows about a rollout that did not come to its end, and names the cause.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use crate::cloud::kube::Kube;
use crate::cloud::kube::error::KubeError;
use crate::cloud::kube::exec::RunningContainer;
use crate::cloud::kube::limit::limit_range;
use crate::cloud::kube::pod_failure::{creation_failure, is_ready, pod_failure};
use crate::cloud::kube::snapshot::Snapshot;
use crate::diagnosis::classify::classify;
use crate::diagnosis::evidence;
use crate::diagnosis::facts::Facts;
use crate::diagnosis::log::{self, TimedLine};
use crate::diagnosis::quotes::redact_messages;
use crate::diagnosis::sockets::parse_proc_net_tcp;
use crate::diagnosis::{Cause, Diagnosis};
use crate::id::{DeploymentName, Namespace, Port};
use crate::secret::Redactor;

/// How many log lines a diagnosis reads.
const MAX_LOG_LINES: u32 = 200;

/// What a cluster knows about a rollout at one moment.
#[derive(Debug)]
pub struct Evidence {
    snapshot: Snapshot,
    pod: Option<Pod>,
    log: Vec<TimedLine>,
    /// Where the processes of the pod that tells most listen; `None` when that is not known.
    pub listeners: Option<Vec<SocketAddr>>,
    node_architecture: Option<String>,
    limit_ranges: Vec<String>,
}

/// Looks at a rollout; `None` when its Deployment is not there.
///
/// `sockets` reads the socket tables of a container from outside ([`RunningContainer::socket_tables_command`] on its
/// node), for images without `cat`; a caller that cannot do that returns `None`. `redactor` knows what the application may
/// tell to nobody.
///
/// # Errors
/// What the API answers when not even the pods can be listed.
pub async fn gather<F>(
    kube: &Kube,
    name: &DeploymentName,
    namespace: &Namespace,
    redactor: &Redactor,
    sockets: impl Fn(RunningContainer) -> F + Send,
) -> Result<Option<Evidence>, KubeError>
where
    F: Future<Output = Option<String>> + Send,
{
    let Some(mut snapshot) = kube.snapshot(name, namespace).await? else { return Ok(None) };
    redact_messages(&mut snapshot, redactor);
    let pod = worst_pod(&snapshot.pods).cloned();
    let mut log = Vec::new();
    let mut listeners = None;
    if let Some(pod) = &pod {
        let pod_name = pod.name_any();
        // Logs and sockets are evidence, not a condition: without them the diagnosis is only poorer.
        for previous in [false, true] {
            if log.is_empty() {
                let text =
                    kube.pod_log(namespace.as_str(), &pod_name, MAX_LOG_LINES, previous).await.unwrap_or_default();
                log = log::parse(&redactor.redact(&text));
            }
        }
        if let Some(container) = RunningContainer::from_pod(pod) {
            let mut text = sockets(container).await.unwrap_or_default();
            if !text.contains("local_address") {
                text = kube.socket_tables(namespace.as_str(), &pod_name).await.unwrap_or_default();
            }
            listeners = text.contains("local_address").then(|| parse_proc_net_tcp(&text));
        }
    }
    let node =
        pod.as_ref().filter(|pod| pod_failure(pod).is_some()).and_then(|pod| pod.spec.as_ref()?.node_name.clone());
    let node_architecture = match node {
        Some(node) => kube.node_architecture(&node).await,
        None => None,
    };
    let refusal = creation_failure(&snapshot.deployment).unwrap_or_default();
    let limit_ranges = match limit_range(&refusal) {
        Some(_) => kube.limit_ranges(namespace).await,
        None => Vec::new(),
    };
    Ok(Some(Evidence { snapshot, pod, log, listeners, node_architecture, limit_ranges }))
}

/// Finds out why a rollout did not come to its end. Call it before anything is undone.
///
/// `facts` is what is known beside what the cluster tells.
///
/// # Errors
/// As [`gather`].
pub async fn diagnose<F>(
    kube: &Kube,
    name: &DeploymentName,
    namespace: &Namespace,
    waited: Duration,
    redactor: &Redactor,
    facts: &Facts,
    sockets: impl Fn(RunningContainer) -> F + Send,
) -> Result<Diagnosis, KubeError>
where
    F: Future<Output = Option<String>> + Send,
{
    Ok(match gather(kube, name, namespace, redactor, sockets).await? {
        Some(evidence) => evidence.classify(waited, facts),
        None => Diagnosis {
            cause: Cause::Unknown,
            reason: format!("The deployment `{name}` is no longer on the cluster: someone deleted it meanwhile."),
            last_log_lines: Vec::new(),
            next_step: "Deploy it again.".to_owned(),
        },
    })
}

impl Evidence {
    /// Names the cause of what is seen, after it was waited so long.
    #[must_use]
    pub fn classify(&self, waited: Duration, facts: &Facts) -> Diagnosis {
        classify(&evidence::Evidence {
            deployment: &self.snapshot.deployment,
            pod: self.pod.as_ref(),
            events: &self.snapshot.events,
            log: &self.log,
            listeners: self.listeners.as_deref(),
            facts,
            node_architecture: self.node_architecture.as_deref(),
            limit_ranges: &self.limit_ranges,
            waited,
            now: jiff::Timestamp::now(),
        })
    }

    /// The pod that tells most.
    #[must_use]
    pub fn pod_name(&self) -> Option<String> {
        self.pod.as_ref().map(ResourceExt::name_any)
    }

    /// Whether a process listens on that port, at whatever address.
    #[must_use]
    pub fn serves(&self, port: Port) -> bool {
        self.listeners.iter().flatten().any(|it| it.port() == port.get())
    }

    /// What the process that runs and is not ready has done so far: another value means that it has done something. `None`
    /// when there is none.
    #[must_use]
    pub fn activity(&self) -> Option<Activity> {
        let pod = self.pod.as_ref().filter(|pod| !is_ready(pod))?;
        let container = RunningContainer::from_pod(pod)?;
        let printed = self.log.last().map(|line| (line.at, line.text.clone()));
        Some(Activity { container, printed, listeners: self.listeners.clone() })
    }
}

/// What a process has done so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    container: RunningContainer,
    printed: Option<(Option<jiff::Timestamp>, String)>,
    listeners: Option<Vec<SocketAddr>>,
}

/// The pod that tells most: one with a definite fault, else one that is not ready, with the most restarts.
fn worst_pod(pods: &BTreeMap<String, Pod>) -> Option<&Pod> {
    let restarts = |pod: &Pod| {
        let statuses = pod.status.as_ref().and_then(|it| it.container_statuses.as_deref()).unwrap_or_default();
        statuses.iter().map(|it| it.restart_count).sum::<i32>()
    };
    pods.values().max_by_key(|pod| (pod_failure(pod).is_some(), !is_ready(pod), restarts(pod)))
}
