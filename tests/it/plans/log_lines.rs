//! The server loses its store and is killed at each line of the saga log and at each end of a step, one after another:
//! every life of it adds one. A step whose end is not on record is done again, so each step is also done twice.

use serde_json::Value;

use super::{Before, Ec2, Eks, EksWithDomain, LocalKind, Plan, TargetKind, begin};
use crate::world::{World, eventually};

/// How much is on record: lines of the log, and ends of steps and of undos.
const ON_RECORD: &str = "(SELECT COUNT(*) FROM saga_log) + (SELECT COUNT(output) + COUNT(failure) + COUNT(undo_failure)
    + COUNT(CASE WHEN phase = 'undone' THEN 1 END) FROM operation_steps)";

async fn on_record(world: &World) -> usize {
    world.texts(&format!("SELECT CAST({ON_RECORD} AS TEXT)")).await[0].parse().unwrap()
}

/// Runs a plan through as many lives as its log has lines and its steps have ends; gives the operation as it ended, and the number of lives.
async fn crash_at_every_line(plan: Plan, world: &mut World) -> (Value, usize) {
    let before = on_record(world).await;
    world.fail_store_at("INSERT ON saga_log").await;
    let operation = begin(plan, world).await;
    let mut lives = 0;
    loop {
        eventually("the store to be lost", async || world.server.log().contains("the store is lost")).await;
        world.server.kill().await;
        lives += 1;
        let now = on_record(world).await;
        assert!(lives > now - before, "a life that did more than one thing: {lives} lives, {} on record", now - before);
        assert!(lives < 400, "no end after {lives} lives");
        let is_next = format!("{ON_RECORD} > {now}");
        let line = format!("INSERT ON saga_log WHEN {is_next}");
        let end = format!(
            "UPDATE ON operation_steps
             WHEN NEW.phase IN ('succeeded', 'failed', 'undone', 'undo_failed') AND {is_next}"
        );
        world.fail_store_at_any(&[&line, &end]).await;
        world.start_again().await;
        let mut has_ended = false;
        eventually("the store to be lost again, or the end", async || {
            let log = world.server.log();
            has_ended = log.contains("operation has ended");
            has_ended || log.contains("the store is lost")
        })
        .await;
        if has_ended {
            break;
        }
    }
    world.restore_store().await;
    (world.ended(&operation).await, lives)
}

async fn forwards(target_kind: TargetKind, plan: Plan) {
    let mut world = plan.world(target_kind).await;

    let (operation, lives) = crash_at_every_line(plan, &mut world).await;

    let on_eks = matches!(target_kind, Eks | EksWithDomain);
    let made = if on_eks { world.count("made", "cluster") } else { world.count("kind", "create cluster") };
    assert!(plan != Plan::Deploy || made == 1, "the cluster was made {made} times: {operation:#}");
    plan.is_done(&world, &operation).await;
    assert!(lives >= 5 * operation["steps"].as_array().unwrap().len(), "{lives}");
}

async fn backwards(target_kind: TargetKind, plan: Plan) {
    let mut world = plan.world(target_kind).await;
    let before = Before::of(&world).await;
    match target_kind {
        LocalKind | Ec2 => world.failpoints.hold("docker-unmapped"),
        Eks => world.kube.crash_new_images(true),
        EksWithDomain => world.failpoints.fail("terraform-apply-alias", "InvalidChangeBatch"),
    }

    let (operation, _) = crash_at_every_line(plan, &mut world).await;

    plan.is_undone(&world, &operation, &before).await;
}

#[tokio::test]
async fn a_deploy_is_done_although_the_server_dies_at_every_line() {
    forwards(LocalKind, Plan::Deploy).await;
}

#[tokio::test]
async fn a_redeploy_is_done_although_the_server_dies_at_every_line() {
    forwards(LocalKind, Plan::Redeploy).await;
}

#[tokio::test]
async fn a_scale_is_done_although_the_server_dies_at_every_line() {
    forwards(LocalKind, Plan::Scale).await;
}

