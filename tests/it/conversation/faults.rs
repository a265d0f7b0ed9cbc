//! A model that fails: the answer ends well, and what has begun goes on.

use serde_json::json;

use super::{chunks, deploy, talk, words};
use crate::world::azure::{Azure, Turn, call, refuse, say};

#[tokio::test]
async fn a_model_that_dies_in_mid_stream_ends_the_answer_with_a_word_about_it() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    azure.will([Turn::Die("The capital of".to_owned())]);

    let chunks = chunks(&world, &talk(&["What is the capital of France?"])).await;

    let text = words(&chunks);
    assert!(text.starts_with("The capital of") && text.contains("stopped in the middle"), "{text}");
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "stop");
}

#[tokio::test]
async fn a_model_that_fails_after_a_change_leaves_the_change_and_the_built_in_words() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    azure.will([call("deploy", deploy(&world))]);
    azure.always(refuse(500, "InternalServerError", "down"));

    let answer = world.chat(&talk(&["start my notes"])).await;

    assert_eq!(answer.state(), "succeeded");
    assert!(answer.text().contains("**`notes` is running.**"), "{}", answer.text());
}

#[tokio::test]
async fn a_sentence_is_read_without_the_model_when_it_takes_five_minutes() {
    let azure = Azure::start().await;
    let world = azure.world_with(&[("LLM_TIMEOUT_S", "1")]).await;
    azure.always(Turn::Sleep);
    let sentence = format!("deploy {} locally as notes in namespace team", world.repository("notes"));

    let answer = world.chat(&talk(&[&sentence])).await;
    let streamed = words(&chunks(&world, &talk(&["tell me a joke"])).await);

    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    assert!(streamed.contains("said nothing for 1 s") && streamed.contains("`what is running?`"), "{streamed}");
}

#[tokio::test]
async fn a_model_that_asks_for_a_pause_gets_it() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    let limit = json!({"error": {"code": "429", "message": "Requests have exceeded the rate limit."}});
    azure.will([Turn::Refuse(429, Some(("retry-after-ms", "50")), limit), say("Here I am.")]);

    let answer = world.chat(&talk(&["hello"])).await;

    assert_eq!(answer.text(), "Here I am.");
    assert_eq!(azure.requests().len(), 2);
}

#[tokio::test]
async fn a_wrong_deployment_and_a_wrong_key_are_named_with_their_settings() {
    let azure = Azure::start().await;
    let nowhere = azure.world_with(&[("AZURE_OPENAI_DEPLOYMENT", "gpt-missing")]).await;
    let keyless = azure.world_with(&[("AZURE_OPENAI_API_KEY", "s3cr3t-another-key")]).await;
    let mut own = talk(&["hello"]);
    own["response_format"] = json!({"type": "json_object"});

    let missing = nowhere.chat(&talk(&["hello"])).await;
    let (unknown, refused) = (nowhere.chat(&own).await, keyless.chat(&own).await);

    assert!(missing.text().contains("`gpt-missing`") && missing.text().contains("`AZURE_OPENAI_DEPLOYMENT`"));
    assert_eq!((unknown.status, unknown.code()), (503, "model_unavailable"));
    assert!(unknown.body["error"]["message"].as_str().unwrap().contains("`AZURE_OPENAI_DEPLOYMENT`"));
    assert!(refused.body["error"]["message"].as_str().unwrap().contains("`AZURE_OPENAI_API_KEY`"), "{refused:?}");
    assert!(!refused.body.to_string().contains("s3cr3t"));
}

#[tokio::test]
async fn what_the_content_filter_refuses_is_an_answer_that_says_so() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    let filtered = || {
        let inner = json!({"code": "ResponsibleAIPolicyViolation"});
        Turn::Refuse(
            400,
            None,
            json!({"error": {"code": "content_filter", "message": "The response was filtered.", "innererror": inner}}),
        )
    };
    azure.will([filtered(), Turn::Filter("Well, ".to_owned()), filtered()]);
    let mut own = talk(&["hello"]);
    own["response_format"] = json!({"type": "json_object"});

    let refused = world.chat(&talk(&["something bad"])).await;
    let cut = world.chat(&talk(&["something worse"])).await;
    let passed = world.chat(&own).await;

    assert!(refused.text().contains("content filter"), "{}", refused.text());
    assert_eq!(refused.body["choices"][0]["finish_reason"], "content_filter");
    assert_eq!(cut.body["choices"][0]["finish_reason"], "content_filter");
    assert_eq!((passed.status, passed.code()), (400, "content_filter"));
}

#[tokio::test]
async fn a_value_that_the_model_refuses_is_the_callers_error() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    azure.will([Turn::Refuse(
        400,
        None,
        json!({"error": {"code": "unsupported_value", "message": "`temperature` must be 1", "param": "temperature"}}),
    )]);

    let answer = world.chat(&talk(&["hello"])).await;

    assert_eq!((answer.status, answer.code()), (400, "unsupported_value"), "{answer:?}");
    assert_eq!(answer.body["error"]["param"], "temperature");
}

#[tokio::test]
async fn a_model_that_is_down_is_left_alone_after_a_few_tries() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    azure.always(refuse(503, "ServiceUnavailable", "down"));
    for _ in 0..5 {
        world.chat(&talk(&["hello"])).await;
    }
    let asked = azure.requests().len();

    let answer = world.chat(&talk(&["hello"])).await;

    assert!(answer.text().contains("is asked again in"), "{}", answer.text());
    assert_eq!(azure.requests().len(), asked);
}

#[tokio::test]
async fn a_model_that_cannot_call_tools_still_chats_and_sentences_still_work() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    let refusal = || refuse(400, "invalid_request_error", "`qwen` does not support tools");
    let sentence = format!("deploy {} locally as notes in namespace team", world.repository("notes"));
    azure.will([refusal(), say("Knock knock."), refusal()]);

    let chat = world.chat(&talk(&["tell me a joke"])).await;
    let deployed = world.chat(&talk(&[&sentence])).await;

    assert_eq!(chat.text(), "Knock knock.");
    assert!(azure.offered(1).is_empty());
    assert_eq!(deployed.state(), "succeeded", "{}", deployed.text());
}

#[tokio::test]
async fn a_model_that_always_dies_in_mid_stream_is_left_alone_too() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    azure.always(Turn::Die("Well".to_owned()));
    for _ in 0..5 {
        chunks(&world, &talk(&["hello"])).await;
    }

    let answer = world.chat(&talk(&["hello"])).await;

    assert!(answer.text().contains("is asked again in"), "{}", answer.text());
}
