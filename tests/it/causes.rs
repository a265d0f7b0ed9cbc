//! Why something failed, and what to do: the advice follows from what was seen.

use serde_json::json;

use crate::world::{World, with};

#[tokio::test]
async fn only_a_variable_that_is_missing_is_to_be_sent() {
    let world = World::start().await;
    world.kube.crash_new_images(true);

    world.kube.print("\nKeyError: 'DATABASE_URL'");
    let variable = world.chat(&world.request_for("deploy")).await;
    world.kube.print("\nlisten tcp :80: bind: permission denied");
    let port = world.chat(&world.request_for("deploy")).await;

    assert!(variable.text().contains("The variable `DATABASE_URL` is missing."), "{}", variable.text());
    assert!(variable.text().contains("Send it in `environment`."), "{}", variable.text());
    assert!(port.text().contains("As root it may not listen on `:80`"), "{}", port.text());
    assert!(!port.text().contains("`environment`"), "{}", port.text());
}

#[tokio::test]
async fn a_failure_in_a_dockerfile_that_was_made_speaks_of_the_repository() {
    let world = World::start().await;
    world.commit("flask", "requirements.txt", "flask\npsycopg2\n").await;
    world.commit("flask", "app.py", "from flask import Flask\napp = Flask(__name__)\n").await;
    world.failpoints.fail(
        "docker-build",
        "Error: pg_config executable not found.\nThe command '/bin/sh -c pip install' returned a non-zero code: 1",
    );

    let answer = world.chat(&with(world.request_for("deploy"), "github_repo_url", world.repository("flask"))).await;

    assert_eq!(answer.state(), "undone", "{}", answer.text());
    assert!(answer.text().contains("in the Dockerfile that was made for it"), "{}", answer.text());
    assert!(answer.text().contains("ake `psycopg2-binary` in the requirements"), "{}", answer.text());
}

#[tokio::test]
async fn what_a_copy_misses_counts_from_its_context() {
    let world = World::start().await;
    world.commit("nested", "demos/blog/Dockerfile", "FROM base:1\nCOPY dist /www\nCMD [\"app\"]\n").await;
    world.commit("nested", "demos/blog/index.html", "hello").await;
    world.failpoints.fail(
        "docker-build",
        "Step 2/2 : COPY dist /www\nCOPY failed: file not found in build context or excluded by .dockerignore: stat dist: file does not exist",
    );

    let answer = world.chat(&with(world.request_for("deploy"), "github_repo_url", world.repository("nested"))).await;

    assert!(answer.text().contains("has no `dist`"), "{}", answer.text());
    assert!(answer.text().contains("what a build makes"), "{}", answer.text());
}

#[tokio::test]
async fn a_namespace_that_does_not_go_names_what_holds_it() {
    let world = World::start().await;
    world.deployed().await;
    let at = "2026-01-01T00:00:00Z";
    let remaining = "Some resources are remaining: configmaps. has 1 resource instances";
    let conditions = json!([{"type": "NamespaceContentRemaining", "status": "True", "message": remaining}]);
    world.kube.put(
        "namespaces",
        "",
        "held",
        json!({"metadata": {"deletionTimestamp": at}, "status": {"conditions": conditions}}),
    );
    world.kube.put(
        "configmaps",
        "held",
        "keep",
        json!({"metadata": {"deletionTimestamp": at, "finalizers": ["example.com/hold"]}}),
    );
    let body = with(world.request_for("deploy"), "target_namespace", "held");

    let answer = world.chat(&with(body, "instance_name", "second")).await;

    assert!(answer.text().contains("ConfigMap `keep`, by the finalizer `example.com/hold`"), "{}", answer.text());
}
