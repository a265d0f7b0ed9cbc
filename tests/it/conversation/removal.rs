//! Everything is taken down: one question, one operation each.

use serde_json::json;

use super::{talk, words};
use crate::world::azure::Azure;
use crate::world::{TargetKind, World, eventually, with};

const ALL: &str = "take everything down";

/// Deploys the repository `notes` under another name.
async fn deployed_as(world: &World, name: &str, namespace: &str) {
    let body = with(with(world.request_for("deploy"), "instance_name", name), "target_namespace", namespace);
    let answer = world.chat(&body).await;
    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
}

/// A world in which three applications run.
async fn three() -> World {
    let world = World::start().await;
    deployed_as(&world, "hello", "team").await;
    deployed_as(&world, "web", "demo").await;
    deployed_as(&world, "api", "demo").await;
    world
}

async fn actions(world: &World) -> Vec<String> {
    world.texts("SELECT action FROM operations ORDER BY id").await
}

#[tokio::test]
async fn everything_is_listed_asked_once_and_removed_by_an_operation_each() {
    let world = three().await;

    let asked = world.chat(&talk(&[ALL])).await;
    let before = actions(&world).await;
    let done = world.chat(&talk(&[ALL, asked.text(), "yes"])).await;

    assert!(asked.text().starts_with("**Shall I decommission these 3 deployments?**"), "{}", asked.text());
    for line in ["- `hello` in namespace `team`", "- `web` in namespace `demo`", "- `api` in namespace `demo`"] {
        assert!(asked.text().contains(line), "{line}: {}", asked.text());
    }
    assert_eq!(before, ["deploy"; 3]);
    assert_eq!(actions(&world).await[3..], ["decommission"; 3]);
    assert_eq!(done.state(), "succeeded", "{}", done.text());
    for line in ["**`hello` is gone.**", "**`web` is gone.**", "**`api` is gone.**", "**All 3 are gone.**"] {
        assert!(done.text().contains(line), "{line}: {}", done.text());
    }
    assert_eq!(world.leftovers().await, Vec::<String>::new());
    assert_eq!(world.clusters(), ["on-demand-infra"]);
}

#[tokio::test]
async fn a_stream_tells_of_all_of_them() {
    let world = three().await;
    let asked = world.chat(&talk(&[ALL])).await;

    let told = words(&super::chunks(&world, &talk(&[ALL, asked.text(), "yes"])).await);

    for line in ["**`hello`**", "**`web`**", "**`api`**", "- ✓", "**`api` is gone.**", "**All 3 are gone.**"] {
        assert!(told.contains(line), "{line}: {told}");
    }
}

#[tokio::test]
async fn only_what_is_in_the_namespace_is_removed() {
    let world = three().await;
    let sentence = "delete everything in namespace demo";

    let asked = world.chat(&talk(&[sentence])).await;
    let done = world.chat(&talk(&[sentence, asked.text(), "yes"])).await;

    assert!(asked.text().contains("these 2 deployments") && !asked.text().contains("`hello`"), "{}", asked.text());
    assert!(done.text().ends_with("**All 2 are gone.**"), "{}", done.text());
    assert_eq!(world.texts("SELECT name FROM deployments WHERE state <> 'removed'").await, ["hello"]);
}

