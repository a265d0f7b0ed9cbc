//! What goes over the wire: a server on port 0, and a client.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use on_demand_infra::app::App;
use on_demand_infra::config::Settings;
use on_demand_infra::config::source::Sources;
use on_demand_infra::http;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

mod chat;
mod errors;
mod limits;
mod robustness;
mod routes;
mod streams;

/// A server that is running.
struct Server {
    address: SocketAddr,
    app: App,
    shutdown: CancellationToken,
    client: Client,
    serving: AbortOnDropHandle<()>,
}

impl Server {
    async fn start() -> Self {
        Self::with(&[]).await
    }

    async fn with(settings: &[(&str, &str)]) -> Self {
        let quiet = [("RATE_LIMIT_PER_MINUTE", "0")];
        let environment: BTreeMap<String, String> =
            quiet.iter().chain(settings).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (settings, _) = Settings::load(&Sources { environment, ..Sources::default() }).unwrap();
        let app = App::stand_in(settings);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = app.shutdown_token();
        let serving = AbortOnDropHandle::new(tokio::spawn(http::serve(app.clone(), listener, shutdown.clone())));
        let client = Client::builder().no_proxy().build().unwrap();
        Self { address, app, shutdown, client, serving }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    fn post_chat(&self, body: &Value) -> RequestBuilder {
        self.request(Method::POST, "/v1/chat/completions").json(body)
    }

    async fn chat(&self, body: &Value) -> Response {
        self.post_chat(body).send().await.unwrap()
    }
}

/// A request that says one sentence.
fn say(sentence: &str) -> Value {
    json!({"model": "app-server-default", "messages": [{"role": "user", "content": sentence}]})
}

/// A request by fields to deploy an application of this name.
fn deploy(name: &str) -> Value {
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
fn with(mut body: Value, name: &str, value: Value) -> Value {
    body[name] = value;
    body
}

/// The `data:` payloads of a stream; every other line must be a comment or empty.
fn payloads(text: &str) -> Vec<String> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with(':'))
        .map(|line| line.strip_prefix("data: ").expect("only data lines and comments").to_owned())
        .collect()
}

/// The words of a streamed answer.
fn words(payloads: &[String]) -> String {
    payloads
        .iter()
        .filter_map(|it| serde_json::from_str::<Value>(it).ok())
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .collect()
}
