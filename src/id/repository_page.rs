//! The address of a page that shows a part of a repository, as a person copies it from the browser.
//!
//! GitHub: `/tree/REF/PATH`, `/blob/REF/FILE`, `/commit/ID`, `/pull/7`, `/releases/tag/TAG`. GitLab has the same behind
//! `/-/`, with `merge_requests`. Gitea: `/src/branch/REF/PATH`, `/src/tag/...`, `/src/commit/...`. Bitbucket:
//! `/src/REF/PATH`. A ref may hold slashes, so where it ends is known to the remote alone: see [`RefPath`].

use percent_encoding::percent_decode_str;

use super::error::IdError;
use super::{CommitId, DockerfilePath, GitRef, RepositoryUrl, SourceDirectory};

/// Hosts on which a repository's address has two parts: whatever follows is a page.
const TWO_PART_HOSTS: [&str; 3] = ["github.com", "www.github.com", "bitbucket.org"];

/// A repository, and what a page of it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryPage {
    /// The repository.
    pub repository: RepositoryUrl,
    /// What the address says besides; nothing when it is the repository's own.
    pub shows: Option<Shown>,
}

/// What a page shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// The repository at a commit, a tag or the last commit of a change.
    Ref(GitRef),
    /// A directory or a file at a ref.
    Path(RefPath),
}

/// A ref and a path below it in one text, such as `feature/x/services/api`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefPath {
    parts: Vec<String>,
    /// How many of the parts are the ref, where the address tells.
    known: Option<usize>,
    kind: RefKind,
    is_file: bool,
    /// The person has spoken of another ref since: only the path counts.
    without_ref: bool,
}

/// What a ref can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RefKind {
    Any,
    Branch,
    Tag,
}

/// Where in a repository a [`RefPath`] leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefLocation {
    /// The ref; none for the default branch.
    pub git_ref: Option<GitRef>,
    /// The directory; none for the root.
    pub directory: Option<SourceDirectory>,
    /// The Dockerfile, when the page shows one.
    pub dockerfile: Option<DockerfilePath>,
}

impl RepositoryPage {
    /// The rule that every address of a page keeps.
    const RULE: &'static str = "the address of a git repository such as `https://github.com/owner/name`, or of its page for a branch, tag, commit, directory, file, release or pull request";

    /// Accepts whatever [`RepositoryUrl::parse`] does, and the address of a page.
    ///
    /// # Errors
    /// [`IdError`] when it is neither; whatever may be a secret in it is not repeated.
    pub fn parse(text: impl Into<String>) -> Result<Self, IdError> {
        let text = text.into();
        let is_https = text.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"));
        if !is_https {
            return Ok(Self { repository: RepositoryUrl::parse(text)?, shows: None });
        }
        let (address, query) = text.split_once(['?', '#']).unwrap_or((text.as_str(), ""));
        if ["token", "password", "secret"].iter().any(|word| query.to_ascii_lowercase().contains(word)) {
            let rule = "an address without credentials; send a token as `git_token` instead";
            return Err(IdError::new(address, rule));
        }
        let parts: Vec<&str> = address[8..].trim_end_matches('/').split('/').collect();
        let Some((&host, path)) = parts.split_first() else { return Err(IdError::new(address, Self::RULE)) };
        let Some((repository, page)) = split_page(host, path) else {
            return Ok(Self { repository: RepositoryUrl::parse(address)?, shows: None });
        };
        let repository = RepositoryUrl::parse(format!("https://{host}/{}", repository.join("/")))?;
        let shows = shown(page, query)?.ok_or_else(|| {
            let rule = format!(
                "the address of a page that shows a branch, tag, commit, directory, file, release or pull request; the repository itself is `{repository}`"
            );
            IdError::new(address, rule)
        })?;
        let shows = match shows {
            Shown::Path(path) if path.parts.len() == 1 => path.location(1)?.git_ref.map(Shown::Ref),
            shows @ (Shown::Path(_) | Shown::Ref(_)) => Some(shows),
        };
        Ok(Self { repository, shows })
    }
}

