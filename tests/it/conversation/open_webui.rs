//! Open WebUI: what it asks by itself, at the same moment as the person.

use serde_json::{Value, json};

use crate::world::azure::{Azure, refuse, say};
use crate::world::{World, with};

const TITLE: &str = "### Task:\nGenerate a concise title.\n### Output:\nJSON format: { \"title\": \"your title\" }\n\
    ### Chat History:\n<chat_history>\nUSER: deploy my notes\n</chat_history>";

/// A request as the page makes it, with parameters that stick to every one.
fn sticky(world: &World, text: &str) -> Value {
    let mut body = with(world.request_for("deploy"), "messages", json!([{"role": "user", "content": text}]));
    body["user"] = json!({"id": "u1", "name": "Ann", "email": "ann@example.test", "role": "user"});
    body["metadata"] = json!({"chat_id": "c1"});
    body
}

async fn send(world: &World, body: &Value, message: &str) -> Value {
    let request = world.post_chat(body).header("x-openwebui-chat-id", "c1");
    let answer = request.header("x-openwebui-user-message-id", message).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.json().await.unwrap()
}

#[tokio::test]
async fn a_title_that_is_asked_for_at_the_same_moment_deploys_nothing() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    azure.will([say("{\"title\": \"Notes\"}")]);
    let (message, title) = (sticky(&world, "deploy my notes"), sticky(&world, TITLE));

    let (deployed, titled) = tokio::join!(send(&world, &message, "m1"), send(&world, &title, "m1"));
    let again = send(&world, &sticky(&world, "and how is it?"), "m2").await;

    assert_eq!(deployed["operation"]["state"], "succeeded");
    assert_eq!(titled["choices"][0]["message"]["content"], "{\"title\": \"Notes\"}");
    assert!(titled.get("operation").is_none());
    assert_eq!(again["operation"]["id"], deployed["operation"]["id"]);
    assert_eq!(world.texts("SELECT id FROM operations").await.len(), 1);
    assert!(azure.requests().iter().all(|it| it.get("tools").is_none() && it.get("action").is_none()));
}

#[tokio::test]
async fn a_title_is_there_also_when_the_model_is_not() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    azure.always(refuse(500, "down", "down"));

    let titled = send(&world, &sticky(&world, TITLE), "m1").await;

    assert_eq!(titled["choices"][0]["message"]["content"], "{\"title\":\"🚀 Deploy my notes\"}");
}
