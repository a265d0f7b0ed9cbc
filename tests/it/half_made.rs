//! A cluster whose creation broke off and could not be taken back at once: it goes when its operation is resumed, or when
//! another one needs the place, and whatever was made in its stead stays.

use std::fs;

use serde_json::json;
use tokio::task::JoinHandle;

use crate::concurrency::{other, says};
use crate::world::{Answer, World, eventually};

/// A deploy whose Docker goes away while kind makes the cluster, and stays away; gives its operation.
async fn stuck_without_docker(world: &World) -> String {
    world.failpoints.hold("kind-create");
    let deploy = world.begin(&world.request_for("deploy"));
    world.failpoints.reached("kind-create").await;
    let operation = world.latest().await;
    let is_built = "build_image succeeded".to_owned();
    eventually("the build", async || world.steps(&operation).await.contains(&is_built)).await;
    world.docker.go_away();
    world.failpoints.fail("kind-create", "ERROR: failed to create cluster: Cannot connect to the Docker daemon");
    world.failpoints.release("kind-create");
    let answer = deploy.await.unwrap().expect("an answer");
    assert_eq!(answer.state(), "stuck", "{}", answer.text());
    world.failpoints.heal("kind-create");
    operation
}

/// Begins a deploy of another application once Docker is there again, and waits until kind makes the cluster anew for it.
async fn made_anew(world: &World) -> JoinHandle<Option<Answer>> {
    world.docker.come_back();
    // Its image is for the node that comes, not for the one that goes.
    world.failpoints.hold("docker-build");
    world.failpoints.hold("kind-create");
    let deploy = world.begin(&other(world).await);
    world.failpoints.reached("kind-create").await;
    world.failpoints.release("docker-build");
    deploy
}

async fn resume(world: &World, operation: &str) {
    let resumed = world.post(&format!("/v1/operations/{operation}/resume")).await;
    assert_eq!((resumed.status, &resumed.body["resumed"]), (200, &json!("undo")), "{resumed:?}");
}

async fn made_here(world: &World) -> Vec<String> {
    world.texts("SELECT name FROM targets WHERE made_here = 1").await
}

#[tokio::test]
async fn a_half_made_cluster_goes_when_its_operation_is_resumed_and_docker_is_there_again() {
    let mut world = World::start().await;
    let operation = stuck_without_docker(&world).await;
    world.kill_and_start_again().await;

    resume(&world, &operation).await;
    let still = world.ended(&operation).await;
    let steps = world.steps(&operation).await;
    world.docker.come_back();
    resume(&world, &operation).await;
    let undone = world.ended(&operation).await;

    assert_eq!(
        (&still["state"], &still["error"]["code"]),
        (&json!("stuck"), &json!("docker_unreachable")),
        "{still:#}"
    );
    assert!(steps.contains(&"create_cluster undo_failed".to_owned()), "{steps:?}");
    assert_eq!(undone["state"], "undone", "{undone:#}");
    assert_eq!(world.leftovers().await, Vec::<String>::new());
    assert_eq!((world.clusters(), made_here(&world).await), (Vec::new(), Vec::new()));
    world.deployed().await;
}

#[tokio::test]
async fn a_half_made_cluster_makes_room_for_the_next_deploy_which_keeps_what_it_makes() {
    let world = World::start().await;
    let operation = stuck_without_docker(&world).await;

    let second = made_anew(&world).await;
    world.failpoints.release("kind-create");
    let second = second.await.unwrap().expect("an answer");
    assert_eq!(second.state(), "succeeded", "{}", second.text());
    // Not even one that does not work at the moment is taken for what was half made.
    fs::remove_file(world.path("clusters/on-demand-infra/ready")).unwrap();
    resume(&world, &operation).await;

    let undone = world.ended(&operation).await;
    assert_eq!(undone["state"], "undone", "{undone:#}");
    assert_eq!((world.count("kind", "create cluster"), world.count("kind", "delete cluster")), (2, 1));
    assert_eq!((world.clusters(), made_here(&world).await), (kind_cluster(), kind_cluster()));
}

#[tokio::test]
async fn a_resumed_deploy_waits_for_the_one_that_makes_the_cluster_anew() {
    let world = World::start().await;
    let operation = stuck_without_docker(&world).await;
    let second = made_anew(&world).await;

    resume(&world, &operation).await;
    says(&world, &operation, "another operation works on the cluster").await;
    world.failpoints.release("kind-create");

    let (second, undone) = (second.await.unwrap().expect("an answer"), world.ended(&operation).await);
    assert_eq!(second.state(), "succeeded", "{}", second.text());
    assert_eq!(undone["state"], "undone", "{undone:#}");
    assert_eq!((world.count("kind", "create cluster"), world.count("kind", "delete cluster")), (2, 1));
    assert_eq!(world.unfinished_leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn what_an_earlier_version_left_half_made_goes_too() {
    let world = World::start().await;
    let operation = stuck_without_docker(&world).await;
    // It did not mark what it began.
    world.change("UPDATE targets SET nodes = NULL").await;
    world.docker.come_back();

    resume(&world, &operation).await;

    let undone = world.ended(&operation).await;
    assert_eq!(undone["state"], "undone", "{undone:#}");
    assert_eq!((world.clusters(), made_here(&world).await), (Vec::new(), Vec::new()));
}

fn kind_cluster() -> Vec<String> {
    vec!["on-demand-infra".to_owned()]
}
