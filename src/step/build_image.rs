//! Builds the image of the commit, unless it is there already.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::action::{StepAction, StepUndo};
use super::analyse_repository::AnalyseRepository;
use super::build_error::build_error;
use super::build_secrets::{build_secrets, check_secrets};
use super::clone_repository::{CLONE_FOLDER, CloneRepository, Cloned, fetch_local_tree};
use super::context::StepContext;
use super::environment::environment_port;
use super::error::StepError;
use super::foreign_build;
use super::remove_workspace::remove_caches;
use crate::cloud::docker::build::BuildRequest;
use crate::cloud::docker::context::BuildContext;
use crate::cloud::docker::image::{ImageInfo, MANAGED_LABEL};
use crate::host::Host;
use crate::host::remote_build::{RemoteContext, context_folder};
use crate::id::{CommitId, ExposedPort, ImageRef, Port, Protocol, RepositoryUrl};
use crate::repository::analysis::Analysis;
use crate::repository::context::{ContextRules, build_context, dockerfile_text};
use crate::store::build_options::BuildOptions;
use crate::store::record::PortSource;

/// How the names of all images begin.
pub(super) const IMAGE_PREFIX: &str = "on-demand-infra/";
/// Label with the address of the repository.
pub(super) const SOURCE_LABEL: &str = "org.opencontainers.image.source";
/// Label with the commit.
pub(super) const REVISION_LABEL: &str = "org.opencontainers.image.revision";

/// Builds the image of the commit, unless it is there already.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BuildImage {
    /// The repository; its name becomes the image's.
    pub repository: RepositoryUrl,
    /// How it differs from that of the Dockerfile alone.
    #[serde(default)]
    pub build: BuildOptions,
    /// The port that the person gave.
    pub container_port: Option<Port>,
    /// The port of the version before.
    #[serde(default)]
    pub known_port: Option<KnownPort>,
}

/// A port, and who said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownPort {
    /// The port.
    pub port: Port,
    /// Who said so.
    pub source: PortSource,
}

/// An image and what it serves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Built {
    /// What it was built from.
    pub commit: CommitId,
    /// Its name and tag.
    pub image: ImageRef,
    /// Digest of its configuration.
    pub image_id: String,
    /// Size of all its layers.
    pub size_bytes: u64,
    /// The port that is probed and served.
    pub main_port: Port,
    /// Who said so.
    #[serde(default)]
    pub port_source: PortSource,
    /// The ports that it exposes; the one that is served need not be among them.
    pub ports: Vec<ExposedPort>,
    /// How its build differed from that of the Dockerfile alone.
    #[serde(default)]
    pub build: BuildOptions,
    /// How long the build took, without the wait for others; `None` when the image was found.
    #[serde(default)]
    pub took_ms: Option<u64>,
}

impl BuildImage {
    /// Its tag begins with the commit, which [`StepContext::is_image_unused`] relies on.
    fn tag(&self, commit: &CommitId, analysis: &Analysis) -> ImageRef {
        let key = analysis.build_key(&self.build);
        let name: String = self.repository.name().chars().take(100).collect();
        ImageRef::parse(format!("{IMAGE_PREFIX}{}:{}-{}", name.trim_matches('-'), commit.short(), &key[..8]))
            .expect("a label, hexadecimal digits and fixed characters keep the rule")
    }

    /// Decides which port is served (DESIGN.md, "Which port"). Where nothing names one the process will be seen to listen.
    async fn built(
        &self,
        cx: &StepContext,
        commit: CommitId,
        analysis: &Analysis,
        image: ImageRef,
        info: &ImageInfo,
    ) -> Result<Built, StepError> {
        let mut ports = analysis.ports.clone();
        if ports.is_empty() {
            ports.clone_from(&info.exposed_ports);
        }
        let exposed = ports.iter().find(|port| port.protocol == Protocol::Tcp).map(|port| port.number);
        let named = |port: Option<Port>, source| port.map(|port| KnownPort { port, source });
        let image_source = if analysis.generated.is_some() || analysis.foreign.is_some() {
            PortSource::Assumed
        } else {
            PortSource::Image
        };
        let known = named(self.container_port, PortSource::Person)
            .or(named(environment_port(cx).await?, PortSource::Environment))
            .or(self.known_port)
            .or(named(exposed, image_source))
            .or(named(info.environment_port(), PortSource::Image));
        let KnownPort { port: main_port, source: port_source } = known.unwrap_or_else(|| {
            let port = analysis.hints.port.unwrap_or(cx.settings.kubernetes.default_container_port);
            cx.lines
                .output(format!("nothing says which port the application listens on (no EXPOSE); {port} is assumed"));
            KnownPort { port, source: PortSource::Assumed }
        });
        let (image_id, size_bytes) = (info.id.clone(), info.size_bytes);
        let build = self.build.clone();
        Ok(Built { commit, image, image_id, size_bytes, main_port, port_source, ports, build, took_ms: None })
    }
}

impl StepAction for BuildImage {
    const NAME: &'static str = "build_image";
    type Output = Built;

    fn title(&self) -> String {
        match self.build.to_string() {
            options if options.is_empty() => "Build the image".to_owned(),
            options => format!("Build the image: {options}"),
        }
    }

    fn weight(&self) -> u32 {
        10
    }

    fn is_on_target(&self) -> bool {
        true
    }

    fn summary(&self, output: &Built) -> String {
        let commit = output.commit.as_str();
        format!("{}:{}, {} MB", self.repository.name(), &commit[..7], output.size_bytes.div_ceil(1_000_000))
    }

