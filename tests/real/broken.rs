//! The broken branches: each is diagnosed with its own reason, and nothing of it is left.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::bed::bed;
use crate::cluster::{nothing_is_left, page};
use crate::server::{Server, shared};

/// A branch, the code of its failure, and words that have to be in the answer.
const BROKEN: [(&str, &str, &[&str]); 9] = [
    ("main", "nothing_to_build", &["Dockerfile"]),
    ("syntax-error", "dockerfile_syntax", &["Line 4", "RUNN"]),
    ("failing-build", "build_failed", &["go build", "main.go"]),
    ("missing-file", "build_failed", &["dist", "line 2"]),
    ("missing-base", "build_failed", &["images.example.com/team/runtime:7", "line 1"]),
    ("crash", "crash_loop", &["exit code 1"]),
    ("loopback-only", "loopback_only", &["127.0.0.1", "0.0.0.0"]),
    ("never-listens", "never_listens", &["listens on no port", "waiting for db:5432"]),
    ("out-of-memory", "out_of_memory", &["memory", "512Mi"]),
];

fn deploy(branch: &str) -> Value {
    json!({
        "action": "deploy", "deployment_mode": "local", "target_namespace": format!("broken-{branch}"),
        "github_repo_url": bed().repository("broken"), "git_ref": branch,
    })
}

#[tokio::test]
async fn every_broken_branch_is_diagnosed_and_leaves_nothing() {
    let server = shared().await;

    join_all(BROKEN.map(|(branch, code, words)| async move {
        let answer = server.ask(deploy(branch)).await;

        is_diagnosed(server, branch, &answer, code, words).await;
        nothing_is_left(server, &answer, None);
    }))
    .await;
}

async fn is_diagnosed(server: &Server, branch: &str, answer: &Answer, code: &str, words: &[&str]) {
    let operation = server.get(&format!("/v1/operations/{}", answer.operation())).await;
    assert_eq!(operation["error"]["code"], code, "{branch}: {operation:#}");
    assert!(["undone", "failed"].contains(&operation["state"].as_str().unwrap()), "{branch}: {operation:#}");
    assert!(answer.words().contains("What to do:"), "{branch}: {}", answer.words());
    for word in words {
        assert!(answer.words().contains(word), "{branch} does not say {word:?}: {}", answer.words());
    }
}

#[tokio::test]
async fn a_wrong_port_gives_way_to_the_one_that_is_served() {
    let server = shared().await;

    let answer = server.ask(deploy("wrong-port")).await.ended("succeeded").says("9090, which is served instead");

    page(&answer.word("app_url")).await;
    server
        .ask(json!({"action": "decommission", "deployment_mode": "local", "instance_id": answer.word("id")}))
        .await
        .ended("succeeded");
}

#[tokio::test]
async fn a_slow_start_is_only_slow() {
    let server = shared().await;

    let answer = server.ask(deploy("slow-start")).await.ended("succeeded");

    assert!(page(&answer.word("app_url")).await.contains("version 1"));
    server
        .ask(json!({"action": "decommission", "deployment_mode": "local", "instance_id": answer.word("id")}))
        .await
        .ended("succeeded");
}

#[tokio::test]
async fn without_expose_the_default_port_is_assumed() {
    let server = shared().await;

    let answer = server.ask(deploy("no-expose")).await.ended("succeeded");

    assert!(page(&answer.word("app_url")).await.contains("version 1"));
    server
        .ask(json!({"action": "decommission", "deployment_mode": "local", "instance_id": answer.word("id")}))
        .await
        .ended("succeeded");
}
