//! Conversations that go on over several responses, and what is not kept between them.

use futures_util::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};

use super::{ask, ended, fields, path_of, respond, words};
use crate::world::{World, answer, eventually, with};

fn after(response: &Value, input: &str) -> Value {
    with(ask(input), "previous_response_id", response["id"].clone())
}

#[tokio::test]
async fn a_secret_that_is_not_kept_is_asked_for_again() {
    let world = World::start().await;
    let said =
        format!("deploy {} in namespace team as notes with git_token ghp_0123456789abcdef", world.repository("notes"));
    let variable =
        format!("deploy {} in namespace team as notes with DB_PASSWORD=hunter2-secret", world.repository("notes"));

    for said in [said, variable] {
        let question = respond(&world, &ask(said)).await.body;
        let answered = respond(&world, &after(&question, "local")).await.body;
        assert!(words(&answered).contains("that I do not keep"), "{}\n{}", words(&question), words(&answered));
        assert_eq!(answered["operation"], Value::Null);
    }
    let by_fields = with(fields(&world, "deploy"), "environment", json!({"DB_PASSWORD": "***"}));
    let refused = respond(&world, &by_fields).await;
    assert_eq!((refused.status, refused.body["error"]["param"].as_str()), (400, Some("environment")), "{refused:?}");
    // Without one nothing is in the way.
    let question =
        respond(&world, &ask(format!("deploy {} in namespace team as notes", world.repository("notes")))).await;
    let answered = respond(&world, &after(&question.body, "local")).await.body;
    assert_eq!(answered["operation"]["state"], "succeeded", "{answered}");
}

#[tokio::test]
async fn a_conversation_goes_on_after_its_client_left() {
    let world = World::start().await;
    world.failpoints.hold("page");
    let body = with(with(fields(&world, "deploy"), "stream", true), "metadata", json!({"n": "1"}));
    let mut frames = world.request(Method::POST, "/v1/responses").json(&body).send().await.unwrap().bytes_stream();
    let first = String::from_utf8(frames.next().await.unwrap().unwrap().to_vec()).unwrap();
    let id = first.split("\"id\":\"").nth(1).and_then(|it| it.split('"').next()).unwrap().to_owned();
    drop(frames);
    world.failpoints.release("page");
    let operations = async || world.get("/v1/operations").await.body["data"][0]["state"] == "succeeded";
    eventually("the operation to end", operations).await;

    let next = respond(&world, &with(ask("list"), "previous_response_id", id.clone())).await;

    assert_eq!(next.status, 200, "{next:?}");
    assert!(words(&next.body).contains("notes"));
    let shown = world.get(&format!("/v1/responses/{id}")).await.body;
    assert_eq!(shown["status"], "completed");
}

#[tokio::test]
async fn what_is_cancelled_stays_so_however_often_it_is_asked_for() {
    let world = World::start().await;
    world.failpoints.hold("page");
    let body = with(fields(&world, "deploy"), "background", true);
    let send = async || {
        answer(world.request(Method::POST, "/v1/responses").header("idempotency-key", "one").json(&body)).await
    };
    let begun = send().await.body;
    world.post(&format!("{}/cancel", path_of(&begun))).await;
    world.failpoints.release("page");
    let operations = async || world.get("/v1/operations").await.body["data"][0]["state"] == "cancelled";
    eventually("the operation to be taken back", operations).await;
    eventually("its words", async || !words(&world.get(&path_of(&begun)).await.body).is_empty()).await;

    let again = send().await.body;

    assert_eq!((&again["id"], &again["status"]), (&begun["id"], &json!("cancelled")));
    assert_eq!(ended(&world, &begun).await["status"], "cancelled");
}

