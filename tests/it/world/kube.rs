//! A Kubernetes API in memory, as far as this program uses one, and a controller that runs Deployments.
//!
//! It answers while the folder of its kind cluster says `ready`, and forgets everything when that cluster is another one.
//! Points: `kube-<method>-<resource>`. While `rollout` is held new pods do not become ready.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::failpoints::Failpoints;

/// How often the controller looks whether held pods may become ready.
const CONTROLLER: Duration = Duration::from_millis(20);

/// The API; it ends with this value.
#[derive(Debug)]
pub(crate) struct Kube {
    shared: Shared,
    /// Address of the API.
    pub(crate) endpoint: String,
    _tasks: [AbortOnDropHandle<()>; 2],
}

#[derive(Debug, Clone)]
struct Shared {
    clusters: PathBuf,
    failpoints: Failpoints,
    /// Where the application behind every load balancer answers.
    app_port: u16,
    state: Arc<Mutex<Objects>>,
    news: watch::Sender<u64>,
}

/// Kind in lower-case plural, namespace (empty for none), name.
type Key = (String, String, String);

#[derive(Debug, Default)]
struct Objects {
    /// Of which cluster they are.
    cluster: String,
    by_key: BTreeMap<Key, Value>,
    /// All changes: version, key, type, the object after it.
    changes: Vec<(u64, Key, &'static str, Value)>,
    version: u64,
    /// New images crash; those that ran once go on running.
    crashing: bool,
    /// New pods find room only when there are that many nodes.
    nodes_needed: usize,
    /// What every pod prints.
    output: String,
    healthy: BTreeSet<String>,
    /// Images of the Deployments that were applied, in order.
    applied: Vec<String>,
}

/// What a request is about.
#[derive(Debug)]
struct Place {
    resource: String,
    namespace: String,
    name: Option<String>,
    is_log: bool,
}

impl Kube {
    pub(super) async fn start(world: &Path, failpoints: Failpoints, app_port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster": {"server": format!("http://{address}")}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "users": [{"name": "it", "user": {}}],
        });
        fs::write(world.join("kubeconfig"), kubeconfig.to_string()).unwrap();
        let clusters = world.join("clusters");
        let shared = Shared { clusters, failpoints, app_port, state: Arc::default(), news: watch::Sender::new(0) };
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let controller = tokio::spawn(control(shared.clone()));
        Self {
            shared,
            endpoint: format!("http://{address}"),
            _tasks: [AbortOnDropHandle::new(serving), AbortOnDropHandle::new(controller)],
        }
    }

    /// What is there beside the cluster's own furniture, as `kind namespace/name`.
    pub(crate) fn objects(&self) -> Vec<String> {
        let mut state = self.shared.current();
        if state.cluster.is_empty() {
            state.by_key.clear();
        }
        let furniture = |key: &&Key| ["nodes", "events"].contains(&key.0.as_str()) || key.2 == "default";
        let found = state.by_key.keys().filter(|key| !furniture(key));
        found.map(|(resource, namespace, name)| format!("{resource} {namespace}/{name}")).collect()
    }

    /// One object, or null.
    pub(crate) fn object(&self, resource: &str, namespace: &str, name: &str) -> Value {
        let key = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        self.shared.current().by_key.get(&key).cloned().unwrap_or_default()
    }

    /// Images that did not run before crash from now on.
    pub(crate) fn crash_new_images(&self, crashing: bool) {
        self.shared.current().crashing = crashing;
    }

    /// The nodes that are there.
    pub(crate) fn nodes(&self) -> Vec<(String, Value)> {
        self.shared.current().of("nodes", "").into_iter().map(|(key, it)| (key.2, it)).collect()
    }

    /// New pods find room only when there are that many nodes.
    pub(crate) fn need_nodes(&self, count: usize) {
        self.shared.current().nodes_needed = count;
    }

    /// Lets every pod print this.
    pub(crate) fn print(&self, output: &str) {
        output.clone_into(&mut self.shared.current().output);
    }

    /// The images of all Deployments that were applied, in order.
    pub(crate) fn applied(&self) -> Vec<String> {
        self.shared.current().applied.clone()
    }

    /// Puts something there that this program did not.
    pub(crate) fn put(&self, resource: &str, namespace: &str, name: &str, object: Value) {
        self.shared.current().put((resource.to_owned(), namespace.to_owned(), name.to_owned()), object);
        self.shared.tell();
    }

    /// Takes something away behind this program's back.
    pub(crate) fn take_away(&self, resource: &str, namespace: &str, name: &str) {
        self.shared.current().remove(&(resource.to_owned(), namespace.to_owned(), name.to_owned()));
        self.shared.tell();
    }

    /// What it keeps in memory, as `kind/namespace/name`, but for what the controller makes of that.
    pub(super) fn state(&self) -> Value {
        let state = self.shared.current();
        let is_kept = |key: &Key| !["pods", "replicasets", "nodes"].contains(&key.0.as_str());
        let kept = state.by_key.iter().filter(|(key, _)| is_kept(key));
        let objects = kept.map(|((kind, space, name), it)| {
            let mut object = it.clone();
            object["status"] = Value::Null;
            for field in ["uid", "creationTimestamp", "generation", "resourceVersion", "name", "namespace"] {
                object["metadata"].as_object_mut().unwrap().remove(field);
            }
            (format!("{kind}/{space}/{name}"), object)
        });
        let objects: BTreeMap<String, Value> = objects.collect();
        json!({"crashing": state.crashing, "healthy": state.healthy, "objects": objects})
    }

    /// Takes over what another one kept, for the cluster that is there.
    pub(super) fn restore(&self, mut kept: Value) {
        let objects: BTreeMap<String, Value> = serde_json::from_value(kept["objects"].take()).unwrap();
        let mut state = self.shared.current();
        state.crashing = kept["crashing"] == true;
        state.healthy = serde_json::from_value(kept["healthy"].take()).unwrap();
        for (name, object) in objects {
            let mut words = name.splitn(3, '/').map(str::to_owned);
            let key = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            state.put(key, object);
        }
    }
}

