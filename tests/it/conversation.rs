//! Talking with the server, with a chat model and without.

use serde_json::{Value, json};

use crate::world::World;

mod caller_tools;
mod confirmation;
mod faults;
mod injection;
mod open_webui;
mod passthrough;
mod removal;
mod secrets;
mod tool_loop;
mod undo;

/// A conversation of these turns, the person first.
pub(crate) fn talk(turns: &[&str]) -> Value {
    let messages: Vec<Value> = turns
        .iter()
        .enumerate()
        .map(|(index, text)| json!({"role": if index % 2 == 0 { "user" } else { "assistant" }, "content": text}))
        .collect();
    json!({"model": "app-server-default", "messages": messages})
}

/// A streamed answer: its chunks, without the end mark, which must be there.
async fn chunks(world: &World, body: &Value) -> Vec<Value> {
    let mut body = body.clone();
    body["stream"] = json!(true);
    let text = world.post_chat(&body).send().await.unwrap().text().await.unwrap();
    let mut lines: Vec<&str> = text.lines().filter_map(|it| it.strip_prefix("data: ")).collect();
    assert_eq!(lines.pop(), Some("[DONE]"), "{text}");
    lines.into_iter().map(|it| serde_json::from_str(it).unwrap()).collect()
}

/// The words of a streamed answer.
fn words(chunks: &[Value]) -> String {
    chunks.iter().filter_map(|it| it["choices"][0]["delta"]["content"].as_str()).collect()
}

/// The arguments of a deploy of the repository `notes`.
fn deploy(world: &World) -> Value {
    json!({"deployment_mode": "local", "github_repo_url": world.repository("notes"), "instance_name": "notes",
        "target_namespace": "team"})
}
