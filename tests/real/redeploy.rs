//! A redeploy that fails: the running version goes on, and answers all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::answer::Answer;
use crate::bed::{CRASHES, Repository, SERVES, dockerfile};
use crate::cluster::{fetch, page_with};
use crate::server::shared;

fn request(repository: &Repository, action: &str) -> Value {
    json!({
        "action": action, "deployment_mode": "local", "target_namespace": "steady", "instance_name": "steady",
        "github_repo_url": repository.url(),
    })
}

/// Fetches a page again and again until it is told to stop; gives what did not answer with these words.
async fn misses(url: String, words: &str, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut misses = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        match fetch(&url).await {
            Ok(text) if text.contains(words) => (),
            other => misses.push(format!("{other:?}")),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    misses
}

#[tokio::test]
async fn a_broken_redeploy_goes_back_to_the_version_that_answered_all_the_time() {
    let server = shared().await;
    let repository = Repository::page("steady");
    let deployed = server.ask(request(&repository, "deploy")).await.ended("succeeded");
    let url = deployed.word("app_url");
    page_with(&url, "version 1").await;
    let stop = Arc::new(AtomicBool::new(false));
    let misses = tokio::spawn(misses(url.clone(), "version 1", Arc::clone(&stop)));

    repository.commit(&[("Dockerfile", &dockerfile(CRASHES)), ("www/index.html", "version 2\n")]);
    let crashed = server.ask(request(&repository, "redeploy")).await.ended("failed");
    repository.commit(&[("Dockerfile", "FROM busybox:stable\nRUN exit 9\n")]);
    let unbuilt = server.ask(request(&repository, "redeploy")).await.ended("failed");

    stop.store(true, Ordering::Relaxed);
    let misses = misses.await.unwrap();
    assert!(misses.is_empty(), "{} requests were not answered by version 1: {misses:?}", misses.len());
    code_is(&crashed, "crash_loop").await;
    let crashed = crashed.says("What ran before is as it was").says("no disk");
    assert_eq!(crashed.deployment("commit"), deployed.deployment("commit"));
    code_is(&unbuilt, "build_failed").await;
    unbuilt.says("What ran before is as it was").says("RUN exit 9");

    repository.commit(&[("Dockerfile", &dockerfile(SERVES)), ("www/index.html", "version 3\n")]);
    server.ask(request(&repository, "redeploy")).await.ended("succeeded").says("runs its new version");
    page_with(&url, "version 3").await;
    server.ask(request(&repository, "decommission")).await.ended("succeeded");
}

async fn code_is(answer: &Answer, code: &str) {
    let operation = shared().await.get(&format!("/v1/operations/{}", answer.operation())).await;
    assert_eq!(operation["error"]["code"], code, "{operation:#}");
}
