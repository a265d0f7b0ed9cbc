//! Loading an image into a node: only the layers that the node lacks.
//!
//! `kind load` sends the whole image every time. Here the node's containerd is asked for the layers that it holds, and
//! gets an OCI layout with the others. It answers long before its cluster is up, so layers can go in meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;

use super::archive::{self, KnownBlobs};
use super::exec::Stdin;
use super::image::ImageInfo;
use super::layout::{self, Blob, LayerBlob};
use super::node_images::Garbage;
use super::{Docker, DockerError, PROGRESS_INTERVAL};
use crate::event::Lines;
use crate::id::ImageRef;

/// Lists the content that the node's containerd holds, and the sizes of the files behind it, which `ctr` rounds.
const LIST_CONTENT: &str = "ctr -n k8s.io content ls && \
    find /var/lib/containerd/io.containerd.content.v1.content/blobs/sha256 -type f -printf 'file %f %s\\n'";

/// An archive begins when the daemon has put it together.
const EXPORT_TIMEOUT: Duration = Duration::from_mins(10);

/// What loading an image took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoadStats {
    /// Bytes that went into the node.
    pub bytes_sent: u64,
    /// Layers that the node lacked.
    pub layers_sent: usize,
    /// Layers that it held already.
    pub layers_present: usize,
}

impl Docker {
    /// Loads an image of the daemon's into a node: only the layers that the node lacks.
    ///
    /// # Errors
    /// [`DockerError::NodeNotReady`] when the node's containerd does not answer ([`Docker::wait_for_node`] waits for it),
    /// [`DockerError::NodeRefused`] when it does not take the image, [`DockerError::NotFound`] when there is no such image.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn load_into_node(
        &self,
        name: &ImageRef,
        node: &str,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<LoadStats, DockerError> {
        let work = NodeLoad { docker: self, name, node, lines, cancel };
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(DockerError::Cancelled),
            loaded = work.run() => loaded,
        }
    }
}

/// One image on its way into one node.
struct NodeLoad<'a> {
    docker: &'a Docker,
    name: &'a ImageRef,
    node: &'a str,
    lines: &'a Lines,
    cancel: &'a CancellationToken,
}

