//! Why a local cluster cannot be worked with, recognised from what kind prints.

use std::time::Duration;

use crate::config::value::LAST_NODE_PORT;
use crate::tool::ToolError;
use crate::tool::program_error::ProgramError;

/// Says why kind could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum KindError {
    /// A port that the cluster needs is held by something else.
    #[error("{} of this machine is held by another cluster or program", port_words(*.port))]
    PortTaken {
        /// The port, where kind named it.
        port: Option<u16>,
    },
    /// The image of the node is not there and cannot be pulled.
    #[error("the node image `{image}` is not on this machine and cannot be pulled: {reason}")]
    NodeImage {
        /// The image.
        image: String,
        /// What Docker said.
        reason: String,
    },
    /// Docker does not answer.
    #[error("kind cannot reach Docker: {reason}")]
    Docker {
        /// What Docker said.
        reason: String,
    },
    /// Nodes of a cluster of that name are there.
    #[error("there is already a cluster `{name}`")]
    NameInUse {
        /// The cluster.
        name: String,
    },
    /// There is no cluster of that name.
    #[error("there is no cluster `{name}`")]
    NoSuchCluster {
        /// The cluster.
        name: String,
    },
    /// The image that should be loaded is not on this machine.
    #[error("the image to load is not on this machine: {reason}")]
    NoSuchImage {
        /// What kind said.
        reason: String,
    },
    /// The disk is full.
    #[error("the disk of this machine is full")]
    DiskFull,
    /// The limits of inotify or of open files are reached.
    #[error("the machine's limit of open files or inotify watches is reached")]
    TooManyFiles,
    /// The node started and Kubernetes did not.
    #[error("Kubernetes did not come up on the node: {reason}")]
    ControlPlane {
        /// The line that says most.
        reason: String,
        /// The last lines.
        lines: Vec<String>,
    },
    /// It took too long.
    #[error("the cluster was not done within {} s", .limit.as_secs())]
    TimedOut {
        /// The limit.
        limit: Duration,
        /// The last lines.
        lines: Vec<String>,
    },
    /// Kind went wrong in another way.
    #[error(transparent)]
    Tool(ToolError),
}

impl KindError {
    /// Recognises the cause of a failed call about this cluster.
    pub(super) fn from_tool(error: ToolError, name: &str, image: &str) -> Self {
        if let ToolError::TimedOut { limit, lines, .. } = error {
            return Self::TimedOut { limit, lines };
        }
        let says = |texts: &[&str]| texts.iter().any(|text| error.says(text));
        if says(&PORT_TAKEN) {
            Self::PortTaken { port: error.lines().iter().find_map(|line| taken_port(line)) }
        } else if says(&["no space left on device"]) {
            Self::DiskFull
        } else if says(&["too many open files", "inotify"]) {
            Self::TooManyFiles
        } else if says(&["connect to the docker daemon", "failed to get docker info", "docker daemon socket"]) {
            Self::Docker { reason: reason(&error, &["docker daemon"]) }
        } else if says(&["failed to pull image", "unable to find image"]) {
            Self::NodeImage { image: image.to_owned(), reason: reason(&error, &["error response", "denied"]) }
        } else if says(&["already exist for a cluster"]) {
            Self::NameInUse { name: name.to_owned() }
        } else if says(&["could not locate any control plane nodes", "no nodes found for cluster"]) {
            Self::NoSuchCluster { name: name.to_owned() }
        } else if says(&["not present locally"]) {
            Self::NoSuchImage { reason: reason(&error, &["not present locally"]) }
        } else if says(&CONTROL_PLANE) {
            Self::ControlPlane { reason: reason(&error, &CAUSES), lines: error.lines().to_vec() }
        } else {
            Self::Tool(error)
        }
    }
}

impl ProgramError for KindError {
    fn tool_error(&self) -> Option<&ToolError> {
        if let Self::Tool(error) = self { Some(error) } else { None }
    }

    fn is_transient(&self) -> bool {
        // What lies above the node ports is a port that kind chose for itself. Kind picks a free port for the API server and then asks for it; somebody else may be quicker.
        matches!(self, Self::PortTaken { port: Some(port) } if *port > LAST_NODE_PORT)
            || matches!(self, Self::Tool(error) if error.is_transient() || error.says(STILL_ENDING))
    }

