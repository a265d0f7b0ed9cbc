//! Docker through its API: building images, looking at them, and loading them into the nodes of a kind cluster.
//!
//! The client is made without IO, so that a server starts where Docker does not run; the first call finds out.
//! Requests carry no API version: every daemon since 18.09 answers them with its own newest one.

pub mod build;
pub mod build_failure;
pub mod build_failure_kind;
pub mod build_reader;
pub mod context;
pub mod dockerfile_line;
pub mod exec;
pub mod image;
pub mod load;
pub mod node;
pub mod node_images;
pub mod push;
pub mod service_rules;
pub mod volume;

mod archive;
mod build_cause;
mod build_progress;
mod build_words;
mod ephemeral_registry;
mod file_sync;
mod layout;
mod session;

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bollard::API_DEFAULT_VERSION;
use bollard::errors::Error as ApiError;

/// Where Docker listens when no setting says otherwise.
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// How long a call may take until the daemon begins to answer.
const RESPONSE_TIMEOUT: Duration = Duration::from_mins(1);

/// A person who waits hears something at least this often.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(3);

/// A Docker daemon. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Docker {
    host: String,
    /// Whether the daemon may reach our loopback, as far as we know.
    shares_loopback: Arc<AtomicBool>,
}

impl Docker {
    /// Names a daemon by the value of `DOCKER_HOST` (`unix://`, `tcp://` or `http://`); `None` is the local socket.
    ///
    /// # Errors
    /// [`DockerError::Permanent`] when the address has another scheme. Whether somebody listens is not looked at.
    pub fn connect(host: Option<&str>) -> Result<Self, DockerError> {
        let host = host.map(str::trim).filter(|host| !host.is_empty()).unwrap_or(DEFAULT_HOST);
        let known =
            ["unix://", "tcp://", "http://"].iter().any(|scheme| host.len() > scheme.len() && host.starts_with(scheme));
        if !known {
            return Err(DockerError::Permanent {
                action: "use the Docker address".to_owned(),
                reason: format!("`{host}` is not a `unix://` or `tcp://` address; correct DOCKER_HOST"),
            });
        }
        let is_local = [DEFAULT_HOST, "unix:///run/docker.sock"].contains(&host);
        Ok(Self { host: host.to_owned(), shares_loopback: Arc::new(AtomicBool::new(is_local)) })
    }

    /// The address of the daemon.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Asks the daemon whether it answers.
    ///
    /// # Errors
    /// [`DockerError::Unreachable`] with what to do when it does not.
    pub async fn ping(&self) -> Result<(), DockerError> {
        self.client()?.ping().await.map(drop).map_err(|error| self.error("ask Docker for a sign of life", &error))
    }

    /// Asks the daemon for its version and abilities.
    ///
    /// # Errors
    /// [`DockerError::Unreachable`] when it does not answer.
    pub async fn version(&self) -> Result<DockerVersion, DockerError> {
        let version =
            self.client()?.version().await.map_err(|error| self.error("ask Docker for its version", &error))?;
        let api = version.api_version.unwrap_or_default();
        let is_podman = version
            .components
            .unwrap_or_default()
            .iter()
            .any(|component| component.name.to_ascii_lowercase().contains("podman"));
        let has_buildkit = !is_podman && version.os.as_deref() == Some("linux") && at_least(&api, (1, 39));
        let (server, architecture) = (version.version.unwrap_or_default(), version.arch.unwrap_or_default());
        Ok(DockerVersion { server, api, architecture, has_buildkit })
    }

    /// A client of the API; no IO but a look whether the socket is there.
    fn client(&self) -> Result<bollard::Docker, DockerError> {
        let timeout_s = RESPONSE_TIMEOUT.as_secs();
        if self.host.starts_with("unix://") {
            bollard::Docker::connect_with_unix(&self.host, timeout_s, API_DEFAULT_VERSION)
        } else {
            bollard::Docker::connect_with_http(&self.host, timeout_s, API_DEFAULT_VERSION)
        }
        .map_err(|error| self.error("connect to Docker", &error))
    }

    /// Classifies an error of the API; `action` is what was tried, as the end of "Docker could not ...".
    fn error(&self, action: impl Into<String>, error: &ApiError) -> DockerError {
        let action = action.into();
        let unreachable =
            |reason: &str| DockerError::Unreachable { host: self.host.clone(), reason: reason.to_owned() };
        if matches!(error, ApiError::SocketNotFoundError(_)) {
            return unreachable("the socket is not there; is Docker installed and running?");
        }
        match io_kind(error) {
            Some(io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return unreachable("nobody listens there; is Docker running?");
            }
            Some(io::ErrorKind::PermissionDenied) => {
                return unreachable("permission denied; add the user to the group `docker` and log in again");
            }
            _ => {}
        }
        let reason = reason_of(error);
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the library's errors are many and only these are told apart"
        )]
        match error {
            ApiError::DockerResponseServerError { status_code: 404, .. } => DockerError::NotFound { action, reason },
            ApiError::DockerResponseServerError { status_code: 429 | 502 | 503 | 504, .. }
            | ApiError::RequestTimeoutError
            | ApiError::IOError { .. }
            | ApiError::HyperResponseError { .. }
            | ApiError::HyperLegacyError { .. } => DockerError::Transient { action, reason },
            _ if is_passing(&reason) => DockerError::Transient { action, reason },
            _ => DockerError::Permanent { action, reason },
        }
    }
}

