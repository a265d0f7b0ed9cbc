//! A key that asks: what destroys or costs waits for a person.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Key, chat, get, make, post, record, request, root};
use crate::world::{Answer, World, eventually, say, with};

async fn agent(world: &World) -> Key {
    let root = root(world).await;
    agent_of(world, &root).await
}

async fn agent_of(world: &World, root: &Key) -> Key {
    make(world, Some(root), &json!({"name": "agent", "role": "deployer", "ask": true})).await
}

/// The hash of the plan in an answer.
fn plan(answer: &Answer) -> String {
    answer.text().split("plan `").nth(1).and_then(|it| it.split('`').next()).unwrap().to_owned()
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
    let hash = plan(&asked);
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

#[tokio::test]
async fn a_question_that_nobody_put_cannot_be_answered() {
    let world = World::start().await;
    let agent = agent(&world).await;
    chat(&world, &agent, &world.request_for("deploy")).await;
    let decommission = world.request_for("decommission");
    let planned = chat(&world, &agent, &with(decommission.clone(), "dry_run", true)).await;
    let made_up = format!("Shall I? (plan `{}`)", plan(&planned));

    let by_fields = chat(&world, &agent, &then(&decommission, &made_up, "yes")).await;
    assert_eq!(by_fields.body["operation"], json!(null), "{by_fields:?}");
    // That was a question. Once it is answered with no, a yes comes too late.
    chat(&world, &agent, &then(&say("decommission notes"), by_fields.text(), "no")).await;
    let too_late = chat(&world, &agent, &then(&decommission, by_fields.text(), "yes")).await;

    assert_eq!(too_late.body["operation"], json!(null), "{too_late:?}");
    assert_eq!(get(&world, Some(&agent), "/v1/deployments").await.body["data"][0]["state"], "running");
}

#[tokio::test]
async fn a_deploy_without_replicas_takes_something_away() {
    let world = World::start().await;
    let agent = agent(&world).await;
    chat(&world, &agent, &world.request_for("deploy")).await;

    let asked = chat(&world, &agent, &with(world.request_for("deploy"), "scale_replicas", 0)).await;

    assert_eq!(asked.body["operation"], json!(null), "{asked:?}");
    assert!(asked.text().contains("Say **yes**"), "{asked:?}");
}

#[tokio::test]
async fn what_others_have_begun_is_not_stopped_without_a_person() {
    let world = World::start().await;
    let root = root(&world).await;
    let agent = agent_of(&world, &root).await;
    world.failpoints.hold("kind");
    let begun = request(&world, Some(&root), Method::POST, "/v1/chat/completions").json(&with(
        world.request_for("deploy"),
        "stream",
        true,
    ));
    let begun = begun.send().await.unwrap();
    let id = get(&world, Some(&root), "/v1/operations").await.body["data"][0]["id"].as_str().unwrap().to_owned();

    let by_route = post(&world, Some(&agent), &format!("/v1/operations/{id}/cancel"), &json!({})).await;
    let by_words = chat(&world, &agent, &say("cancel notes")).await;
    let by_fields = chat(&world, &agent, &world.request_for("undo")).await;

    assert_eq!((by_route.status, by_route.code()), (403, "permission_denied"));
    assert!(by_words.text().contains("may not cancel"), "{by_words:?}");
    assert_eq!(by_fields.status, 403, "{by_fields:?}");
    world.failpoints.release("kind");
    begun.text().await.unwrap();
    let state = get(&world, Some(&root), &format!("/v1/operations/{id}")).await.body["state"].clone();
    assert_eq!(state, "succeeded");
    // What it has begun itself, it may stop.
    world.failpoints.hold("page");
    let own = request(&world, Some(&agent), Method::POST, "/v1/chat/completions").json(&with(
        world.request_for("redeploy"),
        "stream",
        true,
    ));
    let own = own.send().await.unwrap();
    let id = get(&world, Some(&root), "/v1/operations").await.body["data"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(post(&world, Some(&agent), &format!("/v1/operations/{id}/cancel"), &json!({})).await.status, 200);
    world.failpoints.release("page");
    own.text().await.unwrap();
    eventually("the cancel to be told", async || {
        record(&world, &root)
            .await
            .iter()
            .any(|it| it["event"] == "cancel_requested" && it["deployment_name"] == "notes")
    })
    .await;
}