impl Shared {
    /// The folder of the one cluster that is there.
    fn cluster(&self) -> PathBuf {
        let entries = fs::read_dir(&self.clusters).into_iter().flatten().flatten();
        entries.map(|it| it.path()).next().unwrap_or_else(|| self.clusters.join("none"))
    }

    /// The objects of the cluster that is there now.
    fn current(&self) -> std::sync::MutexGuard<'_, Objects> {
        let mut state = self.state.lock().unwrap();
        let id = fs::read_to_string(self.cluster().join("id")).unwrap_or_default();
        if state.cluster != id {
            let gone: Vec<Key> = state.by_key.keys().cloned().collect();
            for key in &gone {
                state.remove(key);
            }
            state.cluster = id;
            let name = "on-demand-infra-control-plane";
            state.put(("nodes".into(), String::new(), name.into()), ready_node(name));
            state.put(("namespaces".into(), String::new(), "default".into()), json!({}));
        }
        state
    }

    fn tell(&self) {
        let version = self.state.lock().unwrap().version;
        self.news.send_if_modified(|known| std::mem::replace(known, version) != version);
    }
}

impl Shared {
    /// Gives the first Service of type `LoadBalancer` a load balancer, which is a file of the account, and takes it away
    /// when no such Service is left. That of a cluster which is gone stays. While `balancer` is held none comes, while
    /// `balancer-goes` is held none goes.
    fn balance(&self, state: &mut Objects) {
        let folder = self.cluster();
        let Some(cluster) = folder.file_name().filter(|_| !state.cluster.is_empty()) else { return };
        let file = self.clusters.with_file_name("cloud").join(format!("nlb-{}", cluster.display()));
        let services = state.of("services", "").into_iter();
        match services.into_iter().find(|(_, it)| it["spec"]["type"] == "LoadBalancer") {
            None if file.exists() && !self.failpoints.is_held("balancer-goes") => drop(fs::remove_file(&file)),
            None => (),
            Some(_) if self.failpoints.is_held("balancer") => (),
            Some((key, mut service)) => {
                let dns = format!("127.0.0.1:{}", self.app_port);
                let certificate =
                    &service["metadata"]["annotations"]["service.beta.kubernetes.io/aws-load-balancer-ssl-cert"];
                let text =
                    json!({"dns": dns, "cluster": cluster.to_string_lossy(), "certificate": certificate}).to_string();
                if fs::read_to_string(&file).ok().as_ref() != Some(&text) {
                    // Whoever reads it meanwhile must not see half of it.
                    let new = self.clusters.with_file_name("nlb.new");
                    fs::write(&new, text).unwrap();
                    fs::rename(new, &file).unwrap();
                }
                service["status"] = json!({"loadBalancer": {"ingress": [{"hostname": dns}]}});
                state.put(key, service);
            }
        }
    }
}

