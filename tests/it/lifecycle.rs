//! What happens to an application after it was deployed.

use serde_json::{Value, json};

use crate::world::{Answer, World, with};

fn image(world: &World) -> Value {
    world.kube.object("deployments", "team", "notes")["spec"]["template"]["spec"]["containers"][0]["image"].clone()
}

async fn scale(world: &World, replicas: u16) -> Answer {
    world.chat(&with(world.request_for("scale"), "scale_replicas", replicas)).await
}

#[tokio::test]
async fn a_redeploy_rolls_the_newest_commit_out() {
    let world = World::start().await;
    let before = world.deployed().await;
    world.commit("notes", "new.txt", "new").await;

    let answer = world.chat(&world.request_for("redeploy")).await;

    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    assert_ne!(answer.body["deployment"]["commit"], before.body["deployment"]["commit"]);
    assert_eq!(image(&world), answer.body["deployment"]["image"]);
    assert_eq!(answer.body["deployment"]["node_port"], before.body["deployment"]["node_port"]);
}

#[tokio::test]
async fn a_redeploy_of_the_same_commit_changes_nothing() {
    let world = World::start().await;
    world.deployed().await;
    let before = world.kube.object("deployments", "team", "notes");

    let answer = world.chat(&world.request_for("redeploy")).await;

    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    assert_eq!(world.kube.object("deployments", "team", "notes"), before);
    assert_eq!((world.docker.builds(), world.kube.applied().len()), (1, 1));
}

#[tokio::test]
async fn a_redeploy_whose_pods_crash_goes_back_to_the_version_that_ran() {
    let world = World::start().await;
    let before = world.deployed().await;
    world.commit("notes", "new.txt", "new").await;
    world.kube.crash_new_images(true);

    let answer = world.chat(&world.request_for("redeploy")).await;

    assert_eq!(answer.state(), "failed", "{}", answer.text());
    assert!(answer.text().contains("the application says hello"), "{}", answer.text());
    assert_eq!(answer.body["deployment"]["state"], "running");
    assert_eq!(image(&world), before.body["deployment"]["image"]);
    assert_eq!(world.docker.images().len(), 1);
}

#[tokio::test]
async fn other_environment_variables_are_rolled_out_and_the_old_ones_are_kept_for_a_rollback() {
    let world = World::start().await;
    world.chat(&with(world.request_for("deploy"), "environment", json!({"COLOUR": "red"}))).await;
    let red = image_and_environment(&world);
    world.chat(&with(world.request_for("redeploy"), "environment", json!({"COLOUR": "blue"}))).await;
    let blue = image_and_environment(&world);

    let kept = world.chat(&world.request_for("redeploy")).await;
    assert_eq!(kept.state(), "succeeded");
    assert_eq!(image_and_environment(&world), blue);
    let back = world.chat(&with(world.request_for("rollback"), "rollback_to", "1")).await;

    assert_eq!(back.state(), "succeeded", "{}", back.text());
    assert_ne!(red, blue);
    assert_eq!(image_and_environment(&world), red);
}

#[tokio::test]
async fn an_environment_is_replaced_as_a_whole_and_taken_away_by_an_empty_one() {
    let world = World::start().await;
    let change = async |action: &str, environment: Value| {
        let answer = world.chat(&with(world.request_for(action), "environment", environment)).await;
        assert_eq!(answer.state(), "succeeded", "{}", answer.text());
        image_and_environment(&world)[1].clone()
    };
    let names = |environment: &Value| {
        let secret = environment[0]["secretRef"]["name"].as_str().unwrap();
        let variables = world.kube.object("secrets", "team", secret)["data"].clone();
        variables.as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };

    let both = change("deploy", json!({"COLOUR": "red", "SIZE": "big"})).await;
    let one = change("redeploy", json!({"SIZE": "small"})).await;
    let none = change("deploy", json!({})).await;

    assert_eq!((names(&both), names(&one)), (vec!["COLOUR".to_owned(), "SIZE".to_owned()], vec!["SIZE".to_owned()]));
    assert!(none.as_array().is_none_or(Vec::is_empty), "{none}");
}

fn image_and_environment(world: &World) -> Value {
    let container = &world.kube.object("deployments", "team", "notes")["spec"]["template"]["spec"]["containers"][0];
    json!([container["image"], container["envFrom"]])
}

#[tokio::test]
async fn a_rollback_runs_the_version_before_without_a_build() {
    let world = World::start().await;
    let first = world.deployed().await;
    world.commit("notes", "new.txt", "new").await;
    world.chat(&world.request_for("redeploy")).await;

    let answer = world.chat(&world.request_for("rollback")).await;

    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    assert_eq!(answer.body["deployment"]["commit"], first.body["deployment"]["commit"]);
    assert_eq!(image(&world), first.body["deployment"]["image"]);
    assert_eq!(world.docker.builds(), 2);
}

#[tokio::test]
async fn an_application_is_scaled_to_nothing_and_back() {
    let world = World::start().await;
    world.deployed().await;

    let none = scale(&world, 0).await;
    let pods = world.kube.objects().into_iter().filter(|it| it.starts_with("pods")).count();
    let two = scale(&world, 2).await;

    assert_eq!((none.state(), pods), ("succeeded", 0), "{}", none.text());
    assert_eq!(two.state(), "succeeded", "{}", two.text());
    assert_eq!(two.body["deployment"]["replicas"], 2);
    assert_eq!(world.kube.object("deployments", "team", "notes")["status"]["availableReplicas"], 2);
}

