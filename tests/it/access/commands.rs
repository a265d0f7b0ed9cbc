//! The commands `key` and `audit`, beside a server that runs and without one.

use std::process::Output;

use serde_json::Value;

use crate::world::World;

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{}", err(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn keys_are_made_listed_rotated_and_revoked_through_the_server_that_runs() {
    let world = World::start().await;
    let url = world.url();
    let at = [("ON_DEMAND_INFRA_URL", url.as_str())];

    let first = world.command(&["key", "create", "--name", "root"], &at).await;
    assert!(err(&first).contains("from now on every request needs one"), "{}", err(&first));
    let secret = out(&first).trim().to_owned();
    let with_key = [at[0], ("ON_DEMAND_INFRA_API_KEY", secret.as_str())];
    let denied = world.command(&["key", "list"], &at).await;
    assert!(!denied.status.success() && err(&denied).contains("ON_DEMAND_INFRA_API_KEY"), "{}", err(&denied));
    let create = [
        "key",
        "create",
        "--name",
        "ci",
        "--role",
        "deployer",
        "--namespace",
        "team-a",
        "--namespace",
        "team-b",
        "--mode",
        "local",
        "--expires",
        "90d",
        "--ask",
        "--json",
    ];
    let made: Value = serde_json::from_str(&out(&world.command(&create, &with_key).await)).unwrap();
    let listed = out(&world.command(&["key", "list"], &with_key).await);
    let rotated = out(&world.command(&["key", "rotate", "ci", "--overlap", "0s"], &with_key).await);
    let revoked = out(&world.command(&["key", "revoke", "ci"], &with_key).await);

    assert_eq!((&made["ask"], made["rights"].as_array().unwrap().len()), (&Value::Bool(true), 2));
    assert!(listed.contains("NAME") && listed.contains("local:team-a local:team-b"), "{listed}");
    assert!(rotated.contains("odi_") && !rotated.contains(made["secret"].as_str().unwrap()), "{rotated}");
    assert!(revoked.contains("opens nothing any more"), "{revoked}");
    let verified = out(&world.command(&["audit", "verify"], &with_key).await);
    let exported = out(&world.command(&["audit", "export"], &with_key).await);
    assert!(verified.contains("5 entries, nothing was altered") && verified.contains("head 5:"), "{verified}");
    assert_eq!(exported.lines().count(), 5);
}

#[tokio::test]
async fn without_a_server_the_commands_work_on_its_store() {
    let mut world = World::start().await;
    world.server.terminate().await;
    // A port at which nobody listens.
    let nobody = [("PORT", "9")];

    let first = world.command(&["key", "create", "--name", "root", "--json"], &nobody).await;
    let made: Value = serde_json::from_str(&out(&first)).unwrap();
    let listed = out(&world.command(&["key", "list"], &nobody).await);
    let exported = out(&world.command(&["audit", "export"], &nobody).await);

    assert!(listed.contains("root") && listed.contains("admin"), "{listed}");
    let entry: Value = serde_json::from_str(exported.lines().next().unwrap()).unwrap();
    assert_eq!((entry["event"].as_str(), entry["surface"].as_str()), (Some("key_created"), Some("cli")));
    world.start_again().await;
    assert_eq!(world.get("/v1/models").await.status, 401);
    let key = world.request(reqwest::Method::GET, "/v1/keys").bearer_auth(made["secret"].as_str().unwrap());
    assert_eq!(key.send().await.unwrap().status(), 200);
    let lost = world.command(&["key", "list"], &nobody).await;
    assert!(err(&lost).contains("ON_DEMAND_INFRA_URL"), "{}", err(&lost));
}

#[tokio::test]
async fn what_is_no_server_of_this_kind_is_told() {
    let world = World::start().await;
    let page = world.page_url();

    let other = world.command(&["key", "list"], &[("ON_DEMAND_INFRA_URL", &page)]).await;
    let nobody = world.command(&["key", "list"], &[("ON_DEMAND_INFRA_URL", "http://127.0.0.1:9")]).await;
    let wrong = world.command(&["key", "create", "--name", "ci", "--expires", "soon"], &[]).await;

    assert!(err(&other).contains("not this kind of server"), "{}", err(&other));
    assert!(err(&nobody).contains("does not answer"), "{}", err(&nobody));
    assert_eq!(wrong.status.code(), Some(2), "{}", err(&wrong));
    let elsewhere = world.path("elsewhere").display().to_string();
    let elsewhere = [("PORT", "9"), ("PERSISTENT_WORKSPACE_BASE_DIR", elsewhere.as_str())];
    for command in [["audit", "verify"], ["audit", "export"], ["key", "list"]] {
        let nothing = world.command(&command, &elsewhere).await;
        assert!(!nothing.status.success() && err(&nothing).contains("there is no store here"), "{}", err(&nothing));
    }
    assert!(!world.path("elsewhere").exists());
}
