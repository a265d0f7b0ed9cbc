//! Puts the application on the cluster, or changes what runs there.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::action::{StepAction, StepUndo};
use super::applied_application::{ApplicationApplied, SLEEP_HOOK_MINOR, node_ports};
use super::build_image::{BuildImage, Built};
use super::context::StepContext;
use super::create_cluster::CreateCluster;
use super::environment::environment_values;
use super::error::StepError;
use super::load_image::{load_on_new_nodes, load_on_nodes};
use super::push_image::PushImage;
use super::stop_pods::stop_pods;
use crate::cloud::kube::Kube;
use crate::cloud::kube::application::{Application, EnvironmentSecret};
use crate::cloud::kube::delete::NamespacePolicy;
use crate::id::{ClusterName, EnvironmentName, ImageRef, Mode, OperationId, SourceDirectory};
use crate::store::record::{Deployment, Version};

/// How long removing a half-made application may take.
const REMOVAL_TIMEOUT: Duration = Duration::from_mins(2);

/// Puts the application on the cluster, or changes what runs there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ApplyApplication {
    /// The cluster.
    pub cluster: ClusterName,
    /// How many replicas.
    pub replicas: u16,
    /// Whether new environment variables come with the request.
    pub replaces_environment: bool,
    /// The earlier version to go back to; without one, what was built.
    pub version: Option<Version>,
    /// The directory of the repository in which its build began; none for the root.
    #[serde(default)]
    pub source_directory: Option<SourceDirectory>,
    /// Seconds to end after SIGTERM; the setting's without it.
    #[serde(default)]
    pub stop_grace_s: Option<u16>,
    /// What runs now, to go back to when this fails.
    pub previous: Option<Previous>,
}

/// What ran before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Previous {
    /// The version.
    pub version: Version,
    /// Its replicas.
    pub replicas: u16,
    /// Its node port.
    pub node_port: Option<u16>,
}

impl StepAction for ApplyApplication {
    const NAME: &'static str = "apply_application";
    type Output = ApplicationApplied;

    fn title(&self) -> String {
        "Apply it to the cluster".to_owned()
    }

    fn is_on_target(&self) -> bool {
        true
    }

    fn summary(&self, output: &ApplicationApplied) -> String {
        if output.changed {
            output.node_port.map_or_else(|| "applied".to_owned(), |port| format!("node port {port}"))
        } else {
            "it runs exactly so already".to_owned()
        }
    }

    fn receipt(&self, output: &ApplicationApplied) -> Vec<String> {
        let before = self.previous.as_ref().filter(|before| output.changed && before.replicas != self.replicas);
        before.map(|before| format!("scaled from {} to {}", before.replicas, self.replicas)).into_iter().collect()
    }

    fn record(&self, output: &ApplicationApplied, deployment: &mut Deployment) {
        deployment.source_directory.clone_from(&self.source_directory);
        deployment.facts.replicas = Some(self.replicas);
        deployment.facts.node_port = output.node_port;
        deployment.facts.owns_namespace |= output.created_namespace;
    }

    async fn check(&self, cx: &StepContext) -> Result<Option<ApplicationApplied>, StepError> {
        let Some(applied) = self.desired(cx).await? else { return Ok(None) };
        let kube = cx.kube(&self.cluster).await?;
        let Some(live) = kube.live_deployment(&cx.deployment.name, &cx.deployment.namespace).await? else {
            return Ok(None);
        };
        let application = applied.application(cx, &kube, live.node_port).await?;
        let current = kube.is_current(&application).await?;
        let by_us = live.operation.as_deref() == Some(cx.operation.to_string().as_str());
        Ok(current.then_some(ApplicationApplied { node_port: live.node_port, changed: by_us, ..applied }))
    }