/// The repository's own path and that of the page; `None` when the whole path may be a repository's.
fn split_page<'a, 'b>(host: &str, path: &'a [&'b str]) -> Option<(&'a [&'b str], &'a [&'b str])> {
    // GitLab: no part of a project's own path is a `-`.
    if let Some(dash) = path.iter().position(|part| *part == "-").filter(|dash| *dash >= 2) {
        return Some((&path[..dash], &path[dash + 1..]));
    }
    let (repository, page) = path.split_at_checked(2)?;
    let keyword = page.first()?;
    if TWO_PART_HOSTS.iter().any(|it| it.eq_ignore_ascii_case(host)) {
        return Some((repository, page));
    }
    let is_repository = page.last().is_some_and(|last| last.strip_suffix(".git").is_some());
    let is_page = page.len() > 1 && KEYWORDS.contains(keyword) && !is_repository;
    is_page.then_some((repository, page))
}

const KEYWORDS: [&str; 12] =
    ["tree", "blob", "src", "raw", "blame", "edit", "commit", "commits", "pull", "pulls", "merge_requests", "releases"];

/// What a page shows, by its path behind the repository's; `None` for one that shows no state of the repository.
fn shown(page: &[&str], query: &str) -> Result<Option<Shown>, IdError> {
    let Some((&keyword, rest)) = page.split_first() else { return Ok(None) };
    let Some(&first) = rest.first() else { return Ok(None) };
    let number = || first.parse::<u32>().ok().filter(|_| first.bytes().all(|b| b.is_ascii_digit()));
    let kind = match query {
        _ if query.contains("ref_type=tags") => RefKind::Tag,
        _ if query.contains("ref_type=heads") => RefKind::Branch,
        _ => RefKind::Any,
    };
    let path = |parts: &[&str], kind, is_file| RefPath::parse(parts, kind, is_file).map(|it| Some(Shown::Path(it)));
    let tag = |parts: &[&str]| {
        let name = decoded(parts)?.join("/");
        GitRef::parse(format!("refs/tags/{name}")).map(|it| Some(Shown::Ref(it)))
    };
    match (keyword, rest) {
        ("src" | "raw", ["branch", git_ref @ ..]) if !git_ref.is_empty() => {
            path(git_ref, RefKind::Branch, shows_file(keyword, git_ref))
        }
        ("src" | "raw", ["tag", git_ref @ ..]) if !git_ref.is_empty() => {
            path(git_ref, RefKind::Tag, shows_file(keyword, git_ref))
        }
        ("src" | "raw", ["commit", git_ref @ ..]) if !git_ref.is_empty() => {
            let found = RefPath::parse(git_ref, RefKind::Any, shows_file(keyword, git_ref))?;
            Ok(Some(Shown::Path(RefPath { known: Some(1), ..found })))
        }
        ("src", _) => match value_of(query, "at") {
            // Bitbucket shows a branch with a slash at its commit, and names it aside.
            Some(branch) => {
                let mut parts: Vec<&str> = branch.split('/').collect();
                let branch = RefPath::parse(&parts, RefKind::Any, false)?;
                parts.extend(&rest[1..]);
                let found = RefPath::parse(&parts, RefKind::Any, shows_file(keyword, &parts))?;
                let known = branch.parts.len().min(found.parts.len());
                Ok(Some(Shown::Path(RefPath { known: Some(known), ..found })))
            }
            None => path(rest, kind, shows_file(keyword, rest)),
        },
        ("commit", _) => GitRef::parse(first).map(|it| Some(Shown::Ref(it))),
        ("commits", [id]) if is_hexadecimal(id) => GitRef::parse(*id).map(|it| Some(Shown::Ref(it))),
        ("tree" | "commits", _) => path(rest, kind, false),
        ("blob" | "blame" | "edit" | "raw", _) => path(rest, kind, true),
        ("pull" | "pulls", [_, "commits", id, ..]) if is_hexadecimal(id) => {
            GitRef::parse(*id).map(|it| Some(Shown::Ref(it)))
        }
        ("pull" | "pulls", _) => {
            number().map(|it| GitRef::parse(format!("refs/pull/{it}/head")).map(Shown::Ref)).transpose()
        }
        ("merge_requests", _) => {
            number().map(|it| GitRef::parse(format!("refs/merge-requests/{it}/head")).map(Shown::Ref)).transpose()
        }
        ("releases", ["tag", name @ ..]) if !name.is_empty() => tag(name),
        // GitLab's; there it comes behind a `-`, and on GitHub a release has the word `tag` before its name.
        ("releases" | "tags", [name]) if *name != "latest" => tag(&[*name]),
        _ => Ok(None),
    }
}

