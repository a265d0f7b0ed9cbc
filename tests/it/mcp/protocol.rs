//! The protocol itself: revisions, what is not a message, and who is let in.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::mcp::{Mcp, read};
use crate::world::{World, answer, eventually, with};

#[tokio::test]
async fn every_revision_is_spoken() {
    let world = World::start().await;

    for revision in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        let client = Mcp::new(&world).of(revision);
        let hello =
            json!({"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "it", "version": "1"}});
        let greeted = client.send("initialize", &hello).await;
        let result = &greeted.message["result"];
        assert_eq!(result["protocolVersion"], revision, "{greeted:#?}");
        assert_eq!(result["serverInfo"]["name"], "on-demand-infra");
        assert_eq!(result["capabilities"]["resources"], json!({}), "there is nothing to subscribe to");
        assert_eq!(result["instructions"].as_str().unwrap().lines().count(), 10);
        let tools = client.result("tools/list", &json!({})).await;
        assert_eq!(tools["tools"].as_array().unwrap().len(), 17, "{revision}");
    }
    let client = Mcp::new(&world);
    let found = client.result("server/discover", &json!({})).await;
    assert!(found["supportedVersions"].as_array().unwrap().contains(&json!("2026-07-28")), "{found:#}");
    assert_eq!(found["capabilities"]["resources"]["subscribe"], true);
    let tools = client.result("tools/list", &json!({})).await.to_string();
    assert!(tools.len() < 80 << 10, "every chat of some clients begins with it: {}", tools.len());
    // A notification of a client has no answer.
    let done = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert_eq!(Mcp::new(&world).raw().json(&done).send().await.unwrap().status(), 202);
}

#[tokio::test]
async fn what_is_no_message_is_told_what_it_is() {
    let world = World::start().await;
    let client = Mcp::new(&world);

    for (body, status, code) in [
        ("{", 400, -32700),
        ("", 400, -32700),
        ("[]", 400, -32600),
        (r#"[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]"#, 400, -32600),
        ("7", 400, -32600),
        (r#"{"id": 1, "method": "ping"}"#, 400, -32600),
        (r#"{"jsonrpc": "1.0", "id": 1, "method": "ping"}"#, 400, -32600),
        (r#"{"jsonrpc": "2.0", "id": {"a": 1}, "method": "ping"}"#, 400, -32600),
    ] {
        let reply =
            read(client.raw().header("content-type", "application/json").body(body).send().await.unwrap()).await;
        assert_eq!((reply.status, &reply.message["error"]["code"]), (status, &json!(code)), "{body}: {reply:#?}");
    }
    let (code, message) = client.error("tools/call", &json!({"name": "destroy", "arguments": {}})).await;
    assert_eq!((code, message.contains("there is no tool `destroy`")), (-32602, true), "{message}");
    let (code, _) = client.error("no/such/method", &json!({})).await;
    assert_eq!(code, -32601);
    for params in [json!({"name": "list", "arguments": []}), json!({"name": 7}), json!({})] {
        let wrong = client.error("tools/call", &params).await;
        assert_eq!(wrong, (-32602, "the parameters of `tools/call` have a wrong form".to_owned()), "{params}");
    }
    let long = json!({"jsonrpc": "2.0", "id": 7, "method": "m".repeat(900_000)});
    let long = read(client.raw().json(&long).send().await.unwrap()).await;
    assert_eq!((&long.message["id"], long.message.to_string().len() < 500), (&json!(7), true), "{long:?}");
    let text = client.raw().header("content-type", "text/plain").body("{}").send().await.unwrap();
    assert_eq!(text.status(), 415);
    let large = json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"text": "a".repeat(2 << 20)}});
    assert_eq!(client.raw().json(&large).send().await.unwrap().status(), 413);
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    let one_form = world.request(Method::POST, "/mcp").header("accept", "application/json").json(&ping);
    let refused = read(one_form.send().await.unwrap()).await;
    assert_eq!((refused.status, &refused.message["error"]["code"]), (406, &json!(-32600)), "{refused:?}");
    let any_form = read(world.request(Method::POST, "/mcp/").json(&ping).send().await.unwrap()).await;
    assert_eq!((any_form.status, &any_form.message["result"]), (200, &json!({})), "{any_form:?}");
    let sent = client.post("ping", &json!({})).header("accept-encoding", "gzip").send().await.unwrap();
    let is_whole = sent.headers().contains_key("content-length") && !sent.headers().contains_key("content-encoding");
    assert!(is_whole, "{:?}", sent.headers());
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(world.request(method, "/mcp").send().await.unwrap().status(), 405);
    }
}

#[tokio::test]
async fn a_server_with_keys_asks_for_one() {
    let world = World::with(&[("API_KEYS", "a-key-of-the-settings")]).await;

    let without = Mcp::new(&world).post("tools/list", &json!({})).send().await.unwrap();
    assert_eq!(without.status(), 401);
    let challenge = without.headers()["www-authenticate"].to_str().unwrap().to_owned();
    assert!(challenge.starts_with("Bearer") && !challenge.contains("resource_metadata"), "{challenge}");
    let wrong = Mcp::new(&world).with_key("another").send("tools/list", &json!({})).await;
    let error = &wrong.message["error"];
    assert_eq!((wrong.status, &wrong.message["id"], &error["code"]), (401, &Value::Null, &json!(-32001)), "{wrong:?}");
    assert_eq!(error["data"]["code"], "invalid_api_key", "{wrong:?}");
    let right = Mcp::new(&world).with_key("a-key-of-the-settings").result("tools/list", &json!({})).await;
    assert_eq!(right["tools"].as_array().unwrap().len(), 17);
}

#[tokio::test]
async fn what_is_followed_ends_with_the_key() {
    let world = World::start().await;
    let root = answer(world.request(Method::POST, "/v1/keys").json(&json!({"name": "root"}))).await.body;
    let root = root["secret"].as_str().unwrap();
    let eyes = world.request(Method::POST, "/v1/keys").bearer_auth(root).json(&json!({"name": "eyes"}));
    let eyes = answer(eyes).await.body;
    let client = Mcp::new(&world).with_key(eyes["secret"].as_str().unwrap());
    let listen = client.post("subscriptions/listen", &json!({"notifications": {"resourceSubscriptions": []}}));
    let stream = listen.send().await.unwrap();
    assert_eq!(stream.status(), 200);

    let heard = tokio::spawn(stream.text());
    let revoked = world.request(Method::POST, &format!("/v1/keys/{}/revoke", eyes["id"].as_str().unwrap()));
    assert_eq!(revoked.bearer_auth(root).send().await.unwrap().status(), 200);

    eventually("the stream to end", async || heard.is_finished()).await;
    assert_eq!(client.post("tools/list", &json!({})).send().await.unwrap().status(), 401);
}

/// Any JSON, up to a depth.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        Just(json!("9".repeat(400))),
    ];
    leaf.prop_recursive(3, 20, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map("[a-z_]{1,12}", inner, 0..4).prop_map(|it| json!(it)),
        ]
    })
}

