//! The images that a kind node's containerd holds: whether one is there, and how it goes with all that only it used.
//!
//! containerd keeps no images, but references to manifests, and one image has several: its name; `sha256:ID`, by which
//! the CRI plugin knows it and which it makes of each name that appears; `import-DATE@sha256:MANIFEST` when `kind load`
//! brought it. Content and snapshots stay while any of them is there, and after that until garbage is collected, which
//! containerd by itself puts off for a hundred changes.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::image::{ImageInfo, MANAGED_LABEL};
use super::layout;
use super::{Docker, DockerError};
use crate::id::ImageRef;

/// How long the containers of an image may take to go before it is removed all the same.
const CONTAINERS_END_WITHIN: Duration = Duration::from_secs(20);
/// How often is looked for them.
const CONTAINERS_LOOK: Duration = Duration::from_millis(250);

/// What becomes of content and snapshots that nothing refers to any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Garbage {
    /// They are gone when the call returns, and images of ours that lost their name before go too. Takes seconds for
    /// an image of a gigabyte.
    CollectNow,
    /// They go with the next collection.
    CollectLater,
}

/// A line of `ctr images ls`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reference {
    name: String,
    /// Digest of the manifest.
    digest: String,
}

impl Reference {
    /// Whether it is the digest of an image's configuration, which the CRI plugin makes of a name.
    fn is_id(&self) -> bool {
        self.name.starts_with("sha256:")
    }

    /// Whether somebody gave it: the other kinds come of themselves with one of these.
    fn is_given(&self) -> bool {
        let is_import = self.name.starts_with("import-") && self.name.contains("@sha256:") && !self.name.contains('/');
        !self.is_id() && !is_import
    }
}

impl Docker {
    /// Whether a node has exactly this image under this name.
    ///
    /// # Errors
    /// [`DockerError`] when the node cannot be asked.
    pub async fn node_has_image(
        &self,
        node: &str,
        name: &ImageRef,
        image: &ImageInfo,
        cancel: &CancellationToken,
    ) -> Result<bool, DockerError> {
        let full_name = layout::full_name(name);
        let ids = [image.id.clone(), layout::sha256(&layout::config_of(image)?)];
        let names: Vec<&str> = std::iter::once(&full_name).chain(&ids).map(String::as_str).collect();
        Ok(is_same_image(&self.references(node, &names, cancel).await?, &full_name, &ids))
    }

    /// Whether a node has any image under this name.
    ///
    /// # Errors
    /// [`DockerError`] when the node cannot be asked.
    pub async fn node_has_name(
        &self,
        node: &str,
        name: &ImageRef,
        cancel: &CancellationToken,
    ) -> Result<bool, DockerError> {
        Ok(!self.references(node, &[&layout::full_name(name)], cancel).await?.is_empty())
    }

