//! The routes beside the chat.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Server, deploy, with};

const OPERATION: &str = "/v1/operations/op_018bcfe56800700080000000000000aa";

async fn json(server: &Server, path: &str) -> Value {
    let response = server.get(path).await;
    assert_eq!(response.status(), 200, "{path}");
    response.json().await.unwrap()
}

#[tokio::test]
async fn the_model_is_listed() {
    let server = Server::start().await;

    let list = json(&server, "/v1/models").await;

    assert_eq!(list["object"], "list");
    assert_eq!(list["data"][0]["id"], "app-server-default");
    assert_eq!(json(&server, "/v1/models/app-server-default").await, list["data"][0]);
}

#[tokio::test]
async fn operations_and_deployments_are_listed_and_shown() {
    let server = Server::start().await;

    let operations = json(&server, "/v1/operations?limit=100&state=succeeded").await;
    let operation = json(&server, OPERATION).await;
    let deployments = json(&server, "/v1/deployments?mode=local").await;

    assert_eq!(operations["data"][0], operation);
    assert_eq!(operations["first_id"], operation["id"]);
    assert_eq!(operations["has_more"], json!(false));
    assert_eq!(operation["deployment"], deployments["data"][0]);
    assert_eq!(operation["steps"][0]["state"], "succeeded");
    assert_eq!(operation["error"], Value::Null);
}

#[tokio::test]
async fn events_are_replayed_from_where_the_client_left() {
    let server = Server::start().await;

    let all = server.get(&format!("{OPERATION}/events")).await.text().await.unwrap();
    let request = server.request(Method::GET, &format!("{OPERATION}/events")).header("last-event-id", "3");
    let rest = request.send().await.unwrap().text().await.unwrap();

    assert_eq!(all.matches("data: ").count(), 4);
    assert!(all.contains("event: step_started\n") && all.contains("id: 2\n"));
    assert_eq!(rest.matches("data: ").count(), 1);
    assert!(rest.contains(r#""type":"operation_state","state":"succeeded""#));
}

#[tokio::test]
async fn an_operation_that_has_ended_cannot_be_cancelled() {
    let server = Server::start().await;

    let ended = server.request(Method::POST, &format!("{OPERATION}/cancel")).send().await.unwrap();
    let running = OPERATION.replace("aa", "bb");
    let running = server.request(Method::POST, &format!("{running}/cancel")).send().await.unwrap();

    assert_eq!((ended.status().as_u16(), running.status().as_u16()), (409, 200));
}

#[tokio::test]
async fn the_output_of_an_application_is_shown_and_followed() {
    let server = Server::start().await;
    let path = "/v1/deployments/dep_018bcfe568007000800000000000000b/logs";

    let lines = json(&server, &format!("{path}?tail=2")).await;
    let followed = server.get(&format!("{path}?follow=true")).await.text().await.unwrap();

    assert_eq!(lines["lines"], json!(["line 0", "line 1"]));
    assert!(followed.starts_with("data: {\"line\":\"line 0\"}\n\n"));
}

#[tokio::test]
async fn operators_see_health_readiness_and_metrics() {
    let server = Server::start().await;
    server.chat(&with(deploy("notes"), "stream", json!(true))).await.text().await.unwrap();

    assert_eq!(json(&server, "/health").await["status"], "ok");
    assert_eq!(json(&server, "/health/ready").await["checks"][0]["name"], "store");
    let metrics = server.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains(r#"http_requests_total{method="POST",route="/v1/chat/completions",status="200"}"#));
    assert!(metrics.contains("http_open_streams"));
}

#[tokio::test]
async fn every_path_of_the_document_is_a_route() {
    let server = Server::start().await;
    let document = json(&server, "/openapi.json").await;

    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let response = server.request(method.clone(), path).send().await.unwrap();
            let text = response.text().await.unwrap();
            assert!(!text.contains("route_not_found") && !text.contains("method_not_allowed"), "{method} {path}");
        }
    }
}
