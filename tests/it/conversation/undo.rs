//! The last change is taken back by its inverse.

use serde_json::json;

use super::talk;
use crate::world::azure::{Azure, call, say as model_says};
use crate::world::{World, say, with};

const UNDO: &str = "undo that";

fn live(world: &World) -> serde_json::Value {
    world.kube.object("deployments", "team", "notes")["spec"].clone()
}

#[tokio::test]
async fn a_redeploy_is_undone_by_a_rollback_and_that_by_another() {
    let world = World::start().await;
    let before = world.deployed().await;
    world.commit("notes", "new.txt", "new").await;
    let redeployed = world.chat(&world.request_for("redeploy")).await;

    let undone = world.chat(&say(UNDO)).await;
    let redone = world.chat(&say("revert the last change")).await;

    assert_eq!((undone.state(), redone.state()), ("succeeded", "succeeded"), "{}", undone.text());
    assert!(undone.text().contains("is back on commit"), "{}", undone.text());
    assert_eq!(undone.body["deployment"]["image"], before.body["deployment"]["image"]);
    assert_eq!(redone.body["deployment"]["image"], redeployed.body["deployment"]["image"]);
}

#[tokio::test]
async fn a_deploy_with_another_number_of_replicas_is_undone_with_the_number_before() {
    let world = World::start().await;
    let before = world.deployed().await;
    world.commit("notes", "new.txt", "new").await;
    world.chat(&with(world.request_for("deploy"), "scale_replicas", 3)).await;

    let undone = world.chat(&say(UNDO)).await;

    assert_eq!(undone.state(), "succeeded", "{}", undone.text());
    assert_eq!((&undone.body["deployment"]["replicas"], live(&world)["replicas"].as_u64()), (&json!(1), Some(1)));
    assert_eq!(undone.body["deployment"]["image"], before.body["deployment"]["image"]);
}

#[tokio::test]
async fn a_scale_is_undone_by_the_number_before() {
    let world = World::start().await;
    world.deployed().await;
    world.chat(&with(world.request_for("scale"), "scale_replicas", 3)).await;

    let undone = world.chat(&say(UNDO)).await;

    assert_eq!(undone.state(), "succeeded", "{}", undone.text());
    assert_eq!(live(&world)["replicas"], 1);
}

#[tokio::test]
async fn a_first_deploy_is_undone_by_its_removal_which_is_asked_first() {
    let world = World::start().await;
    world.deployed().await;

    let asked = world.chat(&talk(&[UNDO])).await;
    let operations = world.texts("SELECT id FROM operations").await.len();
    let undone = world.chat(&talk(&[UNDO, asked.text(), "yes"])).await;
    let again = world.chat(&say(UNDO)).await;

    assert!(asked.text().starts_with("**Shall I decommission `notes`?**"), "{}", asked.text());
    assert_eq!(operations, 1);
    assert_eq!(undone.state(), "succeeded", "{}", undone.text());
    assert!(again.text().contains(" to local in namespace team as notes`"), "{}", again.text());
    let sentence = again.text().rsplit_once("say `").unwrap().1.split_once('`').unwrap().0.to_owned();
    assert_eq!(world.chat(&say(&sentence)).await.state(), "succeeded");
}

#[tokio::test]
async fn an_operation_that_is_at_work_is_cancelled_by_fields_and_named_in_words() {
    let world = World::start().await;
    world.deployed().await;
    world.commit("notes", "new.txt", "new").await;
    world.failpoints.hold("docker-build");
    let redeploy = world.begin(&world.request_for("redeploy"));
    world.failpoints.reached("docker-build").await;

    let told = world.chat(&say(UNDO)).await;
    let undone = world.chat(&with(say("go"), "action", "undo")).await;
    let redeploy = redeploy.await.unwrap().unwrap();
    world.failpoints.release("docker-build");
    let again = world.chat(&say(UNDO)).await;

    assert!(told.text().contains("`cancel notes` stops it"), "{}", told.text());
    assert!(undone.text().starts_with("**Cancelling.**"), "{}", undone.text());
    assert_eq!(redeploy.state(), "cancelled", "{}", redeploy.text());
    assert!(again.text().contains("there is nothing to undo"), "{}", again.text());
}

#[tokio::test]
async fn a_restart_and_nothing_at_all_leave_nothing_to_undo() {
    let world = World::start().await;
    let nothing = world.chat(&say(UNDO)).await;
    let by_fields = world.chat(&with(say("go"), "action", "undo")).await;
    world.deployed().await;
    world.chat(&world.request_for("restart")).await;

    let restarted = world.chat(&say(UNDO)).await;

    assert!(nothing.text().contains("there is nothing to undo"), "{}", nothing.text());
    assert_eq!((by_fields.status, by_fields.code()), (409, "conflict"));
    assert!(restarted.text().contains("was restarted and runs the same version"), "{}", restarted.text());
}

#[tokio::test]
async fn the_deployment_that_is_named_or_spoken_of_is_meant_before_the_last_change_of_all() {
    let world = World::start().await;
    world.deployed().await;
    world.chat(&with(world.request_for("scale"), "scale_replicas", 3)).await;
    let other = with(with(world.request_for("deploy"), "instance_name", "other"), "target_namespace", "demo");
    world.chat(&other).await;

    let named = world.chat(&say("undo the last change of notes")).await;
    let spoken_of = world.chat(&talk(&["scale notes to 2", "done", UNDO])).await;

    assert_eq!(named.state(), "succeeded", "{}", named.text());
    assert_eq!(named.body["deployment"]["instance_name"], "notes");
    assert_eq!(spoken_of.body["deployment"]["instance_name"], "notes", "{}", spoken_of.text());
}

#[tokio::test]
async fn an_undo_sent_twice_is_done_once() {
    let world = World::start().await;
    world.deployed().await;
    world.chat(&with(world.request_for("scale"), "scale_replicas", 3)).await;
    let send = || world.post_chat(&say(UNDO)).header("idempotency-key", "one");

    let first = crate::world::answer(send()).await;
    let second = crate::world::answer(send()).await;

    assert_eq!(first.operation(), second.operation());
    assert_eq!(live(&world)["replicas"], 1);
}

#[tokio::test]
async fn a_model_can_undo_and_ask_for_costs() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    world.deployed().await;
    world.chat(&with(world.request_for("scale"), "scale_replicas", 3)).await;
    azure.will([call("cost", json!({})), model_says("Nichts."), call("undo", json!({})), model_says("Erledigt.")]);

    let cost = world.chat(&talk(&["Was kostet das?"])).await;
    let undone = world.chat(&talk(&["Mach das rückgängig."])).await;

    assert_eq!((cost.status, cost.text()), (200, "Nichts."));
    assert_eq!((undone.state(), undone.text()), ("succeeded", "Erledigt."));
    assert_eq!(live(&world)["replicas"], 1);
}
