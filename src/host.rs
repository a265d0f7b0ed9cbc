//! The host: where the tools run. This machine, or an instance that is reached by ssh and has the same clients: Docker
//! and Kubernetes over forwarded sockets, git and kind as programs there.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Semaphore;

use crate::cloud::docker::{Docker, DockerError};
use crate::cloud::kube::Kube;
use crate::cloud::kube::error::KubeError;
use crate::config::Settings;
use crate::config::value::KindNetwork;
use crate::id::{ClusterName, DeploymentId, OperationId, TargetId};
use crate::tool::connection::Connection;
use crate::tool::git::Git;
use crate::tool::kind::{Kind, KindError};
use crate::tool::ssh::forward::ForwardedSocket;
use crate::tool::ssh::{Ssh, SshAddress, SshError};

pub mod tree_manifest;
pub mod remote_build;

/// Folder below the home of the user of another machine where everything of ours is kept.
const REMOTE_WORKSPACE: &str = ".on-demand-infra";

/// The tools of one machine. Cheap to clone.
#[derive(Clone)]
pub struct Host {
    /// Its Docker daemon.
    pub docker: Docker,
    /// Its git.
    pub git: Git,
    /// Its kind.
    pub kind: Kind,
    /// Where its programs run.
    pub connection: Connection,
    /// Lets only so many builds work at the same time.
    pub builds: Arc<Semaphore>,
    /// Where things are kept on it.
    workspace: PathBuf,
    /// Clients of clusters, each with the kubeconfig that it was made of.
    clients: Arc<Mutex<HashMap<ClusterName, (String, Kube)>>>,
    remote: Option<Arc<Remote>>,
}

/// What belongs to a machine that is not this one.
struct Remote {
    ssh: Ssh,
    /// Ports here that lead to ports there.
    ports: tokio::sync::Mutex<HashMap<u16, ForwardedSocket<SocketAddr>>>,
    _docker: ForwardedSocket<PathBuf>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("connection", &self.connection)
            .field("docker", &self.docker.host())
            .finish_non_exhaustive()
    }
}

/// Says why a machine cannot be worked with.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// It cannot be reached.
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// The address of its Docker cannot be used.
    #[error(transparent)]
    Docker(#[from] DockerError),
}

