//! Each step fails for good, one after another, and everything that the plan did is taken back.

use std::fs;

use serde_json::{Value, json};

use super::{Before, Ec2, Eks, EksWithDomain, LocalKind, Plan, TargetKind, each};
use crate::world::World;

/// A step, and how to make it fail.
type StepFailure = (&'static str, fn(&World));

const ROLL_OUT: [StepFailure; 6] = [
    ("clone_repository", |world| world.failpoints.fail("git-fetch", "fatal: the remote end hung up: access denied")),
    ("build_image", |world| {
        world.failpoints.fail("docker-build", "The command '/bin/sh -c make' returned a non-zero code: 2");
    }),
    ("load_image", |world| {
        world.failpoints.fail("docker-import", "ctr: the content is broken");
        world.failpoints.fail("kind-load", "ERROR: the node does not take it");
    }),
    ("apply_application", |world| world.failpoints.fail("kube-patch-deployments", "forbidden by a policy")),
    ("wait_for_rollout", |world| world.kube.crash_new_images(true)),
    ("verify_application", |world| world.failpoints.hold("docker-unmapped")),
];

const DECOMMISSION: [StepFailure; 5] = [
    ("remove_application", |world| world.failpoints.fail("kube-delete-services", "forbidden by a policy")),
    ("remove_images", |world| world.failpoints.fail("docker-remove", "conflict: a container uses it")),
    ("remove_workspace", |world| {
        for deployment in fs::read_dir(world.path("workspace/deployments")).unwrap() {
            let folder = deployment.unwrap().path();
            fs::remove_dir_all(&folder).unwrap();
            fs::write(folder, "not a folder").unwrap();
        }
    }),
    ("verify_removal", |world| {
        let labels = world.kube.object("deployments", "team", "notes")["metadata"]["labels"].clone();
        world.kube.put("secrets", "elsewhere", "copy", json!({"metadata": {"labels": labels}}));
    }),
    ("delete_cluster", |world| world.failpoints.fail("kind-delete", "ERROR: the node does not stop")),
];

/// Heals everything that a break can be.
fn heal(world: &World) {
    for point in [
        "git-fetch",
        "docker-build",
        "docker-import",
        "kind-load",
        "kube-patch-deployments",
        "kube-delete-services",
        "docker-remove",
        "kind-delete",
        "kind-create",
        "terraform-apply",
        "terraform-apply-ecr",
        "terraform-apply-cluster",
        "terraform-apply-certificate",
        "terraform-apply-alias",
        "terraform-destroy-alias",
        "terraform-destroy-ecr",
        "docker-push",
        "helm-upgrade",
        "helm-uninstall",
        "kube-patch-ingresses",
        "bootstrap",
    ] {
        world.failpoints.heal(point);
    }
    world.failpoints.release("docker-unmapped");
    world.kube.crash_new_images(false);
    world.kube.take_away("secrets", "elsewhere", "copy");
    for deployment in fs::read_dir(world.path("workspace/deployments")).into_iter().flatten().flatten() {
        if deployment.path().is_file() {
            fs::remove_file(deployment.path()).unwrap();
        }
    }
}

async fn break_and_heal(target_kind: TargetKind, plan: Plan, (step, break_it): StepFailure) {
    let world = plan.world(target_kind).await;
    let before = Before::of(&world).await;
    break_it(&world);

    let answer = world.chat(&plan.request(&world)).await;
    let operation = world.ended(&answer.operation()).await;

    let events = world.events(&answer.operation()).await;
    // Steps that ran beside it were cancelled.
    let failed = events.iter().filter(|it| it["type"] == "step_failed" && it["failure"]["code"] != "cancelled");
    let failed: Vec<&Value> = failed.map(|it| &it["step"]).collect();
    assert_eq!(failed, [step], "{plan:?}: {operation:#}");
    if plan == Plan::Decommission {
        assert_eq!(operation["state"], "failed", "{plan:?} {step}: {operation:#}");
        assert_eq!(operation["deployment"]["state"], "failed");
    } else {
        plan.is_undone(&world, &operation, &before).await;
    }

    heal(&world);
    let answer = world.chat(&plan.request(&world)).await;
    let operation = world.ended(&answer.operation()).await;
    assert_eq!(operation["state"], "succeeded", "{plan:?} after {step} was healed: {operation:#}");
    assert!(plan != Plan::Decommission || world.leftovers().await.is_empty(), "{step}: {:?}", world.leftovers().await);
}

#[tokio::test]
async fn a_deploy_that_breaks_at_any_step_leaves_nothing_behind_and_can_be_sent_again() {
    each(ROLL_OUT, async |case| break_and_heal(LocalKind, Plan::Deploy, case).await).await;
}

#[tokio::test]
async fn a_cluster_that_cannot_be_made_leaves_nothing_behind_and_the_deploy_can_be_sent_again() {
    break_and_heal(
        LocalKind,
        Plan::Deploy,
        ("create_cluster", |world| world.failpoints.fail("kind-create", "ERROR: failed to init node with kubeadm")),
    )
    .await;
}

#[tokio::test]
async fn a_repository_that_cannot_be_built_leaves_nothing_behind() {
    let world = World::start().await;
    world.commit("notes", "Dockerfile", "FROM\n").await;

    let answer = world.chat(&world.request_for("deploy")).await;

    assert_eq!(answer.state(), "undone", "{}", answer.text());
    assert!(world.steps(&answer.operation()).await.contains(&"build_image pending".to_owned()));
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_redeploy_that_breaks_at_any_step_goes_back_to_what_ran() {
    each(ROLL_OUT, async |case| break_and_heal(LocalKind, Plan::Redeploy, case).await).await;
}

#[tokio::test]
async fn a_rollback_a_scale_or_a_restart_that_breaks_goes_back_to_what_ran() {
    let last = ROLL_OUT[5];
    each([Plan::Rollback, Plan::Scale, Plan::Restart], async |plan| break_and_heal(LocalKind, plan, last).await).await;
}

#[tokio::test]
async fn a_decommission_that_breaks_at_any_step_can_be_sent_again() {
    each(DECOMMISSION, async |case| break_and_heal(LocalKind, Plan::Decommission, case).await).await;
}

/// What breaks on an instance only.
const ON_INSTANCE: [StepFailure; 2] = [
    ("provision_instance", |world| {
        world.failpoints.fail("terraform-apply", "AuthorizeSecurityGroupIngress: UnauthorizedOperation");
    }),
    ("bootstrap_host", |world| {
        world.failpoints.fail("bootstrap", "error: the user it may not use sudo without a password");
    }),
];

#[tokio::test]
async fn a_deploy_on_an_instance_that_breaks_at_any_step_leaves_nothing_behind_and_can_be_sent_again() {
    each(ROLL_OUT.into_iter().chain(ON_INSTANCE), async |case| {
        break_and_heal(Ec2, Plan::Deploy, case).await;
    })
    .await;
}

#[tokio::test]
async fn a_redeploy_on_an_instance_that_breaks_at_any_step_goes_back_to_what_ran() {
    each(ROLL_OUT, async |case| break_and_heal(Ec2, Plan::Redeploy, case).await).await;
}

/// What breaks on EKS only.
const ON_CLUSTER: [StepFailure; 7] = [
    ("provision_repository", |world| world.failpoints.fail("terraform-apply-ecr", "LimitExceededException: no more")),
    ("push_image", |world| world.failpoints.fail("docker-push", "denied: not authorized to perform ecr:PutImage")),
    ("provision_cluster", |world| world.failpoints.fail("terraform-apply-cluster", "AccessDeniedException: eks")),
    ("request_certificate", |world| {
        world.failpoints.fail("terraform-apply-certificate", "LimitExceededException: acm");
    }),
    ("install_ingress", |world| world.failpoints.fail("helm-upgrade", "Error: values don't meet the specifications")),
    ("create_alias", |world| world.failpoints.fail("terraform-apply-alias", "InvalidChangeBatch: no such zone")),
    ("apply_application", |world| world.failpoints.fail("kube-patch-ingresses", "forbidden by a policy")),
];

#[tokio::test]
async fn a_deploy_on_eks_that_breaks_at_any_step_leaves_nothing_behind_and_can_be_sent_again() {
    each(ON_CLUSTER, async |case| break_and_heal(EksWithDomain, Plan::Deploy, case).await).await;
    break_and_heal(Eks, Plan::Deploy, ROLL_OUT[4]).await;
}

#[tokio::test]
async fn a_redeploy_on_eks_that_breaks_at_any_step_goes_back_to_what_ran() {
    each([ROLL_OUT[0], ROLL_OUT[1], ON_CLUSTER[1], ROLL_OUT[3], ROLL_OUT[4]], async |case| {
        break_and_heal(Eks, Plan::Redeploy, case).await;
    })
    .await;
}

/// What breaks when a cluster goes.
const DECOMMISSION_ON_CLUSTER: [StepFailure; 4] = [
    ("remove_application", |world| world.failpoints.fail("kube-delete-services", "forbidden by a policy")),
    ("uninstall_ingress", |world| {
        world.failpoints.fail("helm-uninstall", "Error: timed out waiting for the condition");
    }),
    ("remove_alias", |world| {
        world.failpoints.fail("terraform-destroy-alias", "AccessDenied: ChangeResourceRecordSets");
    }),
    ("remove_images", |world| world.failpoints.fail("docker-remove", "conflict: a container uses it")),
];

#[tokio::test]
async fn a_decommission_of_an_eks_cluster_that_breaks_at_any_step_can_be_sent_again() {
    each(DECOMMISSION_ON_CLUSTER, async |case| break_and_heal(EksWithDomain, Plan::Decommission, case).await).await;
}