impl Objects {
    /// Stores an object unless it is the same as before.
    fn put(&mut self, key: Key, mut object: Value) -> Value {
        let before = self.by_key.get(&key);
        let metadata = &mut object["metadata"];
        metadata["name"] = json!(key.2);
        if !key.1.is_empty() {
            metadata["namespace"] = json!(key.1);
        }
        for (field, value) in
            [("uid", json!(format!("uid-{}", self.version))), ("creationTimestamp", json!("2026-01-01T00:00:00Z"))]
        {
            metadata[field] = before.map_or(value, |it| it["metadata"][field].clone());
        }
        let generation = before.map_or(0, |it| it["metadata"]["generation"].as_i64().unwrap_or(0));
        let is_changed = before.is_none_or(|it| it["spec"] != object["spec"]);
        object["metadata"]["generation"] = json!(generation + i64::from(is_changed));
        object["metadata"]["resourceVersion"] =
            before.map_or(Value::Null, |it| it["metadata"]["resourceVersion"].clone());
        if before == Some(&object) {
            return object;
        }
        let kind = if before.is_some() { "MODIFIED" } else { "ADDED" };
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.changes.push((self.version, key.clone(), kind, object.clone()));
        self.by_key.insert(key, object.clone());
        object
    }

    fn remove(&mut self, key: &Key) {
        if let Some(object) = self.by_key.remove(key) {
            self.version += 1;
            self.changes.push((self.version, key.clone(), "DELETED", object));
        }
    }

    fn of(&self, resource: &str, namespace: &str) -> Vec<(Key, Value)> {
        let is_meant = |key: &Key| key.0 == resource && (namespace.is_empty() || key.1 == namespace);
        self.by_key.iter().filter(|(key, _)| is_meant(key)).map(|(key, it)| (key.clone(), it.clone())).collect()
    }

    /// A pod's spec with its node: one after the other, on each in turn.
    fn placed(&self, spec: &Value, number: i64) -> Value {
        let (nodes, mut spec) = (self.of("nodes", ""), spec.clone());
        if let Some((node, _)) = nodes.get(usize::try_from(number).unwrap() % nodes.len().max(1)) {
            spec["nodeName"] = json!(node.2);
        }
        spec
    }

