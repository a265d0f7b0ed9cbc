//! kill -9 in the middle of each step, and the whole workspace is lost: the next server, on any machine, has the store in
//! PostgreSQL and the key, and what is in the world.

use super::kills::{
    DECOMMISSION, DECOMMISSION_ON_CLUSTER, DEPLOY, KillPoint, ON_CLUSTER, ON_INSTANCE, REDEPLOY, UNDO, UNDO_ON_CLUSTER,
    kill_at,
};
use super::{Before, Ec2, EksWithDomain, LocalKind, Plan, TargetKind, are_all_tried, begin, each};
use crate::world::{World, eventually};

/// All points with `REAL_ALL=1`, else these: where most would be known to files alone.
fn sample(points: &[KillPoint], these: &[&str]) -> Vec<KillPoint> {
    points.iter().copied().filter(|(_, point)| are_all_tried() || these.contains(point)).collect()
}

/// Kills the server in the middle and starts it again without its workspace; the fakes go on meanwhile.
async fn lose_in_the_middle(plan: Plan, middle: KillPoint, world: &mut World) -> String {
    let operation = kill_at(plan, middle, world).await;
    world.lose_workspace().await;
    world.failpoints.release(middle.1);
    world.start_again().await;
    operation
}

async fn forwards(target_kind: TargetKind, plan: Plan, middle: KillPoint) {
    let Some(world) = World::without_need_of_its_workspace(target_kind).await else { return };
    let mut world = plan.prepared(world).await;

    let operation = lose_in_the_middle(plan, middle, &mut world).await;

    let operation = world.ended(&operation).await;
    plan.is_done(&world, &operation).await;
}

async fn all_forwards(target_kind: TargetKind, cases: [(Plan, Vec<KillPoint>); 3]) {
    let cases = cases.into_iter().flat_map(|(plan, points)| points.into_iter().map(move |it| (plan, it)));
    each(cases, async |(plan, middle)| forwards(target_kind, plan, middle).await).await;
}

/// A deploy that is taken back for what goes wrong after the middle.
async fn backwards(target_kind: TargetKind, middle: KillPoint) {
    let Some(mut world) = World::without_need_of_its_workspace(target_kind).await else { return };
    let before = Before::of(&world).await;
    if target_kind == EksWithDomain {
        world.failpoints.fail("terraform-apply-alias", "InvalidChangeBatch");
    } else {
        world.kube.crash_new_images(true);
    }

    let operation = lose_in_the_middle(Plan::Deploy, middle, &mut world).await;

    let operation = world.ended(&operation).await;
    Plan::Deploy.is_undone(&world, &operation, &before).await;
}

#[tokio::test]
async fn a_plan_goes_on_without_the_workspace() {
    let cases = [
        (Plan::Deploy, sample(&DEPLOY, &["kind-create"])),
        (Plan::Redeploy, sample(&REDEPLOY, &["docker-build"])),
        (Plan::Decommission, sample(&DECOMMISSION, &["docker-remove"])),
    ];
    all_forwards(LocalKind, cases).await;
}

#[tokio::test]
async fn a_deploy_is_taken_back_without_the_workspace() {
    let mut middles = sample(&DEPLOY, &["docker-build"]);
    middles.retain(|it| it.1 != "page" && it.1 != "rollout");
    middles.extend(sample(&UNDO, &["docker-remove"]));
    each(middles, async |middle| backwards(LocalKind, middle).await).await;
}

#[tokio::test]
async fn a_plan_on_an_instance_goes_on_without_the_workspace() {
    let cases = [
        (Plan::Deploy, sample(&ON_INSTANCE, &["terraform-apply"])),
        (Plan::Redeploy, sample(&[("build_image", "docker-build")], &[])),
        (Plan::Decommission, vec![("destroy_instance", "terraform-destroy")]),
    ];
    all_forwards(Ec2, cases).await;
}

#[tokio::test]
async fn a_deploy_on_an_instance_is_taken_back_without_the_workspace() {
    let mut middles = sample(&ON_INSTANCE, &["terraform-apply"]);
    middles.retain(|it| it.1 != "rollout");
    middles.extend(sample(&[("provision_instance", "terraform-destroy")], &[]));
    each(middles, async |middle| backwards(Ec2, middle).await).await;
}

#[tokio::test]
async fn a_plan_on_eks_goes_on_without_the_workspace() {
    let redeploy = [("build_image", "docker-build"), ("push_image", "docker-push")];
    let removal = ["terraform-destroy-certificate", "terraform-destroy-cluster"];
    let cases = [
        (Plan::Deploy, sample(&ON_CLUSTER, &["terraform-state-cluster", "helm-upgrade"])),
        (Plan::Redeploy, sample(&redeploy, &[])),
        (Plan::Decommission, sample(&DECOMMISSION_ON_CLUSTER, &removal)),
    ];
    all_forwards(EksWithDomain, cases).await;
}

#[tokio::test]
async fn a_deploy_on_eks_is_taken_back_without_the_workspace() {
    let mut middles = sample(&ON_CLUSTER, &["terraform-state-cluster"]);
    middles.retain(|it| it.0 != "create_alias");
    middles.extend(sample(&UNDO_ON_CLUSTER, &["terraform-destroy-certificate"]));
    each(middles, async |middle| backwards(EksWithDomain, middle).await).await;
}

/// Between two operations: what runs is changed and removed by a server that has none of its files.
#[tokio::test]
async fn what_runs_is_changed_and_removed_without_the_workspace() {
    each([LocalKind, Ec2, EksWithDomain], async |target_kind| {
        let Some(world) = World::without_need_of_its_workspace(target_kind).await else { return };
        let mut world = Plan::Redeploy.prepared(world).await;

        for plan in [Plan::Redeploy, Plan::Decommission] {
            world.server.kill().await;
            world.lose_workspace().await;
            world.start_again().await;
            let operation = begin(plan, &world).await;
            let operation = world.ended(&operation).await;
            plan.is_done(&world, &operation).await;
        }
    })
    .await;
}

/// Nothing is known of the process of a program on another machine; it holds the lock of its state.
#[tokio::test]
async fn a_terraform_that_works_on_another_machine_is_waited_for() {
    let Some(mut world) = World::without_need_of_its_workspace(Ec2).await else { return };
    let operation = kill_at(Plan::Deploy, ("provision_instance", "terraform-apply"), &mut world).await;
    world.change("UPDATE calls SET boot_id = 'another machine'").await;
    world.lose_workspace().await;

    world.start_again().await;
    let said = "SELECT event FROM operation_events WHERE event LIKE '%waiting for another Terraform%'";
    eventually("the server to wait for the lock", async || !world.texts(said).await.is_empty()).await;
    world.failpoints.release("terraform-apply");

    let operation = world.ended(&operation).await;
    Plan::Deploy.is_done(&world, &operation).await;
    assert_eq!(
        world.calls("made"),
        world
            .aws
            .things()
            .into_iter()
            .filter(|it| it.starts_with("i-"))
            .map(|it| format!("instance {it}"))
            .collect::<Vec<_>>()
    );
}
