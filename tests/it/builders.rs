//! Repositories that have neither a Dockerfile nor a template here, and those whose Dockerfile is made.

use serde_json::{Value, json};

use crate::world::{World, say, with};

/// A world with the repository `shop` in PHP.
async fn with_php(settings: &[(&str, &str)]) -> World {
    let world = World::with(settings).await;
    world.commit("shop", "composer.json", "{}\n").await;
    world
}

fn request(world: &World, action: &str) -> Value {
    let body = with(world.request_for(action), "github_repo_url", world.repository("shop"));
    with(body, "instance_name", "shop")
}

#[tokio::test]
async fn a_language_without_a_template_is_built_by_the_builder_that_is_installed() {
    let world = with_php(&[]).await;
    world.install_builder("pack");
    world.install_builder("railpack");

    let answer = world.chat(&request(&world, "deploy")).await;

    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    assert!(answer.text().contains("taken for PHP (`composer.json`), which Cloud Native Buildpacks builds"));
    assert_eq!(answer.body["deployment"]["builder"], "Cloud Native Buildpacks");
    assert_eq!((world.count("pack", "build on-demand-infra/shop:"), world.count("railpack", "")), (1, 0));
    assert!(
        world.calls("pack")[0].contains("--builder paketobuildpacks/builder-jammy-full"),
        "{:?}",
        world.calls("pack")
    );
    // The image that the builder made has got its labels and its name, and the name that it had is gone.
    assert_eq!(world.docker.images(), world.docker.node_images());

    let same = world.chat(&request(&world, "redeploy")).await;
    assert!(same.text().contains("Nothing was built"), "{}", same.text());
    world.commit("shop", "index.php", "<?php\n").await;
    let next = world.chat(&request(&world, "redeploy")).await;
    assert_eq!(next.state(), "succeeded", "{}", next.text());
    let cache = |call: &String| call.split("--cache ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    assert_eq!(cache(&world.calls("pack")[0]), cache(&world.calls("pack")[1]));

    let gone = world.chat(&request(&world, "decommission")).await;
    assert!(gone.text().contains("- volume `on-demand-infra-"), "{}", gone.text());
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_builder_that_fails_leaves_nothing_and_its_last_lines_tell_why() {
    let world = with_php(&[]).await;
    world.install_builder("railpack");
    world.failpoints.fail("railpack", "");

    let answer = world.chat(&request(&world, "deploy")).await;

    assert_eq!(answer.state(), "undone", "{}", answer.text());
    assert_eq!(world.ended(&answer.operation()).await["error"]["code"], "build_failed");
    assert!(answer.text().contains("the lock file does not fit"), "{}", answer.text());
    assert!(answer.text().contains("Correct what `railpack` says"), "{}", answer.text());
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_server_that_is_killed_while_a_builder_works_goes_on_with_it() {
    let mut world = with_php(&[]).await;
    world.install_builder("pack");
    world.failpoints.hold("pack");
    let begun = world.begin(&request(&world, "deploy"));
    world.failpoints.reached("pack").await;
    let operation = world.latest().await;

    world.kill_and_start_again().await;
    world.failpoints.release("pack");
    let ended = world.ended(&operation).await;

    assert_eq!(ended["state"], "succeeded", "{ended:#}");
    assert_eq!(world.docker.images(), world.docker.node_images());
    drop(begun);
    world.chat(&request(&world, "decommission")).await;
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn without_a_builder_the_refusal_names_the_language_and_the_ways_out() {
    let world = with_php(&[]).await;
    let templates = with_php(&[("BUILDER", "templates")]).await;

    let answer = world.chat(&request(&world, "deploy")).await;
    assert_eq!(world.ended(&answer.operation()).await["error"]["code"], "nothing_to_build", "{}", answer.text());
    assert!(answer.text().contains("`composer.json` says that it is PHP"), "{}", answer.text());
    assert!(answer.text().contains("install `pack` (Cloud Native Buildpacks) or `railpack`"), "{}", answer.text());
    templates.install_builder("pack");
    let answer = templates.chat(&request(&templates, "deploy")).await;
    assert!(answer.text().contains("set `BUILDER=auto`"), "{}", answer.text());
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_dockerfile_that_is_made_is_shown_before_and_after() {
    let world = World::start().await;
    world.commit("page", "index.html", "hello\n").await;
    let body = with(world.request_for("deploy"), "github_repo_url", world.repository("page"));
    let body = with(body, "instance_name", "page");

    let planned = world.chat(&with(body.clone(), "dry_run", true)).await;
    assert!(planned.text().contains("What would be built: no Dockerfile in the root"), "{}", planned.text());
    assert!(planned.text().contains("```dockerfile\nFROM nginx:stable"), "{}", planned.text());
    assert_eq!(world.leftovers().await, Vec::<String>::new());

    let answer = world.chat(&body).await;
    assert!(answer.text().contains("```dockerfile\nFROM nginx:stable"), "{}", answer.text());
    let id = answer.body["deployment"]["id"].as_str().unwrap();
    let object = world.get(&format!("/v1/deployments/{id}")).await.body;
    assert!(object["generated_dockerfile"].as_str().unwrap().starts_with("FROM nginx:stable"), "{object:#}");
    assert_eq!((&object["dockerfile_path"], &object["build_context"]), (&Value::Null, &json!("")));
    let told = world.chat(&say("show me the Dockerfile of page")).await;
    assert!(told.text().contains("```dockerfile\nFROM nginx:stable"), "{}", told.text());
}

#[tokio::test]
async fn a_plan_of_what_cannot_be_built_says_so() {
    let world = with_php(&[]).await;

    let planned = world.chat(&with(request(&world, "deploy"), "dry_run", true)).await;

    assert!(planned.text().contains("The repository was looked at: there is nothing to build"), "{}", planned.text());
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}