    /// Makes the replica sets and pods of a Deployment as they should be.
    fn reconcile(&mut self, key: &Key, failpoints: &Failpoints) {
        let (_, namespace, name) = key;
        let Some(mut deployment) = self.by_key.get(key).cloned() else { return };
        let template = deployment["spec"]["template"].clone();
        let image = template["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned();
        let hash = on_demand_infra::id::short_hash(&[&template.to_string()], 10);
        let crashes = self.crashing && !self.healthy.contains(&image);
        let has_room = self.of("nodes", "").len() >= self.nodes_needed || self.healthy.contains(&image);
        let replicas = deployment["spec"]["replicas"].as_i64().unwrap_or(1);
        let pods = self.of("pods", namespace);
        let ready = pods.iter().filter(|(key, it)| {
            key.2.starts_with(&format!("{name}-{hash}-")) && it["status"]["conditions"][0]["status"] == "True"
        });
        // Only who rolls something out asks whether that is held.
        let is_settled = i64::try_from(ready.count()).unwrap() == replicas;
        let is_held = !is_settled && failpoints.is_held("rollout");
        let is_ready = !is_held && !crashes && has_room;

        let labels = |hash: &str| {
            let mut labels = template["metadata"]["labels"].clone();
            labels["pod-template-hash"] = json!(hash);
            labels
        };
        let set_key = ("replicasets".to_owned(), namespace.clone(), format!("{name}-{hash}"));
        let owner = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": deployment["metadata"]["uid"]}]);
        let sets =
            self.of("replicasets", namespace).into_iter().filter(|(_, it)| it["metadata"]["ownerReferences"] == owner);
        let sets: Vec<(Key, Value)> = sets.collect();
        let revision = |it: &Value| {
            it["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
                .as_str()
                .and_then(|text| text.parse::<i64>().ok())
        };
        let newest = sets.iter().filter_map(|(_, it)| revision(it)).max().unwrap_or(0);
        let present = sets.iter().find(|(key, _)| *key == set_key).and_then(|(_, it)| revision(it));
        let revision = if present == Some(newest) && newest > 0 { newest } else { newest + 1 };
        let annotation = json!({"deployment.kubernetes.io/revision": revision.to_string()});
        self.put(
            set_key,
            json!({
                "metadata": {"labels": labels(&hash), "annotations": annotation, "ownerReferences": owner},
                "spec": {"replicas": replicas, "selector": {}},
            }),
        );

        let pods = self.of("pods", namespace).into_iter().filter(|(key, _)| key.2.starts_with(&format!("{name}-")));
        let (mine, others): (Vec<_>, Vec<_>) = pods.partition(|(key, _)| key.2.starts_with(&format!("{name}-{hash}-")));
        for (key, _) in mine.iter().skip(usize::try_from(replicas).unwrap()) {
            self.remove(key);
        }
        for number in 0..replicas {
            let pod = ("pods".to_owned(), namespace.clone(), format!("{name}-{hash}-{number}"));
            let state = if crashes {
                json!({"waiting": {"reason": "CrashLoopBackOff"}})
            } else {
                json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}})
            };
            let mut container = json!({"name": "app", "image": image, "imageID": image, "ready": is_ready, "restartCount": 0, "state": state});
            if crashes {
                container["restartCount"] = json!(3);
                container["lastState"] = json!({"terminated": {"exitCode": 3, "reason": "Error"}});
            }
            let status = if has_room {
                json!({
                    "phase": "Running",
                    "conditions": [{"type": "Ready", "status": if is_ready { "True" } else { "False" }}],
                    "containerStatuses": [container],
                })
            } else {
                json!({"phase": "Pending", "conditions": [{
                    "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                    "message": "0/2 nodes are available: 2 Insufficient memory.",
                }]})
            };
            let spec = if has_room { self.placed(&template["spec"], number) } else { template["spec"].clone() };
            self.put(
                pod,
                json!({
                    "metadata": {"labels": labels(&hash)},
                    "spec": spec,
                    "status": status,
                }),
            );
        }
        let old = if is_ready || replicas == 0 {
            for (key, _) in &others {
                self.remove(key);
            }
            0
        } else {
            i64::try_from(others.len()).unwrap()
        };
        if is_ready {
            self.healthy.insert(image);
        }
        let ready = if is_ready { replicas } else { 0 };
        deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = json!(revision.to_string());
        deployment["status"] = json!({
            "observedGeneration": deployment["metadata"]["generation"], "replicas": replicas + old,
            "updatedReplicas": replicas, "readyReplicas": ready + old, "availableReplicas": ready + old,
        });
        self.put(key.clone(), deployment);
    }
}

