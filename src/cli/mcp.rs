//! `mcp`: the protocol over stdin and stdout, for desktop programs that start what they talk to. Each message goes to the
//! server that runs, and its answers come back; nothing is kept here but which requests are under way.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::time::Duration;

use anyhow::Context as _;
use eventsource_stream::Eventsource as _;
use futures_util::StreamExt;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::connection::Server;
use crate::config::Settings;

/// How many answers wait for a client that does not read.
const WAITING: usize = 64;
/// The first revision whose requests say in headers what they are.
const WITH_HEADERS: &str = "2026-07-28";
/// How long what is under way may still take when stdin has ended.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// Errors of JSON-RPC.
const PARSE_ERROR: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;
const INTERNAL_ERROR: i64 = -32603;

/// Takes messages until stdin ends, and answers what was asked by then.
///
/// # Errors
/// When stdin cannot be read.
pub(super) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let server = Server::of_settings(settings)?;
    let (answers, mut told) = mpsc::channel::<Value>(WAITING);
    let writer = tokio::spawn(async move {
        let mut stdout = tokio::io::stdout();
        while let Some(message) = told.recv().await {
            let line = format!("{message}\n");
            if stdout.write_all(line.as_bytes()).await.is_err() || stdout.flush().await.is_err() {
                break;
            }
        }
    });
    let mut relay = Relay { server, revision: None, answers, under_way: HashMap::new(), tasks: JoinSet::new() };
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    loop {
        match lines.next_line().await {
            Ok(Some(line)) if line.trim().is_empty() => {}
            Ok(Some(line)) => relay.take(&line).await?,
            Ok(None) => break,
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                relay.refuse(Value::Null, PARSE_ERROR, "a line is not UTF-8").await;
            }
            Err(error) => return Err(error).context("stdin cannot be read"),
        }
    }
    let Relay { mut tasks, answers, .. } = relay;
    // What is followed does not end by itself.
    let _ = tokio::time::timeout(LAST_ANSWERS, async { while tasks.join_next().await.is_some() {} }).await;
    tasks.shutdown().await;
    drop(answers);
    writer.await?;
    Ok(())
}

struct Relay {
    server: Server,
    /// What `initialize` has agreed on; requests of later revisions say it themselves.
    revision: Option<String>,
    answers: mpsc::Sender<Value>,
    /// By the id of each request, as JSON.
    under_way: HashMap<String, AbortHandle>,
    tasks: JoinSet<()>,
}

impl Relay {
    async fn take(&mut self, line: &str) -> anyhow::Result<()> {
        let message: Value = match serde_json::from_str(line) {
            Ok(message) => message,
            Err(error) => {
                self.refuse(Value::Null, PARSE_ERROR, &format!("a line is not JSON: {error}")).await;
                return Ok(());
            }
        };
        if message.is_array() {
            self.refuse(Value::Null, INVALID_REQUEST, "send one message per line: batches are not taken").await;
            return Ok(());
        }
        while self.tasks.try_join_next().is_some() {}
        self.under_way.retain(|_, it| !it.is_finished());
        if message["method"] == "notifications/cancelled" {
            // To leave is how this transport cancels.
            if let Some(request) = self.under_way.remove(&message["params"]["requestId"].to_string()) {
                request.abort();
            }
            return Ok(());
        }
        let id = message.get("id").filter(|_| message.get("method").is_some()).cloned();
        let request = self.request(&message)?;
        // What everything after it depends on.
        if message["method"] == "initialize" {
            if let Some(answer) = relay(request, id, self.server.address().as_str(), &self.answers).await
                && let Some(revision) = answer["result"]["protocolVersion"].as_str()
            {
                self.revision = Some(revision.to_owned());
            }
            return Ok(());
        }
        let (answers, address) = (self.answers.clone(), self.server.address().clone());
        let key = id.as_ref().map(Value::to_string);
        let task = self.tasks.spawn(async move {
            relay(request, id, address.as_str(), &answers).await;
        });
        if let Some(key) = key {
            self.under_way.insert(key, task);
        }
        Ok(())
    }