/// Whether a page that shows directories and files alike shows a Dockerfile.
fn shows_file(keyword: &str, parts: &[&str]) -> bool {
    keyword == "raw" || (parts.len() > 1 && parts.last().is_some_and(|name| is_dockerfile(name)))
}

/// Whether a file of this name is a Dockerfile.
fn is_dockerfile(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let is_variant = name.strip_prefix("dockerfile.").is_some_and(|end| end != "dockerignore");
    matches!(name.as_str(), "dockerfile" | "containerfile") || is_variant || name.strip_suffix(".dockerfile").is_some()
}

fn is_hexadecimal(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A value of a query, decoded.
fn value_of(query: &str, name: &str) -> Option<String> {
    let pairs = url::form_urlencoded::parse(query.split('#').next()?.as_bytes());
    pairs.into_owned().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value)
}

/// The parts of a path as they are called, with those that an encoded slash joins taken apart.
fn decoded(parts: &[&str]) -> Result<Vec<String>, IdError> {
    let joined = parts.join("/");
    let text = percent_decode_str(&joined).decode_utf8().map_err(|_| IdError::new(&joined, RepositoryPage::RULE))?;
    let parts: Vec<String> = text.split('/').map(str::to_owned).collect();
    let fits = |part: &String| {
        !matches!(part.as_str(), "" | "." | "..")
            && !part.starts_with('-')
            && !part.contains(|c: char| c == '\\' || c.is_control())
    };
    if parts.iter().all(fits) { Ok(parts) } else { Err(IdError::new(&joined, RepositoryPage::RULE)) }
}

impl RefPath {
    fn parse(parts: &[&str], kind: RefKind, is_file: bool) -> Result<Self, IdError> {
        let mut parts = decoded(parts)?;
        let mut kind = kind;
        if let ["refs", namespace @ ("heads" | "tags"), _, ..] =
            parts.iter().map(String::as_str).collect::<Vec<_>>().as_slice()
        {
            kind = if *namespace == "heads" { RefKind::Branch } else { RefKind::Tag };
            parts.drain(..2);
        }
        GitRef::parse(parts[0].as_str())?;
        let is_commit = CommitId::parse(parts[0].to_ascii_lowercase()).is_ok();
        let known = (parts.len() == 1 || is_commit || parts[0] == "HEAD").then_some(1);
        Ok(Self { parts, known, kind, is_file, without_ref: false })
    }

    /// The same, of which only the path counts.
    #[must_use]
    pub fn without_ref(self) -> Self {
        Self { without_ref: true, ..self }
    }

    /// Where it leads, when the address alone tells.
    ///
    /// # Errors
    /// [`IdError`] when the path is not one.
    #[must_use]
    pub fn certain(&self) -> Option<Result<RefLocation, IdError>> {
        self.known.map(|count| self.location(count))
    }

