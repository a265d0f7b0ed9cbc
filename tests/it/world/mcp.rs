//! A client of the Model Context Protocol, message by message, as the wire has them.

use std::fmt;

use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use super::World;

/// The newest revision.
pub(crate) const NEWEST: &str = "2026-07-28";

/// A client.
pub(crate) struct Mcp<'a> {
    world: &'a World,
    secret: Option<String>,
    capabilities: Value,
    revision: &'static str,
}

/// What came of a message: what was told before the answer, and the answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) told: Vec<Value>,
    pub(crate) message: Value,
}

impl fmt::Debug for Mcp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a client of {}", self.revision)
    }
}

impl<'a> Mcp<'a> {
    /// A client of the newest revision that can do nothing that a client may leave out.
    pub(crate) fn new(world: &'a World) -> Self {
        Self { world, secret: None, capabilities: json!({}), revision: NEWEST }
    }

    /// One of a revision before, which has no words about itself in every request.
    pub(crate) fn of(self, revision: &'static str) -> Self {
        Self { revision, ..self }
    }

    /// With a key.
    pub(crate) fn with_key(self, secret: &str) -> Self {
        Self { secret: Some(secret.to_owned()), ..self }
    }

    /// That can put questions to its person.
    pub(crate) fn that_asks(self) -> Self {
        self.with_capability("elicitation", json!({"form": {}}))
    }

    /// That knows tasks.
    pub(crate) fn with_tasks(self) -> Self {
        self.with_capability("extensions", json!({"io.modelcontextprotocol/tasks": {}}))
    }

    fn with_capability(mut self, name: &str, value: Value) -> Self {
        self.capabilities[name] = value;
        self
    }

    /// A request that is not sent yet.
    pub(crate) fn post(&self, method: &str, params: &Value) -> RequestBuilder {
        let mut params = params.clone();
        let mut headers = vec![("mcp-protocol-version", self.revision.to_owned())];
        if self.revision == NEWEST {
            params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(self.revision);
            params["_meta"]["io.modelcontextprotocol/clientInfo"] = json!({"name": "it", "version": "1"});
            params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = self.capabilities.clone();
            headers.push(("mcp-method", method.to_owned()));
            let name = ["name", "uri", "taskId"].into_iter().find_map(|it| params[it].as_str());
            headers.extend(name.map(|it| ("mcp-name", it.to_owned())));
        }
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let request = self.raw().json(&body);
        headers.into_iter().fold(request, |request, (name, value)| request.header(name, value))
    }

    /// A message of any kind that is not sent yet.
    pub(crate) fn raw(&self) -> RequestBuilder {
        let request = self.world.request(Method::POST, "/mcp").header("accept", "application/json, text/event-stream");
        match &self.secret {
            Some(secret) => request.bearer_auth(secret),
            None => request,
        }
    }

    /// Sends a request and hears its answer.
    pub(crate) async fn send(&self, method: &str, params: &Value) -> Reply {
        read(self.post(method, params).send().await.unwrap()).await
    }

    /// The result of a request.
    pub(crate) async fn result(&self, method: &str, params: &Value) -> Value {
        let reply = self.send(method, params).await;
        assert!(reply.message["result"].is_object(), "{method}: {reply:#?}");
        reply.message["result"].clone()
    }

    /// The error of a request: its code and its words.
    pub(crate) async fn error(&self, method: &str, params: &Value) -> (i64, String) {
        let reply = self.send(method, params).await;
        let error = &reply.message["error"];
        let code = error["code"].as_i64().unwrap_or_else(|| panic!("{method}: {reply:#?}"));
        (code, error["message"].as_str().unwrap().to_owned())
    }

    /// The result of a call of a tool.
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Value {
        self.result("tools/call", &json!({"name": tool, "arguments": arguments})).await
    }

    /// What a call of a tool is refused with.
    pub(crate) async fn refused(&self, tool: &str, arguments: Value) -> String {
        let result = self.call(tool, arguments).await;
        assert_eq!(result["isError"], true, "{result:#}");
        text(&result)
    }

    /// Begins a change, waits for its end, and gives its operation.
    pub(crate) async fn change(&self, tool: &str, arguments: Value) -> Value {
        let begun = self.call(tool, arguments).await;
        let id = begun["structuredContent"]["operation"]["id"].as_str().unwrap_or_else(|| panic!("{begun:#}"));
        self.wait(id).await
    }

    /// Waits for the end of an operation, and gives it.
    pub(crate) async fn wait(&self, id: &str) -> Value {
        let result = self.call("operation_wait", json!({"id": id})).await;
        result["structuredContent"]["operation"].clone()
    }
}

/// The words of a result.
pub(crate) fn text(result: &Value) -> String {
    let parts = result["content"].as_array().unwrap_or_else(|| panic!("no content: {result:#}"));
    parts.iter().filter_map(|it| it["text"].as_str()).collect()
}

/// Reads an answer, be it one message or a stream of them.
pub(crate) async fn read(response: Response) -> Reply {
    let status = response.status().as_u16();
    let content_type = response.headers().get("content-type").map(|it| it.to_str().unwrap().to_owned());
    let body = response.text().await.unwrap();
    if content_type.is_some_and(|it| it.starts_with("text/event-stream")) {
        let mut told = frames(&body);
        let message = told.pop().unwrap_or_default();
        return Reply { status, told, message };
    }
    Reply { status, told: Vec::new(), message: serde_json::from_str(&body).unwrap_or(Value::String(body)) }
}

/// The messages of a stream.
pub(crate) fn frames(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|it| it.strip_prefix("data:")).map(str::trim).filter(|it| !it.is_empty());
    data.map(|it| serde_json::from_str(it).unwrap()).collect()
}
