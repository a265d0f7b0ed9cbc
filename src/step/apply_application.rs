//! Puts the application on the cluster, or changes what runs there.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::action::{StepAction, StepUndo};
use super::build_image::{BuildImage, Built};
use super::check_hosted_account::CheckHostedAccount;
use super::context::StepContext;
use super::create_cluster::CreateCluster;
use super::error::StepError;
use super::install_ingress::InstallIngress;
use super::load_image::{load_on_new_nodes, load_on_nodes};
use super::push_image::PushImage;
use crate::cloud::kube::Kube;
use crate::cloud::kube::application::{Application, EnvironmentSecret, Expose, Resources};
use crate::cloud::kube::delete::NamespacePolicy;
use crate::cloud::kube::node_port::NodePortRange;
use crate::id::{ClusterName, CommitId, EnvironmentName, ExposedPort, ImageRef, Mode, OperationId, Port};
use crate::store::record::{Deployment, Version};

/// Name of the sealed environment variables (a JSON object).
pub const ENVIRONMENT_SECRET: &str = "environment";

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

/// The application as it was applied.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ApplicationApplied {
    /// What runs.
    pub commit: CommitId,
    /// Its image.
    pub image: ImageRef,
    /// Digest of the image's configuration.
    pub image_id: String,
    /// The port that is probed.
    pub main_port: Port,
    /// All ports.
    pub ports: Vec<ExposedPort>,
    /// Secret with the environment.
    pub environment_secret: Option<String>,
    /// Names of the environment variables.
    pub environment_names: Vec<EnvironmentName>,
    /// The node port of the main port.
    pub node_port: Option<u16>,
    /// True when this step made the namespace.
    pub created_namespace: bool,
    /// False when the cluster ran exactly this already.
    pub changed: bool,
}

impl ApplicationApplied {
    /// Whether this is the version that ran before: nothing new to go back to.
    #[must_use]
    pub fn is_same_version(&self, version: &Version) -> bool {
        self.image_id == version.image_id
            && self.commit == version.commit
            && self.main_port == version.main_port
            && self.ports == version.ports
            && self.environment_secret == version.environment_secret
    }
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
        let application = self.application(cx, &applied, live.node_port);
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
        let application = self.application(cx, &applied, None);
        let done = kube.apply(&application, environment.as_ref(), node_ports(cx)).await?;
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
        let (namespace, fate) = (&cx.deployment.namespace, NamespacePolicy::DeleteIfEmpty);
        let on_progress = |text: String| cx.lines.progress(text);
        let gone = kube.delete_application(namespace, cx.deployment.id, fate, REMOVAL_TIMEOUT, &on_progress).await?;
        Ok(gone.iter().map(ToString::to_string).collect())
    }
}