/// Messages that are nearly right: a method that there is, with anything for the rest.
fn any_message() -> impl Strategy<Value = Value> {
    let method = prop_oneof![
        proptest::sample::select(vec![
            "initialize",
            "server/discover",
            "tools/call",
            "tools/list",
            "tasks/get",
            "tasks/cancel",
            "tasks/update",
            "resources/read",
            "resources/list",
            "resources/subscribe",
            "prompts/get",
            "completion/complete",
            "logging/setLevel",
            "notifications/cancelled",
        ])
        .prop_map(Value::from),
        any_json(),
    ];
    let names = vec!["deploy", "scale", "status", "logs", "plan", "diagnose", "operation_show", "operation_resume"];
    let name = prop_oneof![proptest::sample::select(names).prop_map(Value::from), any_json()];
    (any_json(), method, name, any_json(), any_json(), any_json()).prop_map(|(id, method, name, arguments, state, meta)| {
        let params = json!({"name": name, "uri": name, "taskId": name, "arguments": arguments, "requestState": state,
            "inputResponses": state, "_meta": meta, "cursor": state});
        json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
    })
}

#[tokio::test]
async fn no_message_is_a_fault_of_the_server() {
    let world = World::start().await;
    let client = Mcp::new(&world).that_asks().with_tasks();
    let mut runner = TestRunner::deterministic();

    for round in 0..300 {
        let message = any_message().new_tree(&mut runner).unwrap().current();
        let method = message["method"].as_str().unwrap_or_default().to_owned();
        let sent = match round % 3 {
            0 => client.raw().json(&message),
            1 => client.raw().header("mcp-protocol-version", "2025-06-18").json(&message),
            _ => client.post(
                &method.replace(|it: char| !it.is_ascii_graphic(), ""),
                &with(json!({}), "a", message["params"].clone()),
            ),
        };
        let response = match sent.send().await {
            Ok(response) => response,
            // What is no header is not sent at all.
            Err(error) if error.is_builder() => continue,
            Err(error) => panic!("{message}: {error}"),
        };
        let status = response.status();
        assert!(!status.is_server_error(), "{status}: {message}");
        let body = response.text().await.unwrap();
        assert!(!body.contains("-32603") && !body.contains("internal_error"), "{message}: {body}");
    }
    assert_eq!(world.get("/v1/operations").await.body["data"], json!([]));
}
