//! Why a repository cannot be read, recognised from what git prints.

use std::time::Duration;

use crate::tool::ToolError;
use crate::tool::program_error::ProgramError;

/// Says why a repository could not be looked at or cloned.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The settings do not allow the host.
    #[error("`{host}` is not an allowed git host; allowed are: {allowed}")]
    HostNotAllowed {
        /// Host, with its port where one is given; or `file://` and the path.
        host: String,
        /// What is allowed.
        allowed: String,
    },
    /// There is no repository at that address.
    #[error("there is no repository at `{url}`{}", if *.with_token { ", or the token may not read it" } else { ", or it is private" })]
    NotFound {
        /// The repository.
        url: String,
        /// Whether a token was sent.
        with_token: bool,
    },
    /// The repository wants a token, or refuses the one that it got.
    #[error("{}", no_access(.url, *.with_token))]
    NoAccess {
        /// The repository.
        url: String,
        /// Whether a token was sent.
        with_token: bool,
    },
    /// The host sends on to another address. That one is not followed: it was not checked against the allowed hosts.
    #[error("`{url}` has moved to another address")]
    Moved {
        /// The repository.
        url: String,
    },
    /// No branch, tag or commit has that name.
    #[error("`{url}` has no branch, tag or commit `{wanted}`{}", existing_list(.existing))]
    NoSuchRef {
        /// The repository.
        url: String,
        /// What was asked for.
        wanted: String,
        /// Up to five that are there, the most similar first.
        existing: Vec<String>,
    },
    /// Nothing was ever pushed.
    #[error("the repository `{url}` is empty")]
    EmptyRepository {
        /// The repository.
        url: String,
    },
    /// It is larger than the settings allow.
    #[error("the repository `{url}` takes more than {} MiB", .limit_bytes.div_ceil(1 << 20))]
    TooLarge {
        /// The repository.
        url: String,
        /// `CLONE_MAX_BYTES`.
        limit_bytes: u64,
    },
    /// The host took too long.
    #[error("`{url}` was not read within {} s", .limit.as_secs())]
    TimedOut {
        /// The repository.
        url: String,
        /// The limit.
        limit: Duration,
    },
    /// The host does not answer, or says that it cannot right now.
    #[error("`{url}` cannot be reached: {reason}")]
    Unreachable {
        /// The repository.
        url: String,
        /// What git said.
        reason: String,
    },
    /// The host's certificate or host key is not trusted.
    #[error("the identity of the host of `{url}` cannot be verified: {reason}")]
    Untrusted {
        /// The repository.
        url: String,
        /// What git said.
        reason: String,
    },
    /// It has more submodules than anybody keeps.
    #[error("the repository `{url}` has more than {limit} submodules")]
    TooManySubmodules {
        /// The repository of the request.
        url: String,
        /// How many there may be.
        limit: usize,
    },
    /// A submodule went wrong.
    #[error("the submodule `{path}` cannot be fetched")]
    Submodule {
        /// Its directory, from the root of the clone.
        path: String,
        /// How.
        #[source]
        source: Box<GitError>,
    },
    /// Git went wrong in another way.
    #[error(transparent)]
    Tool(ToolError),
}

impl GitError {
    /// Recognises the cause of a failed call.
    pub(super) fn from_tool(error: ToolError, url: &str, with_token: bool) -> Self {
        let url = url.to_owned();
        if let ToolError::TimedOut { limit, .. } = &error {
            return Self::TimedOut { url, limit: *limit };
        }
        let says = |texts: &[&str]| texts.iter().any(|text| error.says(text));
        if says(&MOVED) {
            Self::Moved { url }
        } else if says(&UNREACHABLE) {
            Self::Unreachable { reason: reason(&error), url }
        } else if says(&UNTRUSTED) {
            Self::Untrusted { reason: reason(&error), url }
        } else if says(&NO_ACCESS) {
            Self::NoAccess { url, with_token }
        } else if is_not_found(&error) {
            Self::NotFound { url, with_token }
        } else {
            Self::Tool(error)
        }
    }
}

impl GitError {
    /// Whether the repository cannot be had, however often and with however much room it is tried.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::HostNotAllowed { .. }
            | Self::NotFound { .. }
            | Self::NoAccess { .. }
            | Self::Moved { .. }
            | Self::NoSuchRef { .. }
            | Self::EmptyRepository { .. }
            | Self::Untrusted { .. } => true,
            Self::TooLarge { .. }
            | Self::TimedOut { .. }
            | Self::Unreachable { .. }
            | Self::TooManySubmodules { .. }
            | Self::Submodule { .. }
            | Self::Tool(_) => false,
        }
    }
}

