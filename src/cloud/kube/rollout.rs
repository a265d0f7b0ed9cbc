//! Waits for a rollout by watching the Deployment, its `ReplicaSet`s and its pods.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::Api;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cloud::OnProgress;
use crate::cloud::kube::Kube;
use crate::cloud::kube::error::KubeError;
use crate::cloud::kube::live::{count, probed_port};
use crate::cloud::kube::pod_failure::{
    PodFailure, activity, creation_failure, is_ready, pod_failure, template_hash, unschedulable,
};
use crate::cloud::kube::watch_cache::WatchCache;
use crate::id::{DeploymentName, Namespace};

/// How long no node or no quota may have room before that is called definite: what still stops may make room.
const ROOM_GRACE: Duration = Duration::from_secs(20);
/// How long the API may be away before the wait ends.
const API_GRACE: Duration = Duration::from_secs(30);
/// How often the elapsed time is told again while nothing changes.
const TICK: Duration = Duration::from_secs(2);

/// A rollout that came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// The pods that serve.
    pub pods: Vec<String>,
    /// The addresses of other pods that were seen: of the version before, or scaled away. No Service names them any more,
    /// but the nodes may not have heard of it yet.
    pub former: Vec<IpAddr>,
    /// The port that is probed.
    pub main_port: Option<u16>,
    /// How long it took from the first look.
    pub took: Duration,
}

/// Why a rollout did not come to its end. `crate::diagnosis` tells the rest.
#[derive(Debug, thiserror::Error)]
pub enum RolloutFailure {
    /// A pod shows a definite cause.
    #[error("the pod `{pod}` cannot run")]
    Broken {
        /// The pod.
        pod: String,
        /// What is wrong with it.
        failure: PodFailure,
    },
    /// No node takes its pods.
    #[error("no node has room for the pod: {message}")]
    Unschedulable {
        /// As the scheduler says it.
        message: String,
    },
    /// Its pods may not be created.
    #[error("its pods cannot be created: {message}")]
    CreationRefused {
        /// As the API says it.
        message: String,
    },
    /// Time is over.
    #[error("{ready} of {wanted} replicas were ready after {after_s} s")]
    TimedOut {
        /// How many pods of the newest version serve.
        ready: u32,
        /// How many should.
        wanted: u32,
        /// How long it was waited for.
        after_s: u64,
    },
    /// There is no such Deployment.
    #[error("the deployment is not on the cluster")]
    Gone,
    /// The work was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// The cluster does not answer.
    #[error(transparent)]
    Api(#[from] KubeError),
}

enum Change {
    Deployment(watcher::Event<Deployment>),
    ReplicaSet(watcher::Event<ReplicaSet>),
    Pod(watcher::Event<Pod>),
    Endpoints(watcher::Event<EndpointSlice>),
}

impl Change {
    fn is_init(&self) -> bool {
        match self {
            Self::Deployment(event) => matches!(event, watcher::Event::Init),
            Self::ReplicaSet(event) => matches!(event, watcher::Event::Init),
            Self::Pod(event) => matches!(event, watcher::Event::Init),
            Self::Endpoints(event) => matches!(event, watcher::Event::Init),
        }
    }
}

impl Kube {
    /// Waits until the newest version of the application serves with all its replicas and no other does (for 0: until its
    /// pods are told to stop).
    ///
    /// # Errors
    /// [`RolloutFailure`]: at once for a definite cause, else after `timeout`.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn wait_for_rollout(
        &self,
        name: &DeploymentName,
        namespace: &Namespace,
        timeout: Duration,
        on_progress: OnProgress<'_>,
        cancel: &CancellationToken,
    ) -> Result<Rollout, RolloutFailure> {
        let begun = Instant::now();
        let mut changes = std::pin::pin!(self.changes(name, namespace));
        let mut state = RolloutState::default();
        let mut tick = tokio::time::interval(TICK);
        let mut trouble: Option<(Instant, KubeError)> = None;
        let mut last_text = String::new();
        let mut no_room_since = None;
        loop {
            tokio::select! {
                () = cancel.cancelled() => return Err(RolloutFailure::Cancelled),
                () = tokio::time::sleep_until(begun + timeout) => {
                    return Err(trouble.map_or_else(|| state.timed_out(timeout), |(_, error)| error.into()));
                }
                _ = tick.tick() => (),
                Some(change) = changes.next() => match change {
                    Ok(change) => {
                        // A watcher sends `Init` before its first request: it does not prove that the API answers.
                        if !change.is_init() {
                            trouble = None;
                        }
                        state.take(change);
                    }
                    Err(error) if error.is_transient() => {
                        let since = trouble.map_or_else(Instant::now, |(since, _)| since);
                        if since.elapsed() >= API_GRACE {
                            return Err(error.into());
                        }
                        trouble = Some((since, error));
                    }
                    Err(error) => return Err(error.into()),
                },
            }
            let assessment = match &trouble {
                Some(_) => Assessment::Waiting("the cluster does not answer".to_owned()),
                None if state.is_complete() => state.assess(),
                None => continue,
            };
            let text = match assessment {
                Assessment::Done(pods) => {
                    let (former, main_port) = (state.former(&pods), state.main_port());
                    return Ok(Rollout { pods, former, main_port, took: begun.elapsed() });
                }
                Assessment::Failed(failure) => return Err(failure),
                Assessment::NoRoom(failure) => {
                    let since = *no_room_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= ROOM_GRACE {
                        return Err(failure);
                    }
                    failure.to_string()
                }
                Assessment::Waiting(text) => {
                    no_room_since = None;
                    text
                }
            };
            let text = format!("{text}, {} s", begun.elapsed().as_secs());
            if text != last_text {
                on_progress(text.clone());
                last_text = text;
            }
        }
    }

