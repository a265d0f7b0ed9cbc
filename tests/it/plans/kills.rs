//! kill -9 in the middle of each step: while a program works, while a socket has not answered.

use super::{Before, Ec2, Eks, EksWithDomain, LocalKind, Plan, TargetKind, begin, each};
use crate::world::{World, eventually};

/// A step, and the point in its middle.
pub(super) type KillPoint = (&'static str, &'static str);

pub(super) const DEPLOY: [KillPoint; 12] = [
    ("clone_repository", "git-ls-remote"),
    ("clone_repository", "git-fetch"),
    ("clone_repository", "git-checkout"),
    ("create_cluster", "kind-create"),
    ("build_image", "docker-build"),
    ("preload_base_image", "docker-import-base"),
    ("load_image", "docker-import"),
    ("apply_application", "kube-patch-services"),
    ("apply_application", "kube-patch-secrets"),
    ("apply_application", "kube-patch-deployments"),
    ("wait_for_rollout", "rollout"),
    ("verify_application", "page"),
];

pub(super) const REDEPLOY: [KillPoint; 6] = [
    ("clone_repository", "git-fetch"),
    ("build_image", "docker-build"),
    ("load_image", "docker-import"),
    ("apply_application", "kube-patch-deployments"),
    ("wait_for_rollout", "rollout"),
    ("verify_application", "page"),
];

pub(super) const DECOMMISSION: [KillPoint; 7] = [
    ("remove_application", "kube-delete-deployments"),
    ("remove_application", "kube-delete-services"),
    ("remove_application", "kube-delete-secrets"),
    ("remove_application", "kube-delete-namespaces"),
    ("remove_images", "docker-remove"),
    ("remove_images", "docker-remove-from-node"),
    ("delete_cluster", "kind-delete"),
];

/// Points in the middle of taking a deploy back.
pub(super) const UNDO: [KillPoint; 4] = [
    ("apply_application", "kube-delete-deployments"),
    ("apply_application", "kube-delete-namespaces"),
    ("load_image", "docker-remove-from-node"),
    ("build_image", "docker-remove"),
];

/// Kills the server in the middle and starts it again; the fakes go on meanwhile.
async fn kill_in_the_middle(plan: Plan, middle: KillPoint, world: &mut World) -> String {
    let operation = kill_at(plan, middle, world).await;
    world.failpoints.release(middle.1);
    world.start_again().await;
    operation
}

/// Kills the server in the middle, where the fakes are still held.
pub(super) async fn kill_at(plan: Plan, middle: KillPoint, world: &mut World) -> String {
    let operation = hold_at(plan, middle, world).await;
    world.server.kill().await;
    operation
}

/// Begins a plan and holds it in the middle.
pub(super) async fn hold_at(plan: Plan, (step, point): KillPoint, world: &World) -> String {
    world.failpoints.hold(point);
    // An image that is built already needs no base: the build waits until that is asked for.
    let base_first = point == "docker-import-base";
    if base_first {
        world.failpoints.hold("docker-build");
    }
    let operation = begin(plan, world).await;
    world.failpoints.reached(point).await;
    if base_first {
        world.failpoints.release("docker-build");
    }
    let names = [format!("{step} running"), format!("{step} undoing")];
    eventually(&format!("`{step}` to be at work"), async || {
        world.steps(&operation).await.iter().any(|it| names.contains(it))
    })
    .await;
    operation
}

async fn forwards(target_kind: TargetKind, plan: Plan, middle: KillPoint) {
    let mut world = plan.world(target_kind).await;

    let operation = kill_in_the_middle(plan, middle, &mut world).await;

    let operation = world.ended(&operation).await;
    plan.is_done(&world, &operation).await;
}

#[tokio::test]
async fn a_deploy_goes_on_after_a_kill_in_the_middle_of_any_step() {
    each(DEPLOY, async |middle| forwards(LocalKind, Plan::Deploy, middle).await).await;
}

#[tokio::test]
async fn a_redeploy_goes_on_after_a_kill_in_the_middle_of_any_step() {
    each(REDEPLOY, async |middle| forwards(LocalKind, Plan::Redeploy, middle).await).await;
}