impl ProgramError for GitError {
    fn tool_error(&self) -> Option<&ToolError> {
        if let Self::Submodule { source, .. } = self {
            return source.tool_error();
        }
        if let Self::Tool(error) = self { Some(error) } else { None }
    }

    fn is_transient(&self) -> bool {
        if let Self::Submodule { source, .. } = self {
            return source.is_transient();
        }
        matches!(self, Self::Unreachable { .. }) || matches!(self, Self::Tool(error) if error.is_transient())
    }

    fn code(&self) -> &'static str {
        match self {
            Self::HostNotAllowed { .. } => "git_host_not_allowed",
            Self::NotFound { .. } => "repository_not_found",
            Self::NoAccess { .. } => "repository_no_access",
            Self::Moved { .. } => "repository_moved",
            Self::NoSuchRef { .. } => "git_ref_not_found",
            Self::EmptyRepository { .. } => "repository_empty",
            Self::TooLarge { .. } | Self::TooManySubmodules { .. } => "repository_too_large",
            Self::TimedOut { .. } => "clone_timed_out",
            Self::Unreachable { .. } => "git_host_unreachable",
            Self::Untrusted { .. } => "git_host_untrusted",
            Self::Submodule { source, .. } => source.code(),
            Self::Tool(ToolError::Ssh(error)) => error.code(),
            Self::Tool(_) => "clone_failed",
        }
    }

    fn next_step(&self) -> String {
        match self {
            Self::HostNotAllowed { host, .. } => {
                format!("Add `{host}` to `GIT_ALLOWED_HOSTS` and start the server again")
            }
            Self::NotFound { with_token: false, .. } => {
                "Check `github_repo_url`; if the repository is private, send a token that may read it as `git_token`"
                    .to_owned()
            }
            Self::NotFound { with_token: true, .. } => {
                "Check `github_repo_url`, and that the token in `git_token` may read this repository".to_owned()
            }
            Self::NoAccess { with_token: false, .. } => {
                "Check `github_repo_url`; if the repository is private, send a token that may read it as `git_token` \
                 (for an ssh address, give the server's user a key)"
                    .to_owned()
            }
            Self::NoAccess { with_token: true, .. } => {
                "Send a `git_token` that is still valid and may read the contents of this repository".to_owned()
            }
            Self::Moved { .. } => "Open the address in a browser and send the one that it leads to".to_owned(),
            Self::NoSuchRef { .. } => {
                "Send the name of a branch, a tag or a commit that was pushed as `git_ref`".to_owned()
            }
            Self::EmptyRepository { .. } => "Push the application and a Dockerfile to it, then try again".to_owned(),
            Self::TooLarge { .. } => "Make the repository smaller, or raise `CLONE_MAX_BYTES`".to_owned(),
            Self::TimedOut { .. } => "Check that the host answers, or raise `CLONE_TIMEOUT_S`".to_owned(),
            Self::Unreachable { .. } => {
                "Check the host's name and the network of the server, then try again".to_owned()
            }
            Self::Untrusted { .. } => {
                "If the host has a certificate of a private authority, set `GIT_SSL_CAINFO` to a file with that \
                 authority; for ssh, check the host key in `git_known_hosts` in the workspace"
                    .to_owned()
            }
            Self::TooManySubmodules { .. } => "Deploy a repository with fewer submodules".to_owned(),
            Self::Submodule { source, .. } => source.next_step(),
            Self::Tool(ToolError::Ssh(error)) => error.next_step(),
            Self::Tool(ToolError::Files { .. }) => {
                "Check that the workspace can be written and has free space".to_owned()
            }
            Self::Tool(ToolError::NotRunnable { .. }) => "Install git, or set `GIT_PROGRAM` to its path".to_owned(),
            Self::Tool(_) => "Read the output of git, then try again".to_owned(),
        }
    }
}

const MOVED: [&str; 5] = ["error: 301", "error: 302", "error: 303", "error: 307", "error: 308"];

const UNREACHABLE: [&str; 22] = [
    "could not resolve host",
    "name or service not known",
    "temporary failure in name resolution",
    "connection refused",
    "connection reset",
    "connection timed out",
    "couldn't connect to server",
    "failed to connect",
    "network is unreachable",
    "no route to host",
    "operation timed out",
    "operation too slow",
    "empty reply from server",
    "ssl_error_syscall",
    "ssl connection timeout",
    "tls connection was non-properly terminated",
    "early eof",
    "unexpected disconnect",
    "error: 429",
    "error: 50",
    "error: 52",
    "http 50",
];

