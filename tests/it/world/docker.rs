//! A Docker daemon on a socket, as far as this program uses one: images, the nodes of kind's clusters, `ctr` in them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio_util::task::AbortOnDropHandle;

use super::failpoints::Failpoints;

/// An image that is there from the beginning.
const BASE: &str = "base:1";

/// The daemon; it ends with this value.
#[derive(Debug)]
pub(crate) struct Docker {
    shared: Shared,
    _serving: AbortOnDropHandle<()>,
}

#[derive(Debug, Clone)]
struct Shared {
    world: PathBuf,
    failpoints: Failpoints,
    /// Where the application on every node port answers.
    app_port: u16,
    state: Arc<Mutex<Daemon>>,
}

#[derive(Debug, Default)]
struct Daemon {
    images: BTreeMap<String, Value>,
    removed: Vec<String>,
    execs: Vec<Exec>,
    builds: usize,
    last_build: Option<Build>,
}

/// What a build was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Build {
    /// Values of ARG lines, as JSON.
    pub(crate) args: Value,
    /// The stage; empty for the last one.
    pub(crate) target: String,
    /// The platform; empty for the daemon's own.
    pub(crate) platform: String,
    /// The paths of its context, sorted.
    pub(crate) paths: Vec<String>,
}

#[derive(Debug, Clone)]
struct Exec {
    cluster: String,
    argv: Vec<String>,
    code: Option<i64>,
}

impl Docker {
    pub(super) fn start(world: &Path, failpoints: Failpoints, app_port: u16) -> Self {
        let listener = UnixListener::bind(world.join("docker.sock")).unwrap();
        let shared = Shared { world: world.to_owned(), failpoints, app_port, state: Arc::default() };
        shared.daemon().images.insert(BASE.to_owned(), image(BASE, &Value::Null));
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { shared, _serving: AbortOnDropHandle::new(serving) }
    }

    /// The names of all images that were built.
    pub(crate) fn images(&self) -> Vec<String> {
        self.shared.daemon().images.keys().filter(|it| *it != BASE).cloned().collect()
    }

    /// The names of images that it was asked to remove.
    pub(crate) fn removed(&self) -> Vec<String> {
        self.shared.daemon().removed.clone()
    }

    /// How many builds ended well.
    pub(crate) fn builds(&self) -> usize {
        self.shared.daemon().builds
    }

    /// What the last build that ended well was asked for.
    pub(crate) fn last_build(&self) -> Build {
        self.shared.daemon().last_build.clone().unwrap()
    }

    /// The names of all images on nodes that were built; `NAME without a name` for one whose name alone was taken away.
    pub(crate) fn node_images(&self) -> Vec<String> {
        let clusters = fs::read_dir(self.shared.world.join("clusters")).into_iter().flatten().flatten();
        let files = clusters.flat_map(|it| fs::read_dir(it.path().join("images")).into_iter().flatten().flatten());
        let names = files.map(|file| {
            let name = fs::read_to_string(file.path()).unwrap().trim().to_owned();
            let is_nameless = file.file_name().to_string_lossy().starts_with("sha256:");
            if is_nameless { format!("{name} without a name") } else { name }
        });
        names.filter(|it| it != BASE).collect()
    }

    /// Whether the node of a cluster has the base image.
    pub(crate) fn has_base(&self, cluster: &str) -> bool {
        image_file(&self.shared.world.join("clusters").join(cluster).join("images"), BASE).exists()
    }

    /// Takes the name of an image on a node away and leaves the rest of it, as somebody with `ctr` does.
    pub(crate) fn take_name_away(&self, cluster: &str, name: &str) {
        let images = self.shared.world.join("clusters").join(cluster).join("images");
        fs::rename(image_file(&images, name), image_file(&images, &digest(name))).unwrap();
    }

    /// Is reached by nobody any more, until [`Docker::come_back`].
    pub(crate) fn go_away(&self) {
        let world = &self.shared.world;
        fs::rename(world.join("docker.sock"), world.join("docker.away")).unwrap();
    }

    /// Ends [`Docker::go_away`].
    pub(crate) fn come_back(&self) {
        let world = &self.shared.world;
        fs::rename(world.join("docker.away"), world.join("docker.sock")).unwrap();
    }