    fn code(&self) -> &'static str {
        match self {
            Self::PortTaken { .. } => "port_taken",
            Self::NodeImage { .. } => "node_image_unavailable",
            Self::Docker { .. } => "docker_unreachable",
            Self::NameInUse { .. } => "cluster_name_in_use",
            Self::NoSuchCluster { .. } => "cluster_not_found",
            Self::NoSuchImage { .. } => "image_not_found",
            Self::DiskFull => "disk_full",
            Self::TooManyFiles => "too_many_open_files",
            Self::ControlPlane { .. } => "cluster_not_ready",
            Self::TimedOut { .. } => "cluster_timed_out",
            Self::Tool(ToolError::Ssh(error)) => error.code(),
            Self::Tool(_) => "kind_failed",
        }
    }

    fn next_step(&self) -> String {
        match self {
            Self::PortTaken { .. } => {
                "End what listens there (`docker ps` shows other clusters), or set `NODE_PORT_RANGE` to ports that are free".to_owned()
            }
            Self::NodeImage { .. } => {
                "Check the network of Docker, or set `KIND_NODE_IMAGE` to a node image that `docker images` shows".to_owned()
            }
            Self::Docker { .. } => {
                "Start Docker, and let the user of the server use its socket (group `docker`); `DOCKER_HOST` says where it is"
                    .to_owned()
            }
            Self::NameInUse { name } => format!(
                "Use that cluster, remove it with `kind delete cluster --name {name}`, or send another `instance_id`"
            ),
            Self::NoSuchCluster { .. } => "`kind get clusters` shows those that are there".to_owned(),
            Self::NoSuchImage { .. } => "Build the image again".to_owned(),
            Self::DiskFull => "Free some space, for example with `docker system prune`".to_owned(),
            Self::TooManyFiles => {
                "Raise the limits: `sysctl fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=524288`".to_owned()
            }
            Self::ControlPlane { .. } => {
                "Check that the machine has 2 GB of free memory and cgroups that Docker may use, and that \
                 `fs.inotify.max_user_instances` is at least 512; then try again"
                    .to_owned()
            }
            Self::TimedOut { .. } => "Try again when the machine has less to do, or raise `CLUSTER_TIMEOUT_S`".to_owned(),
            Self::Tool(ToolError::Ssh(error)) => error.next_step(),
            Self::Tool(ToolError::Files { .. }) => {
                "Check that the workspace can be written and has free space".to_owned()
            }
            Self::Tool(ToolError::NotRunnable { .. }) => "Install kind, or set `KIND_PROGRAM` to its path".to_owned(),
            Self::Tool(_) => "Read the output of kind, then try again".to_owned(),
        }
    }

    fn output(&self) -> Vec<String> {
        match self {
            Self::Tool(error) => error.lines().to_vec(),
            Self::ControlPlane { lines, .. } | Self::TimedOut { lines, .. } => lines.clone(),
            Self::PortTaken { .. }
            | Self::NodeImage { .. }
            | Self::Docker { .. }
            | Self::NameInUse { .. }
            | Self::NoSuchCluster { .. }
            | Self::NoSuchImage { .. }
            | Self::DiskFull
            | Self::TooManyFiles => Vec::new(),
        }
    }
}

/// What Docker says of a container that has not ended within the ten seconds that it gives one whose disk is busy. It goes on
/// to end.
const STILL_ENDING: &str = "did not receive an exit event";

const PORT_TAKEN: [&str; 3] = ["port is already allocated", "address already in use", "failed to bind host port"];

const CONTROL_PLANE: [&str; 6] = [
    "kubeadm",
    "cgroup",
    "could not find a log line that matches",
    "failed to init node",
    "failed to apply overlay network",
    "failed to add default storage class",
];

/// Words of the lines that say why Kubernetes did not come up, the most telling first.
const CAUSES: [&str; 6] = ["cgroup", "[error ", "is not healthy", "timed out", "could not find a log line", "error:"];

/// The port in a line of Docker such as `Bind for 127.0.0.1:30000 failed: port is already allocated`.
fn taken_port(line: &str) -> Option<u16> {
    if !PORT_TAKEN.iter().any(|text| line.contains(text)) {
        return None;
    }
    let after = |address: &str| {
        let rest = line.split(address).nth(1)?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    ["127.0.0.1:", "0.0.0.0:", "[::]:", "[::1]:", ":"].into_iter().find_map(after)
}

/// The first line with one of these words, else the last one.
fn reason(error: &ToolError, words: &[&str]) -> String {
    let has = |word: &&str| {
        error.lines().iter().find(|line| line.to_ascii_lowercase().contains(*word)).filter(|line| line.len() < 500)
    };
    let line = words.iter().find_map(has).or_else(|| error.lines().iter().rev().find(|line| !line.trim().is_empty()));
    let line = line.map_or("kind does not say why", |line| line.trim());
    line.trim_start_matches("ERROR: ").trim_start_matches("Command Output: ").chars().take(500).collect()
}

fn port_words(port: Option<u16>) -> String {
    port.map_or_else(|| "a port".to_owned(), |port| format!("port {port}"))
}
