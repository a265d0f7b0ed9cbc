//! An image as an OCI layout in a tar, with only those layers that the receiver lacks.

use std::io;
use std::path::PathBuf;

use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::DockerError;
use super::image::ImageInfo;
use crate::id::ImageRef;

const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// Bytes in a block of a tar.
pub(super) const BLOCK: usize = 512;

/// A layer as it lies in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blob {
    /// `sha256:` and the digest of the bytes that lie there.
    pub(super) digest: String,
    pub(super) size_bytes: u64,
    pub(super) is_gzip: bool,
}

/// A layer in a file here, on its way into a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LayerBlob {
    pub(super) blob: Blob,
    pub(super) file: PathBuf,
}

/// [`config`] with an error of writing JSON as [`DockerError::Permanent`]: the daemon would tell the same again.
pub(super) fn config_of(image: &ImageInfo) -> Result<Vec<u8>, DockerError> {
    config(image).map_err(|error| DockerError::Permanent {
        action: format!("describe image `{}`", image.id),
        reason: error.to_string(),
    })
}

/// The configuration file of an image, made from what the daemon tells of it.
///
/// It is not Docker's own to the byte (the history is left out), so the image gets another id in the node; the same
/// image always gets the same one.
fn config(image: &ImageInfo) -> Result<Vec<u8>, serde_json::Error> {
    let runtime = &image.runtime;
    let mut config = serde_json::to_value(&runtime.config)?;
    if let Value::Object(fields) = &mut config {
        fields.retain(|_, value| !value.is_null() && *value != json!({}) && *value != json!([]));
    }
    let mut file = json!({
        "architecture": image.architecture,
        "os": runtime.os,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": image.diff_ids},
    });
    if let Some(variant) = &runtime.variant {
        file["variant"] = json!(variant);
    }
    if let Some(created) = &runtime.created {
        file["created"] = json!(created);
    }
    serde_json::to_vec(&file)
}

/// The small files of a layout as entries of a tar: configuration, manifest, index, in front of the layers.
pub(super) fn small_files(name: &ImageRef, config: &[u8], layers: &[Blob]) -> io::Result<Vec<u8>> {
    let layers: Vec<Value> = layers
        .iter()
        .map(|layer| {
            let suffix = if layer.is_gzip { "+gzip" } else { "" };
            json!({
                "mediaType": format!("application/vnd.oci.image.layer.v1.tar{suffix}"),
                "digest": layer.digest,
                "size": layer.size_bytes,
            })
        })
        .collect();
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": CONFIG_TYPE, "digest": sha256(config), "size": config.len()},
        "layers": layers,
    }))?;
    let full_name = full_name(name);
    let index = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": INDEX_TYPE,
        "manifests": [{
            "mediaType": MANIFEST_TYPE,
            "digest": sha256(&manifest),
            "size": manifest.len(),
            "annotations": {
                "io.containerd.image.name": full_name,
                "org.opencontainers.image.ref.name": full_name.rsplit_once(':').map_or("latest", |(_, tag)| tag),
            },
        }],
    }))?;
    let mut tar = Vec::new();
    for (path, bytes) in [
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.as_slice()),
        ("index.json".to_owned(), &index),
        (blob_path(&sha256(&manifest)), &manifest),
        (blob_path(&sha256(config)), config),
    ] {
        tar.extend(header(&path, bytes.len() as u64)?);
        tar.extend(bytes);
        tar.extend(padding(bytes.len() as u64));
    }
    Ok(tar)
}

/// The header of a file in a tar.
pub(super) fn header(path: &str, size_bytes: u64) -> io::Result<[u8; BLOCK]> {
    let mut header = tar::Header::new_ustar();
    header.set_path(path)?;
    header.set_size(size_bytes);
    header.set_mode(0o644);
    header.set_cksum();
    Ok(*header.as_bytes())
}

/// The zeros that fill a file's last block.
pub(super) fn padding(size_bytes: u64) -> &'static [u8] {
    let over = usize::try_from(size_bytes % BLOCK as u64).unwrap_or(0);
    &[0; BLOCK][..(BLOCK - over) % BLOCK]
}

