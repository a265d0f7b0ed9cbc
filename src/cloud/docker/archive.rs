//! What `docker save` writes, read as it streams by: the wanted layers go to files, the others are dropped.
//!
//! Docker before 25 writes `<id>/layer.tar`, later ones `blobs/sha256/<digest>`; in both `manifest.json` says, near the
//! end, which layer is which. Until then a layer of the old form can only be told by its size.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use serde::Deserialize;
use tokio::io::AsyncWriteExt;

use super::layout::{BLOCK, Blob, LayerBlob};

/// A small file is kept in memory; the manifest is the largest that matters.
const MAX_MANIFEST_BYTES: u64 = 4 * 1024 * 1024;

/// What the receiver holds already, by which layers are passed over.
#[derive(Debug, Default, Clone)]
pub(super) struct KnownBlobs {
    /// Digests of blobs.
    pub(super) digests: HashSet<String>,
    /// Sizes of the blobs that are layers of this image.
    pub(super) sizes: HashSet<u64>,
}

/// Reads the archive and writes the layers that are not held into `folder`; gives them by their diff ids.
///
/// A layer whose size is that of a held one is passed over even when it is another: then it is missing in the answer.
pub(super) async fn spool(
    archive: impl Stream<Item = io::Result<Bytes>>,
    diff_ids: &[String],
    held: &KnownBlobs,
    folder: &Path,
) -> io::Result<HashMap<String, LayerBlob>> {
    let mut tar = Tar { stream: Box::pin(archive), buffer: BytesMut::new() };
    let mut layers: HashMap<String, LayerBlob> = HashMap::new();
    let mut manifest = Vec::new();
    while let Some(entry) = tar.next().await? {
        let blob = entry.path.strip_prefix("blobs/sha256/").map(|hex| format!("sha256:{hex}"));
        let is_layer = blob.is_some() || entry.path.ends_with("/layer.tar");
        let is_held = match &blob {
            Some(digest) => held.digests.contains(digest),
            None => held.sizes.contains(&entry.size_bytes),
        };
        if entry.path == "manifest.json" && entry.size_bytes <= MAX_MANIFEST_BYTES {
            manifest = tar.read(entry.size_bytes).await?;
        } else if entry.is_file && is_layer && !is_held {
            let file = folder.join(format!("layer-{}", layers.len()));
            let is_gzip = tar.copy(entry.size_bytes, &file).await?;
            let blob = Blob { digest: blob.unwrap_or_default(), size_bytes: entry.size_bytes, is_gzip };
            layers.insert(entry.path, LayerBlob { blob, file });
        } else {
            tar.skip(entry.size_bytes).await?;
        }
        tar.skip_padding(entry.size_bytes).await?;
    }
    let images: Vec<SavedImage> = serde_json::from_slice(&manifest)?;
    let paths = images.into_iter().next().map(|image| image.layers).unwrap_or_default();
    if paths.len() != diff_ids.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the archive does not hold the layers of the image"));
    }
    let mut by_diff_id = HashMap::new();
    for (diff_id, path) in diff_ids.iter().zip(paths) {
        if let Some(mut layer) = layers.remove(&path) {
            if layer.blob.digest.is_empty() {
                layer.blob.digest.clone_from(diff_id);
            }
            by_diff_id.insert(diff_id.clone(), layer);
        }
    }
    Ok(by_diff_id)
}

#[derive(Deserialize)]
struct SavedImage {
    #[serde(rename = "Layers", default)]
    layers: Vec<String>,
}

/// A tar that arrives in pieces.
struct Tar<S> {
    stream: std::pin::Pin<Box<S>>,
    buffer: BytesMut,
}

struct Entry {
    path: String,
    size_bytes: u64,
    is_file: bool,
}

impl<S: Stream<Item = io::Result<Bytes>>> Tar<S> {
    /// The header of the next entry; `None` at the end.
    async fn next(&mut self) -> io::Result<Option<Entry>> {
        if !self.fill(BLOCK).await? {
            return Ok(None);
        }
        let block = self.buffer.split_to(BLOCK);
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let header = tar::Header::from_byte_slice(&block);
        Ok(Some(Entry {
            path: String::from_utf8_lossy(&header.path_bytes()).into_owned(),
            size_bytes: header.entry_size()?,
            is_file: header.entry_type().is_file(),
        }))
    }

