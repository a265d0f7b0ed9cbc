//! An undo that fails stops the operation as stuck; `resume` tries again.

use serde_json::json;

use crate::world::World;

/// A deploy whose pods crash and whose Deployment may not be deleted; gives its operation.
async fn stuck(world: &World) -> String {
    world.kube.crash_new_images(true);
    world.failpoints.fail("kube-delete-deployments", "forbidden by a policy");
    let answer = world.chat(&world.request_for("deploy")).await;
    assert_eq!(answer.state(), "stuck", "{}", answer.text());
    assert!(answer.text().contains("forbidden by a policy"), "{}", answer.text());
    answer.operation()
}

#[tokio::test]
async fn a_stuck_deploy_is_taken_back_once_the_cause_is_gone() {
    let world = World::start().await;
    let operation = stuck(&world).await;
    world.failpoints.heal("kube-delete-deployments");

    let resumed = world.post(&format!("/v1/operations/{operation}/resume")).await;

    assert_eq!((resumed.status, &resumed.body["resumed"]), (200, &json!("undo")), "{resumed:?}");
    assert_eq!(resumed.body["id"], operation);
    let operation = world.ended(&operation).await;
    assert_eq!(operation["state"], "undone", "{operation:#}");
    assert_eq!(operation["deployment"]["state"], "removed");
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_resume_that_fails_again_is_stuck_again_and_survives_restarts() {
    let mut world = World::start().await;
    let operation = stuck(&world).await;
    world.kill_and_start_again().await;
    assert_eq!(world.post(&format!("/v1/operations/{operation}/resume")).await.status, 200);
    assert_eq!(world.ended(&operation).await["state"], "stuck");

    world.failpoints.heal("kube-delete-deployments");
    world.failpoints.hold("kube-delete-deployments");
    world.post(&format!("/v1/operations/{operation}/resume")).await;
    world.failpoints.reached("kube-delete-deployments").await;
    world.server.kill().await;
    world.failpoints.release("kube-delete-deployments");
    world.start_again().await;

    assert_eq!(world.ended(&operation).await["state"], "undone");
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_stuck_is_seen_and_can_be_decommissioned_instead() {
    let world = World::start().await;
    let operation = stuck(&world).await;
    world.failpoints.heal("kube-delete-deployments");
    world.kube.crash_new_images(false);

    let list = world.get("/v1/deployments").await.body;
    let answer = world.chat(&world.request_for("decommission")).await;
    let late = world.post(&format!("/v1/operations/{operation}/resume")).await;

    assert_eq!(list["data"][0]["state"], "failed");
    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    assert_eq!(late.status, 409, "{late:?}");
    // Its log and its folder are forgotten with other old things.
    let old = |it: &String| it.starts_with("saga log") || it.starts_with("operation's folder");
    assert_eq!(world.leftovers().await.into_iter().filter(|it| !old(it)).collect::<Vec<_>>(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_not_stuck_cannot_be_resumed() {
    let world = World::start().await;
    let operation = world.deployed().await.operation();

    let refused = world.post(&format!("/v1/operations/{operation}/resume")).await;

    assert_eq!((refused.status, refused.code()), (409, "conflict"));
}