    async fn run(&self, cx: &StepContext) -> Result<ApplicationApplied, StepError> {
        let applied = self.desired(cx).await?.ok_or_else(|| {
            StepError::permanent(
                "internal_error",
                "there is neither a built image nor an earlier version to apply",
                "Report this with the operation's id",
            )
        })?;
        let environment = self.environment(cx).await?;
        let kube = cx.kube(&self.cluster).await?;
        if environment.is_none()
            && let Some(secret) = &applied.environment_secret
            && !kube.has_environment(&cx.deployment.namespace, secret).await?
        {
            return Err(environment_missing(&applied.environment_names));
        }
        load_on_new_nodes(cx, &self.cluster, &applied.image).await?;
        let application = applied.application(cx, &kube, None).await?;
        if application.stop_pause_s < cx.settings.rollout.stop_pause_s {
            cx.lines.warning(format!(
                "The cluster's Kubernetes is older than 1.{SLEEP_HOOK_MINOR} and cannot let a pod that is replaced serve a little longer: a redeploy may lose requests."
            ));
        }
        let done = kube.apply(&application, environment.as_ref(), &node_ports(cx, &self.cluster).await?).await?;
        Ok(ApplicationApplied {
            node_port: done.node_port,
            created_namespace: done.created_namespace,
            changed: true,
            ..applied
        })
    }
}

impl StepUndo for ApplyApplication {
    async fn undo(&self, cx: &StepContext, _: Option<ApplicationApplied>) -> Result<Vec<String>, StepError> {
        let name = &cx.deployment.name;
        let kube = match cx.kube(&self.cluster).await {
            Ok(kube) => kube,
            // Without the cluster there is nothing to take back.
            Err(_) if cx.is_cluster_gone(&self.cluster).await? => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        if let Some(previous) = &self.previous {
            let Some(reason) = self.rollback_blocker(cx, previous).await? else {
                return self.roll_back(cx, &kube, previous).await;
            };
            let revision = previous.version.revision;
            cx.lines
                .warning(format!("Version {revision} cannot run again: {reason}. Send `redeploy` to build it anew."));
        }
        let live = kube.live_deployment(name, &cx.deployment.namespace).await?;
        if live.is_some_and(|live| live.deployment != Some(cx.deployment.id.to_string())) {
            return Ok(Vec::new());
        }
        let stop = |pods| stop_pods(cx, pods);
        let (namespace, fate) = (&cx.deployment.namespace, NamespacePolicy::DeleteIfEmpty);
        let on_progress = |text: String| cx.lines.progress(text);
        let deleted =
            kube.delete_application(namespace, cx.deployment.id, fate, REMOVAL_TIMEOUT, &on_progress, stop).await?;
        deleted.namespace_stays.into_iter().for_each(|text| cx.lines.warning(text));
        Ok(deleted.removed.iter().map(ToString::to_string).collect())
    }
}

impl ApplyApplication {
    /// What is to run; `None` while the image is not built.
    async fn desired(&self, cx: &StepContext) -> Result<Option<ApplicationApplied>, StepError> {
        let built: Option<Built> = cx.try_output::<BuildImage>()?;
        let (secret, names) = self.environment_secret_and_names(cx).await?;
        let version = self.version.as_ref();
        let of_version = version.map(|it| ApplicationApplied::from_version(it, self.replicas));
        let (commit, image, image_id, main_port, port_source, ports, options) = match (of_version, built) {
            (Some(it), _) => (it.commit, it.image, it.image_id, it.main_port, it.port_source, it.ports, it.build),
            (None, Some(it)) => {
                // What runs on EKS is what was pushed, by its digest.
                let image = cx.try_output::<PushImage>()?.map_or(it.image, |pushed| pushed.image);
                (it.commit, image, it.image_id, it.main_port, it.port_source, it.ports, it.build)
            }
            (None, None) => return Ok(None),
        };
        Ok(Some(ApplicationApplied {
            commit,
            image,
            image_id,
            main_port,
            port_source,
            ports,
            environment_secret: secret,
            environment_names: names,
            stop_grace_s: self.stop_grace_s,
            build: options,
            replicas: self.replicas,
            source_directory: self.source_directory.clone(),
            node_port: None,
            created_namespace: false,
            changed: false,
        }))
    }

    async fn environment_secret_and_names(
        &self,
        cx: &StepContext,
    ) -> Result<(Option<String>, Vec<EnvironmentName>), StepError> {
        if self.replaces_environment {
            let names = environment_values(cx).await?.into_keys().collect();
            return Ok((self.environment(cx).await?.map(|secret| secret.name().to_owned()), names));
        }
        let version = self.version.as_ref().or(self.previous.as_ref().map(|previous| &previous.version));
        Ok(version.map_or_else(Default::default, |it| (it.environment_secret.clone(), it.environment_names.clone())))
    }