/// The pods of the application.
fn pods(world: &World) -> Vec<String> {
    world.kube.objects().into_iter().filter(|it| it.starts_with("pods")).collect()
}

#[tokio::test]
async fn a_restart_replaces_the_pods_by_new_ones_of_the_same_version() {
    let world = World::start().await;
    let deployed = world.chat(&with(world.request_for("deploy"), "scale_replicas", 2)).await;
    let before = pods(&world);

    let answer = world.chat(&world.request_for("restart")).await;
    let after = pods(&world);
    let again = world.chat(&world.request_for("restart")).await;
    let redeployed = world.chat(&world.request_for("redeploy")).await;

    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    assert!(answer.text().starts_with("**`notes` is restarted.**"), "{}", answer.text());
    assert_eq!((before.len(), after.len()), (2, 2));
    assert!(before.iter().all(|it| !after.contains(it)), "{before:?} {after:?}");
    assert_eq!(answer.body["deployment"]["image"], deployed.body["deployment"]["image"]);
    assert!(again.state() == "succeeded" && pods(&world).iter().all(|it| !after.contains(it)));
    assert!(redeployed.text().starts_with("**Nothing to do"), "{}", redeployed.text());
}

#[tokio::test]
async fn a_restart_whose_new_pods_do_not_serve_goes_back_to_those_that_did() {
    let world = World::with(&[("ROLLOUT_TIMEOUT_S", "1")]).await;
    world.deployed().await;
    let before = pods(&world);
    world.failpoints.hold("rollout");

    let answer = world.chat(&world.request_for("restart")).await;
    world.failpoints.release("rollout");

    assert_eq!(answer.state(), "failed", "{}", answer.text());
    assert_eq!(answer.body["deployment"]["state"], "running");
    assert_eq!(pods(&world), before);
}

#[tokio::test]
async fn there_is_nothing_to_restart_at_0_replicas_and_where_nothing_ran() {
    let world = World::start().await;
    let nothing = world.chat(&world.request_for("restart")).await;
    world.deployed().await;
    scale(&world, 0).await;

    let refused = world.chat(&world.request_for("restart")).await;
    let told = world.chat(&crate::world::say("restart notes")).await;

    assert_eq!((nothing.status, nothing.code()), (404, "deployment_not_found"));
    assert_eq!((refused.status, refused.code()), (409, "conflict"));
    assert!(told.text().contains("`notes` is scaled to 0") && told.text().contains("`scale notes to 1`"), "{told:?}");
}

#[tokio::test]
async fn a_restart_brings_a_failed_deployment_back() {
    let world = World::start().await;
    world.deployed().await;
    world.change("UPDATE deployments SET state = 'failed'").await;

    let answer = world.chat(&world.request_for("restart")).await;

    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    assert_eq!(answer.body["deployment"]["state"], "running");
}

#[tokio::test]
async fn a_decommission_gives_a_receipt_and_leaves_nothing_but_the_cluster() {
    let world = World::start().await;
    let deployed =
        world.chat(&with(world.request_for("deploy"), "environment", json!({"GREETING": "good morning"}))).await;
    let id = deployed.body["deployment"]["id"].as_str().unwrap().to_owned();

    let answer = world.chat(&world.request_for("decommission")).await;

    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    for thing in
        ["Deployment team/notes", "Service team/notes", "Secret team/notes-env-", "Namespace team", "image", "clone"]
    {
        assert!(answer.text().contains(thing), "{thing}: {}", answer.text());
    }
    assert_eq!(world.leftovers().await, Vec::<String>::new());
    assert!(world.path("clusters/on-demand-infra/ready").exists());
    assert_eq!(world.get(&format!("/v1/deployments/{id}")).await.body["state"], "removed");
    assert_eq!(world.chat(&world.request_for("decommission")).await.code(), "deployment_not_found");
}

#[tokio::test]
async fn a_decommission_leaves_the_namespace_and_what_is_not_ours_alone() {
    let world = World::start().await;
    world.deployed().await;
    world.kube.put("configmaps", "team", "theirs", json!({}));

    let answer = world.chat(&world.request_for("decommission")).await;

    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    assert_eq!(world.kube.objects(), ["configmaps team/theirs", "namespaces /team"]);
}

#[tokio::test]
async fn a_cluster_that_somebody_deleted_does_not_hinder_a_decommission() {
    let world = World::start().await;
    world.deployed().await;
    std::fs::remove_dir_all(world.path("clusters/on-demand-infra")).unwrap();

    let answer = world.chat(&world.request_for("decommission")).await;

    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_deploy_brings_back_what_somebody_deleted_on_the_cluster() {
    let world = World::start().await;
    world.deployed().await;
    for kind in ["deployments", "services", "replicasets"] {
        world.kube.take_away(kind, "team", "notes");
    }

    let answer = world.chat(&world.request_for("redeploy")).await;

    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    assert_eq!(image(&world), answer.body["deployment"]["image"]);
}

#[tokio::test]
async fn a_deploy_after_a_decommission_is_a_new_deployment() {
    let world = World::start().await;
    let first = world.deployed().await;
    world.chat(&world.request_for("decommission")).await;

    let second = world.deployed().await;

    assert_ne!(first.body["deployment"]["id"], second.body["deployment"]["id"]);
    assert_eq!(world.count("kind", "create cluster"), 1);
}
