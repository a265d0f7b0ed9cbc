//! Builds that a builder of others makes: it runs here, and the image goes where it is needed.

use std::collections::BTreeMap;

use super::analyse_repository::AnalyseRepository;
use super::clone_repository::{CLONE_FOLDER, GIT_TOKEN_SECRET};
use super::context::StepContext;
use super::error::StepError;
use crate::cloud::docker::Docker;
use crate::cloud::docker::build::BuildRequest;
use crate::cloud::docker::context::BuildContext;
use crate::config::Settings;
use crate::config::value::BuilderSetting;
use crate::host::Host;
use crate::id::{CommitId, ImageRef};
use crate::repository::builder::{Builder, BuilderChoice, ForeignBuild};
use crate::tool::builder::BuilderProgram;
use crate::tool::git::{RepositorySource, Resolved};

/// What is appended to the name of an image that a builder has made, before it gets its labels.
const UNLABELLED: &str = "-built";
/// Folder below the deployment's with the clone that is built here for another machine.
const FOLDER: &str = "clone-here";

/// Who may build what has no Dockerfile: as the settings say, and as programs are installed.
#[must_use]
pub fn choice(settings: &Settings) -> BuilderChoice {
    const BOTH: &[Builder] = &[Builder::Buildpacks, Builder::Railpack];
    let is_installed = |builder: &Builder| program(settings, *builder).is_installed();
    let installed = match BOTH.iter().map(is_installed).collect::<Vec<_>>().as_slice() {
        [true, true] => BOTH,
        [true, false] => &BOTH[..1],
        [false, true] => &BOTH[1..],
        _ => &[],
    };
    match settings.docker.builder {
        BuilderSetting::Auto => BuilderChoice { templates: true, installed, allowed: true },
        BuilderSetting::Templates => BuilderChoice::TEMPLATES,
        BuilderSetting::Buildpacks => BuilderChoice { templates: false, installed: &BOTH[..1], allowed: true },
        BuilderSetting::Railpack => BuilderChoice { templates: false, installed: &BOTH[1..], allowed: true },
    }
}

fn program(settings: &Settings, builder: Builder) -> BuilderProgram {
    match builder {
        Builder::Buildpacks => BuilderProgram::pack(settings),
        Builder::Railpack => BuilderProgram::railpack(settings),
    }
}

/// Removes what a builder kept for the next build of a deployment, and says what.
pub(super) async fn remove_caches(cx: &StepContext) -> Result<Vec<String>, StepError> {
    let analysed = cx.try_output::<AnalyseRepository>()?.is_some_and(|it| it.foreign.is_some());
    let versions = cx.store.versions(cx.deployment.id).await?;
    if !analysed && versions.iter().all(|version| version.build.builder.is_none()) {
        return Ok(Vec::new());
    }
    let removed = cx.hosts.local().docker.remove_volumes(&cache_name(cx)).await?;
    Ok(removed.into_iter().map(|name| format!("volume `{name}`")).collect())
}

/// The name under which a builder keeps what the next build of a deployment can use.
fn cache_name(cx: &StepContext) -> String {
    format!("on-demand-infra-{}", cx.deployment.id)
}

/// Builds `request.tag` of the commit, with its labels, in the Docker of the target's machine.
pub(super) async fn build(
    cx: &StepContext,
    host: &Host,
    request: &BuildRequest,
    commit: &CommitId,
    context: &str,
    foreign: &ForeignBuild,
) -> Result<(), StepError> {
    let local = cx.hosts.local();
    let mut folder = cx.deployment_folder().join(CLONE_FOLDER);
    if !host.connection.is_local() {
        folder = cx.deployment_folder().join(FOLDER);
        let token = cx.secret(GIT_TOKEN_SECRET).await?;
        let source = RepositorySource { url: &cx.deployment.repository, git_ref: None, token: token.as_ref() };
        let resolved = Resolved { commit: commit.clone(), reference: None, branch: None };
        cx.lines.progress("cloning it here, where the builder runs");
        local.git.clone(&source, &resolved, &folder, &cx.calls(), &cx.lines, &cx.cancel).await?;
    }
    let unlabelled =
        ImageRef::parse(format!("{}{UNLABELLED}", request.tag)).expect("a tag may have letters and a hyphen");
    let program = program(&cx.settings, foreign.builder);
    program.build(&unlabelled, &folder.join(context), &cache_name(cx), &cx.calls(), &cx.lines, &cx.cancel).await?;
    let labelled = label(cx, &local.docker, request, &unlabelled).await;
    let removed = local.docker.remove_image(&unlabelled).await;
    labelled?;
    removed?;
    if !host.connection.is_local() {
        cx.lines.progress("sending the image to the instance");
        local.docker.copy_image(&request.tag, &host.docker, &cx.cancel).await?;
        local.docker.remove_image(&request.tag).await?;
    }
    Ok(())
}

/// Gives an image its name and labels, and the port on which such applications listen when it names none.
async fn label(
    cx: &StepContext,
    docker: &Docker,
    request: &BuildRequest,
    unlabelled: &ImageRef,
) -> Result<(), StepError> {
    let info = docker.image(unlabelled).await?.ok_or_else(|| {
        StepError::permanent(
            "build_failed",
            format!("the builder ended without the image `{unlabelled}`"),
            "Does it work with the Docker daemon of `DOCKER_HOST`?",
        )
    })?;
    let mut dockerfile = format!("FROM {unlabelled}\n");
    if info.environment_port().is_none() && info.exposed_ports.is_empty() {
        dockerfile.push_str(&format!("ENV PORT={}\n", cx.settings.kubernetes.default_container_port));
    }
    let request = BuildRequest {
        dockerfile: "Dockerfile".to_owned(),
        dockerfile_text: dockerfile,
        build_args: BTreeMap::new(),
        target: None,
        platform: None,
        secrets: BTreeMap::new(),
        ..request.clone()
    };
    docker.build(&request, BuildContext::default(), &cx.lines, &cx.cancel).await?;
    Ok(())
}
