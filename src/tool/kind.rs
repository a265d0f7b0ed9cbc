//! Kind: clusters in containers of this machine, or of one that is reached by ssh.
//!
//! Kind keeps no state of its own: a cluster is its containers, and a creation that was killed half way is taken away by
//! [`Kind::delete_cluster`] like any other. The kubeconfig of the person who runs the server is never touched.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::config::value::{KindNetwork, PortRange};
use crate::event::{Line, Lines};
use crate::id::{ClusterName, ImageRef};
use crate::tool::connection::Connection;
use crate::tool::step_calls::StepCalls;
use crate::tool::{Call, Output, ToolError};

pub mod error;

pub use crate::tool::kind::error::KindError;

/// How long a look at clusters may take.
const QUERY_TIMEOUT: Duration = Duration::from_secs(30);
/// What kind and the docker client that it runs get of the server's environment: which Docker it is, and its logins.
const INHERITED: &[&str] = &["KIND_*", "DOCKER_*", "XDG_*"];
/// Name of the call that creates a cluster.
const CREATE_CALL: &str = "kind-create";
/// How long the removal of a cluster may take.
const DELETE_TIMEOUT: Duration = Duration::from_mins(2);

/// The kind program as the settings say.
#[derive(Debug, Clone)]
pub struct Kind {
    connection: Connection,
    program: PathBuf,
    node_image: Option<ImageRef>,
    network: KindNetwork,
    node_ports: PortRange,
    /// Whether a new cluster may have other node ports.
    has_other_ports: bool,
    /// Where a node port listens on the machine that has the cluster.
    node_port_address: Ipv4Addr,
    timeout: Duration,
    docker_host: Option<String>,
}