    async fn check(&self, cx: &StepContext) -> Result<Option<Built>, StepError> {
        let Some((commit, analysis)) = inputs(cx)? else { return Ok(None) };
        let image = self.tag(&commit, &analysis);
        let Some(info) = cx.host().await?.docker.image(&image).await? else { return Ok(None) };
        Ok(Some(self.built(cx, commit, &analysis, image, &info).await?))
    }

    async fn run(&self, cx: &StepContext) -> Result<Built, StepError> {
        let commit = cx.output::<CloneRepository>()?.commit;
        let analysis = cx.output::<AnalyseRepository>()?;
        let image = self.tag(&commit, &analysis);
        let host = cx.host().await?;
        let mut root = cx.deployment_folder().join(CLONE_FOLDER);
        if host.connection.is_local() || !root.exists() {
            // The workspace may have been lost since the analysis.
            root = Box::pin(fetch_local_tree(cx, None, None)).await?;
        }
        let secrets = build_secrets(cx).await?;
        check_secrets(&analysis.dockerfile, &analysis.needs, &self.build, &secrets)?;
        let (context, dockerfile_text) = files(cx, root, &analysis).await?;
        let request = BuildRequest {
            tag: image.clone(),
            dockerfile: analysis.dockerfile_in_context.clone(),
            dockerfile_text,
            labels: BTreeMap::from([
                (SOURCE_LABEL.to_owned(), self.repository.to_string()),
                (REVISION_LABEL.to_owned(), commit.to_string()),
                (MANAGED_LABEL.to_owned(), "true".to_owned()),
            ]),
            build_args: self.build.args.iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
            target: self.build.target.clone(),
            platform: self.build.platform.clone(),
            secrets,
            timeout: cx.settings.docker.build_timeout,
        };
        cx.lines.progress("waiting for other builds to end");
        let _turn = tokio::select! {
            turn = host.builds.acquire() => turn,
            () = cx.cancel.cancelled() => return Err(StepError::Cancelled),
        };
        let begun = Instant::now();

        if let Some(foreign) = &analysis.foreign {
            // Boxed: the future of a build by a program is large.
            Box::pin(foreign_build::build(cx, &host, &request, &commit, &analysis.context, foreign)).await?;
        } else if host.connection.is_local() {
            let built = host.docker.build(&request, context, &cx.lines, &cx.cancel).await;
            built.map_err(|error| build_error(error, &request, &analysis))?;
        } else {
            build_remote(cx, &host, &request, &context, &analysis).await?;
        }
        let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let info = host.docker.image(&image).await?.ok_or_else(|| {
            StepError::transient(
                "image_vanished",
                format!("Docker built `{image}` but does not have it"),
                "Is a clean-up of images running at the same time? Try again",
            )
        })?;
        Ok(Built { took_ms: Some(took_ms), ..self.built(cx, commit, &analysis, image, &info).await? })
    }
}

impl StepUndo for BuildImage {
    async fn undo(&self, cx: &StepContext, left: Option<Built>) -> Result<Vec<String>, StepError> {
        let image = match left {
            Some(built) => built.image,
            None => match inputs(cx)? {
                Some((commit, analysis)) => self.tag(&commit, &analysis),
                None => return Ok(Vec::new()),
            },
        };
        let docker = cx.host().await?.docker;
        let is_foreign = inputs(cx)?.is_some_and(|(_, analysis)| analysis.foreign.is_some());
        let mut removed = Vec::new();
        if is_foreign {
            foreign_build::remove_unlabelled(cx, &image).await?;
            // The caches of one that has run are for its next build.
            if cx.deployment.facts.version.is_none() {
                removed = remove_caches(cx).await?;
            }
        }
        if !cx.is_image_unused(&image, None).await? || docker.image(&image).await?.is_none() {
            return Ok(removed);
        }
        docker.remove_image(&image).await?;
        removed.push(format!("image `{image}`"));
        Ok(removed)
    }
}

fn inputs(cx: &StepContext) -> Result<Option<(CommitId, Analysis)>, StepError> {
    let cloned: Option<Cloned> = cx.try_output::<CloneRepository>()?;
    Ok(cloned.map(|it| it.commit).zip(cx.try_output::<AnalyseRepository>()?))
}

/// What the build may see, and the text of its Dockerfile; nothing for a builder of others, which reads the clone itself.
async fn files(cx: &StepContext, root: PathBuf, analysis: &Analysis) -> Result<(BuildContext, String), StepError> {
    if analysis.foreign.is_some() {
        return Ok((BuildContext::default(), String::new()));
    }
    let docker = &cx.settings.docker;
    let rules = ContextRules { limit_bytes: docker.build_context_max_bytes, with_git: docker.build_context_git };
    let analysis = analysis.clone();
    let work = move || {
        let context = build_context(&root, &analysis, rules)?;
        Ok::<_, StepError>((context, dockerfile_text(&root, &analysis)?))
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        StepError::permanent(
            "internal_error",
            format!("the build context could not be listed: {error}"),
            "Report this with the address of the repository",
        )
    })?
}

/// Builds where the clone is; here is its tree manifest, which tells what belongs to the context.
async fn build_remote(
    cx: &StepContext,
    host: &Host,
    request: &BuildRequest,
    context: &BuildContext,
    analysis: &Analysis,
) -> Result<(), StepError> {
    let clone = host.deployment_folder(cx.deployment.id).join(CLONE_FOLDER);
    let context = RemoteContext { folder: context_folder(&clone, &analysis.context), paths: context.path_list() };
    let built = host.build(request, &context, &cx.calls_on(host), &cx.lines, &cx.cancel).await;
    built.map_err(|error| build_error(error, request, analysis))
}
