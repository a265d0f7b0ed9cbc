//! Builds that a builder of others makes: it runs here, and the image goes where it is needed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::builder_choice::program;
use super::clone_repository::{CLONE_FOLDER, GIT_TOKEN_SECRET};
use super::context::StepContext;
use super::error::StepError;
use super::remove_workspace::cache_name;
use crate::cloud::docker::Docker;
use crate::cloud::docker::build::BuildRequest;
use crate::cloud::docker::context::BuildContext;
use crate::host::Host;
use crate::id::{CommitId, ImageRef};
use crate::repository::builder::ForeignBuild;
use crate::tool::git::{RepositorySource, Resolved};

/// What is appended to the name of an image that a builder has made, before it gets its labels.
const UNLABELLED: &str = "-built";
/// Folder below the deployment's with the clone that is built here for another machine.
const FOLDER: &str = "clone-here";

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
    let unlabelled = unlabelled(&request.tag);
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

/// Removes what a build that broke off left of `tag`.
pub(super) async fn remove_unlabelled(cx: &StepContext, tag: &ImageRef) -> Result<(), StepError> {
    Ok(cx.hosts.local().docker.remove_image(&unlabelled(tag)).await?)
}

/// The name that an image has before it gets its labels.
fn unlabelled(tag: &ImageRef) -> ImageRef {
    ImageRef::parse(format!("{tag}{UNLABELLED}")).expect("a tag may have letters and a hyphen")
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
        let _ = writeln!(dockerfile, "ENV PORT={}", cx.settings.kubernetes.default_container_port);
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