impl NodeLoad<'_> {
    async fn run(&self) -> Result<LoadStats, DockerError> {
        let Self { docker, name, node, .. } = *self;
        let (image, held) = tokio::join!(docker.image(name), self.node_content());
        let image = image?.ok_or_else(|| DockerError::NotFound {
            action: format!("load image `{name}` into node `{node}`"),
            reason: "there is no such image".to_owned(),
        })?;
        let held = held?;
        let lacking: Vec<String> = distinct(&image).into_iter().filter(|id| !held.contains_key(*id)).cloned().collect();
        if lacking.len() < distinct(&image).len() {
            match self.load_missing_layers(&image, &held, &lacking).await {
                // The node's garbage collection may have removed a listed layer by now, or a layer could not be taken out of
                // Docker by itself: then the node gets the whole image.
                Err(DockerError::NodeRefused { reason, .. }) => {
                    self.lines
                        .output(format!("node `{node}` refused a part of the image ({reason}); sending all of it"));
                }
                done => return done,
            }
        }
        let loaded = self.load_whole_image(&image).await;
        if let Err(DockerError::NodeRefused { .. }) = loaded {
            // containerd names an image before it unpacks its layers: after a failed import the name is taken away, else
            // the kubelet would find an image that it cannot start.
            docker.remove_from_node(node, std::slice::from_ref(name), Garbage::CollectLater, self.cancel).await?;
        }
        loaded
    }

    /// What the node's containerd holds, by the digests of the uncompressed layers.
    async fn node_content(&self) -> Result<BTreeMap<String, Blob>, DockerError> {
        let output = self.docker.exec(self.node, &["sh", "-c", LIST_CONTENT], None, self.cancel).await?;
        let reason = output.last_line();
        if reason.contains("containerd.sock") || reason.contains("failed to dial") {
            return Err(DockerError::NodeNotReady { node: self.node.to_owned(), waited_s: 0, reason });
        }
        Ok(node_layers(&output.text()))
    }

    /// Streams the daemon's archive of the whole image straight into the node.
    async fn load_whole_image(&self, image: &ImageInfo) -> Result<LoadStats, DockerError> {
        let node = self.node;
        let sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sent);
        let archive = export_stream(self.docker.client()?.with_timeout(EXPORT_TIMEOUT), self.name.to_string())
            .inspect_ok(move |chunk| {
                counter.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            });
        let import = self.import(Box::pin(archive));
        tokio::pin!(import);
        let mut said = tokio::time::interval(PROGRESS_INTERVAL);
        loop {
            tokio::select! {
                imported = &mut import => break imported?,
                _ = said.tick() => {
                    let megabytes = sent.load(Ordering::Relaxed) / 1_000_000;
                    self.lines.progress(match megabytes {
                        0 => format!("loading the image ({} MB) into node `{node}`", image.size_bytes / 1_000_000),
                        _ => format!("sent {megabytes} of {} MB to node `{node}`", image.size_bytes / 1_000_000),
                    });
                }
            }
        }
        let layers_sent = distinct(image).len();
        Ok(LoadStats { bytes_sent: sent.load(Ordering::Relaxed), layers_sent, layers_present: 0 })
    }

    /// Sends a layout with the layers that the node lacks.
    async fn load_missing_layers(
        &self,
        image: &ImageInfo,
        held: &BTreeMap<String, Blob>,
        lacking: &[String],
    ) -> Result<LoadStats, DockerError> {
        let Self { name, node, .. } = *self;
        let local = |error: io::Error| DockerError::Transient {
            action: format!("load image `{name}` into node `{node}`"),
            reason: error.to_string(),
        };
        let folder = tempfile::tempdir().map_err(local)?;
        let blobs = if lacking.is_empty() {
            HashMap::new()
        } else {
            self.extract_layers(image, held, lacking, folder.path()).await?
        };
        let described: Option<Vec<Blob>> = image
            .diff_ids
            .iter()
            .map(|id| blobs.get(id).map(|layer| layer.blob.clone()).or_else(|| held.get(id).cloned()))
            .collect();
        let described = described.ok_or_else(|| DockerError::NodeRefused {
            node: node.to_owned(),
            reason: "a layer could not be taken out of Docker by itself".to_owned(),
        })?;
        let config = layout::config_of(image)?;
        let front = layout::small_files(name, &config, &described).map_err(local)?;
        let layers: Vec<LayerBlob> = blobs.into_values().collect();
        let bytes_sent = front.len() as u64 + layers.iter().map(|layer| layer.blob.size_bytes).sum::<u64>();
        self.lines.progress(format!(
            "loading {} of {} layers ({} kB) into node `{node}`",
            layers.len(),
            distinct(image).len(),
            bytes_sent / 1000
        ));
        let loaded =
            LoadStats { bytes_sent, layers_sent: layers.len(), layers_present: distinct(image).len() - lacking.len() };
        self.import(layout_stream(front, layers)).await?;
        Ok(loaded)
    }

    /// Writes the lacking layers into files below `folder`.
    async fn extract_layers(
        &self,
        image: &ImageInfo,
        held: &BTreeMap<String, Blob>,
        lacking: &[String],
        folder: &Path,
    ) -> Result<HashMap<String, LayerBlob>, DockerError> {
        let Self { docker, name, .. } = *self;
        if docker.shares_loopback.load(Ordering::Relaxed)
            && is_small_part(image, held)
            && let Some(layers) = docker.capture_layers(name, lacking, folder).await?
        {
            return Ok(layers);
        }
        let ours: Vec<&Blob> = image.diff_ids.iter().filter_map(|id| held.get(id)).collect();
        let mut known = KnownBlobs {
            digests: ours.iter().map(|blob| blob.digest.clone()).collect(),
            sizes: ours.iter().map(|blob| blob.size_bytes).collect(),
        };
        for _ in 0..2 {
            let client = docker.client()?.with_timeout(EXPORT_TIMEOUT);
            let archive = export_stream(client, name.to_string());
            let layers = archive::spool(archive, &image.diff_ids, &known, folder).await.map_err(|error| {
                DockerError::Transient { action: format!("take image `{name}` out"), reason: error.to_string() }
            })?;
            if lacking.iter().all(|id| layers.contains_key(id)) {
                return Ok(layers.into_iter().filter(|(id, _)| lacking.contains(id)).collect());
            }
            // A lacking layer has by chance the size of a held one and was passed over: read again by digest alone.
            known.sizes.clear();
        }
        Ok(HashMap::new())
    }

    async fn import(&self, archive: Stdin) -> Result<(), DockerError> {
        let command = ["ctr", "-n", "k8s.io", "images", "import", "-"];
        let output = self.docker.exec(self.node, &command, Some(archive), self.cancel).await?;
        if output.code == 0 {
            return Ok(());
        }
        let (node, reason) = (self.node.to_owned(), output.last_line());
        if reason.contains("failed to dial") {
            return Err(DockerError::NodeNotReady { node, waited_s: 0, reason });
        }
        Err(DockerError::NodeRefused { node, reason })
    }
}

/// Whether what is lacking is a small part of an image, so that compressing it is quicker than reading everything.
///
/// Measured: a push compresses some 20 MB a second, an archive comes at 130.
fn is_small_part(image: &ImageInfo, held: &BTreeMap<String, Blob>) -> bool {
    let of_layer = |blob: &Blob| if blob.is_gzip { 3 * blob.size_bytes } else { blob.size_bytes };
    let held_bytes: u64 = image.diff_ids.iter().filter_map(|id| held.get(id)).map(of_layer).sum();
    image.size_bytes.saturating_sub(held_bytes) < image.size_bytes / 7
}

/// The layers of an image, each once: an empty layer often comes several times.
fn distinct(image: &ImageInfo) -> BTreeSet<&String> {
    image.diff_ids.iter().collect()
}

/// The daemon's archive of an image, as `docker save` writes it.
fn export_stream(client: bollard::Docker, name: String) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream::once(async move { client.export_image(&name).map_err(io::Error::other).boxed() }).flatten()
}

/// A layout as a stream: the small files, the layers from their files, the end.
fn layout_stream(front: Vec<u8>, layers: Vec<LayerBlob>) -> Stdin {
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
fn node_layers(text: &str) -> BTreeMap<String, Blob> {
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

        let held = node_layers(text);

        assert_eq!(held.len(), 2);
        assert_eq!(held["sha256:bb"], Blob { digest: "sha256:bb".to_owned(), size_bytes: 51_700_000, is_gzip: false });
        assert_eq!(held["sha256:dd"], Blob { digest: "sha256:cc".to_owned(), size_bytes: 1_000_000, is_gzip: true });
    }

    proptest! {
        #[test]
        fn no_listing_makes_it_panic(text in "(.|\n)*") {
            let _ = node_layers(&text);
        }
    }
}
