//! A server: the real program, as a child with a workspace of its own.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::answer::Answer;
use crate::bed::{PREFIX, bed, end_servers};
use crate::cluster::Cluster;

/// No story takes longer on the test bed, whatever else its machine does.
const LONGEST: Duration = Duration::from_mins(15);
/// What tests/real/test-aws gives all stories together.
const LONGEST_ON_AWS: Duration = Duration::from_mins(30);

fn longest() -> Duration {
    if std::env::var_os("TEST_AWS_PREFIX").is_some() { LONGEST_ON_AWS } else { LONGEST }
}

/// The server that most stories share; the janitor ends it.
static SHARED: OnceCell<Server> = OnceCell::const_new();

/// The server that most stories share, each in namespaces of its own.
pub(crate) async fn shared() -> &'static Server {
    SHARED.get_or_init(|| async { Server::start("shared", &free_node_ports(20)).await }).await
}

/// A server that can be killed and started again.
pub(crate) struct Server {
    name: String,
    folder: PathBuf,
    base: String,
    environment: Vec<(String, String)>,
    child: Mutex<Option<Child>>,
    client: reqwest::Client,
}

impl Server {
    /// Starts a server whose cluster (not there yet) has this name and these node ports.
    pub(crate) async fn start(name: &str, node_ports: &str) -> Self {
        Self::start_with(name, node_ports, &[]).await
    }

