//! Brings the wanted commit of the repository into the workspace.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{StepAction, StepContext, StepError};
use crate::host::tree_manifest;
use crate::id::{CommitId, DockerfilePath, GitRef, RepositoryUrl};
use crate::tool::git::Source;

/// Name of the sealed token for a private repository.
pub const TOKEN: &str = "git_token";

/// Brings the wanted commit of the repository into the workspace.
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
pub const FOLDER: &str = "clone";

impl StepAction for CloneRepository {
    const NAME: &'static str = "clone_repository";
    type Output = Cloned;

    fn title(&self) -> String {
        format!("Clone {}", self.repository)
    }

    fn summary(&self, output: &Cloned) -> String {
        format!("commit {}", output.commit.short())
    }

    async fn check(&self, _: &StepContext) -> Result<Option<Cloned>, StepError> {
        // Which commit is the newest is asked every time; `run` fetches only what is not there.
        Ok(None)
    }

    async fn run(&self, cx: &StepContext) -> Result<Cloned, StepError> {
        let host = cx.host().await?;
        let git = &host.git;
        let token = cx.secret(TOKEN).await?;
        let source = Source { url: &self.repository, git_ref: self.git_ref.as_ref(), token: token.as_ref() };
        cx.lines.progress("asking for the newest commit");
        let resolved = git.resolve(&source, &cx.lines, &cx.cancel).await?;
        let folder = host.deployment_folder(cx.deployment.id).join(FOLDER);
        let checkout = git.clone(&source, &resolved, &folder, &cx.calls_on(&host), &cx.lines, &cx.cancel).await?;
        Ok(Cloned { commit: checkout.commit })
    }

    async fn undo(&self, cx: &StepContext, _: Option<Cloned>) -> Result<Vec<String>, StepError> {
        // One that has run keeps its clone: the next build fetches only what is new.
        if cx.deployment.facts.version.is_some() {
            return Ok(Vec::new());
        }
        super::remove_workspace::remove_folders(cx).await
    }
}

/// The clone, or the outline of one that is on another machine, in a folder here. It is fetched anew each time.
pub(super) async fn clone_here(cx: &StepContext, also: Option<&DockerfilePath>) -> Result<PathBuf, StepError> {
    let host = cx.host().await?;
    let folder = cx.deployment_folder().join(FOLDER);
    if !host.connection.is_local() {
        let clone = host.deployment_folder(cx.deployment.id).join(FOLDER);
        tree_manifest::fetch(&host.connection, &clone, also.map(DockerfilePath::as_str), &folder, &cx.cancel).await?;
    }
    Ok(folder)
}
