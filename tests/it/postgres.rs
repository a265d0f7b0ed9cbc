//! The stories that depend on the store, on PostgreSQL.

use crate::world::{World, answer, with};

#[tokio::test]
async fn the_whole_life_of_an_application_with_kills_in_between() {
    let mut world = World::on_postgres().await;
    let body = world.request_for("deploy");
    world.failpoints.hold("docker-build");
    drop(world.begin(&body));
    world.failpoints.reached("docker-build").await;

    world.kill_and_start_again().await;
    let second = world.second_server().await.expect("a second server does not start");
    world.failpoints.release("docker-build");
    let deployed = world.chat(&body).await;
    let scaled =
        answer(world.post_chat(&with(world.request_for("scale"), "scale_replicas", 2)).header("idempotency-key", "k"))
            .await;
    world.kill_and_start_again().await;
    let again =
        answer(world.post_chat(&with(world.request_for("scale"), "scale_replicas", 2)).header("idempotency-key", "k"))
            .await;
    let removed = world.chat(&world.request_for("decommission")).await;

    assert!(second.contains("another server already works on the store"), "{second}");
    assert_eq!(deployed.state(), "succeeded", "{}", deployed.text());
    assert_eq!(scaled.state(), "succeeded", "{}", scaled.text());
    assert_eq!(again, scaled);
    assert_eq!(removed.state(), "succeeded", "{}", removed.text());
    assert_eq!(world.texts("SELECT id FROM operations").await.len(), 3);
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_database_that_is_stopped_ends_the_server_and_the_next_one_goes_on() {
    let mut world = World::on_postgres().await;
    world.failpoints.hold("docker-build");
    drop(world.begin(&world.request_for("deploy")));
    world.failpoints.reached("docker-build").await;
    let operation = world.latest().await;

    world.postgres.as_ref().unwrap().stop().await;
    world.failpoints.release("docker-build");
    let status = world.server.ended().await;
    let done = (world.kube.objects(), world.docker.node_images());
    world.postgres.as_mut().unwrap().start_again().await;
    world.start_again().await;

    assert!(!status.success());
    assert_eq!(done, (Vec::new(), Vec::new()));
    assert_eq!(world.ended(&operation).await["state"], "succeeded");
}

#[tokio::test]
async fn a_deploy_that_fails_leaves_nothing_behind() {
    let world = World::on_postgres().await;
    world.kube.crash_new_images(true);

    let answer = world.chat(&world.request_for("deploy")).await;

    assert_eq!(answer.state(), "undone", "{}", answer.text());
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}
