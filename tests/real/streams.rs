//! Answers in chunks: what goes on while it goes on, and logs that go on.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::bed::Repository;
use crate::cluster::page_with;
use crate::server::shared;

fn words(payload: &str) -> String {
    let chunk: Value = serde_json::from_str(payload).unwrap_or_default();
    chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_deploy_and_its_log_are_told_as_they_happen() {
    let server = shared().await;
    let repository = Repository::page("told");
    let request = |action: &str| {
        json!({
            "action": action, "deployment_mode": "local", "target_namespace": "told", "instance_name": "told",
            "github_repo_url": repository.url(),
        })
    };

    let began = Instant::now();
    let mut stream = pin!(server.stream(request("deploy")).await);
    let first = stream.next().await.unwrap();
    let first_after = began.elapsed();
    let rest: Vec<String> = stream.collect().await;

    // Long before there is anything to tell: a deploy takes many times as long.
    assert!(first_after < Duration::from_secs(1), "the first chunk came after {first_after:?}");
    let first: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(first["choices"][0]["delta"]["role"], "assistant");
    let (done, chunks) = rest.split_last().unwrap();
    assert_eq!(done, "[DONE]");
    let told: Vec<String> = chunks.iter().map(|it| words(it)).filter(|it| !it.is_empty()).collect();
    assert!(told.len() > 5, "{told:?}");
    assert!(told.iter().any(|it| it.starts_with("- ✓")), "{told:?}");
    assert!(told.concat().contains("**`told` is running.**"), "{told:?}");
    let stop: Value = serde_json::from_str(chunks.last().unwrap()).unwrap();
    assert_eq!(stop["choices"][0]["finish_reason"], "stop");
    let url = stop["deployment"]["app_url"].as_str().unwrap().to_owned();

    let mut follow = request("logs");
    follow["follow"] = json!(true);
    let mut lines = pin!(server.stream(follow).await);
    page_with(&format!("{url}/seed.txt"), "").await;
    let visited = async {
        while let Some(payload) = lines.next().await {
            if words(&payload).contains("url:/seed.txt") {
                return;
            }
        }
        panic!("the log ended");
    };
    let heard = tokio::time::timeout(Duration::from_secs(10), visited).await;
    assert!(heard.is_ok(), "the visit is not in the log that is followed");

    server.ask(request("decommission")).await.ended("succeeded");
}
