//! What can be read and followed, and the prompts.

use futures_util::StreamExt;
use serde_json::{Value, json};

use super::{deployed, named};
use crate::world::mcp::{Mcp, frames, text};
use crate::world::{World, with};

#[tokio::test]
async fn deployments_operations_and_output_are_resources() {
    let world = World::start().await;
    let client = Mcp::new(&world);
    let operation = deployed(&world, &client).await;
    let deployment = operation["deployment"]["id"].as_str().unwrap();
    let read = async |uri: String| client.result("resources/read", &json!({"uri": uri})).await["contents"][0].clone();

    let listed = client.result("resources/list", &json!({})).await;
    let uris: Vec<&str> =
        listed["resources"].as_array().unwrap().iter().map(|it| it["uri"].as_str().unwrap()).collect();
    let own = format!("operation://{}", operation["id"].as_str().unwrap());
    assert_eq!(uris, [format!("deployment://{deployment}"), format!("logs://{deployment}"), own.clone()]);
    let templates = client.result("resources/templates/list", &json!({})).await;
    assert_eq!(templates["resourceTemplates"].as_array().unwrap().len(), 3);

    let shown = read(format!("deployment://{deployment}")).await;
    let shown: Value = serde_json::from_str(shown["text"].as_str().unwrap()).unwrap();
    assert_eq!(shown, world.get(&format!("/v1/deployments/{deployment}")).await.body);
    let shown: Value = serde_json::from_str(read(own).await["text"].as_str().unwrap()).unwrap();
    assert_eq!(shown["operation"]["state"], "succeeded");
    assert_eq!(shown["events"][0]["sequence"], 1, "{shown:#}");
    assert_eq!(read(format!("logs://{deployment}")).await["mimeType"], "text/plain");

    for uri in ["deployment://nothing", "logs://../..", "file:///etc/passwd", "", "operation://"] {
        let (code, _) = client.error("resources/read", &json!({"uri": uri})).await;
        assert_eq!(code, -32602, "{uri}");
        let (code, _) = Mcp::new(&world).of("2025-06-18").error("resources/read", &json!({"uri": uri})).await;
        assert_eq!(code, -32002, "{uri}");
    }
    for method in ["resources/list", "tools/list", "prompts/list"] {
        let (code, _) = client.error(method, &json!({"cursor": "made up"})).await;
        assert_eq!(code, -32602, "{method}");
    }
}

#[tokio::test]
async fn a_client_hears_of_what_changes() {
    let world = World::start().await;
    let client = Mcp::new(&world);
    let operation = deployed(&world, &client).await;
    let deployment = format!("deployment://{}", operation["deployment"]["id"].as_str().unwrap());
    let filter = json!({"resourceSubscriptions": [deployment, "file:///etc/passwd"], "toolsListChanged": true});
    let stream = client.post("subscriptions/listen", &json!({"notifications": filter})).send().await.unwrap();
    assert_eq!(stream.status(), 200);
    let mut stream = stream.bytes_stream();

    let mut heard = String::new();
    let mut scaled = false;
    while !heard.contains("notifications/resources/updated") {
        heard.push_str(std::str::from_utf8(&stream.next().await.unwrap().unwrap()).unwrap());
        if !scaled && heard.contains("notifications/subscriptions/acknowledged") {
            scaled = true;
            client.change("scale", with(named(), "scale_replicas", 2)).await;
        }
    }

    let told = frames(&heard);
    assert_eq!(told[0]["params"]["notifications"], json!({"resourceSubscriptions": [deployment]}), "{told:#?}");
    let updated = told.iter().find(|it| it["method"] == "notifications/resources/updated").unwrap();
    assert_eq!(updated["params"]["uri"], deployment, "{updated:#}");
    drop(stream);
}

#[tokio::test]
async fn prompts_have_their_arguments_in_them() {
    let world = World::start().await;
    let client = Mcp::new(&world);

    let listed = client.result("prompts/list", &json!({})).await;
    for prompt in listed["prompts"].as_array().unwrap() {
        let needed = prompt["arguments"].as_array().unwrap().iter().filter(|it| it["required"] == true);
        let arguments: Value = needed.map(|it| (it["name"].as_str().unwrap().to_owned(), json!("notes"))).collect();
        let shown = client.result("prompts/get", &json!({"name": prompt["name"], "arguments": arguments})).await;
        assert_eq!(shown["messages"][0]["role"], "user", "{shown:#}");
        let is_named = shown["messages"][0]["content"]["text"].as_str().unwrap().contains("notes");
        assert_eq!(is_named, !arguments.as_object().unwrap().is_empty(), "{shown:#}");
    }
    for params in [
        json!({"name": "nothing"}),
        json!({"name": "take_down"}),
        json!({"name": "take_down", "arguments": {"name": "  "}}),
        json!({"name": "take_down", "arguments": {"name": 7}}),
    ] {
        assert_eq!(client.error("prompts/get", &params).await.0, -32602, "{params}");
    }
    let nothing = client.call("list", json!({})).await;
    assert!(text(&nothing).starts_with("Nothing is deployed."), "{nothing:#}");
}
