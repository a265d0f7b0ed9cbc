//! A row that this version cannot read, of another version or damaged, concerns that operation or deployment alone.

use serde_json::{Value, json};

use crate::world::{Answer, World, eventually, with};

/// What can be wrong with an operation, as the statement that makes it so and the one that mends it. `ID` is its id.
pub(crate) const DAMAGES: [(&str, &str, &str); 4] = [
    (
        "plan",
        "UPDATE operations SET plan = plan || '{' WHERE id = 'ID'",
        "UPDATE operations SET plan = substr(plan, 1, length(plan) - 1) WHERE id = 'ID'",
    ),
    (
        "intent",
        "UPDATE operations SET intent = intent || '{' WHERE id = 'ID'",
        "UPDATE operations SET intent = substr(intent, 1, length(intent) - 1) WHERE id = 'ID'",
    ),
    (
        "state",
        "UPDATE operations SET state = 'x' || state WHERE id = 'ID'",
        "UPDATE operations SET state = substr(state, 2) WHERE id = 'ID'",
    ),
    (
        "events",
        "INSERT INTO operation_events (operation_id, sequence, at_ms, event)
             VALUES ('ID', 9000, 1700000000000, '{\"type\":\"step_paused\",\"step\":\"build_image\"}')",
        "DELETE FROM operation_events WHERE operation_id = 'ID' AND sequence = 9000",
    ),
];

async fn on_both_databases(story: impl AsyncFn(World)) {
    story(World::start().await).await;
    story(World::on_postgres().await).await;
}

fn of<'a>(list: &'a Answer, id: &str) -> &'a Value {
    list.body["data"].as_array().unwrap().iter().find(|it| it["id"] == id).unwrap_or_else(|| panic!("{id}: {list:?}"))
}

