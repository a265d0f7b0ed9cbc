//! Keys: who is let in, what each may do, and what is remembered of it.

use std::fmt;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::world::{Answer, World, answer};

mod asking;
mod audit;
mod commands;
mod keys;
mod oidc;
mod walk;

/// A key that a story has made.
#[derive(Clone)]
struct Key {
    id: String,
    secret: String,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

/// The first key of a world.
async fn root(world: &World) -> Key {
    make(world, None, &json!({"name": "root"})).await
}

/// A key, made by the holder of another.
async fn make(world: &World, by: Option<&Key>, body: &Value) -> Key {
    let made = post(world, by, "/v1/keys", body).await;
    assert_eq!(made.status, 201, "{made:?}");
    let text = |name: &str| made.body[name].as_str().unwrap().to_owned();
    Key { id: text("id"), secret: text("secret") }
}

/// A key with a role in one namespace.
async fn make_in(world: &World, by: &Key, name: &str, role: &str, namespace: &str) -> Key {
    let rights = json!([{"mode": "local", "namespace": namespace}]);
    make(world, Some(by), &json!({"name": name, "role": role, "rights": rights})).await
}

/// A request with a key.
fn request(world: &World, by: Option<&Key>, method: Method, path: &str) -> RequestBuilder {
    let request = world.request(method, path);
    match by {
        Some(key) => request.bearer_auth(&key.secret),
        None => request,
    }
}

async fn get(world: &World, by: Option<&Key>, path: &str) -> Answer {
    answer(request(world, by, Method::GET, path)).await
}

async fn post(world: &World, by: Option<&Key>, path: &str, body: &Value) -> Answer {
    answer(request(world, by, Method::POST, path).json(body)).await
}

async fn chat(world: &World, by: &Key, body: &Value) -> Answer {
    post(world, Some(by), "/v1/chat/completions", body).await
}

/// What the record tells, oldest first.
async fn record(world: &World, by: &Key) -> Vec<Value> {
    let lines = request(world, Some(by), Method::GET, "/v1/audit?format=jsonl").send().await.unwrap();
    lines.text().await.unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
