//! One clone in the making: an empty repository or one that is used again, the fetch, the working tree.

use std::path::Path;

use tokio_util::sync::CancellationToken;

use crate::event::Lines;
use crate::id::{CommitId, RepositoryUrl};
use crate::tool::git::{Checkout, Git, GitError, RepositorySource, Resolved, retry_with_git_suffix};
use crate::tool::{Call, Output, ToolError};

impl Git {
    /// Brings the working tree of one commit into `directory`, as shallow as the host allows.
    ///
    /// A clone of the same repository that is there is used again; anything else in `directory` is removed.
    /// `folder` is where the calls keep their records (see [`Call::run_durably`]); it lies outside `directory`.
    ///
    /// # Errors
    /// [`GitError`] says what is wrong with the repository, its host or the commit.
    pub async fn clone(
        &self,
        source: &RepositorySource<'_>,
        resolved: &Resolved,
        directory: &Path,
        folder: &Path,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<Checkout, GitError> {
        self.check_allowed(source.url)?;
        self.upload_ca_bundle().await?;
        let clone = CloneJob { git: self, source, commit: &resolved.commit, directory, folder, lines, cancel };
        if clone.has_same_origin().await {
            match clone.checkout(resolved).await {
                Err(GitError::Tool(error)) if !matches!(error, ToolError::Cancelled { .. }) => {
                    lines.output(format!("the clone is broken and is made again: {error}"));
                }
                ended => return ended,
            }
        }
        clone.init().await?;
        clone.checkout(resolved).await
    }
}

/// One clone in the making.
struct CloneJob<'a> {
    git: &'a Git,
    source: &'a RepositorySource<'a>,
    commit: &'a CommitId,
    directory: &'a Path,
    folder: &'a Path,
    lines: &'a Lines,
    cancel: &'a CancellationToken,
}

impl CloneJob<'_> {
    /// Without naming both, git would look for a repository in the directories above, and clean there.
    fn call(&self, command: &str) -> Call {
        self.git
            .call(command, self.source)
            .env("GIT_DIR", self.directory.join(".git"))
            .env("GIT_WORK_TREE", self.directory)
            .directory(self.directory)
            .timeout(self.git.clone_timeout)
    }

    async fn query(&self, call: Call) -> Result<Output, GitError> {
        call.run(self.lines, self.cancel).await.map_err(|error| self.error(error))
    }

    fn error(&self, error: ToolError) -> GitError {
        GitError::from_tool(error, self.source.url.as_str(), self.source.token.is_some())
    }

    async fn has_same_origin(&self) -> bool {
        if !self.git.connection.is_folder(&self.directory.join(".git")).await.unwrap_or_default() {
            return false;
        }
        let call = self.call("config").args(["--local", "--get", "remote.origin.url"]);
        let identity = |text: &str| RepositoryUrl::parse(text).ok().map(|url| url.identity());
        match self.query(call).await {
            Ok(output) => identity(output.stdout.trim()) == Some(self.source.url.identity()),
            Err(_) => false,
        }
    }

    async fn init(&self) -> Result<(), GitError> {
        self.git.connection.remove_folder(self.directory).await.map_err(GitError::Tool)?;
        self.git.connection.make_folder(self.directory).await.map_err(GitError::Tool)?;
        let format = if self.commit.as_str().len() == 64 { "sha256" } else { "sha1" };
        let call = self.call("init").args(["--quiet", "--template=", &format!("--object-format={format}")]);
        self.query(call).await?;
        let call = self.call("config").args(["--local", "remote.origin.url", self.source.url.as_str()]);
        self.query(call).await.map(drop)
    }

    /// Fetches the commit unless it is there, checks it out and removes what does not belong to it.
    async fn checkout(&self, resolved: &Resolved) -> Result<Checkout, GitError> {
        if !self.has_commit().await? {
            self.fetch(resolved).await?;
        }
        // A lock that a killed git left behind; the engine has made sure that none works here.
        self.git.connection.remove_file(&self.directory.join(".git/index.lock")).await.map_err(GitError::Tool)?;
        let checkout = self.call("checkout").args(["--quiet", "--force", "--detach", self.commit.as_str(), "--"]);
        self.run_bounded(checkout, "checkout").await?.map_err(|error| self.error(error))?;
        self.query(self.call("clean").args(["--quiet", "-ffdx"])).await?;
        let head = self.query(self.call("rev-parse").args(["--verify", "HEAD"])).await?;
        if head.stdout.trim() != self.commit.as_str() {
            let what = format!("HEAD is `{}`, not `{}`", head.stdout.trim(), self.commit);
            return Err(GitError::Tool(ToolError::Unexpected { program: "git checkout".to_owned(), what }));
        }
        Ok(Checkout { commit: self.commit.clone() })
    }

    async fn has_commit(&self) -> Result<bool, GitError> {
        let call = self.call("cat-file").args(["-e", self.commit.as_str()]);
        match call.run(self.lines, self.cancel).await {
            Ok(_) => Ok(true),
            Err(ToolError::Failed { .. }) => Ok(false),
            Err(error) => Err(GitError::Tool(error)),
        }
    }

    /// The commit alone; where the host refuses that, the tip of its ref; where that has moved on, all there is.
    async fn fetch(&self, resolved: &Resolved) -> Result<(), GitError> {
        let mut attempts = vec![vec!["--depth=1", self.commit.as_str()]];
        attempts.extend(resolved.reference.iter().map(|name| vec!["--depth=1", name.as_str()]));
        attempts.push(vec!["refs/heads/*:refs/remotes/origin/*", "refs/tags/*:refs/tags/*"]);
        let mut address = self.source.url.as_str().to_owned();
        for attempt in attempts {
            let (options, wanted): (Vec<&str>, Vec<&str>) = attempt.iter().partition(|it| it.starts_with("--"));
            loop {
                let call = self.call("fetch").args(["--quiet", "--no-tags", "--force", "--no-write-fetch-head"]);
                let call = call.args(&options).args(["--", &address]).args(&wanted);
                match self.run_bounded(call, "fetch").await? {
                    Ok(_) => break,
                    Err(error) if is_refusal(&error) => break,
                    Err(error) => address = retry_with_git_suffix(self.source, &address, error)?,
                }
            }
            if self.has_commit().await? {
                return Ok(());
            }
        }
        let url = self.source.url.to_string();
        Err(GitError::NoSuchRef { url, wanted: self.commit.to_string(), existing: Vec::new() })
    }

    async fn run_bounded(&self, call: Call, name: &str) -> Result<Result<Output, ToolError>, GitError> {
        let within = self.cancel.child_token();
        let call = call.run_durably(self.folder, name, self.lines, &within);
        self.git.with_size_limit(self.source, self.directory, call, self.lines, &within).await
    }
}

