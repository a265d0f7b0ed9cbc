//! A panic at each step, after its work was done: it is that step's failure, and everything is taken back as after any other.

use serde_json::{Value, json};

use super::{Before, Ec2, Eks, EksWithDomain, LocalKind, Plan, TargetKind, are_all_tried, begin, each};
use crate::world::{World, with};

/// One step in so many of a plan on AWS.
const SAMPLE: usize = 3;

/// The steps of a plan.
async fn steps(target_kind: TargetKind, plan: Plan) -> Vec<String> {
    let world = plan.world(target_kind).await;
    let operation = begin(plan, &world).await;
    let operation = world.ended(&operation).await;
    operation["steps"].as_array().unwrap().iter().map(|it| it["step"].as_str().unwrap().to_owned()).collect()
}

async fn panics(target_kind: TargetKind, plan: Plan, step: &str, moment: &str) {
    let world = plan.world(target_kind).await;
    let before = Before::of(&world).await;
    world.panic_at(step, moment, "index out of bounds");

    let id = begin(plan, &world).await;
    let operation = world.ended(&id).await;

    let error = &operation["error"];
    assert_eq!(error["code"], "internal_error", "{plan:?} {step}: {operation:#}");
    assert_eq!(error["message"], format!("the step `{step}` panicked: index out of bounds"));
    assert_eq!(error["next_step"], format!("Report this with the operation's id, `{id}`"));
    if plan == Plan::Decommission {
        assert_eq!(operation["state"], "failed", "{step}: {operation:#}");
        assert_eq!(operation["deployment"]["state"], "failed");
    } else if plan == Plan::Deploy && operation["state"] == "failed" {
        // There was nothing to take back.
        assert_eq!(world.leftovers().await, Vec::<String>::new(), "{step}: {operation:#}");
    } else {
        plan.is_undone(&world, &operation, &before).await;
    }

    world.calm();
    let answer = world.chat(&plan.request(&world)).await;
    let operation = world.ended(&answer.operation()).await;
    assert_eq!(operation["state"], "succeeded", "{plan:?} after {step} panicked: {operation:#}");
    assert!(plan != Plan::Decommission || world.leftovers().await.is_empty(), "{step}: {:?}", world.leftovers().await);
}

/// On AWS a sample, as a world takes seconds there, or every step with `REAL_ALL`.
async fn panics_at_each_step(target_kind: TargetKind, plan: Plan) {
    let one_in = if target_kind == LocalKind || are_all_tried() { 1 } else { SAMPLE };
    let steps = steps(target_kind, plan).await.into_iter().step_by(one_in);
    each(steps, async |step| panics(target_kind, plan, &step, "run").await).await;
}

#[tokio::test]
async fn a_deploy_that_dies_by_panic_at_any_step_leaves_nothing_behind() {
    panics_at_each_step(LocalKind, Plan::Deploy).await;
}

#[tokio::test]
async fn a_deploy_that_dies_by_panic_at_the_check_of_any_step_leaves_nothing_behind() {
    each(steps(LocalKind, Plan::Deploy).await, async |step| panics(LocalKind, Plan::Deploy, &step, "check").await)
        .await;
}

#[tokio::test]
async fn a_redeploy_that_dies_by_panic_at_any_step_goes_back_to_what_ran() {
    panics_at_each_step(LocalKind, Plan::Redeploy).await;
}

#[tokio::test]
async fn a_rollback_that_dies_by_panic_at_any_step_goes_back_to_what_ran() {
    panics_at_each_step(LocalKind, Plan::Rollback).await;
}

#[tokio::test]
async fn a_scale_or_a_restart_that_dies_by_panic_at_any_step_goes_back_to_what_ran() {
    panics_at_each_step(LocalKind, Plan::Scale).await;
    panics_at_each_step(LocalKind, Plan::Restart).await;
}

#[tokio::test]
async fn a_decommission_that_dies_by_panic_at_any_step_can_be_sent_again() {
    panics_at_each_step(LocalKind, Plan::Decommission).await;
}

#[tokio::test]
async fn a_deploy_on_an_instance_that_dies_by_panic_at_any_step_leaves_nothing_behind() {
    panics_at_each_step(Ec2, Plan::Deploy).await;
}

#[tokio::test]
async fn a_deploy_on_eks_that_dies_by_panic_at_any_step_leaves_nothing_behind() {
    panics_at_each_step(EksWithDomain, Plan::Deploy).await;
}

#[tokio::test]
async fn a_redeploy_on_eks_that_dies_by_panic_at_any_step_goes_back_to_what_ran() {
    panics_at_each_step(Eks, Plan::Redeploy).await;
}

#[tokio::test]
async fn a_decommission_of_an_eks_cluster_that_dies_by_panic_at_any_step_can_be_sent_again() {
    panics_at_each_step(EksWithDomain, Plan::Decommission).await;
}

#[tokio::test]
async fn an_undo_that_panics_is_stuck_until_it_is_resumed() {
    each(["apply_application", "load_image", "build_image", "create_cluster", "clone_repository"], async |step| {
        let world = Plan::Deploy.world(LocalKind).await;
        let before = Before::of(&world).await;
        world.kube.crash_new_images(true);
        world.panic_at(step, "undo", "called `Option::unwrap()` on a `None` value");

        let id = begin(Plan::Deploy, &world).await;
        let stuck = world.ended(&id).await;

        assert_eq!(stuck["state"], "stuck", "{step}: {stuck:#}");
        assert_eq!(stuck["error"]["code"], "internal_error");
        let undos = stuck["steps"].as_array().unwrap().iter().filter(|it| it["step"] == step);
        assert_eq!(undos.map(|it| &it["state"]).collect::<Vec<&Value>>(), ["undo_failed"]);

        world.calm();
        assert_eq!(world.post(&format!("/v1/operations/{id}/resume")).await.status, 200);
        let operation = world.ended(&id).await;
        Plan::Deploy.is_undone(&world, &operation, &before).await;
    })
    .await;
}

#[tokio::test]
async fn a_panic_tells_no_secret() {
    let world = World::start().await;
    let secret = "tok-5dQ2vX9mRz71";
    world.panic_at("build_image", "run", &format!("cannot parse `{secret}` as a number"));

    let body = with(world.request_for("deploy"), "environment", json!({"API_TOKEN": secret}));
    let answer = world.chat(&body).await;

    let operation = world.ended(&answer.operation()).await;
    let told = operation["error"]["message"].as_str().unwrap();
    assert!(told.starts_with("the step `build_image` panicked: cannot parse `") && !told.contains(secret), "{told}");
    assert!(!world.server.log().contains(secret), "{}", world.server.log());
    assert!(world.server.log().contains("the program panicked"));
}