/// What a daemon says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerVersion {
    /// Version of the daemon, such as `20.10.24`.
    pub server: String,
    /// Newest version of the API that it speaks, such as `1.41`.
    pub api: String,
    /// Processor architecture that it builds images for, such as `amd64`.
    pub architecture: String,
    /// Whether it can build with `BuildKit`.
    pub has_buildkit: bool,
}

/// Says why Docker, or a node that runs in it, did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DockerError {
    /// Nobody answers at the address, or we may not use it.
    #[error("cannot reach Docker at `{host}`: {reason}")]
    Unreachable {
        /// Address of the daemon.
        host: String,
        /// The cause and what to do.
        reason: String,
    },
    /// The image or container is not there.
    #[error("Docker could not {action}: {reason}")]
    NotFound {
        /// What was tried.
        action: String,
        /// The daemon's words.
        reason: String,
    },
    /// It may work when it is tried again.
    #[error("Docker could not {action}: {reason}")]
    Transient {
        /// What was tried.
        action: String,
        /// The daemon's words.
        reason: String,
    },
    /// It fails again when it is tried again.
    #[error("Docker could not {action}: {reason}")]
    Permanent {
        /// What was tried.
        action: String,
        /// The daemon's words.
        reason: String,
    },
    /// The node's containerd did not answer in time.
    #[error("node `{node}` was not ready for images within {waited_s} s: {reason}")]
    NodeNotReady {
        /// Name of the node's container.
        node: String,
        /// How long it was waited for.
        waited_s: u64,
        /// What the last try said.
        reason: String,
    },
    /// The node's containerd did not take the image; `kind load docker-image` may do it.
    #[error("node `{node}` refused the image: {reason}")]
    NodeRefused {
        /// Name of the node's container.
        node: String,
        /// What containerd said.
        reason: String,
    },
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl DockerError {
    /// Whether the image or container is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Transient { .. } | Self::NodeNotReady { .. } => true,
            Self::Unreachable { .. }
            | Self::NotFound { .. }
            | Self::Permanent { .. }
            | Self::NodeRefused { .. }
            | Self::Cancelled => false,
        }
    }
}

/// Words of failures that pass: of the network, of a registry, of a busy daemon.
fn is_passing(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    [
        "timeout",
        "timed out",
        "too many requests",
        "toomanyrequests",
        "rate limit",
        "connection reset",
        "connection refused",
        "broken pipe",
        "unexpected eof",
        "temporary failure",
        "temporarily unavailable",
        "server misbehaving",
        "service unavailable",
        "bad gateway",
        "network is unreachable",
        "no route to host",
        "received unexpected http status: 5",
    ]
    .iter()
    .any(|words| text.contains(words))
}

/// The kind of the I/O error at the bottom, if there is one.
fn io_kind(error: &ApiError) -> Option<io::ErrorKind> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    if let ApiError::HyperLegacyError { err } = error {
        cause = err.source();
    }
    while let Some(here) = cause {
        if let Some(io) = here.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        cause = here.source();
    }
    None
}

/// The daemon's own words where it said something, else the library's, with the cause at the bottom.
fn reason_of(error: &ApiError) -> String {
    if let ApiError::DockerResponseServerError { message, .. } = error {
        return message.trim().to_owned();
    }
    if let ApiError::DockerStreamError { error } = error {
        return error.trim().to_owned();
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    if let ApiError::HyperLegacyError { err } = error {
        cause = err.source();
    }
    while let Some(here) = cause {
        let said = here.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = here.source();
    }
    text
}

fn at_least(api: &str, wanted: (u32, u32)) -> bool {
    let mut parts = api.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_needs_no_daemon_to_be_accepted() {
        assert_eq!(Docker::connect(None).unwrap().host(), DEFAULT_HOST);
        assert_eq!(Docker::connect(Some(" ")).unwrap().host(), DEFAULT_HOST);
        assert!(Docker::connect(Some("tcp://127.0.0.1:2375")).is_ok());
        assert!(Docker::connect(Some("ssh://host")).is_err());
        assert!(Docker::connect(Some("unix://")).is_err());
    }

    #[tokio::test]
    async fn a_socket_that_is_not_there_asks_whether_docker_runs() {
        let folder = tempfile::tempdir().unwrap();
        let docker = Docker::connect(Some(&format!("unix://{}/none.sock", folder.path().display()))).unwrap();

        let error = docker.ping().await.unwrap_err();

        assert!(matches!(error, DockerError::Unreachable { .. }));
        assert!(error.to_string().contains("is Docker installed and running?"), "{error}");
    }

    #[tokio::test]
    async fn a_port_where_nobody_listens_asks_whether_docker_runs() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let docker = Docker::connect(Some(&format!("tcp://127.0.0.1:{port}"))).unwrap();

        let error = docker.ping().await.unwrap_err();

        assert!(error.to_string().contains("is Docker running?"), "{error}");
    }

    #[test]
    fn api_versions_compare_by_number() {
        assert!(at_least("1.41", (1, 39)));
        assert!(at_least("1.100", (1, 39)));
        assert!(!at_least("1.9", (1, 39)));
        assert!(!at_least("", (1, 39)));
    }
}
