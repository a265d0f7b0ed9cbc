//! The versions of a deployment: which are kept, and what becomes of one that cannot run again.

use std::fs;

use serde_json::json;

use crate::world::{World, with};

#[tokio::test]
async fn versions_that_are_too_old_go_with_their_images_and_environments() {
    let world = World::with(&[("KEEP_VERSIONS", "2")]).await;
    let environment = |value: &str| json!({"GREETING": value});
    world.chat(&with(world.request_for("deploy"), "environment", environment("one"))).await;

    for name in ["two", "three", "four"] {
        world.commit("notes", "new.txt", name).await;
        let answer = world.chat(&with(world.request_for("redeploy"), "environment", environment(name))).await;
        assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    }

    let secrets = world.kube.objects().iter().filter(|it| it.starts_with("secrets")).count();
    assert_eq!((world.docker.images().len(), world.docker.node_images().len(), secrets), (2, 2, 2));
    assert_eq!(world.texts("SELECT CAST(revision AS TEXT) FROM versions ORDER BY revision").await, ["3", "4"]);
    assert_eq!(world.chat(&world.request_for("rollback")).await.state(), "succeeded");
    assert_eq!(world.docker.images().len(), 2);
}

#[tokio::test]
async fn a_deploy_that_only_scales_says_so() {
    let world = World::start().await;
    world.deployed().await;

    let scaled = world.chat(&with(world.request_for("deploy"), "scale_replicas", json!(2))).await;
    let same = world.chat(&with(world.request_for("deploy"), "scale_replicas", json!(2))).await;

    assert!(
        scaled.text().contains("is up to date") && scaled.text().contains("scaled from 1 to 2"),
        "{}",
        scaled.text()
    );
    assert!(same.text().contains("Nothing to do"), "{}", same.text());
}

#[tokio::test]
async fn old_versions_that_cannot_be_removed_do_not_fail_a_redeploy_and_go_with_the_next_one() {
    let world = World::with(&[("KEEP_VERSIONS", "1")]).await;
    world.deployed().await;
    world.commit("notes", "new.txt", "two").await;
    world.chat(&world.request_for("redeploy")).await;
    world.failpoints.fail("docker-remove", "conflict: a container uses it");
    world.commit("notes", "new.txt", "three").await;

    let answer = world.chat(&world.request_for("redeploy")).await;

    assert_eq!((answer.state(), world.docker.images().len()), ("succeeded", 3), "{}", answer.text());
    world.failpoints.heal("docker-remove");
    world.commit("notes", "new.txt", "four").await;
    assert_eq!(world.chat(&world.request_for("redeploy")).await.state(), "succeeded");
    assert_eq!(world.docker.images().len(), 2);
}

#[tokio::test]
async fn a_redeploy_on_a_cluster_that_was_deleted_by_hand_asks_for_the_environment_and_leaves_nothing_half_made() {
    let world = World::start().await;
    world.chat(&with(world.request_for("deploy"), "environment", json!({"GREETING": "hello"}))).await;
    fs::remove_dir_all(world.path("clusters/on-demand-infra")).unwrap();

    let answer = world.chat(&world.request_for("redeploy")).await;

    assert_eq!(answer.state(), "failed", "{}", answer.text());
    assert_eq!(world.ended(&answer.operation()).await["error"]["code"], "environment_missing");
    assert!(answer.text().contains("`GREETING`"), "{}", answer.text());
    assert_eq!(answer.body["deployment"]["state"], "failed");
    assert_eq!(world.kube.objects(), Vec::<String>::new());
    let again = with(world.request_for("redeploy"), "environment", json!({"GREETING": "hello"}));
    assert_eq!(world.chat(&again).await.state(), "succeeded");
}

#[tokio::test]
async fn a_version_that_ran_on_a_cluster_that_is_gone_is_not_put_on_the_new_one() {
    let world = World::start().await;
    world.deployed().await;
    fs::remove_dir_all(world.path("clusters/on-demand-infra")).unwrap();
    world.kube.crash_new_images(true);
    world.commit("notes", "new.txt", "new").await;

    let answer = world.chat(&world.request_for("redeploy")).await;

    assert_eq!(answer.state(), "failed", "{}", answer.text());
    assert!(answer.text().contains("Version 1 cannot run again"), "{}", answer.text());
    assert_eq!(world.kube.objects(), Vec::<String>::new());
    assert_eq!(world.unfinished_leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_version_whose_image_is_no_longer_on_the_cluster_gets_it_again_before_it_runs_again() {
    let world = World::start().await;
    world.deployed().await;
    let images = world.path("clusters/on-demand-infra/images");
    let (node_images, before) = (world.docker.node_images(), world.kube.object("deployments", "team", "notes"));
    for image in fs::read_dir(&images).unwrap() {
        fs::remove_file(image.unwrap().path()).unwrap();
    }
    world.kube.crash_new_images(true);
    world.commit("notes", "new.txt", "new").await;

    let answer = world.chat(&world.request_for("redeploy")).await;

    assert_eq!(answer.state(), "failed", "{}", answer.text());
    assert_eq!(world.docker.node_images(), node_images);
    let live = world.kube.object("deployments", "team", "notes");
    assert_eq!(live["spec"]["template"]["spec"], before["spec"]["template"]["spec"]);
}
