//! A person's word, by the client that can ask for it.

use reqwest::Method;
use serde_json::{Value, json};

use super::{deployed, named};
use crate::world::mcp::{Mcp, text};
use crate::world::{World, answer, with};

/// The same call with what the person said.
fn answered(question: &Value, arguments: &Value, said: &Value) -> Value {
    json!({"name": "decommission", "arguments": arguments, "requestState": question["requestState"],
        "inputResponses": {"confirmation": said}})
}

fn yes() -> Value {
    json!({"action": "accept", "content": {"confirm": true}})
}

/// Makes a key; the first one by anybody.
async fn key(world: &World, by: Option<&str>, body: Value) -> String {
    let request = world.request(Method::POST, "/v1/keys").json(&body);
    let request = if let Some(secret) = by { request.bearer_auth(secret) } else { request };
    answer(request).await.body["secret"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_yes_counts_also_when_the_server_was_started_again_in_between() {
    let mut world = World::start().await;
    let question = {
        let client = Mcp::new(&world).that_asks();
        deployed(&world, &client).await;
        client.call("decommission", named()).await
    };
    assert_eq!(question["resultType"], "input_required", "{question:#}");
    let asked = &question["inputRequests"]["confirmation"];
    assert_eq!(asked["method"], "elicitation/create");
    assert!(
        asked["params"]["message"]
            .as_str()
            .unwrap()
            .contains("Shall I decommission notes? That is in namespace team on on-demand-infra"),
        "{asked:#}"
    );
    assert_eq!(asked["params"]["requestedSchema"]["properties"]["confirm"]["type"], "boolean", "{asked:#}");

    world.kill_and_start_again().await;
    let client = Mcp::new(&world).that_asks();
    let done = client.result("tools/call", &answered(&question, &named(), &yes())).await;

    let id = done["structuredContent"]["operation"]["id"].as_str().unwrap_or_else(|| panic!("{done:#}")).to_owned();
    assert_eq!(client.wait(&id).await["state"], "succeeded");
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn anything_but_a_yes_leaves_it_as_it_is() {
    let world = World::start().await;
    let client = Mcp::new(&world).that_asks();
    deployed(&world, &client).await;
    let question = client.call("decommission", named()).await;

    for said in [
        json!({"action": "decline"}),
        json!({"action": "cancel"}),
        json!({"action": "accept"}),
        json!({"action": "accept", "content": {"confirm": false}}),
        json!({"action": "accept", "content": {"confirm": "true"}}),
    ] {
        let result = client.result("tools/call", &answered(&question, &named(), &said)).await;
        assert_eq!(result["structuredContent"]["outcome"], "declined", "{said}: {result:#}");
        assert_eq!(text(&result), "All right, I did nothing.");
    }
    let unanswered = json!({"name": "decommission", "arguments": named(), "requestState": question["requestState"]});
    let again = client.result("tools/call", &unanswered).await;
    assert_eq!(again["resultType"], "input_required", "{again:#}");
    assert_eq!(client.call("list", json!({})).await["structuredContent"]["deployments"][0]["state"], "running");
}

#[tokio::test]
async fn an_answer_counts_only_for_the_question_that_was_put() {
    let world = World::start().await;
    let root = key(&world, None, json!({"name": "root"})).await;
    let other = key(&world, Some(&root), json!({"name": "other", "role": "admin"})).await;
    let client = Mcp::new(&world).that_asks().with_key(&root);
    deployed(&world, &client).await;
    let question = client.call("decommission", named()).await;

    let forged = with(question.clone(), "requestState", "v1.abcdef.AAAA");
    let elsewhere = with(named(), "keep_target", true);
    for params in [answered(&forged, &named(), &yes()), answered(&question, &elsewhere, &yes())] {
        let refused = client.result("tools/call", &params).await;
        assert_eq!(refused["isError"], true, "{refused:#}");
        assert!(text(&refused).contains("a question that is not open here"), "{}", text(&refused));
    }
    let by_other = Mcp::new(&world).that_asks().with_key(&other);
    let refused = by_other.result("tools/call", &answered(&question, &named(), &yes())).await;
    assert!(text(&refused).contains("it was put to another key"), "{refused:#}");
    let malformed = client.result("tools/call", &answered(&question, &named(), &json!("yes"))).await;
    assert!(text(&malformed).contains("is not the result of an elicitation"), "{malformed:#}");

    client.change("scale", with(named(), "scale_replicas", 2)).await;
    let changed = client.result("tools/call", &answered(&question, &named(), &yes())).await;
    let message = changed["inputRequests"]["confirmation"]["params"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("something has changed since"), "{changed:#}");
    let done = client.result("tools/call", &answered(&changed, &named(), &yes())).await;
    assert_eq!(done["structuredContent"]["outcome"], "operation", "{done:#}");
}

#[tokio::test]
async fn a_key_that_asks_takes_a_persons_word_and_nothing_less() {
    let world = World::start().await;
    let root = key(&world, None, json!({"name": "root"})).await;
    let agent = key(&world, Some(&root), json!({"name": "agent", "role": "deployer", "ask": true})).await;
    let silent = Mcp::new(&world).with_key(&agent);
    deployed(&world, &silent).await;

    let asked = silent.call("decommission", named()).await;
    let hash = asked["structuredContent"]["plan"]["hash"].clone();
    assert!(text(&asked).contains("this client cannot put the question"), "{}", text(&asked));
    let again = silent.call("decommission", with(named(), "confirm", hash.clone())).await;
    assert_eq!(again["structuredContent"]["outcome"], "confirmation_needed", "{again:#}");
    let old = Mcp::new(&world).with_key(&agent).of("2025-06-18");
    let again = old.call("decommission", with(named(), "confirm", hash)).await;
    assert_eq!(again["structuredContent"]["outcome"], "confirmation_needed", "{again:#}");

    let client = Mcp::new(&world).that_asks().with_key(&agent);
    let question = client.call("decommission", named()).await;
    let no = client.result("tools/call", &answered(&question, &named(), &json!({"action": "decline"}))).await;
    assert_eq!(no["structuredContent"]["outcome"], "declined", "{no:#}");
    let late = client.result("tools/call", &answered(&question, &named(), &yes())).await;
    assert_eq!(late["resultType"], "input_required", "a question that was answered with no is put anew: {late:#}");
    let done = client.result("tools/call", &answered(&late, &named(), &yes())).await;

    let id = done["structuredContent"]["operation"]["id"].as_str().unwrap_or_else(|| panic!("{done:#}"));
    assert_eq!(client.wait(id).await["state"], "succeeded");
    let record = world.request(Method::GET, "/v1/audit?format=jsonl").bearer_auth(&root).send().await.unwrap();
    let record = record.text().await.unwrap();
    let accepted: Vec<Value> = record.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let removal = accepted.iter().find(|it| it["event"] == "accepted" && it["action"] == "decommission").unwrap();
    assert_eq!((&removal["surface"], &removal["confirmed"]), (&json!("mcp"), &json!("conversation")), "{removal:#}");
}
