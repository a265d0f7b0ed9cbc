//! The example repositories that work: deployed, changed, scaled, taken back, removed.

use serde_json::{Value, json};

use crate::answer::Answer;
use crate::bed::bed;
use crate::cluster::{fetch, nothing_is_left, page, page_with};
use crate::server::{Server, shared};

/// An example repository and how its version shows.
struct Example {
    repository: &'static str,
    namespace: &'static str,
    /// The page says it; else only the log does.
    page_tells: bool,
}

impl Example {
    fn of(repository: &'static str, namespace: &'static str) -> Self {
        Self { repository, namespace, page_tells: true }
    }

    /// A request about it.
    fn request(&self, action: &str, more: Value) -> Value {
        let mut fields = json!({
            "action": action, "deployment_mode": "local", "target_namespace": self.namespace,
            "github_repo_url": bed().repository(self.repository),
        });
        if self.repository.starts_with("private/") {
            fields["git_token"] = json!(bed().git_token);
        }
        if let (Value::Object(fields), Value::Object(more)) = (&mut fields, more) {
            fields.extend(more);
        }
        fields
    }

    async fn shows(&self, server: &Server, answer: &Answer, version: &str) {
        let url = answer.word("app_url");
        if self.page_tells {
            page_with(&url, version).await;
        } else {
            page(&url).await;
            server.ask(self.request("logs", json!({}))).await.says(version);
        }
    }

    /// The whole life of a deployment.
    async fn lives(&self) {
        let server = shared().await;
        let cluster = server.cluster();

        let planned = server.ask(self.request("deploy", json!({"dry_run": true}))).await.says("Nothing was changed");
        assert_eq!(planned.body["operation"], Value::Null);
        let deployed = server.ask(self.request("deploy", json!({}))).await.ended("succeeded").says("is running");
        self.shows(server, &deployed, "version 1").await;
        self.is_reached_by_a_node_port(server, &deployed);
        let first_image = deployed.deployment("image").clone();

        let before = cluster.generation(&deployed);
        let same = server.ask(self.request("redeploy", json!({}))).await.ended("succeeded");
        let same = same.says("Nothing was built and nothing was rolled out");
        assert_eq!(cluster.generation(&same), before);

        let next = server.ask(self.request("redeploy", json!({"git_ref": "next"}))).await.ended("succeeded");
        self.shows(server, &next, "version 2").await;
        assert_ne!(next.deployment("commit"), deployed.deployment("commit"));

        self.scales(server, &next).await;
        self.is_told_of(server).await;

        let back = server.ask(self.request("rollback", json!({"rollback_to": 1}))).await.ended("succeeded");
        self.shows(server, &back, "version 1").await;
        assert_eq!(back.deployment("commit"), deployed.deployment("commit"));

        let gone = server.ask(self.request("decommission", json!({}))).await.ended("succeeded").says("Removed:");
        nothing_is_left(server, &gone, Some(&first_image));
        nothing_is_left(server, &gone, Some(next.deployment("image")));
        let list = server.ask(json!({"action": "list", "target_namespace": self.namespace})).await;
        list.says("Nothing is deployed");
    }

    /// A Deployment and a Service in the namespace that was asked for, with the node port that the answer names.
    fn is_reached_by_a_node_port(&self, server: &Server, deployed: &Answer) {
        let (name, port) = (deployed.word("instance_name"), deployed.deployment("node_port"));
        let of_service = "jsonpath={.spec.type} {.spec.ports[0].nodePort}";
        let cluster = server.cluster();
        let service = cluster.kubectl(&["get", "service", &name, "-n", self.namespace, "-o", of_service]);
        assert_eq!(service, format!("NodePort {port}"));
        assert_eq!(deployed.word("app_url"), format!("http://localhost:{port}"));
        assert_eq!([deployed.word("instance_id"), deployed.word("target_namespace")], [cluster.name(), self.namespace]);
    }

    async fn scales(&self, server: &Server, deployed: &Answer) {
        let url = deployed.word("app_url");
        let scale = async |replicas: u16| {
            let answer = server.ask(self.request("scale", json!({"scale_replicas": replicas}))).await;
            assert_eq!(answer.deployment("replicas"), replicas);
            answer.ended("succeeded")
        };
        let (namespace, name) = (deployed.word("target_namespace"), deployed.word("instance_name"));
        let ready = || {
            let path = "jsonpath={.status.readyReplicas}";
            server.cluster().kubectl(&["get", "deployment", &name, "-n", &namespace, "-o", path])
        };

        scale(2).await;
        assert_eq!(ready(), "2");
        scale(0).await.says("scaled to 0");
        assert!(fetch(&url).await.is_err(), "it answers without a replica");
        scale(1).await;
        assert_eq!(ready(), "1");
        page(&url).await;
    }

    async fn is_told_of(&self, server: &Server) {
        let logs = server.ask(self.request("logs", json!({"tail": 5}))).await;
        assert_eq!(logs.status, 200, "{:#}", logs.body);
        let status = server.ask(self.request("status", json!({}))).await;
        status.says("1 of 1 replicas serve");
        let list = server.ask(json!({"action": "list", "target_namespace": self.namespace})).await;
        list.says(&format!("`{}`", self.namespace));
    }
}

#[tokio::test]
async fn go_hello_lives_from_deploy_to_decommission() {
    Example::of("go-hello", "my-local-app").lives().await;
}

#[tokio::test]
async fn flask_notes_lives_from_deploy_to_decommission() {
    Example::of("flask-notes", "flask").lives().await;
}

#[tokio::test]
async fn node_clock_lives_from_deploy_to_decommission() {
    Example::of("node-clock", "node").lives().await;
}

#[tokio::test]
async fn static_site_lives_from_deploy_to_decommission() {
    Example::of("static-site", "static").lives().await;
}

#[tokio::test]
async fn nested_lives_from_deploy_to_decommission() {
    Example::of("nested", "nested").lives().await;
}

#[tokio::test]
async fn modern_lives_from_deploy_to_decommission() {
    Example::of("modern", "modern").lives().await;
}

#[tokio::test]
async fn readme_only_lives_from_deploy_to_decommission() {
    Example { page_tells: false, ..Example::of("readme-only", "readme") }.lives().await;
}

#[tokio::test]
async fn the_private_ledger_lives_from_deploy_to_decommission() {
    Example::of("private/ledger", "ledger").lives().await;
}
