//! Requests and answers, whole and as events, without a model.

use reqwest::Method;
use serde_json::{Value, json};

use super::{ask, events, fields, path_of, read_events, respond, types, words};
use crate::world::{World, answer, with};

#[tokio::test]
async fn a_deploy_by_fields_is_answered_with_its_deployment() {
    let world = World::start().await;

    let answer = respond(&world, &with(fields(&world, "deploy"), "metadata", json!({"for": "a story"}))).await;

    let response = &answer.body;
    assert_eq!((answer.status, &response["status"]), (200, &json!("completed")), "{response:#}");
    assert_eq!((&response["object"], &response["operation"]["state"]), (&json!("response"), &json!("succeeded")));
    assert_eq!(response["deployment"]["state"], "running");
    assert_eq!(response["metadata"], json!({"for": "a story"}));
    assert!(words(response).contains("notes") && response["usage"]["total_tokens"].as_u64().unwrap() > 1);
    let mut names: Vec<&String> = response.as_object().unwrap().keys().collect();
    names.sort();
    insta::assert_json_snapshot!("names_of_a_response", names);
}

#[tokio::test]
async fn a_deploy_that_fails_is_a_response_that_is_completed() {
    let world = World::start().await;
    world.failpoints.fail("docker-build", "no such base image");

    let response = respond(&world, &fields(&world, "deploy")).await.body;

    assert_eq!((&response["status"], &response["error"]), (&json!("completed"), &Value::Null));
    assert_eq!(response["operation"]["state"], "undone", "{response:#}");
}

#[tokio::test]
async fn a_request_that_cannot_be_accepted_is_an_error_as_in_chat() {
    let world = World::start().await;
    let missing = json!({"input": "go", "action": "deploy"});
    let near = json!({"input": "go", "action": "list", "deployment_mod": "local"});

    let missing = respond(&world, &missing).await;
    let near = respond(&world, &near).await;
    let alone = respond(&world, &with(ask("hi"), "text", json!({"format": {"type": "json_object"}}))).await;

    assert_eq!((missing.status, missing.code()), (400, "missing_required_parameter"));
    assert_eq!((near.status, near.body["error"]["param"].as_str()), (400, Some("deployment_mod")));
    assert_eq!((alone.code(), alone.body["error"]["param"].as_str()), ("no_chat_model", Some("text.format")));
}