    /// What it keeps in memory.
    pub(super) fn state(&self) -> Value {
        let daemon = self.shared.daemon();
        json!(daemon.images.iter().filter(|(name, _)| *name != BASE).collect::<BTreeMap<_, _>>())
    }

    /// Takes over what another one kept.
    pub(super) fn restore(&self, state: Value) {
        let images: BTreeMap<String, Value> = serde_json::from_value(state).unwrap();
        self.shared.daemon().images.extend(images);
    }
}

impl Shared {
    /// What the daemon knows; it forgets its images with the instance that they were on.
    fn daemon(&self) -> MutexGuard<'_, Daemon> {
        let mut daemon = self.state.lock().unwrap();
        if fs::remove_file(self.world.join("instance-gone")).is_ok() {
            daemon.images.retain(|name, _| name == BASE);
        }
        daemon
    }
}

impl Daemon {
    /// An image with all of its names.
    fn named(&self, name: &str) -> Option<Value> {
        let mut image = self.images.get(name).cloned()?;
        let names = self.images.iter().filter(|(_, it)| it["Id"] == image["Id"]);
        image["RepoTags"] = names.map(|(name, _)| name.as_str()).collect();
        Some(image)
    }
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response {
    let method = request.method().as_str().to_owned();
    let uri = request.uri().clone();
    let path = uri.path().to_owned();
    let image_of =
        |suffix: &str| path.strip_prefix("/images/").and_then(|it| it.strip_suffix(suffix)).map(str::to_owned);
    match (method.as_str(), path.as_str()) {
        ("GET" | "HEAD", "/_ping") => "OK".into_response(),
        ("GET", "/version") => {
            Json(json!({"Version": "18.06.0", "ApiVersion": "1.38", "Os": "linux", "Arch": "amd64"})).into_response()
        }
        ("POST", "/build") => build(&shared, &uri, request.into_body()).await,
        ("GET", "/containers/json") => Json(nodes(&shared, &uri)).into_response(),
        ("GET", "/images/json") => Json(images(&shared, &uri)).into_response(),
        ("GET", _) if path.starts_with("/images/") && path.ends_with("/get") => {
            format!("archive of {}", image_of("/get").unwrap()).into_response()
        }
        ("GET", _) if path.starts_with("/images/") => {
            let name = image_of("/json").unwrap();
            let image = shared.daemon().named(&name);
            image.map_or_else(|| not_found(&format!("No such image: {name}")), |image| Json(image).into_response())
        }
        ("POST", _) if path.starts_with("/images/") && path.ends_with("/tag") => {
            tag(&shared, &uri, &image_of("/tag").unwrap())
        }
        ("POST", _) if path.starts_with("/images/") && path.ends_with("/push") => {
            push(&shared, &uri, &image_of("/push").unwrap()).await
        }
        ("GET", "/volumes") => {
            let volumes = fs::read_dir(shared.world.join("volumes")).into_iter().flatten().flatten();
            let volume = |name: String| json!({"Name": name, "Driver": "local", "Mountpoint": "/", "Labels": {}, "Scope": "local", "Options": {}});
            let volumes: Vec<Value> = volumes.map(|it| volume(it.file_name().into_string().unwrap())).collect();
            Json(json!({"Volumes": volumes, "Warnings": []})).into_response()
        }
        ("DELETE", _) if path.starts_with("/volumes/") => {
            fs::remove_file(shared.world.join(path.trim_start_matches('/'))).unwrap();
            StatusCode::NO_CONTENT.into_response()
        }
        ("DELETE", _) if path.starts_with("/images/") => remove(&shared, &image_of("").unwrap()).await,
        ("POST", _) if path.starts_with("/containers/") => create_exec(&shared, &path, request.into_body()).await,
        ("POST", _) if path.starts_with("/exec/") => start_exec(shared, &path, request),
        ("GET", _) if path.starts_with("/exec/") => {
            let code = shared.daemon().execs[exec_number(&path)].code;
            Json(json!({"Running": code.is_none(), "ExitCode": code})).into_response()
        }
        _ => not_found(&format!("page not found: {method} {path}")),
    }
}

fn fault(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"message": message}))).into_response()
}

fn not_found(message: &str) -> Response {
    fault(StatusCode::NOT_FOUND, message)
}

fn query(uri: &Uri, name: &str) -> Option<String> {
    let pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    pairs.into_owned().find(|(key, _)| key == name).map(|(_, value)| value)
}