#[tokio::test]
async fn an_operation_that_cannot_be_read_is_told_as_such_and_all_others_as_before() {
    on_both_databases(async |world| {
        let first = world.deployed().await.operation();
        let second = world.chat(&with(world.request_for("scale"), "scale_replicas", 2)).await.operation();
        world.change("UPDATE operations SET written_by = '9.9.9'").await;

        for (what, damage, mend) in DAMAGES {
            world.change(&damage.replace("ID", &first)).await;

            let list = world.get("/v1/operations?limit=100").await;
            let shown = world.get(&format!("/v1/operations/{first}")).await;
            let other = world.get(&format!("/v1/operations/{second}")).await;
            let chat = world.chat(&world.request_for("status")).await;

            assert_eq!(list.status, 200, "{what}: {list:?}");
            let unreadable = &of(&list, &first)["unreadable"];
            assert_eq!(unreadable["written_by"], "9.9.9", "{what}: {list:?}");
            assert!(unreadable["message"].as_str().unwrap().contains(&format!("`{what}`")), "{unreadable}");
            assert!(of(&list, &first)["created_at"].is_string());
            assert_eq!(of(&list, &first)["deployment"]["instance_name"], "notes");
            assert_eq!(of(&list, &second).get("unreadable"), None);
            assert_eq!(&other.body, of(&list, &second), "{what}");
            assert_eq!(chat.status, 200, "{what}: {chat:?}");
            if what == "events" {
                assert_eq!((shown.status, &shown.body["state"]), (200, &json!("succeeded")), "{shown:?}");
                let events = world.events(&first).await;
                assert_eq!(events.last().unwrap()["type"], "unreadable", "{events:?}");
            } else {
                assert_eq!((shown.status, shown.code()), (409, "unreadable"), "{what}: {shown:?}");
                let message = shown.body["error"]["message"].as_str().unwrap();
                assert!(message.contains("version 9.9.9"), "{message}");
            }
            world.change(&mend.replace("ID", &first)).await;
            assert_eq!(world.get(&format!("/v1/operations/{first}")).await.body.get("unreadable"), None, "{what}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_deployment_that_cannot_be_read_keeps_nobody_from_the_others() {
    on_both_databases(async |world| {
        let first = world.deployed().await.body["deployment"]["id"].as_str().unwrap().to_owned();
        let two = with(world.request_for("deploy"), "instance_name", "two");
        let second = world.chat(&two).await;
        assert_eq!(second.state(), "succeeded", "{}", second.text());

        for damage in ["facts = facts || '{'", "state = 'x' || state", "repository = ' '"] {
            world.change("CREATE TABLE kept AS SELECT * FROM deployments").await;
            world.change(&format!("UPDATE deployments SET {damage} WHERE id = '{first}'")).await;

            let list = world.get("/v1/deployments").await;
            let operations = world.get("/v1/operations").await;
            let shown = world.get(&format!("/v1/deployments/{first}")).await;
            let scaled =
                world.chat(&with(with(world.request_for("scale"), "instance_name", "two"), "scale_replicas", 2)).await;
            let same_name = world.chat(&world.request_for("deploy")).await;

            assert_eq!((list.status, operations.status), (200, 200), "{damage}: {list:?} {operations:?}");
            assert_eq!(of(&list, &first)["instance_name"], "notes");
            assert!(of(&list, &first)["unreadable"]["message"].is_string(), "{damage}: {list:?}");
            assert_eq!((shown.status, shown.code()), (409, "unreadable"), "{damage}");
            assert_eq!(scaled.state(), "succeeded", "{}", scaled.text());
            assert_eq!((same_name.status, same_name.code()), (409, "unreadable"), "{damage}: {same_name:?}");
            for column in ["facts", "state", "repository"] {
                world
                    .change(&format!(
                        "UPDATE deployments SET {column} = (SELECT {column} FROM kept WHERE kept.id = deployments.id)
                         WHERE id = '{first}'"
                    ))
                    .await;
            }
            world.change("DROP TABLE kept").await;
            world.change("DELETE FROM request_keys").await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_start_parks_what_it_cannot_read_and_goes_on_with_the_rest() {
    on_both_databases(async |mut world| {
        for (what, damage, mend) in DAMAGES {
            world.failpoints.hold("docker-build");
            drop(world.begin(&world.request_for("deploy")));
            world.failpoints.reached("docker-build").await;
            let damaged = world.latest().await;
            drop(world.begin(&with(world.request_for("deploy"), "instance_name", "two")));
            eventually("the second to be accepted", async || world.latest().await != damaged).await;
            let other = world.latest().await;
            world.server.kill().await;
            world.change(&damage.replace("ID", &damaged)).await;
            world.change(&format!("UPDATE operations SET written_by = '9.9.9' WHERE id = '{damaged}'")).await;

            world.failpoints.release("docker-build");
            world.start_again().await;

            assert_eq!(world.ended(&other).await["state"], "succeeded", "{what}");
            let list = world.get("/v1/operations").await;
            let parked = of(&list, &damaged);
            assert_eq!(parked["state"], "stuck", "{what}: {parked:#}");
            assert_eq!(parked["error"]["code"], "operation_unreadable", "{what}");
            assert!(parked["error"]["next_step"].as_str().unwrap().contains("version 9.9.9"), "{what}: {parked:#}");
            let refused = world.post(&format!("/v1/operations/{damaged}/resume")).await;
            if what != "state" {
                assert_eq!((refused.status, refused.code()), (409, "unreadable"), "{what}: {refused:?}");
                world.change(&mend.replace("ID", &damaged)).await;
                assert_eq!(world.post(&format!("/v1/operations/{damaged}/resume")).await.status, 200, "{what}");
            }
            let ended = world.ended(&damaged).await;
            assert_eq!(ended["state"], "succeeded", "whoever can read it goes on with it: {what} {ended:#}");

            for name in ["notes", "two"] {
                let gone = world.chat(&with(world.request_for("decommission"), "instance_name", name)).await;
                assert_eq!(gone.state(), "succeeded", "{}", gone.text());
            }
            world.change("DELETE FROM request_keys").await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_log_or_a_target_that_cannot_be_read_parks_its_operation_and_ends_no_server() {
    for damage in [
        "UPDATE saga_log SET event = event || '{' WHERE operation_id = 'ID'",
        "UPDATE operation_steps SET output = output || '{' WHERE operation_id = 'ID' AND output IS NOT NULL",
        "UPDATE operation_steps SET phase = 'paused' WHERE operation_id = 'ID'",
        "UPDATE operations SET dag = dag || '{' WHERE id = 'ID'",
        "UPDATE targets SET mode = 'x' WHERE id = (SELECT target_id FROM operations WHERE id = 'ID')",
        "UPDATE deployments SET facts = '{' WHERE operation_id = 'ID'",
    ] {
        let mut world = World::start().await;
        world.failpoints.hold("docker-build");
        drop(world.begin(&world.request_for("deploy")));
        world.failpoints.reached("docker-build").await;
        let operation = world.latest().await;
        world.server.kill().await;
        world.change(&damage.replace("ID", &operation)).await;
        world.failpoints.release("docker-build");

        world.start_again().await;

        let stuck = world.ended(&operation).await;
        assert_eq!(
            (&stuck["state"], &stuck["error"]["code"]),
            (&json!("stuck"), &json!("operation_unreadable")),
            "{damage}"
        );
        assert_eq!(world.get("/health").await.status, 200, "{damage}");
    }
}

#[tokio::test]
async fn a_plan_with_steps_of_another_version_is_told_with_that_version() {
    let mut world = World::start().await;
    world.failpoints.hold("docker-build");
    drop(world.begin(&world.request_for("deploy")));
    world.failpoints.reached("docker-build").await;
    let operation = world.latest().await;
    world.server.kill().await;
    world
        .change(
            "UPDATE operations SET plan = replace(plan, 'CloneRepository', 'FetchRepository'), written_by = '9.9.9'",
        )
        .await;
    world.failpoints.release("docker-build");

    world.start_again().await;

    let list = world.get("/v1/operations").await;
    let parked = of(&list, &operation);
    assert_eq!(parked["state"], "stuck", "{parked:#}");
    let message = parked["error"]["message"].as_str().unwrap();
    assert!(message.contains("cannot read its `plan`, which version 9.9.9 wrote"), "{parked:#}");
    assert!(parked["error"]["next_step"].as_str().unwrap().contains("version 9.9.9"), "{parked:#}");
    assert_eq!(parked["unreadable"]["written_by"], "9.9.9", "{parked:#}");
}

#[tokio::test]
async fn an_event_that_is_no_text_concerns_its_operation_alone() {
    let world = World::start().await;
    let first = world.deployed().await.operation();
    let second = world.chat(&with(world.request_for("scale"), "scale_replicas", 2)).await.operation();
    world
        .change(&format!("UPDATE operation_events SET event = x'ff00' WHERE operation_id = '{first}' AND sequence = 3"))
        .await;

    let list = world.get("/v1/operations").await;

    assert_eq!(list.status, 200, "{list:?}");
    assert!(of(&list, &first)["unreadable"].is_object() && of(&list, &second)["unreadable"].is_null(), "{list:?}");
    assert_eq!(world.get(&format!("/v1/operations/{first}")).await.status, 200);
    assert_eq!(world.get(&format!("/v1/operations/{second}")).await.status, 200);
}
