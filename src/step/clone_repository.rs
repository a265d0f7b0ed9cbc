//! Brings the wanted commit of the repository into the workspace.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::action::{StepAction, StepUndo};
use super::context::StepContext;
use super::error::StepError;
use crate::host::{Host, tree_manifest};
use crate::id::{CommitId, DockerfilePath, GitRef, RepositoryUrl, SourceDirectory};
use crate::store::record::{CommitSummary, Concern, Deployment};
use crate::tool::git::{Checkout, LfsFiles, MissingSubmodule, RepositorySource, Resolved};

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
    /// What it holds beside the files of its commit, as [`Analysis::extras`](crate::repository::analysis::Analysis::extras)
    /// has it.
    #[serde(default)]
    pub extras: String,
    /// The submodules whose directories are empty: only some builds need them.
    #[serde(default)]
    pub missing_submodules: Vec<MissingSubmodule>,
    /// How many files are pointers to Git LFS.
    #[serde(default)]
    pub lfs_pointers: usize,
    /// What the commit says of itself.
    #[serde(default)]
    pub summary: Option<CommitSummary>,
}

impl Cloned {
    /// What is not well with an application that is built of it.
    #[must_use]
    pub fn concern(&self) -> Option<Concern> {
        let pointers = match self.lfs_pointers {
            0 => return None,
            1 => "one of its files is a Git LFS pointer, not its contents".to_owned(),
            count => format!("{count} of its files are Git LFS pointers, not their contents"),
        };
        Some(Concern::of(pointers))
    }
}

/// Paths that a warning lists.
const MAX_LISTED: usize = 5;

/// Folder of the clone below the deployment's.
pub const CLONE_FOLDER: &str = "clone";

impl StepAction for CloneRepository {
    const NAME: &'static str = "clone_repository";
    type Output = Cloned;

    fn title(&self) -> String {
        let git_ref = self.git_ref.as_ref().map(|it| format!(" at `{it}`")).unwrap_or_default();
        format!("Clone {}{git_ref}", self.repository)
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
        let checkout = git.clone(&source, &resolved, &folder, &cx.calls_on(&host), &cx.lines, &cx.cancel).await?;
        for warning in warnings(&checkout) {
            cx.lines.warning(warning);
        }
        let extras = extras(&checkout);
        let Checkout { commit, summary, missing: missing_submodules, lfs, .. } = checkout;
        Ok(Cloned { commit, extras, missing_submodules, lfs_pointers: lfs.pointers, summary })
    }
}

/// What a clone holds beside the files of its commit. The same commit without it is another build.
fn extras(checkout: &Checkout) -> String {
    let lfs = (checkout.lfs.fetched > 0).then(|| format!("{} LFS files", checkout.lfs.fetched));
    checkout.submodules.iter().cloned().chain(lfs).collect::<Vec<_>>().join("\n")
}