    /// Where it leads when the ref is this one; `None` when it is another one.
    ///
    /// # Errors
    /// [`IdError`] when the path is not one.
    #[must_use]
    pub fn at(&self, git_ref: &GitRef) -> Option<Result<RefLocation, IdError>> {
        let counts = self.known.map_or(1..=self.parts.len(), |known| known..=known);
        let count = counts.into_iter().find(|count| self.parts[..*count].join("/") == git_ref.short())?;
        let git_ref = Some(git_ref.clone()).filter(|_| !self.without_ref);
        Some(self.location(count).map(|it| RefLocation { git_ref, ..it }))
    }

    /// Whether it names another ref than this one.
    #[must_use]
    pub fn contradicts(&self, git_ref: &GitRef) -> bool {
        !self.without_ref && self.at(git_ref).is_none()
    }

    /// Where it leads, with the longest ref that is there; with the first part as the ref when none is.
    ///
    /// # Errors
    /// [`IdError`] when the path is not one.
    pub fn resolve(&self, is_there: impl Fn(&str) -> bool) -> Result<RefLocation, IdError> {
        let names = |count: usize| {
            let name = self.parts[..count].join("/");
            let (branch, tag) = (format!("refs/heads/{name}"), format!("refs/tags/{name}"));
            match self.kind {
                RefKind::Any => vec![branch, tag],
                RefKind::Branch => vec![branch],
                RefKind::Tag => vec![tag],
            }
        };
        let longest = || (1..=self.parts.len()).rev().find(|count| names(*count).iter().any(|name| is_there(name)));
        self.location(self.known.or_else(longest).unwrap_or(1))
    }

    /// Where it leads when so many parts are the ref.
    fn location(&self, count: usize) -> Result<RefLocation, IdError> {
        let (name, path) = (self.parts[..count].join("/"), &self.parts[count..]);
        let git_ref = match self.kind {
            _ if self.without_ref || name == "HEAD" => None,
            RefKind::Any | RefKind::Branch => Some(GitRef::parse(name)?),
            // A branch of that name would be found first.
            RefKind::Tag => Some(GitRef::parse(format!("refs/tags/{name}"))?),
        };
        let (directory, file) = match path.split_last() {
            Some((file, directory)) if self.is_file => (directory, Some(file)),
            Some(_) | None => (path, None),
        };
        let directory = if directory.is_empty() { None } else { Some(SourceDirectory::parse(directory.join("/"))?) };
        let is_dockerfile = file.is_some_and(|name| is_dockerfile(name));
        let dockerfile = if is_dockerfile { Some(DockerfilePath::parse(path.join("/"))?) } else { None };
        Ok(RefLocation { git_ref, directory, dockerfile })
    }

