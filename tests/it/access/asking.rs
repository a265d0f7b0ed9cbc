//! A key that asks: what destroys or costs waits for a person.

use serde_json::{Value, json};

use super::{Key, chat, make, root};
use crate::world::{World, say, with};

async fn agent(world: &World) -> Key {
    let root = root(world).await;
    make(world, Some(&root), &json!({"name": "agent", "role": "deployer", "ask": true})).await
}

/// The conversation after an answer.
fn then(body: &Value, answer: &str, said: &str) -> Value {
    let mut body = body.clone();
    body["messages"]
        .as_array_mut()
        .unwrap()
        .extend([json!({"role": "assistant", "content": answer}), json!({"role": "user", "content": said})]);
    body
}

#[tokio::test]
async fn fields_alone_do_not_destroy_whatever_they_confirm() {
    let world = World::start().await;
    let agent = agent(&world).await;
    let deployed = chat(&world, &agent, &world.request_for("deploy")).await;
    assert_eq!(deployed.state(), "succeeded", "what neither destroys nor costs is done at once: {deployed:?}");
    let decommission = world.request_for("decommission");

    let asked = chat(&world, &agent, &decommission).await;
    assert_eq!((asked.status, &asked.body["operation"]), (200, &json!(null)), "{asked:?}");
    let hash = asked.text().split("plan `").nth(1).and_then(|it| it.split('`').next()).unwrap().to_owned();
    for confirm in [json!(true), json!(hash)] {
        let again = chat(&world, &agent, &with(decommission.clone(), "confirm", confirm)).await;
        assert_eq!(again.body["operation"], json!(null), "{again:?}");
    }

    let agreed = chat(&world, &agent, &then(&decommission, asked.text(), "yes")).await;

    assert_eq!(agreed.state(), "succeeded", "{agreed:?}");
}

#[tokio::test]
async fn a_yes_in_a_conversation_is_a_persons() {
    let world = World::start().await;
    let agent = agent(&world).await;
    chat(&world, &agent, &world.request_for("deploy")).await;
    let said = say("scale notes to 0");

    let asked = chat(&world, &agent, &said).await;
    let agreed = chat(&world, &agent, &then(&said, asked.text(), "yes")).await;

    assert!(asked.text().contains("plan `"), "{asked:?}");
    assert_eq!(agreed.state(), "succeeded", "{agreed:?}");
}
