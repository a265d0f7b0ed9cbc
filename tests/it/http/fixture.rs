//! The harness: a temporary directory, a store in it, fake programs on disk, and a real server on port 0.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use on_demand_infra::app::App;
use on_demand_infra::config::Settings;
use on_demand_infra::config::source::Sources;
use on_demand_infra::http;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// A world in the making: what is set and what stands in for the real programs.
pub(crate) struct Fixture {
    directory: TempDir,
    environment: BTreeMap<String, String>,
}

impl Fixture {
    /// A world in which no program works, Docker has nothing, and nobody waits long.
    pub(crate) fn new() -> Self {
        let world = Self { directory: tempfile::tempdir().unwrap(), environment: BTreeMap::new() };
        let at = |name: &str| world.path(name).display().to_string();
        let (workspace, socket) = (at("workspace"), format!("unix://{}", at("docker.sock")));
        world
            .setting("PERSISTENT_WORKSPACE_BASE_DIR", &workspace)
            .setting("DOCKER_HOST", &socket)
            .setting("GIT_ALLOWED_HOSTS", "git.example.test")
            .setting("RATE_LIMIT_PER_MINUTE", "0")
            .setting("RETRY_BASE_MS", "1")
            .fake("git", "echo 'fatal: repository not found' >&2; exit 128")
            .fake("kind", "exit 1")
    }

    /// A world in which a clone and a new cluster take as long as the test does.
    pub(crate) fn endless() -> Self {
        const WAIT: &str = r#"while [ -e "$0" ]; do sleep 0.1; done"#;
        Self::new().fake("git", WAIT).fake("kind", &format!(r#"[ "$1" != create ] || {WAIT}"#))
    }

    /// Sets a setting as the environment does.
    pub(crate) fn setting(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Puts a shell script in the place of a program.
    pub(crate) fn fake(self, program: &str, script: &str) -> Self {
        let path = self.path(program);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let name = format!("{}_PROGRAM", program.to_uppercase());
        self.setting(&name, &path.display().to_string())
    }

    /// The settings as they are.
    pub(crate) fn settings(&self) -> Settings {
        let sources = Sources {
            directory: self.directory.path().to_owned(),
            environment: self.environment.clone(),
            ..Sources::default()
        };
        Settings::load(&sources).unwrap().0
    }

    /// Starts the server.
    pub(crate) async fn start(self) -> TestServer {
        let docker =
            AbortOnDropHandle::new(tokio::spawn(docker(UnixListener::bind(self.path("docker.sock")).unwrap())));
        let app = App::open(self.settings()).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = app.shutdown_token();
        let serving =
            AbortOnDropHandle::new(tokio::spawn(http::serve(http::router(app.clone()), listener, shutdown.clone())));
        let client = Client::builder().no_proxy().build().unwrap();
        TestServer { address, app, shutdown, serving, client, _docker: docker, _directory: self.directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// A server that is running, and its client.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) app: App,
    pub(crate) shutdown: CancellationToken,
    pub(crate) serving: AbortOnDropHandle<()>,
    client: Client,
    _docker: AbortOnDropHandle<()>,
    _directory: TempDir,
}

impl TestServer {
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str) -> Response {
        self.request(Method::POST, path).send().await.unwrap()
    }

    /// The body of an answer that must be a good one.
    pub(crate) async fn json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), 200, "{path}");
        response.json().await.unwrap()
    }

    pub(crate) fn post_chat(&self, body: &Value) -> RequestBuilder {
        self.request(Method::POST, "/v1/chat/completions").json(body)
    }

    pub(crate) async fn chat(&self, body: &Value) -> Response {
        self.post_chat(body).send().await.unwrap()
    }

    /// The answer to a chat request that must be accepted.
    pub(crate) async fn answer(&self, body: &Value) -> Value {
        let response = self.chat(body).await;
        assert_eq!(response.status(), 200);
        response.json().await.unwrap()
    }
}

/// A Docker daemon that has nothing and can do nothing.
async fn docker(listener: UnixListener) {
    let nothing = || async { (StatusCode::NOT_FOUND, Json(json!({"message": "there is nothing here"}))) };
    let router = Router::new()
        .route("/_ping", get(|| async { "OK" }))
        .route("/containers/json", get(|| async { Json(json!([])) }))
        .route("/{version}/containers/json", get(|| async { Json(json!([])) }))
        .fallback(nothing);
    axum::serve(listener, router).await.unwrap();
}

/// A request that says one sentence.
pub(crate) fn say(sentence: &str) -> Value {
    json!({"model": "app-server-default", "messages": [{"role": "user", "content": sentence}]})
}

/// A request by fields to deploy an application of this name.
pub(crate) fn deploy(name: &str) -> Value {
    json!({
        "model": "app-server-default",
        "messages": [{"role": "user", "content": "go"}],
        "action": "deploy",
        "deployment_mode": "local",
        "github_repo_url": "https://git.example.test/team/notes.git",
        "instance_name": name,
    })
}

/// The same request with one more field.
pub(crate) fn with(mut body: Value, name: &str, value: Value) -> Value {
    body[name] = value;
    body
}

/// The Markdown of an answer.
pub(crate) fn content(answer: &Value) -> &str {
    answer["choices"][0]["message"]["content"].as_str().unwrap()
}
