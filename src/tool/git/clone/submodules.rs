//! The repositories that a commit has in itself as submodules, each fetched as carefully as the one of the request.
//!
//! `git submodule update` is not used: it runs what `.gitmodules` and the settings of a repository say (`update = !command`)
//! and asks nobody whether an address is allowed. Each submodule is a repository of its own in `.git/modules`, under a name
//! that nobody outside chooses, and its working tree is the directory that the commit of its parent has for it.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use super::job::{CloneContext, CloneJob};
use crate::id::{CommitId, RepositoryUrl, short_hash};
use crate::tool::ToolError;
use crate::tool::git::submodule::{self, Gitlink, MissingSubmodule};
use crate::tool::git::{Checkout, GitError, RepositorySource, Resolved};
use crate::tool::program_error::ProgramError as _;

/// How deep submodules may lie in one another.
const MAX_DEPTH: usize = 3;
/// How many there may be.
const MAX_SUBMODULES: usize = 500;

/// A repository whose working tree is there, and whose own submodules come next.
struct Repository {
    url: RepositoryUrl,
    commit: CommitId,
    /// Its directory from the root of the clone; empty for the root itself.
    path: String,
    depth: usize,
}

/// Brings the submodules of a commit that is checked out, theirs, and the LFS files of all.
pub(super) async fn complete(
    cx: &CloneContext<'_>,
    main: &RepositorySource<'_>,
    commit: &CommitId,
) -> Result<Checkout, GitError> {
    let mut checkout = Checkout::of(commit.clone());
    let root = Repository { url: main.url.clone(), commit: commit.clone(), path: String::new(), depth: 0 };
    let (mut queue, mut count) = (VecDeque::from([root]), 0);
    while let Some(parent) = queue.pop_front() {
        let source = source_of(&parent.url, main);
        let job = job(cx, source, &parent.commit, &parent.path);
        let name = |error| named(&parent.path, error);
        checkout.lfs.add(&parent.path, job.fetch_lfs().await.map_err(name)?);
        let gitlinks = job.gitlinks().await.map_err(name)?;
        let addresses = if gitlinks.is_empty() { BTreeMap::new() } else { job.addresses().await.map_err(name)? };
        count += gitlinks.len();
        if count > MAX_SUBMODULES {
            return Err(GitError::TooManySubmodules { url: main.url.to_string(), limit: MAX_SUBMODULES });
        }
        for Gitlink { path, commit } in gitlinks {
            let address = addresses.get(path.as_str());
            let path = join(&parent.path, path.as_str());
            let Some(address) = address else {
                clear(cx, &path).await?;
                checkout.without_address.push(path);
                continue;
            };
            match submodule::resolve(address, &parent.url, main.url) {
                Ok(_) if parent.depth == MAX_DEPTH => {
                    let reason = format!("submodules are fetched {MAX_DEPTH} deep in one another and no deeper");
                    checkout.missing.push(MissingSubmodule::new(&path, &reason, "Nest submodules less deeply"));
                }
                Err(error) => checkout.missing.push(MissingSubmodule::without_repository(&path, &error)),
                Ok(url) => match fetch(cx, main, &url, &commit, &path).await {
                    Ok(()) => {
                        checkout.submodules.push(path.clone());
                        queue.push_back(Repository { url, commit, path, depth: parent.depth + 1 });
                        continue;
                    }
                    Err(error) if error.is_final() => {
                        checkout.missing.push(MissingSubmodule::refused(&path, &url, main.url, &error));
                    }
                    Err(error) => return Err(named(&path, error)),
                },
            }
            clear(cx, &path).await?;
        }
    }
    Ok(checkout)
}

async fn fetch(
    cx: &CloneContext<'_>,
    main: &RepositorySource<'_>,
    url: &RepositoryUrl,
    commit: &CommitId,
    path: &str,
) -> Result<(), GitError> {
    cx.git.check_allowed(url)?;
    check_place(cx, path).await?;
    cx.lines.progress(format!("fetching the submodule `{path}`"));
    let resolved = Resolved { commit: commit.clone(), reference: None, branch: None };
    job(cx, source_of(url, main), commit, path).run(&resolved).await
}

