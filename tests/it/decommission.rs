//! Taking away what is not as it should be.

use std::fs;

use crate::world::{World, with};

#[tokio::test]
async fn what_a_stuck_deploy_has_built_goes_with_it() {
    let world = World::start().await;
    world.kube.crash_new_images(true);
    world.failpoints.fail("kube-delete-services", "forbidden by a policy");
    let stuck = world.chat(&world.request_for("deploy")).await;
    assert_eq!((stuck.state(), world.docker.images().len()), ("stuck", 1), "{}", stuck.text());
    world.failpoints.heal("kube-delete-services");

    let answer = world.chat(&world.request_for("decommission")).await;

    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    assert_eq!(world.docker.images(), Vec::<String>::new());
    assert_eq!(world.docker.node_images(), Vec::<String>::new());
}

#[tokio::test]
async fn a_cluster_that_somebody_made_in_place_of_ours_stays() {
    let world = World::start().await;
    world.deployed().await;
    fs::write(world.path("clusters/on-demand-infra/id"), "made by hand").unwrap();

    let answer = world.chat(&with(world.request_for("decommission"), "delete_cluster", true)).await;

    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    assert!(answer.text().contains("this server did not make it"), "{}", answer.text());
    assert!(world.path("clusters/on-demand-infra/ready").exists());
}

#[tokio::test]
async fn a_node_that_does_not_answer_does_not_keep_a_deploy_from_being_taken_back() {
    let world = World::start().await;
    world.kube.crash_new_images(true);
    world.failpoints.hold("rollout");
    let deploy = world.begin(&world.request_for("deploy"));
    world.failpoints.reached("rollout").await;
    world.failpoints.fail("docker-remove-from-node", "ctr: failed to dial containerd: connection refused");
    world.failpoints.fail("docker-node", "ctr: failed to dial containerd: connection refused");
    world.failpoints.release("rollout");

    let answer = deploy.await.unwrap().expect("an answer");

    assert_eq!(answer.state(), "undone", "{}", answer.text());
}
