//! The Responses API: the same conversation by another surface.

use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Answer, World, answer, eventually};

mod chains;
mod completions;
mod model;
mod stored;
mod surface;

/// A request that says something.
fn ask(input: impl Into<Value>) -> Value {
    json!({"model": "app-server-default", "input": input.into()})
}

/// An action by fields, as chat completions have it, in the form of this surface.
fn fields(world: &World, action: &str) -> Value {
    let mut body = world.request_for(action);
    body.as_object_mut().unwrap().remove("messages");
    body["input"] = json!("go");
    body
}

/// Sends a request and waits for its answer.
async fn respond(world: &World, body: &Value) -> Answer {
    answer(world.request(Method::POST, "/v1/responses").json(body)).await
}

/// The words of a response.
fn words(response: &Value) -> String {
    let items = response["output"].as_array().unwrap_or_else(|| panic!("no output: {response}")).iter();
    let parts = items.filter(|it| it["type"] == "message").flat_map(|it| it["content"].as_array().unwrap());
    parts.filter_map(|it| it["text"].as_str()).collect()
}

/// The events of a stream: each has its name and a number, one after another; the end mark is there.
fn read_events(text: &str) -> Vec<Value> {
    let mut events = Vec::new();
    let frames: Vec<&str> = text.split("\n\n").filter(|it| !it.trim().is_empty() && !it.starts_with(':')).collect();
    let (last, frames) = frames.split_last().expect("a stream has an end");
    assert_eq!(*last, "data: [DONE]", "{text}");
    for frame in frames {
        let (name, data) = frame.split_once('\n').unwrap_or_else(|| panic!("no name: {frame}"));
        let event: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(name, format!("event: {}", event["type"].as_str().unwrap()));
        events.push(event);
    }
    let numbers: Vec<u64> = events.iter().map(|it| it["sequence_number"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted_by(|a, b| a + 1 == *b), "{numbers:?}");
    events
}

/// A streamed response: its events.
async fn events(world: &World, body: &Value) -> Vec<Value> {
    let mut body = body.clone();
    body["stream"] = json!(true);
    let response = world.request(Method::POST, "/v1/responses").json(&body).send().await.unwrap();
    assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
    read_events(&response.text().await.unwrap())
}

/// The types of events, each once where the same follow each other.
fn types(events: &[Value]) -> Vec<&str> {
    let mut types: Vec<&str> = events.iter().map(|it| it["type"].as_str().unwrap()).collect();
    types.dedup();
    types
}

/// The path of a stored response.
fn path_of(response: &Value) -> String {
    format!("/v1/responses/{}", response["id"].as_str().unwrap_or_else(|| panic!("no id: {response}")))
}

/// A response in the background, when it has ended.
async fn ended(world: &World, response: &Value) -> Value {
    let path = path_of(response);
    let mut found = Value::Null;
    eventually("the response to end", async || {
        found = world.get(&path).await.body;
        !["queued", "in_progress"].contains(&found["status"].as_str().unwrap_or_default())
    })
    .await;
    found
}
