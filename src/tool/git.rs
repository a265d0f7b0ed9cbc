//! Git: what a repository holds, and a shallow clone of one commit.
//!
//! A repository is not trusted: no configuration but ours, no hooks or filters, one protocol, no redirects (the other
//! address was not checked against the allowed hosts, and git would send the token there), bounded in size and time; its
//! submodules are repositories to which all of this applies. A token reaches git through its environment alone and is sent
//! to the host of the request's repository alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::config::value::AllowedHost;
use crate::event::Lines;
use crate::id::repository_page::{RefLocation, RefPath};
use crate::id::{CommitId, GitRef, IdError, RepositoryUrl};
use crate::store::record::CommitSummary;
use crate::tool::connection::Connection;
use crate::tool::git::refs::{RefMatch, Refs};
use crate::tool::{Call, Output, ToolError};

mod clone;
pub mod error;
pub mod refs;
mod submodule;

pub use crate::tool::git::error::GitError;
pub use crate::tool::git::submodule::MissingSubmodule;

/// How long a look at the refs may take, at most.
const QUERY_TIMEOUT: Duration = Duration::from_mins(1);
/// How often the size of a clone is looked at, here and on another machine.
const SIZE_POLL_INTERVALS: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(2)];
/// What git's ssh needs of the server's environment. `GIT_*` stays here: a repository gets no configuration but ours.
const INHERITED: &[&str] = &["SSH_AUTH_SOCK"];
/// What keeps a repository from doing more than being read.
const SAFE_CONFIG: [(&str, &str); 15] = [
    ("protocol.allow", "never"),
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.attributesFile", "/dev/null"),
    ("core.excludesFile", "/dev/null"),
    ("core.askPass", ""),
    ("core.quotePath", "false"),
    ("credential.helper", ""),
    ("http.followRedirects", "false"),
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("advice.detachedHead", "false"),
    ("safe.directory", "*"),
];

/// The git program with the limits of the settings.
#[derive(Debug, Clone)]
pub struct Git {
    connection: Connection,
    program: PathBuf,
    ca_bundle: Option<CaBundle>,
    allowed_hosts: Vec<AllowedHost>,
    clone_timeout: Duration,
    clone_max_bytes: u64,
    known_hosts: PathBuf,
}

/// The file with the certificate authorities that git trusts.
#[derive(Debug, Clone)]
struct CaBundle {
    /// The file of the settings.
    local: PathBuf,
    /// Where git finds it.
    remote: PathBuf,
    /// Set once its contents are where git runs.
    is_uploaded: Arc<OnceCell<()>>,
}

/// Which state of which repository is meant, and what opens it.
#[derive(Debug, Clone, Copy)]
pub struct RepositorySource<'a> {
    /// The repository.
    pub url: &'a RepositoryUrl,
    /// Branch, tag or commit; `None` is the default branch.
    pub git_ref: Option<&'a GitRef>,
    /// A token for https.
    pub token: Option<&'a SecretString>,
}

/// What a ref means right now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// The commit.
    pub commit: CommitId,
    /// The full ref that leads to it, such as `refs/heads/main`; `None` when a commit was asked for.
    pub reference: Option<String>,
    /// The branch, when the ref is one.
    pub branch: Option<String>,
}

/// A clone with a clean working tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    /// The commit that is checked out.
    pub commit: CommitId,
    /// What it says of itself, when git tells.
    pub summary: Option<CommitSummary>,
    /// The directories of the submodules that are there.
    pub submodules: Vec<String>,
    /// Those that are not.
    pub missing: Vec<MissingSubmodule>,
    /// Those that are not because no `.gitmodules` gives them an address.
    pub without_address: Vec<String>,
    /// The files that are kept in Git LFS.
    pub lfs: LfsFiles,
}

/// The files of a clone that its commits hold as pointers to Git LFS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LfsFiles {
    /// How many have their contents.
    pub fetched: usize,
    /// How many are still pointers.
    pub pointers: usize,
    /// The first of these.
    pub first: Option<String>,
    /// Why they are, when `git-lfs` is installed.
    pub reason: Option<String>,
}