    async fn environment(&self, cx: &StepContext) -> Result<Option<EnvironmentSecret>, StepError> {
        if !self.replaces_environment {
            return Ok(None);
        }
        let values = environment_values(cx).await?;
        let deployment = &cx.deployment;
        Ok((!values.is_empty()).then(|| {
            EnvironmentSecret::new(&cx.sealer, &deployment.name, &deployment.namespace, deployment.id, &values)
        }))
    }

    /// Makes sure that the image of what ran before is there, and says why it cannot run again; `None` when it can.
    async fn rollback_blocker(&self, cx: &StepContext, previous: &Previous) -> Result<Option<&'static str>, StepError> {
        if cx.try_output::<CreateCluster>()?.is_some_and(|ready| ready.made) {
            return Ok(Some("its cluster was gone and was made anew"));
        }
        if cx.target.mode == Mode::CloudHosted {
            return ecr_rollback_blocker(cx, &previous.version.image).await;
        }
        let (docker, image) = (cx.host().await?.docker, &previous.version.image);
        for node in docker.nodes_of_cluster(self.cluster.as_str()).await?.iter().filter(|node| node.runs_pods()) {
            // A node that cannot be asked may have it: pods of that version may run there right now.
            if docker.node_has_name(&node.container, image, &cx.cancel).await.unwrap_or(true) {
                return Ok(None);
            }
        }
        if docker.image(image).await?.is_none() {
            return Ok(Some("its image is neither in Docker nor on the cluster"));
        }
        match load_on_nodes(cx, &self.cluster, image).await {
            Ok(_) => Ok(None),
            Err(StepError::Cancelled) => Err(StepError::Cancelled),
            Err(_) => Ok(Some("its image cannot be loaded into the cluster")),
        }
    }

    async fn roll_back(&self, cx: &StepContext, kube: &Kube, previous: &Previous) -> Result<Vec<String>, StepError> {
        let Previous { version, replicas, node_port } = previous;
        cx.lines.progress(format!("going back to version {}", version.revision));
        let applied = ApplicationApplied::from_version(version, *replicas);
        let application = applied.application(cx, kube, *node_port).await?;
        let application = Application { operation: OperationId::clone(&version.operation), ..application };
        if kube.is_current(&application).await? {
            self.prune_environments(cx, kube, version).await?;
            return Ok(Vec::new());
        }
        kube.apply(&application, None, &node_ports(cx, &self.cluster).await?).await?;
        let deployment = &cx.deployment;
        let on_progress = |text: String| cx.lines.progress(text);
        let wait = kube.wait_for_rollout(
            &deployment.name,
            &deployment.namespace,
            cx.settings.rollout.timeout,
            &on_progress,
            &cx.cancel,
        );
        if let Err(error) = wait.await {
            let error = error.to_string();
            let error = cx.redactor.redact(&error);
            cx.lines.warning(format!("Version {} is applied again, but does not run yet: {error}.", version.revision));
        }
        self.prune_environments(cx, kube, version).await?;
        Ok(vec![format!("the change: version {} (commit {}) runs again", version.revision, version.commit.short())])
    }

    /// Removes the environment that came with the change: only those of versions that may run again stay.
    async fn prune_environments(&self, cx: &StepContext, kube: &Kube, runs: &Version) -> Result<(), StepError> {
        if self.replaces_environment {
            let versions = cx.store.versions(cx.deployment.id).await?;
            let keep: Vec<String> =
                versions.iter().chain([runs]).filter_map(|version| version.environment_secret.clone()).collect();
            kube.prune_environments(&cx.deployment.namespace, cx.deployment.id, &keep).await?;
        }
        Ok(())
    }
}

/// Why an image in ECR cannot run again; `None` when it can.
async fn ecr_rollback_blocker(cx: &StepContext, image: &ImageRef) -> Result<Option<&'static str>, StepError> {
    let (Some((_, digest)), known) = (image.as_str().split_once('@'), cx.cluster()?) else { return Ok(None) };
    let found = cx.aws(&known.region).await?.image_with_digest(&cx.repository_name(), digest).await?;
    Ok(if found.is_some() { None } else { Some("its image is no longer in ECR") })
}

fn environment_missing(names: &[EnvironmentName]) -> StepError {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    let names = names.join(", ");
    StepError::permanent(
        "environment_missing",
        format!("the environment variables of this version ({names}) are no longer on the cluster"),
        format!("Send the request again with `environment`, which has to name all of {names}"),
    )
}
