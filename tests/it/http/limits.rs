//! Limits: how large, how often, how slow.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::fixture::{Fixture, deploy, say, with};

#[tokio::test]
async fn a_body_that_is_too_large_gets_a_readable_413() {
    let server = Fixture::new().start().await;
    let body = say(&"x".repeat(3 * 1024 * 1024));

    let announced = server.chat(&body).await;
    let bytes = serde_json::to_vec(&body).unwrap();
    let pieces: Vec<Result<Vec<u8>, std::io::Error>> = bytes.chunks(65_536).map(|it| Ok(it.to_vec())).collect();
    let in_pieces = server
        .request(Method::POST, "/v1/chat/completions")
        .header(CONTENT_TYPE, "application/json")
        .body(reqwest::Body::wrap_stream(futures_util::stream::iter(pieces)))
        .send()
        .await
        .unwrap();

    for response in [announced, in_pieces] {
        assert_eq!(response.status(), 413);
        assert_eq!(response.json::<Value>().await.unwrap()["error"]["code"], "body_too_large");
    }
}

#[tokio::test]
async fn a_header_that_is_too_large_is_431() {
    let server = Fixture::new().start().await;

    let response = server.request(Method::GET, "/health").header("x-long", "x".repeat(20_000)).send().await.unwrap();

    assert_eq!(response.status(), 431);
    assert_eq!(response.json::<Value>().await.unwrap()["error"]["code"], "header_too_large");
}

#[tokio::test]
async fn too_many_requests_a_minute_are_429_until_later() {
    let server = Fixture::new().setting("RATE_LIMIT_PER_MINUTE", "2").start().await;

    let first = server.chat(&say("help")).await.status();
    let second = server.chat(&say("help")).await.status();
    let third = server.chat(&say("help")).await;

    assert_eq!((first.as_u16(), second.as_u16(), third.status().as_u16()), (200, 200, 429));
    let seconds: u64 = third.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=30).contains(&seconds));
    assert!(third.headers().contains_key("x-request-id"));
    assert_eq!(third.json::<Value>().await.unwrap()["error"]["code"], "rate_limit_exceeded");
    assert_eq!(server.get("/health").await.status(), 200);
}

#[tokio::test]
async fn keys_have_their_own_rate() {
    let (one, other) = ("first-key-that-is-long-enough", "second-key-that-is-long-enough");
    let server = Fixture::new()
        .setting("RATE_LIMIT_PER_MINUTE", "1")
        .setting("API_KEYS", &format!("{one},{other}"))
        .start()
        .await;
    let models =
        async |key: &str| server.request(Method::GET, "/v1/models").bearer_auth(key).send().await.unwrap().status();

    assert_eq!((models(one).await.as_u16(), models(one).await.as_u16(), models(other).await.as_u16()), (200, 429, 200));
    assert_eq!((models("bogus-1").await.as_u16(), models("bogus-2").await.as_u16()), (401, 429));
}

#[tokio::test]
async fn one_stream_more_than_the_settings_allow_is_503() {
    let server = Fixture::endless().setting("MAX_OPEN_STREAMS", "1").start().await;
    let slow = with(deploy("slow"), "stream", json!(true));

    let first = server.chat(&slow).await;
    let second = server.chat(&slow).await;

    assert_eq!((first.status().as_u16(), second.status().as_u16()), (200, 503));
    assert_eq!(second.json::<Value>().await.unwrap()["error"]["code"], "too_many_streams");
}

#[tokio::test]
async fn a_server_without_keys_is_not_reached_under_a_rebound_name() {
    let server = Fixture::new().start().await;

    let response = server.post_chat(&say("help")).header("host", "rebound.example.test").send().await.unwrap();

    assert_eq!(response.status(), 403);
}

#[tokio::test]
async fn answers_carry_security_headers_and_cors_only_where_it_is_set() {
    let server = Fixture::new().setting("CORS_ALLOWED_ORIGINS", "https://page.example.test").start().await;
    let from =
        async |origin: &str| server.request(Method::GET, "/v1/models").header("origin", origin).send().await.unwrap();

    let ours = from("https://page.example.test").await;
    let other = from("https://other.example.test").await;

    assert_eq!(ours.headers()["x-content-type-options"], "nosniff");
    assert_eq!(ours.headers()["access-control-allow-origin"], "https://page.example.test");
    assert!(!other.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn a_shutdown_answers_what_is_open_and_then_ends() {
    let server = Fixture::endless().start().await;
    let stream = server.chat(&with(deploy("slow"), "stream", json!(true))).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut seen = [0; 16];
    idle.read_exact(&mut seen).await.unwrap();

    server.shutdown.cancel();

    let text = stream.text().await.unwrap();
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    assert!(server.app.is_shutting_down());
    tokio::time::timeout(Duration::from_secs(5), server.serving).await.unwrap().unwrap();
}
