//! What AWS settles by itself is waited for, for minutes; a connection has seconds, and what exists is no reason to wait.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::world::{TargetKind, World, eventually};

const LINGERS: &str = "DependencyViolation: resource sg-1 has a dependent object";

/// What is said of a step while AWS is waited for.
async fn said(world: &World, operation: &str, step: &str) -> Vec<String> {
    let events = world.events(operation).await.into_iter();
    let of_step = events.filter(|it| it["type"] == "step_progress" && it["step"] == step);
    let texts = of_step.map(|it| it["text"].as_str().unwrap().to_owned());
    texts.filter(|it| it.starts_with("waiting until AWS has settled")).collect()
}

#[tokio::test]
async fn what_lingers_on_aws_is_waited_for_longer_than_a_connection() {
    let world = World::on_cluster().await;
    world.failpoints.fail_times("terraform-apply-ecr", 6, LINGERS);

    let answer = world.deployed().await;

    let said = said(&world, &answer.operation(), "provision_repository").await;
    assert_eq!(said.len(), 6, "{said:?}");
    assert!(said[0].contains("0 s of 30 s at the most") && said[0].contains("DependencyViolation"), "{said:?}");
}

#[tokio::test]
async fn a_role_or_a_cluster_that_aws_is_still_making_is_waited_for() {
    let world = World::on_cluster().await;
    let role = "creating EKS Cluster (a): InvalidParameterException: Role with arn: b, could not be assumed because it does not exist";
    world.failpoints.fail_times("terraform-apply-cluster", 5, role);
    world.failpoints.fail_times("terraform-apply-ecr", 5, "ResourceInUseException: it is in CREATING state");

    world.deployed().await;
}

#[tokio::test]
async fn a_cluster_that_was_just_made_may_refuse_its_maker_for_a_while_and_no_other_may() {
    let world = World::on_cluster().await;
    world.failpoints.fail_times("kube-patch-deployments", 5, "Unauthorized");
    world.deployed().await;
    world.commit("notes", "new.txt", "new").await;
    world.failpoints.fail_times("kube-patch-deployments", 5, "Unauthorized");

    let answer = world.chat(&world.request_for("redeploy")).await;

    assert_eq!(answer.state(), "failed", "{}", answer.text());
}

#[tokio::test]
async fn what_lingers_is_waited_for_also_when_a_deploy_is_taken_back() {
    let world = World::on_cluster().await;
    world.kube.crash_new_images(true);
    world.failpoints.fail_times("terraform-destroy-ecr", 6, LINGERS);

    let answer = world.chat(&world.request_for("deploy")).await;

    assert_eq!(answer.state(), "undone", "{}", answer.text());
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn the_patience_with_aws_ends() {
    let mut world = World::with(&[("AWS_SETTLE_TIMEOUT_S", "1")]).await;
    world.target_kind = TargetKind::Eks;
    world.failpoints.fail("terraform-apply-ecr", LINGERS);
    let start = Instant::now();

    let answer = world.chat(&world.request_for("deploy")).await;

    let operation = world.ended(&answer.operation()).await;
    assert_eq!((&operation["state"], &operation["error"]["code"]), (&"undone".into(), &"aws_in_use".into()));
    assert!(start.elapsed() > Duration::from_secs(1));
}

#[tokio::test]
async fn what_exists_is_not_waited_for() {
    let world = World::on_cluster().await;
    world.failpoints.fail("terraform-apply-ecr", "ResourceInUseException: Cluster already exists with name: a");

    let answer = world.chat(&world.request_for("deploy")).await;

    let operation = world.ended(&answer.operation()).await;
    assert_eq!(operation["error"]["code"], "aws_already_exists", "{operation:#}");
    let retried = |it: &Value| it["type"] == "step_retrying";
    assert!(!world.events(&answer.operation()).await.iter().any(retried));
    assert_eq!(said(&world, &answer.operation(), "provision_repository").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_cancel_ends_a_wait_for_aws_at_once() {
    let mut world = World::with(&[("AWS_SETTLE_TIMEOUT_S", "600"), ("RETRY_BASE_MS", "60000")]).await;
    world.target_kind = TargetKind::Eks;
    world.failpoints.fail("terraform-apply-ecr", LINGERS);
    drop(world.begin(&world.request_for("deploy")));
    eventually("the operation to be accepted", async || !world.texts("SELECT id FROM operations").await.is_empty())
        .await;
    let operation = world.latest().await;
    eventually("the wait for AWS", async || {
        let events = world.texts("SELECT event FROM operation_events").await;
        events.iter().any(|it| it.contains("waiting until AWS has settled"))
    })
    .await;
    let start = Instant::now();

    assert_eq!(world.post(&format!("/v1/operations/{operation}/cancel")).await.status, 200);
    let ended = world.ended(&operation).await;

    assert_eq!(ended["state"], "cancelled", "{ended:#}");
    assert!(start.elapsed() < Duration::from_secs(25), "{:?}", start.elapsed());
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_stop_of_the_server_does_not_wait_for_aws() {
    let mut world = World::with(&[("AWS_SETTLE_TIMEOUT_S", "600"), ("RETRY_BASE_MS", "60000")]).await;
    world.target_kind = TargetKind::Eks;
    world.failpoints.fail_times("terraform-apply-ecr", 1, LINGERS);
    drop(world.begin(&world.request_for("deploy")));
    eventually("the wait for AWS", async || {
        let events = world.texts("SELECT event FROM operation_events").await;
        events.iter().any(|it| it.contains("waiting until AWS has settled"))
    })
    .await;

    let start = Instant::now();
    world.server.terminate().await;
    let stopped_within = start.elapsed();
    world.start_again().await;

    assert!(stopped_within < Duration::from_secs(25), "{stopped_within:?}");
    let operation = world.latest().await;
    assert_eq!(world.ended(&operation).await["state"], "succeeded");
}