impl Checkout {
    fn of(commit: CommitId) -> Self {
        let (submodules, missing, without_address) = Default::default();
        Self { commit, summary: None, submodules, missing, without_address, lfs: LfsFiles::default() }
    }
}

impl LfsFiles {
    /// Adds those of the repository in a directory.
    fn add(&mut self, directory: &str, other: Self) {
        self.fetched += other.fetched;
        self.pointers += other.pointers;
        let path = |first: String| if directory.is_empty() { first } else { format!("{directory}/{first}") };
        self.first = self.first.take().or(other.first.map(path));
        self.reason = self.reason.take().or(other.reason);
    }
}

impl Git {
    /// The git of this machine as the settings say. Keys of ssh hosts are kept in `git_known_hosts` in the workspace.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let here = |path: &PathBuf| CaBundle {
            local: path.clone(),
            remote: path.clone(),
            is_uploaded: Arc::new(OnceCell::new_with(Some(()))),
        };
        Self {
            connection: Connection::Local,
            program: settings.git.program.clone(),
            ca_bundle: settings.git.ssl_cainfo.as_ref().map(here),
            ..Self::at(settings, Connection::Local, &settings.store.workspace)
        }
    }

    /// The git of another machine, with the limits of the settings; `workspace` is where it keeps things there.
    #[must_use]
    pub fn at(settings: &Settings, connection: Connection, workspace: &Path) -> Self {
        let there = |path: &PathBuf| CaBundle {
            local: path.clone(),
            remote: workspace.join("git_authorities.pem"),
            is_uploaded: Arc::default(),
        };
        Self {
            connection,
            program: "git".into(),
            ca_bundle: settings.git.ssl_cainfo.as_ref().map(there),
            allowed_hosts: settings.git.allowed_hosts.clone(),
            clone_timeout: settings.git.clone_timeout,
            clone_max_bytes: settings.git.clone_max_bytes,
            known_hosts: workspace.join("git_known_hosts"),
        }
    }

    /// Writes the authorities of the settings to where git runs, once.
    async fn upload_ca_bundle(&self) -> Result<(), GitError> {
        let Some(CaBundle { local, remote, is_uploaded }) = &self.ca_bundle else { return Ok(()) };
        let bring = async || {
            let contents = tokio::fs::read(local).await;
            let contents = contents.map_err(|source| ToolError::Files { path: local.display().to_string(), source })?;
            self.connection.write(remote, &contents).await
        };
        is_uploaded.get_or_try_init(bring).await.map(drop).map_err(GitError::Tool)
    }

    /// Checks the host against `GIT_ALLOWED_HOSTS`; runs nothing.
    ///
    /// # Errors
    /// [`GitError::HostNotAllowed`].
    pub fn check_allowed(&self, url: &RepositoryUrl) -> Result<(), GitError> {
        let host = url.host_and_port();
        if self.allowed_hosts.iter().any(|it| it.allows(url.scheme(), &host, url.path())) {
            return Ok(());
        }
        let allowed: Vec<String> = self.allowed_hosts.iter().map(ToString::to_string).collect();
        let host = if url.scheme() == "file" { format!("file://{}", url.path()) } else { host };
        Err(GitError::HostNotAllowed { host, allowed: allowed.join(", ") })
    }

    /// Finds the commit that a branch, tag or commit means now, without cloning.
    ///
    /// A full commit id that no ref leads to is taken at its word; [`Git::clone`] finds out.
    ///
    /// # Errors
    /// [`GitError`] says what is wrong with the repository, its host or the ref.
    pub async fn resolve(
        &self,
        source: &RepositorySource<'_>,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<Resolved, GitError> {
        self.check_allowed(source.url)?;
        self.upload_ca_bundle().await?;
        let refs = self.ls_remote(source, lines, cancel).await?;
        if refs.is_empty() && source.git_ref.is_none_or(|it| CommitId::parse(it.as_str()).is_err()) {
            return Err(GitError::EmptyRepository { url: source.url.to_string() });
        }
        match source.git_ref.map_or_else(|| refs.head(), |git_ref| refs.find(git_ref)) {
            RefMatch::Ref(name, commit) => {
                let branch = name.strip_prefix("refs/heads/").map(str::to_owned);
                Ok(Resolved { commit, branch, reference: Some(name) })
            }
            RefMatch::Commit(commit) => Ok(Resolved { commit, reference: None, branch: None }),
            RefMatch::Abbreviation(digits) => match self.expand_commit(source, &digits, lines, cancel).await? {
                Some(commit) => Ok(Resolved { commit, reference: None, branch: None }),
                None => Err(no_such_ref(source, &refs)),
            },
            RefMatch::NotFound => Err(no_such_ref(source, &refs)),
        }
    }

    /// Finds out what the address of a page shows: its ref is the longest one that the remote has.
    ///
    /// # Errors
    /// [`GitError`] says what is wrong with the repository or its host, [`IdError`] that the path is none.
    pub async fn locate(
        &self,
        source: &RepositorySource<'_>,
        path: &RefPath,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<Result<RefLocation, IdError>, GitError> {
        self.check_allowed(source.url)?;
        self.upload_ca_bundle().await?;
        let refs = self.ls_remote(source, lines, cancel).await?;
        Ok(path.resolve(|name| refs.commits.contains_key(name)))
    }

    async fn ls_remote(
        &self,
        source: &RepositorySource<'_>,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<Refs, GitError> {
        let mut address = source.url.as_str().to_owned();
        loop {
            let mut call = self.call("ls-remote", source).args(["--symref", "--", &address, "HEAD"]);
            call = call.args(["refs/heads/*", "refs/tags/*"]);
            if let Some(full) = source.git_ref.filter(|it| it.as_str().starts_with("refs/")) {
                call = call.arg(full);
            }
            match call.timeout(self.clone_timeout.min(QUERY_TIMEOUT)).run(lines, cancel).await {
                Ok(output) => return Ok(Refs::parse(&output.stdout)),
                Err(error) => address = retry_with_git_suffix(source, &address, error)?,
            }
        }
    }

    /// Finds the one commit whose id begins with these digits, from the commits of all branches without their files.
    async fn expand_commit(
        &self,
        source: &RepositorySource<'_>,
        digits: &str,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<Option<CommitId>, GitError> {
        lines.progress(format!("looking for the commit `{digits}` in `{}`", source.url));
        let made = self.connection.call("mktemp").args(["-d"]).run(lines, cancel).await.map_err(GitError::Tool)?;
        let directory = PathBuf::from(made.stdout.trim());
        let found = self.expand_commit_in(&directory, source, digits, lines, cancel).await;
        self.connection.remove_folder(&directory).await.map_err(GitError::Tool)?;
        found
    }

    async fn expand_commit_in(
        &self,
        path: &Path,
        source: &RepositorySource<'_>,
        digits: &str,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<Option<CommitId>, GitError> {
        let tool = |error| GitError::from_tool(error, source.url.as_str(), source.token.is_some());
        self.call("init", source)
            .args(["--quiet", "--bare", "--template="])
            .arg(path)
            .run(lines, cancel)
            .await
            .map_err(tool)?;
        let mut address = source.url.as_str().to_owned();
        loop {
            let fetch = self.call("fetch", source).env("GIT_DIR", path).timeout(self.clone_timeout);
            let fetch = fetch.args(["--quiet", "--filter=tree:0", "--", &address]);
            let fetch = fetch.args(["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]);
            let within = cancel.child_token();
            match self.with_size_limit(source, path, fetch.run(lines, &within), lines, &within).await? {
                Ok(_) => break,
                Err(error) => address = retry_with_git_suffix(source, &address, error)?,
            }
        }
        let call =
            self.call("rev-parse", source).env("GIT_DIR", path).args(["--verify", "--quiet", "--end-of-options"]);
        match call.arg(format!("{digits}^{{commit}}")).run(lines, cancel).await {
            Ok(output) => Ok(CommitId::parse(output.stdout.trim()).ok()),
            Err(ToolError::Failed { .. }) => Ok(None),
            Err(error) => Err(GitError::Tool(error)),
        }
    }

    /// Waits for a call that fills `directory`, and ends it through its own token when the directory becomes too large.
    async fn with_size_limit(
        &self,
        source: &RepositorySource<'_>,
        directory: &Path,
        call: impl Future<Output = Result<Output, ToolError>>,
        lines: &Lines,
        within: &CancellationToken,
    ) -> Result<Result<Output, ToolError>, GitError> {
        let too_large = || GitError::TooLarge { url: source.url.to_string(), limit_bytes: self.clone_max_bytes };
        let growing = async {
            let mut shown = 0;
            loop {
                tokio::time::sleep(SIZE_POLL_INTERVALS[usize::from(!self.connection.is_local())]).await;
                let size_bytes = self.connection.size_of(directory).await;
                if size_bytes > self.clone_max_bytes {
                    return;
                }
                if size_bytes >> 20 != shown {
                    shown = size_bytes >> 20;
                    lines.progress(format!("fetching `{}`, {shown} MiB so far", source.url));
                }
            }
        };
        tokio::pin!(call);
        tokio::select! {
            ended = &mut call => {
                let fits = self.connection.size_of(directory).await <= self.clone_max_bytes;
                if fits { Ok(ended) } else { Err(too_large()) }
            }
            () = growing => {
                within.cancel();
                let _ = call.await;
                Err(too_large())
            }
        }
    }

    /// A call that can do nothing but what git itself does with this repository.
    fn call(&self, command: &str, source: &RepositorySource<'_>) -> Call {
        self.call_with(command, source, &[])
    }

    /// The same with more settings.
    fn call_with(&self, command: &str, source: &RepositorySource<'_>, more: &[(&str, &str)]) -> Call {
        let url = source.url;
        let mut call = self
            .connection
            .call(&self.program)
            .arg(command)
            .inherit(INHERITED)
            .env("HOME", "/dev/null")
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "")
            .env("GIT_LFS_SKIP_SMUDGE", "1")
            .env("GIT_SSH_COMMAND", self.ssh_command())
            .env("SSH_ASKPASS", "");
        if let Some(ca_bundle) = &self.ca_bundle {
            call = call.env("GIT_SSL_CAINFO", &ca_bundle.remote);
        }
        let protocol = format!("protocol.{}.allow", url.scheme());
        let settings = SAFE_CONFIG.into_iter().chain([(protocol.as_str(), "always")]).chain(more.iter().copied());
        let mut count = 0;
        for (key, value) in settings {
            call = call.env(format!("GIT_CONFIG_KEY_{count}"), key).env(format!("GIT_CONFIG_VALUE_{count}"), value);
            count += 1;
        }
        if let Some(token) = source.token.filter(|_| url.scheme() == "https") {
            let basic = SecretString::from(BASE64.encode(format!("x-access-token:{}", token.expose_secret())));
            let header = SecretString::from(format!("Authorization: Basic {}", basic.expose_secret()));
            call = call
                .redact(token)
                .redact(&basic)
                .env(format!("GIT_CONFIG_KEY_{count}"), format!("http.https://{}/.extraHeader", url.host_and_port()))
                .secret_env(format!("GIT_CONFIG_VALUE_{count}"), &header);
            count += 1;
        }
        call.env("GIT_CONFIG_COUNT", count.to_string())
    }

    /// A host is trusted at the first contact, and must then keep its key. Git hands this text to a shell.
    fn ssh_command(&self) -> String {
        let file = self.known_hosts.to_string_lossy().replace('%', "%%").replace('\'', r"'\''");
        format!(
            "ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o ConnectTimeout=20 \
             -o 'UserKnownHostsFile=\"{file}\" ~/.ssh/known_hosts'"
        )
    }
}

fn no_such_ref(source: &RepositorySource<'_>, refs: &Refs) -> GitError {
    let wanted = source.git_ref.map_or("HEAD", GitRef::as_str).to_owned();
    GitError::NoSuchRef { url: source.url.to_string(), existing: refs.nearest(&wanted), wanted }
}

/// Some hosts know a repository by its name with `.git` alone and redirect; that one is tried, and no other.
fn retry_with_git_suffix(source: &RepositorySource<'_>, address: &str, error: ToolError) -> Result<String, GitError> {
    let error = GitError::from_tool(error, source.url.as_str(), source.token.is_some());
    let is_bare = address.strip_suffix(".git").is_none();
    if is_bare && matches!(error, GitError::Moved { .. }) {
        return Ok(format!("{}.git", address.trim_end_matches('/')));
    }
    Err(error)
}

#[cfg(test)]
mod fixture {
    //! A repository on disk, made with the git of this machine.

    use std::path::{Path, PathBuf};

    use tempfile::TempDir;

    use super::*;
    use crate::config::Sources;
    use crate::tool::step_calls::StepCalls;

    pub(super) struct World {
        directory: TempDir,
        pub(super) settings: Settings,
        pub(super) lines: Lines,
        pub(super) cancel: CancellationToken,
    }

    impl World {
        /// An empty repository `app`, and a server that may clone what lies beside it.
        pub(super) async fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let allowed = format!("file://{}", directory.path().display());
            let sources = Sources::of(directory.path(), [("GIT_ALLOWED_HOSTS", allowed.as_str())]);
            let (settings, _) = Settings::load(&sources).unwrap();
            let world = Self { directory, settings, lines: Lines::none(), cancel: CancellationToken::new() };
            world.init("app").await;
            world
        }

        /// An empty repository.
        pub(super) async fn init(&self, name: &str) {
            std::fs::create_dir(self.path(name)).unwrap();
            self.git_in(name, &["init", "--quiet", "--initial-branch=main"]).await;
        }

        pub(super) fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        pub(super) fn url(&self, name: &str) -> RepositoryUrl {
            RepositoryUrl::parse(format!("file://{}", self.path(name).display())).unwrap()
        }

        pub(super) async fn git(&self, args: &[&str]) -> String {
            self.git_in("app", args).await
        }

        pub(super) async fn git_in(&self, name: &str, args: &[&str]) -> String {
            let call = Call::new("git").args(["-c", "user.name=t", "-c", "user.email=t@t.test"]).args(args);
            let call = call.env("GIT_CONFIG_GLOBAL", "/dev/null").directory(self.path(name));
            call.run(&self.lines, &self.cancel).await.unwrap().stdout.trim().to_owned()
        }

        /// Commits one file and tells the commit's id.
        pub(super) async fn commit(&self, file: &str, text: &str) -> CommitId {
            self.commit_in("app", file, text).await
        }

        pub(super) async fn commit_in(&self, name: &str, file: &str, text: &str) -> CommitId {
            std::fs::write(self.path(name).join(file), text).unwrap();
            self.git_in(name, &["add", "--all"]).await;
            self.git_in(name, &["commit", "--quiet", "--allow-empty", "--message", "a change"]).await;
            CommitId::parse(self.git_in(name, &["rev-parse", "HEAD"]).await).unwrap()
        }

        /// Commits submodules, each with its path, address and commit, in the place of those that the repository had.
        pub(super) async fn commit_submodules(&self, name: &str, submodules: &[(&str, &str, &CommitId)]) -> CommitId {
            self.git_in(name, &["rm", "--quiet", "-r", "--cached", "--ignore-unmatch", "."]).await;
            let module = |(path, url, _): &(&str, &str, &CommitId)| {
                format!("[submodule \"{path}\"]\n\tpath = {path}\n\turl = {url}\n")
            };
            let text: String = submodules.iter().map(module).collect();
            write(&self.path(name).join(".gitmodules"), &text);
            self.git_in(name, &["add", "--all"]).await;
            for (path, _, commit) in submodules {
                let entry = format!("160000,{commit},{path}");
                self.git_in(name, &["update-index", "--add", "--cacheinfo", &entry]).await;
            }
            self.git_in(name, &["commit", "--quiet", "--message", "submodules"]).await;
            CommitId::parse(self.git_in(name, &["rev-parse", "HEAD"]).await).unwrap()
        }

        pub(super) async fn resolve(&self, git_ref: Option<&str>) -> Result<Resolved, GitError> {
            let git_ref = git_ref.map(|it| GitRef::parse(it).unwrap());
            let url = self.url("app");
            let source = RepositorySource { url: &url, git_ref: git_ref.as_ref(), token: None };
            Git::new(&self.settings).resolve(&source, &self.lines, &self.cancel).await
        }

        pub(super) async fn clone(&self, commit: &CommitId) -> Result<Checkout, GitError> {
            self.clone_of(&self.url("app"), commit).await
        }

        pub(super) async fn clone_of(&self, url: &RepositoryUrl, commit: &CommitId) -> Result<Checkout, GitError> {
            let source = RepositorySource { url, git_ref: None, token: None };
            let resolved = Resolved { commit: commit.clone(), reference: None, branch: None };
            let (directory, calls) = (self.path("clone"), StepCalls::in_folder(self.path("step")));
            let git = Git::new(&self.settings);
            git.clone(&source, &resolved, &directory, &calls, &self.lines, &self.cancel).await
        }

        pub(super) fn cloned(&self, file: &str) -> Option<String> {
            std::fs::read_to_string(self.path("clone").join(file)).ok()
        }
    }

    pub(super) fn write(path: &Path, text: &str) {
        std::fs::write(path, text).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::fixture::World;
    use super::*;
    use crate::tool::program_error::ProgramError as _;

    #[tokio::test]
    async fn a_host_that_is_not_listed_is_refused_by_name_before_anything_runs() {
        let mut world = World::new().await;
        world.settings.git.program = "/nowhere/git".into();
        let git = Git::new(&world.settings);

        let url = RepositoryUrl::parse("https://git.test:8443/a/b").unwrap();
        let error = git.check_allowed(&url).unwrap_err();

        assert!(error.to_string().starts_with("`git.test:8443` is not an allowed git host; allowed are: file:///"));
        assert!(error.next_step().contains("`GIT_ALLOWED_HOSTS`"));
        assert!(git.check_allowed(&world.url("app")).is_ok());
    }

    #[tokio::test]
    async fn the_default_branch_a_branch_a_tag_and_a_commit_lead_to_their_commits() {
        let world = World::new().await;
        let first = world.commit("page", "1").await;
        world.git(&["tag", "--annotate", "--message", "one", "v1"]).await;
        let second = world.commit("page", "2").await;

        let main = Resolved { commit: second, reference: Some("refs/heads/main".into()), branch: Some("main".into()) };
        let tag = Resolved { commit: first.clone(), reference: Some("refs/tags/v1".into()), branch: None };
        let commit = Resolved { commit: first.clone(), reference: None, branch: None };
        assert_eq!(world.resolve(None).await.unwrap(), main);
        assert_eq!(world.resolve(Some("main")).await.unwrap(), main);
        assert_eq!(world.resolve(Some("v1")).await.unwrap(), tag);
        assert_eq!(world.resolve(Some(first.as_str())).await.unwrap(), commit);
    }

    #[tokio::test]
    async fn an_abbreviated_commit_is_found_even_when_no_ref_leads_to_it() {
        let world = World::new().await;
        let first = world.commit("page", "1").await;
        world.commit("page", "2").await;

        assert_eq!(world.resolve(Some(&first.as_str()[..9])).await.unwrap().commit, first);
        assert!(matches!(world.resolve(Some("0123456789")).await, Err(GitError::NoSuchRef { .. })));
    }

    #[tokio::test]
    async fn a_missing_ref_an_empty_repository_and_a_missing_one_are_told_apart() {
        let world = World::new().await;
        let empty = world.resolve(None).await.unwrap_err();
        world.commit("page", "1").await;
        let no_ref = world.resolve(Some("mian")).await.unwrap_err();
        std::fs::rename(world.path("app"), world.path("gone")).unwrap();
        let missing = world.resolve(None).await.unwrap_err();

        assert_eq!(
            [empty.code(), no_ref.code(), missing.code()],
            ["repository_empty", "git_ref_not_found", "repository_not_found"]
        );
        assert!(no_ref.to_string().ends_with("no branch, tag or commit `mian`; there is `main`"));
    }
}
