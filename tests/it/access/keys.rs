//! A key from its first request to its last.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use reqwest::Method;
use serde_json::json;

use super::{Key, chat, get, make, make_in, post, record, request, root};
use crate::world::{World, eventually, say, with};

#[tokio::test]
async fn the_first_key_is_an_administrators_and_closes_the_door() {
    let world = World::start().await;
    assert_eq!(world.get("/v1/keys").await.body["data"], json!([]));

    let made = post(&world, None, "/v1/keys", &json!({"name": "root"})).await;

    assert_eq!((made.status, &made.body["role"]), (201, &json!("admin")), "{made:?}");
    assert!(made.body["notice"].as_str().unwrap().contains("every request needs one"), "{made:?}");
    let secret = made.body["secret"].as_str().unwrap();
    assert!(secret.starts_with("odi_") && secret.len() > 50, "{secret}");
    let root = Key { id: made.body["id"].as_str().unwrap().to_owned(), secret: secret.to_owned() };
    for path in ["/v1/keys", "/v1/operations", "/v1/models"] {
        assert_eq!(world.get(path).await.code(), "invalid_api_key");
        assert_eq!(get(&world, Some(&root), path).await.status, 200);
    }
    assert_eq!(world.get("/health").await.status, 200);
    let shown = get(&world, Some(&root), "/v1/keys").await;
    assert_eq!((&shown.body["data"][0]["id"], &shown.body["data"][0]["secret"]), (&made.body["id"], &json!(null)));
    let stored: Vec<u8> = std::fs::read(world.path("workspace/store.sqlite")).unwrap();
    let stored = String::from_utf8_lossy(&stored).into_owned();
    assert!(!stored.contains(&secret[4..]), "the store holds the secret");
}

#[tokio::test]
async fn keys_stay_with_a_restart_and_those_of_the_settings_beside_them() {
    let mut world = World::with(&[("API_KEYS", "a-key-of-the-settings")]).await;
    let old = Key { id: "key:".to_owned(), secret: "a-key-of-the-settings".to_owned() };
    // With an administrator in the settings, the first key of the store may be anybody's.
    let viewer = make(&world, Some(&old), &json!({"name": "eyes", "role": "viewer"})).await;

    world.kill_and_start_again().await;

    assert_eq!(get(&world, Some(&viewer), "/v1/deployments").await.status, 200);
    assert_eq!(get(&world, Some(&viewer), "/v1/keys").await.code(), "permission_denied");
    assert_eq!(get(&world, Some(&old), "/v1/keys").await.body["data"][0]["name"], "eyes");
}

#[tokio::test]
async fn what_makes_no_sense_is_said() {
    let world = World::start().await;
    let refused = async |by: Option<&Key>, body| {
        let answer = post(&world, by, "/v1/keys", &body).await;
        let param = answer.body["error"]["param"].as_str().unwrap_or("-").to_owned();
        format!("{} {} {param}", answer.status, answer.code())
    };
    let right = json!([{"mode": "local", "namespace": "team"}]);

    assert_eq!(refused(None, json!({"name": "ci", "role": "deployer"})).await, "400 invalid_value role");
    let soon = json!({"name": "root", "expires_at": "2100-01-01T00:00:00Z"});
    assert_eq!(refused(None, soon).await, "400 invalid_value expires_at");
    let root = root(&world).await;
    let by = Some(&root);
    assert_eq!(refused(by, json!({})).await, "400 missing_required_parameter name");
    assert_eq!(refused(by, json!({"name": "-x"})).await, "400 invalid_value name");
    assert_eq!(refused(by, json!({"name": 7})).await, "400 invalid_value name");
    assert_eq!(refused(by, json!({"name": "root"})).await, "409 conflict name");
    assert_eq!(refused(by, json!({"name": "x", "role": "owner"})).await, "400 invalid_value role");
    assert_eq!(refused(by, json!({"name": "x", "role": "admin", "rights": right})).await, "400 invalid_value rights");
    assert_eq!(refused(by, json!({"name": "x", "rights": []})).await, "400 invalid_value rights");
    let many: Vec<_> = (0..101).map(|it| json!({"mode": "*", "namespace": format!("team-{it}")})).collect();
    assert_eq!(refused(by, json!({"name": "x", "rights": many})).await, "400 invalid_value rights");
    assert_eq!(refused(by, json!({"name": "x", "role": "admin", "ask": true})).await, "400 invalid_value ask");
    assert_eq!(refused(by, json!({"name": "x", "role": "viewer", "ask": true})).await, "400 invalid_value ask");
    assert_eq!(refused(by, json!({"name": format!("key_{}", "0".repeat(32))})).await, "400 invalid_value name");
    assert_eq!(refused(by, json!({"name": "x", "rights": [{"mode": "moon"}]})).await, "400 invalid_value rights");
    assert_eq!(refused(by, json!({"name": "x", "rights": [{"namespaces": "a"}]})).await, "400 invalid_value rights");
    assert_eq!(
        refused(by, json!({"name": "x", "expires_at": "2020-01-01T00:00:00Z"})).await,
        "400 invalid_value expires_at"
    );
    assert_eq!(
        refused(by, json!({"name": "x", "expires": "2030-01-01T00:00:00Z"})).await,
        "400 unknown_parameter expires"
    );
    assert_eq!(post(&world, by, "/v1/keys/nobody/rotate", &json!({})).await.code(), "key_not_found");
    assert_eq!(post(&world, by, "/v1/keys/nobody/revoke", &json!({})).await.code(), "key_not_found");
    let last = post(&world, by, "/v1/keys/root/revoke", &json!({})).await;
    assert_eq!(last.code(), "conflict");
    assert!(last.body["error"]["message"].as_str().unwrap().contains("last administrator"), "{last:?}");
    let ending = json!({"expires_at": "2100-01-01T00:00:00Z"});
    assert_eq!(post(&world, by, "/v1/keys/root/rotate", &ending).await.body["error"]["param"], "expires_at");
    assert_eq!(
        get(&world, Some(&Key { id: String::new(), secret: "odi_guess".to_owned() }), "/v1/keys").await.status,
        401
    );
}