pub(super) fn digest(text: &str) -> String {
    let hex: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// The classic builder: it fails with the last line of `docker-build` after it has printed the others, and the same name
/// always gives the same image.
async fn build(shared: &Shared, uri: &Uri, context: Body) -> Response {
    let Ok(context) = to_bytes(context, usize::MAX).await else {
        return fault(StatusCode::INTERNAL_SERVER_ERROR, "unexpected EOF");
    };
    let line = |value: Value| format!("{value}\n");
    let begin = line(json!({"stream": "Step 1/1 : FROM base:1\n"}));
    if let Err(text) = shared.failpoints.hit("docker-build").await {
        let (printed, text) = text.rsplit_once('\n').unwrap_or(("", &text));
        let begin = begin + &line(json!({"stream": format!("{printed}\n")}));
        return (begin + &line(json!({"errorDetail": {"code": 1, "message": text}, "error": text}))).into_response();
    }
    let name = query(uri, "t").unwrap();
    let labels: Value = query(uri, "labels").map_or(Value::Null, |text| serde_json::from_str(&text).unwrap());
    let image = image(&name, &labels);
    let end = line(json!({"aux": {"ID": image["Id"]}}));
    let said = |name: &str| query(uri, name).unwrap_or_default();
    let args = query(uri, "buildargs").map_or(Value::Null, |text| serde_json::from_str(&text).unwrap());
    let paths = paths_of(&context);
    let mut daemon = shared.daemon();
    daemon.images.insert(name, image);
    daemon.builds += 1;
    daemon.last_build = Some(Build { args, target: said("target"), platform: said("platform"), paths });
    (begin + &end).into_response()
}

/// The paths of the files in a tar, sorted.
fn paths_of(context: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(context);
    let entries = archive.entries().unwrap().map(Result::unwrap).filter(|it| it.header().entry_type().is_file());
    let mut paths: Vec<String> =
        entries.map(|it| it.path().unwrap().display().to_string().trim_start_matches("./").to_owned()).collect();
    paths.sort();
    paths
}

fn image(name: &str, labels: &Value) -> Value {
    let id = digest(name);
    json!({
        "Id": id, "RepoTags": [name], "Size": 1000, "Architecture": "amd64", "Os": "linux",
        "Config": {"Labels": labels, "Cmd": ["app"]},
        "RootFS": {"Type": "layers", "Layers": [digest(&id)]},
    })
}

/// The images that carry a label.
fn images(shared: &Shared, uri: &Uri) -> Value {
    let filters: Value = serde_json::from_str(&query(uri, "filters").unwrap()).unwrap();
    let (label, value) = filters["label"][0].as_str().unwrap().split_once('=').unwrap();
    let state = shared.daemon();
    let found = state.images.values().filter(|it| it["Config"]["Labels"][label] == value);
    let summary = |it: &Value| {
        json!({
            "Id": it["Id"], "ParentId": "", "RepoTags": it["RepoTags"], "RepoDigests": [], "Created": 0, "Size": 1000,
            "SharedSize": -1, "Labels": it["Config"]["Labels"], "Containers": -1,
        })
    };
    found.map(summary).collect()
}

async fn remove(shared: &Shared, name: &str) -> Response {
    if let Err(text) = shared.failpoints.hit("docker-remove").await {
        return fault(StatusCode::CONFLICT, &text);
    }
    let mut daemon = shared.daemon();
    daemon.removed.push(name.to_owned());
    match daemon.images.remove(name) {
        Some(_) => Json(json!([{"Untagged": name}])).into_response(),
        None => not_found(&format!("No such image: {name}")),
    }
}

fn tag(shared: &Shared, uri: &Uri, name: &str) -> Response {
    let mut daemon = shared.daemon();
    let Some(mut image) = daemon.images.get(name).cloned() else { return not_found(&format!("No such image: {name}")) };
    let other = format!("{}:{}", query(uri, "repo").unwrap(), query(uri, "tag").unwrap());
    image["RepoTags"] = json!([other]);
    daemon.images.insert(other, image);
    StatusCode::CREATED.into_response()
}

/// A registry's repository is a folder with a file per tag, which holds the image's id.
async fn push(shared: &Shared, uri: &Uri, repository: &str) -> Response {
    if let Err(text) = shared.failpoints.hit("docker-push").await {
        return format!("{}\n", json!({"errorDetail": {"message": text}, "error": text})).into_response();
    }
    let tag = query(uri, "tag").unwrap();
    let Some(image) = shared.daemon().images.get(&format!("{repository}:{tag}")).cloned() else {
        return not_found(&format!("An image does not exist locally with the tag: {repository}"));
    };
    let path = repository.split_once('/').unwrap().1.replace('/', "%");
    let folder = shared.world.join("registry").join(path);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(tag), image["Id"].as_str().unwrap()).unwrap();
    format!("{}\n", json!({"status": "Pushed", "progressDetail": {}, "id": "1"})).into_response()
}