    /// The same with more settings.
    pub(crate) async fn start_with(name: &str, node_ports: &str, settings: &[(&str, &str)]) -> Self {
        let folder = bed().root.join(name);
        fs::create_dir_all(&folder).unwrap();
        let port = free_port();
        let hosts = format!(
            "{},file://{}/",
            bed().git_base.trim_start_matches("https://"),
            bed().root.join("repositories").display()
        );
        let mut environment: Vec<(String, String)> = [
            ("PORT", port.to_string().as_str()),
            ("PERSISTENT_WORKSPACE_BASE_DIR", folder.join("workspace").to_str().unwrap()),
            ("KIND_CLUSTER_NAME", &format!("{PREFIX}{name}")),
            ("NODE_PORT_RANGE", node_ports),
            ("GIT_ALLOWED_HOSTS", &hosts),
            ("RATE_LIMIT_PER_MINUTE", "0"),
            ("CPU_REQUEST", "20m"),
            ("MEMORY_REQUEST", "16Mi"),
            ("ROLLOUT_TIMEOUT_S", "60"),
            // A story asks how an operation ends, however slow the machine.
            ("ANSWER_WITHIN_S", "3600"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        environment.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap();
        let base = format!("http://127.0.0.1:{port}");
        let server = Self { name: name.to_owned(), folder, base, environment, child: Mutex::new(None), client };
        server.start_again().await;
        server
    }

    /// Starts the program on the workspace that is there, and waits until it answers.
    pub(crate) async fn start_again(&self) {
        let log = File::options().create(true).append(true).open(self.folder.join("server.log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_on-demand-infra"));
        command.current_dir(&self.folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.envs(self.environment.iter().map(|(name, value)| (name, value))).spawn().unwrap();
        *self.child.lock().unwrap() = Some(child);
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.client.get(format!("{}/health", self.base)).send().await.is_err() {
            let ended = self.child.lock().unwrap().as_mut().unwrap().try_wait().unwrap();
            let waits = ended.is_none() && Instant::now() < deadline;
            assert!(waits, "the server `{}` does not answer ({ended:?}): {}", self.name, self.last_lines());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Kills it as a power cut would.
    pub(crate) fn kill(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Its cluster.
    pub(crate) fn cluster(&self) -> Cluster {
        Cluster::new(&format!("{PREFIX}{}", self.name))
    }

    /// Its workspace.
    pub(crate) fn workspace(&self) -> PathBuf {
        self.folder.join("workspace")
    }

    /// Everything that it logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("server.log")).unwrap_or_default()
    }

    /// The end of what it logged.
    fn last_lines(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Sends a request and waits for the whole answer; a request with words only is a sentence.
    pub(crate) async fn ask(&self, fields: Value) -> Answer {
        let began = Instant::now();
        let body = body(fields);
        let response = self.post(&body).send().await.unwrap();
        let status = response.status().as_u16();
        let body_text = response.text().await.unwrap();
        let answer = Answer::new(status, &body_text, began.elapsed());
        self.note(&body, &answer);
        answer
    }

    /// Where it answers.
    pub(crate) fn url(&self) -> &str {
        &self.base
    }

    /// Sends a request and does not wait for its end: gives the operation.
    pub(crate) async fn begin(&self, fields: Value) -> String {
        let known = self.operations().await;
        let (request, deadline) = (self.post(&body(fields)), Instant::now() + Duration::from_secs(20));
        tokio::spawn(async move { request.send().await.map(|_| ()) });
        loop {
            if let Some(new) = self.operations().await.into_iter().find(|it| !known.contains(it)) {
                return new;
            }
            assert!(Instant::now() < deadline, "no operation began: {}", self.last_lines());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn operations(&self) -> Vec<String> {
        let list = self.get("/v1/operations?limit=100").await;
        list["data"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Sends a request whose answer comes in chunks.
    pub(crate) async fn stream(&self, fields: Value) -> impl Stream<Item = String> + use<> {
        let mut body = body(fields);
        body["stream"] = json!(true);
        let response = self.post(&body).send().await.unwrap();
        assert_eq!(response.status(), 200);
        payloads(response)
    }

    /// The events of an operation, from the first one on.
    pub(crate) async fn events(&self, operation: &str) -> impl Stream<Item = Value> + use<> {
        let url = format!("{}/v1/operations/{operation}/events", self.base);
        let response = self.client.get(url).send().await.unwrap();
        payloads(response).filter_map(|it| std::future::ready(serde_json::from_str(&it).ok()))
    }

    /// Waits until an operation has ended, and gives it.
    pub(crate) async fn ended(&self, operation: &str) -> Value {
        let began = Instant::now();
        loop {
            let found = self.get(&format!("/v1/operations/{operation}")).await;
            let state = found["state"].as_str().unwrap_or_default();
            if !["queued", "running", "waiting"].contains(&state) {
                return found;
            }
            assert!(began.elapsed() < longest(), "it does not end: {found:#}\n{}", self.last_lines());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Reads one of its routes.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let response = self.client.get(format!("{}{path}", self.base)).send().await.unwrap();
        response.json().await.unwrap()
    }

    /// Posts to one of its routes that needs no body.
    pub(crate) async fn post_to(&self, path: &str) {
        let response = self.client.post(format!("{}{path}", self.base)).send().await.unwrap();
        assert!(response.status().is_success(), "{path}: {}", response.text().await.unwrap());
    }

    fn post(&self, body: &Value) -> reqwest::RequestBuilder {
        let url = format!("{}/v1/chat/completions", self.base);
        self.client.post(url).json(body).timeout(longest())
    }

    /// Keeps what was asked and answered, for whoever wants to read it as a person would.
    fn note(&self, body: &Value, answer: &Answer) {
        use std::io::Write;
        let mut file = File::options().create(true).append(true).open(self.folder.join("answers.md")).unwrap();
        let mut asked = body.clone();
        asked.as_object_mut().unwrap().remove("model");
        let text = answer.content.as_deref().unwrap_or(&answer.text);
        writeln!(file, "## {asked}\n_{} ms, {}_\n\n{text}\n", answer.took.as_millis(), answer.status).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        end_servers(&self.folder);
        self.cluster().delete();
    }
}

/// As many node ports in a row that nobody listens on: a range for one cluster, as the setting takes it. The cluster
/// takes them minutes later, so each lane that runs beside another has numbers of its own.
pub(crate) fn free_node_ports(count: u16) -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let lane = if std::env::var_os("REAL_LANE").is_some() { 32_000 } else { 31_000 };
    let is_free = |port: u16| TcpListener::bind(("0.0.0.0", port)).is_ok();
    let mut candidates = std::iter::repeat_with(|| lane + NEXT.fetch_add(count, Ordering::Relaxed));
    let first = candidates.find(|first| (*first..first + count).all(is_free)).unwrap();
    format!("{first}-{}", first + count - 1)
}

/// A port below those that the system gives to clients: nobody takes it while the server is down. Stories that run beside
/// these in another process look for theirs from another number on.
fn free_port() -> u16 {
    static COUNT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 90).unwrap() * 100;
    let mut candidates = std::iter::repeat_with(|| first + COUNT.fetch_add(1, Ordering::Relaxed));
    candidates.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

/// A request: words become a message, everything else stays a field.
fn body(mut fields: Value) -> Value {
    let object = fields.as_object_mut().unwrap();
    object.entry("model").or_insert_with(|| json!("app-server-default"));
    let words = object.remove("say").unwrap_or_else(|| json!("Please."));
    object.entry("messages").or_insert_with(|| json!([{"role": "user", "content": words}]));
    fields
}

/// The `data:` lines of an answer in chunks.
fn payloads(response: reqwest::Response) -> impl Stream<Item = String> + use<> {
    let mut rest = Vec::new();
    let chunks = response.bytes_stream().take_while(|chunk| std::future::ready(chunk.is_ok()));
    chunks
        .flat_map(move |chunk| {
            rest.extend_from_slice(&chunk.unwrap());
            let mut lines = Vec::new();
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                let line = String::from_utf8(line).unwrap();
                lines.extend(line.trim_end().strip_prefix("data: ").map(str::to_owned));
            }
            futures_util::stream::iter(lines)
        })
        .boxed()
}