#[tokio::test]
async fn a_restart_goes_on_after_a_kill_in_the_middle_of_any_step() {
    let middles = [
        ("restart_application", "kube-patch-deployments"),
        ("wait_for_rollout", "rollout"),
        ("verify_application", "page"),
    ];
    each(middles, async |middle| forwards(LocalKind, Plan::Restart, middle).await).await;
}

#[tokio::test]
async fn a_decommission_goes_on_after_a_kill_in_the_middle_of_any_step() {
    each(DECOMMISSION, async |middle| forwards(LocalKind, Plan::Decommission, middle).await).await;
}

#[tokio::test]
async fn old_versions_are_removed_also_after_a_kill_in_the_middle() {
    let mut world = World::with(&[("KEEP_VERSIONS", "1")]).await;
    world.deployed().await;
    world.commit("notes", "new.txt", "new").await;
    world.chat(&world.request_for("redeploy")).await;
    world.commit("notes", "new.txt", "newer").await;

    let operation = kill_in_the_middle(Plan::Redeploy, ("prune_versions", "docker-remove"), &mut world).await;

    let operation = world.ended(&operation).await;
    assert_eq!(operation["state"], "succeeded", "{operation:#}");
    assert!(world.docker.images().len() <= 2, "{:?}", world.docker.images());
    assert!(world.docker.images().contains(&operation["deployment"]["image"].as_str().unwrap().to_owned()));
    assert_eq!(world.unfinished_leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_deploy_that_is_taken_back_goes_on_after_a_kill_in_the_middle_of_any_undo() {
    each(UNDO, async |middle| {
        let mut world = Plan::Deploy.world(LocalKind).await;
        let before = Before::of(&world).await;
        world.kube.crash_new_images(true);

        let operation = kill_in_the_middle(Plan::Deploy, middle, &mut world).await;

        let operation = world.ended(&operation).await;
        Plan::Deploy.is_undone(&world, &operation, &before).await;
    })
    .await;
}

#[tokio::test]
async fn a_deploy_that_was_killed_and_then_fails_leaves_nothing_behind() {
    each(DEPLOY.into_iter().filter(|it| it.1 != "page" && it.1 != "rollout"), async |middle| {
        let mut world = Plan::Deploy.world(LocalKind).await;
        let before = Before::of(&world).await;
        world.kube.crash_new_images(true);

        let operation = kill_in_the_middle(Plan::Deploy, middle, &mut world).await;

        let operation = world.ended(&operation).await;
        Plan::Deploy.is_undone(&world, &operation, &before).await;
    })
    .await;
}

#[tokio::test]
async fn every_step_is_killed_in_its_middle_but_those_that_are_over_in_a_moment() {
    each(
        [(Plan::Deploy, DEPLOY.as_slice()), (Plan::Redeploy, &REDEPLOY), (Plan::Decommission, &DECOMMISSION)],
        async |(plan, middles)| {
            let world = plan.world(LocalKind).await;
            let operation = begin(plan, &world).await;
            let operation = world.ended(&operation).await;
            let names = operation["steps"].as_array().unwrap().iter().map(|it| it["step"].as_str().unwrap());

            let rest: Vec<&str> = names.filter(|name| middles.iter().all(|(step, _)| step != name)).collect();

            // They call nothing that could be held, or have nothing to do: `lines` kills at their beginning and their end.
            let expected: &[&str] = match plan {
                Plan::Deploy => &["analyse_repository", "prune_versions"],
                Plan::Redeploy => &["create_cluster", "analyse_repository", "preload_base_image", "prune_versions"],
                Plan::Decommission => &["remove_workspace", "verify_removal"],
                Plan::Scale | Plan::Restart | Plan::Rollback => &[],
            };
            assert_eq!(rest, expected);
        },
    )
    .await;
}

/// What runs on an instance only, or in another way there.
pub(super) const ON_INSTANCE: [KillPoint; 8] = [
    ("provision_instance", "terraform-init"),
    ("provision_instance", "terraform-apply"),
    ("bootstrap_host", "bootstrap"),
    ("create_cluster", "kind-create"),
    ("clone_repository", "git-fetch"),
    ("build_image", "docker-build"),
    ("load_image", "docker-import"),
    ("wait_for_rollout", "rollout"),
];

#[tokio::test]
async fn a_deploy_on_an_instance_goes_on_after_a_kill_in_the_middle_of_any_step() {
    each(ON_INSTANCE, async |middle| forwards(Ec2, Plan::Deploy, middle).await).await;
}

/// What runs for an application on EKS with a name of its own.
pub(super) const ON_CLUSTER: [KillPoint; 15] = [
    ("provision_repository", "terraform-init-ecr"),
    ("provision_repository", "terraform-apply-ecr"),
    ("provision_repository", "terraform-state-ecr"),
    ("clone_repository", "git-fetch"),
    ("build_image", "docker-build"),
    ("push_image", "docker-push"),
    ("provision_cluster", "terraform-init-cluster"),
    ("provision_cluster", "terraform-apply-cluster"),
    ("provision_cluster", "terraform-state-cluster"),
    ("request_certificate", "terraform-apply-certificate"),
    ("await_certificate", "certificate"),
    ("install_ingress", "helm-upgrade"),
    ("install_ingress", "balancer"),
    ("create_alias", "terraform-apply-alias"),
    ("apply_application", "kube-patch-ingresses"),
];

pub(super) const DECOMMISSION_ON_CLUSTER: [KillPoint; 8] = [
    ("remove_application", "kube-delete-deployments"),
    ("remove_application", "kube-delete-ingresses"),
    ("uninstall_ingress", "helm-uninstall"),
    ("uninstall_ingress", "balancer-goes"),
    ("remove_alias", "terraform-destroy-alias"),
    ("remove_certificate", "terraform-destroy-certificate"),
    ("destroy_repository", "terraform-destroy-ecr"),
    ("destroy_cluster", "terraform-destroy-cluster"),
];

#[tokio::test]
async fn a_deploy_on_eks_goes_on_after_a_kill_in_the_middle_of_any_step() {
    each(ON_CLUSTER, async |middle| forwards(EksWithDomain, Plan::Deploy, middle).await).await;
    forwards(Eks, Plan::Deploy, ("wait_for_rollout", "rollout")).await;
}

#[tokio::test]
async fn a_redeploy_on_eks_goes_on_after_a_kill_in_the_middle_of_any_step() {
    let middles = [("build_image", "docker-build"), ("push_image", "docker-push"), ("wait_for_rollout", "rollout")];
    each(middles, async |middle| forwards(Eks, Plan::Redeploy, middle).await).await;
}

#[tokio::test]
async fn a_decommission_of_an_eks_cluster_goes_on_after_a_kill_in_the_middle_of_any_step() {
    each(DECOMMISSION_ON_CLUSTER, async |middle| forwards(EksWithDomain, Plan::Decommission, middle).await).await;
}

/// Points in the middle of taking a deploy on EKS back.
pub(super) const UNDO_ON_CLUSTER: [KillPoint; 4] = [
    ("request_certificate", "terraform-destroy-certificate"),
    ("provision_cluster", "terraform-destroy-cluster"),
    ("provision_repository", "terraform-destroy-ecr"),
    ("install_ingress", "helm-uninstall"),
];

#[tokio::test]
async fn a_deploy_on_eks_that_is_taken_back_goes_on_after_a_kill_in_the_middle_of_any_undo() {
    each(UNDO_ON_CLUSTER, async |middle| {
        let mut world = Plan::Deploy.world(EksWithDomain).await;
        let before = Before::of(&world).await;
        world.failpoints.fail("terraform-apply-alias", "InvalidChangeBatch");

        let operation = kill_in_the_middle(Plan::Deploy, middle, &mut world).await;

        let operation = world.ended(&operation).await;
        Plan::Deploy.is_undone(&world, &operation, &before).await;
    })
    .await;
}

#[tokio::test]
async fn a_deploy_on_eks_that_was_killed_and_then_fails_leaves_nothing_behind() {
    each(ON_CLUSTER.into_iter().filter(|it| it.0 != "create_alias"), async |middle| {
        let mut world = Plan::Deploy.world(EksWithDomain).await;
        let before = Before::of(&world).await;
        world.failpoints.fail("terraform-apply-alias", "InvalidChangeBatch");

        let operation = kill_in_the_middle(Plan::Deploy, middle, &mut world).await;

        let operation = world.ended(&operation).await;
        Plan::Deploy.is_undone(&world, &operation, &before).await;
    })
    .await;
}
