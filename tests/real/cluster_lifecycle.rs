//! An empty machine: who comes first makes the cluster, who leaves last may take it away.

use serde_json::{Value, json};

use crate::bed::{CRASHES, Repository, dockerfile};
use crate::cluster::page_with;
use crate::processes::Watch;
use crate::server::{Server, free_node_ports};

fn request(repository: &Repository, action: &str, namespace: &str) -> Value {
    json!({
        "action": action, "deployment_mode": "local", "target_namespace": namespace,
        "github_repo_url": repository.url(),
    })
}

fn and_the_cluster(mut request: Value) -> Value {
    request["delete_cluster"] = json!(true);
    request
}

#[tokio::test]
async fn two_that_arrive_together_make_one_cluster_which_goes_with_the_last() {
    let server = Server::start("empty", &free_node_ports(2)).await;
    let (good, bad) = (Repository::page("together"), Repository::page("together-but-broken"));
    bad.commit(&[("Dockerfile", &dockerfile(CRASHES))]);
    let watch = Watch::begin();

    let (first, second) =
        tokio::join!(server.ask(request(&good, "deploy", "one")), server.ask(request(&bad, "deploy", "two")));

    let first = first.ended("succeeded");
    second.ended("undone").says("no disk");
    page_with(&first.word("app_url"), "version 1").await;
    assert_eq!(watch.twice("real-empty"), [""; 0]);

    server.ask(request(&good, "deploy", "three")).await.ended("succeeded");
    let stays = server.ask(and_the_cluster(request(&good, "decommission", "three"))).await.ended("succeeded");
    stays.says("other deployments run on it");
    assert!(server.cluster().exists());
    page_with(&first.word("app_url"), "version 1").await;

    let gone = server.ask(and_the_cluster(request(&good, "decommission", "one"))).await.ended("succeeded");
    gone.says("kind cluster `real-empty`");
    assert!(!server.cluster().exists());
    let left = std::fs::read_dir(server.workspace().join("targets")).unwrap().count();
    assert_eq!(left, 0, "folders of targets are left");
}
