//! The routes beside the chat.

use reqwest::Method;
use serde_json::{Value, json};

use super::fixture::{Fixture, TestServer, deploy, say};

/// The path of the operation that a deploy started, after it has ended.
async fn a_failed_deploy(server: &TestServer) -> String {
    server.answer(&deploy("notes")).await["operation"]["url"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_model_is_listed() {
    let server = Fixture::new().start().await;

    let list = server.json("/v1/models").await;

    assert_eq!(list["object"], "list");
    assert_eq!(list["data"][0]["id"], "app-server-default");
    assert_eq!(server.json("/v1/models/app-server-default").await, list["data"][0]);
}

#[tokio::test]
async fn operations_and_deployments_are_listed_and_shown() {
    let server = Fixture::new().start().await;
    let path = a_failed_deploy(&server).await;

    let operation = server.json(&path).await;
    let operations = server.json("/v1/operations?limit=100").await;
    let others = server.json("/v1/operations?state=succeeded").await;
    let deployments = server.json("/v1/deployments?mode=local&state=removed").await;

    assert_eq!(operations["data"][0], operation);
    assert_eq!(operations["first_id"], operation["id"]);
    assert_eq!(operations["has_more"], json!(false));
    assert_eq!((&others["data"], &others["first_id"]), (&json!([]), &Value::Null));
    assert_eq!(operation["deployment"], deployments["data"][0]);
    assert!(operation["steps"].as_array().unwrap().iter().any(|it| it["state"] != "pending"));
}

#[tokio::test]
async fn events_are_replayed_from_where_the_client_left() {
    let server = Fixture::new().start().await;
    let path = format!("{}/events", a_failed_deploy(&server).await);

    let all = server.get(&path).await.text().await.unwrap();
    let last = all.matches("data: ").count();
    let request = server.request(Method::GET, &path).header("last-event-id", (last - 1).to_string());
    let rest = request.send().await.unwrap().text().await.unwrap();

    assert!(all.contains("event: step_started\n") && all.contains("id: 2\n"));
    assert_eq!(rest.matches("data: ").count(), 1);
    assert!(rest.contains("event: operation_state\n"));
}

#[tokio::test]
async fn an_operation_is_cancelled_while_it_runs_and_not_later() {
    let server = Fixture::endless().setting("ANSWER_WITHIN_S", "1").start().await;
    let path = a_failed_deploy(&server).await;

    let running = server.post(&format!("{path}/cancel")).await.status();
    server.get(&format!("{path}/events")).await.text().await.unwrap();
    let ended = server.post(&format!("{path}/cancel")).await.status();

    assert_eq!((running.as_u16(), ended.as_u16()), (200, 409));
    assert_eq!(server.json(&path).await["state"], "cancelled");
}

#[tokio::test]
async fn operators_see_health_readiness_and_metrics() {
    let server = Fixture::new().start().await;
    server.chat(&say("help")).await;

    assert_eq!(server.json("/health").await["status"], "ok");
    let ready: Value = server.get("/health/ready").await.json().await.unwrap();
    assert!(ready["checks"].as_array().unwrap().iter().any(|it| it["name"] == "store" && it["ok"] == true), "{ready}");
    let metrics = server.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains(r#"http_requests_total{method="POST",route="/v1/chat/completions",status="200"}"#));
}

#[tokio::test]
async fn the_metrics_tell_of_open_operations_and_of_steps_that_failed() {
    let server = Fixture::new().start().await;
    let path = a_failed_deploy(&server).await;
    server.get(&format!("{path}/events")).await.text().await.unwrap();

    let metrics = server.get("/metrics").await.text().await.unwrap();

    let of_failures = |line: &str| line.starts_with("step_failures_total{") && line.contains(r#"phase="run""#);
    assert!(metrics.lines().any(of_failures), "{metrics}");
    for state in ["queued", "running", "waiting", "stuck"] {
        assert!(metrics.contains(&format!(r#"operations_open{{state="{state}"}} "#)), "{metrics}");
        assert!(metrics.contains(&format!(r#"operations_oldest_seconds{{state="{state}"}} "#)), "{metrics}");
    }
}

#[tokio::test]
async fn every_path_of_the_document_is_a_route() {
    let server = Fixture::new().start().await;
    let document = server.json("/openapi.json").await;

    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let response = server.request(method.clone(), path).send().await.unwrap();
            let text = response.text().await.unwrap();
            assert!(!text.contains("route_not_found") && !text.contains("method_not_allowed"), "{method} {path}");
        }
    }
}
