//! The host: where the tools run. This machine; an instance reached by ssh has the same clients over forwarded sockets.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;

use crate::cloud::docker::{Docker, DockerError};
use crate::cloud::kube::Kube;
use crate::cloud::kube::error::KubeError;
use crate::config::Settings;
use crate::config::value::KindNetwork;
use crate::id::ClusterName;
use crate::tool::git::Git;
use crate::tool::kind::{Kind, KindError};

/// The tools of one machine. Cheap to clone.
#[derive(Clone)]
pub struct Host {
    /// Its Docker daemon.
    pub docker: Docker,
    /// Its git.
    pub git: Git,
    /// Its kind.
    pub kind: Kind,
    /// Lets only so many builds work at the same time.
    pub builds: Arc<Semaphore>,
    /// Clients of clusters, each with the kubeconfig that it was made of.
    clients: Arc<Mutex<HashMap<ClusterName, (String, Kube)>>>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("docker", &self.docker.host()).finish_non_exhaustive()
    }
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
            builds: Arc::new(Semaphore::new(usize::from(settings.docker.max_concurrent_builds.get()))),
            clients: Arc::default(),
        })
    }

    /// A client of a kind cluster's API.
    ///
    /// The kubeconfig that an earlier call kept in `folder` is used as long as the API accepts it.
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
        let _ = keep_private(&kept, &yaml).await;
        Ok(self.client(cluster, &yaml).await?)
    }

    /// The client that was made of this kubeconfig before, with its open connections, or a new one.
    async fn client(&self, cluster: &ClusterName, yaml: &str) -> Result<Kube, KubeError> {
        let known = self.clients.lock().expect("nobody panics while holding this lock").get(cluster).cloned();
        if let Some((of, kube)) = known
            && of == yaml
        {
            return Ok(kube);
        }
        let kube = Kube::from_kubeconfig(yaml).await?;
        let entry = (yaml.to_owned(), kube.clone());
        self.clients.lock().expect("nobody panics while holding this lock").insert(cluster.clone(), entry);
        Ok(kube)
    }
}

/// Writes a file that only its owner may read, whole or not at all; makes its folder.
async fn keep_private(path: &Path, text: &str) -> std::io::Result<()> {
    let draft = path.with_extension("draft");
    if let Some(folder) = path.parent() {
        crate::tool::folder::make_private(folder)?;
    }
    let mut options = tokio::fs::OpenOptions::new();
    let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(&draft).await?;
    tokio::io::AsyncWriteExt::write_all(&mut file, text.as_bytes()).await?;
    file.sync_all().await?;
    tokio::fs::rename(&draft, path).await
}