/// Whether the host has the repository and does not hand out what was asked for.
fn is_refusal(error: &ToolError) -> bool {
    ["not our ref", "unadvertised object", "couldn't find remote ref", "no matching remote head"]
        .iter()
        .any(|text| error.says(text))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{World, write};
    use super::*;
    use crate::tool::program_error::ProgramError as _;

    #[tokio::test]
    async fn a_clone_holds_the_files_of_its_commit_and_nothing_else() {
        let world = World::new().await;
        let first = world.commit("page", "1").await;
        let second = world.commit("page", "2").await;

        assert_eq!(world.clone(&first).await.unwrap().commit, first);
        assert_eq!(world.cloned("page").as_deref(), Some("1"));
        write(&world.path("clone/page"), "changed");
        write(&world.path("clone/extra"), "left over");
        assert_eq!(world.clone(&second).await.unwrap().commit, second);
        assert_eq!((world.cloned("page").as_deref(), world.cloned("extra")), (Some("2"), None));
    }

    #[tokio::test]
    async fn a_clone_that_has_the_commit_is_not_fetched_again() {
        let world = World::new().await;
        let commit = world.commit("page", "1").await;
        world.clone(&commit).await.unwrap();

        std::fs::rename(world.path("app/.git"), world.path("app/gone")).unwrap();

        assert_eq!(world.clone(&commit).await.unwrap().commit, commit);
    }

    #[tokio::test]
    async fn a_broken_clone_and_one_of_another_repository_are_made_again() {
        let world = World::new().await;
        let commit = world.commit("page", "1").await;
        std::fs::create_dir_all(world.path("clone/.git")).unwrap();
        write(&world.path("clone/stale"), "half made");
        world.clone(&commit).await.unwrap();
        assert_eq!(world.cloned("stale"), None);

        for pack in std::fs::read_dir(world.path("clone/.git/objects/pack")).unwrap() {
            std::fs::remove_file(pack.unwrap().path()).unwrap();
        }
        std::fs::remove_dir_all(world.path("clone/.git/objects")).unwrap();
        world.clone(&commit).await.unwrap();
        assert_eq!(world.cloned("page").as_deref(), Some("1"));

        std::fs::rename(world.path("app"), world.path("moved")).unwrap();
        world.clone_of(&world.url("moved"), &commit).await.unwrap();
        assert!(world.cloned(".git/config").unwrap().contains("/moved"));
    }

    #[tokio::test]
    async fn a_repository_above_the_limit_is_not_kept_on_being_fetched() {
        let mut world = World::new().await;
        let commit = world.commit("page", &"all of this is a lot of text\n".repeat(10_000)).await;
        world.settings.git.clone_max_bytes = 50_000;

        let error = world.clone(&commit).await.unwrap_err();

        assert!(matches!(error, GitError::TooLarge { limit_bytes: 50_000, .. }), "{error}");
        assert!(error.next_step().contains("`CLONE_MAX_BYTES`"));
    }

    #[tokio::test]
    async fn a_commit_that_is_not_there_is_said_to_be_missing() {
        let world = World::new().await;
        world.commit("page", "1").await;

        let error = world.clone(&CommitId::parse("1".repeat(40)).unwrap()).await.unwrap_err();

        assert_eq!(error.code(), "git_ref_not_found");
    }

    #[tokio::test]
    async fn a_repository_cannot_run_anything_here() {
        let world = World::new().await;
        world.commit(".gitattributes", "* filter=evil\n").await;
        let commit = world.commit(".gitmodules", "[submodule \"a\"]\n\tpath = a\n\turl = ext::touch /\n").await;
        world.clone(&commit).await.unwrap();
        let mark = world.path("mark");
        let hook = world.path("clone/.git/hooks/post-checkout");
        std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
        crate::tool::write_executable(&hook, &format!("#!/bin/sh\ntouch {}\n", mark.display()));

        world.clone(&commit).await.unwrap();

        assert!(!mark.exists());
    }
}