    fn changes(
        &self,
        name: &DeploymentName,
        namespace: &Namespace,
    ) -> impl Stream<Item = Result<Change, KubeError>> + Send + use<> {
        let by_label = || watcher::Config::default().labels(&format!("app={name}"));
        let by_name = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let by_service = watcher::Config::default().labels(&format!("{SERVICE_NAME}={name}"));
        futures_util::stream::select(
            futures_util::stream::select(
                self.watch(namespace, by_name, Change::Deployment),
                self.watch(namespace, by_service, Change::Endpoints),
            ),
            futures_util::stream::select(
                self.watch(namespace, by_label(), Change::ReplicaSet),
                self.watch(namespace, by_label(), Change::Pod),
            ),
        )
    }

    fn watch<K>(
        &self,
        namespace: &Namespace,
        config: watcher::Config,
        change: fn(watcher::Event<K>) -> Change,
    ) -> impl Stream<Item = Result<Change, KubeError>> + Send + use<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + DeserializeOwned
            + Clone
            + std::fmt::Debug
            + Send
            + 'static,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace.as_str());
        let server = self.server.clone();
        watcher(api, config)
            .default_backoff()
            .map(move |event| event.map(change).map_err(|error| KubeError::from_watch(error, &server)))
    }
}

/// What the watches have shown so far.
#[derive(Default)]
struct RolloutState {
    deployments: WatchCache<Deployment>,
    replica_sets: WatchCache<ReplicaSet>,
    pods: WatchCache<Pod>,
    endpoints: WatchCache<EndpointSlice>,
    /// The addresses of all pods that were seen, by the pod's name.
    addresses: BTreeMap<String, BTreeSet<IpAddr>>,
}

enum Assessment {
    /// The pods that serve.
    Done(Vec<String>),
    Failed(RolloutFailure),
    /// Nothing can be placed right now; definite when it stays so.
    NoRoom(RolloutFailure),
    Waiting(String),
}

