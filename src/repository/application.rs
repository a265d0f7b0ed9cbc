//! Applications that are recognised without a Dockerfile, and the Dockerfile that is made for one.

use figment::providers::{Format as _, Toml};
use serde::{Deserialize, Serialize};

/// How much of a source file is read to find a port or an entry.
pub(super) const MAX_SOURCE_BYTES: u64 = 64 * 1024;

/// What kind of application a Dockerfile was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApplicationKind {
    /// Files that nginx serves as they are.
    StaticSite,
    /// A `package.json` with something to start.
    Node,
    /// Python, with or without a web framework.
    Python,
    /// A `go.mod` with one program.
    Go,
    /// A `Cargo.toml` with a program.
    Rust,
}

impl ApplicationKind {
    /// The kind as a person says it, with its article.
    #[must_use]
    pub fn described(self) -> &'static str {
        match self {
            Self::StaticSite => "a static site",
            Self::Node => "a Node application",
            Self::Python => "a Python application",
            Self::Go => "a Go application",
            Self::Rust => "a Rust application",
        }
    }
}

/// A Dockerfile that was made because the clone has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generated {
    /// What the clone was taken for.
    pub kind: ApplicationKind,
    /// The text of the Dockerfile.
    pub dockerfile: String,
}

/// A kind, its template, and the template's values.
pub(super) type Recognised = (ApplicationKind, &'static str, serde_json::Value);

fn static_site(tree: &Tree, default_port: Port) -> Option<Recognised> {
    let places = ["", "public", "dist", "site", "_site", "build", "out", "www", "html", "docs", "static", "src"];
    let directory = places.iter().find(|directory| tree.is_file(&join(directory, "index.html")))?;
    let directory = if directory.is_empty() { "." } else { directory };
    Some(site(directory, None, default_port))
}

/// Files for nginx: those of a directory, or those that a build leaves after its dependencies were installed.
fn site(directory: &str, install: Option<&str>, default_port: Port) -> Recognised {
    // Ports below 1024 are not for users that are not root.
    let port = if default_port.get() < 1024 { 8080 } else { default_port.get() };
    let values = json!({"directory": format!("{directory}/"), "install": install, "port": port});
    (ApplicationKind::StaticSite, "dockerfile/static", values)
}

fn node(tree: &Tree, hints: &RunHints, default_port: Port) -> Option<Recognised> {
    let package: serde_json::Value = serde_json::from_str(&tree.beginning("package.json", 1 << 20)?).ok()?;
    let script = |name: &str| package["scripts"][name].as_str();
    let main = [package["main"].as_str().unwrap_or("index.js"), "server.js", "app.js"];
    let main = main.into_iter().find(|main| tree.is_file(main));
    let is_page = script("build").is_some()
        && script("start")
            .map_or(main.is_none(), |start| DEVELOPMENT_SERVERS.iter().any(|server| start.contains(server)));
    if is_page {
        let (install, _) = node_install(tree, true);
        return Some(site("", Some(install), default_port));
    }
    let command = if script("start").is_some() { vec!["npm", "start"] } else { vec!["node", main?] };
    let started = script("start").and_then(|it| it.split_whitespace().find(|word| tree.is_file(word))).or(main);
    let in_source = || mentioned_port(&tree.beginning(started?, BEGINNING)?);
    let port = script("start").and_then(mentioned_port).or_else(in_source).or(hints.port).unwrap_or(default_port);
    let build = script("build").is_some();
    let has_hooks = ["preinstall", "install", "postinstall", "prepare"].iter().any(|name| script(name).is_some());
    let (install, by_npm) = node_install(tree, build);
    let needs_more = tree.is_file("npm-shrinkwrap.json") || tree.is_file(".npmrc");
    let install_early = by_npm && !needs_more && !has_hooks && package["workspaces"].is_null();
    Some((
        ApplicationKind::Node,
        "dockerfile/node",
        json!({"install": install, "install_early": install_early, "build": build, "command": command, "port": port}),
    ))
}

/// The command that installs the dependencies, with those of the build where one follows, and whether it is npm's.
fn node_install(tree: &Tree, build: bool) -> (&'static str, bool) {
    let has_lock = tree.is_file("package-lock.json") || tree.is_file("npm-shrinkwrap.json");
    if tree.is_file("pnpm-lock.yaml") {
        ("npx --yes pnpm@10 install --frozen-lockfile", false)
    } else if tree.is_file("yarn.lock") {
        ("npx --yes yarn@1 install --frozen-lockfile", false)
    } else {
        match (has_lock, build) {
            (true, true) => ("npm ci", true),
            (true, false) => ("npm ci --omit=dev", true),
            (false, true) => ("npm install", true),
            (false, false) => ("npm install --omit=dev", true),
        }
    }
}

fn go(tree: &Tree, hints: &RunHints, default_port: Port) -> Option<Recognised> {
    let module = tree.beginning("go.mod", BEGINNING)?;
    let directory = if main_source(tree, "").is_some() {
        String::new()
    } else {
        let programs: Vec<String> = tree
            .directories("cmd")
            .into_iter()
            .take(MOST_SOURCES)
            .filter(|it| main_source(tree, it).is_some())
            .collect();
        let own_name = module.lines().find_map(|line| line.strip_prefix("module "))?.trim().rsplit('/').next()?;
        let preferred = [own_name, "server", "web", "api", "app"].map(|name| join("cmd", name));
        let only = (programs.len() == 1).then(|| programs.first().cloned()).flatten();
        only.or_else(|| preferred.into_iter().find(|it| programs.contains(it)))?
    };
    let source = main_source(tree, &directory)?;
    let port = mentioned_port(&source).or(hints.port).unwrap_or(default_port);
    let package = if directory.is_empty() { ".".to_owned() } else { format!("./{directory}") };
    is_plain(&package).then(|| (ApplicationKind::Go, "dockerfile/go", json!({"package": package, "port": port})))
}

/// The beginning of the file in a directory that makes it a program.
fn main_source(tree: &Tree, directory: &str) -> Option<String> {
    let is_source =
        |name: &str| name.rsplit_once('.').is_some_and(|(stem, end)| end == "go" && !stem.ends_with("_test"));
    let sources = tree.names(directory).into_iter().filter(|name| is_source(name));
    let texts = sources.take(MOST_SOURCES).filter_map(|name| tree.beginning(&join(directory, &name), BEGINNING));
    texts
        .into_iter()
        .filter(|text| text.lines().any(|line| line.trim_end() == "package main"))
        .find(|text| text.contains("func main()"))
}

fn rust(tree: &Tree, hints: &RunHints, default_port: Port) -> Option<Recognised> {
    let manifest: serde_json::Value = Toml::from_str(&tree.beginning("Cargo.toml", 1 << 20)?).ok()?;
    let (package, declared) = (&manifest["package"], manifest["bin"][0]["name"].as_str());
    let name = package["name"].as_str().filter(|_| tree.is_file("src/main.rs"));
    let binary = package["default-run"].as_str().or(declared).or(name).filter(|binary| is_plain(binary))?;
    let source = tree.beginning("src/main.rs", BEGINNING).unwrap_or_default();
    let port = mentioned_port(&source).or(hints.port).unwrap_or(default_port);
    Some((ApplicationKind::Rust, "dockerfile/rust", json!({"binary": binary, "port": port})))
}

/// Whether a text means itself in a shell and in a Dockerfile.
pub(super) fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':'))
}
