//! The same over stdin and stdout, by the program itself.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use super::notes;
use crate::world::World;

/// The program, as a desktop program starts it.
struct Relay {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Relay {
    fn start(world: &World, changed: &[(&str, &str)]) -> Self {
        let url = world.url();
        let mut command = world.prepared(&["mcp"]);
        command.env("ON_DEMAND_INFRA_URL", url).envs(changed.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, stdin, lines }
    }

    async fn say(&mut self, line: &str) {
        self.stdin.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    async fn send(&mut self, id: u64, method: &str, params: Value) {
        self.say(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()).await;
    }

    async fn hear(&mut self) -> Value {
        let line =
            tokio::time::timeout(Duration::from_mins(1), self.lines.next_line()).await.expect("an answer in time");
        serde_json::from_str(&line.unwrap().expect("an answer")).unwrap()
    }

    async fn greet(&mut self) -> Value {
        let hello =
            json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "it", "version": "1"}});
        self.send(0, "initialize", hello).await;
        let greeted = self.hear().await;
        self.say(r#"{"jsonrpc": "2.0", "method": "notifications/initialized"}"#).await;
        greeted
    }

    /// What the program ends with when its stdin is closed.
    async fn end(self) -> std::process::Output {
        drop(self.stdin);
        self.child.wait_with_output().await.unwrap()
    }
}

#[tokio::test]
async fn a_desktop_program_has_the_same_tools() {
    let world = World::start().await;
    let mut relay = Relay::start(&world, &[]);

    let greeted = relay.greet().await;
    assert_eq!(greeted["result"]["protocolVersion"], "2025-06-18", "{greeted:#}");
    relay.say("").await;
    relay.say("not a message").await;
    assert_eq!(relay.hear().await["error"]["code"], -32700);
    relay.say("[]").await;
    assert_eq!(relay.hear().await["error"]["code"], -32600);
    relay.send(1, "tools/call", json!({"name": "deploy", "arguments": notes(&world)})).await;
    let begun = relay.hear().await;
    let id = begun["result"]["structuredContent"]["operation"]["id"].clone();
    let wait = json!({"name": "operation_wait", "arguments": {"id": id}, "_meta": {"progressToken": 7}});
    relay.send(2, "tools/call", wait).await;
    let mut heard = relay.hear().await;
    while heard["method"] == "notifications/progress" {
        heard = relay.hear().await;
    }
    assert_eq!(heard["id"], 2, "{heard:#}");
    assert_eq!(heard["result"]["structuredContent"]["operation"]["state"], "succeeded", "{heard:#}");

    let ended = relay.end().await;
    assert!(ended.status.success(), "{ended:?}");
}

#[tokio::test]
async fn the_newest_revision_needs_no_greeting() {
    let world = World::start().await;
    let mut relay = Relay::start(&world, &[]);
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "it", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {}});

    relay.send(1, "server/discover", json!({"_meta": meta})).await;
    assert!(relay.hear().await["result"]["supportedVersions"].is_array());
    relay.send(2, "tools/call", json!({"name": "list", "arguments": {}, "_meta": meta})).await;
    let listed = relay.hear().await;

    assert_eq!(listed["result"]["structuredContent"], json!({"deployments": []}), "{listed:#}");
}

#[tokio::test]
async fn a_request_is_cancelled_and_the_others_go_on() {
    let world = World::start().await;
    world.failpoints.hold("page");
    let mut relay = Relay::start(&world, &[]);
    relay.greet().await;
    relay.send(1, "tools/call", json!({"name": "deploy", "arguments": notes(&world)})).await;
    let id = relay.hear().await["result"]["structuredContent"]["operation"]["id"].clone();
    world.failpoints.reached("page").await;

    relay.send(2, "tools/call", json!({"name": "operation_wait", "arguments": {"id": id}})).await;
    relay.say(r#"{"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 2}}"#).await;
    relay.send(3, "tools/call", json!({"name": "operation_show", "arguments": {"id": id}})).await;
    let shown = relay.hear().await;

    assert_eq!(
        (&shown["id"], &shown["result"]["structuredContent"]["operation"]["state"]),
        (&json!(3), &json!("running"))
    );
    world.failpoints.release("page");
    world.ended(id.as_str().unwrap()).await;
}

#[tokio::test]
async fn what_keeps_it_from_the_server_is_told() {
    let world = World::with(&[("API_KEYS", "a-key-of-the-settings")]).await;

    for (changed, words) in [
        (
            vec![("ON_DEMAND_INFRA_URL", "http://127.0.0.1:9"), ("API_KEYS", "")],
            "say where it is with `ON_DEMAND_INFRA_URL`",
        ),
        (vec![("API_KEYS", "")], "set `ON_DEMAND_INFRA_API_KEY`"),
    ] {
        let mut relay = Relay::start(&world, &changed);
        relay.send(1, "tools/list", json!({})).await;
        let refused = relay.hear().await;
        let message = refused["error"]["message"].as_str().unwrap_or_else(|| panic!("{refused:#}"));
        assert!(refused["id"] == 1 && message.contains(words), "{refused:#}");
    }
    let key = [("API_KEYS", ""), ("ON_DEMAND_INFRA_API_KEY", "a-key-of-the-settings")];
    let mut relay = Relay::start(&world, &key);
    relay.greet().await;
    relay.send(1, "tools/list", json!({})).await;
    assert!(relay.hear().await["result"]["tools"].is_array());
}
