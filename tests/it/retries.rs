//! Failures that pass, and those that do not.

use serde_json::{Value, json};

use crate::world::{Answer, World};

async fn retries(world: &World, answer: &Answer) -> Vec<Value> {
    let events = world.events(&answer.operation()).await;
    events.into_iter().filter(|it| it["type"] == "step_retrying").collect()
}

#[tokio::test]
async fn a_failure_that_passes_is_tried_again_with_longer_pauses() {
    let world = World::start().await;
    world.failpoints.fail_times("kube-patch-deployments", 2, "the server is busy, try again");

    let answer = world.deployed().await;

    let retries = retries(&world, &answer).await;
    assert_eq!(retries.len(), 2);
    assert!(retries.iter().all(|it| it["step"] == "apply_application"), "{retries:?}");
    assert!(retries[1]["delay_ms"].as_u64() > retries[0]["delay_ms"].as_u64(), "{retries:?}");
}

#[tokio::test]
async fn a_network_that_hiccups_does_not_fail_a_clone_or_a_build() {
    let world = World::start().await;
    world.failpoints.fail_times("git-ls-remote", 1, "fatal: unable to access: Could not resolve host: example.test");
    world.failpoints.fail_times(
        "docker-build",
        1,
        "Get https://registry.example.test/v2/: net/http: TLS handshake timeout",
    );

    let answer = world.deployed().await;

    let steps: Vec<Value> = retries(&world, &answer).await.iter().map(|it| it["step"].clone()).collect();
    assert_eq!(steps, ["clone_repository", "build_image"]);
}

#[tokio::test]
async fn a_failure_that_does_not_pass_ends_the_operation_after_the_last_attempt() {
    let world = World::start().await;
    world.failpoints.fail("kube-patch-deployments", "the server is busy, try again");

    let answer = world.chat(&world.request_for("deploy")).await;

    assert_eq!(answer.state(), "undone", "{}", answer.text());
    assert!(!retries(&world, &answer).await.is_empty());
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn an_undo_is_tried_again_too() {
    let world = World::start().await;
    world.kube.crash_new_images(true);
    world.failpoints.fail_times("kube-delete-deployments", 1, "the server is busy, try again");

    let answer = world.chat(&world.request_for("deploy")).await;

    assert_eq!(answer.state(), "undone", "{}", answer.text());
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_node_that_takes_long_to_end_is_deleted_in_the_end() {
    let world = World::start().await;
    world.chat(&world.request_for("deploy")).await;
    let still_ending = "ERROR: failed to delete nodes: tried to kill container, but did not receive an exit event";
    world.failpoints.fail_times("kind-delete", 2, still_ending);

    let mut removal = world.request_for("decommission");
    removal["delete_cluster"] = json!(true);
    let answer = world.chat(&removal).await;

    assert_eq!((answer.state(), world.count("kind", "delete cluster")), ("succeeded", 3), "{}", answer.text());
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}
