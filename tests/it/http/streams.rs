//! Answers in chunks.

use futures_util::StreamExt;
use reqwest::Response;
use serde_json::{Value, json};

use super::fixture::{Fixture, deploy, say, with};
use super::{payloads, words};

fn streamed(body: Value) -> Value {
    with(body, "stream", json!(true))
}

/// Reads until the stream has said this.
async fn read_until(response: Response, wanted: &str) -> String {
    let mut text = String::new();
    let mut bytes = response.bytes_stream();
    while !text.contains(wanted) {
        let piece = bytes.next().await.expect("the stream goes on until it has said it").unwrap();
        text.push_str(&String::from_utf8_lossy(&piece));
    }
    text
}

#[tokio::test]
async fn a_deploy_is_told_step_by_step_and_ends_with_done() {
    let server = Fixture::new().start().await;
    let body = with(streamed(deploy("notes")), "stream_options", json!({"include_usage": true}));

    let response = server.chat(&body).await;

    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let payloads = payloads(&response.text().await.unwrap());
    let (done, chunks) = payloads.split_last().unwrap();
    let chunks: Vec<Value> = chunks.iter().map(|it| serde_json::from_str(it).unwrap()).collect();
    let [first, .., stop, usage] = chunks.as_slice() else { panic!("{chunks:?}") };
    assert_eq!(done, "[DONE]");
    assert_eq!(first["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(stop["choices"][0]["delta"], json!({}));
    assert_eq!(stop["choices"][0]["finish_reason"], "stop");
    assert!(stop["operation"]["id"].as_str().unwrap().starts_with("op_"));
    assert_eq!(stop["usage"], Value::Null);
    assert_eq!(usage["choices"], json!([]));
    assert!(usage["usage"]["completion_tokens"].as_u64().unwrap() > 1);
    assert!(chunks.iter().all(|it| it["id"] == first["id"] && it["created"] == first["created"]));
    let words = words(&payloads);
    assert!(words.contains("- ✗ ") && words.contains("\n\n**The deploy of `notes` failed"), "{words}");
}

#[tokio::test]
async fn without_include_usage_no_chunk_speaks_of_it() {
    let server = Fixture::new().start().await;

    let text = server.chat(&streamed(say("help"))).await.text().await.unwrap();

    assert!(!text.contains("\"usage\""));
    assert!(text.ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn the_first_chunk_comes_at_once_although_the_work_takes_long() {
    let server = Fixture::endless().start().await;

    let response = server.chat(&streamed(deploy("notes"))).await;
    let first = response.bytes_stream().next().await.unwrap().unwrap();

    assert!(first.starts_with(b"data: {"));
}

#[tokio::test]
async fn a_request_that_cannot_be_accepted_is_an_error_also_when_a_stream_was_wanted() {
    let server = Fixture::new().start().await;
    let elsewhere = with(streamed(deploy("notes")), "github_repo_url", json!("https://other.example.test/a/b"));

    assert_eq!(server.chat(&elsewhere).await.status(), 400);
}

#[tokio::test]
async fn only_a_chat_page_gets_status_events() {
    let server = Fixture::new().start().await;
    let send = async |name: &str| server.post_chat(&streamed(deploy(name)));

    let plain = send("one").await.send().await.unwrap().text().await.unwrap();
    let page = send("two").await.header("x-openwebui-chat-id", "c1").send().await.unwrap().text().await.unwrap();

    assert!(!plain.contains("\"event\""));
    assert!(page.contains(r#""choices":[],"event":{"type":"status","data":{"description":""#));
    assert!(page.contains(r#""done":true"#));
}

#[tokio::test]
async fn who_attaches_to_a_stream_reads_the_same_words() {
    let server = Fixture::new().start().await;
    let send = async || {
        let request = server.post_chat(&streamed(deploy("notes"))).header("idempotency-key", "k-1");
        words(&payloads(&request.send().await.unwrap().text().await.unwrap()))
    };

    assert_eq!(send().await, send().await);
}

#[tokio::test]
async fn a_client_that_leaves_does_not_cancel() {
    let server = Fixture::endless().setting("MAX_OPEN_STREAMS", "1").start().await;

    let text = read_until(server.chat(&streamed(deploy("notes"))).await, r#""content":"- "#).await;

    assert!(text.contains("\"role\":\"assistant\""));
    let operations = server.json("/v1/operations").await;
    assert_eq!(operations["data"][0]["state"], "running");
}
