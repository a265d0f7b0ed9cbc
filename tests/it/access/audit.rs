//! The record of who did what.

use std::fs;

use on_demand_infra::audit::{AuditEntry, AuditEvent, Head};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Key, chat, get, make_in, post, record, request, root};
use crate::world::{World, eventually, say, with};

fn events(entries: &[Value]) -> Vec<&str> {
    entries.iter().map(|it| it["event"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_change_is_told_when_it_is_accepted_and_when_it_has_ended() {
    let world = World::start().await;
    let root = root(&world).await;
    let ci = make_in(&world, &root, "ci", "deployer", "team").await;
    let deploy = with(world.request_for("deploy"), "environment", json!({"TOKEN": "s3cr3t-of-the-application"}));

    let deployed = chat(&world, &ci, &with(deploy, "git_token", "ghp_s3cr3t")).await;
    let planned = chat(&world, &ci, &with(world.request_for("decommission"), "dry_run", true)).await;
    let hash = planned.text().split("plan `").nth(1).and_then(|it| it.split('`').next()).unwrap();
    let removed = chat(&world, &ci, &with(world.request_for("decommission"), "confirm", hash)).await;

    assert_eq!((deployed.state(), removed.state()), ("succeeded", "succeeded"));
    let entries = record(&world, &root).await;
    assert_eq!(events(&entries), ["key_created", "key_created", "accepted", "ended", "accepted", "ended"]);
    let accepted = &entries[2];
    assert_eq!(accepted["principal"], ci.id);
    for (name, value) in [
        ("key_name", "ci"),
        ("address", "127.0.0.1"),
        ("surface", "chat_completions"),
        ("action", "deploy"),
        ("deployment_name", "notes"),
        ("confirmed", "nothing"),
    ] {
        assert_eq!(accepted[name], value, "{accepted}");
    }
    assert_eq!(accepted["operation"].as_str(), Some(deployed.operation().as_str()));
    assert_eq!((&entries[3]["outcome"], &entries[3]["operation"]), (&json!("succeeded"), &accepted["operation"]));
    assert_eq!((&entries[4]["plan"], &entries[4]["confirmed"]), (&json!(hash), &json!("plan_hash")));
    let text = serde_json::to_string(&entries).unwrap();
    assert!(!text.contains("s3cr3t") && !text.contains(&ci.secret), "{text}");
}

#[tokio::test]
async fn what_is_accepted_is_on_record_although_the_server_dies() {
    let mut world = World::start().await;
    let root = root(&world).await;
    world.failpoints.hold("kind");
    let begun = request(&world, Some(&root), Method::POST, "/v1/chat/completions").json(&world.request_for("deploy"));
    let begun = tokio::spawn(async move { begun.send().await.is_ok() });
    eventually("the operation to be accepted", async || {
        get(&world, Some(&root), "/v1/operations").await.body["data"].as_array().is_some_and(|it| it.len() == 1)
    })
    .await;

    world.server.kill().await;
    world.failpoints.release("kind");
    world.start_again().await;

    let _ = begun.await;
    eventually("the operation to end", async || {
        get(&world, Some(&root), "/v1/operations").await.body["data"][0]["state"] == "succeeded"
    })
    .await;
    assert_eq!(events(&record(&world, &root).await), ["key_created", "accepted", "ended"]);
}

#[tokio::test]
async fn refusals_cancels_and_wrong_keys_are_told_and_questions_are_not() {
    let world = World::start().await;
    let root = root(&world).await;
    let viewer = make_in(&world, &root, "eyes", "viewer", "team").await;
    let nobody = Key { id: String::new(), secret: "odi_guess".to_owned() };

    chat(&world, &viewer, &say("list")).await;
    get(&world, Some(&viewer), "/v1/deployments").await;
    chat(&world, &viewer, &world.request_for("deploy")).await;
    get(&world, Some(&viewer), "/v1/audit").await;
    for _ in 0..5 {
        get(&world, Some(&nobody), "/v1/models").await;
    }
    world.failpoints.hold("kind");
    let stream = request(&world, Some(&root), Method::POST, "/v1/chat/completions").json(&with(
        world.request_for("deploy"),
        "stream",
        true,
    ));
    let open = stream.send().await.unwrap();
    let id = get(&world, Some(&root), "/v1/operations").await.body["data"][0]["id"].as_str().unwrap().to_owned();
    let cancelled = post(&world, Some(&root), &format!("/v1/operations/{id}/cancel"), &json!({})).await;
    world.failpoints.release("kind");
    open.text().await.unwrap();

    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    eventually("the record to be complete", async || record(&world, &root).await.len() == 8).await;
    let entries = record(&world, &root).await;
    let mut told = events(&entries);
    assert!(told[4..6].contains(&"sign_in_refused"), "{told:?}");
    told.retain(|it| *it != "sign_in_refused");
    assert_eq!(told, ["key_created", "key_created", "refused", "refused", "accepted", "cancel_requested", "ended"]);
    let refused = &entries[2];
    assert_eq!((&refused["action"], &refused["principal"]), (&json!("deploy"), &json!(viewer.id)));
    assert!(refused["outcome"].as_str().unwrap().contains("the role `deployer`"), "{refused}");
    assert!(entries.last().unwrap()["outcome"].as_str().unwrap().starts_with("cancelled"), "{entries:?}");
}

#[tokio::test]
async fn entries_are_filtered_and_turned_page_by_page() {
    let world = World::start().await;
    let root = root(&world).await;
    let ci = make_in(&world, &root, "ci", "deployer", "team").await;
    let deployed = chat(&world, &ci, &world.request_for("deploy")).await;
    chat(&world, &ci, &with(world.request_for("scale"), "scale_replicas", 2)).await;
    let count = async |query: String| {
        let page = get(&world, Some(&root), &format!("/v1/audit?{query}")).await;
        assert_eq!(page.status, 200, "{page:?}");
        page.body["data"].as_array().unwrap().len()
    };
    let operation = deployed.operation();
    let deployment = deployed.body["deployment"]["id"].as_str().unwrap();

    assert_eq!(count(String::new()).await, 6);
    assert_eq!(count(format!("principal={}", ci.id)).await, 4);
    assert_eq!(count(format!("operation={operation}")).await, 2);
    assert_eq!(count(format!("deployment={deployment}&event=accepted")).await, 2);
    assert_eq!(count("action=scale".to_owned()).await, 2);
    assert_eq!(count("since=2100-01-01T00:00:00Z".to_owned()).await, 0);
    assert_eq!(count("until=2100-01-01T00:00:00Z&limit=3".to_owned()).await, 3);
    let first = get(&world, Some(&root), "/v1/audit?limit=4").await;
    assert_eq!(first.body["has_more"], true);
    let rest = get(&world, Some(&root), &format!("/v1/audit?after={}", first.body["last_id"].as_str().unwrap())).await;
    assert_eq!((rest.body["data"].as_array().unwrap().len(), &rest.body["has_more"]), (2, &json!(false)));
    assert_eq!(get(&world, Some(&root), "/v1/audit?event=nothing").await.body["error"]["param"], "event");
}

#[tokio::test]
async fn what_was_altered_or_removed_is_found() {
    let mut world = World::start().await;
    let root = root(&world).await;
    for name in ["a", "b", "c"] {
        make_in(&world, &root, name, "viewer", "team").await;
    }
    world.server.terminate().await;
    let nobody = [("PORT", "9")];
    let verify = async |world: &World, more: &[&str]| {
        let output = world.command(&[&["audit", "verify"], more].concat(), &nobody).await;
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let whole = verify(&world, &[]).await;
    let head = whole.1.lines().find_map(|it| it.strip_prefix("head ")).unwrap().to_owned();
    let exported = world.command(&["audit", "export"], &nobody).await.stdout;
    fs::write(world.path("audit.jsonl"), &exported).unwrap();
    let file = world.path("audit.jsonl").display().to_string();
    assert_eq!((whole.0, verify(&world, &["--head", &head]).await.0), (Some(0), Some(0)), "{whole:?}");
    assert_eq!(verify(&world, &["--file", &file, "--head", &head]).await.0, Some(0));

    world.change("UPDATE audit SET line = replace(line, '`b`', '`x`') WHERE sequence = 3").await;
    let altered = verify(&world, &[]).await;
    world.change("UPDATE audit SET line = replace(line, '`x`', '`b`') WHERE sequence = 3").await;
    world.change("UPDATE audit SET principal = 'key_0' WHERE sequence = 2").await;
    let moved = verify(&world, &[]).await;
    world
        .change("UPDATE audit SET principal = (SELECT principal FROM audit WHERE sequence = 3) WHERE sequence = 2")
        .await;
    assert_eq!(verify(&world, &[]).await.0, Some(0));
    world.change("UPDATE audit_head SET hash = replace(hash, substr(hash, 1, 1), 'x')").await;
    let wrong_head = verify(&world, &[]).await;
    world.change("UPDATE audit_head SET hash = replace(hash, 'x', '0')").await;
    world.change(&format!("UPDATE audit_head SET hash = '{}'", head.split_once(':').unwrap().1)).await;
    world.change("DELETE FROM audit WHERE sequence = 4").await;
    let cut = verify(&world, &[]).await;
    let cut_noted = verify(&world, &["--head", &head]).await;
    world.change("DELETE FROM audit WHERE sequence = 2").await;
    let removed = verify(&world, &[]).await;

    assert!(wrong_head.0 == Some(1) && wrong_head.1.contains("another hash"), "{}", wrong_head.1);
    assert_eq!(altered.0, Some(1));
    assert!(altered.1.contains("entry 3 was altered"), "{}", altered.1);
    assert!(moved.0 == Some(1) && moved.1.contains("the principal of entry 2"), "{}", moved.1);
    assert!(cut.0 == Some(1) && cut.1.contains("the end was removed"), "{}", cut.1);
    assert!(cut_noted.1.contains("the last entry is 3, and 4 was there"), "{}", cut_noted.1);
    assert!(removed.1.contains("entries are missing between 1 and 3"), "{}", removed.1);
}

#[tokio::test]
async fn old_entries_go_and_leave_a_checkpoint() {
    let mut world = World::start().await;
    let root = root(&world).await;
    world.server.terminate().await;
    // Two entries of years ago in place of the first.
    world.change("DELETE FROM audit").await;
    let mut head = Head::none();
    for _ in 0..2 {
        let at = "2020-01-01T00:00:00Z".parse().unwrap();
        let entry = AuditEntry { at, ..AuditEntry::of("key_0".to_owned(), AuditEvent::KeyCreated) };
        let (line, next) = head.append(&entry);
        head = next;
        let (sequence, at_ms) = (head.sequence, at.as_millisecond());
        world
            .change(&format!(
                "INSERT INTO audit (sequence, at_ms, event, principal, line) VALUES
                     ({sequence}, {at_ms}, 'key_created', 'key_0', '{line}')"
            ))
            .await;
    }
    world.change(&format!("UPDATE audit_head SET sequence = {}, hash = '{}'", head.sequence, head.hash)).await;

    world.start_again().await;

    eventually("the old entries to go", async || {
        let page = get(&world, Some(&root), "/v1/audit").await;
        page.body["data"].as_array().is_some_and(|it| it.len() == 1)
    })
    .await;
    let entries = record(&world, &root).await;
    assert_eq!((&entries[0]["event"], &entries[0]["sequence"]), (&json!("checkpoint"), &json!(3)));
    let last = head.to_string();
    assert_eq!(entries[0]["removed_through"], json!(last));
    let url = world.url();
    let at = [("ON_DEMAND_INFRA_URL", url.as_str()), ("ON_DEMAND_INFRA_API_KEY", root.secret.as_str())];
    let verified = world.command(&["audit", "verify", "--head", &last], &at).await;
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}

#[tokio::test]
async fn an_attempt_on_what_is_out_of_sight_is_told_once() {
    let world = World::start().await;
    let root = root(&world).await;
    let deployed = chat(&world, &root, &world.request_for("deploy")).await;
    let elsewhere = make_in(&world, &root, "elsewhere", "deployer", "other").await;
    let before = record(&world, &root).await.len();

    for _ in 0..3 {
        let cancel = format!("/v1/operations/{}/cancel", deployed.operation());
        assert_eq!(post(&world, Some(&elsewhere), &cancel, &json!({})).await.code(), "operation_not_found");
        let decommission = chat(&world, &elsewhere, &world.request_for("decommission")).await;
        assert_eq!(decommission.code(), "deployment_not_found");
        get(&world, Some(&elsewhere), "/v1/deployments").await;
    }

    let entries = record(&world, &root).await.split_off(before);
    assert_eq!(events(&entries), ["refused", "refused"]);
    for entry in entries {
        assert_eq!((&entry["principal"], &entry["deployment_name"]), (&json!(elsewhere.id), &json!("notes")));
        assert!(entry["outcome"].as_str().unwrap().contains("`local:team`"), "{entry}");
    }
}