/// One node per folder of a cluster, with every node port mapped to the application; without a filter all that are here,
/// with the ports that they hold.
fn nodes(shared: &Shared, uri: &Uri) -> Value {
    let filters: Value = query(uri, "filters").map_or(Value::Null, |text| serde_json::from_str(&text).unwrap());
    let ports_of = |cluster: &str| -> Option<Vec<u16>> {
        let text = fs::read_to_string(shared.world.join("clusters").join(cluster).join("ports")).ok()?;
        Some(text.lines().map(|it| it.parse().unwrap()).collect())
    };
    if filters.is_null() || filters == json!({}) {
        let clusters = fs::read_dir(shared.world.join("clusters")).into_iter().flatten().flatten();
        let names = clusters.map(|it| it.file_name().into_string().unwrap());
        let held = |port: u16| json!({"IP": "127.0.0.1", "PrivatePort": port, "PublicPort": port, "Type": "tcp"});
        let all = names.filter_map(|it| Some((ports_of(&it)?, it)));
        return all
            .map(|(ports, name)| {
                let ports: Vec<Value> = ports.into_iter().map(held).collect();
                json!({"Id": name, "Names": [format!("/{name}-control-plane")], "State": "running", "Ports": ports})
            })
            .collect();
    }
    let cluster = filters["label"][0].as_str().unwrap().split_once('=').unwrap().1.to_owned();
    if !shared.world.join("clusters").join(&cluster).exists() {
        return json!([]);
    }
    let id = fs::read_to_string(shared.world.join("clusters").join(&cluster).join("id")).unwrap_or_default();
    let unmapped = shared.failpoints.is_held("docker-unmapped");
    let port =
        |port: u16| json!({"IP": "127.0.0.1", "PrivatePort": port, "PublicPort": shared.app_port, "Type": "tcp"});
    let ports: Vec<Value> = if unmapped {
        Vec::new()
    } else {
        ports_of(&cluster).unwrap_or_else(|| (30000..=30015).collect()).into_iter().map(port).collect()
    };
    json!([{
        "Id": id.trim(), "Names": [format!("/{cluster}-control-plane")], "State": "running", "Ports": ports,
        "Labels": {"io.x-k8s.kind.cluster": cluster, "io.x-k8s.kind.role": "control-plane"},
    }])
}

async fn create_exec(shared: &Shared, path: &str, body: Body) -> Response {
    let node = path.trim_start_matches("/containers/").trim_end_matches("/exec");
    let cluster = node.trim_end_matches("-control-plane").to_owned();
    if !shared.world.join("clusters").join(&cluster).exists() {
        return not_found(&format!("No such container: {node}"));
    }
    let config: Value = serde_json::from_slice(&to_bytes(body, usize::MAX).await.unwrap()).unwrap();
    let argv = serde_json::from_value(config["Cmd"].clone()).unwrap();
    let mut daemon = shared.daemon();
    daemon.execs.push(Exec { cluster, argv, code: None });
    (StatusCode::CREATED, Json(json!({"Id": (daemon.execs.len() - 1).to_string()}))).into_response()
}

fn exec_number(path: &str) -> usize {
    path.split('/').nth(2).unwrap().parse().unwrap()
}

