//! Tasks: operations, by another name.

use serde_json::{Value, json};

use super::{deployed, named, notes};
use crate::world::mcp::Mcp;
use crate::world::{World, eventually};

async fn task(client: &Mcp<'_>, id: &Value) -> Value {
    client.result("tasks/get", &json!({"taskId": id})).await
}

/// Waits until a task has ended, and gives it.
async fn ended(client: &Mcp<'_>, id: &Value) -> Value {
    let mut found = Value::Null;
    eventually("the task to end", async || {
        found = task(client, id).await;
        found["status"] != "working"
    })
    .await;
    found
}

#[tokio::test]
async fn a_task_outlives_its_server() {
    let mut world = World::start().await;
    world.failpoints.hold("page");
    let begun = {
        let client = Mcp::new(&world).with_tasks();
        let begun = client.call("deploy", notes(&world)).await;
        assert_eq!((&begun["resultType"], &begun["status"]), (&json!("task"), &json!("working")), "{begun:#}");
        assert!(begun["pollIntervalMs"].is_u64() && begun["createdAt"].is_string(), "{begun:#}");
        assert_eq!(task(&client, &begun["taskId"]).await["status"], "working");
        begun
    };

    world.kill_and_start_again().await;
    world.failpoints.release("page");
    let client = Mcp::new(&world).with_tasks();
    let done = ended(&client, &begun["taskId"]).await;

    assert_eq!((&done["status"], &done["result"]["isError"]), (&json!("completed"), &json!(false)), "{done:#}");
    let operation = &done["result"]["structuredContent"]["operation"];
    assert_eq!((&operation["id"], &operation["state"]), (&begun["taskId"], &json!("succeeded")), "{done:#}");
}

#[tokio::test]
async fn a_task_is_cancelled_and_what_it_did_is_taken_back() {
    let world = World::start().await;
    let client = Mcp::new(&world).with_tasks();
    world.failpoints.hold("page");
    let begun = client.call("deploy", notes(&world)).await;

    let acknowledged = client.result("tasks/cancel", &json!({"taskId": begun["taskId"]})).await;
    world.failpoints.release("page");

    assert_eq!(acknowledged["resultType"], "complete", "{acknowledged:#}");
    assert_eq!(ended(&client, &begun["taskId"]).await["status"], "cancelled");
    client.result("tasks/cancel", &json!({"taskId": begun["taskId"]})).await;
    client.result("tasks/update", &json!({"taskId": begun["taskId"], "inputResponses": {}})).await;
}

#[tokio::test]
async fn a_change_that_fails_is_a_task_with_an_error_for_a_result() {
    let world = World::start().await;
    let client = Mcp::new(&world).with_tasks();
    world.failpoints.fail("docker-build", "the build broke");
    let begun = client.call("deploy", notes(&world)).await;

    let failed = ended(&client, &begun["taskId"]).await;

    assert_eq!((&failed["status"], &failed["result"]["isError"]), (&json!("completed"), &json!(true)), "{failed:#}");
    assert!(failed["result"]["structuredContent"]["operation"]["error"]["next_step"].is_string(), "{failed:#}");
}

#[tokio::test]
async fn tasks_are_for_clients_that_know_them() {
    let world = World::start().await;
    let client = Mcp::new(&world);
    let operation = deployed(&world, &client).await;

    let (code, _) = client.error("tasks/get", &json!({"taskId": operation["id"]})).await;
    assert_eq!(code, -32021);
    let knowing = Mcp::new(&world).with_tasks();
    for id in ["nothing", "../../x", "00000000-0000-0000-0000-000000000000"] {
        for method in ["tasks/get", "tasks/cancel", "tasks/update"] {
            let (code, message) = knowing.error(method, &json!({"taskId": id, "inputResponses": {}})).await;
            assert_eq!((code, message), (-32602, format!("there is no task `{id}`")), "{method}");
        }
    }
    let status = knowing.call("status", named()).await;
    assert!(status["structuredContent"]["deployment"].is_object(), "a question is answered at once: {status:#}");
}
