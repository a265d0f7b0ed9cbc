//! What an agent does with tools.

use serde_json::json;

use super::{deployed, named, notes};
use crate::world::mcp::{Mcp, text};
use crate::world::{World, with};

#[tokio::test]
async fn an_agent_plans_deploys_scales_looks_and_takes_down() {
    let world = World::start().await;
    let client = Mcp::new(&world);

    let plan = client.call("plan", with(notes(&world), "action", "deploy")).await;
    assert_eq!(plan["structuredContent"]["outcome"], "plan");
    assert_eq!(plan["structuredContent"]["plan"]["steps"][0]["step"], "create_cluster", "{plan:#}");
    assert_eq!(client.call("list", json!({})).await["structuredContent"]["deployments"], json!([]));

    let begun = client.call("deploy", notes(&world)).await;
    let operation = &begun["structuredContent"]["operation"];
    assert_eq!(operation["action"], "deploy", "{begun:#}");
    let id = operation["id"].as_str().unwrap();
    assert!(text(&begun).contains(&format!("Call `operation_wait` with the id `{id}`")), "{}", text(&begun));
    let ended = client.wait(id).await;
    assert_eq!(ended["state"], "succeeded", "{ended:#}");
    assert_eq!(ended["object"], "operation");
    assert!(ended["deployment"]["app_url"].as_str().unwrap().starts_with("http://localhost:"), "{ended:#}");

    let scaled = client.change("scale", with(named(), "scale_replicas", 2)).await;
    assert_eq!((&scaled["state"], &scaled["deployment"]["replicas"]), (&json!("succeeded"), &json!(2)));
    let status = client.call("status", named()).await;
    assert_eq!(status["structuredContent"]["deployment"]["instance_name"], "notes", "{status:#}");
    assert!(text(&status).starts_with("**`notes` is "), "{}", text(&status));
    let logs = client.call("logs", with(named(), "tail", "3")).await;
    assert!(logs["structuredContent"]["lines"].is_array(), "{logs:#}");
    let costs = client.call("cost", json!({})).await;
    assert_eq!(costs["structuredContent"]["costs"][0]["per_hour"], 0.0, "{costs:#}");

    let asked = client.call("decommission", named()).await;
    let hash = asked["structuredContent"]["plan"]["hash"].as_str().unwrap().to_owned();
    assert_eq!(asked["structuredContent"]["outcome"], "confirmation_needed");
    assert!(text(&asked).contains(&format!("`confirm`: `{hash}`")), "{}", text(&asked));
    let gone = client.change("decommission", with(named(), "confirm", hash)).await;
    assert_eq!(gone["state"], "succeeded", "{gone:#}");
    assert_eq!(client.call("list", json!({})).await["structuredContent"]["deployments"], json!([]));
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn what_stands_in_the_way_of_a_call_is_its_answer() {
    let world = World::start().await;
    let client = Mcp::new(&world);
    deployed(&world, &client).await;

    for (tool, arguments, words) in [
        ("deploy", json!({}), "`deploy` also needs `deployment_mode` and `github_repo_url`"),
        ("deploy", with(notes(&world), "target_namespace", "Not A Name"), "`target_namespace`"),
        ("deploy", with(notes(&world), "aws_credentials", json!({})), "has no parameter `aws_credentials`"),
        ("scale", with(named(), "scale_replica", 2), "did you mean `scale_replicas`?"),
        ("scale", with(named(), "scale_replicas", 99), "from 0 to"),
        ("status", json!({"instance_name": "nothing"}), "deployment_not_found"),
        ("deploy", with(notes(&world), "dry_run", true), "`plan` shows what it would do"),
        ("plan", json!({}), "`action` is missing"),
        ("plan", json!({"action": "status"}), "`action` must be one of `deploy`"),
        ("decommission", with(named(), "confirm", true), "`confirm` must be the hash of a plan"),
        ("operation_show", json!({}), "`id` is missing"),
        ("operation_show", json!({"id": "../../etc/passwd"}), "operation_not_found"),
        ("operation_wait", json!({"id": 7, "timeout_s": 3}), "operation_not_found"),
        ("operation_cancel", json!({"id": uuid::Uuid::nil().to_string()}), "operation_not_found"),
    ] {
        let refused = client.refused(tool, arguments.clone()).await;
        assert!(refused.contains(words), "{tool} {arguments}: {refused}");
    }
    let latest = world.latest().await;
    let refused = client.refused("operation_wait", json!({"id": latest, "timeout_s": 600})).await;
    assert!(refused.contains("`timeout_s` must be a whole number from 1 to 45"), "{refused}");
    let refused = client.refused("operation_show", json!({"id": latest, "color": "red"})).await;
    assert!(refused.contains("`operation_show` has no parameter `color`"), "{refused}");
    let refused = client.refused("operation_cancel", json!({"id": latest})).await;
    assert!(refused.contains("conflict"), "{refused}");
}

#[tokio::test]
async fn a_call_that_is_made_twice_is_one_operation() {
    let world = World::start().await;
    let client = Mcp::new(&world);
    world.failpoints.hold("page");

    let first = client.call("deploy", notes(&world)).await;
    let second = client.call("deploy", notes(&world)).await;
    let id = |it: &serde_json::Value| it["structuredContent"]["operation"]["id"].as_str().unwrap().to_owned();

    assert_eq!(id(&first), id(&second));
    let busy = client.refused("redeploy", named()).await;
    assert!(busy.contains("busy with operation"), "{busy}");
    let cancelled = client.call("operation_cancel", json!({"id": id(&first)})).await;
    assert!(cancelled["structuredContent"]["operation"].is_object(), "{cancelled:#}");
    world.failpoints.release("page");
    assert_eq!(client.wait(&id(&first)).await["state"], "cancelled");
}

#[tokio::test]
async fn a_failure_is_told_with_its_cause_and_found_again_by_a_diagnosis() {
    let world = World::start().await;
    let client = Mcp::new(&world);
    deployed(&world, &client).await;
    world.failpoints.fail("docker-build", "the build broke");
    world.commit("notes", "more", "text").await;

    let failed = client.change("redeploy", named()).await;
    let diagnosis = client.call("diagnose", named()).await;

    assert_eq!(failed["state"], "failed", "{failed:#}");
    let last = &diagnosis["structuredContent"]["last_operation"];
    assert_eq!((&last["id"], &last["error"]["code"]), (&failed["id"], &failed["error"]["code"]), "{diagnosis:#}");
    assert_eq!(text(&diagnosis).matches("cannot be pulled").count(), 1, "{}", text(&diagnosis));
}

#[tokio::test]
async fn the_progress_of_an_operation_is_told_while_it_is_waited_for() {
    let world = World::start().await;
    for revision in ["2025-06-18", "2026-07-28"] {
        let client = Mcp::new(&world).of(revision);
        world.failpoints.hold("page");
        let begun = client.call("deploy", notes(&world)).await;
        let id = begun["structuredContent"]["operation"]["id"].clone();

        let params = json!({"name": "operation_wait", "arguments": {"id": id, "timeout_s": 30},
            "_meta": {"progressToken": "token-1"}});
        let (reply, ()) = tokio::join!(client.send("tools/call", &params), async {
            world.failpoints.reached("page").await;
            world.failpoints.release("page");
        });

        let told: Vec<&serde_json::Value> =
            reply.told.iter().filter(|it| it["method"] == "notifications/progress").collect();
        assert!(!told.is_empty(), "{revision}: {reply:#?}");
        assert!(told.iter().all(|it| it["params"]["progressToken"] == "token-1"), "{told:#?}");
        let numbers: Vec<f64> = told.iter().map(|it| it["params"]["progress"].as_f64().unwrap()).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        let operation = &reply.message["result"]["structuredContent"]["operation"];
        assert_eq!(operation["state"], "succeeded", "{reply:#?}");
        let asked = client.call("decommission", named()).await;
        let hash = asked["structuredContent"]["plan"]["hash"].clone();
        client.change("decommission", with(named(), "confirm", hash)).await;
    }
}

#[tokio::test]
async fn an_operation_that_takes_longer_than_it_is_waited_for_says_so() {
    let world = World::start().await;
    let client = Mcp::new(&world);
    world.failpoints.hold("page");
    let begun = client.call("deploy", notes(&world)).await;
    let id = begun["structuredContent"]["operation"]["id"].clone();

    let still = client.call("operation_wait", json!({"id": id, "timeout_s": 1})).await;

    assert_eq!(still["structuredContent"]["operation"]["state"], "running", "{still:#}");
    assert!(still["structuredContent"]["next_step"].as_str().unwrap().contains("operation_wait"), "{still:#}");
    world.failpoints.release("page");
    assert_eq!(client.wait(id.as_str().unwrap()).await["state"], "succeeded");
}

#[tokio::test]
async fn secrets_of_a_call_are_in_no_file() {
    let world = World::start().await;
    let client = Mcp::new(&world);
    let arguments = with(notes(&world), "environment", json!({"PASSWORD": "hunter2-hunter2"}));
    let arguments = with(arguments, "git_token", "ghp_0123456789abcdef0123");

    let operation = client.change("deploy", arguments).await;

    assert_eq!(operation["state"], "succeeded", "{operation:#}");
    assert_eq!(world.files_with("hunter2-hunter2"), Vec::<String>::new());
    assert_eq!(world.files_with("ghp_0123456789abcdef0123"), Vec::<String>::new());
}
