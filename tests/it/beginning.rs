//! A change that cannot be begun says why, and keeps nobody from the next one.

use std::time::Duration;

use crate::world::World;

/// The moment at which an operation begins to run.
const BEGINNING: &str = "UPDATE OF state ON operations WHEN NEW.state = 'running'";

#[tokio::test]
async fn a_deploy_that_cannot_be_begun_fails_alone_and_its_deployment_is_free() {
    let world = World::start().await;
    world.fail_store_at(BEGINNING).await;

    let answer = world.chat(&world.request_for("deploy")).await;

    assert_eq!(answer.state(), "failed", "{}", answer.text());
    assert!(answer.text().contains("could not be begun"), "{}", answer.text());
    let operation = world.ended(&answer.operation()).await;
    assert_eq!(operation["error"]["code"], "store_unavailable", "{operation:#}");
    assert_eq!(world.leftovers().await, Vec::<String>::new());
    world.restore_store().await;
    world.deployed().await;
}

#[tokio::test]
async fn a_change_that_cannot_be_begun_leaves_what_runs_as_it_is() {
    let world = World::start().await;
    world.deployed().await;
    world.fail_store_at(BEGINNING).await;

    let answer = world.chat(&world.request_for("restart")).await;

    assert_eq!(answer.state(), "failed", "{}", answer.text());
    assert_eq!(world.get("/v1/deployments").await.body["data"][0]["state"], "running");
    world.restore_store().await;
    assert_eq!(world.chat(&world.request_for("restart")).await.state(), "succeeded");
}

#[tokio::test]
async fn a_resume_that_cannot_begin_leaves_the_operation_stuck() {
    let world = World::start().await;
    world.kube.crash_new_images(true);
    world.failpoints.fail("kube-delete-deployments", "forbidden by a policy");
    let operation = world.chat(&world.request_for("deploy")).await.operation();
    world.failpoints.heal("kube-delete-deployments");
    let resume = format!("/v1/operations/{operation}/resume");
    let state = async || world.get(&format!("/v1/operations/{operation}")).await.body["state"].clone();

    world.fail_store_at(BEGINNING).await;
    assert_eq!((world.post(&resume).await.status, state().await), (500, "stuck".into()));
    world.restore_store().await;
    // A version that has other steps.
    world.change("UPDATE operations SET plan = replace(plan, 'CloneRepository', 'FetchRepository')").await;
    let unreadable = world.post(&resume).await;
    assert_eq!((unreadable.status, unreadable.code()), (409, "unreadable"), "{unreadable:?}");
    let ended = world.texts("SELECT id FROM operations WHERE ended_ms IS NOT NULL AND state = 'stuck'").await;
    assert_eq!(ended, std::slice::from_ref(&operation));
    world.change("UPDATE operations SET plan = replace(plan, 'FetchRepository', 'CloneRepository')").await;

    assert_eq!(world.post(&resume).await.status, 200);
    assert_eq!(world.ended(&operation).await["state"], "undone");
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_request_about_an_unknown_instance_keeps_no_other_waiting() {
    let world = World::start().await;
    world.failpoints.hold("aws-DescribeInstances");
    let unknown = world.begin(&world.cloud_local_request("redeploy"));
    world.failpoints.reached("aws-DescribeInstances").await;

    let other = tokio::time::timeout(Duration::from_secs(30), world.deployed()).await;

    assert!(other.is_ok(), "it waits for AWS");
    world.failpoints.release("aws-DescribeInstances");
    assert_eq!(unknown.await.unwrap().unwrap().status, 404);
}