#[tokio::test]
async fn a_streamed_deploy_tells_of_its_progress_in_events_in_order() {
    let world = World::start().await;

    let events = events(&world, &fields(&world, "deploy")).await;

    assert_eq!(
        types(&events),
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    let last = &events.last().unwrap()["response"];
    let said: String = events.iter().filter_map(|it| it["delta"].as_str()).collect();
    assert_eq!(said, words(last));
    assert_eq!(last["operation"]["state"], "succeeded");
    let stored = world.get(&path_of(last)).await.body;
    assert_eq!(&stored, last);
}

#[tokio::test]
async fn what_was_streamed_is_streamed_again_from_any_event_on() {
    let world = World::start().await;
    let first = events(&world, &fields(&world, "deploy")).await;
    let path = path_of(&first.last().unwrap()["response"]);
    let again = async |query: &str| {
        let response = world.request(Method::GET, &format!("{path}?stream=true{query}")).send().await.unwrap();
        read_events(&response.text().await.unwrap())
    };

    let all = again("").await;
    let rest = again("&starting_after=3").await;

    assert_eq!(all, first);
    assert_eq!(rest, first[4..]);
}

#[tokio::test]
async fn a_sentence_is_understood_and_its_yes_goes_on_from_the_response_before() {
    let world = World::start().await;
    world.deployed().await;

    let asked = respond(&world, &ask("decommission notes")).await.body;
    let yes = with(ask("yes"), "previous_response_id", asked["id"].clone());
    let done = respond(&world, &yes).await.body;

    assert!(words(&asked).contains("(plan `"), "{asked:#}");
    assert_eq!(done["operation"]["state"], "succeeded", "{done:#}");
    assert_eq!(done["previous_response_id"], asked["id"]);
}

#[tokio::test]
async fn the_items_of_a_conversation_may_come_by_their_ids() {
    let world = World::start().await;
    world.deployed().await;

    let asked = respond(&world, &ask("decommission notes")).await.body;
    let items = json!([
        {"role": "user", "content": "decommission notes"},
        {"type": "item_reference", "id": asked["output"][0]["id"]},
        {"role": "user", "content": [{"type": "input_text", "text": "yes"}]},
    ]);
    let done = respond(&world, &ask(items)).await.body;
    let unknown = respond(&world, &ask(json!([{"type": "item_reference", "id": "msg_1"}]))).await;

    assert_eq!(done["operation"]["state"], "succeeded", "{done:#}");
    assert_eq!((unknown.status, unknown.code()), (404, "response_not_found"));
}

#[tokio::test]
async fn one_deployment_on_two_surfaces() {
    let world = World::start().await;
    let deployed = world.deployed().await;

    let scaled = respond(&world, &with(fields(&world, "scale"), "scale_replicas", 2)).await.body;
    let shown = world.chat(&world.request_for("status")).await;

    assert_eq!(scaled["deployment"]["id"], deployed.body["deployment"]["id"]);
    assert_eq!((&scaled["deployment"]["replicas"], &shown.body["deployment"]["replicas"]), (&json!(2), &json!(2)));
}

#[tokio::test]
async fn what_is_not_served_is_said() {
    let world = World::start().await;
    let tools = json!([{"type": "web_search"}, {"type": "function", "name": "search", "parameters": {}}]);

    let left_out = respond(&world, &with(ask("list"), "tools", tools)).await.body;
    let compact = world.post("/v1/responses/compact").await;
    let socket =
        world.request(Method::GET, "/v1/responses").header("connection", "upgrade").header("upgrade", "websocket");
    let socket = answer(socket).await;
    let listed = world.get("/v1/responses").await;
    let picture = json!([{"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]}]);
    let picture = respond(&world, &ask(picture)).await;

    assert_eq!(left_out["metadata"]["tools_left_out"], "web_search");
    assert_eq!(left_out["tools"][0]["name"], "search");
    assert_eq!((compact.status, compact.code()), (404, "route_not_found"));
    assert_eq!((socket.status, socket.code()), (404, "route_not_found"));
    assert_eq!((listed.status, listed.code()), (405, "method_not_allowed"));
    assert_eq!((picture.status, picture.code()), (400, "invalid_value"));
}

#[tokio::test]
async fn no_body_makes_a_fault_of_ours() {
    let world = World::start().await;
    let long = "x".repeat(70_000);
    let values = [
        json!(null),
        json!(0),
        json!(-1.5e300),
        json!(true),
        json!(""),
        json!("\u{0}"),
        json!(long),
        json!([]),
        json!([null, [], {}, 1]),
        json!({}),
        json!({"type": "function"}),
        json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "list"}]}),
        json!([{"type": "function_call", "call_id": "c", "name": "deploy", "arguments": "{"}]),
        json!([{"type": "item_reference", "id": "msg_00000000000000000000000000000000_0"}]),
        json!([{"role": "assistant", "content": "x"}, {"type": "function_call_output", "call_id": "c", "output": "x"}]),
        json!("resp_00000000000000000000000000000000"),
    ];
    let names = [
        "input",
        "instructions",
        "tools",
        "tool_choice",
        "text",
        "metadata",
        "previous_response_id",
        "background",
        "store",
        "stream",
        "include",
        "truncation",
        "reasoning",
        "model",
        "max_output_tokens",
        "temperature",
        "top_logprobs",
        "parallel_tool_calls",
        "action",
        "deployment_mode",
        "environment",
        "conversation",
        "prompt",
        "messages",
        "user",
    ];
    let mut faults = Vec::new();

    for name in names {
        for value in &values {
            let body = with(ask("what is running?"), name, value.clone());
            let response = world.request(Method::POST, "/v1/responses").json(&body).send().await.unwrap();
            if response.status().is_server_error() {
                faults.push(format!("{name}: {value}: {}", response.text().await.unwrap()));
            }
        }
    }

    assert!(faults.is_empty(), "{faults:#?}");
}
