//! The address of a git repository, read so strictly that git and this server cannot understand it differently.

use std::fmt;
use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use super::error::IdError;

/// Where a git repository lies: https, ssh (also `user@host:path`) or file.
///
/// Whether the host is allowed is the settings' business (`GIT_ALLOWED_HOSTS`), not the value's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryUrl {
    text: String,
    url: url::Url,
}

impl RepositoryUrl {
    /// The rule that every value keeps.
    pub const RULE: &'static str = "the address of a git repository such as `https://github.com/owner/name`";

    /// Accepts an `https://`, `ssh://`, `file://` or `user@host:path` address without a password in it.
    ///
    /// What is handed to git is the text, what is checked against the allow-list is the parsed host. So the text is
    /// taken apart here too, and refused wherever a second reader could see another host or another path in it.
    ///
    /// # Errors
    /// [`IdError`] when it is none; whatever may be a secret in it is not repeated.
    pub fn parse(text: impl Into<String>) -> Result<Self, IdError> {
        let text = text.into();
        let parts = RepositoryParts::of(&text);
        if parts.as_ref().is_some_and(RepositoryParts::has_credentials) {
            let rule = "an address without credentials; send a token as `git_token` instead";
            return Err(IdError::new("https://***@...", rule));
        }
        parts
            .filter(RepositoryParts::fit)
            .and_then(|parts| {
                let url = url::Url::parse(&parts.full()).ok()?;
                let host = url.host_str().unwrap_or_default();
                let is_plain = host.eq_ignore_ascii_case(parts.host) && url.path() == format!("/{}", parts.path);
                is_plain.then(|| Self { text: parts.text(), url })
            })
            .ok_or_else(|| IdError::new(&without_secrets(&text), Self::RULE))
    }

    /// The address as it was given, but the scheme in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `https`, `ssh` or `file`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.url.scheme()
    }

    /// The host in lower case, with its port where one other than the scheme's own is given; empty for a file.
    #[must_use]
    pub fn host_and_port(&self) -> String {
        let host = self.url.host_str().unwrap_or_default().to_ascii_lowercase();
        match self.url.port() {
            Some(port) if !(port == 22 && self.url.scheme() == "ssh") => format!("{host}:{port}"),
            _ => host,
        }
    }

    /// The path on the host (or the file's path), with its leading `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.url.path()
    }

    /// The last part of the path without `.git`, reduced to what a DNS label may hold; `app` when nothing is left.
    #[must_use]
    pub fn name(&self) -> String {
        let path = self.url.path().trim_end_matches('/');
        let last = path.rsplit('/').next().unwrap_or_default();
        let last = last.strip_suffix(".git").unwrap_or(last);
        let label: String =
            last.to_ascii_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let label = label.trim_matches('-');
        if label.is_empty() { "app".to_owned() } else { label.to_owned() }
    }

    /// The same for two spellings of one repository: host in lower case, no `.git`, no `/` at the end, no scheme.
    #[must_use]
    pub fn identity(&self) -> String {
        let path = self.url.path().trim_end_matches('/');
        format!("{}{}", self.host_and_port(), path.strip_suffix(".git").unwrap_or(path))
    }
}

/// The text of a repository's address, taken apart without interpretation.
struct RepositoryParts<'a> {
    scheme: String,
    /// The whole text when it was written as `user@host:path`.
    scp_form: Option<&'a str>,
    user: Option<&'a str>,
    host: &'a str,
    port: Option<&'a str>,
    path: &'a str,
}

impl<'a> RepositoryParts<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let Some((scheme, rest)) = text.split_once("://") else {
            let (user, rest) = text.split_once('@')?;
            let (host, path) = match rest.find(']') {
                Some(end) if rest.starts_with('[') => (&rest[..=end], rest[end + 1..].strip_prefix(':')?),
                _ => rest.split_once(':')?,
            };
            let path = path.strip_prefix('/').unwrap_or(path);
            return Some(Self {
                scheme: "ssh".to_owned(),
                scp_form: Some(text),
                user: Some(user),
                host,
                port: None,
                path,
            });
        };
        let (authority, path) = rest.split_once('/')?;
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let (host, port) = match host.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (host, None),
        };
        Some(Self { scheme: scheme.to_ascii_lowercase(), scp_form: None, user, host, port, path })
    }

    /// A password, or any login with https, where it is a token.
    fn has_credentials(&self) -> bool {
        self.user.is_some_and(|user| user.contains(':') || matches!(self.scheme.as_str(), "https" | "http"))
    }

    fn fit(&self) -> bool {
        let word = |text: &str| {
            !text.is_empty()
                && !text.starts_with('-')
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        };
        // No part of a name is empty: nothing would be there, and `..` reads as a way up.
        let name = |host: &str| word(host) && !host.split('.').any(str::is_empty);
        let in_brackets = |host: &str| {
            let inner = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
            inner.is_some_and(|it| it.parse::<std::net::Ipv6Addr>().is_ok())
        };
        let place_fits = match self.scheme.as_str() {
            "https" | "ssh" => {
                (name(self.host) || in_brackets(self.host))
                    && self.user.is_none_or(word)
                    && self.port.is_none_or(|port| port.parse::<NonZeroU16>().is_ok() && !port.starts_with(['+', '0']))
            }
            "file" => self.host.is_empty() && self.user.is_none() && self.port.is_none(),
            _ => false,
        };
        let path = self.path.strip_suffix('/').unwrap_or(self.path);
        place_fits && path.len() <= 2048 && path.split('/').all(path_part_fits)
    }

    /// The address as a URL.
    fn full(&self) -> String {
        let user = self.user.map(|user| format!("{user}@")).unwrap_or_default();
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{user}{}{port}/{}", self.scheme, self.host, self.path)
    }

    /// The address as it was written, but the scheme in lower case.
    fn text(&self) -> String {
        self.scp_form.map_or_else(|| self.full(), str::to_owned)
    }
}

/// One part of a repository's path, in its encoded form: no dots alone, no option, nothing hidden by `%`.
fn path_part_fits(part: &str) -> bool {
    let hides = |code: &str| part.to_ascii_lowercase().contains(code);
    !part.is_empty()
        && part != "."
        && part != ".."
        && !part.starts_with('-')
        && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-~+@=,:!%()".contains(c))
        && !["%0", "%1", "%25", "%2d", "%2e", "%2f", "%5c", "%7f"].into_iter().any(hides)
}

/// A refused address as a message may show it: no login, no query.
fn without_secrets(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = text.split_once("://").map_or((None, text), |(scheme, rest)| (Some(scheme), rest));
    let rest = match rest.rsplit_once('@') {
        Some(("git", rest)) => format!("git@{rest}"),
        Some((_, rest)) => format!("***@{rest}"),
        None => rest.to_owned(),
    };
    scheme.map_or(rest.clone(), |scheme| format!("{scheme}://{rest}"))
}

impl fmt::Display for RepositoryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for RepositoryUrl {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        Self::parse(text)
    }
}

impl From<RepositoryUrl> for String {
    fn from(url: RepositoryUrl) -> String {
        url.text
    }
}