    fn request(&self, message: &Value) -> anyhow::Result<RequestBuilder> {
        let request = self.server.request(Method::POST, &["mcp"], &[])?;
        let request = request.header("accept", "application/json, text/event-stream").json(message);
        let params = &message["params"];
        let own = params["_meta"]["io.modelcontextprotocol/protocolVersion"].as_str();
        let Some(revision) = own.or(self.revision.as_deref()) else { return Ok(request) };
        let request = request.header("mcp-protocol-version", revision);
        if own.is_none_or(|it| it < WITH_HEADERS) {
            return Ok(request);
        }
        let method = message["method"].as_str().unwrap_or_default();
        let name = match method {
            "tools/call" | "prompts/get" => params["name"].as_str(),
            "resources/read" => params["uri"].as_str(),
            "tasks/get" | "tasks/update" | "tasks/cancel" => params["taskId"].as_str(),
            _ => None,
        };
        let request = request.header("mcp-method", method);
        Ok(if let Some(name) = name { request.header("mcp-name", name) } else { request })
    }

    async fn refuse(&self, id: Value, code: i64, text: &str) {
        refuse(&self.answers, id, code, text).await;
    }
}

/// Sends a message, and passes on all that is answered; gives the last of it. A request always gets an answer.
async fn relay(
    request: RequestBuilder,
    id: Option<Value>,
    address: &str,
    answers: &mpsc::Sender<Value>,
) -> Option<Value> {
    let told = match request.send().await {
        Ok(response) => pass_on(response, address, answers).await,
        Err(error) if error.is_connect() => Err(format!(
            "no server answers at {address}: start `on-demand-infra`, or say where it is with `ON_DEMAND_INFRA_URL`"
        )),
        Err(error) => Err(format!("the server at {address} does not answer: {error}")),
    };
    match (told, id) {
        (Ok(last), _) if last.is_some() => last,
        (Ok(_), Some(id)) => {
            refuse(answers, id, INTERNAL_ERROR, &format!("the server at {address} ended without an answer")).await;
            None
        }
        (Err(text), Some(id)) => {
            refuse(answers, id, INTERNAL_ERROR, &text).await;
            None
        }
        (Ok(_), None) => None,
        (Err(text), None) => {
            eprintln!("{text}");
            None
        }
    }
}

/// The messages of an answer.
async fn pass_on(response: Response, address: &str, answers: &mpsc::Sender<Value>) -> Result<Option<Value>, String> {
    let status = response.status();
    let content_type = response.headers().get("content-type").and_then(|it| it.to_str().ok()).unwrap_or_default();
    if content_type.starts_with("text/event-stream") {
        let mut events = response.bytes_stream().eventsource();
        let mut last = None;
        while let Some(Ok(event)) = events.next().await {
            if let Ok(message) = serde_json::from_str::<Value>(&event.data) {
                last = Some(message.clone());
                // A client that does not listen any more ends this program by closing stdin.
                let _ = answers.send(message).await;
            }
        }
        return Ok(last.filter(|it| it.get("id").is_some()));
    }
    let text = response.text().await.map_err(|error| format!("the answer of {address} breaks off: {error}"))?;
    match serde_json::from_str::<Value>(&text) {
        // What is about a message whose id nobody has read is told about the one that was sent.
        Ok(message) if message["jsonrpc"] == "2.0" && !message["id"].is_null() => {
            let _ = answers.send(message.clone()).await;
            Ok(Some(message))
        }
        _ if status == StatusCode::ACCEPTED => Ok(None),
        Ok(error) if status == StatusCode::UNAUTHORIZED => Err(format!(
            "the server at {address} wants a key ({}): set `ON_DEMAND_INFRA_API_KEY` to one that `on-demand-infra key create` \
             has made",
            error["error"]["message"].as_str().unwrap_or("it was refused")
        )),
        Ok(error) if error["error"]["message"].is_string() => {
            Err(error["error"]["message"].as_str().unwrap_or_default().to_owned())
        }
        Ok(_) | Err(_) => Err(format!("the server at {address} answers {status}")),
    }
}

async fn refuse(answers: &mpsc::Sender<Value>, id: Value, code: i64, text: &str) {
    let error = json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": text}});
    let _ = answers.send(error).await;
}