/// The token is for the host of the request's repository, and goes nowhere else.
fn source_of<'a>(url: &'a RepositoryUrl, main: &RepositorySource<'a>) -> RepositorySource<'a> {
    let token = main.token.filter(|_| url == main.url || submodule::takes_token(url, main.url));
    RepositorySource { url, git_ref: None, token }
}

fn job<'a>(cx: &'a CloneContext<'a>, source: RepositorySource<'a>, commit: &'a CommitId, path: &str) -> CloneJob<'a> {
    let git_dir = match path {
        "" => cx.root.join(".git"),
        path => cx.root.join(".git/modules").join(short_hash(&[path], 16)),
    };
    CloneJob { cx, source, commit, git_dir, work_tree: work_tree(cx.root, path) }
}

fn work_tree(root: &Path, path: &str) -> PathBuf {
    if path.is_empty() { root.to_owned() } else { root.join(path) }
}

/// Makes sure that no link stands in the way: what git writes there would land where it leads.
async fn check_place(cx: &CloneContext<'_>, path: &str) -> Result<(), GitError> {
    let call = cx.git.connection.call("realpath").arg(cx.root).arg(cx.root.join(path));
    let printed = call.run(cx.lines, cx.cancel).await.map_err(GitError::Tool)?.stdout;
    let mut printed = printed.lines();
    let places = printed.next().zip(printed.next());
    if places.is_some_and(|(root, place)| place == format!("{root}/{path}")) {
        return Ok(());
    }
    let what = format!("the directory `{path}` leads somewhere else");
    Err(GitError::Tool(ToolError::Unexpected { program: "git checkout".to_owned(), what }))
}

/// Empties the directory of a submodule that is not there: an earlier commit may have had it.
async fn clear(cx: &CloneContext<'_>, path: &str) -> Result<(), GitError> {
    check_place(cx, path).await?;
    let folder = cx.root.join(path);
    cx.git.connection.remove_folder(&folder).await.map_err(GitError::Tool)?;
    cx.git.connection.make_folder(&folder).await.map_err(GitError::Tool)
}

fn join(parent: &str, path: &str) -> String {
    if parent.is_empty() { path.to_owned() } else { format!("{parent}/{path}") }
}

/// An error of a submodule says whose it is.
fn named(path: &str, error: GitError) -> GitError {
    if path.is_empty() || error.is_cancelled() {
        return error;
    }
    GitError::Submodule { path: path.to_owned(), source: Box::new(error) }
}

impl CloneJob<'_> {
    async fn gitlinks(&self) -> Result<Vec<Gitlink>, GitError> {
        // With `-d` it lists directories and submodules alone.
        let call = self.call("ls-tree").args(["-d", "-r", "--full-tree", self.commit.as_str()]);
        match self.try_query(call).await {
            Ok(output) => Ok(submodule::gitlinks(&output.stdout)),
            Err(ToolError::Unexpected { .. }) => {
                self.cx.lines.warning("The repository has too many directories to look for submodules in it.");
                Ok(Vec::new())
            }
            Err(error) => Err(self.error(error)),
        }
    }

    /// The addresses of `.gitmodules` by path, from the commit itself: a file could be a link. None when it cannot be read.
    async fn addresses(&self) -> Result<BTreeMap<String, String>, GitError> {
        let blob = format!("{}:.gitmodules", self.commit);
        let call = self.call("config").args(["--no-includes", "--blob", &blob, "--list", "-z"]);
        match self.try_query(call).await {
            Ok(output) => Ok(submodule::addresses(&output.stdout)),
            Err(ToolError::Failed { .. }) => Ok(BTreeMap::new()),
            Err(error) => Err(self.error(error)),
        }
    }
}
