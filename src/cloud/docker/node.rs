//! Nodes of kind clusters, which are containers, and loading images into them: only what a node lacks.
//!
//! `kind load` sends the whole image every time. Here the node's containerd is asked for the layers that it holds, and
//! gets an OCI layout with the others. It answers long before its cluster is up, so layers can go in meanwhile.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum, PortSummaryTypeEnum};
use bollard::query_parameters::ListContainersOptions;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;

use super::archive::{self, Held};
use super::exec::Stdin;
use super::image::ImageInfo;
use super::layout::{self, Blob, Travelling};
use super::{Docker, DockerError};
use crate::event::Lines;
use crate::id::{ExposedPort, ImageRef, Port, Protocol};

/// Lists the content that the node's containerd holds, and the sizes of the files behind it, which `ctr` rounds.
const LIST_CONTENT: &str = "ctr -n k8s.io content ls && \
    find /var/lib/containerd/io.containerd.content.v1.content/blobs/sha256 -type f -printf 'file %f %s\\n'";

/// Between two looks whether a node has come up.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A person hears of a wait at least this often.
const SAY_EVERY: Duration = Duration::from_secs(3);

/// A node of a kind cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Name of its container.
    pub container: String,
    /// `control-plane`, `worker` or `external-load-balancer`.
    pub role: String,
    /// Whether its container runs.
    pub is_running: bool,
    /// Which of its ports are reachable on the machine where Docker runs.
    pub published: Vec<PublishedPort>,
    /// Its address in the Docker network of its cluster, for callers inside that network.
    pub address: Option<String>,
}

/// A port of a node that is reachable from outside.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublishedPort {
    /// Address on the machine where Docker runs, such as `127.0.0.1`.
    pub host_address: String,
    /// Port on that machine.
    pub host_port: u16,
    /// Port of the node and its protocol.
    pub node_port: ExposedPort,
}

/// What loading an image took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Loaded {
    /// Bytes that went into the node.
    pub bytes_sent: u64,
    /// Layers that the node lacked.
    pub layers_sent: usize,
    /// Layers that it held already.
    pub layers_present: usize,
}

impl Node {
    /// Whether pods run on it.
    #[must_use]
    pub fn runs_pods(&self) -> bool {
        self.role == "control-plane" || self.role == "worker"
    }
}

impl Docker {
    /// The nodes of a kind cluster, by name; none when there is no such cluster.
    ///
    /// # Errors
    /// [`DockerError`] when the daemon does not answer.
    pub async fn nodes_of_cluster(&self, cluster: &str) -> Result<Vec<Node>, DockerError> {
        let filters = HashMap::from([("label".to_owned(), vec![format!("io.x-k8s.kind.cluster={cluster}")])]);
        let options = ListContainersOptions { all: true, filters: Some(filters), ..Default::default() };
        let containers = self
            .client()?
            .list_containers(Some(options))
            .await
            .map_err(|error| self.error("list containers", error))?;
        let mut nodes: Vec<Node> = containers.into_iter().map(Node::from).collect();
        nodes.sort_by(|a, b| a.container.cmp(&b.container));
        Ok(nodes)
    }

