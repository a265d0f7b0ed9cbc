//! Cancelling an operation: what it did is taken back.

use crate::world::{World, say};

async fn cancelled(world: &World, operation: &str) {
    let answer = world.post(&format!("/v1/operations/{operation}/cancel")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn a_deploy_that_is_cancelled_in_the_middle_of_its_build_leaves_nothing_behind() {
    let world = World::start().await;
    world.failpoints.hold("docker-build");
    let answer = world.begin(&world.request_for("deploy"));
    world.failpoints.reached("docker-build").await;

    cancelled(&world, &world.latest().await).await;

    let answer = answer.await.unwrap().unwrap();
    assert_eq!(answer.state(), "cancelled", "{}", answer.text());
    world.failpoints.release("docker-build");
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_cluster_that_is_half_made_goes_with_the_deploy_that_is_cancelled() {
    let world = World::start().await;
    world.failpoints.hold("kind-create");
    let answer = world.begin(&world.request_for("deploy"));
    world.failpoints.reached("kind-create").await;

    cancelled(&world, &world.latest().await).await;

    assert_eq!(answer.await.unwrap().unwrap().state(), "cancelled");
    assert!(!world.path("clusters/on-demand-infra").exists());
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_program_hears_that_it_is_to_stop_also_from_a_server_that_ignores_interrupts() {
    let mut world = World::start().await;
    world.server.kill().await;
    world.start_again_ignoring_interrupts().await;
    world.failpoints.hold("kind-create");
    let answer = world.begin(&world.request_for("deploy"));
    world.failpoints.reached("kind-create").await;

    cancelled(&world, &world.latest().await).await;

    assert_eq!(answer.await.unwrap().unwrap().state(), "cancelled");
    assert_eq!(world.calls("kind-interrupted"), ["create cluster"]);
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_redeploy_that_is_cancelled_goes_back_to_the_version_that_ran() {
    let world = World::start().await;
    let before = world.deployed().await;
    world.commit("notes", "new.txt", "new").await;
    world.failpoints.hold("rollout");
    let answer = world.begin(&world.request_for("redeploy"));
    world.failpoints.reached("rollout").await;

    cancelled(&world, &world.latest().await).await;
    world.failpoints.release("rollout");

    assert_eq!(answer.await.unwrap().unwrap().state(), "cancelled");
    let live = world.kube.object("deployments", "team", "notes");
    assert_eq!(live["spec"]["template"]["spec"]["containers"][0]["image"], before.body["deployment"]["image"]);
    assert_eq!(world.docker.images().len(), 1);
    assert_eq!(world.unfinished_leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_cancel_survives_a_kill_in_the_middle_of_taking_back() {
    let mut world = World::start().await;
    world.failpoints.hold("rollout");
    drop(world.begin(&world.request_for("deploy")));
    world.failpoints.reached("rollout").await;
    let operation = world.latest().await;
    world.failpoints.hold("kube-delete-deployments");
    cancelled(&world, &operation).await;
    world.failpoints.reached("kube-delete-deployments").await;

    world.server.kill().await;
    world.failpoints.release("kube-delete-deployments");
    world.start_again().await;

    assert_eq!(world.ended(&operation).await["state"], "cancelled");
    world.failpoints.release("rollout");
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_cancel_that_nobody_could_act_on_is_not_forgotten() {
    let mut world = World::start().await;
    world.failpoints.hold("docker-build");
    drop(world.begin(&world.request_for("deploy")));
    world.failpoints.reached("docker-build").await;
    let operation = world.latest().await;
    world.server.kill().await;
    world.change("UPDATE operations SET cancel_asked = 1").await;

    world.start_again().await;

    assert_eq!(world.ended(&operation).await["state"], "cancelled");
    world.failpoints.release("docker-build");
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_sentence_cancels_too() {
    let world = World::start().await;
    world.failpoints.hold("docker-build");
    let answer = world.begin(&world.request_for("deploy"));
    world.failpoints.reached("docker-build").await;

    let said = world.chat(&say("cancel it")).await;

    assert_eq!(said.status, 200, "{said:?}");
    assert_eq!(answer.await.unwrap().unwrap().state(), "cancelled");
    world.failpoints.release("docker-build");
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_decommission_and_what_has_ended_cannot_be_cancelled() {
    let world = World::start().await;
    let deployed = world.deployed().await.operation();
    world.failpoints.hold("kube-delete-deployments");
    let answer = world.begin(&world.request_for("decommission"));
    world.failpoints.reached("kube-delete-deployments").await;

    let running = world.post(&format!("/v1/operations/{}/cancel", world.latest().await)).await;
    let ended = world.post(&format!("/v1/operations/{deployed}/cancel")).await;
    world.failpoints.release("kube-delete-deployments");

    assert_eq!((running.status, ended.status), (409, 409), "{running:?} {ended:?}");
    assert_eq!(answer.await.unwrap().unwrap().state(), "succeeded");
}
