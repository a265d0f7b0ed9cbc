//! Deploying an application for the first time.

use serde_json::json;

use crate::world::{World, with};

#[tokio::test]
async fn a_deploy_ends_with_an_application_that_answers() {
    let world = World::start().await;

    let answer = world.deployed().await;

    assert_eq!(answer.body["deployment"]["state"], "running");
    assert_eq!(answer.body["deployment"]["instance_name"], "notes");
    assert_eq!(world.count("kind", "create cluster"), 1);
    assert_eq!(world.docker.images(), world.docker.node_images());
    assert_eq!(world.kube.object("deployments", "team", "notes")["spec"]["replicas"], 1);
    assert_eq!(world.unfinished_leftovers().await, Vec::<String>::new());
    let events = world.events(&answer.operation()).await;
    let sequence: Vec<i64> = events.iter().map(|it| it["sequence"].as_i64().unwrap()).collect();
    assert_eq!(sequence, (1..=i64::try_from(events.len()).unwrap()).collect::<Vec<_>>());
    assert!(world.steps(&answer.operation()).await.iter().all(|it| it.ends_with(" succeeded")));
}

#[tokio::test]
async fn a_build_that_fails_leaves_nothing_behind_but_the_cluster() {
    let world = World::start().await;
    world.failpoints.fail("docker-build", "The command '/bin/sh -c make' returned a non-zero code: 2");

    let answer = world.chat(&world.request_for("deploy")).await;

    assert_eq!(answer.state(), "undone", "{}", answer.text());
    assert!(answer.text().contains("exit code 2"), "{}", answer.text());
    assert_eq!(world.leftovers().await, Vec::<String>::new());
    assert!(world.path("clusters/on-demand-infra/ready").exists());
}

#[tokio::test]
async fn a_rollout_that_fails_leaves_nothing_behind_but_the_cluster() {
    let world = World::start().await;
    let body = with(world.request_for("deploy"), "environment", json!({"GREETING": "good morning"}));
    world.kube.crash_new_images(true);

    let answer = world.chat(&body).await;

    assert_eq!(answer.state(), "undone", "{}", answer.text());
    assert!(answer.text().contains("the application says hello"), "{}", answer.text());
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}