#[tokio::test]
async fn a_cluster_that_is_to_go_goes_with_the_last_one_on_it() {
    let world = three().await;
    let sentence = "take everything down including the cluster";

    let asked = world.chat(&talk(&[sentence])).await;
    let done = world.chat(&talk(&[sentence, asked.text(), "yes"])).await;

    assert_eq!(asked.text().matches("and with it the kind cluster `on-demand-infra`").count(), 1, "{}", asked.text());
    assert!(done.text().ends_with("**All 3 are gone.**"), "{}", done.text());
    assert_eq!(world.clusters(), Vec::<String>::new());
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn an_instance_goes_with_the_last_one_on_it() {
    let world = World::on_instance().await;
    deployed_as(&world, "hello", "team").await;
    deployed_as(&world, "web", "demo").await;
    assert_eq!(world.target_kind, TargetKind::Ec2);
    let credentials = world.cloud_local_request("list")["aws_credentials"].clone();
    let ask = |turns: &[&str]| with(talk(turns), "aws_credentials", credentials.clone());

    let asked = world.chat(&ask(&[ALL])).await;
    let done = world.chat(&ask(&[ALL, asked.text(), "yes"])).await;

    assert_eq!(asked.text().matches("and with it the EC2 instance `box`").count(), 1, "{}", asked.text());
    assert!(done.text().ends_with("**All 2 are gone.**"), "{}", done.text());
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_kill_in_between_leaves_none_of_them() {
    let mut world = three().await;
    let asked = world.chat(&talk(&["remove all apps and the cluster"])).await;
    world.failpoints.hold("kube-delete-services");
    drop(world.begin(&talk(&["remove all apps and the cluster", asked.text(), "yes"])));
    eventually("all to be accepted", async || actions(&world).await.len() == 6).await;
    world.failpoints.reached("kube-delete-services").await;

    world.server.kill().await;
    world.failpoints.release("kube-delete-services");
    world.start_again().await;

    for id in world.texts("SELECT id FROM operations ORDER BY id").await {
        assert_eq!(world.ended(&id).await["state"], "succeeded");
    }
    assert_eq!(world.clusters(), Vec::<String>::new());
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn the_same_yes_sent_again_attaches_to_all_of_them() {
    let world = three().await;
    let asked = world.chat(&talk(&[ALL])).await;
    let yes = talk(&[ALL, asked.text(), "yes"]);
    world.failpoints.hold("kube-delete-services");
    let first = world.begin(&yes);
    eventually("all to be accepted", async || actions(&world).await.len() == 6).await;
    let second = world.begin(&yes);
    world.failpoints.reached("kube-delete-services").await;
    world.failpoints.release("kube-delete-services");

    let (first, second) = (first.await.unwrap().unwrap(), second.await.unwrap().unwrap());

    assert_eq!(first.text(), second.text());
    assert_eq!(actions(&world).await.len(), 6);
}

#[tokio::test]
async fn what_has_changed_since_the_question_is_asked_again() {
    let world = three().await;
    let asked = world.chat(&talk(&[ALL])).await;
    deployed_as(&world, "late", "demo").await;

    let again = world.chat(&talk(&[ALL, asked.text(), "yes"])).await;

    assert!(again.text().contains("these 4 deployments?** Something has changed since"), "{}", again.text());
    assert_eq!(actions(&world).await, ["deploy"; 4]);
}

#[tokio::test]
async fn one_that_is_busy_is_named_and_left_alone() {
    let world = three().await;
    world.failpoints.hold("rollout");
    let scaling = with(with(world.request_for("scale"), "instance_name", "hello"), "scale_replicas", 3);
    let scaled = world.begin(&scaling);
    eventually("the scale to begin", async || actions(&world).await.len() == 4).await;

    let asked = world.chat(&talk(&[ALL])).await;
    let done = world.chat(&talk(&[ALL, asked.text(), "yes"])).await;
    world.failpoints.release("rollout");

    assert!(asked.text().contains("- not `hello`: operation `op_"), "{}", asked.text());
    assert!(done.text().ends_with("**All 2 are gone.**"), "{}", done.text());
    assert_eq!(scaled.await.unwrap().unwrap().state(), "succeeded");
}

#[tokio::test]
async fn one_that_fails_keeps_no_other_from_going() {
    let world = three().await;
    let labels = world.kube.object("deployments", "team", "hello")["metadata"]["labels"].clone();
    world.kube.put("secrets", "elsewhere", "copy", json!({"metadata": {"labels": labels}}));
    let asked = world.chat(&talk(&[ALL])).await;

    let done = world.chat(&talk(&[ALL, asked.text(), "yes"])).await;

    assert_eq!(done.state(), "failed", "{}", done.text());
    assert!(done.text().contains("**2 of 3 are gone.** 1 could not be removed"), "{}", done.text());
    assert_eq!(world.texts("SELECT name FROM deployments WHERE state <> 'removed'").await, ["hello"]);
}

#[tokio::test]
async fn one_alone_is_removed_like_any_other_and_none_is_told() {
    let world = World::start().await;
    let nothing = world.chat(&talk(&[ALL])).await;
    world.deployed().await;

    let asked = world.chat(&talk(&[ALL])).await;
    let done = world.chat(&talk(&[ALL, asked.text(), "yes"])).await;

    assert!(nothing.text().starts_with("Nothing is deployed."), "{}", nothing.text());
    assert!(asked.text().starts_with("**Shall I decommission `notes`?**"), "{}", asked.text());
    assert_eq!(done.state(), "succeeded", "{}", done.text());
}

#[tokio::test]
async fn with_a_model_it_is_asked_in_our_words_too() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    deployed_as(&world, "hello", "team").await;
    deployed_as(&world, "web", "demo").await;

    let asked = world.chat(&talk(&[ALL])).await;
    let done = world.chat(&talk(&[ALL, asked.text(), "yes"])).await;

    assert!(asked.text().starts_with("**Shall I decommission these 2 deployments?**"), "{}", asked.text());
    assert!(done.text().ends_with("**All 2 are gone.**"), "{}", done.text());
}
