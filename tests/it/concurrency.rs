//! Operations that run at the same time on one cluster.

use serde_json::Value;

use crate::world::{World, eventually, with};

/// A deploy of another repository to the same cluster.
pub(crate) async fn other(world: &World) -> Value {
    world.commit("other", "Dockerfile", "FROM base:1\nEXPOSE 9000\n").await;
    let body = with(world.request_for("deploy"), "github_repo_url", world.repository("other"));
    with(with(body, "instance_name", "other"), "target_namespace", "elsewhere")
}

/// Waits until an operation says so.
pub(crate) async fn says(world: &World, operation: &str, text: &str) {
    let sql = format!("SELECT event FROM operation_events WHERE operation_id = '{operation}'");
    eventually(text, async || world.texts(&sql).await.iter().any(|it| it.contains(text))).await;
}

#[tokio::test]
async fn two_deploys_at_once_make_one_cluster() {
    let world = World::start().await;
    let second = other(&world).await;
    world.failpoints.hold("kind-create");
    let first = world.begin(&world.request_for("deploy"));
    world.failpoints.reached("kind-create").await;
    let second = world.begin(&second);
    eventually("the second operation", async || world.texts("SELECT id FROM operations").await.len() == 2).await;
    says(&world, &world.latest().await, "another operation works on the cluster").await;
    world.failpoints.release("kind-create");

    let (first, second) = (first.await.unwrap().unwrap(), second.await.unwrap().unwrap());

    assert_eq!((first.state(), second.state()), ("succeeded", "succeeded"));
    assert_ne!(first.body["deployment"]["node_port"], second.body["deployment"]["node_port"]);
    assert_eq!(world.count("kind", "create cluster"), 1);
    assert_eq!(world.unfinished_leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_deploy_that_fails_leaves_the_cluster_that_it_makes_to_the_other() {
    let world = World::start().await;
    let second = other(&world).await;
    world.failpoints.hold("kind-create");
    world.failpoints.fail("docker-build", "The command '/bin/sh -c make' returned a non-zero code: 2");
    let first = world.begin(&world.request_for("deploy"));
    world.failpoints.reached("kind-create").await;
    says(&world, &world.latest().await, "step_failed").await;
    world.failpoints.heal("docker-build");
    let second = world.begin(&second);
    eventually("the second operation", async || world.texts("SELECT id FROM operations").await.len() == 2).await;
    says(&world, &world.latest().await, "another operation works on the cluster").await;
    world.failpoints.release("kind-create");

    let (first, second) = (first.await.unwrap().unwrap(), second.await.unwrap().unwrap());

    assert_eq!((first.state(), second.state()), ("undone", "succeeded"), "{}", second.text());
    assert_eq!(world.count("kind", "create cluster"), 1);
    assert_eq!((world.docker.images().len(), world.docker.node_images().len()), (1, 1));
}

#[tokio::test]
async fn a_deploy_that_is_cancelled_while_it_makes_the_cluster_leaves_that_to_the_other() {
    let world = World::start().await;
    let second = other(&world).await;
    world.failpoints.hold("kind-create");
    let first = world.begin(&world.request_for("deploy"));
    world.failpoints.reached("kind-create").await;
    let operation = world.latest().await;
    let second = world.begin(&second);
    eventually("the second operation", async || world.texts("SELECT id FROM operations").await.len() == 2).await;
    says(&world, &world.latest().await, "another operation works on the cluster").await;

    world.post(&format!("/v1/operations/{operation}/cancel")).await;

    let first = first.await.unwrap().unwrap();
    world.failpoints.release("kind-create");
    let second = second.await.unwrap().unwrap();
    assert_eq!((first.state(), second.state()), ("cancelled", "succeeded"), "{}", second.text());
    assert_eq!((world.count("kind", "create cluster"), world.count("kind", "delete cluster")), (2, 1));
    assert_eq!(world.unfinished_leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn two_deployments_of_one_commit_share_its_image_until_the_last_one_goes() {
    let world = World::start().await;
    world.deployed().await;
    let twin = with(world.request_for("deploy"), "instance_name", "twin");
    assert_eq!(world.chat(&twin).await.state(), "succeeded");

    world.chat(&world.request_for("decommission")).await;
    let shared = (world.docker.images().len(), world.docker.node_images().len());
    let last = world.chat(&with(world.request_for("decommission"), "instance_name", "twin")).await;

    assert_eq!(shared, (1, 1));
    assert_eq!(world.docker.builds(), 1);
    assert_eq!(last.state(), "succeeded", "{}", last.text());
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_deploy_that_fails_keeps_the_image_that_another_one_is_about_to_run() {
    let world = World::start().await;
    world.failpoints.hold("kube-patch-services");
    let first = world.begin(&world.request_for("deploy"));
    world.failpoints.reached("kube-patch-services").await;
    let twin = with(with(world.request_for("deploy"), "instance_name", "twin"), "target_namespace", "default");
    let second = world.begin(&twin);
    eventually("the second operation", async || world.texts("SELECT id FROM operations").await.len() == 2).await;
    says(&world, &world.latest().await, "\"step_started\",\"step\":\"apply_application\"").await;

    let operation = world.latest().await;
    world.post(&format!("/v1/operations/{operation}/cancel")).await;
    let second = second.await.unwrap().unwrap();
    world.failpoints.release("kube-patch-services");

    let first = first.await.unwrap().unwrap();
    assert_eq!((first.state(), second.state()), ("succeeded", "cancelled"), "{}", first.text());
    assert_eq!((world.docker.images().len(), world.docker.node_images().len()), (1, 1));
}

#[tokio::test]
async fn a_cluster_that_others_use_is_not_deleted() {
    let world = World::start().await;
    world.deployed().await;
    let second = other(&world).await;
    assert_eq!(world.chat(&second).await.state(), "succeeded");

    let answer = world.chat(&with(world.request_for("decommission"), "delete_cluster", true)).await;

    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    assert!(answer.text().contains("other deployments run on it"), "{}", answer.text());
    assert!(world.path("clusters/on-demand-infra/ready").exists());
}

#[tokio::test]
async fn two_deploys_of_one_commit_that_fail_together_leave_nothing_behind() {
    let world = World::start().await;
    world.kube.crash_new_images(true);
    world.failpoints.hold("kube-patch-services");
    let first = world.begin(&world.request_for("deploy"));
    world.failpoints.reached("kube-patch-services").await;
    let second =
        world.begin(&with(with(world.request_for("deploy"), "instance_name", "twin"), "target_namespace", "default"));
    eventually("the second operation", async || world.texts("SELECT id FROM operations").await.len() == 2).await;
    says(&world, &world.latest().await, "\"step_started\",\"step\":\"apply_application\"").await;
    world.failpoints.release("kube-patch-services");

    let (first, second) = (first.await.unwrap().unwrap(), second.await.unwrap().unwrap());

    assert_eq!((first.state(), second.state()), ("undone", "undone"));
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn many_who_ask_whether_the_server_is_ready_make_it_look_once() {
    let world = World::start().await;
    let before = world.count("kind", "version");

    let answers = futures_util::future::join_all((0..30).map(|_| world.get("/health/ready"))).await;

    assert!(answers.iter().all(|it| it.body["checks"].as_array().unwrap().len() == 3), "{answers:?}");
    assert!(world.count("kind", "version") - before <= 1, "{:?}", world.calls("kind"));
}
