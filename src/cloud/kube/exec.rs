//! Runs a small program in a container, to look at what only the container can see.

use kube::Api;
use kube::api::AttachParams;
use tokio::io::AsyncReadExt;

use k8s_openapi::api::core::v1::Pod;

use crate::cloud::kube::Kube;
use crate::cloud::kube::error::KubeError;

/// More than any socket table that is worth reading.
const MAX_OUTPUT_BYTES: u64 = 256 * 1024;

/// A container that runs, as its node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningContainer {
    /// The node that it runs on; with kind, the name of a Docker container.
    pub node: String,
    /// Its id in containerd: hexadecimal digits.
    pub id: String,
}

impl RunningContainer {
    /// The container of that pod, if it runs.
    #[must_use]
    pub fn from_pod(pod: &Pod) -> Option<Self> {
        let node = pod.spec.as_ref()?.node_name.clone()?;
        let status = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
        status.state.as_ref()?.running.as_ref()?;
        let id = status.container_id.as_ref()?.strip_prefix("containerd://")?;
        let hexadecimal = !id.is_empty() && id.chars().all(|c| c.is_ascii_hexdigit());
        hexadecimal.then(|| Self { node, id: id.to_owned() })
    }

    /// The program that prints the socket tables of the container when it runs on the node, for images without `cat`.
    #[must_use]
    pub fn socket_tables_command(&self) -> [String; 4] {
        let script = "pid=$(cat /run/containerd/io.containerd.runtime.v2.task/k8s.io/$0/init.pid) && \
                      cat /proc/$pid/net/tcp /proc/$pid/net/tcp6";
        ["sh".to_owned(), "-c".to_owned(), script.to_owned(), self.id.clone()]
    }
}

impl Kube {
    /// Reads `/proc/net/tcp` and `tcp6` in the pod; empty when its image has no `cat`.
    ///
    /// # Errors
    /// What the API answers; [`KubeError::Unexpected`] when it does not run programs in pods.
    pub async fn socket_tables(&self, namespace: &str, pod: &str) -> Result<String, KubeError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let params = AttachParams::default().stdin(false).stdout(true).stderr(false);
        self.call(async {
            let mut process = pods.exec(pod, ["cat", "/proc/net/tcp", "/proc/net/tcp6"], &params).await?;
            let mut text = Vec::new();
            if let Some(stdout) = process.stdout() {
                // A broken stream leaves what was read before it.
                let _ = stdout.take(MAX_OUTPUT_BYTES).read_to_end(&mut text).await;
            }
            Ok(String::from_utf8_lossy(&text).into_owned())
        })
        .await
    }
}
