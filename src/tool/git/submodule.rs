//! Submodules: where a commit has them, what `.gitmodules` says their addresses are, and what of them could not be had.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::Failure;
use crate::id::{CommitId, IdError, RepositoryUrl, SourceDirectory};
use crate::tool::git::error::GitError;
use crate::tool::program_error::ProgramError as _;

/// A submodule whose directory stays empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingSubmodule {
    /// Its directory, from the root of the clone.
    pub path: String,
    /// Why it could not be had, and what a person can do.
    pub failure: Failure,
}

impl MissingSubmodule {
    pub(super) fn new(path: &str, message: &str, next_step: &str) -> Self {
        let failure = Failure {
            code: "submodule_unavailable".to_owned(),
            message: format!("the submodule `{path}` cannot be fetched: {message}"),
            next_step: format!("{next_step}. When the build does not need it, name `{path}` in `.dockerignore`"),
            output: Vec::new(),
        };
        Self { path: path.to_owned(), failure }
    }

    /// One whose address is no address of a repository.
    pub(super) fn without_repository(path: &str, error: &IdError) -> Self {
        Self::new(path, &error.to_string(), "Give it an https or ssh address as `url` in `.gitmodules`")
    }

    /// One that its host does not hand out, or that is on a host that is not asked.
    pub(super) fn refused(path: &str, url: &RepositoryUrl, main: &RepositoryUrl, error: &GitError) -> Self {
        let next_step = match error {
            GitError::NotFound { with_token: true, .. } | GitError::NoAccess { with_token: true, .. } => {
                "Check its `url` in `.gitmodules`, and that the token in `git_token` may read that repository too"
                    .to_owned()
            }
            GitError::NotFound { .. } | GitError::NoAccess { .. } if takes_token(url, main) => {
                "Check its `url` in `.gitmodules`; if it is private, send a token that may read it as `git_token`"
                    .to_owned()
            }
            GitError::NotFound { .. } | GitError::NoAccess { .. } => {
                "Check its `url` in `.gitmodules`; `git_token` goes to the host of the repository alone, so a private \
                 submodule has to be there, or be open to an ssh key of the server's user"
                    .to_owned()
            }
            GitError::NoSuchRef { wanted, .. } => {
                format!("Push the commit `{wanted}` to `{url}`, or commit the submodule at one that is there")
            }
            GitError::Moved { .. } => "Change its `url` in `.gitmodules` to the address that it leads to".to_owned(),
            GitError::HostNotAllowed { .. }
            | GitError::EmptyRepository { .. }
            | GitError::TooLarge { .. }
            | GitError::TimedOut { .. }
            | GitError::Unreachable { .. }
            | GitError::Untrusted { .. }
            | GitError::TooManySubmodules { .. }
            | GitError::Submodule { .. }
            | GitError::Tool(_) => error.next_step(),
        };
        let message = error.to_string();
        let message = if message.contains(url.as_str()) { message } else { format!("{message} (it is `{url}`)") };
        Self::new(path, &message, &next_step)
    }
}

/// A directory of a commit that is the commit of another repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gitlink {
    pub(super) path: SourceDirectory,
    pub(super) commit: CommitId,
}

/// Reads what `git ls-tree -d -r` prints. A path that leads out of the tree, or that no person gives a directory, is none.
pub(super) fn gitlinks(printed: &str) -> Vec<Gitlink> {
    let gitlink = |line: &str| {
        let (commit, path) = line.strip_prefix("160000 commit ")?.split_once('\t')?;
        let path = SourceDirectory::parse(path).ok().filter(|it| it.as_str() == path)?;
        Some(Gitlink { path, commit: CommitId::parse(commit).ok()? })
    };
    printed.lines().filter_map(gitlink).collect()
}

/// Reads what `git config --list -z` prints of a `.gitmodules`: the addresses by path. Of two the last one counts, as in git.
pub(super) fn addresses(printed: &str) -> BTreeMap<String, String> {
    let (mut paths, mut urls) = (BTreeMap::new(), BTreeMap::new());
    for (key, value) in printed.split('\0').filter_map(|entry| entry.split_once('\n')) {
        match key.strip_prefix("submodule.").and_then(|key| key.rsplit_once('.')) {
            Some((name, "path")) => drop(paths.insert(name, value.trim_end_matches('/'))),
            Some((name, "url")) => drop(urls.insert(name, value)),
            Some(_) | None => {}
        }
    }
    let address = |(name, path): (&str, &str)| Some((path.to_owned(), (*urls.get(name)?).to_owned()));
    paths.into_iter().filter_map(address).collect()
}

/// The repository that an address of a `.gitmodules` means in the repository `parent`.
///
/// One that begins with `./` or `../` begins at the parent's own address, as git resolves it. An ssh address on the host
/// that the request's repository is read from over https is read in the same way, with the same token: most people have a
/// key there, and the server has none.
pub(super) fn resolve(address: &str, parent: &RepositoryUrl, main: &RepositoryUrl) -> Result<RepositoryUrl, IdError> {
    let url = RepositoryUrl::parse(absolute(address, parent.as_str()))?;
    if url.scheme() == "ssh" && main.scheme() == "https" && url.host_and_port() == main.host_and_port() {
        return RepositoryUrl::parse(format!("https://{}{}", url.host_and_port(), url.path()));
    }
    Ok(url)
}