#[tokio::test]
async fn a_rotated_key_is_the_same_principal_and_both_secrets_count_for_a_while() {
    let world = World::start().await;
    let root = root(&world).await;
    let old = make_in(&world, &root, "ci", "deployer", "team").await;
    let deployed = chat(&world, &old, &world.request_for("deploy")).await;
    assert_eq!(deployed.state(), "succeeded", "{deployed:?}");

    let rotated = post(&world, Some(&root), "/v1/keys/ci/rotate", &json!({"overlap_s": 10})).await;
    let new = Key { id: old.id.clone(), secret: rotated.body["secret"].as_str().unwrap().to_owned() };

    assert_eq!((rotated.status, rotated.body["id"].as_str().unwrap()), (200, old.id.as_str()));
    assert_ne!(new.secret, old.secret);
    for key in [&old, &new] {
        assert_eq!(get(&world, Some(key), "/v1/operations").await.body["data"].as_array().unwrap().len(), 1);
    }
    // What the key has done before is still its own.
    let undo = chat(&world, &new, &with(say("undo my last change"), "dry_run", true)).await;
    assert!(undo.text().contains("notes"), "{undo:?}");
    eventually("the old secret to end", async || get(&world, Some(&old), "/v1/operations").await.status == 401).await;
    let told = get(&world, Some(&old), "/v1/operations").await;
    assert!(told.body["error"]["message"].as_str().unwrap().contains("was rotated"), "{told:?}");
    assert_eq!(get(&world, Some(&new), "/v1/operations").await.status, 200);
    let at_once = post(&world, Some(&root), "/v1/keys/ci/rotate", &json!({"overlap_s": 0})).await;
    assert_eq!(at_once.status, 200);
    assert_eq!(get(&world, Some(&new), "/v1/operations").await.status, 401);
}

#[tokio::test]
async fn an_operation_goes_on_when_its_key_ends_in_the_middle() {
    let world = World::start().await;
    let root = root(&world).await;
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(8);
    let body = json!({"name": "short", "role": "deployer", "expires_at": soon.to_string()});
    let short = make(&world, Some(&root), &body).await;
    world.failpoints.hold("page");

    let stream = request(&world, Some(&short), Method::POST, "/v1/chat/completions").json(&with(
        world.request_for("deploy"),
        "stream",
        true,
    ));
    let response = stream.send().await.unwrap();
    assert_eq!(response.status(), 200);
    let text = response.text().await.unwrap();

    assert!(!text.contains("[DONE]") && text.contains("has ended or was revoked meanwhile"), "{text}");
    let refused = get(&world, Some(&short), "/v1/operations").await;
    assert!(refused.body["error"]["message"].as_str().unwrap().contains("`short` has ended on"), "{refused:?}");
    world.failpoints.release("page");
    eventually("the operation to end", async || {
        get(&world, Some(&root), "/v1/operations").await.body["data"][0]["state"] == "succeeded"
    })
    .await;
    let ended = record(&world, &root).await.pop().unwrap();
    // With a new end it opens things again, for as long as they last.
    let body = json!({"overlap_s": 60, "expires_at": "2100-01-01T00:00:00Z"});
    assert_eq!(post(&world, Some(&root), "/v1/keys/short/rotate", &body).await.status, 200);
    let again =
        request(&world, Some(&short), Method::POST, "/v1/chat/completions").json(&with(say("list"), "stream", true));
    assert!(again.send().await.unwrap().text().await.unwrap().contains("[DONE]"));
    assert_eq!((&ended["event"], &ended["principal"]), (&json!("ended"), &json!(short.id)));
}