impl Kind {
    /// Kind as the settings say, on the Docker that they say.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self {
            program: settings.kind.program.clone(),
            network: settings.kind.network,
            has_other_ports: !settings.kind.node_port_range_given,
            node_port_address: Ipv4Addr::LOCALHOST,
            docker_host: Some(settings.docker.host.to_string()),
            ..Self::at(settings, Connection::Local)
        }
    }

    /// The kind of another machine, with the limits of the settings. Its node ports are reached from everywhere.
    #[must_use]
    pub fn at(settings: &Settings, connection: Connection) -> Self {
        Self {
            connection,
            program: "kind".into(),
            node_image: settings.kind.node_image.clone(),
            network: KindNetwork::Host,
            node_ports: settings.kind.node_port_range,
            // On an instance nothing else holds them, and its firewall lets only these in.
            has_other_ports: false,
            node_port_address: Ipv4Addr::UNSPECIFIED,
            timeout: settings.kind.cluster_timeout,
            docker_host: None,
        }
    }

    /// The version of kind, such as `0.30.0`.
    ///
    /// # Errors
    /// [`KindError`] when kind cannot be run.
    pub async fn version(&self) -> Result<String, KindError> {
        let output = self.query(self.call(["version", "--quiet"]), "").await?;
        Ok(output.stdout.trim().trim_start_matches('v').to_owned())
    }

    /// The names of all clusters of this machine, also of those that are half made.
    ///
    /// # Errors
    /// [`KindError`] when kind or Docker does not answer.
    pub async fn clusters(&self) -> Result<Vec<String>, KindError> {
        let output = self.query(self.call(["get", "clusters"]), "").await?;
        Ok(output.stdout.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect())
    }

    /// From where this server reaches its clusters.
    #[must_use]
    pub fn network(&self) -> KindNetwork {
        self.network
    }

    /// A kubeconfig for a cluster: for this machine's loopback, or `internal` for containers on kind's Docker network.
    /// It holds a private key.
    ///
    /// # Errors
    /// [`KindError::NoSuchCluster`], or another when kind or Docker does not answer.
    pub async fn kubeconfig(&self, name: &ClusterName, internal: bool) -> Result<String, KindError> {
        let call = self.call(["get", "kubeconfig", "--name", name.as_str()]);
        let call = if internal { call.arg("--internal") } else { call };
        Ok(self.query(call, name.as_str()).await?.stdout)
    }

    /// The blocks of node ports that a new cluster can have, in order: that of the settings, and others of its size
    /// where the person has not decided.
    pub fn node_port_blocks(&self) -> impl Iterator<Item = PortRange> + use<> {
        let has_others = self.has_other_ports;
        std::iter::successors(Some(self.node_ports), move |block| block.next().filter(|_| has_others))
    }

    /// Creates a cluster with these node ports mapped, and waits until its node is ready.
    ///
    /// Configuration and kubeconfig (for this machine's loopback) are written to `folder`; `calls` is where the call
    /// is on record (see [`Call::run_durably`]). A creation that fails by itself leaves nothing; one that is
    /// cancelled, killed or takes too long may leave a node, for [`Kind::delete_cluster`].
    ///
    /// # Errors
    /// [`KindError`] with the cause.
    pub async fn create_cluster(
        &self,
        name: &ClusterName,
        node_ports: PortRange,
        folder: &Path,
        calls: &StepCalls,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<(), KindError> {
        let config = folder.join("kind.json");
        let text = cluster_config(name, node_ports, self.node_port_address);
        self.connection.write(&config, text.as_bytes()).await.map_err(KindError::Tool)?;
        let wait = format!("{}s", self.timeout.as_secs());
        let mut call = self.call(["create", "cluster", "--name", name.as_str(), "--wait", &wait]);
        call = call.arg("--config").arg(config).arg("--kubeconfig").arg(folder.join("kubeconfig"));
        if let Some(image) = &self.node_image {
            call = call.arg("--image").arg(image);
        }
        let created = call.timeout(self.timeout).run_durably(calls, CREATE_CALL, &with_progress(lines), cancel).await;
        created.map(drop).map_err(|error| self.error(error, name.as_str()))
    }

    /// Whether [`Kind::create_cluster`] has ever been called for this step.
    ///
    /// # Errors
    /// [`KindError`] when the other machine cannot be reached.
    pub async fn was_creation_started(&self, calls: &StepCalls) -> Result<bool, KindError> {
        self.connection.was_started(calls, CREATE_CALL).await.map_err(KindError::Tool)
    }

    /// Removes a cluster, also a half-made one. One that is not there is fine.
    ///
    /// # Errors
    /// [`KindError`] when kind or Docker does not answer.
    pub async fn delete_cluster(
        &self,
        name: &ClusterName,
        calls: &StepCalls,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<(), KindError> {
        // Without a file of ours kind would edit the kubeconfig of the person who runs the server.
        let nobody = calls.folder.join("kind-delete.kubeconfig");
        let call = self.call(["delete", "cluster", "--name", name.as_str()]).arg("--kubeconfig").arg(nobody);
        let deleted = call.timeout(DELETE_TIMEOUT).run_durably(calls, "kind-delete", lines, cancel).await;
        deleted.map(drop).map_err(|error| self.error(error, name.as_str()))
    }

    /// Sends a whole image of this machine's Docker to the nodes: the slow way that always works.
    ///
    /// # Errors
    /// [`KindError`] with the cause.
    pub async fn load_image(
        &self,
        name: &ClusterName,
        image: &ImageRef,
        calls: &StepCalls,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<(), KindError> {
        let call = self.call(["load", "docker-image", image.as_str(), "--name", name.as_str()]);
        let loaded = call.timeout(self.timeout).run_durably(calls, "kind-load", lines, cancel).await;
        loaded.map(drop).map_err(|error| self.error(error, name.as_str()))
    }

    async fn query(&self, call: Call, name: &str) -> Result<Output, KindError> {
        call.timeout(QUERY_TIMEOUT)
            .run(&Lines::none(), &CancellationToken::new())
            .await
            .map_err(|error| self.error(error, name))
    }

    fn call<const N: usize>(&self, args: [&str; N]) -> Call {
        let call = self.connection.call(&self.program).args(args).inherit(INHERITED);
        match &self.docker_host {
            Some(host) => call.env("DOCKER_HOST", host),
            None => call,
        }
    }

    fn error(&self, error: ToolError, name: &str) -> KindError {
        KindError::from_tool(error, name, self.node_image.as_ref().map_or("kind's default", ImageRef::as_str))
    }
}

/// The configuration of a cluster of one node: the API server on its machine's loopback alone, node ports at an address.
///
/// The API server is published on the loopback also with `KIND_NETWORK=kind`: this server then reaches it at the node's
/// address in Docker's network, but the person's kubectl uses the loopback.
#[must_use]
pub fn cluster_config(name: &ClusterName, ports: PortRange, address: Ipv4Addr) -> String {
    let mapping = |port: u16| json!({"containerPort": port, "hostPort": port, "listenAddress": address});
    let mappings: Vec<_> = ports.ports().map(mapping).collect();
    let config = json!({
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "name": name.as_str(),
        "networking": {"apiServerAddress": "127.0.0.1"},
        "kubeadmConfigPatches": kubeadm_patches().map(|patch| patch.to_string()),
        "nodes": [{"role": "control-plane", "extraPortMappings": mappings}],
    });
    format!("{config:#}\n")
}

/// What kind changes in kubeadm's configuration for a cluster of one node, whose defaults spare large ones. The control
/// plane need not win an election. The controllers, each with credentials of its own, need not share 20 requests a second,
/// which alone takes them four seconds (kube-controller-manager's `--kube-api-qps`). A pod that has become ready is reached
/// through its Service at once, not after the second for which kube-proxy collects changes (`minSyncPeriod`).
///
/// Kind leaves out a patch whose version it does not use.
fn kubeadm_patches() -> [Value; 3] {
    // Arguments are a map in v1beta3, which is merged with kind's own, and a list in v1beta4, which takes the place of kind's.
    [
        json!({
            "kind": "ClusterConfiguration", "apiVersion": "kubeadm.k8s.io/v1beta3",
            "controllerManager": {
                "extraArgs": {"kube-api-burst": "1000", "kube-api-qps": "500", "leader-elect": "false"},
            },
            "scheduler": {"extraArgs": {"leader-elect": "false"}},
        }),
        json!({
            "kind": "ClusterConfiguration", "apiVersion": "kubeadm.k8s.io/v1beta4",
            "controllerManager": {"extraArgs": [
                {"name": "enable-hostpath-provisioner", "value": "true"},
                {"name": "kube-api-burst", "value": "1000"},
                {"name": "kube-api-qps", "value": "500"},
                {"name": "leader-elect", "value": "false"},
            ]},
            "scheduler": {"extraArgs": [{"name": "leader-elect", "value": "false"}]},
        }),
        json!({
            "kind": "KubeProxyConfiguration", "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "iptables": {"minSyncPeriod": "50ms"}, "nftables": {"minSyncPeriod": "50ms"},
        }),
    ]
}

/// Lines in which kind's stages are also progress for a person.
fn with_progress(lines: &Lines) -> Lines {
    let lines = lines.clone();
    Lines::new(move |line| match line {
        Line::Output(text) => {
            if let Some(stage) = stage(&text) {
                lines.progress(stage);
            }
            lines.output(text);
        }
        Line::Progress(text) => lines.progress(text),
        Line::QuotedProgress(text) => lines.quoted_progress(text),
        Line::Warning(text) => lines.warning(text),
    })
}

/// A stage that begins, such as ` • Preparing nodes 📦  ...`, in plain words.
fn stage(line: &str) -> Option<String> {
    let text = line.trim().strip_prefix('•')?;
    let plain: String = text.chars().filter(char::is_ascii).collect();
    let plain = plain.trim().trim_end_matches('.').trim();
    let words = match plain {
        "Preparing nodes" => "starting the node of the cluster",
        "Writing configuration" => "writing the configuration of the cluster",
        "Starting control-plane" => "starting Kubernetes on the node",
        "Installing CNI" => "setting up the network of the cluster",
        "Installing StorageClass" => "setting up the storage of the cluster",
        _ if plain.starts_with("Waiting") => "waiting until the node is ready",
        _ => match plain.strip_prefix("Ensuring node image (").and_then(|it| it.strip_suffix(')')) {
            Some(image) => return Some(format!("making sure that the node image `{image}` is there")),
            None if plain.is_empty() || plain.starts_with("Ready after") => return None,
            None => return Some(format!("kind: {plain}")),
        },
    };
    Some(words.to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;
    use crate::config::Sources;
    use crate::tool::program_error::ProgramError as _;
    use crate::tool::write_executable;

    /// A kind that is a script on disk, and everything that a call of it said.
    struct World {
        directory: TempDir,
        kind: Kind,
        said: Arc<Mutex<Vec<Line>>>,
    }

    impl World {
        fn new(script: &str) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let program = directory.path().join("kind");
            write_executable(&program, &format!("#!/bin/sh\n{script}\n"));
            let environment = [
                ("KIND_PROGRAM", program.to_str().unwrap()),
                ("KIND_NODE_IMAGE", "kindest/node:v9"),
                ("CLUSTER_TIMEOUT_S", "5"),
            ];
            let (settings, _) = Settings::load(&Sources::of(directory.path(), environment)).unwrap();
            Self { directory, kind: Kind::new(&settings), said: Arc::default() }
        }

        /// A kind that prints this to stderr and fails.
        fn failing(text: &str) -> Self {
            Self::new(&format!("cat >&2 <<'END'\n{text}\nEND\nexit 1"))
        }

        async fn create(&self) -> Result<(), KindError> {
            let said = Arc::clone(&self.said);
            let lines = Lines::new(move |line| said.lock().unwrap().push(line));
            let folder = self.directory.path().join("target");
            let calls = StepCalls::in_folder(self.directory.path().join("calls"));
            let ports = self.kind.node_ports;
            self.kind.create_cluster(&app(), ports, &folder, &calls, &lines, &CancellationToken::new()).await
        }

        fn progress(&self) -> Vec<String> {
            let said = self.said.lock().unwrap();
            said.iter()
                .filter_map(|line| if let Line::Progress(text) = line { Some(text.clone()) } else { None })
                .collect()
        }
    }

    fn app() -> ClusterName {
        ClusterName::parse("app").unwrap()
    }

    async fn cause(text: &str) -> KindError {
        World::failing(text).create().await.unwrap_err()
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_named_with_the_setting_that_chooses_it() {
        let by_docker = "Command Output: 507f\ndocker: Error response from daemon: driver failed programming external \
            connectivity on endpoint app-control-plane (2eea): Bind for 127.0.0.1:31950 failed: port is already allocated";
        let by_program = "docker: Error response from daemon: failed to bind host port for \
            127.0.0.1:31950:172.18.0.2:31950/tcp: address already in use.";

        for text in [by_docker, by_program] {
            let error = cause(text).await;
            assert_eq!(error.to_string(), "port 31950 of this machine is held by another cluster or program");
            assert!(error.next_step().contains("`NODE_PORT_RANGE`") && !error.is_transient());
        }
        assert!(cause("Bind for 127.0.0.1:40115 failed: port is already allocated").await.is_transient());
    }

    #[tokio::test]
    async fn what_kind_prints_tells_the_cause() {
        let failed = "ERROR: failed to create cluster: ";
        let told = [
            (
                "failed to pull image \"kindest/node:v9\": command failed\n\nCommand Output: Error response from daemon: no such host",
                "node_image_unavailable",
            ),
            (
                "failed to get docker info: failed\nCannot connect to the Docker daemon at unix:///x. Is it running?",
                "docker_unreachable",
            ),
            (
                "permission denied while trying to connect to the Docker daemon socket at unix:///x",
                "docker_unreachable",
            ),
            ("node(s) already exist for a cluster with the name \"app\"", "cluster_name_in_use"),
            ("write /var/lib/x: no space left on device", "disk_full"),
            ("Failed to create control group inotify object: Too many open files", "too_many_open_files"),
            (
                "failed to init node with kubeadm: command \"docker exec\" failed with error: exit status 1",
                "cluster_not_ready",
            ),
            (
                "could not find a log line that matches \"Reached target .*Multi-User System.*|detected cgroup v1\"",
                "cluster_not_ready",
            ),
            ("something new", "kind_failed"),
        ];

        for (text, code) in told {
            assert_eq!(cause(&format!("{failed}{text}")).await.code(), code, "{text}");
        }
    }

    #[tokio::test]
    async fn a_missing_node_image_is_named_with_what_docker_says() {
        let error =
            cause("ERROR: failed to pull image\n\nCommand Output: Error response from daemon: no such host").await;

        assert_eq!(
            error.to_string(),
            "the node image `kindest/node:v9` is not on this machine and cannot be pulled: \
             Error response from daemon: no such host"
        );
    }

    #[tokio::test]
    async fn the_stages_of_a_creation_are_told_in_plain_words() {
        let world = World::new(
            "cat >&2 <<'END'\n • Ensuring node image (kindest/node:v9) 🖼  ...\n ✓ Ensuring node image (kindest/node:v9) 🖼\n \
             • Starting control-plane 🕹️  ...\n • Waiting ≤ 2m0s for control-plane = Ready ⏳  ...\n • Ready after 1s 💚\nEND",
        );

        world.create().await.unwrap();

        assert_eq!(
            world.progress(),
            [
                "making sure that the node image `kindest/node:v9` is there",
                "starting Kubernetes on the node",
                "waiting until the node is ready"
            ]
        );
    }

    #[tokio::test]
    async fn the_clusters_and_the_version_are_what_kind_says() {
        let none = World::new("echo 'No kind clusters found.' >&2").kind.clusters().await.unwrap();
        let two = World::new("printf 'app\\nother\\n'").kind.clusters().await.unwrap();
        let version = World::new("echo 0.30.0").kind.version().await.unwrap();

        assert_eq!((none, two, version), (vec![], vec!["app".to_owned(), "other".to_owned()], "0.30.0".to_owned()));
    }

    #[tokio::test]
    async fn a_kind_that_is_not_there_says_which_setting_names_it() {
        let mut world = World::new("");
        world.kind.program = "/nowhere/kind".into();

        let error = world.create().await.unwrap_err();

        assert_eq!(error.to_string(), "cannot run `/nowhere/kind`; install it, or set its path");
        assert!(error.next_step().contains("`KIND_PROGRAM`"));
    }

    #[test]
    fn a_new_cluster_has_other_node_ports_only_where_nobody_gave_them() {
        let blocks = |environment: &[(&str, &str)]| {
            let (settings, _) = Settings::load(&Sources::of(Path::new("/"), environment.iter().copied())).unwrap();
            Kind::new(&settings).node_port_blocks().map(|it| it.to_string()).collect::<Vec<_>>()
        };

        let by_default = blocks(&[]);
        assert_eq!(by_default[..3], ["30000-30015", "30016-30031", "30032-30047"]);
        assert_eq!(by_default.last().unwrap(), "32752-32767");
        assert_eq!(blocks(&[("NODE_PORT_RANGE", "30000-30015")]), ["30000-30015"]);
        assert_eq!(blocks(&[("NODE_PORT_RANGE", "")]).len(), by_default.len());
    }

    #[test]
    fn every_node_port_is_mapped_to_the_loopback_alone() {
        let config = cluster_config(&app(), PortRange { first: 30_000, last: 30_015 }, Ipv4Addr::LOCALHOST);
        let config: serde_json::Value = serde_json::from_str(&config).unwrap();

        let mappings = config["nodes"][0]["extraPortMappings"].as_array().unwrap();
        assert_eq!(mappings.len(), 16);
        assert!(mappings.iter().all(|it| it["listenAddress"] == "127.0.0.1" && it["hostPort"] == it["containerPort"]));
    }

    #[test]
    fn the_control_plane_has_the_same_arguments_in_both_versions_of_its_configuration() {
        let config = cluster_config(&app(), PortRange { first: 30_000, last: 30_000 }, Ipv4Addr::LOCALHOST);
        let config: Value = serde_json::from_str(&config).unwrap();
        let patch = |version: &str| -> Value {
            let patches = config["kubeadmConfigPatches"].as_array().unwrap().iter().map(|it| it.as_str().unwrap());
            let mut patches = patches.map(|text| serde_json::from_str::<Value>(text).unwrap());
            patches.find(|it| it["apiVersion"] == format!("kubeadm.k8s.io/{version}")).unwrap()
        };
        let (map, list) = (patch("v1beta3"), patch("v1beta4"));

        for program in ["controllerManager", "scheduler"] {
            for (name, value) in map[program]["extraArgs"].as_object().unwrap() {
                let whole = list[program]["extraArgs"].as_array().unwrap();
                assert!(whole.contains(&json!({"name": name, "value": value})), "{program} lacks {name}");
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_kind_prints_is_read(line in "\\PC*") {
            let _ = stage(&format!("•{line}"));
            let lines = vec![format!("{line} address already in use {line}")];
            let error = ToolError::Failed { program: "kind".into(), status: "exit code 1".into(), lines };
            let _ = KindError::from_tool(error, "app", "image").failure();
        }
    }
}
