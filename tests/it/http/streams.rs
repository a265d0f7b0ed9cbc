//! Answers in chunks.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::{Value, json};

use super::{Server, deploy, payloads, say, with, words};

fn streamed(body: Value) -> Value {
    with(body, "stream", json!(true))
}

#[tokio::test]
async fn a_deploy_is_told_step_by_step_and_ends_with_done() {
    let server = Server::start().await;
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
    assert_eq!(stop["operation"]["state"], "succeeded");
    assert_eq!(stop["usage"], Value::Null);
    assert_eq!(usage["choices"], json!([]));
    assert!(usage["usage"]["completion_tokens"].as_u64().unwrap() > 1);
    assert!(chunks.iter().all(|it| it["id"] == first["id"] && it["created"] == first["created"]));
    assert!(words(&payloads).starts_with("- ✓ Cloned commit `3f2a1b9c0d1e` (0.4 s)\n\n**`notes` is running.**"));
}

#[tokio::test]
async fn without_include_usage_no_chunk_speaks_of_it() {
    let server = Server::start().await;

    let text = server.chat(&streamed(say("help"))).await.text().await.unwrap();

    assert!(!text.contains("\"usage\""));
}

#[tokio::test]
async fn the_first_chunk_comes_at_once_although_the_work_takes_long() {
    let server = Server::start().await;
    let began = Instant::now();

    let response = server.chat(&streamed(deploy("slow"))).await;
    let first = response.bytes_stream().next().await.unwrap().unwrap();

    assert!(first.starts_with(b"data: {"));
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_fault_in_mid_stream_is_a_frame_with_the_error() {
    let server = Server::start().await;

    let text = server.chat(&streamed(deploy("midway"))).await.text().await.unwrap();

    let last: Value = serde_json::from_str(payloads(&text).last().unwrap()).unwrap();
    assert_eq!(last["error"]["code"], "internal_error");
}

#[tokio::test]
async fn a_request_that_cannot_be_accepted_is_an_error_also_when_a_stream_was_wanted() {
    let server = Server::start().await;

    assert_eq!(server.chat(&streamed(deploy("busy"))).await.status(), 409);
}

#[tokio::test]
async fn only_a_chat_page_gets_status_events() {
    let server = Server::start().await;
    let body = streamed(deploy("notes"));

    let plain = server.chat(&body).await.text().await.unwrap();
    let page = server.post_chat(&body).header("x-openwebui-chat-id", "c1").send().await.unwrap().text().await.unwrap();

    assert!(!plain.contains("\"event\""));
    assert!(page.contains(
        r#""choices":[],"event":{"type":"status","data":{"description":"Clone the repository","done":false}}"#
    ));
    assert!(page.contains(r#""done":true"#));
}

#[tokio::test]
async fn logs_that_are_followed_come_line_by_line() {
    let server = Server::start().await;
    let body = with(with(streamed(say("go")), "action", json!("logs")), "follow", json!(true));
    let body = with(with(body, "deployment_mode", json!("local")), "instance_id", json!("on-demand-infra"));

    let text = server.chat(&body).await.text().await.unwrap();

    assert_eq!(
        words(&payloads(&text)),
        "Output of `notes` in namespace `demo`:\n\n````text\nline 0\nline 1\nline 2\n````\n"
    );
}
