//! A cluster as kubectl, docker and a browser see it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::answer::Answer;
use crate::bed::{bed, must, run};

/// A cluster.
pub(crate) struct Cluster {
    name: String,
}

impl Cluster {
    /// The cluster of that name, there or not.
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned() }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is there.
    pub(crate) fn exists(&self) -> bool {
        must("kind", &["get", "clusters", "-q"]).lines().any(|line| line == self.name)
    }

    /// Whether its API answers.
    pub(crate) fn answers(&self) -> bool {
        let file = self.kubeconfig();
        run("kubectl", &["--kubeconfig", file.to_str().unwrap(), "version", "--request-timeout=2s"]).status.success()
    }

    /// Makes it the way a person would; `config` is kind's.
    pub(crate) fn create(&self, config: &str) {
        let file = bed().root.join(format!("{}.yaml", self.name));
        std::fs::write(&file, config).unwrap();
        let image = std::env::var("KIND_NODE_IMAGE").unwrap();
        let (file, kubeconfig) = (file.to_str().unwrap().to_owned(), self.kubeconfig());
        let kubeconfig = kubeconfig.to_str().unwrap();
        must(
            "kind",
            &[
                "create",
                "cluster",
                "-q",
                "--name",
                &self.name,
                "--image",
                &image,
                "--config",
                &file,
                "--kubeconfig",
                kubeconfig,
                "--wait",
                "120s",
            ],
        );
    }

    /// Removes it.
    pub(crate) fn delete(&self) {
        let kubeconfig = self.kubeconfig();
        run("kind", &["delete", "cluster", "-q", "--name", &self.name, "--kubeconfig", kubeconfig.to_str().unwrap()]);
        let _ = std::fs::remove_file(kubeconfig);
    }

    /// What kubectl says; empty when it finds nothing.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        let file = self.kubeconfig();
        if !file.exists() {
            std::fs::write(&file, must("kind", &["get", "kubeconfig", "--name", &self.name])).unwrap();
        }
        let all = [&["--kubeconfig", file.to_str().unwrap()], arguments].concat();
        must("kubectl", &all)
    }

    /// Everything of a deployment that the cluster has: by its label, and its namespace.
    pub(crate) fn objects_of(&self, answer: &Answer) -> Vec<String> {
        if !self.exists() {
            return Vec::new();
        }
        let namespace = answer.word("target_namespace");
        let name = format!("app={}", answer.word("instance_name"));
        let kinds = "deployments,replicasets,pods,services,secrets,configmaps";
        let objects = self.kubectl(&["get", kinds, "-n", &namespace, "-l", &name, "-o", "name"]);
        let namespaces = self.kubectl(&["get", "namespace", &namespace, "--ignore-not-found", "-o", "name"]);
        objects.lines().chain(namespaces.lines()).map(str::to_owned).collect()
    }

    /// The images on its node.
    pub(crate) fn images(&self) -> String {
        self.ctr(&["images", "ls", "-q"])
    }

    /// What `ctr` says in its node.
    pub(crate) fn ctr(&self, arguments: &[&str]) -> String {
        let node = format!("{}-control-plane", self.name);
        must("docker", &[&["exec", &node, "ctr", "-n", "k8s.io"], arguments].concat())
    }

    /// How often its application was rolled out.
    pub(crate) fn generation(&self, answer: &Answer) -> String {
        let (namespace, name) = (answer.word("target_namespace"), answer.word("instance_name"));
        self.kubectl(&["get", "deployment", &name, "-n", &namespace, "-o", "jsonpath={.metadata.generation}"])
    }

    fn kubeconfig(&self) -> PathBuf {
        bed().root.join(format!("{}.kubeconfig", self.name))
    }
}

/// How long the node's proxy may take to learn of a change.
const PROXY_LAG: Duration = Duration::from_secs(10);

/// Fetches a page.
pub(crate) async fn page(url: &str) -> String {
    page_with(url, "").await
}

/// Fetches a page that has to show this, with patience for a proxy that has just learnt of a change.
pub(crate) async fn page_with(url: &str, words: &str) -> String {
    let began = Instant::now();
    loop {
        match fetch(url).await {
            Ok(text) if text.contains(words) => return text,
            other => assert!(began.elapsed() < PROXY_LAG, "`{url}` does not show {words:?}: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Fetches a page once.
pub(crate) async fn fetch(url: &str) -> Result<String, reqwest::Error> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
    client.get(url).send().await?.error_for_status()?.text().await
}

/// Whether Docker has an image.
pub(crate) fn has_image(image: &str) -> bool {
    run("docker", &["image", "inspect", image]).status.success()
}

/// Fails when anything of a deployment is left: on the cluster, on its node, in Docker, in the workspace.
pub(crate) fn nothing_is_left(server: &crate::server::Server, answer: &Answer, image: Option<&Value>) {
    let cluster = server.cluster();
    let nothing: [String; 0] = [];
    assert_eq!(cluster.objects_of(answer), nothing, "left on the cluster");
    let folder = server.workspace().join("deployments").join(answer.word("id"));
    assert!(!folder.exists(), "`{}` is left", folder.display());
    let folder = server.workspace().join("operations").join(answer.operation());
    assert!(!folder.exists(), "`{}` is left", folder.display());
    if let Some(image) = image.and_then(Value::as_str) {
        assert!(!has_image(image), "Docker still has `{image}`");
        assert!(!cluster.exists() || !cluster.images().contains(image), "the node still has `{image}`");
    }
}
