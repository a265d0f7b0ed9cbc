//! No secret leaves in a prompt.

use serde_json::json;

use super::{deploy, talk};
use crate::world::azure::{Azure, call, say};
use crate::world::with;

#[tokio::test]
async fn secrets_in_a_message_stay_here_and_still_reach_the_application() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    let mut arguments = deploy(&world);
    arguments["environment"] = json!({"DB_PASSWORD": "[secret-2]"});
    azure.will([call("deploy", arguments), say("It runs.")]);
    let message =
        "start my notes with DB_PASSWORD=s3cr3t-of-the-application, and never mind ghp_s3cr3t0123456789abcdef";

    let answer = world.chat(&talk(&[message])).await;

    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    let prompts = serde_json::to_string(&azure.requests()).unwrap();
    assert!(!prompts.contains("s3cr3t"), "{prompts}");
    assert!(prompts.contains("DB_PASSWORD=[secret-2]"));
    let secret = world.kube.objects().into_iter().find(|it| it.contains("secrets")).expect("a Secret");
    let (_, name) = secret.rsplit_once('/').unwrap();
    let object = world.kube.object("secrets", "team", name).to_string();
    assert!(
        object.contains("s3cr3t-of-the-application") || object.contains("czNjcjN0LW9mLXRoZS1hcHBsaWNhdGlvbg"),
        "{object}"
    );
}

#[tokio::test]
async fn secrets_of_the_fields_and_of_the_settings_are_known() {
    let azure = Azure::start().await;
    let world = azure.world_with(&[("API_KEYS", "s3cr3t-key-of-a-caller")]).await;
    let body = with(
        talk(&["why does my token 0d1e-s3cr3t-token not work, key s3cr3t-key-of-a-caller?"]),
        "git_token",
        "0d1e-s3cr3t-token",
    );

    let answer = world.post_chat(&body).bearer_auth("s3cr3t-key-of-a-caller").send().await.unwrap();

    assert_eq!(answer.status(), 200);
    let prompts = serde_json::to_string(&azure.requests()).unwrap();
    assert!(!prompts.contains("s3cr3t") && prompts.contains("[secret-"), "{prompts}");
}

#[tokio::test]
async fn a_request_that_passes_through_holds_no_secret_either() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    let mut body = talk(&["parse this: AWS_SECRET_ACCESS_KEY=s3cr3t/of/aws"]);
    body["response_format"] = json!({"type": "json_object"});

    world.chat(&body).await;

    let prompts = serde_json::to_string(&azure.requests()).unwrap();
    assert!(!prompts.contains("s3cr3t") && prompts.contains("[secret-1]"), "{prompts}");
}
