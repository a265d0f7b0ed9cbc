//! An Azure OpenAI that says what a story wants and behaves like the real one: a first chunk about its filter without
//! choices, calls of tools in pieces by their index, a choice without a delta, refusals with Azure's bodies; and it
//! refuses what the real one refuses, such as a call of a tool without a result.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::World;

const DEPLOYMENT: &str = "gpt-story";
const KEY: &str = "s3cr3t-key-of-the-model";

/// What the model does with one request.
#[derive(Debug, Clone)]
pub(crate) enum Turn {
    /// Says something.
    Say(String),
    /// Calls a tool with these arguments, which need not be JSON.
    Call(String, String),
    /// Says something and breaks the connection.
    Die(String),
    /// Says nothing for five minutes.
    Sleep,
    /// Answers with this status, header and body.
    Refuse(u16, Option<(&'static str, &'static str)>, Value),
    /// Its filter ends the answer after these words.
    Filter(String),
}

/// The model of one story. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Azure {
    url: String,
    state: Arc<Model>,
}

#[derive(Debug)]
struct Model {
    script: Mutex<VecDeque<Turn>>,
    otherwise: Mutex<Turn>,
    requests: Mutex<Vec<Value>>,
    serving: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl Azure {
    pub(crate) async fn start() -> Self {
        let state = Arc::new(Model {
            script: Mutex::default(),
            otherwise: Mutex::new(say("All right.")),
            requests: Mutex::default(),
            serving: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/openai/deployments/{deployment}/chat/completions", post(classic))
            .route("/openai/v1/chat/completions", post(v1))
            .route("/v1/chat/completions", post(v1))
            .with_state(Arc::clone(&state));
        let serving = AbortOnDropHandle::new(tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }));
        *state.serving.lock().unwrap() = Some(serving);
        Self { url, state }
    }

    /// A world whose server talks with this model.
    pub(crate) async fn world(&self) -> World {
        self.world_with(&[]).await
    }

    /// The same with other settings.
    pub(crate) async fn world_with(&self, settings: &[(&str, &str)]) -> World {
        let mut all = vec![
            ("AZURE_OPENAI_ENDPOINT", self.url.as_str()),
            ("AZURE_OPENAI_API_KEY", KEY),
            ("AZURE_OPENAI_API_VERSION", "2024-10-21"),
            ("AZURE_OPENAI_DEPLOYMENT", DEPLOYMENT),
            ("LLM_TIMEOUT_S", "2"),
        ];
        all.extend_from_slice(settings);
        World::with(&all).await
    }

    /// A world whose server takes the model for one that only speaks OpenAI's API.
    pub(crate) async fn world_of_another(&self) -> World {
        let base = format!("{}/v1", self.url);
        World::with(&[("LLM_BASE_URL", &base), ("LLM_API_KEY", KEY), ("LLM_MODEL", DEPLOYMENT)]).await
    }

    /// What it does with the next requests, in this order.
    pub(crate) fn will(&self, turns: impl IntoIterator<Item = Turn>) {
        self.state.script.lock().unwrap().extend(turns);
    }

    /// What it does with all requests after those.
    pub(crate) fn always(&self, turn: Turn) {
        *self.state.otherwise.lock().unwrap() = turn;
    }

    /// The bodies of all requests so far.
    pub(crate) fn requests(&self) -> Vec<Value> {
        self.state.requests.lock().unwrap().clone()
    }

    /// The names of the tools that the request with this number was offered.
    pub(crate) fn offered(&self, number: usize) -> Vec<String> {
        let requests = self.requests();
        let tools = requests[number]["tools"].as_array().cloned().unwrap_or_default();
        tools.iter().map(|it| it["function"]["name"].as_str().unwrap().to_owned()).collect()
    }

    /// The results of tools that the request with this number told.
    pub(crate) fn told(&self, number: usize) -> Vec<String> {
        let requests = self.requests();
        let messages = requests[number]["messages"].as_array().unwrap().iter();
        messages.filter(|it| it["role"] == "tool").map(|it| it["content"].as_str().unwrap().to_owned()).collect()
    }
}

/// Says something.
pub(crate) fn say(text: &str) -> Turn {
    Turn::Say(text.to_owned())
}

/// Calls a tool.
#[expect(clippy::needless_pass_by_value, reason = "`json!` reads better at the call")]
pub(crate) fn call(tool: &str, arguments: Value) -> Turn {
    Turn::Call(tool.to_owned(), arguments.to_string())
}

/// Refuses as Azure does.
pub(crate) fn refuse(status: u16, code: &str, message: &str) -> Turn {
    Turn::Refuse(status, None, json!({"error": {"code": code, "message": message, "param": null, "type": null}}))
}

/// The classic path: the deployment in the path, the version in the query.
async fn classic(
    State(model): State<Arc<Model>>,
    Path(deployment): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    if headers.get("api-key").is_none_or(|it| it != KEY) {
        return refused(StatusCode::UNAUTHORIZED, "401");
    }
    if deployment != DEPLOYMENT || query != [("api-version".to_owned(), "2024-10-21".to_owned())] {
        return refused(StatusCode::NOT_FOUND, "DeploymentNotFound");
    }
    answer(model, body).await
}

/// The path without versions, of Azure and of everything else: the deployment is the model.
async fn v1(State(model): State<Arc<Model>>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let bearer = format!("Bearer {KEY}");
    let knows = |name: &str, value: &str| headers.get(name).is_some_and(|it| it == value);
    if !knows("api-key", KEY) && !knows("authorization", &bearer) {
        return refused(StatusCode::UNAUTHORIZED, "401");
    }
    if body["model"] != DEPLOYMENT {
        return refused(StatusCode::NOT_FOUND, "DeploymentNotFound");
    }
    answer(model, body).await
}

fn refused(status: StatusCode, code: &str) -> Response {
    (status, Json(json!({"error": {"code": code, "message": code}}))).into_response()
}

async fn answer(model: Arc<Model>, body: Value) -> Response {
    model.requests.lock().unwrap().push(body.clone());
    if let Some(fault) = fault(&body) {
        return refused(StatusCode::BAD_REQUEST, &fault);
    }
    let turn = model.script.lock().unwrap().pop_front();
    let turn = turn.unwrap_or_else(|| model.otherwise.lock().unwrap().clone());
    let is_stream = body["stream"] == true;
    match turn {
        Turn::Sleep => {
            tokio::time::sleep(Duration::from_mins(5)).await;
            StatusCode::OK.into_response()
        }
        Turn::Refuse(status, header, body) => {
            let mut response = (StatusCode::from_u16(status).unwrap(), Json(body)).into_response();
            if let Some((name, value)) = header {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        }
        Turn::Say(text) if is_stream => stream(words(&text), "stop", &body, false),
        Turn::Filter(text) if is_stream => stream(words(&text), "content_filter", &body, false),
        Turn::Die(text) if is_stream => stream(words(&text), "stop", &body, true),
        Turn::Call(tool, arguments) if is_stream => stream(pieces(&tool, &arguments), "tool_calls", &body, false),
        Turn::Say(text) | Turn::Die(text) => whole(&json!({"role": "assistant", "content": text}), "stop"),
        Turn::Filter(text) => whole(&json!({"role": "assistant", "content": text}), "content_filter"),
        Turn::Call(tool, arguments) => {
            let call = json!({"id": "call_1", "type": "function", "function": {"name": tool, "arguments": arguments}});
            whole(&json!({"role": "assistant", "content": null, "tool_calls": [call]}), "tool_calls")
        }
    }
}

/// What the real one refuses: calls of tools without results, and options that only a stream has.
fn fault(body: &Value) -> Option<String> {
    let messages = body["messages"].as_array()?;
    for (index, message) in messages.iter().enumerate() {
        let calls = message["tool_calls"].as_array().into_iter().flatten();
        let results: Vec<&Value> =
            messages[index + 1..].iter().take_while(|it| it["role"] == "tool").map(|it| &it["tool_call_id"]).collect();
        if let Some(call) = calls.into_iter().find(|call| !results.contains(&&call["id"])) {
            return Some(format!("no result for {}", call["id"]));
        }
    }
    let is_stream = body["stream"] == true;
    (!is_stream && !body["stream_options"].is_null()).then(|| "stream_options without stream".to_owned())
}

fn whole(message: &Value, finish_reason: &str) -> Response {
    Json(json!({
        "id": "chatcmpl-azure", "object": "chat.completion", "created": 1, "model": "gpt-4o-2024-08-06",
        "system_fingerprint": "fp_azure",
        "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}],
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason, "logprobs": null,
            "content_filter_results": {"hate": {"filtered": false, "severity": "safe"}}}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }))
    .into_response()
}

fn words(text: &str) -> Vec<Value> {
    text.split_inclusive(' ').map(|it| json!({"content": it})).collect()
}

fn pieces(tool: &str, arguments: &str) -> Vec<Value> {
    let call = |id: Value, name: Value, arguments: &str| json!({"tool_calls": [{"index": 0, "id": id, "type": "function", "function": {"name": name, "arguments": arguments}}]});
    let letters: Vec<char> = arguments.chars().collect();
    let rest = letters.chunks(7).map(|it| call(Value::Null, Value::Null, &it.iter().collect::<String>()));
    std::iter::once(call(json!("call_1"), json!(tool), "")).chain(rest).collect()
}

fn stream(deltas: Vec<Value>, finish_reason: &str, body: &Value, dies: bool) -> Response {
    let chunk = |choices: Value, usage: Value| {
        format!(
            "data: {}\n\n",
            json!({"id": "chatcmpl-azure", "object": "chat.completion.chunk", "created": 1,
                "model": "gpt-4o-2024-08-06", "system_fingerprint": "fp_azure", "choices": choices, "usage": usage})
        )
    };
    let one = |delta: Value, finish_reason: Value| json!([{"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": null, "content_filter_results": {}}]);
    let filter = json!({"id": "", "object": "", "created": 0, "model": "", "choices": [],
        "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}]});
    let mut frames = vec![format!("data: {filter}\n\n")];
    frames.push(chunk(one(json!({"role": "assistant", "content": "", "refusal": null}), Value::Null), Value::Null));
    frames.extend(deltas.into_iter().map(|delta| chunk(one(delta, Value::Null), Value::Null)));
    if !dies {
        let late = json!([{"index": 0, "finish_reason": null, "content_filter_offsets": {"check_offset": 1}}]);
        frames.push(chunk(late, Value::Null));
        frames.push(chunk(one(json!({}), json!(finish_reason)), Value::Null));
        if body["stream_options"]["include_usage"] == true {
            let usage = json!({"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110});
            frames.push(chunk(json!([]), usage));
        }
        frames.push("data: [DONE]\n\n".to_owned());
    }
    let last: Option<std::io::Error> = dies.then(|| std::io::Error::other("the story breaks the connection"));
    let frames = frames.into_iter().map(|it| Ok(Bytes::from(it))).chain(last.into_iter().map(Err));
    // A frame at a time, so that a client sees them as they come.
    let stream = futures_util::StreamExt::then(futures_util::stream::iter(frames), async |it| {
        tokio::task::yield_now().await;
        it
    });
    ([("content-type", "text/event-stream")], Body::from_stream(stream)).into_response()
}
