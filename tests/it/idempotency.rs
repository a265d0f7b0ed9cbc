//! The same request, sent again, is carried out once.

use serde_json::Value;

use crate::world::{Answer, World, answer, with};

async fn send(world: &World, body: &Value, header: (&str, &str)) -> Answer {
    answer(world.post_chat(body).header(header.0, header.1)).await
}

async fn operations(world: &World) -> usize {
    world.texts("SELECT id FROM operations").await.len()
}

#[tokio::test]
async fn fifty_identical_requests_at_once_are_one_operation_with_fifty_equal_answers() {
    let world = World::start().await;
    world.failpoints.hold("kind-create");
    let sent: Vec<_> = (0..50).map(|_| world.begin(&world.request_for("deploy"))).collect();
    world.failpoints.reached("kind-create").await;
    world.failpoints.release("kind-create");

    let answers = futures_util::future::join_all(sent).await;

    let answers: Vec<Answer> = answers.into_iter().map(|it| it.unwrap().unwrap()).collect();
    assert_eq!(answers[0].state(), "succeeded");
    assert!(answers.iter().all(|it| *it == answers[0]));
    assert_eq!(operations(&world).await, 1);
    assert_eq!(world.docker.builds(), 1);
}

#[tokio::test]
async fn a_key_in_the_header_gets_the_same_answer_also_after_a_restart() {
    let mut world = World::start().await;
    let body = world.request_for("deploy");
    let key = ("idempotency-key", "monday-1");

    let first = send(&world, &body, key).await;
    let again = send(&world, &body, key).await;
    world.kill_and_start_again().await;
    let later = send(&world, &body, key).await;
    let other = send(&world, &with(body.clone(), "scale_replicas", 2), key).await;

    assert_eq!(first.state(), "succeeded", "{}", first.text());
    assert_eq!((&again, &later), (&first, &first));
    assert_eq!((other.status, other.code()), (422, "idempotency_key_reused"));
    assert_eq!(operations(&world).await, 1);
}

#[tokio::test]
async fn a_key_attaches_to_an_operation_that_outlived_a_kill() {
    let mut world = World::start().await;
    let body = world.request_for("deploy");
    world.failpoints.hold("docker-build");
    drop(world.begin(&body));
    world.failpoints.reached("docker-build").await;
    world.kill_and_start_again().await;
    world.failpoints.release("docker-build");

    let attached = world.chat(&body).await;

    assert_eq!(attached.state(), "succeeded", "{}", attached.text());
    assert_eq!(operations(&world).await, 1);
}

#[tokio::test]
async fn without_a_key_only_a_declared_retry_attaches_to_what_has_ended() {
    let world = World::start().await;
    let body = world.request_for("deploy");
    let first = world.chat(&body).await;

    let retry = send(&world, &body, ("x-stainless-retry-count", "1")).await;
    let new = world.chat(&body).await;

    assert_eq!(retry, first);
    assert_ne!(new.operation(), first.operation());
}

#[tokio::test]
async fn a_retry_does_not_attach_once_a_later_operation_touched_the_deployment() {
    let world = World::start().await;
    let first = world.deployed().await;
    world.chat(&world.request_for("decommission")).await;

    let retry = send(&world, &world.request_for("deploy"), ("x-stainless-retry-count", "1")).await;

    assert_eq!(retry.state(), "succeeded", "{}", retry.text());
    assert_ne!(retry.operation(), first.operation());
}

#[tokio::test]
async fn a_dry_run_uses_no_key_up() {
    let world = World::start().await;
    let key = ("idempotency-key", "monday-2");

    let plan = send(&world, &with(world.request_for("deploy"), "dry_run", true), key).await;
    let real = send(&world, &world.request_for("deploy"), key).await;

    assert!(plan.body.get("operation").is_none(), "{plan:?}");
    assert_eq!(real.state(), "succeeded", "{real:?}");
}

#[tokio::test]
async fn a_busy_deployment_is_refused_and_the_operation_is_named() {
    let world = World::start().await;
    world.deployed().await;
    world.commit("notes", "new.txt", "new").await;
    world.failpoints.hold("docker-build");
    let running = world.begin(&world.request_for("redeploy"));
    world.failpoints.reached("docker-build").await;

    let refused = world.chat(&world.request_for("decommission")).await;
    world.failpoints.release("docker-build");

    let operation = running.await.unwrap().unwrap().operation();
    assert_eq!((refused.status, refused.code()), (409, "deployment_busy"));
    assert!(refused.body["error"]["message"].as_str().unwrap().contains(&operation), "{refused:?}");
}

#[tokio::test]
async fn a_client_that_hangs_up_cancels_nothing() {
    let world = World::start().await;
    world.failpoints.hold("docker-build");
    let client = world.begin(&world.request_for("deploy"));
    world.failpoints.reached("docker-build").await;
    let operation = world.latest().await;

    client.abort();
    world.failpoints.release("docker-build");

    assert_eq!(world.ended(&operation).await["state"], "succeeded");
}