#[tokio::test]
async fn a_revoked_key_stops_also_where_it_is_open() {
    let world = World::start().await;
    let root = root(&world).await;
    let ci = make(&world, Some(&root), &json!({"name": "ci", "role": "deployer"})).await;
    world.failpoints.hold("page");
    let open = request(&world, Some(&ci), Method::POST, "/v1/chat/completions")
        .json(&with(world.request_for("deploy"), "stream", true))
        .send()
        .await
        .unwrap();
    let operation = get(&world, Some(&ci), "/v1/operations").await.body["data"][0]["id"].as_str().unwrap().to_owned();
    let events = request(&world, Some(&ci), Method::GET, &format!("/v1/operations/{operation}/events"));
    let events = events.send().await.unwrap();
    let waiting = request(&world, Some(&ci), Method::POST, "/v1/chat/completions").json(&world.request_for("deploy"));
    let waiting = tokio::spawn(async move { waiting.send().await.unwrap().status().as_u16() });
    let load: Vec<_> = (0..8)
        .map(|_| {
            let requests: Vec<_> = (0..400).map(|_| request(&world, Some(&ci), Method::GET, "/v1/models")).collect();
            tokio::spawn(async move {
                let mut statuses = Vec::new();
                for request in requests {
                    let sent = Instant::now();
                    statuses.push((sent, request.send().await.unwrap().status().as_u16()));
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                statuses
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;

    let revoked = post(&world, Some(&root), "/v1/keys/ci/revoke", &json!({})).await;
    let at = Instant::now();

    assert_eq!((revoked.status, &revoked.body["state"]), (200, &json!("revoked")));
    let mut frames = open.bytes_stream();
    while frames.next().await.is_some() {}
    let told = events.text().await.unwrap();
    assert!(told.contains("was revoked meanwhile"), "{told}");
    assert_eq!(waiting.await.unwrap(), 401);
    let mut before = 0;
    for statuses in load {
        for (sent, status) in statuses.await.unwrap() {
            before += usize::from(status == 200);
            assert_eq!(status == 401, sent >= at || status != 200, "{status}");
        }
    }
    assert!(before > 0, "nothing was let in before");
    let again = post(&world, Some(&root), "/v1/keys/ci/revoke", &json!({})).await;
    assert_eq!(again.body["revoked_at"], revoked.body["revoked_at"], "a second time changes nothing");
    assert_eq!(post(&world, Some(&root), &format!("/v1/keys/{}/rotate", ci.id), &json!({})).await.code(), "conflict");
    // Its name is free again.
    make(&world, Some(&root), &json!({"name": "ci"})).await;
    world.failpoints.release("page");
}

#[tokio::test]
async fn what_was_open_without_a_key_ends_with_the_first_one() {
    let world = World::start().await;
    world.failpoints.hold("page");
    let open = world.post_chat(&with(world.request_for("deploy"), "stream", true)).send().await.unwrap();

    root(&world).await;

    let text = open.text().await.unwrap();
    assert!(text.contains("\"invalid_api_key\"") && !text.contains("[DONE]"), "{text}");
    world.failpoints.release("page");
}

#[tokio::test]
async fn a_key_with_one_namespace_works_there() {
    let world = World::start().await;
    let root = root(&world).await;
    let ci = make_in(&world, &root, "ci", "deployer", "team").await;
    let mut deploy = world.request_for("deploy");
    deploy.as_object_mut().unwrap().remove("target_namespace");

    let deployed = chat(&world, &ci, &deploy).await;

    assert_eq!(deployed.state(), "succeeded", "{deployed:?}");
    assert_eq!(deployed.body["deployment"]["target_namespace"], "team");
    let elsewhere = chat(&world, &ci, &with(deploy, "target_namespace", "other")).await;
    assert_eq!((elsewhere.status, elsewhere.code()), (403, "permission_denied"));
    assert!(elsewhere.body["error"]["message"].as_str().unwrap().contains("the right `local:other`"), "{elsewhere:?}");
}

#[tokio::test]
async fn each_key_has_a_limit_of_its_own() {
    let world = World::with(&[("RATE_LIMIT_PER_MINUTE", "5")]).await;
    let root = root(&world).await;
    let other = make(&world, Some(&root), &json!({"name": "other"})).await;

    let mut last = 0;
    for _ in 0..8 {
        last = get(&world, Some(&other), "/v1/models").await.status;
    }

    assert_eq!(last, 429);
    assert_eq!(get(&world, Some(&root), "/v1/models").await.status, 200);
}

#[tokio::test]
async fn neither_two_keys_nor_a_page_of_elsewhere_open_anything() {
    let world = World::start().await;
    let from = |origin: &str| world.request(Method::GET, "/v1/models").header("origin", origin);
    let code = async |request: reqwest::RequestBuilder| {
        let response = request.send().await.unwrap();
        format!("{} {}", response.status().as_u16(), response.text().await.unwrap().contains("origin_not_allowed"))
    };
    assert_eq!(code(from("https://page.example.test")).await, "403 true");
    assert_eq!(code(from("http://localhost:3000")).await, "200 false");

    let root = root(&world).await;
    let twice = request(&world, Some(&root), Method::GET, "/v1/models").header("authorization", "Bearer other");

    assert_eq!(code(twice).await, "401 false");
    let with_key =
        request(&world, Some(&root), Method::GET, "/v1/models").header("origin", "https://page.example.test");
    assert_eq!(code(with_key).await, "200 false");
}
