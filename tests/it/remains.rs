//! What AWS still has of a target when it goes: also what Terraform does not know, what AWS made anew, and what nobody may
//! ask for.

use crate::world::{World, with};

const NOTHING: Vec<String> = Vec::new();

/// The target of the only deployment.
async fn target(world: &World) -> String {
    world.texts("SELECT target_id FROM deployments").await.remove(0)
}

#[tokio::test]
async fn what_terraform_does_not_know_of_a_cluster_goes_with_it() {
    let world = World::on_cluster().await;
    world.deployed().await;
    let target = target(&world).await;
    let role = format!("role-box-{target}-node");
    // A log group that EKS made again, a key, and the role of a call that died.
    for thing in [&role, "log-%aws%eks%box%cluster", "key-0a1b"] {
        world.aws.add_thing(thing, &target);
    }
    world.aws.add_thing("role-somebody", "");
    world.aws.add_thing("log-%aws%eks%box%other", "");

    let gone = world.chat(&world.request_for("decommission")).await;

    assert_eq!(gone.state(), "succeeded", "{}", gone.text());
    assert_eq!(world.aws.things(), ["log-%aws%eks%box%other", "role-somebody"]);
    assert!(gone.text().contains(&format!("IAM role `box-{target}-node`")), "{}", gone.text());
    assert!(gone.text().contains("log group `/aws/eks/box/cluster`"), "{}", gone.text());
}

#[tokio::test]
async fn a_log_group_that_is_older_than_the_cluster_is_somebody_elses() {
    let world = World::on_cluster().await;
    world.aws.add_thing("log-%aws%eks%box%cluster", "");
    world.deployed().await;

    let gone = world.chat(&world.request_for("decommission")).await;

    assert_eq!(gone.state(), "succeeded", "{}", gone.text());
    assert_eq!(world.aws.things(), ["log-%aws%eks%box%cluster"]);
}

#[tokio::test]
async fn a_list_of_tags_that_is_late_holds_nothing_up_and_what_it_alone_knows_is_named() {
    let world = World::on_cluster().await;
    world.deployed().await;
    let arn = |rest: &str| format!("arn:aws:{rest}");
    for gone in ["logs:eu-central-1:111122223333:log-group:/gone", "kms:eu-central-1:111122223333:key/gone"] {
        world.aws.list_as_tagged(&arn(gone));
    }
    let unknown = arn("sqs:eu-central-1:111122223333:queue");
    world.aws.list_as_tagged(&unknown);

    let gone = world.chat(&world.request_for("decommission")).await;

    assert_eq!(gone.state(), "succeeded", "{}", gone.text());
    assert!(gone.text().contains(&format!("listed with its tag, maybe gone: {unknown}")), "{}", gone.text());
    assert!(!gone.text().contains("/gone"), "{}", gone.text());
}

#[tokio::test]
async fn what_the_credentials_may_not_ask_is_named_and_holds_nothing_up() {
    let world = World::on_cluster().await;
    world.deployed().await;
    world.aws.refuse("GetResources", "AccessDeniedException");
    world.aws.refuse("ListRoles", "AccessDenied");

    let gone = world.chat(&world.request_for("decommission")).await;

    assert_eq!(gone.state(), "succeeded", "{}", gone.text());
    let named = "not asked, as these credentials may not: iam:ListRoles, tag:GetResources";
    assert!(gone.text().contains(named), "{}", gone.text());
    assert_eq!(world.aws.things(), NOTHING);
}

#[tokio::test]
async fn a_role_that_an_interrupted_call_left_does_not_block_the_next_deploy() {
    let world = World::on_cluster().await;
    world.deployed().await;
    let target = target(&world).await;
    world.chat(&world.request_for("decommission")).await;
    world.aws.add_thing(&format!("role-box-{target}-cluster"), &target);

    let again = world.chat(&world.request_for("deploy")).await;

    assert_eq!(again.state(), "succeeded", "{}", again.text());
    assert!(!world.aws.things().iter().any(|it| it.starts_with("role-")), "{:?}", world.aws.things());
}

#[tokio::test]
async fn a_state_is_kept_until_terraform_agrees_that_nothing_is_left() {
    let world = World::on_named_cluster().await;
    let deploy = with(world.request_for("deploy"), "keep_target", true);
    assert_eq!(world.chat(&deploy).await.state(), "succeeded");
    for module in ["alias", "certificate", "ecr", "cluster"] {
        world.failpoints.fail(&format!("terraform-destroy-{module}"), "a provider that does not start");
    }

    for module in ["alias", "certificate", "ecr", "cluster"] {
        let failed = world.chat(&world.request_for("decommission")).await;
        assert_eq!(failed.state(), "failed", "{module}: {}", failed.text());
        assert!(failed.text().contains("provider that does not start"), "{}", failed.text());
        assert!(world.terraform_states().await > 0, "{module}");
        world.failpoints.heal(&format!("terraform-destroy-{module}"));
    }
    let gone = world.chat(&world.request_for("decommission")).await;

    assert_eq!(gone.state(), "succeeded", "{}", gone.text());
    assert_eq!((world.terraform_states().await, world.aws.things()), (0, NOTHING));
    assert_eq!(world.leftovers().await, NOTHING);
}