    /// Makes the buffer hold `count` bytes; false when the stream ends before.
    async fn fill(&mut self, count: usize) -> io::Result<bool> {
        while self.buffer.len() < count {
            match self.stream.next().await {
                Some(chunk) => self.buffer.extend_from_slice(&chunk?),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The next piece of at most `most` bytes.
    async fn piece(&mut self, most: u64) -> io::Result<Bytes> {
        if !self.fill(1).await? {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ended early"));
        }
        let length = usize::try_from(most).unwrap_or(usize::MAX).min(self.buffer.len());
        Ok(self.buffer.split_to(length).freeze())
    }

    async fn read(&mut self, size_bytes: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < size_bytes {
            bytes.extend_from_slice(&self.piece(size_bytes - bytes.len() as u64).await?);
        }
        Ok(bytes)
    }

    async fn skip(&mut self, size_bytes: u64) -> io::Result<()> {
        let mut left = size_bytes;
        while left > 0 {
            left -= self.piece(left).await?.len() as u64;
        }
        Ok(())
    }

    async fn skip_padding(&mut self, size_bytes: u64) -> io::Result<()> {
        self.skip(super::layout::padding(size_bytes).len() as u64).await
    }

    /// Writes the next bytes to a file and says whether they begin as gzip does.
    async fn copy(&mut self, size_bytes: u64, path: &Path) -> io::Result<bool> {
        let mut file = tokio::fs::File::create(path).await?;
        let mut left = size_bytes;
        let mut is_gzip = None;
        while left > 0 {
            let piece = self.piece(left).await?;
            left -= piece.len() as u64;
            is_gzip.get_or_insert(piece.first() == Some(&0x1f) && piece.get(1).is_none_or(|byte| *byte == 0x8b));
            file.write_all(&piece).await?;
        }
        file.flush().await?;
        Ok(is_gzip.unwrap_or(false))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use proptest::prelude::*;

    use super::*;
    use crate::cloud::docker::layout::{header, padding};

    fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tar = Vec::new();
        for (path, bytes) in files {
            tar.extend(header(path, bytes.len() as u64).unwrap());
            tar.extend(*bytes);
            tar.extend(padding(bytes.len() as u64));
        }
        tar.extend([0; 2 * BLOCK]);
        tar
    }

    fn pieces(bytes: &[u8], size: usize) -> impl Stream<Item = io::Result<Bytes>> {
        let pieces: Vec<io::Result<Bytes>> =
            bytes.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        stream::iter(pieces)
    }

    #[tokio::test]
    async fn layers_of_the_old_form_are_told_by_their_size_and_named_by_the_manifest() {
        let saved = tar(&[
            ("b/layer.tar", b"held layer"),
            ("a/layer.tar", b"new"),
            ("a/json", b"{}"),
            ("manifest.json", br#"[{"Layers":["b/layer.tar","a/layer.tar"]}]"#),
        ]);
        let held = KnownBlobs { sizes: [10].into(), ..KnownBlobs::default() };
        let folder = tempfile::tempdir().unwrap();
        let diff_ids = ["sha256:one".to_owned(), "sha256:two".to_owned()];

        let layers = spool(pieces(&saved, 100), &diff_ids, &held, folder.path()).await.unwrap();

        assert_eq!(layers.keys().collect::<Vec<_>>(), ["sha256:two"]);
        let layer = &layers["sha256:two"];
        assert_eq!(layer.blob, Blob { digest: "sha256:two".to_owned(), size_bytes: 3, is_gzip: false });
        assert_eq!(std::fs::read(&layer.file).unwrap(), b"new");
    }

    #[tokio::test]
    async fn layers_of_the_new_form_are_told_by_their_digest_and_may_be_compressed() {
        let saved = tar(&[
            ("blobs/sha256/aa", b"same size"),
            ("blobs/sha256/bb", b"\x1f\x8bsame si"),
            ("index.json", b"{}"),
            ("manifest.json", br#"[{"Layers":["blobs/sha256/aa","blobs/sha256/bb"]}]"#),
        ]);
        let held = KnownBlobs { digests: ["sha256:aa".to_owned()].into(), sizes: [9].into() };
        let folder = tempfile::tempdir().unwrap();
        let diff_ids = ["sha256:aa".to_owned(), "sha256:two".to_owned()];

        let layers = spool(pieces(&saved, 1), &diff_ids, &held, folder.path()).await.unwrap();

        assert_eq!(layers.keys().collect::<Vec<_>>(), ["sha256:two"]);
        assert_eq!(layers["sha256:two"].blob, Blob { digest: "sha256:bb".to_owned(), size_bytes: 9, is_gzip: true });
    }

    #[tokio::test]
    async fn an_archive_that_ends_early_is_an_error() {
        let mut saved = tar(&[("b/layer.tar", &[7; 2000])]);
        saved.truncate(1000);
        let folder = tempfile::tempdir().unwrap();

        let error = spool(pieces(&saved, 512), &[], &KnownBlobs::default(), folder.path()).await.unwrap_err();

        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            let folder = tempfile::tempdir().unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _ = runtime.block_on(spool(pieces(&bytes, 700), &[], &KnownBlobs::default(), folder.path()));
        }
    }
}