impl ApplyApplication {
    /// What is to run; `None` while the image is not built.
    async fn desired(&self, cx: &StepContext) -> Result<Option<ApplicationApplied>, StepError> {
        let built: Option<Built> = cx.try_output::<BuildImage>()?;
        let (secret, names) = self.environment_secret_and_names(cx).await?;
        let version = self.version.as_ref();
        let (commit, image, image_id, main_port, ports) = match (version, built) {
            (Some(it), _) => (it.commit.clone(), it.image.clone(), it.image_id.clone(), it.main_port, it.ports.clone()),
            (None, Some(it)) => {
                // What runs on EKS is what was pushed, by its digest.
                let image = cx.try_output::<PushImage>()?.map_or(it.image, |pushed| pushed.image);
                (it.commit, image, it.image_id, it.main_port, it.ports)
            }
            (None, None) => return Ok(None),
        };
        Ok(Some(ApplicationApplied {
            commit,
            image,
            image_id,
            main_port,
            ports,
            environment_secret: secret,
            environment_names: names,
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
            let names = self.environment_values(cx).await?.into_keys().collect();
            return Ok((self.environment(cx).await?.map(|secret| secret.name().to_owned()), names));
        }
        let version = self.version.as_ref().or(self.previous.as_ref().map(|previous| &previous.version));
        Ok(version.map_or_else(Default::default, |it| (it.environment_secret.clone(), it.environment_names.clone())))
    }

    async fn environment_values(&self, cx: &StepContext) -> Result<BTreeMap<EnvironmentName, SecretString>, StepError> {
        let Some(sealed) = cx.secret(ENVIRONMENT_SECRET).await? else { return Ok(BTreeMap::new()) };
        let values: BTreeMap<EnvironmentName, String> = serde_json::from_str(sealed.expose_secret()).map_err(|_| {
            StepError::permanent(
                "secret_unreadable",
                "the environment variables of this operation cannot be read",
                "Send the request again",
            )
        })?;
        Ok(values.into_iter().map(|(name, value)| (name, SecretString::from(value))).collect())
    }

    async fn environment(&self, cx: &StepContext) -> Result<Option<EnvironmentSecret>, StepError> {
        if !self.replaces_environment {
            return Ok(None);
        }
        let values = self.environment_values(cx).await?;
        let deployment = &cx.deployment;
        Ok((!values.is_empty())
            .then(|| EnvironmentSecret::new(&deployment.name, &deployment.namespace, deployment.id, &values)))
    }

    fn application(&self, cx: &StepContext, it: &ApplicationApplied, node_port: Option<u16>) -> Application {
        Application {
            name: cx.deployment.name.clone(),
            namespace: cx.deployment.namespace.clone(),
            deployment: cx.deployment.id,
            operation: cx.operation,
            image: it.image.clone(),
            replicas: u32::from(self.replicas),
            main_port: it.main_port,
            ports: it.ports.clone(),
            expose: expose(cx),
            node_port,
            environment_secret: it.environment_secret.clone(),
            resources: resources(cx),
            repository: cx.deployment.repository.clone(),
            commit: it.commit.clone(),
            rollout_timeout_s: u32::try_from(cx.settings.rollout.timeout.as_secs()).unwrap_or(u32::MAX),
        }
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
        let application = Application {
            operation: OperationId::clone(&version.operation),
            image: version.image.clone(),
            replicas: u32::from(*replicas),
            main_port: version.main_port,
            ports: version.ports.clone(),
            node_port: *node_port,
            environment_secret: version.environment_secret.clone(),
            commit: version.commit.clone(),
            ..self.application(cx, &applied_from_version(version), *node_port)
        };
        if kube.is_current(&application).await? {
            self.prune_environments(cx, kube, version).await?;
            return Ok(Vec::new());
        }
        kube.apply(&application, None, node_ports(cx)).await?;
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

/// How it is reached: at its own host name, else at that of the load balancer, else at a port of the nodes.
fn expose(cx: &StepContext) -> Expose {
    if cx.target.mode != Mode::CloudHosted {
        return Expose::NodePort;
    }
    let facts = &cx.deployment.facts;
    let own = cx.try_output::<CheckHostedAccount>().ok().flatten().and_then(|it| it.host).or(facts.host.clone());
    let shared = || {
        let installed = cx.try_output::<InstallIngress>().ok().flatten().map(|it| it.dns_name);
        installed.or_else(|| facts.nlb_dns_name.clone()).unwrap_or_default()
    };
    Expose::Host(own.map_or_else(shared, |host| host.name))
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

fn applied_from_version(version: &Version) -> ApplicationApplied {
    ApplicationApplied {
        commit: version.commit.clone(),
        image: version.image.clone(),
        image_id: version.image_id.clone(),
        main_port: version.main_port,
        ports: version.ports.clone(),
        environment_secret: version.environment_secret.clone(),
        environment_names: version.environment_names.clone(),
        node_port: None,
        created_namespace: false,
        changed: true,
    }
}

fn resources(cx: &StepContext) -> Resources {
    let wanted = &cx.settings.kubernetes.resources;
    Resources {
        cpu_request: wanted.cpu_request.as_str().to_owned(),
        memory_request: wanted.memory_request.as_str().to_owned(),
        cpu_limit: wanted.cpu_limit.as_str().to_owned(),
        memory_limit: wanted.memory_limit.as_str().to_owned(),
    }
}

fn node_ports(cx: &StepContext) -> NodePortRange {
    let range = cx.settings.kind.node_port_range;
    NodePortRange { first: range.first, last: range.last }
}