/// Where a blob lies in a layout.
pub(super) fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replacen(':', "/", 1))
}

/// The name by which a kubelet finds the image: with registry, path and tag.
pub(super) fn full_name(image: &ImageRef) -> String {
    let text = image.as_str();
    let has_registry =
        text.split_once('/').is_some_and(|(first, _)| first.contains(['.', ':']) || first == "localhost");
    let text = match (has_registry, text.contains('/')) {
        (true, _) => text.to_owned(),
        (false, true) => format!("docker.io/{text}"),
        (false, false) => format!("docker.io/library/{text}"),
    };
    let last = text.rsplit('/').next().unwrap_or_default();
    if last.contains([':', '@']) { text } else { format!("{text}:latest") }
}

/// `sha256:` and the digest of the bytes.
pub(super) fn sha256(bytes: &[u8]) -> String {
    digest_text(&Sha256::digest(bytes))
}

/// `sha256:` and the digest.
pub(super) fn digest_text(digest: &[u8]) -> String {
    format!("sha256:{}", HEXLOWER.encode(digest))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_kubelet_finds_every_kind_of_name() {
        for (name, full) in [
            ("notes", "docker.io/library/notes:latest"),
            ("notes:1", "docker.io/library/notes:1"),
            ("team/notes:1", "docker.io/team/notes:1"),
            ("localhost/notes:1", "localhost/notes:1"),
            ("127.0.0.1:5000/notes", "127.0.0.1:5000/notes:latest"),
            ("ghcr.io/a/notes:1", "ghcr.io/a/notes:1"),
        ] {
            assert_eq!(full_name(&ImageRef::parse(name).unwrap()), full);
        }
    }

    #[test]
    fn the_same_image_always_gets_the_same_configuration() {
        let inspect = r#"{"Id": "sha256:x", "Architecture": "amd64", "Os": "linux", "RootFS": {"Type": "layers", "Layers": ["sha256:a"]},
            "Config": {"User": "app", "Env": ["A=1"], "Cmd": ["run"], "OnBuild": null, "Volumes": null,
                "Labels": {"b": "1", "a": "2", "c": "3"}, "ExposedPorts": {"80/tcp": {}, "53/udp": {}, "90/tcp": {}}}}"#;
        let image = || ImageInfo::from(serde_json::from_str::<bollard::models::ImageInspect>(inspect).unwrap());

        let text = String::from_utf8(config(&image()).unwrap()).unwrap();

        for _ in 0..5 {
            assert_eq!(text.as_bytes(), config(&image()).unwrap());
        }
        insta::assert_snapshot!(text, @r#"{"architecture":"amd64","config":{"Cmd":["run"],"Env":["A=1"],"ExposedPorts":{"53/udp":{},"80/tcp":{},"90/tcp":{}},"Labels":{"a":"2","b":"1","c":"3"},"User":"app"},"os":"linux","rootfs":{"diff_ids":["sha256:a"],"type":"layers"}}"#);
    }

    #[test]
    fn a_layout_without_layers_still_describes_them() {
        let layer = Blob { digest: format!("sha256:{}", "a".repeat(64)), size_bytes: 1024, is_gzip: false };
        let tar = small_files(&ImageRef::parse("notes:1").unwrap(), b"{}", &[layer]).unwrap();
        assert_eq!(tar.len() % BLOCK, 0);

        let mut archive = tar::Archive::new(tar.as_slice());
        let files: Vec<(String, String)> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let mut text = String::new();
                entry.read_to_string(&mut text).unwrap();
                (entry.path().unwrap().display().to_string(), text)
            })
            .collect();

        assert_eq!(files[0].0, "oci-layout");
        assert!(files[1].1.contains("docker.io/library/notes:1"), "{}", files[1].1);
        assert!(files[2].1.contains(r#""size":1024"#), "{}", files[2].1);
        assert_eq!(files[2].0, blob_path(&sha256(files[2].1.as_bytes())));
    }

    #[test]
    fn padding_fills_a_block() {
        assert_eq!((padding(0).len(), padding(1).len(), padding(512).len(), padding(513).len()), (0, 511, 0, 511));
    }
}