impl RolloutState {
    fn take(&mut self, change: Change) {
        match change {
            Change::Deployment(event) => self.deployments.apply_event(event),
            Change::ReplicaSet(event) => self.replica_sets.apply_event(event),
            Change::Pod(event) => {
                self.pods.apply_event(event);
                for (name, pod) in &self.pods.objects {
                    let addresses = pod.status.iter().flat_map(|it| it.pod_ips.iter().flatten());
                    let addresses: BTreeSet<IpAddr> = addresses.filter_map(|it| it.ip.parse().ok()).collect();
                    self.addresses.entry(name.clone()).or_default().extend(addresses);
                }
            }
            Change::Endpoints(event) => self.endpoints.apply_event(event),
        }
    }

    fn is_complete(&self) -> bool {
        self.deployments.synced && self.replica_sets.synced && self.pods.synced && self.endpoints.synced
    }

    fn deployment(&self) -> Option<&Deployment> {
        self.deployments.objects.values().next()
    }

    fn assess(&self) -> Assessment {
        let Some(deployment) = self.deployment() else { return Assessment::Failed(RolloutFailure::Gone) };
        let status = deployment.status.clone().unwrap_or_default();
        if status.observed_generation < deployment.metadata.generation {
            return Assessment::Waiting("the cluster has not begun yet".to_owned());
        }
        let wanted = wanted(deployment);
        if wanted == 0 {
            // How long the processes of those that are told to stop take, the caller decides.
            return match self.pods.objects.values().filter(|pod| pod.metadata.deletion_timestamp.is_none()).count() {
                0 => Assessment::Done(Vec::new()),
                1 => Assessment::Waiting("the last pod is told to stop".to_owned()),
                left => Assessment::Waiting(format!("{left} pods are told to stop")),
            };
        }
        let newest = newest_pods(deployment, &self.replica_sets.objects, &self.pods.objects);
        if let Some((pod, failure)) = newest.iter().find_map(|pod| Some((pod.name_any(), pod_failure(pod)?))) {
            return Assessment::Failed(RolloutFailure::Broken { pod, failure });
        }
        if [status.replicas, status.updated_replicas, status.available_replicas].map(count) == [wanted; 3] {
            let serving: Vec<String> = newest.iter().filter(|pod| is_ready(pod)).map(|pod| pod.name_any()).collect();
            return match self.other_endpoint(&serving) {
                _ if serving.len() < wanted as usize => Assessment::Waiting("its pods are being counted".to_owned()),
                None => Assessment::Done(serving),
                Some(pod) => Assessment::Waiting(format!("requests still go to pod {pod}, which is about to stop")),
            };
        }
        if let Some(message) = creation_failure(deployment) {
            return Assessment::NoRoom(RolloutFailure::CreationRefused { message });
        }
        if let Some(message) = newest.iter().find_map(|pod| unschedulable(pod)) {
            return Assessment::NoRoom(RolloutFailure::Unschedulable { message });
        }
        let ready = newest.iter().filter(|pod| is_ready(pod)).count();
        let text = format!("{ready} of {wanted} replicas ready");
        Assessment::Waiting(match newest.iter().find(|pod| !is_ready(pod)) {
            Some(pod) => format!("{text}; pod {} is {}", pod.name_any(), activity(pod)),
            None if ready < wanted as usize => format!("{text}; the next pod is being created"),
            None if count(status.replicas) > wanted => format!("{text}; pods of the version before are stopping"),
            None => text,
        })
    }

    /// A pod that is not one of these and that the Service still sends requests to.
    fn other_endpoint(&self, serving: &[String]) -> Option<&str> {
        let endpoints = self.endpoints.objects.values().flat_map(|slice| slice.endpoints.iter().flatten());
        // "EndpointSlices" of Kubernetes: a condition that is not known counts as ready.
        let ready = endpoints.filter(|it| it.conditions.as_ref().and_then(|it| it.ready).unwrap_or(true));
        let mut pods = ready.filter_map(|it| it.target_ref.as_ref()?.name.as_deref());
        pods.find(|pod| !serving.iter().any(|name| name == pod))
    }