#[tokio::test]
async fn small_requests_that_stand_for_much_are_refused() {
    let world = World::start().await;
    let large = respond(&world, &ask("b".repeat(900_000))).await.body;
    let items = world.get(&format!("{}/input_items", path_of(&large))).await.body;
    let reference = json!({"type": "item_reference", "id": items["data"][0]["id"]});
    let many: Vec<Value> = std::iter::repeat_n(reference, 20).collect();
    let deep = (0..110).fold(json!({}), |inner, _| json!({"a": inner}));
    let tool = json!({"type": "function", "name": "f", "parameters": deep});

    let referring = respond(&world, &ask(many)).await;
    let nested = respond(&world, &with(ask("list"), "tools", json!([tool]))).await;

    assert_eq!((referring.status, referring.body["error"]["param"].as_str()), (400, Some("input")), "{referring:?}");
    assert_eq!(nested.status, 400, "{nested:?}");
    assert!(nested.body["error"]["message"].as_str().unwrap().contains("levels deep"), "{nested:?}");
}

#[tokio::test]
async fn what_a_model_would_refuse_is_refused_in_words_about_the_request() {
    let world = World::start().await;
    let function = |name: &str| json!({"type": "function", "name": name, "parameters": {}});
    let call = json!({"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"});
    let output = json!({"type": "function_call_output", "call_id": "call_2", "output": "x"});
    let user = json!({"role": "user", "content": "list"});
    let with_tools = |tools: Value, choice: Value| with(with(ask("list"), "tools", tools), "tool_choice", choice);

    for (body, param) in [
        (ask(json!([call, user])), "input"),
        (ask(json!([output, user])), "input"),
        (with_tools(json!([function("f")]), json!({"type": "function", "name": "g"})), "tool_choice"),
        (with_tools(json!([function("f"), function("f")]), json!("auto")), "tools[1].name"),
        (with(ask("list"), "max_output_tokens", 0), "max_output_tokens"),
        (with(ask("list"), "temperature", 99), "temperature"),
    ] {
        let refused = respond(&world, &body).await;
        assert_eq!((refused.status, refused.body["error"]["param"].as_str()), (400, Some(param)), "{body} {refused:?}");
    }
}

#[tokio::test]
async fn a_stream_whose_key_ends_ends_with_an_event_of_its_api() {
    let world = World::start().await;
    let key = async |by: Option<&str>, body: Value| {
        let request = world.request(Method::POST, "/v1/keys").json(&body);
        let request = if let Some(by) = by { request.bearer_auth(by) } else { request };
        answer(request).await.body["secret"].as_str().unwrap().to_owned()
    };
    let root = key(None, json!({"name": "root"})).await;
    let agent = key(Some(&root), json!({"name": "agent", "role": "deployer", "ask": true})).await;
    world.failpoints.hold("page");
    let body = with(fields(&world, "deploy"), "stream", true);
    let open = world.request(Method::POST, "/v1/responses").bearer_auth(&agent).json(&body).send().await.unwrap();
    let revoke = world.request(Method::POST, "/v1/keys/agent/revoke").bearer_auth(&root);
    assert_eq!(answer(revoke).await.status, 200);

    let text = open.text().await.unwrap();

    let events = super::read_events(&text);
    let last = events.last().unwrap();
    assert_eq!((&last["type"], &last["code"]), (&json!("error"), &json!("invalid_api_key")));
    world.failpoints.release("page");
}

#[tokio::test]
async fn a_question_about_fields_is_answered_with_the_fields() {
    let world = World::start().await;
    let root = answer(world.request(Method::POST, "/v1/keys").json(&json!({"name": "root"}))).await;
    let root = root.body["secret"].as_str().unwrap().to_owned();
    let made = json!({"name": "agent", "role": "deployer", "ask": true});
    let agent = answer(world.request(Method::POST, "/v1/keys").bearer_auth(&root).json(&made)).await;
    let agent = agent.body["secret"].as_str().unwrap().to_owned();
    let send =
        async |body: &Value| answer(world.request(Method::POST, "/v1/responses").bearer_auth(&agent).json(body)).await;
    assert_eq!(send(&fields(&world, "deploy")).await.body["operation"]["state"], "succeeded");

    let question = send(&fields(&world, "decommission")).await.body;
    let alone = send(&after(&question, "yes")).await.body;
    let with_fields =
        with(with(fields(&world, "decommission"), "input", "yes"), "previous_response_id", question["id"].clone());
    let agreed = send(&with_fields).await.body;

    assert!(words(&alone).contains("send the same fields again"), "{alone}");
    assert_eq!(agreed["operation"]["state"], "succeeded", "{agreed}");
}