/// What a person should know of a clone that is not whole and can be built nevertheless.
fn warnings(checkout: &Checkout) -> Vec<String> {
    let mut warnings = Vec::new();
    if !checkout.without_address.is_empty() {
        let more = checkout.without_address.len().saturating_sub(MAX_LISTED);
        let mut listed: Vec<String> =
            checkout.without_address.iter().take(MAX_LISTED).map(|path| format!("`{path}`")).collect();
        if more > 0 {
            listed.push(format!("{more} more"));
        }
        warnings.push(format!(
            "{}: committed as a submodule to which no `.gitmodules` gives an address, so the directory stays empty. Was a \
             folder with a repository of its own added? Remove its `.git` and add the files, or use `git submodule add`.",
            listed.join(", ")
        ));
    }
    if let LfsFiles { pointers, first: Some(first), reason, .. } = &checkout.lfs {
        let files = if *pointers == 1 {
            "1 file is a Git LFS pointer, not its contents".to_owned()
        } else {
            format!("{pointers} files are Git LFS pointers, not their contents")
        };
        let advice = match reason {
            None => "Install `git-lfs` on the machine where git runs, then deploy again.".to_owned(),
            Some(reason) => format!(
                "`git lfs pull` says: {reason}. Push the files with `git lfs push --all`, make sure that `git_token` may \
                 read them, then deploy again."
            ),
        };
        warnings.push(format!("{files} (first: `{first}`). {advice}"));
    }
    warnings
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

/// The clone, which is made again when it is gone, or the tree manifest of one that is on another machine, in a folder here. That
/// is fetched anew each time.
pub(super) async fn fetch_local_tree(
    cx: &StepContext,
    directory: Option<&SourceDirectory>,
    also: Option<&DockerfilePath>,
) -> Result<PathBuf, StepError> {
    let host = cx.host().await?;
    let folder = cx.deployment_folder().join(CLONE_FOLDER);
    if host.connection.is_local() {
        restore_clone(cx, &host, &folder).await?;
    } else {
        let clone = host.deployment_folder(cx.deployment.id).join(CLONE_FOLDER);
        let (directory, also) = (directory.map(SourceDirectory::as_str), also.map(DockerfilePath::as_str));
        let with_git = cx.settings.docker.build_context_git;
        tree_manifest::fetch(&host.connection, &clone, directory, also, with_git, &folder, &cx.cancel).await?;
    }
    Ok(folder)
}

/// Makes the clone of this operation's commit again when the workspace was lost after it was made.
async fn restore_clone(cx: &StepContext, host: &Host, folder: &Path) -> Result<(), StepError> {
    let Some(Cloned { commit, .. }) = cx.try_output::<CloneRepository>()? else { return Ok(()) };
    // git writes the commit there when the files are; the mark tells that submodules and files of LFS may be missing.
    let mark = folder.with_file_name("clone.restoring");
    let head = host.connection.read(&folder.join(".git/HEAD")).await?.unwrap_or_default();
    if head.trim() == commit.as_str() && !host.connection.exists(&mark).await? {
        return Ok(());
    }
    cx.lines.progress("the clone is gone; making it again");
    host.connection.write(&mark, b"").await?;
    let token = cx.secret(GIT_TOKEN_SECRET).await?;
    let source = RepositorySource { url: &cx.deployment.repository, git_ref: None, token: token.as_ref() };
    let resolved = Resolved { commit, reference: None, branch: None };
    host.git.clone(&source, &resolved, folder, &cx.calls_on(host), &cx.lines, &cx.cancel).await?;
    Ok(host.connection.remove_file(&mark).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkout(lfs: LfsFiles, without_address: &[&str]) -> Checkout {
        Checkout {
            commit: CommitId::parse("a".repeat(40)).unwrap(),
            summary: None,
            submodules: Vec::new(),
            missing: Vec::new(),
            without_address: without_address.iter().map(|&path| path.to_owned()).collect(),
            lfs,
        }
    }

    #[test]
    fn a_clone_that_is_not_whole_says_what_is_missing_and_what_to_do() {
        let first = Some("a/b.bin".to_owned());
        let not_installed = LfsFiles { pointers: 3, first: first.clone(), ..LfsFiles::default() };
        let refused = LfsFiles { pointers: 1, first, reason: Some("Object does not exist".to_owned()), fetched: 2 };

        assert_eq!(
            warnings(&checkout(not_installed, &[])),
            [
                "3 files are Git LFS pointers, not their contents (first: `a/b.bin`). Install `git-lfs` on the machine where \
              git runs, then deploy again."
            ]
        );
        assert!(warnings(&checkout(refused, &[]))[0].starts_with(
            "1 file is a Git LFS pointer, not its contents (first: `a/b.bin`). `git lfs pull` says: Object does not exist."
        ));
        let stray = checkout(LfsFiles::default(), &["a", "b", "c", "d", "e", "f", "g"]);
        assert!(warnings(&stray)[0].starts_with("`a`, `b`, `c`, `d`, `e`, 2 more: committed as a submodule"));
        assert!(warnings(&checkout(LfsFiles::default(), &[])).is_empty());
    }

    #[test]
    fn what_was_fetched_makes_a_build_another_one() {
        let fetched = checkout(LfsFiles { fetched: 2, ..LfsFiles::default() }, &[]);
        let with_submodules = Checkout { submodules: vec!["a".to_owned(), "a/b".to_owned()], ..fetched.clone() };
        let pointers = checkout(LfsFiles { pointers: 2, ..LfsFiles::default() }, &["x"]);

        assert_eq!([&fetched, &with_submodules, &pointers].map(extras), ["2 LFS files", "a\na/b\n2 LFS files", ""]);
    }
}