    /// Removes images from a node, with every reference that nobody gave and that no other name keeps. What is not
    /// there is a success, and so is a node that is not there.
    ///
    /// # Errors
    /// [`DockerError`] when the node does not do it.
    pub async fn remove_from_node(
        &self,
        node: &str,
        names: &[ImageRef],
        garbage: Garbage,
        cancel: &CancellationToken,
    ) -> Result<(), DockerError> {
        let all = match self.references(node, &[], cancel).await {
            Err(DockerError::NotFound { .. }) => return Ok(()),
            all => all?,
        };
        let mut names: BTreeSet<String> = names.iter().map(layout::full_name).collect();
        if garbage == Garbage::CollectNow {
            names.extend(self.nameless_images(node, &all, cancel).await?);
        }
        let going = going(&all, &names);
        if going.is_empty() {
            return Ok(());
        }
        let mut argv = vec!["ctr", "-n", "k8s.io", "images", "rm"];
        if garbage == Garbage::CollectNow {
            self.outlive_containers(node, &going, cancel).await?;
            argv.push("--sync");
        }
        argv.extend(&going);
        match self.exec(node, &argv, None, cancel).await {
            Ok(output) if output.code == 0 || output.last_line().contains("not found") => Ok(()),
            Ok(output) => Err(DockerError::Permanent {
                action: format!("remove `{}` from node `{node}`", going.join("`, `")),
                reason: output.last_line(),
            }),
            Err(DockerError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Waits until no container of these images is left, for a while: the kubelet removes a container a moment after its
    /// pod, and until then it holds the layers that it stands on.
    async fn outlive_containers(
        &self,
        node: &str,
        images: &[&str],
        cancel: &CancellationToken,
    ) -> Result<(), DockerError> {
        let until = Instant::now() + CONTAINERS_END_WITHIN;
        while Instant::now() < until {
            let output = match self.exec(node, &["ctr", "-n", "k8s.io", "containers", "ls"], None, cancel).await {
                Err(DockerError::NotFound { .. }) => return Ok(()),
                output => output?,
            };
            let text = output.text();
            let mut used = text.lines().filter_map(|line| line.split_whitespace().nth(1));
            if output.code != 0 || !used.any(|image| images.contains(&image)) {
                return Ok(());
            }
            tokio::time::sleep(CONTAINERS_LOOK).await;
        }
        Ok(())
    }

    /// Which of these images a node has, and by their ids those of ours that it has without a name.
    ///
    /// # Errors
    /// [`DockerError`] when the node cannot be asked.
    pub async fn images_left_on_node(
        &self,
        node: &str,
        names: &[ImageRef],
        cancel: &CancellationToken,
    ) -> Result<Vec<String>, DockerError> {
        let all = self.references(node, &[], cancel).await?;
        let is_there = |name: &&ImageRef| all.iter().any(|it| it.name == layout::full_name(name));
        let found = names.iter().filter(is_there).map(ToString::to_string);
        Ok(found.chain(self.nameless_images(node, &all, cancel).await?).collect())
    }

    /// The references of a node, or those of these names.
    async fn references(
        &self,
        node: &str,
        names: &[&str],
        cancel: &CancellationToken,
    ) -> Result<Vec<Reference>, DockerError> {
        let filters: Vec<String> = names.iter().map(|name| format!("name=={name}")).collect();
        let mut argv = vec!["ctr", "-n", "k8s.io", "images", "ls"];
        argv.extend(filters.iter().map(String::as_str));
        let output = self.exec(node, &argv, None, cancel).await?;
        if output.code == 0 {
            return Ok(references(&output.text()));
        }
        Err(DockerError::Transient { action: format!("list the images of node `{node}`"), reason: output.last_line() })
    }

    /// The ids of images of ours that have lost their name: it was taken away alone, or another image got it.
    async fn nameless_images(
        &self,
        node: &str,
        all: &[Reference],
        cancel: &CancellationToken,
    ) -> Result<Vec<String>, DockerError> {
        let mut ours = Vec::new();
        for id in nameless(all) {
            let output = self.exec(node, &["ctr", "-n", "k8s.io", "content", "get", id], None, cancel).await?;
            if output.code == 0 && is_managed(&output.stdout) {
                ours.push(id.to_owned());
            }
        }
        Ok(ours)
    }
}

/// Reads `ctr images ls`.
fn references(listing: &str) -> Vec<Reference> {
    let read = |line: &str| {
        let mut columns = line.split_whitespace();
        let (name, digest) = (columns.next()?.to_owned(), columns.nth(1)?.to_owned());
        digest.starts_with("sha256:").then_some(Reference { name, digest })
    };
    listing.lines().filter_map(read).collect()
}

/// Whether the name and one of the ids refer to the same manifest.
fn is_same_image(all: &[Reference], full_name: &str, ids: &[String]) -> bool {
    let named = all.iter().find(|it| it.name == full_name);
    named.is_some_and(|named| all.iter().any(|it| ids.contains(&it.name) && it.digest == named.digest))
}

/// What has to go with these references for their images to be gone; an image that has another name keeps its id.
fn going<'a>(all: &'a [Reference], names: &BTreeSet<String>) -> Vec<&'a str> {
    let kept: BTreeSet<&str> =
        all.iter().filter(|it| it.is_given() && !names.contains(&it.name)).map(|it| it.digest.as_str()).collect();
    let digests: BTreeSet<&str> =
        all.iter().filter(|it| names.contains(&it.name)).map(|it| it.digest.as_str()).collect();
    let goes = |it: &&Reference| {
        names.contains(&it.name) || (digests.contains(it.digest.as_str()) && !kept.contains(it.digest.as_str()))
    };
    all.iter().filter(goes).map(|it| it.name.as_str()).collect()
}

/// The ids of images that nobody can ask for by a name.
fn nameless(all: &[Reference]) -> Vec<&str> {
    let given: BTreeSet<&str> = all.iter().filter(|it| it.is_given()).map(|it| it.digest.as_str()).collect();
    all.iter().filter(|it| it.is_id() && !given.contains(it.digest.as_str())).map(|it| it.name.as_str()).collect()
}

/// Whether the configuration of an image says that this program built it.
fn is_managed(config: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct File {
        config: Config,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Config {
        labels: HashMap<String, String>,
    }
    let file: Option<File> = serde_json::from_slice(config).ok();
    file.is_some_and(|file| file.config.labels.get(MANAGED_LABEL).is_some_and(|it| it == "true"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What `ctr images ls` shows of these references.
    fn listed(rows: &[(&str, &str)]) -> Vec<Reference> {
        let lines = rows.iter().map(|(name, digest)| format!("{name} type {digest} 2.0 MiB linux/amd64 -\n"));
        references(&format!("REF TYPE DIGEST SIZE PLATFORMS LABELS\n{}", lines.collect::<String>()))
    }

    fn removed(all: &[Reference], names: &[&str]) -> Vec<String> {
        going(all, &names.iter().map(ToString::to_string).collect()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_image_is_the_same_only_when_its_name_points_to_its_id() {
        let all = listed(&[
            ("docker.io/library/notes:1", "sha256:m1"),
            ("sha256:config1", "sha256:m1"),
            ("sha256:config2", "sha256:m2"),
        ]);
        let is_same = |id: &str| is_same_image(&all, "docker.io/library/notes:1", &[id.to_owned()]);

        assert!(is_same("sha256:config1"));
        assert!(!is_same("sha256:config2"));
        assert!(!is_same("sha256:config3"));
    }

    #[test]
    fn an_image_goes_with_its_id_and_what_kind_called_it() {
        let all = listed(&[
            ("docker.io/notes:1", "sha256:m1"),
            ("docker.io/notes:2", "sha256:m2"),
            ("import-2026-01-01@sha256:m1", "sha256:m1"),
            ("sha256:c1", "sha256:m1"),
            ("sha256:c2", "sha256:m2"),
        ]);

        let gone = removed(&all, &["docker.io/notes:1", "docker.io/absent:1"]);

        assert_eq!(gone, ["docker.io/notes:1", "import-2026-01-01@sha256:m1", "sha256:c1"]);
    }

    #[test]
    fn the_id_of_an_image_that_has_another_name_stays() {
        let all = listed(&[
            ("docker.io/notes:1", "sha256:m1"),
            ("ghcr.io/somebody/notes:1", "sha256:m1"),
            ("sha256:c1", "sha256:m1"),
        ]);

        assert_eq!(removed(&all, &["docker.io/notes:1"]), ["docker.io/notes:1"]);
        assert_eq!(removed(&all, &["docker.io/notes:1", "ghcr.io/somebody/notes:1"]).len(), 3);
    }

    #[test]
    fn an_id_without_a_name_is_known_and_goes_with_what_kind_called_it() {
        let all = listed(&[
            ("docker.io/notes:1", "sha256:m1"),
            ("import-2026-01-01@sha256:m2", "sha256:m2"),
            ("sha256:c1", "sha256:m1"),
            ("sha256:c2", "sha256:m2"),
        ]);

        assert_eq!(nameless(&all), ["sha256:c2"]);
        assert_eq!(removed(&all, &["sha256:c2"]), ["import-2026-01-01@sha256:m2", "sha256:c2"]);
    }

    #[test]
    fn an_image_is_ours_by_its_label() {
        assert!(is_managed(br#"{"os": "linux", "config": {"Labels": {"on-demand-infra.managed": "true", "a": "b"}}}"#));
        assert!(!is_managed(br#"{"config": {"Labels": {"a": "b"}}}"#));
        assert!(!is_managed(br#"{"config": {"Labels": null}}"#));
        assert!(!is_managed(br#"{"config": {}}"#));
        assert!(!is_managed(b"not found"));
    }

    proptest! {
        #[test]
        fn no_listing_makes_it_panic(text in "(.|\n)*") {
            let all = references(&text);
            let _ = (is_same_image(&all, "a", &[]), nameless(&all), removed(&all, &["a"]), is_managed(text.as_bytes()));
        }
    }
}
