//! An empty machine: who comes first makes the cluster, who leaves last may take it away.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::bed::{CRASHES, Repository, dockerfile};
use crate::cluster::page_with;
use crate::processes::Watch;
use crate::server::Server;

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
    // Nobody has chosen the node ports, and another program holds one of the default ones, if not a cluster.
    let server = Server::start("empty", "").await;
    let _held = TcpListener::bind(("127.0.0.1", 30_000));
    let (good, bad) = (Repository::page("together"), Repository::page("together-but-broken"));
    bad.commit(&[("Dockerfile", &dockerfile(CRASHES))]);
    let watch = Watch::begin();

    let (first, second) =
        tokio::join!(server.ask(request(&good, "deploy", "one")), server.ask(request(&bad, "deploy", "two")));

    let (first, second) = (first.ended("succeeded"), second.ended("undone").says("no disk"));
    let told = [first.words(), second.words()].concat();
    assert!(told.contains("30000-30015 are held by another cluster or program, so the new cluster `real-empty` has"));
    assert_ne!(first.word("app_url"), "http://localhost:30000");
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