    fn main_port(&self) -> Option<u16> {
        self.deployment()?.spec.template.spec.as_ref()?.containers.first().and_then(probed_port)
    }

    /// The addresses of all pods that were seen, but for those of these.
    fn former(&self, serving: &[String]) -> Vec<IpAddr> {
        let kept: BTreeSet<&IpAddr> = serving.iter().filter_map(|pod| self.addresses.get(pod)).flatten().collect();
        let others: BTreeSet<&IpAddr> = self.addresses.values().flatten().filter(|it| !kept.contains(it)).collect();
        others.into_iter().copied().collect()
    }

    fn timed_out(&self, timeout: Duration) -> RolloutFailure {
        let Some(deployment) = self.deployment() else { return RolloutFailure::Gone };
        let newest = newest_pods(deployment, &self.replica_sets.objects, &self.pods.objects);
        let ready = newest.iter().filter(|pod| is_ready(pod)).count();
        RolloutFailure::TimedOut {
            ready: u32::try_from(ready).unwrap_or(u32::MAX),
            wanted: wanted(deployment),
            after_s: timeout.as_secs(),
        }
    }
}

fn wanted(deployment: &Deployment) -> u32 {
    count(Some(deployment.spec.replicas.unwrap_or(1)))
}

/// The label of an `EndpointSlice` that names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const REVISION: &str = "deployment.kubernetes.io/revision";