    /// The ref and the path in one text.
    #[must_use]
    pub fn text(&self) -> String {
        self.parts.join("/")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

    /// The repository, and what the page shows on a remote that has these branches and the tag `v1`.
    fn read(text: &str) -> String {
        let page = match RepositoryPage::parse(text) {
            Ok(page) => page,
            Err(error) => return format!("refused: {error}"),
        };
        let there = ["refs/heads/main", "refs/heads/feature/x", "refs/tags/v1", "refs/heads/v1", "refs/tags/rel/2"];
        let shown = match page.shows {
            None => String::new(),
            Some(Shown::Ref(git_ref)) => format!(" at {git_ref}"),
            Some(Shown::Path(path)) => {
                let it = path.resolve(|name| there.contains(&name)).unwrap();
                let git_ref = it.git_ref.map(|it| format!(" at {it}")).unwrap_or_default();
                let directory = it.directory.map(|it| format!(" in {it}")).unwrap_or_default();
                let dockerfile = it.dockerfile.map(|it| format!(" by {it}")).unwrap_or_default();
                format!("{git_ref}{directory}{dockerfile}")
            }
        };
        format!("{}{shown}", page.repository)
    }

    #[test]
    fn the_pages_of_the_hosts_are_what_they_show() {
        let github = "https://github.com/a/b";
        let gitlab = "https://gitlab.com/group/sub/b";
        let gitea = "https://git.example.test:3000/a/b";
        let bitbucket = "https://bitbucket.org/a/b";
        let pages = [
            (github, "", ""),
            (github, "/", "/"),
            (github, ".git", ".git"),
            (github, "?tab=readme-ov-file#usage", ""),
            (github, "/tree/main", " at main"),
            (github, "/tree/main/", " at main"),
            (github, "/tree/main?tab=readme#usage", " at main"),
            (github, "/tree/main/services/api", " at main in services/api"),
            (github, "/tree/feature/x", " at feature/x"),
            (github, "/tree/feature/x/services/api/", " at feature/x in services/api"),
            (github, "/tree/feature%2Fx/services", " at feature/x in services"),
            (github, "/tree/refs/heads/main/app", " at main in app"),
            (github, "/tree/HEAD/app", " in app"),
            (github, "/tree/gone/app", " at gone in app"),
            (github, "/tree/v1/app", " at v1 in app"),
            (github, "/blob/main/Dockerfile", " at main by Dockerfile"),
            (github, "/blob/main/services/api/Dockerfile", " at main in services/api by services/api/Dockerfile"),
            (github, "/blob/main/docker/web.Dockerfile", " at main in docker by docker/web.Dockerfile"),
            (github, "/blob/feature/x/app/My%20App/main.py#L10-L12", " at feature/x in app/My App"),
            (github, "/blob/main/README.md?plain=1", " at main"),
            (github, "/commit/0123456", " at 0123456"),
            (github, "/pull/7", " at refs/pull/7/head"),
            (github, "/pull/7/files", " at refs/pull/7/head"),
            (github, "/pull/7/commits/0123456", " at 0123456"),
            (github, "/releases/tag/v1", " at refs/tags/v1"),
            (gitlab, "/-/tree/main/app?ref_type=heads", " at main in app"),
            (gitlab, "/-/tree/v1/app?ref_type=tags", " at refs/tags/v1 in app"),
            (gitlab, "/-/blob/feature/x/Dockerfile", " at feature/x by Dockerfile"),
            (gitlab, "/-/commit/0123456", " at 0123456"),
            (gitlab, "/-/merge_requests/7/diffs", " at refs/merge-requests/7/head"),
            (gitlab, "/-/releases/v1", " at refs/tags/v1"),
            (gitlab, "/-/tags/v1", " at refs/tags/v1"),
            (gitea, "/src/branch/feature/x/app", " at feature/x in app"),
            (gitea, "/src/branch/main/Dockerfile", " at main by Dockerfile"),
            (gitea, "/src/tag/rel/2/app", " at refs/tags/rel/2 in app"),
            (gitea, "/src/commit/0123456/app", " at 0123456 in app"),
            (gitea, "/pulls/7", " at refs/pull/7/head"),
            (gitea, "/releases/tag/v1", " at refs/tags/v1"),
            (bitbucket, "/src/main/app/", " at main in app"),
            (bitbucket, "/src/0123456789ab/app/?at=feature%2Fx", " at feature/x in app"),
            (bitbucket, "/src/0123456789ab/app?at=refs%2Fheads%2Fmain", " at main in app"),
            (bitbucket, "/src/0123456789ab?at=refs%2Fheads", " at refs/heads"),
            (bitbucket, "/commits/0123456789ab", " at 0123456789ab"),
        ];

        for (repository, page, shown) in pages {
            let (suffix, shown) = match page {
                "/" | ".git" => (page, ""),
                _ => ("", shown),
            };
            assert_eq!(read(&format!("{repository}{page}")), format!("{repository}{suffix}{shown}"));
        }
        assert_eq!(read("HTTPS://github.com/a/b.git/tree/main/app"), "https://github.com/a/b.git at main in app");
        assert_eq!(read(&format!("{github}/tree/{SHA}/app")), format!("{github} at {SHA} in app"));
    }

    #[test]
    fn an_address_that_may_be_a_repository_is_one() {
        let repositories = [
            "https://git.example.test/deep/er/name.git",
            "https://git.example.test/a/b/tree/name.git",
            "https://git.example.test/a/b/c",
            "https://git.example.test/a/tree",
            "https://dev.example/org/My%20Project/_git/name",
            "git@github.com:a/b.git",
            "ssh://git@git.example.test/a/b/tree/main",
            "file:///srv/git/a/tree/main",
        ];

        for text in repositories {
            let page = RepositoryPage::parse(text).unwrap();
            assert_eq!((page.repository.as_str(), page.shows), (text, None));
        }
    }

    #[test]
    fn a_page_that_shows_no_state_of_the_repository_is_refused_with_its_address() {
        for page in ["issues/3", "actions/runs/1", "pull-requests/7", "tree", "releases", "releases/latest", "pull/x"] {
            let said = read(&format!("https://github.com/a/b/{page}"));
            assert!(said.ends_with("the repository itself is `https://github.com/a/b`"), "{said}");
        }
        assert!(read("https://gitlab.com/a/b/-/issues/3").ends_with("is `https://gitlab.com/a/b`"));
    }

    #[test]
    fn a_page_leads_nowhere_else() {
        let refused = [
            "tree/main/../secret",
            "tree/main/%2e%2e/secret",
            "tree/-x/app",
            "tree/main/a%00b",
            "tree/main//app",
            "blob/main/-x/app.py",
            "tree/a..b/app",
            "tree/main/a%5Cb",
            "tree/%ff",
            "commit/-x",
        ];

        for page in refused {
            assert!(read(&format!("https://github.com/a/b/{page}")).starts_with("refused"), "{page}");
        }
        let token = read("https://github.com/a/b/blob/main/Dockerfile?token=hunter2");
        assert!(token.starts_with("refused") && token.contains("`git_token`") && !token.contains("hunter2"), "{token}");
    }

    #[test]
    fn a_ref_that_is_known_says_where_the_path_begins() {
        let Some(Shown::Path(path)) = RepositoryPage::parse("https://github.com/a/b/tree/feature/x/app").unwrap().shows
        else {
            panic!("it shows a path")
        };
        let at =
            |text: &str| path.at(&GitRef::parse(text).unwrap()).map(|it| it.unwrap().directory.unwrap().to_string());

        assert_eq!((at("feature"), at("feature/x")), (Some("x/app".to_owned()), Some("app".to_owned())));
        assert_eq!(at("main"), None);
        assert!(path.contradicts(&GitRef::parse("main").unwrap()));
        assert!(!path.clone().without_ref().contradicts(&GitRef::parse("main").unwrap()));
        assert_eq!(path.without_ref().resolve(|_| false).unwrap().git_ref, None);
    }

    proptest! {
        #[test]
        fn no_address_panics_and_none_leads_out(text in prop_oneof![
            ".{0,80}",
            "https://github.com/a/b/(tree|blob|src|commit|pull|raw|commits)/[a-zA-Z0-9./%?=&#_-]{0,40}",
            "https://bitbucket.org/a/b/src/[a-z/]{0,9}[?]at=(refs(/|%2F)heads)?[a-z%2F/]{0,20}",
            "https://git.example/a/b/(-/)?(tree|blob|src|merge_requests)/(branch/)?[a-zA-Z0-9./%_-]{0,40}",
        ]) {
            let Ok(page) = RepositoryPage::parse(text) else { return Ok(()) };
            if let Some(Shown::Path(path)) = page.shows
                && let Ok(location) = path.resolve(|name| name.len() % 2 == 0)
            {
                let directory = location.directory.map(|it| it.to_string()).unwrap_or_default();
                prop_assert!(!directory.starts_with(['/', '-']) && !directory.split('/').any(|part| part == ".."));
            }
        }
    }
}
