//! Requests that cannot be accepted.

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use super::fixture::{Fixture, deploy, say, with};

/// Status, code and parameter of an error.
async fn error(response: Response) -> (u16, String, Value) {
    let status = response.status().as_u16();
    let is_final = response.headers().get("x-should-retry").is_some_and(|it| it == "false");
    assert_eq!(is_final, (400..500).contains(&status) && status != 429);
    assert!(response.headers().contains_key("x-request-id"));
    let body: Value = response.json().await.unwrap();
    assert!(body["error"]["message"].is_string() && body["error"]["type"].is_string());
    (status, body["error"]["code"].as_str().unwrap().to_owned(), body["error"]["param"].clone())
}

fn expected(status: u16, code: &str, param: impl Into<Value>) -> (u16, String, Value) {
    (status, code.to_owned(), param.into())
}

#[tokio::test]
async fn a_body_that_is_not_json_is_400_and_one_of_the_wrong_kind_is_422() {
    let server = Fixture::new().start().await;
    let post = async |body: &'static str| {
        let request = server.request(Method::POST, "/v1/chat/completions").header(CONTENT_TYPE, "application/json");
        error(request.body(body).send().await.unwrap()).await
    };

    assert_eq!(post("{\"messages\": [").await, expected(400, "invalid_json", Value::Null));
    assert_eq!(post("[]").await, expected(422, "invalid_type", Value::Null));
    assert_eq!(post("{\"messages\": {}}").await, expected(422, "invalid_type", "messages"));
    assert_eq!(post("{}").await, expected(400, "missing_required_parameter", "messages"));
}

#[tokio::test]
async fn a_body_of_another_media_type_is_415() {
    let server = Fixture::new().start().await;

    let response = server.request(Method::POST, "/v1/chat/completions").body("deploy").send().await.unwrap();

    assert_eq!(error(response).await, expected(415, "unsupported_media_type", Value::Null));
}

#[tokio::test]
async fn an_unknown_model_is_404_everywhere() {
    let server = Fixture::new().start().await;

    let in_chat = server.chat(&with(say("help"), "model", json!("gpt-4o"))).await;
    let in_list = server.get("/v1/models/gpt-4o").await;

    assert_eq!(error(in_chat).await, expected(404, "model_not_found", "model"));
    assert_eq!(error(in_list).await, expected(404, "model_not_found", "model"));
}

#[tokio::test]
async fn an_unknown_route_or_method_is_an_error_object() {
    let server = Fixture::new().start().await;

    let route = server.get("/v1/audio/speech").await;
    let method = server.request(Method::DELETE, "/v1/models").send().await.unwrap();

    assert_eq!(error(route).await, expected(404, "route_not_found", Value::Null));
    assert_eq!(error(method).await, expected(405, "method_not_allowed", Value::Null));
}

#[tokio::test]
async fn a_wrong_field_of_ours_is_named() {
    let server = Fixture::new().start().await;

    let wrong = server.chat(&with(deploy("notes"), "scale_replicas", json!(-1))).await;
    let near_miss = server.chat(&with(deploy("notes"), "deployment_mod", json!("local"))).await;
    let many = server.chat(&with(say("help"), "n", json!(2))).await;

    assert_eq!(error(wrong).await, expected(400, "invalid_value", "scale_replicas"));
    assert_eq!(error(near_miss).await, expected(400, "unknown_parameter", "deployment_mod"));
    assert_eq!(error(many).await, expected(400, "invalid_value", "n"));
}

#[tokio::test]
async fn missing_fields_are_named_all_at_once() {
    let server = Fixture::new().start().await;

    let response = server.chat(&with(say("go"), "action", json!("deploy"))).await;

    assert_eq!(response.status(), 400);
    let body: Value = response.json().await.unwrap();
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.contains("deployment_mode") && message.contains("github_repo_url"), "{message}");
}

#[tokio::test]
async fn a_busy_deployment_is_409_and_names_the_operation() {
    let server = Fixture::endless().setting("ANSWER_WITHIN_S", "1").start().await;
    let first = server.answer(&deploy("notes")).await;

    let response = server.chat(&with(deploy("notes"), "scale_replicas", json!(2))).await;

    assert_eq!(response.status(), 409);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["error"]["code"], "deployment_busy");
    assert!(body["error"]["message"].as_str().unwrap().contains(first["operation"]["id"].as_str().unwrap()));
}

#[tokio::test]
async fn a_sane_id_of_the_client_comes_back() {
    let server = Fixture::new().start().await;

    let response = server.request(Method::GET, "/health").header("x-request-id", "mine-1").send().await.unwrap();

    assert_eq!(response.headers()["x-request-id"], "mine-1");
}

#[tokio::test]
async fn what_is_not_there_is_404() {
    let server = Fixture::new().start().await;

    assert_eq!(
        error(server.get("/v1/deployments/nothing").await).await,
        expected(404, "deployment_not_found", Value::Null)
    );
    assert_eq!(
        error(server.get("/v1/operations/op_018bcfe5680070008000000000000fff").await).await,
        expected(404, "operation_not_found", Value::Null)
    );
}

#[tokio::test]
async fn a_key_is_needed_when_the_server_has_keys() {
    let server = Fixture::new().setting("API_KEYS", "a-key-that-is-long-enough").start().await;

    let without = server.chat(&say("help")).await;
    let wrong = server.post_chat(&say("help")).bearer_auth("another").send().await.unwrap();
    let right = server.post_chat(&say("help")).bearer_auth("a-key-that-is-long-enough").send().await.unwrap();
    let health = server.get("/health").await;

    assert_eq!(error(without).await, expected(401, "invalid_api_key", Value::Null));
    assert_eq!(error(wrong).await, expected(401, "invalid_api_key", Value::Null));
    assert_eq!((right.status(), health.status()), (reqwest::StatusCode::OK, reqwest::StatusCode::OK));
}

#[tokio::test]
async fn a_wrong_query_is_400() {
    let server = Fixture::new().start().await;

    for (query, param) in
        [("limit=0", "limit"), ("state=odd", "state"), ("after=x", "after"), ("deployment=x", "deployment")]
    {
        let response = server.get(&format!("/v1/operations?{query}")).await;

        assert_eq!(error(response).await, expected(400, "invalid_value", param));
    }
}
