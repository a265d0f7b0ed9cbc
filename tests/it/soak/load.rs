//! What the server has to do: reads, streams that come and go, and operations one after another.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::world::{say, with};

/// 50 requests a second.
const BETWEEN_READS: Duration = Duration::from_millis(20);
/// How many streams are open at the same time.
const STREAMS: u64 = 8;
/// How long after one stream the next one is opened in its place.
const BETWEEN_STREAMS: Duration = Duration::from_millis(500);
/// How many deployments change at the same time.
const DEPLOYMENTS: u64 = 3;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_mins(2);
/// How many faults are told.
const TOLD: usize = 20;

/// What is sent, and what became of it.
pub(super) struct Load {
    client: Client,
    address: String,
    repository: String,
    is_over: AtomicBool,
    /// Even while the server is up; another number afterwards tells that it was not all the time.
    downs: AtomicU64,
    counts: Mutex<Counts>,
    /// The last operation that was seen.
    latest: Mutex<Option<String>>,
    faults: Mutex<Vec<String>>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) requests: u64,
    /// Requests that were on their way when the server was killed, or that found none.
    pub(super) broken_off: u64,
    pub(super) streams: u64,
    pub(super) operations: u64,
}

impl Load {
    pub(super) fn new(address: String, repository: String) -> Self {
        let client = Client::builder().no_proxy().timeout(PATIENCE).pool_idle_timeout(Duration::from_secs(5));
        Self {
            client: client.build().unwrap(),
            address,
            repository,
            is_over: AtomicBool::new(false),
            downs: AtomicU64::new(0),
            counts: Mutex::default(),
            latest: Mutex::default(),
            faults: Mutex::default(),
        }
    }

    pub(super) fn begin(self: &Arc<Self>) -> Vec<JoinHandle<()>> {
        let mut work = Vec::new();
        let load = Arc::clone(self);
        work.push(tokio::spawn(async move { load.read().await }));
        for number in 0..STREAMS {
            let load = Arc::clone(self);
            work.push(tokio::spawn(async move { load.open_streams(number).await }));
        }
        for number in 0..DEPLOYMENTS {
            let load = Arc::clone(self);
            work.push(tokio::spawn(async move { load.change(&format!("soak-{number}")).await }));
        }
        work
    }

    pub(super) fn stop(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    pub(super) fn goes_down(&self) {
        self.downs.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn is_up(&self) {
        self.downs.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn counts(&self) -> Counts {
        *self.counts.lock().unwrap()
    }

    pub(super) fn faults(&self) -> Vec<String> {
        let faults = self.faults.lock().unwrap();
        let more = faults.len().saturating_sub(TOLD);
        let more = (more > 0).then(|| format!("and {more} more"));
        faults.iter().take(TOLD).cloned().chain(more).collect()
    }

    /// Removes what is deployed at the end.
    pub(super) async fn remove_all(&self) -> Vec<String> {
        for number in 0..DEPLOYMENTS {
            self.act(&self.request("decommission", &format!("soak-{number}")), &["succeeded", "not there"]).await;
        }
        self.faults()
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().unwrap());
    }

    fn fault(&self, text: String) {
        eprintln!("fault: {text}");
        self.faults.lock().unwrap().push(text);
    }

    fn to(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.address))
    }

    /// Sends a request and works with its answer; `None` when the server was killed meanwhile.
    async fn send<T>(
        &self,
        what: &str,
        request: RequestBuilder,
        read: impl AsyncFnOnce(Response) -> reqwest::Result<T>,
    ) -> Option<T> {
        let before = self.downs.load(Ordering::SeqCst);
        self.count(|it| it.requests += 1);
        let done = async { read(request.send().await?).await };
        match done.await {
            Ok(done) => Some(done),
            Err(error) => {
                let is_expected = before % 2 == 1 || self.downs.load(Ordering::SeqCst) != before;
                if is_expected {
                    self.count(|it| it.broken_off += 1);
                } else {
                    self.fault(format!("{what}: {error:?}"));
                }
                None
            }
        }
    }

    async fn read(self: &Arc<Self>) {
        let mut ticks = tokio::time::interval(BETWEEN_READS);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut number = 0;
        while !self.is_over() {
            ticks.tick().await;
            let load = Arc::clone(self);
            tokio::spawn(async move { load.read_one(number).await });
            number += 1;
        }
    }

