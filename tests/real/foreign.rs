//! A cluster that somebody else made: used as it is, explained where it differs, never taken away.

use serde_json::{Value, json};

use crate::bed::{Repository, must};
use crate::cluster::page_with;
use crate::server::{Server, free_node_ports};

fn request(repository: &Repository, action: &str, namespace: &str) -> Value {
    json!({
        "action": action, "deployment_mode": "local", "target_namespace": namespace,
        "github_repo_url": repository.url(), "delete_cluster": action == "decommission",
    })
}

/// Of the two node ports that the server uses the cluster maps only the first.
fn config(mapped: &str) -> String {
    format!(
        "
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes:
- role: control-plane
  extraPortMappings:
  - {{containerPort: {mapped}, hostPort: {mapped}, listenAddress: 127.0.0.1}}
"
    )
}

#[tokio::test]
async fn a_cluster_of_somebody_else_is_used_and_stays_and_is_diagnosed_when_it_is_broken() {
    let node_ports = free_node_ports(2);
    let (first, second) = node_ports.split_once('-').unwrap();
    let server = Server::start("foreign", &node_ports).await;
    let cluster = server.cluster();
    cluster.create(&config(first));
    let repository = Repository::page("guest");

    let mapped = server.ask(request(&repository, "deploy", "mapped")).await.ended("succeeded");
    let unmapped = server.ask(request(&repository, "deploy", "unmapped")).await.ended("succeeded");

    let (mapped, unmapped) =
        if mapped.word("app_url").contains("localhost") { (mapped, unmapped) } else { (unmapped, mapped) };
    assert_eq!(mapped.word("app_url"), format!("http://localhost:{first}"));
    page_with(&mapped.word("app_url"), "version 1").await;
    let unmapped = unmapped.says("port-forward").says(&format!("does not map node port {second}"));
    page_with(&unmapped.word("app_url"), "version 1").await;

    let gone = server.ask(request(&repository, "decommission", "mapped")).await.ended("succeeded");
    gone.says("stays");
    let gone = server.ask(request(&repository, "decommission", "unmapped")).await.ended("succeeded");
    gone.says("this server did not make it");
    assert!(cluster.exists());

    let node = format!("{}-control-plane", cluster.name());
    for (breaks, mends) in [("kill", "start"), ("pause", "unpause")] {
        must("docker", &[breaks, &node]);
        let refused = server.ask(request(&repository, "deploy", "refused")).await;
        let operation = server.get(&format!("/v1/operations/{}", refused.operation())).await;
        assert_eq!(operation["error"]["code"], "cluster_broken", "{operation:#}");
        refused.says(&format!("docker {mends} {node}"));
        must("docker", &[mends, &node]);
    }

    must("docker", &["exec", &node, "rm", "/etc/kubernetes/manifests/kube-apiserver.yaml"]);
    while cluster.answers() {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    let refused = server.ask(request(&repository, "deploy", "refused")).await;
    let operation = server.get(&format!("/v1/operations/{}", refused.operation())).await;
    assert_eq!(operation["error"]["code"], "cluster_broken", "{operation:#}");
    refused.says("`real-foreign` is there, but does not work").says("`kind delete cluster --name real-foreign`");
    assert!(cluster.exists());
}
