//! Answers in one piece.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::fixture::{Fixture, content, deploy, say, with};

#[tokio::test]
async fn help_needs_no_work() {
    let server = Fixture::new().start().await;

    let answer = server.answer(&say("what can you do?")).await;

    assert!(answer["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert_eq!(answer["choices"][0]["message"]["refusal"], Value::Null);
    assert!(answer["usage"]["total_tokens"].as_u64().unwrap() > 2);
    assert!(content(&answer).contains("deploy"));
    assert!(answer.get("operation").is_none());
}

#[tokio::test]
async fn a_deploy_that_fails_is_an_answer() {
    let server = Fixture::new().start().await;

    let answer = server.answer(&deploy("notes")).await;

    let state = answer["operation"]["state"].as_str().unwrap();
    assert!(["failed", "undone"].contains(&state), "{state}");
    assert_eq!(answer["deployment"]["instance_name"], "notes");
    assert!(content(&answer).contains("failed") && content(&answer).contains("What to do: "), "{}", content(&answer));
    let operation = server.json(answer["operation"]["url"].as_str().unwrap()).await;
    assert_eq!(operation["state"], state);
    assert!(operation["error"]["message"].is_string());
}

#[tokio::test]
async fn the_same_request_sent_many_times_gets_one_operation_and_equal_answers() {
    let server = Fixture::new().start().await;

    let request = || async {
        let request = server.post_chat(&deploy("notes")).header("idempotency-key", "k-1");
        request.send().await.unwrap().json::<Value>().await.unwrap()
    };
    let answers = join_all((0..20).map(|_| request())).await;

    assert!(answers.iter().all(|it| it == &answers[0]));
    assert_eq!(server.json("/v1/operations").await["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_key_that_comes_with_another_request_is_422() {
    let server = Fixture::new().start().await;
    let send = async |body: &Value| {
        server.post_chat(body).header("idempotency-key", "k-1").send().await.unwrap().status().as_u16()
    };

    let first = send(&deploy("notes")).await;
    let second = send(&deploy("others")).await;

    assert_eq!((first, second), (200, 422));
}

#[tokio::test]
async fn a_deploy_that_takes_long_is_answered_with_how_to_follow_it() {
    let server = Fixture::endless().setting("ANSWER_WITHIN_S", "1").start().await;

    let answer = server.answer(&deploy("notes")).await;

    assert_eq!(answer["operation"]["state"], "running");
    assert!(content(&answer).contains("/events"));
}

#[tokio::test]
async fn a_dry_run_shows_the_plan_and_does_nothing() {
    let server = Fixture::new().start().await;

    let answer = server.answer(&with(deploy("notes"), "dry_run", json!("true"))).await;

    assert!(content(&answer).starts_with("**Plan for `notes`.**"));
    assert_eq!(server.json("/v1/operations").await["data"], json!([]));
}

#[tokio::test]
async fn nothing_deployed_is_an_answer() {
    let server = Fixture::new().start().await;

    let answer = server.answer(&say("what is running?")).await;

    assert!(content(&answer).starts_with("Nothing is deployed."));
}

#[tokio::test]
async fn a_sentence_that_leaves_something_out_is_asked_back() {
    let server = Fixture::new().start().await;

    let answer = server.answer(&say("deploy my application to local")).await;

    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert!(answer.get("operation").is_none());
}

#[tokio::test]
async fn a_chat_page_that_asks_for_a_title_deploys_nothing() {
    let server = Fixture::new().start().await;
    let prompt = "### Task:\nGenerate a title.\n### Output:\n{ \"title\": \"...\" }\n<chat_history>\nUSER: deploy it\n</chat_history>";
    let body = with(deploy("notes"), "messages", json!([{"role": "user", "content": prompt}]));

    let answer = server.answer(&body).await;

    assert_eq!(serde_json::from_str::<Value>(content(&answer)).unwrap(), json!({"title": "🚀 Deploy it"}));
    assert_eq!(server.json("/v1/operations").await["data"], json!([]));
}