async fn control(shared: Shared) {
    loop {
        tokio::time::sleep(CONTROLLER).await;
        {
            let mut state = shared.current();
            for (key, _) in state.of("deployments", "") {
                state.reconcile(&key, &shared.failpoints);
            }
            shared.balance(&mut state);
            // Nodes that EKS brings; the first one is there with the cluster.
            let nodes = fs::read_to_string(shared.cluster().join("nodes")).unwrap_or_default();
            let ended = fs::read_to_string(shared.cluster().join("ended")).unwrap_or_default();
            for name in ended.lines() {
                state.remove(&("nodes".into(), String::new(), name.to_owned()));
            }
            let further = nodes.trim().parse::<usize>().unwrap_or(1).saturating_sub(1);
            let names = (1..).map(|number| format!("node-{number}"));
            for name in names.filter(|name| !ended.lines().any(|it| it == name)).take(further) {
                let key = ("nodes".to_owned(), String::new(), name.clone());
                if !state.by_key.contains_key(&key) {
                    state.put(key, ready_node(&name));
                }
            }
        }
        shared.tell();
    }
}

fn ready_node(name: &str) -> Value {
    json!({
        "metadata": {"labels": {"eks.amazonaws.com/nodegroup": "nodes"}},
        "spec": {"providerID": format!("aws:///eu-central-1a/i-{name}")},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    })
}

