//! Whatever comes in, the fault is never ours.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};

use super::fixture::Fixture;

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        prop_oneof![Just("deploy"), Just("local"), Just("true"), Just("3"), Just("user"), Just("app-server-default")]
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(any_name(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn any_name() -> impl Strategy<Value = String> {
    let known = [
        "action",
        "deployment_mode",
        "github_repo_url",
        "git_ref",
        "target_namespace",
        "instance_name",
        "instance_id",
        "public_ip",
        "ec2_key_name",
        "aws_credentials",
        "base_hosted_zone_id",
        "app_subdomain_label",
        "scale_replicas",
        "container_port",
        "environment",
        "dockerfile_path",
        "build_target",
        "build_platform",
        "build_args",
        "build_secrets",
        "git_token",
        "rollback_to",
        "keep_target",
        "delete_cluster",
        "follow",
        "tail",
        "confirm",
        "dry_run",
        "messages",
        "model",
        "n",
        "stream",
        "stream_options",
        "role",
        "content",
        "text",
        "type",
        "seed",
        "user",
        "deployment_mod",
    ];
    prop_oneof![4 => proptest::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => any::<String>()]
}

fn any_body() -> impl Strategy<Value = Value> {
    let fields = proptest::collection::btree_map(any_name(), any_json(), 0..8);
    (fields, any::<bool>(), any::<String>()).prop_map(|(fields, is_sound, words)| {
        let mut body: Map<String, Value> = fields.into_iter().collect();
        if is_sound {
            body.insert("messages".to_owned(), json!([{"role": "user", "content": words}]));
            body.insert("model".to_owned(), json!("app-server-default"));
        }
        Value::Object(body)
    })
}

#[test]
fn a_body_of_any_kind_never_gets_a_5xx() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(Fixture::new().setting("ANSWER_WITHIN_S", "1").start());
    let mut runner = TestRunner::new(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() });

    let outcome = runner.run(&any_body(), |body| {
        let response = runtime.block_on(server.chat(&body));
        prop_assert!(response.status().as_u16() < 500, "{body}");
        let text = runtime.block_on(response.text()).unwrap();
        prop_assert!(!text.contains("internal_error"), "{body}");
        Ok(())
    });

    outcome.unwrap();
}

#[test]
fn bytes_that_are_no_json_never_get_a_5xx() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(Fixture::new().start());
    let mut runner = TestRunner::new(ProptestConfig { cases: 100, failure_persistence: None, ..Default::default() });

    let outcome = runner.run(&proptest::collection::vec(any::<u8>(), 0..200), |bytes| {
        let request = server.request(Method::POST, "/v1/chat/completions").header(CONTENT_TYPE, "application/json");
        let response = runtime.block_on(request.body(bytes).send()).unwrap();
        prop_assert!(response.status().is_client_error());
        Ok(())
    });

    outcome.unwrap();
}
