//! Brings the wanted commit of the repository into the workspace.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::action::{StepAction, StepUndo};
use super::context::StepContext;
use super::error::StepError;
use crate::host::tree_manifest;
use crate::id::{CommitId, DockerfilePath, GitRef, RepositoryUrl};
use crate::store::record::Deployment;
use crate::tool::git::RepositorySource;

/// Name of the sealed token for a private repository.
pub const GIT_TOKEN_SECRET: &str = "git_token";

/// Brings the wanted commit of the repository into the workspace. Which one is the newest is asked every time; only what is
/// not there is fetched.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CloneRepository {
    /// The repository.
    pub repository: RepositoryUrl,
    /// Branch, tag or commit; the default branch without one.
    pub git_ref: Option<GitRef>,
}

/// What a clone holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cloned {
    /// The commit.
    pub commit: CommitId,
}

/// Folder of the clone below the deployment's.
pub const CLONE_FOLDER: &str = "clone";

impl StepAction for CloneRepository {
    const NAME: &'static str = "clone_repository";
    type Output = Cloned;

    fn title(&self) -> String {
        format!("Clone {}", self.repository)
    }

    fn summary(&self, output: &Cloned) -> String {
        format!("commit {}", output.commit.short())
    }

    fn record(&self, _: &Cloned, deployment: &mut Deployment) {
        deployment.git_ref.clone_from(&self.git_ref);
    }

    async fn run(&self, cx: &StepContext) -> Result<Cloned, StepError> {
        let host = cx.host().await?;
        let git = &host.git;
        let token = cx.secret(GIT_TOKEN_SECRET).await?;
        let source = RepositorySource { url: &self.repository, git_ref: self.git_ref.as_ref(), token: token.as_ref() };
        cx.lines.progress("asking for the newest commit");
        let resolved = git.resolve(&source, &cx.lines, &cx.cancel).await?;
        let folder = host.deployment_folder(cx.deployment.id).join(CLONE_FOLDER);
        let checkout =
            git.clone(&source, &resolved, &folder, &cx.calls_folder_on(&host), &cx.lines, &cx.cancel).await?;
        Ok(Cloned { commit: checkout.commit })
    }
}

impl StepUndo for CloneRepository {
    async fn undo(&self, cx: &StepContext, _: Option<Cloned>) -> Result<Vec<String>, StepError> {
        // One that has run keeps its clone: the next build fetches only what is new.
        if cx.deployment.facts.version.is_some() {
            return Ok(Vec::new());
        }
        super::remove_workspace::remove_folders(cx).await
    }
}

/// The clone, or the tree manifest of one that is on another machine, in a folder here. It is fetched anew each time.
pub(super) async fn fetch_local_tree(cx: &StepContext, also: Option<&DockerfilePath>) -> Result<PathBuf, StepError> {
    let host = cx.host().await?;
    let folder = cx.deployment_folder().join(CLONE_FOLDER);
    if !host.connection.is_local() {
        let clone = host.deployment_folder(cx.deployment.id).join(CLONE_FOLDER);
        tree_manifest::fetch(&host.connection, &clone, also.map(DockerfilePath::as_str), &folder, &cx.cancel).await?;
    }
    Ok(folder)
}
