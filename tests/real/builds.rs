//! Builds that differ from that of the Dockerfile alone, by the real builder.

use serde_json::{Value, json};

use crate::bed::bed;
use crate::cluster::{nothing_is_left, page_with};
use crate::server::shared;

const SECRET: &str = "a-s3cr3t-of-27-characters!!";

fn request(action: &str, more: Value) -> Value {
    let mut fields = json!({
        "action": action, "deployment_mode": "local", "target_namespace": "build-options",
        "github_repo_url": bed().repository("build-options"),
    });
    if let (Value::Object(fields), Value::Object(more)) = (&mut fields, more) {
        fields.extend(more);
    }
    fields
}

#[tokio::test]
async fn a_stage_is_built_with_arguments_and_a_secret_and_copies_neither_dockerfile_nor_ignore_file() {
    let server = shared().await;
    // Docker takes what it has built before, with whatever secret: of the editions of this run it has nothing.
    let run = uuid::Uuid::now_v7().simple();
    let (first, second) = (format!("first-{run}"), format!("second-{run}"));
    let options = json!({
        "build_target": "web", "build_args": {"EDITION": first}, "build_secrets": {"greeting": SECRET},
    });

    let deployed = server.ask(request("deploy", options)).await.ended("succeeded");
    let url = deployed.word("app_url");
    page_with(&url, &format!("version 1, edition {first}, a secret of {} bytes", SECRET.len())).await;
    page_with(&format!("{url}/context.html"), "<pre>README.md </pre>").await;
    assert_eq!(deployed.deployment("build_args"), &json!({"EDITION": first}));
    assert!(!deployed.text.contains(SECRET), "{}", deployed.text);

    let same = server.ask(request("redeploy", json!({}))).await.ended("succeeded");
    same.says("Nothing was built and nothing was rolled out");
    let without = server.ask(request("redeploy", json!({"build_args": {"EDITION": second}}))).await;
    without.says("mounts the secret `greeting`, which an earlier request brought");
    let with = json!({"build_args": {"EDITION": second}, "build_secrets": {"greeting": SECRET}});
    server.ask(request("redeploy", with)).await.ended("succeeded");
    page_with(&url, &format!("edition {second}")).await;

    let gone = server.ask(request("decommission", json!({}))).await.ended("succeeded");
    nothing_is_left(server, &gone, Some(deployed.deployment("image")));
}

#[tokio::test]
async fn a_stage_that_is_not_there_and_a_file_that_is_not_there_are_told() {
    let server = shared().await;

    // Not where the other story names its application by the namespace alone.
    let named =
        |target: &str| json!({"instance_name": "refused", "target_namespace": "refused", "build_target": target});

    let no_stage = server.ask(request("deploy", named("wbe"))).await.ended("undone");
    no_stage.says("has no stage `wbe`; it has `pages`, `web`, `test`");
    let no_file = server.ask(request("deploy", named("test"))).await.ended("undone");
    no_file.says("tests-that-are-not-here");
}
