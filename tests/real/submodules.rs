//! A submodule is part of what is built, and a redeploy follows it.

use serde_json::{Value, json};

use crate::bed::Repository;
use crate::cluster::page_with;
use crate::server::shared;

fn request(repository: &Repository, action: &str) -> Value {
    json!({
        "action": action, "deployment_mode": "local", "target_namespace": "submodules", "instance_name": "superproject",
        "github_repo_url": repository.url(),
    })
}

#[tokio::test]
async fn the_application_serves_its_submodule_and_a_redeploy_serves_the_newer_one() {
    let server = shared().await;
    let (library, repository) = (Repository::page("library"), Repository::page("superproject"));
    let first = library.commit(&[("words.txt", "the first words\n")]);
    repository.commit_submodule("www/library", "../../library/.git", &first);

    let deployed = server.ask(request(&repository, "deploy")).await.ended("succeeded");

    let words = format!("{}/library/words.txt", deployed.word("app_url").trim_end_matches('/'));
    page_with(&words, "the first words").await;
    server
        .ask(request(&repository, "redeploy"))
        .await
        .ended("succeeded")
        .says("Nothing was built and nothing was rolled out");

    let second = library.commit(&[("words.txt", "the second words\n")]);
    repository.commit_submodule("www/library", "../../library/.git", &second);
    server.ask(request(&repository, "redeploy")).await.ended("succeeded").says("runs its new version");
    page_with(&words, "the second words").await;

    repository.commit_submodule("www/library", "https://git.elsewhere.test/library", &second);
    let refused = server.ask(request(&repository, "redeploy")).await.ended("failed");
    refused.says("The submodule `www/library` cannot be fetched: `git.elsewhere.test` is not an allowed git host");
    page_with(&words, "the second words").await;
    server.ask(request(&repository, "decommission")).await.ended("succeeded");
}
