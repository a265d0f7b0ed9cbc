//! An undo that fails stops the operation as stuck; `resume` tries again. Until then it keeps its secrets, for a time.

use reqwest::Method;
use serde_json::{Value, json};

use crate::plans::credentials::of_another;
use crate::world::{TargetKind, World, answer, eventually, say};

/// A deploy whose pods crash and whose Deployment may not be deleted; gives its operation.
async fn stuck(world: &World) -> String {
    world.kube.crash_new_images(true);
    world.failpoints.fail("kube-delete-deployments", "forbidden by a policy");
    let answer = world.chat(&world.request_for("deploy")).await;
    assert_eq!(answer.state(), "stuck", "{}", answer.text());
    assert!(answer.text().contains("forbidden by a policy"), "{}", answer.text());
    answer.operation()
}

#[tokio::test]
async fn a_stuck_deploy_is_taken_back_once_the_cause_is_gone() {
    let world = World::start().await;
    let operation = stuck(&world).await;
    world.failpoints.heal("kube-delete-deployments");

    let resumed = world.post(&format!("/v1/operations/{operation}/resume")).await;

    assert_eq!((resumed.status, &resumed.body["resumed"]), (200, &json!("undo")), "{resumed:?}");
    assert_eq!(resumed.body["id"], operation);
    let operation = world.ended(&operation).await;
    assert_eq!(operation["state"], "undone", "{operation:#}");
    assert_eq!(operation["deployment"]["state"], "removed");
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_resume_that_fails_again_is_stuck_again_and_survives_restarts() {
    let mut world = World::start().await;
    let operation = stuck(&world).await;
    world.kill_and_start_again().await;
    assert_eq!(world.post(&format!("/v1/operations/{operation}/resume")).await.status, 200);
    assert_eq!(world.ended(&operation).await["state"], "stuck");

    world.failpoints.heal("kube-delete-deployments");
    world.failpoints.hold("kube-delete-deployments");
    world.post(&format!("/v1/operations/{operation}/resume")).await;
    world.failpoints.reached("kube-delete-deployments").await;
    world.server.kill().await;
    world.failpoints.release("kube-delete-deployments");
    world.start_again().await;

    assert_eq!(world.ended(&operation).await["state"], "undone");
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_stuck_is_seen_and_can_be_decommissioned_instead() {
    let world = World::start().await;
    let operation = stuck(&world).await;
    world.failpoints.heal("kube-delete-deployments");
    world.kube.crash_new_images(false);

    let list = world.get("/v1/deployments").await.body;
    let answer = world.chat(&world.request_for("decommission")).await;
    let late = world.post(&format!("/v1/operations/{operation}/resume")).await;

    assert_eq!(list["data"][0]["state"], "failed");
    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    assert_eq!(late.status, 409, "{late:?}");
    // Its log, its calls and its folder are forgotten with other old things.
    let old = |it: &String| ["saga log", "call", "operation's folder"].iter().any(|kind| it.starts_with(kind));
    assert_eq!(world.leftovers().await.into_iter().filter(|it| !old(it)).collect::<Vec<_>>(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_not_stuck_cannot_be_resumed() {
    let world = World::start().await;
    let operation = world.deployed().await.operation();

    let refused = world.post(&format!("/v1/operations/{operation}/resume")).await;

    assert_eq!((refused.status, refused.code()), (409, "conflict"));
}

/// A first deploy on EKS whose certificate cannot be taken back; gives its operation.
async fn stuck_in_aws(world: &World) -> String {
    world.failpoints.fail("terraform-apply-alias", "AccessDenied: not authorized");
    world.failpoints.fail("terraform-destroy-certificate", "AccessDenied: not authorized");
    let answer = world.chat(&world.request_for("deploy")).await;
    assert_eq!(answer.state(), "stuck", "{}", answer.text());
    world.failpoints.heal("terraform-apply-alias");
    world.failpoints.heal("terraform-destroy-certificate");
    answer.operation()
}

async fn secrets(world: &World) -> Vec<String> {
    world.texts("SELECT name FROM secrets ORDER BY name").await
}

fn warnings(operation: &Value) -> String {
    operation["warnings"].to_string()
}

fn credentials(world: &World) -> Value {
    json!({"aws_credentials": world.request_for("status")["aws_credentials"]})
}

/// Lets an operation be stuck for so long.
async fn days_pass(world: &mut World, hours: u32) {
    world.server.kill().await;
    world.change(&format!("UPDATE operations SET ended_ms = ended_ms - {hours} * 3600000 WHERE state = 'stuck'")).await;
    world.start_again().await;
}

#[tokio::test]
async fn a_stuck_operation_keeps_its_secrets_and_says_until_when() {
    let mut world = World::on_named_cluster().await;
    let operation = stuck_in_aws(&world).await;
    world.kill_and_start_again().await;

    let shown = world.ended(&operation).await;
    let status = world.chat(&world.request_for("status")).await;

    assert_eq!(secrets(&world).await, ["aws_credentials"]);
    let until = shown["secrets_kept_until"].as_str().expect("it keeps some");
    let next_step = shown["error"]["next_step"].as_str().unwrap();
    assert!(next_step.contains(&until[..10]) && next_step.contains("`aws_credentials`"), "{next_step}");
    assert!(status.text().contains(&until[..10]), "{}", status.text());
    assert_eq!(world.post(&format!("/v1/operations/{operation}/resume")).await.status, 200);
    let undone = world.ended(&operation).await;
    assert_eq!((&undone["state"], undone.get("secrets_kept_until")), (&json!("undone"), None), "{undone:#}");
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_cancel_erases_the_secrets_of_a_stuck_operation_and_names_what_is_left() {
    let world = World::on_named_cluster().await;
    let operation = stuck_in_aws(&world).await;
    let cancel = format!("/v1/operations/{operation}/cancel");

    let cancelled = world.post(&cancel).await;
    let again = world.post(&cancel).await;

    assert_eq!((cancelled.status, &cancelled.body["state"]), (200, &json!("stuck")), "{cancelled:?}");
    let said = warnings(&cancelled.body);
    assert!(said.contains("were erased on request") && said.contains("certificate"), "{said}");
    assert_eq!(again, cancelled);
    assert_eq!(secrets(&world).await, Vec::<String>::new());
    let refused = world.post(&format!("/v1/operations/{operation}/resume")).await;
    let message = refused.body["error"]["message"].as_str().unwrap();
    assert_eq!((refused.status, &refused.body["error"]["param"]), (409, &json!("aws_credentials")), "{refused:?}");
    assert!(message.contains("send `aws_credentials` of the account 111122223333"), "{message}");
    assert_eq!(world.resume(&operation, &of_another()).await.status, 409);
    assert_eq!(world.resume(&operation, &credentials(&world)).await.status, 200);
    assert_eq!(world.ended(&operation).await["state"], "undone");
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_sentence_erases_the_secrets_of_a_stuck_operation_too() {
    let world = World::on_named_cluster().await;
    let operation = stuck_in_aws(&world).await;

    let answer = world.chat(&say("cancel notes")).await;

    assert!(answer.text().contains("are erased") && answer.text().contains(&operation), "{}", answer.text());
    assert_eq!((answer.state(), secrets(&world).await), ("stuck", Vec::new()));
}

#[tokio::test]
async fn secrets_are_erased_when_their_time_is_over_and_a_day_before_it_is_said() {
    let mut world = World::on_named_cluster().await;
    let operation = stuck_in_aws(&world).await;

    days_pass(&mut world, 5 * 24).await;
    assert!(!warnings(&world.ended(&operation).await).contains("secrets"));
    days_pass(&mut world, 25).await;
    eventually("the warning", async || warnings(&world.ended(&operation).await).contains("are erased at")).await;
    assert!(world.server.log().contains("are erased within a day"), "{}", world.server.log());
    assert_eq!(secrets(&world).await, ["aws_credentials"]);

    days_pass(&mut world, 24).await;

    eventually("the secrets to be erased", async || secrets(&world).await.is_empty()).await;
    let shown = world.ended(&operation).await;
    assert!(warnings(&shown).contains("were erased at") && !warnings(&shown).contains("are erased"), "{shown:#}");
    assert_eq!((&shown["state"], shown.get("secrets_kept_until")), (&json!("stuck"), None));
    assert_eq!(world.post(&format!("/v1/operations/{operation}/resume")).await.status, 409);
    assert_eq!(world.resume(&operation, &credentials(&world)).await.status, 200);
    assert_eq!(world.ended(&operation).await["state"], "undone");
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn secrets_of_stuck_operations_can_be_kept_for_no_time_at_all() {
    let mut world = World::with(&[("STUCK_SECRETS_DAYS", "0")]).await;
    world.target_kind = TargetKind::EksWithDomain;

    let operation = stuck_in_aws(&world).await;

    eventually("the secrets to be erased", async || secrets(&world).await.is_empty()).await;
    let shown = world.ended(&operation).await;
    assert!(warnings(&shown).contains("were erased at once"), "{shown:#}");
    assert_eq!(world.resume(&operation, &credentials(&world)).await.status, 200);
    assert_eq!(world.ended(&operation).await["state"], "undone");
}

#[tokio::test]
async fn what_a_resume_cannot_read_is_told_and_changes_nothing() {
    let world = World::start().await;
    let operation = stuck(&world).await;
    let path = format!("/v1/operations/{operation}/resume");
    let cases = [
        (json!({"environment": {}}), 400, "environment"),
        (json!({"git_tokn": "x"}), 400, "git_tokn"),
        (json!({"git_token": 3}), 400, "git_token"),
        (json!({"aws_credentials": "x"}), 400, "aws_credentials"),
        (json!({"aws_credentials": {"aws_access_key_id": "x"}}), 400, "aws_credentials.aws_secret_access_key"),
        (json!({"aws_credentials": {"key": "x"}}), 400, "aws_credentials.key"),
    ];
    for (body, status, param) in cases {
        let refused = world.resume(&operation, &body).await;
        assert_eq!((refused.status, &refused.body["error"]["param"]), (status, &json!(param)), "{body}: {refused:?}");
    }
    let post = |text: &'static str, kind: &'static str| {
        answer(world.request(Method::POST, &path).header("content-type", kind).body(text))
    };
    assert_eq!(post("git_token=x", "application/x-www-form-urlencoded").await.status, 415);
    assert_eq!(post("{", "application/json").await.status, 400);
    assert_eq!(post("[]", "application/json").await.status, 422);
    assert_eq!(world.ended(&operation).await["state"], "stuck");

    world.failpoints.heal("kube-delete-deployments");
    assert_eq!(post("", "application/json").await.status, 200);
    assert_eq!(world.ended(&operation).await["state"], "undone");
}

#[tokio::test]
async fn a_secret_that_comes_with_a_resume_is_shown_to_nobody() {
    let world = World::start().await;
    let operation = stuck(&world).await;
    world.failpoints.fail("kube-delete-deployments", "forbidden for s3cr3t-that-came-late");

    let resumed = world.resume(&operation, &json!({"git_token": "s3cr3t-that-came-late"})).await;

    assert_eq!(resumed.status, 200);
    let shown = world.ended(&operation).await;
    assert!(shown["error"]["message"].as_str().unwrap().contains("forbidden for ***"), "{shown:#}");
    assert_eq!(world.files_with("s3cr3t-that").into_iter().filter(|it| !it.contains("failpoints")).count(), 0);
    assert_eq!(secrets(&world).await, ["git_token"]);
}

#[tokio::test]
async fn secrets_go_when_a_later_operation_resolves_what_is_stuck() {
    let world = World::on_named_cluster().await;
    let operation = stuck_in_aws(&world).await;

    let answer = world.chat(&world.request_for("decommission")).await;

    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    assert_eq!(secrets(&world).await, Vec::<String>::new());
    assert_eq!(world.ended(&operation).await.get("secrets_kept_until"), None);
    assert_eq!(world.aws.things(), Vec::<String>::new());
}

#[tokio::test]
async fn an_operation_that_waits_takes_other_credentials_of_its_account() {
    let mut world = World::with(&[("CERTIFICATE_PATIENCE_S", "1")]).await;
    world.target_kind = TargetKind::EksWithDomain;
    world.failpoints.hold("certificate");
    let answer = world.chat(&world.request_for("deploy")).await;
    assert_eq!(answer.state(), "waiting", "{}", answer.text());
    let operation = answer.operation();
    let sealed = async || world.texts("SELECT sealed FROM secrets").await;
    let before = sealed().await;

    let refused = world.resume(&operation, &of_another()).await;
    assert_eq!((refused.status, sealed().await), (409, before.clone()), "{refused:?}");
    let resumed = world.resume(&operation, &credentials(&world)).await;

    assert_eq!((resumed.status, &resumed.body["resumed"]), (200, &json!("check")), "{resumed:?}");
    assert_ne!(sealed().await, before);
    world.failpoints.release("certificate");
    world.post(&format!("/v1/operations/{operation}/resume")).await;
    assert_eq!(world.ended(&operation).await["state"], "succeeded");
}
