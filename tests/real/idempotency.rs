//! Once means once, on a real cluster.

use futures_util::future::join_all;
use serde_json::json;

use crate::bed::Repository;
use crate::server::shared;

#[tokio::test]
async fn fifty_equal_requests_are_one_deployment_and_fifty_equal_answers() {
    let server = shared().await;
    let repository = Repository::page("fifty");
    let request = |action: &str| {
        json!({
            "action": action, "deployment_mode": "local", "target_namespace": "fifty", "instance_name": "fifty",
            "github_repo_url": repository.url(),
        })
    };

    let answers = join_all((0..50).map(|_| server.ask(request("deploy")))).await;

    let first = &answers[0].body;
    assert_eq!(first["operation"]["state"], "succeeded", "{first:#}");
    for answer in &answers {
        assert_eq!(answer.status, 200, "{:#}", answer.body);
        assert_eq!(answer.words(), answers[0].words());
        assert_eq!(answer.body["operation"], first["operation"]);
        assert_eq!(answer.body["deployment"], first["deployment"]);
    }
    let deployments = server.cluster().kubectl(&["get", "deployments", "-n", "fifty", "-o", "name"]);
    assert_eq!(deployments.lines().count(), 1, "{deployments}");
    assert_eq!(server.cluster().generation(&answers[0]), "1");
    server.ask(request("decommission")).await.ended("succeeded");
}