/// Switches the connection to the program's input and output, and ends it with the program.
fn start_exec(shared: Shared, path: &str, request: Request) -> Response {
    let number = exec_number(path);
    tokio::spawn(async move {
        let (parts, body) = request.into_parts();
        let _ = to_bytes(body, usize::MAX).await;
        let Ok(upgraded) = hyper::upgrade::on(Request::from_parts(parts, Body::empty())).await else { return };
        let mut io = TokioIo::new(upgraded);
        let exec = shared.daemon().execs[number].clone();
        let mut input = Vec::new();
        if exec.argv.last().is_some_and(|word| word == "-") {
            // A client that is killed in the middle breaks the connection off.
            if io.read_to_end(&mut input).await.is_err() {
                return;
            }
        }
        let (code, output) = ctr(&shared, &exec, &String::from_utf8_lossy(&input)).await;
        shared.daemon().execs[number].code = Some(code);
        let stream = if code == 0 { 1 } else { 2 };
        let mut frame = vec![stream, 0, 0, 0];
        frame.extend(u32::try_from(output.len()).unwrap().to_be_bytes());
        frame.extend(output.as_bytes());
        if !output.is_empty() {
            let _ = io.write_all(&frame).await;
        }
        let _ = io.shutdown().await;
    });
    let headers = [(header::CONNECTION, "Upgrade"), (header::UPGRADE, "tcp")];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

/// The file of an image on a node, by its name or, when it has none any more, by its id; in it is the name.
fn image_file(images: &Path, reference: &str) -> PathBuf {
    let short = reference.trim_start_matches("docker.io/").trim_start_matches("library/");
    images.join(short.replace('/', "_"))
}

/// What `ctr images ls` shows of a node: a name and the id that comes with it, or the id alone.
fn references(images: &Path) -> Vec<(String, String)> {
    let files = fs::read_dir(images).into_iter().flatten().flatten();
    let rows = files.flat_map(|file| {
        let name = fs::read_to_string(file.path()).unwrap_or_default().trim().to_owned();
        let id = digest(&name);
        let full = if name.contains('/') { format!("docker.io/{name}") } else { format!("docker.io/library/{name}") };
        let is_named = !file.file_name().to_string_lossy().starts_with("sha256:");
        let named = is_named.then(|| (full, digest(&id)));
        [named, Some((id.clone(), digest(&id)))].into_iter().flatten()
    });
    rows.collect()
}

/// `ctr` in a node: exit code, and what it prints.
async fn ctr(shared: &Shared, exec: &Exec, input: &str) -> (i64, String) {
    let images = shared.world.join("clusters").join(&exec.cluster).join("images");
    let file = |name: &str| image_file(&images, name);
    let words: Vec<&str> = exec.argv.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["ctr", "version"] => {
            shared.failpoints.hit("docker-node").await.map_or_else(|text| (1, text), |()| (0, String::new()))
        }
        ["sh", ..] => (0, String::new()),
        ["ctr", _, _, "images", "ls", filters @ ..] => {
            let is_wanted = |name: &str| filters.is_empty() || filters.contains(&format!("name=={name}").as_str());
            let rows = references(&images).into_iter().filter(|(name, _)| is_wanted(name));
            let lines: String = rows.map(|(name, digest)| format!("{name} image {digest}\n")).collect();
            (0, format!("REF TYPE DIGEST\n{lines}"))
        }
        ["ctr", _, _, "content", "get", id] if file(id).exists() => {
            (0, json!({"config": {"Labels": {"on-demand-infra.managed": "true"}}}).to_string())
        }
        ["ctr", _, _, "images", "import", _] => {
            let Some(name) = input.strip_prefix("archive of ") else { return (1, "unexpected EOF".to_owned()) };
            let point = if name == BASE { "docker-import-base" } else { "docker-import" };
            if let Err(text) = shared.failpoints.hit(point).await {
                return (1, text);
            }
            let _ = fs::remove_file(file(&digest(name)));
            fs::write(file(name), name).map_or_else(|error| (1, error.to_string()), |()| (0, String::new()))
        }
        ["ctr", _, _, "images", "rm", words @ ..] => {
            if let Err(text) = shared.failpoints.hit("docker-remove-from-node").await {
                return (1, text);
            }
            for reference in words.iter().filter(|it| **it != "--sync") {
                // An image that loses its name alone is still there.
                if let Ok(name) = fs::read_to_string(file(reference)) {
                    let id = digest(name.trim());
                    let _ = fs::remove_file(file(reference));
                    if *reference != id && !words.contains(&id.as_str()) {
                        let _ = fs::write(file(&id), name);
                    }
                }
            }
            (0, String::new())
        }
        _ => (127, format!("unknown: {words:?}")),
    }
}