    /// Waits until a node takes images. Its container need not exist yet.
    ///
    /// # Errors
    /// [`DockerError::NodeNotReady`] when it takes longer than `timeout`.
    pub async fn wait_for_node(
        &self,
        node: &str,
        timeout: Duration,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<(), DockerError> {
        let start = Instant::now();
        let mut said = start;
        loop {
            let reason = match self.exec(node, &["ctr", "version"], None, cancel).await {
                Ok(output) if output.code == 0 => return Ok(()),
                Ok(output) => output.last_line(),
                Err(error @ (DockerError::Unreachable { .. } | DockerError::Cancelled)) => return Err(error),
                Err(error) => error.to_string(),
            };
            if start.elapsed() >= timeout {
                return Err(DockerError::NodeNotReady { node: node.to_owned(), waited_s: timeout.as_secs(), reason });
            }
            if said.elapsed() >= SAY_EVERY {
                said = Instant::now();
                lines.progress(format!("waiting for node `{node}` ({} s)", start.elapsed().as_secs()));
            }
            tokio::select! {
                () = cancel.cancelled() => return Err(DockerError::Cancelled),
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Whether a node has exactly this image under this name.
    ///
    /// # Errors
    /// [`DockerError`] when the node's container does not run.
    pub async fn node_has_image(
        &self,
        node: &str,
        name: &ImageRef,
        image: &ImageInfo,
        cancel: &CancellationToken,
    ) -> Result<bool, DockerError> {
        let full_name = layout::full_name(name);
        let ids = [image.id.clone(), layout::sha256(&config_of(image)?)];
        let filters: Vec<String> =
            std::iter::once(&full_name).chain(&ids).map(|name| format!("name=={name}")).collect();
        let mut argv = vec!["ctr", "-n", "k8s.io", "images", "ls"];
        argv.extend(filters.iter().map(String::as_str));
        let output = self.exec(node, &argv, None, cancel).await?;
        Ok(output.code == 0 && is_same_image(&output.text(), &full_name, &ids))
    }

    /// Removes an image's name from a node; one that is not there is a success, and so is a node that is not there.
    ///
    /// # Errors
    /// [`DockerError`] when the node does not do it.
    pub async fn remove_from_node(
        &self,
        node: &str,
        name: &ImageRef,
        cancel: &CancellationToken,
    ) -> Result<(), DockerError> {
        let full_name = layout::full_name(name);
        let removed = self.exec(node, &["ctr", "-n", "k8s.io", "images", "rm", &full_name], None, cancel).await;
        match removed {
            Ok(output) if output.code == 0 || output.last_line().contains("not found") => Ok(()),
            Ok(output) => Err(DockerError::Permanent {
                action: format!("remove image `{name}` from node `{node}`"),
                reason: output.last_line(),
            }),
            Err(DockerError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Loads an image of the daemon's into a node: only the layers that the node lacks.
    ///
    /// # Errors
    /// [`DockerError::NodeNotReady`] when the node's containerd does not answer ([`Docker::wait_for_node`] waits for it),
    /// [`DockerError::NodeRefused`] when it does not take the image, [`DockerError::NotFound`] when there is no such image.
    pub async fn load_into_node(
        &self,
        name: &ImageRef,
        node: &str,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<Loaded, DockerError> {
        let work = self.load_to_end(name, node, lines, cancel);
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(DockerError::Cancelled),
            loaded = work => loaded,
        }
    }

    async fn load_to_end(
        &self,
        name: &ImageRef,
        node: &str,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<Loaded, DockerError> {
        let (image, held) = tokio::join!(self.image(name), self.node_content(node, cancel));
        let image = image?.ok_or_else(|| DockerError::NotFound {
            action: format!("load image `{name}` into node `{node}`"),
            reason: "there is no such image".to_owned(),
        })?;
        let held = held?;
        let mut diff_ids = image.diff_ids.clone();
        diff_ids.sort();
        diff_ids.dedup();
        let lacking: Vec<String> = diff_ids.iter().filter(|id| !held.contains_key(*id)).cloned().collect();
        let present = diff_ids.len() - lacking.len();
        if present > 0 {
            match self.load_lacking(name, &image, node, &held, &lacking, lines, cancel).await {
                // A layer that it listed may be gone by now, or cannot be described: then it gets everything.
                Err(DockerError::NodeRefused { reason, .. }) => {
                    lines.output(format!("node `{node}` refused a part of the image ({reason}); sending all of it"));
                }
                done => return done,
            }
        }
        self.load_all(name, &image, node, lines, cancel).await
    }

    /// What the node's containerd holds, by the digests of the uncompressed layers.
    async fn node_content(
        &self,
        node: &str,
        cancel: &CancellationToken,
    ) -> Result<BTreeMap<String, Blob>, DockerError> {
        let output = self.exec(node, &["sh", "-c", LIST_CONTENT], None, cancel).await?;
        let reason = output.last_line();
        if reason.contains("containerd.sock") || reason.contains("failed to dial") {
            return Err(DockerError::NodeNotReady { node: node.to_owned(), waited_s: 0, reason });
        }
        Ok(held_layers(&output.text()))
    }

    /// Streams the daemon's archive of the whole image straight into the node.
    async fn load_all(
        &self,
        name: &ImageRef,
        image: &ImageInfo,
        node: &str,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<Loaded, DockerError> {
        let sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sent);
        let client = self.client()?.with_timeout(EXPORT_WITHIN);
        let owned = name.to_string();
        let archive = async_archive(client, owned).inspect_ok(move |chunk| {
            counter.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        });
        lines.progress(format!("loading {} MB into node `{node}`", image.size_bytes / 1_000_000));
        self.import(node, Box::pin(archive), cancel).await?;
        Ok(Loaded { bytes_sent: sent.load(Ordering::Relaxed), layers_sent: image.diff_ids.len(), layers_present: 0 })
    }

    #[expect(clippy::too_many_arguments, reason = "one caller, which has just found them out")]
    async fn load_lacking(
        &self,
        name: &ImageRef,
        image: &ImageInfo,
        node: &str,
        held: &BTreeMap<String, Blob>,
        lacking: &[String],
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<Loaded, DockerError> {
        let local = |error: io::Error| DockerError::Transient {
            action: format!("load image `{name}` into node `{node}`"),
            reason: error.to_string(),
        };
        let folder = tempfile::tempdir().map_err(local)?;
        let travelling = if lacking.is_empty() {
            HashMap::new()
        } else {
            self.take_out(name, image, held, lacking, folder.path()).await?
        };
        let described: Option<Vec<Blob>> = image
            .diff_ids
            .iter()
            .map(|id| travelling.get(id).map(|layer| layer.blob.clone()).or_else(|| held.get(id).cloned()))
            .collect();
        let described = described.ok_or_else(|| DockerError::NodeRefused {
            node: node.to_owned(),
            reason: "a layer could not be taken out of Docker by itself".to_owned(),
        })?;
        let config = config_of(image)?;
        let front = layout::small_files(name, &config, &described).map_err(local)?;
        let layers: Vec<Travelling> = travelling.into_values().collect();
        let bytes_sent = front.len() as u64 + layers.iter().map(|layer| layer.blob.size_bytes).sum::<u64>();
        lines.progress(format!(
            "loading {} of {} layers ({} kB) into node `{node}`",
            layers.len(),
            image.diff_ids.len(),
            bytes_sent / 1000
        ));
        let loaded = Loaded { bytes_sent, layers_sent: layers.len(), layers_present: held_count(image, lacking) };
        self.import(node, layout_stream(front, layers), cancel).await?;
        Ok(loaded)
    }

    /// Writes the lacking layers into files below `folder`.
    async fn take_out(
        &self,
        name: &ImageRef,
        image: &ImageInfo,
        held: &BTreeMap<String, Blob>,
        lacking: &[String],
        folder: &std::path::Path,
    ) -> Result<HashMap<String, Travelling>, DockerError> {
        if self.shares_loopback.load(Ordering::Relaxed) && is_small_part(image, held) {
            match self.tap(name, lacking, folder).await? {
                Some(layers) => return Ok(layers),
                None => self.shares_loopback.store(false, Ordering::Relaxed),
            }
        }
        let ours: Vec<&Blob> = image.diff_ids.iter().filter_map(|id| held.get(id)).collect();
        let mut known = Held {
            digests: ours.iter().map(|blob| blob.digest.clone()).collect(),
            sizes: ours.iter().map(|blob| blob.size_bytes).collect(),
        };
        for _ in 0..2 {
            let client = self.client()?.with_timeout(EXPORT_WITHIN);
            let archive = async_archive(client, name.to_string());
            let layers = archive::spool(archive, &image.diff_ids, &known, folder).await.map_err(|error| {
                DockerError::Transient { action: format!("take image `{name}` out"), reason: error.to_string() }
            })?;
            if lacking.iter().all(|id| layers.contains_key(id)) {
                return Ok(layers.into_iter().filter(|(id, _)| lacking.contains(id)).collect());
            }
            // One of them has by chance the size of a layer that is held.
            known.sizes.clear();
        }
        Ok(HashMap::new())
    }

    async fn import(&self, node: &str, archive: Stdin, cancel: &CancellationToken) -> Result<(), DockerError> {
        let output = self.exec(node, &["ctr", "-n", "k8s.io", "images", "import", "-"], Some(archive), cancel).await?;
        if output.code == 0 {
            return Ok(());
        }
        let (node, reason) = (node.to_owned(), output.last_line());
        if reason.contains("failed to dial") {
            return Err(DockerError::NodeNotReady { node, waited_s: 0, reason });
        }
        Err(DockerError::NodeRefused { node, reason })
    }
}

/// An archive begins when the daemon has put it together.
const EXPORT_WITHIN: Duration = Duration::from_secs(600);

impl From<ContainerSummary> for Node {
    fn from(container: ContainerSummary) -> Self {
        let labels = container.labels.unwrap_or_default();
        let mut published: Vec<PublishedPort> = container
            .ports
            .into_iter()
            .flatten()
            .filter_map(|port| {
                let protocol = match port.typ {
                    Some(PortSummaryTypeEnum::UDP) => Protocol::Udp,
                    Some(PortSummaryTypeEnum::SCTP) => Protocol::Sctp,
                    Some(PortSummaryTypeEnum::TCP | PortSummaryTypeEnum::EMPTY) | None => Protocol::Tcp,
                };
                Some(PublishedPort {
                    host_address: port.ip?,
                    host_port: port.public_port?,
                    node_port: ExposedPort { number: Port::new(port.private_port)?, protocol },
                })
            })
            .collect();
        published.sort();
        let networks = container.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        let address = networks
            .get("kind")
            .or_else(|| networks.values().next())
            .and_then(|network| network.ip_address.clone())
            .filter(|address| !address.is_empty());
        Self {
            container: container
                .names
                .unwrap_or_default()
                .first()
                .map(|name| name.trim_start_matches('/').to_owned())
                .unwrap_or_default(),
            role: labels.get("io.x-k8s.kind.role").cloned().unwrap_or_default(),
            is_running: container.state == Some(ContainerSummaryStateEnum::RUNNING),
            published,
            address,
        }
    }
}

fn config_of(image: &ImageInfo) -> Result<Vec<u8>, DockerError> {
    layout::config(image).map_err(|error| DockerError::Permanent {
        action: format!("describe image `{}`", image.id),
        reason: error.to_string(),
    })
}

/// Whether what is lacking is a small part of an image: compressing it is quicker than reading everything.
fn is_small_part(image: &ImageInfo, held: &BTreeMap<String, Blob>) -> bool {
    let of_layer = |blob: &Blob| if blob.is_gzip { 3 * blob.size_bytes } else { blob.size_bytes };
    let held_bytes: u64 = image.diff_ids.iter().filter_map(|id| held.get(id)).map(of_layer).sum();
    image.size_bytes.saturating_sub(held_bytes) < image.size_bytes / 3
}

fn held_count(image: &ImageInfo, lacking: &[String]) -> usize {
    let distinct: std::collections::BTreeSet<&String> = image.diff_ids.iter().collect();
    distinct.len() - lacking.len()
}

/// The daemon's archive of an image, as `docker save` writes it.
fn async_archive(client: bollard::Docker, name: String) -> impl futures_util::Stream<Item = io::Result<Bytes>> + Send {
    stream::once(async move { client.export_image(&name).map_err(io::Error::other).boxed() }).flatten()
}

/// A layout as a stream: the small files, the layers from their files, the end.
fn layout_stream(front: Vec<u8>, layers: Vec<Travelling>) -> Stdin {
    let layers = stream::iter(layers).then(|layer| async move {
        let file = tokio::fs::File::open(&layer.file).await?;
        let header = layout::header(&layout::blob_path(&layer.blob.digest), layer.blob.size_bytes)?;
        let padding = Bytes::from_static(layout::padding(layer.blob.size_bytes));
        let content = ReaderStream::with_capacity(file, 256 * 1024);
        let entry =
            stream::iter([Ok(Bytes::copy_from_slice(&header))]).chain(content).chain(stream::iter([Ok(padding)]));
        Ok::<_, io::Error>(entry)
    });
    let end = Bytes::from_static(&[0; 2 * layout::BLOCK]);
    Box::pin(stream::iter([Ok(Bytes::from(front))]).chain(layers.try_flatten()).chain(stream::iter([Ok(end)])))
}

/// Reads the answer to [`LIST_CONTENT`]: layers by the digest of their uncompressed form.
fn held_layers(text: &str) -> BTreeMap<String, Blob> {
    let sizes: HashMap<String, u64> = text
        .lines()
        .filter_map(|line| line.strip_prefix("file ")?.split_once(' '))
        .filter_map(|(hex, size)| Some((format!("sha256:{hex}"), size.parse().ok()?)))
        .collect();
    let mut layers = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("sha256:")) {
        let Some(digest) = line.split_whitespace().next() else { continue };
        let Some(size_bytes) = sizes.get(digest).copied() else { continue };
        let label = line.split_once("containerd.io/uncompressed=").map(|(_, after)| after);
        let Some(diff_id) = label.and_then(|after| after.split([',', ' ', '\t']).next()) else { continue };
        let blob = Blob { digest: digest.to_owned(), size_bytes, is_gzip: digest != diff_id };
        layers.insert(diff_id.to_owned(), blob);
    }
    layers
}

/// Whether `ctr images ls` shows the name and one of the ids with the same digest.
fn is_same_image(listing: &str, full_name: &str, ids: &[String]) -> bool {
    let rows: Vec<(&str, &str)> = listing
        .lines()
        .filter_map(|line| {
            let mut columns = line.split_whitespace();
            Some((columns.next()?, columns.nth(1)?))
        })
        .collect();
    let digest = rows.iter().find(|(name, _)| *name == full_name).map(|(_, digest)| digest);
    digest.is_some_and(|digest| rows.iter().any(|(name, other)| ids.iter().any(|id| id == name) && other == digest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn layers_that_a_node_holds_are_known_by_their_uncompressed_digest() {
        let text = "DIGEST SIZE AGE LABELS\n\
            sha256:aa\t1.5kB\t5 minutes\tcontainerd.io/gc.ref.snapshot.overlayfs=sha256:zz\n\
            sha256:bb\t51.7MB\t5 minutes\tcontainerd.io/uncompressed=sha256:bb,x=y\n\
            sha256:cc\t1MB\t5 minutes\tcontainerd.io/uncompressed=sha256:dd\n\
            sha256:ee\t1MB\t5 minutes\tcontainerd.io/uncompressed=sha256:ee\n\
            file aa 1503\nfile bb 51700000\nfile cc 1000000\n";

        let held = held_layers(text);

        assert_eq!(held.len(), 2);
        assert_eq!(held["sha256:bb"], Blob { digest: "sha256:bb".to_owned(), size_bytes: 51_700_000, is_gzip: false });
        assert_eq!(held["sha256:dd"], Blob { digest: "sha256:cc".to_owned(), size_bytes: 1_000_000, is_gzip: true });
    }

    #[test]
    fn an_image_is_the_same_only_when_its_name_points_to_its_id() {
        let listing = "REF TYPE DIGEST SIZE\n\
            docker.io/library/notes:1 type sha256:m1 1 MiB\n\
            sha256:config1 type sha256:m1 1 MiB\n\
            sha256:config2 type sha256:m2 1 MiB\n";
        let is_same = |id: &str| is_same_image(listing, "docker.io/library/notes:1", &[id.to_owned()]);

        assert!(is_same("sha256:config1"));
        assert!(!is_same("sha256:config2"));
        assert!(!is_same("sha256:config3"));
    }

    proptest! {
        #[test]
        fn no_listing_makes_it_panic(text in "(.|\n)*") {
            let _ = held_layers(&text);
            let _ = is_same_image(&text, "a", &[]);
        }
    }
}
