//! One repository of a clone: an empty one or one that is used again, the fetch, the working tree.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::event::Lines;
use crate::id::{CommitId, RepositoryUrl};
use crate::store::record::CommitSummary;
use crate::tool::git::{Git, GitError, RepositorySource, Resolved, retry_with_git_suffix};
use crate::tool::step_calls::StepCalls;
use crate::tool::{Call, Output, ToolError};

/// So many letters of the first line of a commit's message are kept.
const LONGEST_SUBJECT: usize = 72;

/// What all repositories of one clone share: a size and a time among them.
pub(super) struct CloneContext<'a> {
    pub(super) git: &'a Git,
    /// The directory of the whole clone, which is measured.
    pub(super) root: &'a Path,
    /// Where the calls are on record.
    pub(super) calls: &'a StepCalls,
    pub(super) deadline: Instant,
    pub(super) lines: &'a Lines,
    pub(super) cancel: &'a CancellationToken,
}

/// One repository in the making.
pub(super) struct CloneJob<'a> {
    pub(super) cx: &'a CloneContext<'a>,
    pub(super) source: RepositorySource<'a>,
    pub(super) commit: &'a CommitId,
    pub(super) git_dir: PathBuf,
    pub(super) work_tree: PathBuf,
}

impl CloneJob<'_> {
    /// Brings the working tree of the commit; a repository of the same address that is there is used again.
    pub(super) async fn run(&self, resolved: &Resolved) -> Result<(), GitError> {
        if self.has_same_origin().await {
            match self.checkout(resolved).await {
                Err(GitError::Tool(error)) if !matches!(error, ToolError::Cancelled { .. }) => {
                    self.cx.lines.output(format!("the clone is broken and is made again: {error}"));
                }
                ended => return ended,
            }
        }
        self.init().await?;
        self.checkout(resolved).await
    }

    /// What the commit says of itself. That git does not tell is no reason to do without the clone.
    pub(super) async fn summary(&self) -> Option<CommitSummary> {
        let call = self.call("show").args(["--no-patch", "--format=%ct%n%s", self.commit.as_str(), "--"]);
        summary_of(&self.try_query(call).await.ok()?.stdout)
    }

    /// Without naming both, git would look for a repository in the directories above, and clean there.
    pub(super) fn call(&self, command: &str) -> Call {
        self.call_with(command, &[])
    }

    /// The same with more settings.
    pub(super) fn call_with(&self, command: &str, settings: &[(&str, &str)]) -> Call {
        let rest = self.cx.deadline.saturating_duration_since(Instant::now());
        self.cx
            .git
            .call_with(command, &self.source, settings)
            .env("GIT_DIR", &self.git_dir)
            .env("GIT_WORK_TREE", &self.work_tree)
            .directory(&self.work_tree)
            .timeout(rest.max(Duration::from_secs(1)))
    }

    /// Runs a call that only looks.
    pub(super) async fn query(&self, call: Call) -> Result<Output, GitError> {
        self.try_query(call).await.map_err(|error| self.error(error))
    }

    pub(super) async fn try_query(&self, call: Call) -> Result<Output, ToolError> {
        call.run(self.cx.lines, self.cx.cancel).await.map_err(|error| self.with_whole_limit(error))
    }

    /// Runs a call that fills the clone.
    pub(super) async fn run_bounded(&self, call: Call, name: &str) -> Result<Result<Output, ToolError>, GitError> {
        let CloneContext { git, root, calls, lines, cancel, .. } = *self.cx;
        let within = cancel.child_token();
        let call = call.run_durably(calls, name, lines, &within);
        let ended = git.with_size_limit(&self.source, root, call, lines, &within).await?;
        Ok(ended.map_err(|error| self.with_whole_limit(error)))
    }

    pub(super) fn error(&self, error: ToolError) -> GitError {
        GitError::from_tool(error, self.source.url.as_str(), self.source.token.is_some())
    }

    /// What is left of the time says nothing to a person: the limit of the whole clone does.
    fn with_whole_limit(&self, error: ToolError) -> ToolError {
        if let ToolError::TimedOut { program, lines, .. } = error {
            return ToolError::TimedOut { program, limit: self.cx.git.clone_timeout, lines };
        }
        error
    }

    async fn has_same_origin(&self) -> bool {
        if !self.cx.git.connection.is_folder(&self.git_dir).await.unwrap_or_default() {
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
        for folder in [&self.work_tree, &self.git_dir] {
            self.cx.git.connection.remove_folder(folder).await.map_err(GitError::Tool)?;
        }
        for folder in [&self.work_tree, &self.git_dir] {
            self.cx.git.connection.make_folder(folder).await.map_err(GitError::Tool)?;
        }
        let format = if self.commit.as_str().len() == 64 { "sha256" } else { "sha1" };
        let call = self.call("init").args(["--quiet", "--template=", &format!("--object-format={format}")]);
        self.query(call).await?;
        let call = self.call("config").args(["--local", "remote.origin.url", self.source.url.as_str()]);
        self.query(call).await.map(drop)
    }

    /// Fetches the commit unless it is there, checks it out and removes what does not belong to it.
    async fn checkout(&self, resolved: &Resolved) -> Result<(), GitError> {
        if !self.has_commit().await? {
            self.fetch(resolved).await?;
        }
        // A lock that a killed git left behind; the engine has made sure that none works here.
        let lock = self.git_dir.join("index.lock");
        self.cx.git.connection.remove_file(&lock).await.map_err(GitError::Tool)?;
        let checkout = self.call("checkout").args(["--quiet", "--force", "--detach", self.commit.as_str(), "--"]);
        self.run_bounded(checkout, "checkout").await?.map_err(|error| self.error(error))?;
        self.query(self.call("clean").args(["--quiet", "-ffdx"])).await?;
        let head = self.query(self.call("rev-parse").args(["--verify", "HEAD"])).await?;
        if head.stdout.trim() != self.commit.as_str() {
            let what = format!("HEAD is `{}`, not `{}`", head.stdout.trim(), self.commit);
            return Err(GitError::Tool(ToolError::Unexpected { program: "git checkout".to_owned(), what }));
        }
        Ok(())
    }

    /// Whether the commit is there with all its directories and files: a fetch that was interrupted may have left the commit
    /// without them, and `git checkout` then takes a missing directory for an empty one and succeeds (seen with 2.39).
    async fn has_commit(&self) -> Result<bool, GitError> {
        let call = self.call("rev-list").args(["--objects", "--quiet", "--no-walk", self.commit.as_str(), "--"]);
        match self.try_query(call).await {
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
                    Err(error) => address = retry_with_git_suffix(&self.source, &address, error)?,
                }
            }
            if self.has_commit().await? {
                return Ok(());
            }
        }
        let url = self.source.url.to_string();
        Err(GitError::NoSuchRef { url, wanted: self.commit.to_string(), existing: Vec::new() })
    }
}

