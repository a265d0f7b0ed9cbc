//! What each action wants of an application, whatever it runs on.

use crate::id::{ClusterName, DockerfilePath, GitRef, Port, SourceDirectory};
use crate::intent::{Deploy, Redeploy, Rollback, Scale, VersionRef};
use crate::plan::Plan;
use crate::step::analyse_repository::AnalyseRepository;
use crate::step::apply_application::ApplyApplication;
use crate::step::build_image::{BuildImage, KnownPort};
use crate::step::clone_repository::CloneRepository;
use crate::step::prune_versions::PruneVersions;
use crate::step::restart_application::RestartApplication;
use crate::step::scale_application::ScaleApplication;
use crate::step::verify_application::VerifyApplication;
use crate::step::wait_for_rollout::WaitForRollout;
use crate::store::build_options::BuildOptions;
use crate::store::record::{PortSource, Version};

use super::input::{PlanError, PlanInput};

/// What a roll-out is made of, whichever action asks for it.
pub(super) struct RollOut {
    git_ref: Option<GitRef>,
    directory: Option<SourceDirectory>,
    dockerfile: Option<DockerfilePath>,
    build: BuildOptions,
    container_port: Option<Port>,
    /// The port of the version before, where what told it still holds.
    known_port: Option<KnownPort>,
    stop_grace_s: Option<u16>,
    replicas: u16,
    /// The earlier version to go back to; without one, what is built.
    pub(super) version: Option<Version>,
}

impl RollOut {
    /// What the person does not say again stays as it was.
    pub(super) fn of_deploy(deploy: &Deploy, input: &PlanInput<'_>) -> Self {
        let facts = &input.deployment.facts;
        let version = facts.version.as_ref();
        Self {
            git_ref: deploy.git_ref.clone().or_else(|| input.deployment.git_ref.clone()),
            directory: directory(deploy.source_directory.as_ref(), input),
            dockerfile: deploy.dockerfile.clone().or_else(|| version.and_then(|it| it.dockerfile.clone())),
            build: deploy.build.of(&version.map_or_else(BuildOptions::default, |it| it.build_options.clone())),
            container_port: deploy.container_port.or_else(|| version.and_then(|it| it.container_port)),
            known_port: version.and_then(|it| known_port(it, input)),
            stop_grace_s: deploy.stop_grace_s.or_else(|| version.and_then(|it| it.stop_grace_s)),
            replicas: deploy.replicas.or(facts.replicas).unwrap_or(1),
            version: None,
        }
    }

    pub(super) fn of_redeploy(redeploy: &Redeploy, input: &PlanInput<'_>) -> Result<Self, PlanError> {
        let version = running(input)?;
        Ok(Self {
            git_ref: redeploy.git_ref.clone().or_else(|| input.deployment.git_ref.clone()),
            directory: directory(redeploy.source_directory.as_ref(), input),
            dockerfile: redeploy.dockerfile.clone().or_else(|| version.dockerfile.clone()),
            build: redeploy.build.of(&version.build_options),
            container_port: redeploy.container_port.or(version.container_port),
            known_port: known_port(version, input),
            stop_grace_s: redeploy.stop_grace_s.or(version.stop_grace_s),
            replicas: input.deployment.facts.replicas.unwrap_or(1),
            version: None,
        })
    }

    pub(super) fn of_rollback(rollback: &Rollback, input: &PlanInput<'_>) -> Result<Self, PlanError> {
        let version = earlier_version(rollback, input)?.clone();
        Ok(Self {
            git_ref: None,
            directory: version.source_directory.clone(),
            dockerfile: None,
            build: version.build_options.clone(),
            container_port: None,
            known_port: None,
            stop_grace_s: version.stop_grace_s,
            replicas: rollback.replicas.or(input.deployment.facts.replicas).unwrap_or(1),
            version: Some(version),
        })
    }

    /// From the repository to what the build needs.
    pub(super) fn source(&self, input: &PlanInput<'_>) -> Vec<Plan> {
        let repository = input.deployment.repository.clone();
        vec![
            Plan::step(CloneRepository { repository, git_ref: self.git_ref.clone() }),
            Plan::step(AnalyseRepository {
                directory: self.directory.clone(),
                dockerfile: self.dockerfile.clone(),
                build: self.build.clone(),
            }),
        ]
    }

    pub(super) fn build(&self, input: &PlanInput<'_>) -> BuildImage {
        BuildImage {
            repository: input.deployment.repository.clone(),
            build: self.build.clone(),
            container_port: self.container_port,
            known_port: self.known_port,
        }
    }