#[tokio::test]
async fn a_restart_is_done_although_the_server_dies_at_every_line() {
    forwards(LocalKind, Plan::Restart).await;
}

#[tokio::test]
async fn a_restart_on_an_instance_is_done_although_the_server_dies_at_every_line() {
    forwards(Ec2, Plan::Restart).await;
}

#[tokio::test]
async fn a_restart_on_eks_is_done_although_the_server_dies_at_every_line() {
    forwards(Eks, Plan::Restart).await;
}

#[tokio::test]
async fn a_restart_that_fails_at_its_end_is_taken_back_although_the_server_dies_at_every_line() {
    backwards(LocalKind, Plan::Restart).await;
}

#[tokio::test]
async fn a_rollback_is_done_although_the_server_dies_at_every_line() {
    forwards(LocalKind, Plan::Rollback).await;
}

#[tokio::test]
async fn a_decommission_is_done_although_the_server_dies_at_every_line() {
    forwards(LocalKind, Plan::Decommission).await;
}

#[tokio::test]
async fn a_deploy_that_fails_at_its_end_is_taken_back_although_the_server_dies_at_every_line() {
    backwards(LocalKind, Plan::Deploy).await;
}

#[tokio::test]
async fn a_redeploy_that_fails_at_its_end_is_taken_back_although_the_server_dies_at_every_line() {
    backwards(LocalKind, Plan::Redeploy).await;
}

#[tokio::test]
async fn a_rollback_that_fails_at_its_end_is_taken_back_although_the_server_dies_at_every_line() {
    backwards(LocalKind, Plan::Rollback).await;
}

#[tokio::test]
async fn a_deploy_on_an_instance_is_done_although_the_server_dies_at_every_line() {
    forwards(Ec2, Plan::Deploy).await;
}

#[tokio::test]
async fn a_redeploy_on_an_instance_is_done_although_the_server_dies_at_every_line() {
    forwards(Ec2, Plan::Redeploy).await;
}

#[tokio::test]
async fn a_decommission_of_an_instance_is_done_although_the_server_dies_at_every_line() {
    forwards(Ec2, Plan::Decommission).await;
}

#[tokio::test]
async fn a_deploy_on_an_instance_that_fails_at_its_end_is_taken_back_although_the_server_dies_at_every_line() {
    backwards(Ec2, Plan::Deploy).await;
}

#[tokio::test]
async fn a_deploy_on_eks_is_done_although_the_server_dies_at_every_line() {
    forwards(EksWithDomain, Plan::Deploy).await;
}

#[tokio::test]
async fn a_redeploy_on_eks_is_done_although_the_server_dies_at_every_line() {
    forwards(Eks, Plan::Redeploy).await;
}

#[tokio::test]
async fn a_scale_on_eks_is_done_although_the_server_dies_at_every_line() {
    forwards(Eks, Plan::Scale).await;
}

#[tokio::test]
async fn a_rollback_on_eks_is_done_although_the_server_dies_at_every_line() {
    forwards(Eks, Plan::Rollback).await;
}

#[tokio::test]
async fn a_decommission_of_an_eks_cluster_is_done_although_the_server_dies_at_every_line() {
    forwards(EksWithDomain, Plan::Decommission).await;
}

#[tokio::test]
async fn a_deploy_on_eks_that_fails_at_its_end_is_taken_back_although_the_server_dies_at_every_line() {
    backwards(Eks, Plan::Deploy).await;
}

#[tokio::test]
async fn a_named_deploy_on_eks_that_gets_no_name_is_taken_back_although_the_server_dies_at_every_line() {
    backwards(EksWithDomain, Plan::Deploy).await;
}

#[tokio::test]
async fn a_redeploy_on_eks_that_fails_at_its_end_is_taken_back_although_the_server_dies_at_every_line() {
    backwards(Eks, Plan::Redeploy).await;
}