/// Whether the host has the repository and does not hand out what was asked for.
fn is_refusal(error: &ToolError) -> bool {
    ["not our ref", "unadvertised object", "couldn't find remote ref", "no matching remote head"]
        .iter()
        .any(|text| error.says(text))
}

/// Reads the time and the first line of the message of a commit.
fn summary_of(text: &str) -> Option<CommitSummary> {
    let (time, subject) = text.split_once('\n')?;
    let committed_at = Timestamp::from_second(time.trim().parse().ok()?).ok()?;
    let mut letters = subject.trim().chars();
    let mut subject: String = letters.by_ref().take(LONGEST_SUBJECT).collect();
    if letters.next().is_some() {
        subject.push('…');
    }
    Some(CommitSummary { subject, committed_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_message_the_beginning_of_its_first_line_is_kept() {
        let summary = |subject: &str| summary_of(&format!("1700000000\n{subject}\n"));

        let short = summary("a change").unwrap();
        let long = summary(&"x".repeat(73)).unwrap();

        assert_eq!((short.subject.as_str(), short.committed_at.as_second()), ("a change", 1_700_000_000));
        assert_eq!(long.subject, format!("{}…", "x".repeat(LONGEST_SUBJECT)));
        assert_eq!(summary_of("fatal"), None);
        assert_eq!(summary("").unwrap().subject, "");
    }
}
