//! Stopping, dying and starting again; two servers; a store that goes away.

use std::time::Duration;

use crate::world::{World, eventually};

#[tokio::test]
async fn a_server_that_is_asked_to_stop_ends_its_step_and_the_next_one_goes_on() {
    let mut world = World::start().await;
    world.failpoints.hold("docker-build");
    let client = world.begin(&world.request_for("deploy"));
    world.failpoints.reached("docker-build").await;
    let operation = world.latest().await;

    let failpoints = world.failpoints.clone();
    let release = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        failpoints.release("docker-build");
    });
    let status = world.server.terminate().await;
    release.await.unwrap();

    let answer = client.await.unwrap().expect("who waits is told before the server ends");
    assert!(status.success(), "{status}");
    assert_eq!(answer.state(), "running", "{answer:?}");
    assert!(world.docker.node_images().is_empty());
    world.start_again().await;
    assert_eq!(world.ended(&operation).await["state"], "succeeded");
    assert_eq!(world.docker.builds(), 1);
}

#[tokio::test]
async fn a_step_that_takes_longer_than_the_grace_period_is_done_again_by_the_next_server() {
    let mut world = World::with(&[("SHUTDOWN_GRACE_S", "1")]).await;
    world.failpoints.hold("docker-build");
    drop(world.begin(&world.request_for("deploy")));
    world.failpoints.reached("docker-build").await;
    let operation = world.latest().await;

    let status = world.server.terminate().await;
    world.failpoints.release("docker-build");
    world.start_again().await;

    assert!(status.success(), "{status}");
    assert_eq!(world.ended(&operation).await["state"], "succeeded");
}

#[tokio::test]
async fn a_kind_that_died_with_the_server_leaves_no_half_made_cluster() {
    let mut world = World::start().await;
    world.failpoints.hold("kind-create");
    drop(world.begin(&world.request_for("deploy")));
    world.failpoints.reached("kind-create").await;
    let operation = world.latest().await;
    eventually("kind to be the only program", async || world.program_groups().len() == 1).await;

    world.server.kill().await;
    world.kill_programs();
    world.failpoints.release("kind-create");
    world.start_again().await;

    assert_eq!(world.ended(&operation).await["state"], "succeeded");
    assert_eq!((world.count("kind", "create cluster"), world.count("kind", "delete cluster")), (2, 1));
    assert_eq!(world.unfinished_leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_cluster_that_is_made_anew_gets_the_image_that_the_first_one_had() {
    for server_dies_too in [true, false] {
        let mut world = World::start().await;
        world.failpoints.hold("kind-create");
        drop(world.begin(&world.request_for("deploy")));
        eventually("the image to be loaded", async || {
            let events = world.texts("SELECT event FROM operation_events WHERE event LIKE '%load_image%'").await;
            events.iter().any(|it| it.contains("step_succeeded"))
        })
        .await;
        let operation = world.latest().await;

        if server_dies_too {
            world.server.kill().await;
        }
        world.kill_programs();
        world.failpoints.release("kind-create");
        if server_dies_too {
            world.start_again().await;
        }

        assert_eq!(world.ended(&operation).await["state"], "succeeded");
        assert_eq!((world.count("kind", "create cluster"), world.docker.node_images().len()), (2, 1));
    }
}

#[tokio::test]
async fn a_kind_that_outlived_the_server_is_waited_for_and_not_started_twice() {
    let mut world = World::start().await;
    world.failpoints.hold("kind-create");
    drop(world.begin(&world.request_for("deploy")));
    world.failpoints.reached("kind-create").await;
    let operation = world.latest().await;

    world.kill_and_start_again().await;
    world.kill_and_start_again().await;
    world.failpoints.release("kind-create");

    assert_eq!(world.ended(&operation).await["state"], "succeeded");
    assert_eq!(world.count("kind", "create cluster"), 1);
}

#[tokio::test]
async fn a_disk_that_keeps_the_store_waiting_is_waited_for() {
    let world = World::start().await;
    world.failpoints.hold("kind-create");
    drop(world.begin(&world.request_for("deploy")));
    world.failpoints.reached("kind-create").await;
    let operation = world.latest().await;

    let held = world.hold_store().await;
    world.failpoints.release("kind-create");
    tokio::time::sleep(Duration::from_secs(12)).await;
    drop(held);

    assert_eq!(world.ended(&operation).await["state"], "succeeded");
    assert!(!world.server.log().contains("the store is lost"), "{}", world.server.log());
}

#[tokio::test]
async fn a_second_server_on_the_same_store_refuses_to_start() {
    let world = World::start().await;

    let said = world.second_server().await.expect("it does not start");

    assert!(said.contains("another server already works on the store"), "{said}");
    assert_eq!(world.get("/health").await.status, 200);
}

#[tokio::test]
async fn a_store_that_a_newer_version_has_worked_on_is_refused_by_its_cause() {
    let mut world = World::start().await;
    world.server.kill().await;
    world
        .change("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9001, 'later', 1, x'00', 0)")
        .await;

    let said = world.second_server().await.expect("it does not start");
    let doctor = world.command(&["doctor"], &[]).await;

    assert!(said.contains("newer version") && said.contains("9001") && said.contains("backup"), "{said}");
    let report = String::from_utf8_lossy(&doctor.stdout);
    assert!(report.contains("fail  store: ") && report.contains("newer version"), "{report}");
}

#[tokio::test]
async fn a_store_that_is_no_database_is_refused_at_once_by_its_cause() {
    let mut world = World::start().await;
    world.server.kill().await;
    for end in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(world.path(&format!("workspace/store.sqlite{end}")));
    }
    std::fs::write(world.path("workspace/store.sqlite"), "not a database\n".repeat(1000)).unwrap();

    let said = world.second_server().await.expect("it does not start");
    let doctor = world.command(&["doctor"], &[]).await;

    assert!(said.contains("file is not a database") && !said.contains("timed out"), "{said}");
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("file is not a database"), "{doctor:?}");
}

