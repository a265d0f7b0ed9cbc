//! Answers in one piece.

use serde_json::{Value, json};

use super::{Server, deploy, say, with};

async fn answer(server: &Server, body: &Value) -> Value {
    let response = server.chat(body).await;
    assert_eq!(response.status(), 200);
    response.json().await.unwrap()
}

fn content(answer: &Value) -> &str {
    answer["choices"][0]["message"]["content"].as_str().unwrap()
}

#[tokio::test]
async fn help_needs_no_work() {
    let server = Server::start().await;

    let answer = answer(&server, &say("what can you do?")).await;

    assert!(answer["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert_eq!(answer["choices"][0]["message"]["refusal"], Value::Null);
    assert!(answer["usage"]["total_tokens"].as_u64().unwrap() > 2);
    assert!(content(&answer).contains("deploy"));
    assert!(answer.get("operation").is_none());
}

#[tokio::test]
async fn a_deploy_is_answered_when_it_has_ended() {
    let server = Server::start().await;

    let answer = answer(&server, &deploy("notes")).await;

    assert_eq!(answer["operation"]["state"], "succeeded");
    let url = answer["operation"]["url"].as_str().unwrap();
    assert_eq!(server.get(url).await.json::<Value>().await.unwrap()["state"], "succeeded");
    assert_eq!(answer["deployment"]["app_url"], "http://localhost:30001");
    assert!(content(&answer).contains("http://localhost:30001"));
}

#[tokio::test]
async fn who_attaches_gets_the_same_answer() {
    let server = Server::start().await;

    assert_eq!(answer(&server, &deploy("notes")).await, answer(&server, &deploy("notes")).await);
}

#[tokio::test]
async fn a_deploy_that_fails_is_an_answer() {
    let server = Server::start().await;

    let answer = answer(&server, &deploy("broken")).await;

    assert_eq!(answer["operation"]["state"], "undone");
    assert!(content(&answer).contains("exit code 1") && content(&answer).contains("look at its output"));
}

#[tokio::test]
async fn a_deploy_that_takes_long_is_answered_with_how_to_follow_it() {
    let server = Server::with(&[("ANSWER_WITHIN_S", "1")]).await;

    let answer = answer(&server, &deploy("slow")).await;

    assert_eq!(answer["operation"]["state"], "running");
    assert!(content(&answer).contains("/events"));
}

#[tokio::test]
async fn a_dry_run_shows_the_plan() {
    let server = Server::start().await;

    let answer = answer(&server, &with(deploy("notes"), "dry_run", json!("true"))).await;

    assert!(content(&answer).starts_with("**Plan for `notes`.**"));
}

#[tokio::test]
async fn questions_are_answered_with_what_is_there() {
    let server = Server::start().await;
    let ask = async |action: &str| {
        let body = with(with(say("go"), "action", json!(action)), "instance_id", json!("on-demand-infra"));
        let body = with(with(body, "deployment_mode", json!("local")), "instance_name", json!("notes"));
        let body = with(body, "target_namespace", json!("demo"));
        content(&answer(&server, &body).await).to_owned()
    };

    assert!(ask("list").await.contains("| `notes` | running |"));
    assert!(ask("status").await.contains("1 of 1 pods is ready"));
    assert!(ask("logs").await.contains("line 0\nline 1\nline 2"));
}

#[tokio::test]
async fn a_sentence_that_leaves_something_out_is_asked_back() {
    let server = Server::start().await;

    let answer = answer(&server, &say("deploy it please")).await;

    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert!(answer.get("operation").is_none());
}

#[tokio::test]
async fn a_chat_page_that_asks_for_a_title_deploys_nothing() {
    let server = Server::start().await;
    let prompt = "### Task:\nGenerate a title.\n### Output:\n{ \"title\": \"...\" }\n<chat_history>\nUSER: deploy it\n</chat_history>";
    let body = with(deploy("panic"), "messages", json!([{"role": "user", "content": prompt}]));

    let answer = answer(&server, &body).await;

    assert_eq!(serde_json::from_str::<Value>(content(&answer)).unwrap(), json!({"title": "🚀 Deploy it"}));
}
