//! An Azure OpenAI that says what a story wants and behaves like the real one: a first chunk about its filter without
//! choices, calls of tools in pieces by their index, a choice without a delta, refusals with Azure's bodies; and it
//! refuses what the real one refuses, such as a call of a tool without a result. Beside it a model for embeddings.

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
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

use super::World;

const DEPLOYMENT: &str = "gpt-story";
const VERSION: &str = "2024-10-21";
/// The deployment of the model for embeddings.
pub(crate) const EMBEDDING_DEPLOYMENT: &str = "embedding-story";
const EMBEDDING_VERSION: &str = "2023-05-15";
/// Settings that name the model for embeddings, for [`Azure::world_with`].
pub(crate) const EMBEDDINGS: [(&str, &str); 2] =
    [("AZURE_EMBEDDING_DEPLOYMENT", EMBEDDING_DEPLOYMENT), ("AZURE_EMBEDDING_API_VERSION", EMBEDDING_VERSION)];
const KEY: &str = "s3cr3t-key-of-the-model";

/// What the model does with one request.
#[derive(Debug, Clone)]
pub(crate) enum Turn {
    /// Says something.
    Say(String),
    /// Says these pieces, and waits before each but the first until the story has it go on.
    Halting(&'static [&'static str]),
    /// Calls a tool with these arguments, which need not be JSON.
    Call(String, String),
    /// Says something and calls several tools at once.
    Calls(String, Vec<(String, String)>),
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
    may_go_on: Arc<Semaphore>,
    serving: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl Azure {
    pub(crate) async fn start() -> Self {
        let state = Arc::new(Model {
            script: Mutex::default(),
            otherwise: Mutex::new(say("All right.")),
            requests: Mutex::default(),
            may_go_on: Arc::new(Semaphore::new(0)),
            serving: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/openai/deployments/{deployment}/chat/completions", post(classic))
            .route("/openai/v1/chat/completions", post(v1))
            .route("/v1/chat/completions", post(v1))
            .route("/openai/deployments/{deployment}/embeddings", post(classic_embeddings))
            .route("/openai/v1/embeddings", post(v1_embeddings))
            .route("/v1/embeddings", post(v1_embeddings))
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
            ("AZURE_OPENAI_API_VERSION", VERSION),
            ("AZURE_OPENAI_DEPLOYMENT", DEPLOYMENT),
            ("LLM_TIMEOUT_S", "2"),
        ];
        all.extend_from_slice(settings);
        World::with(&all).await
    }

    /// A world whose server takes the model for one that only speaks OpenAI's API.
    pub(crate) async fn world_of_another(&self) -> World {
        let base = format!("{}/v1", self.url);
        let models = [("LLM_MODEL", DEPLOYMENT), ("LLM_EMBEDDING_MODEL", EMBEDDING_DEPLOYMENT)];
        World::with(&[&models[..], &[("LLM_BASE_URL", &base), ("LLM_API_KEY", KEY)]].concat()).await
    }

    /// What it does with the next requests, in this order.
    pub(crate) fn will(&self, turns: impl IntoIterator<Item = Turn>) {
        self.state.script.lock().unwrap().extend(turns);
    }

    /// What it does with all requests after those.
    pub(crate) fn always(&self, turn: Turn) {
        *self.state.otherwise.lock().unwrap() = turn;
    }

    /// Has it say the next piece of what it says haltingly.
    pub(crate) fn go_on(&self) {
        self.state.may_go_on.add_permits(1);
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

/// Says something and calls several tools at once.
pub(crate) fn calls(text: &str, calls: &[(&str, Value)]) -> Turn {
    Turn::Calls(text.to_owned(), calls.iter().map(|(tool, it)| ((*tool).to_owned(), it.to_string())).collect())
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
    match classic_refusal((&deployment, &query, &headers), (DEPLOYMENT, VERSION)) {
        Some(refusal) => refusal,
        None => answer(model, body).await,
    }
}

/// The path without versions, of Azure and of everything else: the deployment is the model.
async fn v1(State(model): State<Arc<Model>>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    match v1_refusal(&headers, &body, DEPLOYMENT) {
        Some(refusal) => refusal,
        None => answer(model, body).await,
    }
}

async fn classic_embeddings(
    State(model): State<Arc<Model>>,
    Path(deployment): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    match classic_refusal((&deployment, &query, &headers), (EMBEDDING_DEPLOYMENT, EMBEDDING_VERSION)) {
        Some(refusal) => refusal,
        None => embeddings(model, body).await,
    }
}

async fn v1_embeddings(State(model): State<Arc<Model>>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    match v1_refusal(&headers, &body, EMBEDDING_DEPLOYMENT) {
        Some(refusal) => refusal,
        None => embeddings(model, body).await,
    }
}

fn classic_refusal(
    (deployment, query, headers): (&str, &[(String, String)], &HeaderMap),
    (expected, version): (&str, &str),
) -> Option<Response> {
    if headers.get("api-key").is_none_or(|it| it != KEY) {
        return Some(refused(StatusCode::UNAUTHORIZED, "401"));
    }
    let is_there = deployment == expected && query == [("api-version".to_owned(), version.to_owned())];
    (!is_there).then(|| refused(StatusCode::NOT_FOUND, "DeploymentNotFound"))
}

fn v1_refusal(headers: &HeaderMap, body: &Value, expected: &str) -> Option<Response> {
    let bearer = format!("Bearer {KEY}");
    let knows = |name: &str, value: &str| headers.get(name).is_some_and(|it| it == value);
    if !knows("api-key", KEY) && !knows("authorization", &bearer) {
        return Some(refused(StatusCode::UNAUTHORIZED, "401"));
    }
    (body["model"] != expected).then(|| refused(StatusCode::NOT_FOUND, "DeploymentNotFound"))
}

/// A vector of two numbers for each text, unless the story has other plans.
async fn embeddings(model: Arc<Model>, body: Value) -> Response {
    model.requests.lock().unwrap().push(body.clone());
    let turn = model.script.lock().unwrap().pop_front();
    let turn = turn.unwrap_or_else(|| model.otherwise.lock().unwrap().clone());
    match turn {
        Turn::Sleep | Turn::Refuse(..) => plain(turn).await,
        Turn::Die(text) => text.into_response(),
        Turn::Say(_) | Turn::Halting(_) | Turn::Call(..) | Turn::Calls(..) | Turn::Filter(_) => {
            let count = body["input"].as_array().map_or(1, Vec::len);
            let one = |index| json!({"object": "embedding", "index": index, "embedding": [0.25, -0.5]});
            let data: Vec<Value> = (0..count).map(one).collect();
            let usage = json!({"prompt_tokens": 3, "total_tokens": 3});
            Json(json!({"object": "list", "data": data, "model": "text-embedding-3-small", "usage": usage}))
                .into_response()
        }
    }
}

/// What is the same for every model: silence, and refusals.
async fn plain(turn: Turn) -> Response {
    let Turn::Refuse(status, header, body) = turn else {
        tokio::time::sleep(Duration::from_mins(5)).await;
        return StatusCode::OK.into_response();
    };
    let mut response = (StatusCode::from_u16(status).unwrap(), Json(body)).into_response();
    if let Some((name, value)) = header {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
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
        Turn::Sleep | Turn::Refuse(..) => plain(turn).await,
        Turn::Say(text) if is_stream => stream(words(&text), "stop", &body, false),
        Turn::Halting(pieces) if is_stream => {
            let deltas = pieces.iter().map(|it| json!({"content": it})).collect();
            let response = stream(deltas, "stop", &body, false);
            let may_go_on = Arc::clone(&model.may_go_on);
            // Two frames come before the first piece.
            let held = 3..2 + pieces.len();
            let frames = futures_util::StreamExt::enumerate(response.into_body().into_data_stream());
            let frames = futures_util::StreamExt::then(frames, move |(number, frame)| {
                let may_go_on = held.contains(&number).then(|| Arc::clone(&may_go_on));
                async move {
                    if let Some(may_go_on) = may_go_on {
                        may_go_on.acquire().await.unwrap().forget();
                    }
                    frame
                }
            });
            ([("content-type", "text/event-stream")], Body::from_stream(frames)).into_response()
        }
        Turn::Filter(text) if is_stream => stream(words(&text), "content_filter", &body, false),
        Turn::Die(text) if is_stream => stream(words(&text), "stop", &body, true),
        Turn::Call(tool, arguments) if is_stream => stream(pieces(0, &tool, &arguments), "tool_calls", &body, false),
        Turn::Calls(text, calls) if is_stream => {
            let calls = calls.iter().enumerate().flat_map(|(index, (tool, it))| pieces(index, tool, it));
            stream(words(&text).into_iter().chain(calls).collect(), "tool_calls", &body, false)
        }
        Turn::Halting(pieces) => whole(&json!({"role": "assistant", "content": pieces.concat()}), "stop"),
        Turn::Say(text) | Turn::Die(text) => whole(&json!({"role": "assistant", "content": text}), "stop"),
        Turn::Filter(text) => whole(&json!({"role": "assistant", "content": text}), "content_filter"),
        Turn::Call(tool, arguments) => whole(&calling(None, &[(tool, arguments)]), "tool_calls"),
        Turn::Calls(text, calls) => whole(&calling(Some(&text), &calls), "tool_calls"),
    }
}

fn calling(text: Option<&str>, calls: &[(String, String)]) -> Value {
    let call = |(index, (tool, arguments)): (usize, &(String, String))| json!({"id": call_id(index), "type": "function", "function": {"name": tool, "arguments": arguments}});
    json!({"role": "assistant", "content": text, "tool_calls": calls.iter().enumerate().map(call).collect::<Vec<_>>()})
}

fn call_id(index: usize) -> String {
    format!("call_{}", index + 1)
}

/// What the real one refuses: calls of tools without results, results without calls, two tools of one name, and options
/// that only a stream or only tools have.
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
    let mut open: Vec<&Value> = Vec::new();
    for message in messages {
        match message["tool_calls"].as_array() {
            Some(calls) => open = calls.iter().map(|it| &it["id"]).collect(),
            None if message["role"] == "tool" && !open.contains(&&message["tool_call_id"]) => {
                return Some(format!("no call for the result {}", message["tool_call_id"]));
            }
            None => {}
        }
    }
    let tools: Vec<&Value> = body["tools"].as_array().into_iter().flatten().map(|it| &it["function"]["name"]).collect();
    if let Some(twice) = tools.iter().enumerate().find(|(index, it)| tools[..*index].contains(it)) {
        return Some(format!("two tools are {}", twice.1));
    }
    if tools.is_empty() && !body["parallel_tool_calls"].is_null() {
        return Some("parallel_tool_calls without tools".to_owned());
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

fn pieces(index: usize, tool: &str, arguments: &str) -> Vec<Value> {
    let call = |id: Value, name: Value, arguments: &str| json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": arguments}}]});
    let letters: Vec<char> = arguments.chars().collect();
    let rest = letters.chunks(7).map(|it| call(Value::Null, Value::Null, &it.iter().collect::<String>()));
    std::iter::once(call(json!(call_id(index)), json!(tool), "")).chain(rest).collect()
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