#[tokio::test]
async fn a_server_that_loses_its_store_does_nothing_more_and_ends() {
    let mut world = World::start().await;
    world.failpoints.hold("docker-build");
    drop(world.begin(&world.request_for("deploy")));
    world.failpoints.reached("docker-build").await;
    let operation = world.latest().await;
    world.fail_store_at("INSERT ON operation_events").await;
    world.failpoints.release("docker-build");

    let status = world.server.ended().await;

    assert!(!status.success());
    assert!(world.kube.objects().is_empty() && world.docker.node_images().is_empty());
    world.restore_store().await;
    world.start_again().await;
    assert_eq!(world.ended(&operation).await["state"], "succeeded");
}

#[tokio::test]
async fn an_operation_whose_end_could_not_be_stored_ends_at_the_next_start() {
    let mut world = World::start().await;
    world.fail_store_at("UPDATE ON operations WHEN NEW.ended_ms IS NOT NULL").await;
    drop(world.begin(&world.request_for("deploy")));
    world.server.ended().await;
    world.restore_store().await;

    world.start_again().await;

    let operation = world.latest().await;
    assert_eq!(world.ended(&operation).await["state"], "succeeded");
    assert_eq!((world.docker.builds(), world.kube.applied().len()), (1, 1));
    assert_eq!(world.unfinished_leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_kill_right_after_a_request_was_accepted_loses_nothing() {
    let mut world = World::start().await;
    world.fail_store_at("UPDATE ON operations").await;
    drop(world.begin(&world.request_for("deploy")));
    eventually("the request to be stored", async || !world.texts("SELECT id FROM operations").await.is_empty()).await;
    world.server.kill().await;
    world.restore_store().await;

    world.start_again().await;

    let operation = world.latest().await;
    assert_eq!(world.ended(&operation).await["state"], "succeeded");
}
