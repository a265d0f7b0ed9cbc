//! kill -9 in the middle of each plan while another operation, of another version or damaged, cannot be read: the killed one
//! ends as it should, the other one is parked.

use serde_json::{Value, json};

use super::kills::{DECOMMISSION, DEPLOY, KillPoint, REDEPLOY, UNDO, kill_at};
use super::{Before, LocalKind, Plan, are_all_tried, each};
use crate::unreadable::DAMAGES;
use crate::world::{World, with};

/// One kill in so many is tried, or all of them with `REAL_ALL`.
const SAMPLE: usize = 3;

const RESTART: [KillPoint; 2] = [("restart_application", "kube-patch-deployments"), ("wait_for_rollout", "rollout")];
const SCALE: [KillPoint; 1] = [("scale_application", "kube-patch-deployments")];
const ROLLBACK: [KillPoint; 2] = [("apply_application", "kube-patch-deployments"), ("wait_for_rollout", "rollout")];

/// An operation on another deployment that has ended and left nothing.
async fn ended_beside(world: &World) -> String {
    world.failpoints.fail("git-fetch", "fatal: the remote end hung up: access denied");
    let other = with(with(world.request_for("deploy"), "instance_name", "other"), "target_namespace", "beside");
    let answer = world.chat(&other).await;
    world.failpoints.heal("git-fetch");
    assert!(["undone", "failed"].contains(&answer.state()), "{}", answer.text());
    answer.operation()
}

/// Kills a plan in its middle, and starts again with the other operation at work and not readable.
async fn story(plan: Plan, middle: KillPoint, damage: usize, world: &mut World) -> Value {
    let (what, damage, _) = DAMAGES[damage % DAMAGES.len()];
    let other = ended_beside(world).await;
    if plan == Plan::Deploy {
        world.change("DELETE FROM request_keys").await;
    }

    let operation = kill_at(plan, middle, world).await;
    world.failpoints.release(middle.1);
    world.change(&format!("UPDATE operations SET state = 'running', ended_ms = NULL WHERE id = '{other}'")).await;
    world.change(&damage.replace("ID", &other)).await;
    world.start_again().await;

    let list = world.get("/v1/operations").await.body;
    let parked = list["data"].as_array().unwrap().iter().find(|it| it["id"] == other.as_str()).unwrap();
    assert_eq!(
        (&parked["state"], &parked["error"]["code"]),
        (&json!("stuck"), &json!("operation_unreadable")),
        "{what} beside {middle:?}: {parked:#}"
    );
    // Its state is another one now.
    assert!(what == "state" || parked["unreadable"].is_object(), "{what} beside {middle:?}: {parked:#}");
    world.ended(&operation).await
}

fn sampled(middles: &[KillPoint]) -> impl Iterator<Item = (usize, KillPoint)> + use<'_> {
    middles.iter().copied().enumerate().step_by(if are_all_tried() { 1 } else { SAMPLE })
}

async fn forwards(plan: Plan, middles: &[KillPoint]) {
    each(sampled(middles), async |(index, middle)| {
        let mut world = plan.world(LocalKind).await;
        let operation = story(plan, middle, index, &mut world).await;
        plan.is_done(&world, &operation).await;
    })
    .await;
}

#[tokio::test]
async fn a_killed_deploy_goes_on_beside_an_operation_that_cannot_be_read() {
    // The cluster is there already.
    let middles: Vec<KillPoint> = DEPLOY.into_iter().filter(|it| it.1 != "kind-create").collect();
    forwards(Plan::Deploy, &middles).await;
}

#[tokio::test]
async fn a_killed_redeploy_restart_scale_and_rollback_go_on_beside_one_that_cannot_be_read() {
    forwards(Plan::Redeploy, &REDEPLOY).await;
    forwards(Plan::Restart, &RESTART).await;
    forwards(Plan::Scale, &SCALE).await;
    forwards(Plan::Rollback, &ROLLBACK).await;
}

#[tokio::test]
async fn a_killed_decommission_goes_on_beside_an_operation_that_cannot_be_read() {
    forwards(Plan::Decommission, &DECOMMISSION).await;
}

#[tokio::test]
async fn a_killed_undo_goes_on_beside_an_operation_that_cannot_be_read() {
    each(sampled(&UNDO), async |(index, middle)| {
        let mut world = Plan::Deploy.world(LocalKind).await;
        let before = Before::of(&world).await;
        world.kube.crash_new_images(true);

        let operation = story(Plan::Deploy, middle, index, &mut world).await;

        Plan::Deploy.is_undone(&world, &operation, &before).await;
    })
    .await;
}