/// Says why a cluster's API cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// kind does not give its kubeconfig.
    #[error(transparent)]
    Kind(#[from] KindError),
    /// The API cannot be used.
    #[error(transparent)]
    Kube(#[from] KubeError),
    /// Its machine cannot be reached.
    #[error(transparent)]
    Ssh(#[from] SshError),
}

impl Host {
    /// The tools of this machine, as the settings name them.
    ///
    /// # Errors
    /// When the address of Docker cannot be used.
    pub fn local(settings: &Settings) -> Result<Self, DockerError> {
        Ok(Self {
            docker: Docker::connect(Some(&settings.docker.host.to_string()))?,
            git: Git::new(settings),
            kind: Kind::new(settings),
            connection: Connection::Local,
            builds: builds(settings),
            workspace: settings.store.workspace.clone(),
            clients: Arc::default(),
            remote: None,
        })
    }

    /// The tools of a machine that is reached by ssh. Connects.
    ///
    /// # Errors
    /// [`HostError`] says why it cannot be reached.
    pub async fn remote(settings: &Settings, ssh: Ssh) -> Result<Self, HostError> {
        let workspace = ssh.home().await?.join(REMOTE_WORKSPACE);
        let docker = ssh.forward_docker()?;
        let connection = Connection::Ssh(ssh.clone());
        Ok(Self {
            docker: Docker::connect(Some(&format!("unix://{}", docker.at.display())))?,
            git: Git::at(settings, connection.clone(), &workspace),
            kind: Kind::at(settings, connection.clone()),
            connection,
            builds: builds(settings),
            workspace,
            clients: Arc::default(),
            remote: Some(Arc::new(Remote { ssh, ports: tokio::sync::Mutex::default(), _docker: docker })),
        })
    }

    /// The address under which the world reaches the machine; `None` for this one.
    #[must_use]
    pub fn public_address(&self) -> Option<IpAddr> {
        self.remote.as_ref().map(|remote| remote.ssh.address().address)
    }

    /// Its connection; `None` for this machine.
    #[must_use]
    pub fn ssh(&self) -> Option<&Ssh> {
        self.remote.as_ref().map(|remote| &remote.ssh)
    }

    /// The folder of a deployment on this host.
    #[must_use]
    pub fn deployment_folder(&self, deployment: DeploymentId) -> PathBuf {
        self.workspace.join("deployments").join(deployment.to_string())
    }

    /// The folder of a target on this host.
    #[must_use]
    pub fn target_folder(&self, target: TargetId) -> PathBuf {
        self.workspace.join("targets").join(target.to_string())
    }

    /// The folder of an operation on this host, below which every step's programs write.
    #[must_use]
    pub fn operation_folder(&self, operation: OperationId) -> PathBuf {
        self.workspace.join("operations").join(operation.to_string())
    }

    /// A client of a kind cluster's API.
    ///
    /// The kubeconfig that an earlier call kept in `folder`, on this machine, is used as long as the API accepts it.
    ///
    /// # Errors
    /// When kind does not know the cluster or its API does not answer.
    pub async fn kube(&self, cluster: &ClusterName, folder: &Path) -> Result<Kube, ClusterError> {
        let kept = folder.join("kubeconfig");
        if let Ok(yaml) = tokio::fs::read_to_string(&kept).await
            && let Ok(kube) = self.client(cluster, &yaml).await
            && kube.version().await.is_ok()
        {
            return Ok(kube);
        }
        let yaml = self.kind.kubeconfig(cluster, self.kind.network() == KindNetwork::Kind).await?;
        // Only a shortcut: without it the next call asks kind again.
        let _ = Connection::Local.write(&kept, yaml.as_bytes()).await;
        self.client(cluster, &yaml).await
    }

    /// Drops the client of a kind cluster that is gone.
    pub fn forget(&self, cluster: &ClusterName) {
        self.clients().remove(cluster);
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<ClusterName, (String, Kube)>> {
        self.clients.lock().expect("nobody panics while holding this lock")
    }

    /// The client that was made of this kubeconfig before, with its open connections, or a new one.
    async fn client(&self, cluster: &ClusterName, yaml: &str) -> Result<Kube, ClusterError> {
        let known = self.clients().get(cluster).cloned();
        if let Some((of, kube)) = known
            && of == yaml
        {
            return Ok(kube);
        }
        let kube = match &self.remote {
            None => Kube::from_kubeconfig(yaml).await?,
            Some(remote) => {
                let address = remote.port(Kube::port_of(yaml)?).await?;
                Kube::from_kubeconfig_at(yaml, address).await?
            }
        };
        let entry = (yaml.to_owned(), kube.clone());
        self.clients().insert(cluster.clone(), entry);
        Ok(kube)
    }
}

impl Remote {
    /// An address here that leads to a port on the loopback there.
    async fn port(&self, port: u16) -> Result<SocketAddr, SshError> {
        let mut ports = self.ports.lock().await;
        if let Some(forward) = ports.get(&port) {
            return Ok(forward.at);
        }
        let forward = self.ssh.forward_port(port).await?;
        let at = forward.at;
        ports.insert(port, forward);
        Ok(at)
    }
}

fn builds(settings: &Settings) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(usize::from(settings.docker.max_concurrent_builds.get())))
}

/// All machines that tools run on: this one, and those of targets, each with the connection that it was last reached by.
/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Hosts {
    local: Host,
    settings: Arc<Settings>,
    remotes: Arc<Mutex<HashMap<TargetId, RemoteEntry>>>,
}

#[derive(Debug, Clone)]
struct RemoteEntry {
    ssh: Ssh,
    host: Arc<tokio::sync::OnceCell<Host>>,
}

impl Hosts {
    /// This machine alone, so far.
    #[must_use]
    pub fn new(local: Host, settings: Arc<Settings>) -> Self {
        Self { local, settings, remotes: Arc::default() }
    }

    /// This machine.
    #[must_use]
    pub fn local(&self) -> &Host {
        &self.local
    }

    /// The connection to the machine of a target; nothing is sent yet. Another address makes another connection.
    ///
    /// # Errors
    /// [`SshError::Files`] when there is no place for its sockets.
    pub fn ssh(&self, target: TargetId, address: &SshAddress) -> Result<Ssh, SshError> {
        Ok(self.entry(target, address)?.ssh)
    }

    /// The machine of a target. Connects when there is no connection that holds.
    ///
    /// # Errors
    /// [`HostError`] says why it cannot be reached.
    pub async fn connect(&self, target: TargetId, address: &SshAddress) -> Result<Host, HostError> {
        let RemoteEntry { ssh, host } = self.entry(target, address)?;
        Ok(host.get_or_try_init(|| Host::remote(&self.settings, ssh)).await?.clone())
    }

    /// Ends the connection to the machine of a target that is gone.
    pub fn forget(&self, target: TargetId) {
        self.remotes().remove(&target);
    }

    fn remotes(&self) -> MutexGuard<'_, HashMap<TargetId, RemoteEntry>> {
        self.remotes.lock().expect("nobody panics while holding this lock")
    }

    fn entry(&self, target: TargetId, address: &SshAddress) -> Result<RemoteEntry, SshError> {
        let mut remotes = self.remotes();
        if let Some(entry) = remotes.get(&target).filter(|entry| entry.ssh.address().is_same_machine(address)) {
            return Ok(entry.clone());
        }
        let ssh = Ssh::new(&self.settings.ssh.program, address.clone())?;
        let entry = RemoteEntry { ssh, host: Arc::default() };
        remotes.insert(target, entry.clone());
        Ok(entry)
    }
}