fn status(code: StatusCode, reason: &str, message: &str) -> Response {
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code.as_u16(), "reason": reason, "message": message});
    (code, Json(body)).into_response()
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response {
    let method = request.method().as_str().to_owned();
    let query: BTreeMap<String, String> =
        url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).into_owned().collect();
    let path = request.uri().path().to_owned();
    let body = to_bytes(request.into_body(), usize::MAX).await.unwrap_or_default();
    if !shared.cluster().join("ready").exists() {
        return status(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", "it is still starting");
    }
    if path == "/version" {
        if shared.failpoints.hit("kube-get-version").await.is_err() {
            return status(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized");
        }
        let text = ["gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"];
        let mut version: Value =
            text.iter().map(|name| ((*name).to_owned(), json!(""))).collect::<serde_json::Map<_, _>>().into();
        version["major"] = json!("1");
        version["minor"] = json!("34");
        version["gitVersion"] = json!("v1.34.0");
        return Json(version).into_response();
    }
    if path == "/api" || path == "/apis" {
        return Json(kinds(path == "/api")).into_response();
    }
    let place = Place::read(&path);
    if let Err(text) = shared.failpoints.hit(&format!("kube-{}-{}", method.to_lowercase(), place.resource)).await {
        return match text.as_str() {
            "Unauthorized" => status(StatusCode::UNAUTHORIZED, "Unauthorized", &text),
            _ if text.contains("try again") => status(StatusCode::INTERNAL_SERVER_ERROR, "Forbidden", &text),
            _ => status(StatusCode::FORBIDDEN, "Forbidden", &text),
        };
    }
    match (method.as_str(), &place.name) {
        ("GET", Some(_)) if place.is_log => {
            let output = shared.current().output.clone();
            let stamp = if query.contains_key("timestamps") { "2026-01-01T00:00:00Z " } else { "" };
            format!("{stamp}the application says hello{output}\n").into_response()
        }
        ("GET", None) if query.contains_key("watch") => follow(&shared, place, &query),
        ("GET", None) => {
            let state = shared.current();
            let items: Vec<Value> = state
                .of(&place.resource, &place.namespace)
                .into_iter()
                .filter(|(_, it)| is_selected(it, &query))
                .map(|(_, it)| it)
                .collect();
            Json(json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": state.version.to_string()}, "items": items})).into_response()
        }
        (_, name) => {
            let answer = shared.change(&method, &place, name.clone(), &body);
            shared.tell();
            answer
        }
    }
}

impl Shared {
    fn change(&self, method: &str, place: &Place, name: Option<String>, body: &[u8]) -> Response {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let name = name.unwrap_or_else(|| body["metadata"]["name"].as_str().unwrap().to_owned());
        let key = (place.resource.clone(), place.namespace.clone(), name);
        let mut state = self.current();
        let live = state.by_key.get(&key).cloned();
        let missing = || status(StatusCode::NOT_FOUND, "NotFound", &format!("{} \"{}\" not found", key.0, key.2));
        let wanted = match (method, live) {
            ("GET", live) => return live.map_or_else(missing, |it| Json(it).into_response()),
            ("POST", Some(_)) => return status(StatusCode::CONFLICT, "AlreadyExists", "already exists"),
            ("POST", None) => body,
            ("DELETE", None) => return missing(),
            ("DELETE", Some(live)) => {
                let wanted = &body["preconditions"]["resourceVersion"];
                if wanted.is_string() && *wanted != live["metadata"]["resourceVersion"] {
                    return status(StatusCode::CONFLICT, "Conflict", "the object has been modified");
                }
                state.delete(&key, &live);
                return Json(json!({"kind": "Status", "apiVersion": "v1", "status": "Success"})).into_response();
            }
            // What the one manager does not name any more goes; the rest is the controller's.
            (_, live) if body["apiVersion"].is_string() => {
                if let Some(port) = taken_port(&state, &key, &body) {
                    let text =
                        format!("spec.ports[0].nodePort: Invalid value: {port}: provided port is already allocated");
                    return status(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", &text);
                }
                let mut wanted = body;
                if let Some(live) = live {
                    wanted["status"] = live["status"].clone();
                    let revision = &live["metadata"]["annotations"]["deployment.kubernetes.io/revision"];
                    if revision.is_string() {
                        wanted["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = revision.clone();
                    }
                }
                wanted
            }
            (_, None) => return missing(),
            (_, Some(mut live)) => {
                merge(&mut live, body);
                live
            }
        };
        let stored = state.put(key.clone(), wanted);
        if key.0 == "deployments" {
            let image =
                stored["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned();
            state.applied.push(image);
            state.reconcile(&key, &self.failpoints);
        }
        Json(state.by_key[&key].clone()).into_response()
    }
}

impl Objects {
    fn delete(&mut self, key: &Key, object: &Value) {
        let is_inside = |it: &Key| key.0 == "namespaces" && it.1 == key.2;
        let is_owned = |it: &Key| {
            key.0 == "deployments"
                && it.1 == key.1
                && ["pods", "replicasets"].contains(&it.0.as_str())
                && it.2.starts_with(&format!("{}-", key.2))
        };
        let gone: Vec<Key> = self.by_key.keys().filter(|it| is_inside(it) || is_owned(it)).cloned().collect();
        gone.iter().chain([key]).for_each(|it| self.remove(it));
        let _ = object;
    }
}

fn taken_port(state: &Objects, key: &Key, body: &Value) -> Option<i64> {
    let port = body["spec"]["ports"][0]["nodePort"].as_i64().filter(|_| key.0 == "services")?;
    let services = state.of("services", "");
    services.iter().any(|(other, it)| other != key && it["spec"]["ports"][0]["nodePort"] == port).then_some(port)
}

fn merge(live: &mut Value, change: Value) {
    if live.is_object()
        && let Value::Object(fields) = change
    {
        for (name, it) in fields {
            if it.is_null() {
                live.as_object_mut().unwrap().remove(&name);
            } else {
                merge(&mut live[name], it);
            }
        }
    } else {
        *live = change;
    }
}

/// The kinds that it serves, in one list for each of the two places that tell of them.
fn kinds(core: bool) -> Value {
    let group = |name: &str, version: &str, kinds: &[(&str, &str)]| {
        let resources = kinds.iter().map(|(plural, kind)| {
            let scope = if *plural == "namespaces" || *plural == "nodes" { "Cluster" } else { "Namespaced" };
            let response = json!({"group": "", "version": "", "kind": kind});
            json!({"resource": plural, "scope": scope, "verbs": ["delete", "get", "list"], "responseKind": response})
        });
        let resources: Vec<Value> = resources.collect();
        let metadata = if name.is_empty() { json!({}) } else { json!({"name": name}) };
        json!({"metadata": metadata, "versions": [{"version": version, "freshness": "Current", "resources": resources}]})
    };
    let of_core = [
        ("namespaces", "Namespace"),
        ("nodes", "Node"),
        ("pods", "Pod"),
        ("services", "Service"),
        ("secrets", "Secret"),
        ("events", "Event"),
        ("configmaps", "ConfigMap"),
        ("resourcequotas", "ResourceQuota"),
    ];
    let groups = if core {
        vec![group("", "v1", &of_core)]
    } else {
        vec![
            group("apps", "v1", &[("deployments", "Deployment"), ("replicasets", "ReplicaSet")]),
            group("networking.k8s.io", "v1", &[("ingresses", "Ingress")]),
            group("rbac.authorization.k8s.io", "v1", &[("roles", "Role")]),
            group("example.com", "v1", &[("widgets", "Widget")]),
        ]
    };
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": groups})
}

fn is_selected(object: &Value, query: &BTreeMap<String, String>) -> bool {
    let labels =
        query.get("labelSelector").into_iter().flat_map(|text| text.split(',')).filter_map(|it| it.split_once('='));
    let is_labelled = |(name, value): (&str, &str)| match name.strip_suffix('!') {
        Some(name) => object["metadata"]["labels"][name] != value,
        None => object["metadata"]["labels"][name] == value,
    };
    let fields = query.get("fieldSelector").into_iter().filter_map(|it| it.split_once('='));
    let is_at =
        |(path, value): (&str, &str)| object.pointer(&format!("/{}", path.replace('.', "/"))) == Some(&json!(value));
    labels.into_iter().all(is_labelled) && fields.into_iter().all(is_at)
}

fn follow(shared: &Shared, place: Place, query: &BTreeMap<String, String>) -> Response {
    let (shared, query) = (shared.clone(), query.clone());
    let after: u64 = query.get("resourceVersion").and_then(|text| text.parse().ok()).unwrap_or(0);
    let start = (shared.news.subscribe(), after);
    let lines = futures_util::stream::unfold(start, move |(mut news, mut after)| {
        let (shared, query) = (shared.clone(), query.clone());
        let (resource, namespace) = (place.resource.clone(), place.namespace.clone());
        async move {
            loop {
                let mut text = String::new();
                {
                    let state = shared.state.lock().unwrap();
                    let seen = std::mem::replace(&mut after, state.version);
                    for (_, key, kind, object) in state.changes.iter().filter(|it| it.0 > seen) {
                        if key.0 == resource
                            && (namespace.is_empty() || key.1 == namespace)
                            && is_selected(object, &query)
                        {
                            text += &json!({"type": kind, "object": object}).to_string();
                            text.push('\n');
                        }
                    }
                }
                if !text.is_empty() {
                    return Some((Ok::<_, std::io::Error>(text), (news, after)));
                }
                news.changed().await.ok()?;
            }
        }
    });
    Body::from_stream(lines).into_response()
}

impl Place {
    /// `/api/v1/...` or `/apis/<group>/<version>/...`, then `[namespaces/<ns>/]<resource>[/<name>[/log]]`.
    fn read(path: &str) -> Self {
        let mut words: Vec<&str> = path.trim_matches('/').split('/').collect();
        words.drain(..if words[0] == "api" { 2 } else { 3 });
        let namespace = if words[0] == "namespaces" && words.len() > 2 { words.drain(..2).nth(1).unwrap() } else { "" };
        Self {
            resource: words[0].to_owned(),
            namespace: namespace.to_owned(),
            name: words.get(1).map(|it| (*it).to_owned()),
            is_log: words.get(2) == Some(&"log"),
        }
    }
}