const UNTRUSTED: [&str; 4] =
    ["certificate", "host key verification failed", "remote host identification has changed", "cafile"];

const NO_ACCESS: [&str; 9] = [
    "could not read username",
    "could not read password",
    "terminal prompts disabled",
    "authentication failed",
    "access denied",
    "error: 401",
    "error: 403",
    "permission denied (",
    "write access to repository not granted",
];

const NOT_FOUND: [&str; 4] =
    ["error: 404", "does not appear to be a git repository", "could not be found", "no such file or directory"];

fn is_not_found(error: &ToolError) -> bool {
    let says_so = |line: &String| {
        let line = line.to_ascii_lowercase();
        line.contains("not found") && (line.contains("repository") || line.contains("project"))
    };
    NOT_FOUND.iter().any(|text| error.says(text)) || error.lines().iter().any(says_so)
}

/// The first line in which git says what is wrong, without its own words around it.
fn reason(error: &ToolError) -> String {
    let lines = error.lines();
    let line = lines.iter().find(|line| line.starts_with("fatal:")).or_else(|| lines.iter().find(|it| !it.is_empty()));
    let line = line.map_or("git does not say why", String::as_str);
    let line = line.trim_start_matches("fatal: ").trim_start_matches("error: ");
    match line.split_once("': ") {
        Some((start, rest)) if start.starts_with("unable to access") => rest.to_owned(),
        _ => line.to_owned(),
    }
}

fn no_access(url: &str, with_token: bool) -> String {
    if with_token {
        format!("`{url}` refuses the token, or the token may not read this repository")
    } else {
        format!("`{url}` is private or does not exist")
    }
}

fn existing_list(existing: &[String]) -> String {
    if existing.is_empty() {
        return String::new();
    }
    let names: Vec<String> = existing.iter().map(|name| format!("`{name}`")).collect();
    format!("; there is {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classify(line: &str) -> GitError {
        let lines = vec![line.to_owned()];
        let error = ToolError::Failed { program: "git fetch".to_owned(), status: "exit code 128".to_owned(), lines };
        GitError::from_tool(error, "https://git.test/a/b", false)
    }

    #[test]
    fn what_git_prints_tells_the_cause() {
        let told = [
            ("fatal: repository 'https://git.test/a/b/' not found", "repository_not_found"),
            ("remote: The project you were looking for could not be found.", "repository_not_found"),
            ("fatal: '/srv/none' does not appear to be a git repository", "repository_not_found"),
            ("fatal: could not read Username for 'https://x': terminal prompts disabled", "repository_no_access"),
            ("fatal: Authentication failed for 'https://x'", "repository_no_access"),
            ("git@github.com: Permission denied (publickey).", "repository_no_access"),
            ("fatal: unable to access 'https://x': The requested URL returned error: 403", "repository_no_access"),
            ("fatal: unable to access 'https://x': The requested URL returned error: 301", "repository_moved"),
            ("fatal: unable to access 'https://x': The requested URL returned error: 503", "git_host_unreachable"),
            ("fatal: unable to access 'https://x': Could not resolve host: x", "git_host_unreachable"),
            ("ssh: connect to host x port 22: Connection refused", "git_host_unreachable"),
            ("fatal: unable to access 'https://x': server certificate verification failed.", "git_host_untrusted"),
            ("Host key verification failed.", "git_host_untrusted"),
            ("fatal: something else", "clone_failed"),
        ];

        assert_eq!(told.map(|(line, _)| classify(line).code()), told.map(|(_, code)| code));
    }

    #[test]
    fn a_host_that_cannot_be_reached_is_worth_another_try_and_says_why() {
        let error = classify("fatal: unable to access 'https://git.test/a/b': Could not resolve host: git.test");

        assert!(error.is_transient());
        assert_eq!(error.to_string(), "`https://git.test/a/b` cannot be reached: Could not resolve host: git.test");
    }

    #[test]
    fn a_missing_ref_names_what_is_there() {
        let existing = vec!["main".to_owned(), "next".to_owned()];
        let error = GitError::NoSuchRef { url: "https://git.test/a".to_owned(), wanted: "mian".to_owned(), existing };

        assert_eq!(
            error.to_string(),
            "`https://git.test/a` has no branch, tag or commit `mian`; there is `main`, `next`"
        );
        assert_eq!(error.failure().code, "git_ref_not_found");
    }
}
