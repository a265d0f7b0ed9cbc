//! The same with a chat model: tools of the caller, the model alone, and what becomes of its faults.

use serde_json::{Value, json};

use super::{ask, ended, events, respond, types, words};
use crate::world::azure::{Azure, Turn, call, calls, refuse, say};
use crate::world::{World, with};

/// A request of an agent that brings a function and a custom tool.
fn agent(input: impl Into<Value>) -> Value {
    let tools = json!([
        {"type": "function", "name": "search", "parameters": {"type": "object"}, "strict": false},
        {"type": "custom", "name": "sql", "description": "Runs SQL."},
        {"type": "web_search"},
    ]);
    with(ask(input), "tools", tools)
}

fn deploy(world: &World) -> Value {
    json!({"deployment_mode": "local", "github_repo_url": world.repository("notes"), "instance_name": "notes",
        "target_namespace": "team"})
}

#[tokio::test]
async fn an_agent_with_tools_of_its_own_deploys() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    azure.will([call("deploy", deploy(&world)), say("Your notes are up.")]);

    let events = events(&world, &agent("deploy my notes")).await;

    let last = &events.last().unwrap()["response"];
    assert!(words(last).ends_with("Your notes are up."), "{last:#}");
    assert_eq!((&last["operation"]["state"], &last["usage"]["input_tokens"]), (&json!("succeeded"), &json!(200)));
    let offered = azure.offered(0);
    assert!(["deploy", "search", "sql"].iter().all(|it| offered.contains(&(*it).to_owned())), "{offered:?}");
}

#[tokio::test]
async fn calls_go_to_the_agent_and_their_outputs_go_on_from_the_response_before() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    azure.will([
        calls("Let me look.", &[("search", json!({"q": "a"})), ("sql", json!({"input": "SELECT 1"}))]),
        say("Found it."),
    ]);

    let asked = respond(&world, &agent("what is a?")).await.body;
    let output = asked["output"].as_array().unwrap();
    let results = json!([
        {"type": "function_call_output", "call_id": output[1]["call_id"], "output": "a letter"},
        {"type": "custom_tool_call_output", "call_id": output[2]["call_id"], "output": "1"},
    ]);
    let done = respond(&world, &with(agent(results), "previous_response_id", asked["id"].clone())).await.body;

    assert_eq!(
        (&output[0]["content"][0]["text"], &output[1]["type"]),
        (&json!("Let me look."), &json!("function_call"))
    );
    assert_eq!((&output[1]["name"], &output[1]["arguments"]), (&json!("search"), &json!("{\"q\":\"a\"}")));
    assert_eq!((&output[2]["type"], &output[2]["input"]), (&json!("custom_tool_call"), &json!("SELECT 1")));
    assert_eq!(words(&done), "Found it.");
    assert_eq!(azure.told(1), ["a letter", "1"]);
}

#[tokio::test]
async fn a_streamed_call_is_an_item_that_is_opened_and_closed() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    azure.will([call("search", json!({"q": "a"}))]);

    let events = events(&world, &agent("what is a?")).await;

    assert_eq!(
        types(&events),
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
}

#[tokio::test]
async fn a_format_for_programs_is_the_models_alone() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    azure.will([say("{\"a\": 1}"), say("{\"a\": 2}"), call("search", json!({}))]);
    let format = json!({"format": {"type": "json_schema", "name": "it", "schema": {"type": "object"}, "strict": true}});
    let body = with(ask("make it"), "text", format);

    let whole = respond(&world, &body).await.body;
    let streamed = events(&world, &body).await;
    let forced =
        respond(&world, &with(agent("look"), "tool_choice", json!({"type": "function", "name": "search"}))).await.body;

    assert_eq!((words(&whole).as_str(), &whole["usage"]["total_tokens"]), ("{\"a\": 1}", &json!(110)));
    assert_eq!(words(&streamed.last().unwrap()["response"]), "{\"a\": 2}");
    assert_eq!(forced["output"][0]["type"], "function_call");
    let sent = azure.requests();
    assert_eq!(sent[0]["response_format"]["json_schema"]["name"], "it");
    assert!(sent.iter().all(|it| it.get("store").is_none() && it.get("metadata").is_none()));
    assert_eq!(sent[2]["tool_choice"], json!({"type": "function", "function": {"name": "search"}}));
}