    async fn read_one(&self, number: usize) {
        let operation = self.latest.lock().unwrap().clone().unwrap_or_else(|| "op_0".to_owned());
        let get = |path: &str| (path.to_owned(), self.to(Method::GET, path));
        let chat = |body: &Value| {
            (body["messages"][0]["content"].to_string(), self.to(Method::POST, "/v1/chat/completions").json(body))
        };
        let (what, request) = match number % 14 {
            0 => get("/v1/operations?limit=20"),
            1 => get("/v1/deployments"),
            2 => get("/health"),
            3 => get("/health/ready"),
            4 => get("/metrics"),
            5 => get("/v1/models"),
            6 => get(&format!("/v1/operations/{operation}")),
            7 => get("/openapi.json"),
            8 => chat(&say("what is running?")),
            9 => chat(&with(say("status"), "action", "list")),
            10 => chat(&say("how is soak-0?")),
            11 => get("/v1/operations?state=succeeded&limit=100"),
            12 => get("/no/such/route"),
            _ => chat(&say("hello")),
        };
        let status = self.send(&what, request, async |response| {
            let status = response.status().as_u16();
            response.bytes().await.map(|text| (status, text))
        });
        let Some((status, text)) = status.await else { return };
        let is_expected = match number % 14 {
            6 => status == 200 || (operation == "op_0" && status == 404),
            12 => status == 404,
            _ => status == 200,
        };
        if !is_expected {
            self.fault(format!("{what}: {status} {}", String::from_utf8_lossy(&text)));
        }
    }

    /// Opens one stream after another; some are read to their end, some are left.
    async fn open_streams(&self, mut number: u64) {
        while !self.is_over() {
            let operation = self.latest.lock().unwrap().clone();
            let Some(operation) = operation else {
                tokio::time::sleep(BETWEEN_READS).await;
                continue;
            };
            let path = format!("/v1/operations/{operation}/events");
            let request = match number % 3 {
                0 => self.to(Method::POST, "/v1/chat/completions").json(&with(say("what is running?"), "stream", true)),
                _ => self.to(Method::GET, &path),
            };
            let left_after = Duration::from_millis(100 + 37 * (number % 100));
            self.count(|it| it.streams += 1);
            let status = self.send(&path, request, async |response| {
                let status = response.status().as_u16();
                let mut chunks = response.bytes_stream();
                let reading = async {
                    while let Some(chunk) = chunks.next().await {
                        chunk?;
                    }
                    Ok::<_, reqwest::Error>(())
                };
                tokio::time::timeout(left_after, reading).await.unwrap_or(Ok(())).map(|()| status)
            });
            match status.await {
                Some(status) if status != 200 => self.fault(format!("{path}: {status}")),
                Some(_) | None => (),
            }
            tokio::time::sleep(BETWEEN_STREAMS).await;
            number += STREAMS;
        }
    }

    fn request(&self, action: &str, name: &str) -> Value {
        let mut body = say("go");
        body["action"] = json!(action);
        body["deployment_mode"] = json!("local");
        body["target_namespace"] = json!("soak");
        body["instance_name"] = json!(name);
        if action == "deploy" {
            body["github_repo_url"] = json!(self.repository);
            body["environment"] = json!({"TOKEN": format!("a-secret-of-{name}")});
        }
        body
    }

    /// One deployment, from its first deploy to its removal, again and again.
    async fn change(&self, name: &str) {
        let mut round = 0;
        while !self.is_over() {
            self.act(&self.request("deploy", name), &["succeeded"]).await;
            self.act(&with(self.request("scale", name), "scale_replicas", 2), &["succeeded"]).await;
            self.act(&self.request("restart", name), &["succeeded"]).await;
            self.act(&self.request("redeploy", name), &["succeeded"]).await;
            let failing = with(self.request("deploy", name), "git_ref", format!("no-such-branch-{round}"));
            self.act(&failing, &["failed", "undone"]).await;
            if round % 2 == 1 {
                self.leave(&with(self.request("restart", name), "stream", true)).await;
            }
            self.act(&self.request("decommission", name), &["succeeded", "not there"]).await;
            round += 1;
        }
    }

    /// Begins something and does not wait for its answer.
    async fn leave(&self, body: &Value) {
        let request = self.to(Method::POST, "/v1/chat/completions").json(body);
        self.send("a stream that is left", request, async |response| {
            let _ = response.bytes_stream().next().await;
            Ok(())
        })
        .await;
    }

    /// Sends a change until there is an answer, and looks whether it is one of these.
    async fn act(&self, body: &Value, expected: &[&str]) {
        loop {
            let request = self.to(Method::POST, "/v1/chat/completions").json(body);
            let what = format!("{} {}", body["action"], body["instance_name"]);
            let answer = self.send(&what, request, async |response| {
                let status = response.status().as_u16();
                response.json::<Value>().await.map(|body| (status, body))
            });
            let Some((status, answer)) = answer.await else {
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            };
            let code = answer["error"]["code"].as_str().unwrap_or_default();
            // What was sent before the kill is at work, or what was left is.
            if code == "deployment_busy" {
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
            let state = answer["operation"]["state"].as_str();
            let state = if code == "deployment_not_found" { "not there" } else { state.unwrap_or_default() };
            if let Some(id) = answer["operation"]["id"].as_str() {
                *self.latest.lock().unwrap() = Some(id.to_owned());
                self.count(|it| it.operations += 1);
            }
            if !expected.contains(&state) {
                self.fault(format!("{what}: {status} {answer}"));
            }
            return;
        }
    }
}
