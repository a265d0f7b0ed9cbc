//! Deploying an application for the first time.

use std::fs;

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

/// Commits the repository `library` as a submodule of `notes`.
async fn add_submodule(world: &World, path: &str, address: &str) {
    world.commit("library", "words.txt", "some words").await;
    let commit = fs::read_to_string(world.path("repositories/library/.git/refs/heads/main")).unwrap();
    let entry = format!("160000,{},{path}", commit.trim());
    world.git("notes", &["update-index", "--add", "--cacheinfo", &entry]).await;
    let modules = format!("[submodule \"{path}\"]\n\tpath = {path}\n\turl = {address}\n");
    fs::write(world.path("repositories/notes/.gitmodules"), modules).unwrap();
    world.git("notes", &["add", ".gitmodules"]).await;
    world
        .git("notes", &["-c", "user.name=t", "-c", "user.email=t@t.test", "commit", "--quiet", "-m", "a library"])
        .await;
}

#[tokio::test]
async fn a_submodule_is_part_of_what_is_built_and_nothing_changes_as_long_as_its_commit_does_not() {
    let world = World::start().await;
    add_submodule(&world, "libs/words", "../library").await;

    world.deployed().await;

    let deployment = fs::read_dir(world.path("workspace/deployments")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(fs::read_to_string(deployment.join("clone/libs/words/words.txt")).unwrap(), "some words");
    let again = world.chat(&world.request_for("redeploy")).await;
    assert!(again.text().contains("**Nothing to do: "), "{}", again.text());
}

#[tokio::test]
async fn a_submodule_that_the_build_needs_and_nobody_may_fetch_ends_the_deploy_early() {
    let world = World::start().await;
    add_submodule(&world, "libs/words", "https://git.elsewhere.test/words").await;

    let answer = world.chat(&world.request_for("deploy")).await;

    assert!(answer.text().contains("Why: The submodule `libs/words` cannot be fetched"), "{}", answer.text());
    assert!(answer.text().contains("Add `git.elsewhere.test` to `GIT_ALLOWED_HOSTS`"), "{}", answer.text());
    assert_eq!(world.docker.images(), Vec::<String>::new());
}

#[tokio::test]
async fn a_submodule_that_the_build_does_not_take_is_a_warning() {
    let world = World::start().await;
    world.commit("notes", ".dockerignore", "docs\n").await;
    add_submodule(&world, "docs/words", "https://git.elsewhere.test/words").await;

    let answer = world.chat(&world.request_for("deploy")).await;

    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    let warning = "Something that the build does not take is missing: the submodule `docs/words` cannot be fetched";
    assert!(answer.text().contains(warning), "{}", answer.text());
}

#[tokio::test]
async fn files_that_stay_lfs_pointers_are_a_warning() {
    let world = World::start().await;
    world.commit("notes", ".gitattributes", "*.bin filter=lfs\n").await;
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12\n", "0".repeat(64));
    world.commit("notes", "a.bin", &pointer).await;

    let answer = world.chat(&world.request_for("deploy")).await;

    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    let warning = "1 file is a Git LFS pointer, not its contents (first: `a.bin`).";
    assert!(answer.text().contains(warning), "{}", answer.text());
}