#[tokio::test]
async fn a_model_that_breaks_off_makes_a_response_that_failed() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    azure.will([Turn::Die("so far".to_owned())]);

    let events = events(&world, &with(ask("make it"), "text", json!({"format": {"type": "json_object"}}))).await;

    let last = events.last().unwrap();
    assert_eq!((&last["type"], &last["response"]["status"]), (&json!("response.failed"), &json!("failed")));
    assert_eq!(last["response"]["error"]["code"], "server_error");
    assert_eq!(words(&last["response"]), "so far");
}

#[tokio::test]
async fn what_the_model_refuses_is_an_error_before_anything_is_told() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    azure.always(refuse(400, "unsupported_value", "no such temperature"));

    let refused = respond(&world, &with(ask("hello"), "temperature", 1.5)).await;

    assert_eq!((refused.status, refused.code()), (400, "unsupported_value"));
}

#[tokio::test]
async fn an_answer_that_the_filter_ended_is_incomplete() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    azure.will([Turn::Filter("Once upon".to_owned())]);

    let response = respond(&world, &ask("a story")).await.body;

    assert_eq!(
        (&response["status"], &response["incomplete_details"]["reason"]),
        (&json!("incomplete"), &json!("content_filter"))
    );
}

#[tokio::test]
async fn an_operation_that_the_model_begins_in_the_background_survives_a_kill() {
    let azure = Azure::start().await;
    let mut world = azure.world().await;
    world.failpoints.hold("docker-build");
    azure.will([call("deploy", deploy(&world)), say("Your notes are up.")]);
    let begun = respond(&world, &with(agent("deploy my notes"), "background", true)).await.body;
    world.failpoints.reached("docker-build").await;

    world.kill_and_start_again().await;
    world.failpoints.release("docker-build");
    let done = ended(&world, &begun).await;

    assert_eq!((&done["status"], &done["operation"]["state"]), (&json!("completed"), &json!("succeeded")), "{done:#}");
}

#[tokio::test]
async fn words_in_the_background_that_a_kill_cut_off_have_failed() {
    let azure = Azure::start().await;
    let mut world = azure.world().await;
    azure.will([Turn::Sleep]);
    let begun = respond(&world, &with(ask("a story"), "background", true)).await.body;

    world.kill_and_start_again().await;
    let done = ended(&world, &begun).await;

    assert_eq!((&begun["status"], &done["status"]), (&json!("in_progress"), &json!("failed")), "{done:#}");
}

#[tokio::test]
async fn words_in_the_background_can_be_cancelled() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    azure.will([Turn::Sleep]);
    let begun = respond(&world, &with(ask("a story"), "background", true)).await.body;

    let cancelled = world.post(&format!("{}/cancel", super::path_of(&begun))).await.body;

    assert_eq!(cancelled["status"], "cancelled", "{cancelled:#}");
    assert_eq!(ended(&world, &begun).await["status"], "cancelled");
}

#[tokio::test]
async fn one_deployment_begun_by_chat_scaled_in_the_background_and_taken_down_by_an_agent() {
    let azure = Azure::start().await;
    let mut world = azure.world().await;
    let deployed = world.deployed().await;
    world.failpoints.hold("rollout");
    let scale = with(with(super::fields(&world, "scale"), "scale_replicas", 2), "background", true);

    let begun = respond(&world, &scale).await.body;
    world.failpoints.reached("rollout").await;
    world.kill_and_start_again().await;
    world.failpoints.release("rollout");
    let scaled = ended(&world, &begun).await;
    azure.always(call("decommission", json!({"instance_name": "notes"})));
    let asked = respond(&world, &agent("take my notes down")).await.body;
    let yes = with(agent("yes"), "previous_response_id", asked["id"].clone());
    azure.always(say("It is gone."));
    let gone = respond(&world, &yes).await.body;

    assert_eq!((&scaled["status"], &scaled["deployment"]["replicas"]), (&json!("completed"), &json!(2)), "{scaled:#}");
    assert_eq!(scaled["deployment"]["id"], deployed.body["deployment"]["id"]);
    assert!(words(&asked).contains("(plan `"), "{asked:#}");
    assert_eq!((&gone["operation"]["state"], words(&gone).as_str()), (&json!("succeeded"), "It is gone."), "{gone:#}");
}
