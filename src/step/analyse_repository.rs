//! Finds out how the clone is built and what it serves.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::action::StepAction;
use super::builder_choice;
use super::check_hosted_account::CheckHostedAccount;
use super::clone_repository::{CloneRepository, Cloned, fetch_local_tree};
use super::context::StepContext;
use super::error::StepError;
use crate::cloud::aws::instance_types::docker_architecture;
use crate::id::{DockerfilePath, Mode, SourceDirectory};
use crate::repository::analysis::{self, Analysis};
use crate::repository::context::is_in_context;
use crate::repository::error::RepositoryError;
use crate::store::build_options::BuildOptions;
use crate::tool::git::MissingSubmodule;

/// Finds out how the clone is built and what it serves.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AnalyseRepository {
    /// The directory of the clone in which the build begins; the root without one.
    #[serde(default)]
    pub directory: Option<SourceDirectory>,
    /// The Dockerfile that the person named.
    pub dockerfile: Option<DockerfilePath>,
    /// How the build differs from that of the Dockerfile alone.
    #[serde(default)]
    pub build: BuildOptions,
}

impl StepAction for AnalyseRepository {
    const NAME: &'static str = "analyse_repository";
    type Output = Analysis;

    fn title(&self) -> String {
        match &self.directory {
            Some(directory) => format!("Look at the directory `{directory}` of the repository"),
            None => "Look at the repository".to_owned(),
        }
    }

    fn summary(&self, output: &Analysis) -> String {
        output.described()
    }

    async fn run(&self, cx: &StepContext) -> Result<Analysis, StepError> {
        let Self { directory, dockerfile, build } = self.clone();
        check_platform(cx, &build).await?;
        let Cloned { extras, missing_submodules, .. } = cx.output::<CloneRepository>()?;
        // Boxed: the future of calls is large.
        let root = Box::pin(fetch_local_tree(cx, directory.as_ref(), dockerfile.as_ref())).await?;
        let default_port = cx.settings.kubernetes.default_container_port;
        let (with_git, choice) = (cx.settings.docker.build_context_git, builder_choice::choice(&cx.settings));
        let work = move || {
            let (directory, dockerfile) = (directory.as_ref(), dockerfile.as_ref());
            let analysed = analysis::analyse(&root, directory, dockerfile, &build, default_port, choice);
            let analysis = Analysis {
                extras: extras_with(extras, with_git),
                ..analysed.map_err(|error| cause(error, &missing_submodules))?
            };
            let (needed, spared) = split(&root, &analysis, missing_submodules)?;
            match needed.into_iter().next() {
                Some(missing) => Err(StepError::Explained(missing.failure)),
                None => Ok((analysis, spared)),
            }
        };
        let (analysis, spared) = tokio::task::spawn_blocking(work).await.map_err(|error| {
            StepError::permanent(
                "internal_error",
                format!("the analysis of the repository broke off: {error}"),
                "Report this with the address of the repository",
            )
        })??;
        for MissingSubmodule { failure, .. } in spared {
            cx.lines.warning(format!("Something that the build does not take is missing: {}.", failure.message));
        }
        for warning in &analysis.warnings {
            cx.lines.warning(warning);
        }
        Ok(analysis)
    }
}

/// What the clone holds beside its files, with `.git` where a build sees it: that makes another image.
fn extras_with(extras: String, with_git: bool) -> String {
    if with_git { format!("{extras}\n.git") } else { extras }
}

/// Refuses a platform that the nodes do not run: nothing could start there.
async fn check_platform(cx: &StepContext, build: &BuildOptions) -> Result<(), StepError> {
    let Some(platform) = &build.platform else { return Ok(()) };
    let runs = match cx.target.mode {
        // kind's nodes are containers of the Docker that builds.
        Mode::Local | Mode::CloudLocal => cx.host().await?.docker.version().await?.architecture,
        Mode::CloudHosted => {
            let checked = cx.try_output::<CheckHostedAccount>()?.map(|it| it.architecture).unwrap_or_default();
            docker_architecture(&checked).to_owned()
        }
    };
    if runs.is_empty() || runs == platform.architecture() {
        return Ok(());
    }
    Err(StepError::permanent(
        "platform_does_not_run",
        format!("an image for `{platform}` does not run on nodes of `linux/{runs}`"),
        format!("Send `build_platform` `linux/{runs}`, or a target of that architecture"),
    ))
}

/// Why there is nothing to build: what is missing may lie in a submodule that is missing.
fn cause(error: RepositoryError, missing: &[MissingSubmodule]) -> StepError {
    let finds_nothing = matches!(
        error,
        RepositoryError::NothingToBuild { .. }
            | RepositoryError::NoSuchDockerfile { .. }
            | RepositoryError::NoSuchDirectory { .. }
    );
    match missing.first().filter(|_| finds_nothing) {
        Some(missing) => StepError::Explained(missing.failure.clone()),
        None => error.into(),
    }
}

/// The submodules that the build would take, and the others.
fn split(
    root: &Path,
    analysis: &Analysis,
    missing: Vec<MissingSubmodule>,
) -> Result<(Vec<MissingSubmodule>, Vec<MissingSubmodule>), RepositoryError> {
    let (mut needed, mut spared) = (Vec::new(), Vec::new());
    for submodule in missing {
        let is_needed = is_in_context(root, analysis, &submodule.path)?;
        if is_needed { needed.push(submodule) } else { spared.push(submodule) }
    }
    Ok((needed, spared))
}
