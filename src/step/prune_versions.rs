//! Removes what only versions needed that are too old to go back to.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::applied_application::ApplicationApplied;
use super::apply_application::ApplyApplication;
use super::context::StepContext;
use super::error::StepError;
use super::removal::{Removal, Removed};
use super::remove_images::remove_images;
use crate::cloud::docker::node_images::Garbage;
use crate::id::{ClusterName, ImageRef, Mode};
use crate::store::record::Version;

/// Removes what only versions needed that are too old to go back to. It never fails: what stays goes with the next one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PruneVersions {
    /// The cluster.
    pub cluster: ClusterName,
}

impl Removal for PruneVersions {
    const NAME: &'static str = "prune_versions";

    fn title(&self) -> String {
        "Remove versions that are too old".to_owned()
    }

    fn weight(&self) -> u32 {
        0
    }

    fn summary(&self, output: &Removed) -> String {
        if output.removed.is_empty() { "all are kept".to_owned() } else { output.summary() }
    }

    /// What is too old is not what the person asked about.
    fn receipt(&self, _: &Removed) -> Vec<String> {
        Vec::new()
    }

    async fn remove(&self, cx: &StepContext) -> Result<Vec<String>, StepError> {
        let mut removed = Vec::new();
        if let Err(error) = self.prune(cx, &mut removed).await {
            cx.lines.output(format!("old versions stay until the next roll-out: {error}"));
        }
        Ok(removed)
    }
}

impl PruneVersions {
    /// The rows of the versions are deleted after their images and Secrets: when pruning fails half way, the next run
    /// finds the versions and tries again.
    async fn prune(&self, cx: &StepContext, removed: &mut Vec<String>) -> Result<(), StepError> {
        let (store, deployment) = (&cx.store, &cx.deployment);
        let Some(applied) = cx.try_output::<ApplyApplication>()? else { return Ok(()) };
        let versions = store.versions(deployment.id).await?;
        let ran = deployment.facts.version.as_ref();
        let (old, kept) = partition_versions(&versions, &applied, ran, cx.settings.rollout.keep_versions);
        if old.is_empty() {
            return Ok(());
        }
        let images = kept.iter().map(|version| &version.image).chain([&applied.image]);
        let needed: BTreeSet<&ImageRef> = images.chain(ran.map(|version| &version.image)).collect();
        let images: BTreeSet<&ImageRef> = old.iter().map(|version| &version.image).collect();
        let mut unused = Vec::new();
        for image in images.difference(&needed) {
            // Old images in ECR are expired by the repository's lifecycle policy.
            if cx.target.mode != Mode::CloudHosted && cx.is_image_unused(image, Some(deployment.id)).await? {
                unused.push(ImageRef::clone(image));
            }
        }
        if !unused.is_empty() {
            // A redeploy does not wait until the node has freed the space.
            removed.extend(remove_images(cx, &self.cluster, &unused, Garbage::CollectLater).await?);
        }
        let secrets = kept.iter().filter_map(|version| version.environment_secret.clone());
        let secrets = secrets.chain(applied.environment_secret.clone());
        let keep: Vec<String> = secrets.chain(ran.and_then(|version| version.environment_secret.clone())).collect();
        if old.iter().filter_map(|version| version.environment_secret.as_ref()).any(|secret| !keep.contains(secret)) {
            let kube = cx.kube(&self.cluster).await?;
            let gone = kube.prune_environments(&deployment.namespace, deployment.id, &keep).await?;
            removed.extend(gone.iter().map(ToString::to_string));
        }
        let revisions: Vec<u32> = old.iter().map(|version| version.revision).collect();
        Ok(store.remove_versions(deployment.id, &revisions).await?)
    }
}

/// Splits the stored versions into those that go and those that stay: the newest `keep`, the one that was applied just
/// now included, and the one that ran before it, to which a cancelled operation goes back.
fn partition_versions<'a>(
    versions: &'a [Version],
    applied: &ApplicationApplied,
    ran: Option<&Version>,
    keep: usize,
) -> (Vec<&'a Version>, Vec<&'a Version>) {
    // A new version is stored when the operation ends.
    let is_new = ran.is_none_or(|ran| !applied.is_same_version(ran));
    let stay = keep.saturating_sub(usize::from(is_new));
    let first_to_stay = versions.len().saturating_sub(stay);
    let stays = |(index, version): (usize, &Version)| {
        index >= first_to_stay || ran.is_some_and(|ran| ran.revision == version.revision)
    };
    let (kept, old): (Vec<_>, Vec<_>) =
        versions.iter().enumerate().partition(|&(index, version)| stays((index, version)));
    let plain = |them: Vec<(usize, &'a Version)>| them.into_iter().map(|(_, version)| version).collect();
    (plain(old), plain(kept))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::id::{CommitId, OperationId, Port};
    use crate::store::build_options::BuildOptions;
    use crate::store::record::{PortSource, VersionBuild};

    fn version(revision: u32) -> Version {
        Version {
            revision,
            commit: CommitId::parse("0123456789abcdef0123456789abcdef01234567").unwrap(),
            git_ref: None,
            image: ImageRef::parse(format!("on-demand-infra/app:{revision}")).unwrap(),
            image_id: format!("sha256:{revision}"),
            main_port: Port::new(8080).unwrap(),
            ports: Vec::new(),
            port_source: PortSource::Image,
            container_port: None,
            stop_grace_s: None,
            source_directory: None,
            dockerfile: None,
            build: VersionBuild::default(),
            build_options: BuildOptions::default(),
            environment_secret: None,
            environment_names: Vec::new(),
            operation: OperationId::new(),
            deployed_at: Timestamp::now(),
        }
    }

    /// The revisions that go when `applied` was rolled out after `stored` ones, the last of which ran.
    fn gone(stored: u32, applied: u32, keep: usize) -> Vec<u32> {
        let versions: Vec<Version> = (1..=stored).map(version).collect();
        let applied = ApplicationApplied::from_version(&version(applied), 1);
        partition_versions(&versions, &applied, versions.last(), keep)
            .0
            .iter()
            .map(|version| version.revision)
            .collect()
    }

    #[test]
    fn the_newest_versions_stay_and_the_one_just_applied_counts() {
        assert_eq!(gone(0, 1, 10), [0_u32; 0]);
        assert_eq!(gone(9, 10, 10), [0_u32; 0]);
        assert_eq!(gone(10, 11, 10), [1]);
        assert_eq!(gone(12, 13, 10), [1, 2, 3]);
    }

    #[test]
    fn a_roll_out_of_what_runs_already_adds_none() {
        assert_eq!(gone(10, 10, 10), [0_u32; 0]);
        assert_eq!(gone(11, 11, 10), [1]);
    }

    #[test]
    fn the_version_that_ran_before_stays_until_the_next_roll_out() {
        assert_eq!(gone(3, 4, 1), [1, 2]);
    }
}
