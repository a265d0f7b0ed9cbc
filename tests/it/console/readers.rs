//! Who reads a page: somebody without scripts, or without the right to do what it is about.

use serde_json::json;

use super::{Browser, another_key, first_key};
use crate::world::World;

/// What a page says to who has no scripts while something goes on.
const RELOAD: &str = "reload it to see more";

#[tokio::test]
async fn who_has_no_scripts_is_told_to_reload_while_something_goes_on() {
    let world = World::start().await;
    let mut browser = Browser::of(&world);
    let before = browser.open("/").await;
    world.failpoints.hold("kind-create");
    let answer = world.begin(&world.request_for("deploy"));
    world.failpoints.reached("kind-create").await;
    let operation = world.latest().await;

    let running = browser.open(&format!("/operations/{operation}")).await;
    let list = browser.open("/").await;
    world.failpoints.release("kind-create");
    world.ended(&operation).await;
    let ended = browser.open(&format!("/operations/{operation}")).await;

    drop(answer);
    assert!(running.says(RELOAD) && list.says(RELOAD), "{}", running.text);
    assert!(!before.says(RELOAD) && !ended.says(RELOAD), "{}", ended.text);
}

#[tokio::test]
async fn whoever_may_not_deploy_is_told_so_before_the_form() {
    let world = World::start().await;
    let root = first_key(&world).await;
    let ann = another_key(&world, &root, json!({"name": "ann", "role": "viewer"})).await;

    let viewer = Browser::signed_in(&world, &ann).await.open("/new").await;
    let admin = Browser::signed_in(&world, &root).await.open("/new").await;

    let notice = "This key (role viewer) may see plans, and no more";
    let (before, _) = viewer.text.split_once("<form class=\"form stack\"").unwrap();
    assert!(before.contains(notice) && !admin.says("and no more"), "{}", viewer.text);
}