/// Whether the token of the repository `main` may be sent to where `url` is: to the same host alone.
pub(super) fn takes_token(url: &RepositoryUrl, main: &RepositoryUrl) -> bool {
    url.scheme() == "https" && main.scheme() == "https" && url.host_and_port() == main.host_and_port()
}

/// What git makes of a relative address: each `../` takes the last part of the parent's away, up to its `/` or `:`.
fn absolute(address: &str, parent: &str) -> String {
    if !address.starts_with("./") && !address.starts_with("../") {
        return address.to_owned();
    }
    let (mut base, mut rest, mut separator) = (parent.trim_end_matches('/'), address, '/');
    loop {
        if let Some(after) = rest.strip_prefix("./") {
            rest = after;
        } else if let Some(after) = rest.strip_prefix("../") {
            rest = after;
            let at = base.rfind(['/', ':']).unwrap_or_default();
            separator = if base[at..].starts_with(':') { ':' } else { '/' };
            base = &base[..at];
        } else {
            return format!("{base}{separator}{}", rest.trim_end_matches('/'));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn url(text: &str) -> RepositoryUrl {
        RepositoryUrl::parse(text).unwrap()
    }

    fn resolved(address: &str, parent: &str) -> Option<String> {
        resolve(address, &url(parent), &url(parent)).ok().map(String::from)
    }

    #[test]
    fn a_relative_address_begins_at_the_one_of_its_repository() {
        let cases = [
            ("../lib.git", "https://git.test/team/app.git", Some("https://git.test/team/lib.git")),
            ("../../other/lib/", "https://git.test/team/app/", Some("https://git.test/other/lib")),
            ("./lib", "https://git.test/team/app", Some("https://git.test/team/app/lib")),
            (".././../lib", "https://git.test/a/b/app", Some("https://git.test/a/lib")),
            ("../lib.git", "git@git.test:team/app.git", Some("git@git.test:team/lib.git")),
            ("../../lib.git", "git@git.test:team/app.git", Some("git@git.test:lib.git")),
            ("../lib", "file:///srv/git/app", Some("file:///srv/git/lib")),
            ("../../../../lib", "https://git.test/team/app", None),
            ("..", "https://git.test/team/app", None),
        ];

        assert_eq!(
            cases.map(|(address, parent, _)| resolved(address, parent)),
            cases.map(|it| it.2.map(str::to_owned))
        );
    }

    #[test]
    fn an_address_that_git_would_read_otherwise_is_refused() {
        let parent = "https://git.test/team/app";
        let refused = [
            "/srv/git/lib",
            "git://git.test/lib",
            "http://git.test/lib",
            "ext::sh -c true",
            "-u./x",
            "https://me:word@git.test/lib",
            "https://git.test/../lib",
            "",
        ];

        assert!(refused.iter().all(|address| resolved(address, parent).is_none()));
    }

    #[test]
    fn an_ssh_address_on_the_same_host_is_read_over_https_and_takes_the_token() {
        let main = url("https://git.test/team/app");
        let read = |address: &str| resolve(address, &main, &main).unwrap();

        assert_eq!(read("git@git.test:team/lib.git").as_str(), "https://git.test/team/lib.git");
        assert_eq!(read("git@other.test:team/lib.git").as_str(), "git@other.test:team/lib.git");
        assert!(takes_token(&read("ssh://git@git.test/lib"), &main) && takes_token(&read("../lib"), &main));
        assert!(!takes_token(&read("https://git.test:8443/lib"), &main));
        assert!(!takes_token(&read("https://git.test.evil.test/lib"), &main));
    }

    #[test]
    fn only_directories_inside_the_tree_are_submodules() {
        let id = "a".repeat(40);
        let line = |path: &str| format!("160000 commit {id}\t{path}\n");
        let printed = ["libs/a", "../a", "/a", "a/../b", ".git", "a/.git/b", "\"a\\tb\"", "-a", "b"].map(line).concat();
        let printed = format!("040000 tree {id}\tlibs\n{printed}");

        let paths: Vec<String> = gitlinks(&printed).into_iter().map(|it| it.path.to_string()).collect();

        assert_eq!(paths, ["libs/a", "b"]);
    }

    #[test]
    fn an_address_belongs_to_the_path_beside_it() {
        let printed = "submodule.a.b.path\nlibs/a\0submodule.a.b.url\n../a\0submodule.c.path\nc\0submodule.a.b.url\n../b\0\
                       core.sshcommand\ntouch /x\0";

        assert_eq!(addresses(printed), BTreeMap::from([("libs/a".to_owned(), "../b".to_owned())]));
    }

    proptest! {
        #[test]
        fn whatever_is_printed_is_read(text in "\\PC*", address in "(\\.{0,2}/){0,3}\\PC*") {
            let _ = (gitlinks(&text), addresses(&text));
            let _ = resolved(&address, "git@git.test:team/app.git");
        }
    }
}
