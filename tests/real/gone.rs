//! Gone means gone, and nothing of others goes: a node and a namespace after the removal.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::bed::{CRASHES, Repository, SERVES, bed, dockerfile, must};
use crate::cluster::{Cluster, nothing_is_left};
use crate::server::{Server, free_node_ports, shared};

/// A request about a deployment that is called after its namespace.
fn request(repository: &Repository, action: &str, namespace: &str) -> Value {
    json!({
        "action": action, "deployment_mode": "local", "target_namespace": namespace, "instance_name": namespace,
        "github_repo_url": repository.url(),
    })
}

/// What a node's containerd keeps: references, content, and snapshots of layers (those of containers come and go).
#[derive(Debug, PartialEq)]
struct Kept {
    references: BTreeSet<String>,
    content: BTreeSet<String>,
    layers: BTreeSet<String>,
}

impl Kept {
    fn on(cluster: &Cluster) -> Self {
        let snapshots = cluster.ctr(&["snapshots", "ls"]);
        let keys = snapshots.lines().filter_map(|line| line.split_whitespace().next());
        Self {
            references: cluster.ctr(&["images", "ls", "-q"]).lines().map(str::to_owned).collect(),
            content: cluster.ctr(&["content", "ls", "-q"]).lines().map(str::to_owned).collect(),
            layers: keys.filter(|key| key.starts_with("sha256:")).map(str::to_owned).collect(),
        }
    }

    /// The same without what an image keeps there.
    fn without(cluster: &Cluster, image: &str) -> Self {
        let listed = cluster.ctr(&["images", "ls"]);
        let rows: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
        let named = rows.iter().find(|row| row[0] == image).unwrap_or_else(|| panic!("no `{image}`: {listed}"));
        let references = rows.iter().filter(|row| row[2] == named[2]).map(|row| row[0]);
        cluster.ctr(&["images", "rm", "--sync"].into_iter().chain(references).collect::<Vec<_>>());
        Self::on(cluster)
    }
}

#[tokio::test]
async fn a_node_keeps_nothing_of_what_was_taken_back_or_removed_but_the_base_image() {
    let node_ports = free_node_ports(2);
    let server = Server::start("gone", &node_ports).await;
    let cluster = server.cluster();
    cluster.create("{kind: Cluster, apiVersion: kind.x-k8s.io/v1alpha4, nodes: [{role: control-plane}]}");
    // The layers of the cluster's own images, wherever they run, are unpacked when the first container needs them.
    let all = |words: &[&str]| cluster.kubectl(&[words, &["--all", "--all-namespaces", "--timeout=120s"]].concat());
    all(&["wait", "--for=condition=Available", "deployments"]);
    cluster.kubectl(&["rollout", "status", "daemonset/kube-proxy", "-n", "kube-system", "--timeout=120s"]);
    all(&["wait", "--for=condition=Ready", "pods"]);
    let before = Kept::on(&cluster);
    let (base, stays) = ("docker.io/library/busybox:stable", "Stays as a cache until the cluster goes: base image");
    let repository = Repository::page("gone");

    repository.commit(&[("Dockerfile", &dockerfile(CRASHES))]);
    server.ask(request(&repository, "deploy", "taken-back")).await.ended("undone").says(stays);
    assert_eq!(Kept::without(&cluster, base), before);

    repository.commit(&[("Dockerfile", &dockerfile(SERVES))]);
    let first = server.ask(request(&repository, "deploy", "gone")).await.ended("succeeded");
    must("kind", &["load", "docker-image", &first.word("image"), "--name", cluster.name()]);
    assert!(cluster.images().contains("import-"), "kind gives what it loads a reference of its own");
    repository.commit(&[("Dockerfile", &dockerfile(CRASHES)), ("www/index.html", "version 2\n")]);
    server.ask(request(&repository, "redeploy", "gone")).await.ended("failed");
    repository.commit(&[("Dockerfile", &dockerfile(SERVES)), ("www/index.html", "version 3\n")]);
    let last = server.ask(request(&repository, "redeploy", "gone")).await.ended("succeeded");
    // What loses its name alone keeps its id, and with that everything.
    cluster.ctr(&["images", "rm", &format!("docker.io/{}", last.word("image"))]);

    let gone = server.ask(request(&repository, "decommission", "gone")).await.ended("succeeded");

    nothing_is_left(&server, &gone, Some(first.deployment("image")));
    gone.says(stays).says("`busybox:stable`");
    assert_eq!(Kept::without(&cluster, base), before);
}

/// A Role, a quota and an object of a kind that the cluster did not know.
const FOREIGN: &str = r#"
{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: reader, namespace: inhabited}, rules: []}
---
{apiVersion: v1, kind: ResourceQuota, metadata: {name: small, namespace: inhabited}, spec: {hard: {services: "50"}}}
---
{apiVersion: gone.example.com/v1, kind: Widget, metadata: {name: one, namespace: inhabited}}
"#;
const WIDGETS: &str = r"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.gone.example.com}
spec:
  group: gone.example.com
  scope: Namespaced
  names: {plural: widgets, kind: Widget}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
";

#[tokio::test]
async fn a_namespace_stays_while_something_of_others_is_in_it() {
    let server = shared().await;
    let cluster = server.cluster();
    let (good, bad) = (Repository::page("inhabited"), Repository::page("inhabited-but-broken"));
    bad.commit(&[("Dockerfile", &dockerfile(CRASHES))]);
    let file = |name: &str, text: &str| {
        let path = bed().root.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (widgets, foreign) = (file("widgets.yaml", WIDGETS), file("foreign.yaml", FOREIGN));
    server.ask(request(&good, "deploy", "inhabited")).await.ended("succeeded");
    cluster.kubectl(&["apply", "-f", &widgets]);
    cluster.kubectl(&["wait", "--for=condition=Established", "crd/widgets.gone.example.com", "--timeout=30s"]);
    cluster.kubectl(&["apply", "-f", &foreign]);
    let stays = "The namespace `inhabited` stays: it also holds ResourceQuota `small`, Role `reader`, Widget `one`.";

    server.ask(request(&good, "decommission", "inhabited")).await.ended("succeeded").says(stays);
    server.ask(request(&bad, "deploy", "inhabited")).await.ended("undone").says(stays);

    let left = cluster.kubectl(&["get", "role,resourcequota,widget", "-n", "inhabited", "-o", "name"]);
    assert_eq!(left.lines().count(), 3, "{left}");
    cluster.kubectl(&["delete", "-f", &foreign]);
    server.ask(request(&good, "deploy", "inhabited")).await.ended("succeeded");
    let gone = server.ask(request(&good, "decommission", "inhabited")).await.ended("succeeded");
    nothing_is_left(server, &gone.says("Namespace inhabited"), None);
    cluster.kubectl(&["delete", "-f", &widgets]);
}