    /// Puts it on the cluster and waits until it runs.
    pub(super) fn apply(&self, cluster: &ClusterName, input: &PlanInput<'_>) -> Vec<Plan> {
        vec![
            Plan::step(ApplyApplication {
                cluster: cluster.clone(),
                replicas: self.replicas,
                replaces_environment: input.replaces_environment && self.version.is_none(),
                version: self.version.clone(),
                source_directory: self.directory.clone(),
                stop_grace_s: self.stop_grace_s,
                previous: input.previous(),
            }),
            Plan::step(WaitForRollout { cluster: cluster.clone() }),
        ]
    }

    /// Looks at what runs, and forgets what is too old.
    pub(super) fn verify(&self, cluster: &ClusterName) -> Vec<Plan> {
        vec![
            Plan::step(VerifyApplication { cluster: cluster.clone(), replicas: self.replicas, node_port: None }),
            Plan::step(PruneVersions { cluster: cluster.clone() }),
        ]
    }
}

/// The port of the version before, where what told it still holds.
fn known_port(version: &Version, input: &PlanInput<'_>) -> Option<KnownPort> {
    let still_holds = match version.port_source {
        PortSource::Seen => true,
        PortSource::Environment => !input.replaces_environment,
        PortSource::Person | PortSource::Image | PortSource::Assumed => false,
    };
    still_holds.then_some(KnownPort { port: version.main_port, source: version.port_source })
}

/// The directory in which the build begins: the one that is asked for, else the deployment's; none for the root.
fn directory(asked: Option<&SourceDirectory>, input: &PlanInput<'_>) -> Option<SourceDirectory> {
    asked.map_or_else(|| input.deployment.source_directory.clone(), |it| it.clone().below_root())
}

/// Sets the number of replicas.
pub(super) fn scale(scale: &Scale, cluster: &ClusterName, input: &PlanInput<'_>) -> Result<Vec<Plan>, PlanError> {
    running(input)?;
    let facts = &input.deployment.facts;
    Ok(vec![
        Plan::step(ScaleApplication {
            cluster: cluster.clone(),
            replicas: scale.replicas,
            previous: facts.replicas.unwrap_or(1),
        }),
        Plan::step(WaitForRollout { cluster: cluster.clone() }),
        Plan::step(VerifyApplication {
            cluster: cluster.clone(),
            replicas: scale.replicas,
            node_port: facts.node_port,
        }),
    ])
}

/// Replaces the pods by new ones.
pub(super) fn restart(cluster: &ClusterName, input: &PlanInput<'_>) -> Result<Vec<Plan>, PlanError> {
    running(input)?;
    let facts = &input.deployment.facts;
    let replicas = facts.replicas.unwrap_or(1);
    if replicas == 0 {
        let name = &input.deployment.name;
        return Err(PlanError::NotPossible {
            message: format!("`{name}` is scaled to 0, so there is nothing to restart; `scale {name} to 1` starts it"),
            param: None,
        });
    }
    Ok(vec![
        Plan::step(RestartApplication { cluster: cluster.clone() }),
        Plan::step(WaitForRollout { cluster: cluster.clone() }),
        Plan::step(VerifyApplication { cluster: cluster.clone(), replicas, node_port: facts.node_port }),
    ])
}

/// What a plan of an action that changes nothing would be.
pub(super) fn not_a_change() -> PlanError {
    PlanError::NotPossible { message: "this action changes nothing".to_owned(), param: Some("action") }
}

fn earlier_version<'a>(rollback: &Rollback, input: &PlanInput<'a>) -> Result<&'a Version, PlanError> {
    let present = running(input)?;
    let versions = input.versions;
    let found = match &rollback.to {
        None => versions.iter().rev().find(|it| it.revision < present.revision && it.image_id != present.image_id),
        Some(VersionRef::Revision(revision)) => versions.iter().find(|it| it.revision == *revision),
        Some(VersionRef::Commit(prefix)) => {
            versions.iter().rev().find(|it| it.commit.as_str().starts_with(prefix.as_str()))
        }
    };
    found.ok_or_else(|| {
        let known: Vec<String> =
            versions.iter().rev().map(|it| format!("{} (commit {})", it.revision, it.commit.short())).collect();
        let message = match &rollback.to {
            None => "there is no earlier version to go back to".to_owned(),
            Some(_) => format!("there is no such version; there are {}", known.join(", ")),
        };
        PlanError::NotPossible { message, param: Some("rollback_to") }
    })
}

fn running<'a>(input: &PlanInput<'a>) -> Result<&'a Version, PlanError> {
    input.deployment.facts.version.as_ref().ok_or_else(|| PlanError::NotPossible {
        message: format!("`{}` has never run; deploy it first", input.deployment.name),
        param: None,
    })
}