/// The pods of the newest `ReplicaSet` that are not on their way out: those of the version that is rolled out.
pub(crate) fn newest_pods<'a>(
    deployment: &Deployment,
    replica_sets: &BTreeMap<String, ReplicaSet>,
    pods: &'a BTreeMap<String, Pod>,
) -> Vec<&'a Pod> {
    let revision = deployment.annotations().get(REVISION);
    let uid = deployment.uid();
    let newest = replica_sets.values().find(|set| {
        set.annotations().get(REVISION) == revision
            && set.owner_references().iter().any(|it| Some(&it.uid) == uid.as_ref())
    });
    let Some(hash) = newest.and_then(template_hash) else { return Vec::new() };
    pods.values().filter(|pod| template_hash(*pod) == Some(hash) && pod.metadata.deletion_timestamp.is_none()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A Deployment of two replicas in its second revision, and one pod of each revision.
    fn seen(status: &Value, newest: &Value) -> RolloutState {
        let mut state = RolloutState::default();
        let owner = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "app", "uid": "u"}]);
        let deployment = json!({
            "metadata": {"name": "app", "uid": "u", "generation": 2, "annotations": {REVISION: "2"}},
            "spec": {"replicas": 2, "selector": {}, "template": {}},
            "status": status,
        });
        let replica_set = |revision: &str, hash: &str| {
            json!({
                "metadata": {"name": hash, "annotations": {REVISION: revision}, "ownerReferences": owner,
                    "labels": {"pod-template-hash": hash}},
                "spec": {"selector": {}},
            })
        };
        let pod = |hash: &str, container: &Value| {
            let mut container = container.clone();
            for (key, value) in [("name", "app"), ("image", "a:1")] {
                container[key] = value.into();
            }
            json!({
                "metadata": {"name": format!("app-{hash}"), "labels": {"pod-template-hash": hash}},
                "spec": {"containers": []},
                "status": {"containerStatuses": [container]},
            })
        };
        let broken = json!({"ready": false, "restartCount": 9, "state": {"terminated": {"exitCode": 1}}});
        state.take(Change::Deployment(watcher::Event::Apply(serde_json::from_value(deployment).unwrap())));
        for set in [replica_set("1", "old"), replica_set("2", "new")] {
            state.take(Change::ReplicaSet(watcher::Event::Apply(serde_json::from_value(set).unwrap())));
        }
        for pod in [pod("old", &broken), pod("new", newest)] {
            state.take(Change::Pod(watcher::Event::Apply(serde_json::from_value(pod).unwrap())));
        }
        state
    }

    /// Both pods of the newest revision serve, and so does, for its Service, the pod of that name.
    fn served_by(pod: &str, condition: &Value) -> RolloutState {
        let status = json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2});
        let mut state = seen(&status, &starting());
        for (name, address) in [("app-new", "10.244.0.7"), ("app-new-2", "10.244.0.8")] {
            let pod = json!({
                "metadata": {"name": name, "labels": {"pod-template-hash": "new"}},
                "status": {"conditions": [{"type": "Ready", "status": "True"}], "podIPs": [{"ip": address}]},
            });
            state.take(Change::Pod(watcher::Event::Apply(serde_json::from_value(pod).unwrap())));
        }
        let old = json!({
            "metadata": {"name": "app-old", "labels": {"pod-template-hash": "old"}, "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"podIPs": [{"ip": "10.244.0.6"}]},
        });
        state.take(Change::Pod(watcher::Event::Apply(serde_json::from_value(old).unwrap())));
        let slice = json!({
            "metadata": {"name": "app-1"}, "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": condition, "targetRef": {"kind": "Pod", "name": pod}}],
        });
        state.take(Change::Endpoints(watcher::Event::Apply(serde_json::from_value(slice).unwrap())));
        state
    }

    fn starting() -> Value {
        json!({"ready": false, "restartCount": 0, "state": {"waiting": {"reason": "ContainerCreating"}}})
    }

    #[test]
    fn a_rollout_that_the_cluster_has_not_seen_is_not_done() {
        let status = json!({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2});

        assert!(matches!(seen(&status, &starting()).assess(), Assessment::Waiting(_)));
    }

    #[test]
    fn a_rollout_is_done_when_only_pods_of_the_newest_version_are_there_and_serve() {
        let Assessment::Done(pods) = served_by("app-new", &json!({"ready": true})).assess() else {
            panic!("it is done")
        };

        assert_eq!(pods, ["app-new", "app-new-2"]);
    }

    #[test]
    fn a_rollout_is_not_done_while_requests_go_to_a_pod_of_the_version_before() {
        for ready in [json!({"ready": true}), json!({})] {
            assert!(matches!(served_by("app-old", &ready).assess(), Assessment::Waiting(_)), "{ready}");
        }
        assert!(matches!(served_by("app-old", &json!({"ready": false})).assess(), Assessment::Done(_)));
    }

    #[test]
    fn the_addresses_of_pods_that_went_are_remembered() {
        let mut state = served_by("app-new", &json!({"ready": true}));
        let old = state.pods.objects["app-old"].clone();

        state.take(Change::Pod(watcher::Event::Delete(old)));

        assert_eq!(
            state.former(&["app-new".to_owned(), "app-new-2".to_owned()]),
            ["10.244.0.6".parse::<IpAddr>().unwrap()]
        );
    }

    #[test]
    fn a_broken_pod_of_the_version_before_does_not_count() {
        let status = json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1, "availableReplicas": 1});

        let Assessment::Waiting(text) = seen(&status, &starting()).assess() else { panic!("it is not broken") };

        assert_eq!(text, "0 of 2 replicas ready; pod app-new is starting");
    }

    #[test]
    fn the_third_crash_of_the_newest_version_is_the_end() {
        let status = json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1, "availableReplicas": 1});
        let crashed =
            |restarts: i32| json!({"ready": false, "restartCount": restarts, "state": {"terminated": {"exitCode": 1}}});

        assert!(matches!(seen(&status, &crashed(1)).assess(), Assessment::Waiting(_)));
        assert!(matches!(
            seen(&status, &crashed(2)).assess(),
            Assessment::Failed(RolloutFailure::Broken { failure: PodFailure::Crashed { exit_code: 1, times: 3 }, .. })
        ));
    }

    #[test]
    fn a_full_quota_has_a_moment_to_pass() {
        let status = json!({"observedGeneration": 2, "conditions": [
            {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]});

        assert!(matches!(
            seen(&status, &starting()).assess(),
            Assessment::NoRoom(RolloutFailure::CreationRefused { .. })
        ));
    }
}
