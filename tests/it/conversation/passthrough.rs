//! The model alone, for callers that say so: nothing of ours is offered to it, and its answer comes as it is.

use serde_json::{Value, json};

use super::{chunks, talk};
use crate::world::azure::{Azure, Turn, call, say};
use crate::world::{World, say as sentence, with};

fn with_own_tool(body: Value) -> Value {
    let tool = json!({"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}});
    with(with(body, "tools", json!([tool])), "tool_choice", "required")
}

#[tokio::test]
async fn a_callers_own_tools_are_called_by_the_caller() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    azure.will([call("weather", json!({"city": "Paris"}))]);

    let answer = world.chat(&with_own_tool(talk(&["weather in Paris?"]))).await;

    let choice = &answer.body["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert_eq!(choice["message"]["content"], Value::Null);
    assert_eq!(choice["message"]["tool_calls"][0]["function"]["arguments"], "{\"city\":\"Paris\"}");
    assert!(choice.get("content_filter_results").is_none() && answer.body.get("prompt_filter_results").is_none());
    assert_eq!(answer.body["usage"]["total_tokens"], 110);
    assert_eq!(azure.offered(0), ["weather"]);
    assert_eq!(azure.requests()[0]["messages"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_callers_own_tools_come_in_pieces_when_they_are_streamed() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    azure.will([call("weather", json!({"city": "Paris"}))]);
    let body = with(with_own_tool(talk(&["weather?"])), "stream_options", json!({"include_usage": true}));

    let chunks = chunks(&world, &body).await;

    let parts = chunks.iter().filter_map(|it| it["choices"][0]["delta"]["tool_calls"][0].as_object());
    let arguments: String = parts.clone().filter_map(|it| it["function"]["arguments"].as_str()).collect();
    assert_eq!(arguments, "{\"city\":\"Paris\"}");
    assert_eq!(parts.clone().next().unwrap()["id"], "call_1");
    let [.., stop, usage] = chunks.as_slice() else { panic!("{chunks:?}") };
    assert_eq!(stop["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!((&usage["choices"], &usage["usage"]["total_tokens"]), (&json!([]), &json!(110)));
    assert!(chunks.iter().all(|it| it["id"] == chunks[0]["id"] && it["created"] == chunks[0]["created"]));
    assert!(!serde_json::to_string(&chunks).unwrap().contains("filter"));
}

#[tokio::test]
async fn the_model_chat_is_the_model_alone() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    azure.will([say("Deploying is fun.")]);
    let mut body = with(talk(&["deploy something"]), "model", "chat");
    let call = json!({"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}});
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(json!({"role": "assistant", "content": null, "tool_calls": [call]}));
    messages.push(json!({"role": "tool", "tool_call_id": "c1", "content": "rain"}));

    let answer = world.chat(&body).await;
    let models = world.get("/v1/models").await.body;
    let listed: Vec<&str> = models["data"].as_array().unwrap().iter().filter_map(|it| it["id"].as_str()).collect();

    assert_eq!((answer.text(), &answer.body["model"]), ("Deploying is fun.", &json!("chat")));
    assert_eq!(azure.requests()[0]["messages"], body["messages"]);
    assert!(azure.offered(0).is_empty());
    assert!(listed.contains(&"chat"), "{listed:?}");
    assert_eq!(world.get("/v1/models/chat").await.status, 200);
}

#[tokio::test]
async fn without_a_model_whoever_wants_it_alone_is_told_what_to_set() {
    let world = World::start().await;
    let json_object = json!({"type": "json_object"});
    let cases = [
        ("model", with(sentence("hello"), "model", "chat")),
        ("response_format", with(sentence("hello"), "response_format", json_object)),
        ("tool_choice", with_own_tool(sentence("hello"))),
        ("function_call", with(sentence("hello"), "function_call", json!({"name": "weather"}))),
    ];

    for (param, body) in cases {
        let answer = world.chat(&body).await;
        assert_eq!((answer.status, answer.code()), (400, "no_chat_model"), "{param}");
        assert_eq!(answer.body["error"]["param"], param);
        assert!(answer.body["error"]["message"].as_str().unwrap().contains("`LLM_BASE_URL`"));
    }
    let offered = world.chat(&with(with_own_tool(sentence("what is deployed?")), "tool_choice", "auto")).await;
    let acted = world.chat(&with_own_tool(with(world.request_for("list"), "model", "chat"))).await;
    assert_eq!((offered.status, acted.status), (200, 200), "{}", acted.body);
    assert_eq!(world.get("/v1/models/chat").await.status, 404);
}

#[tokio::test]
async fn a_stream_that_breaks_ends_with_the_error() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    azure.will([Turn::Die("{\"a\":".to_owned())]);
    let body = with(with(talk(&["json!"]), "response_format", json!({"type": "json_object"})), "stream", true);

    let text = world.post_chat(&body).send().await.unwrap().text().await.unwrap();

    let last: Value = serde_json::from_str(text.trim_end().rsplit("data: ").next().unwrap()).unwrap();
    assert_eq!(last["error"]["code"], "model_unavailable", "{text}");
}

#[tokio::test]
async fn explicit_fields_never_ask_the_model() {
    let azure = Azure::start().await;
    let world = azure.world().await;

    world.deployed().await;
    world.chat(&with_own_tool(world.request_for("status"))).await;

    assert!(azure.requests().is_empty());
}
