//! What a clone without a Dockerfile is, and the Dockerfile that is made for it from `templates/dockerfile/`.
//!
//! The signs are those that the languages themselves use (`package.json`, `go.mod`, ...); nothing is run to find out.

use figment::providers::{Format as _, Toml};
use serde_json::json;

use super::application::{ApplicationKind, Generated, MAX_SOURCE_BYTES, Recognised, is_plain};
use super::error::RepositoryError;
use super::python;
use super::readme::{RunHints, mentioned_port};
use super::tree::{Tree, join};
use crate::id::Port;
use crate::template;

/// Source files of a directory that are looked into.
const MAX_SOURCES: usize = 50;
/// Start scripts that serve a page while it is written; such a page is built and served as files instead.
const DEVELOPMENT_SERVERS: [&str; 6] =
    ["vite", "react-scripts start", "ng serve", "vue-cli-service serve", "webpack serve", "webpack-dev-server"];

/// Takes a clone for the first kind whose signs it has.
///
/// A program comes before a page: an `index.html` beside a `package.json` that starts a server is that server's.
pub(super) fn recognise(
    tree: &Tree,
    hints: &RunHints,
    default_port: Port,
) -> Result<Option<Generated>, RepositoryError> {
    let found = node(tree, hints, default_port)
        .or_else(|| python::recognise(tree, hints, default_port))
        .or_else(|| go(tree, hints, default_port))
        .or_else(|| rust(tree, hints, default_port))
        .or_else(|| static_site(tree, default_port));
    let Some((kind, template, values)) = found else { return Ok(None) };
    let dockerfile = template::render(template, values)?;
    Ok(Some(Generated { kind, dockerfile }))
}

fn static_site(tree: &Tree, default_port: Port) -> Option<Recognised> {
    let places = ["", "public", "dist", "site", "_site", "build", "out", "www", "html", "docs", "static", "src"];
    let directory = places.iter().find(|directory| tree.is_file(&join(directory, "index.html")))?;
    let directory = if directory.is_empty() { "." } else { directory };
    Some(site(directory, None, default_port))
}

/// Files for nginx: those of a directory, or those that a build leaves after its dependencies were installed.
fn site(directory: &str, install: Option<&str>, default_port: Port) -> Recognised {
    // The image runs nginx as a user that is not root, which may not listen on ports below 1024.
    let port = if default_port.get() < 1024 { 8080 } else { default_port.get() };
    let values = json!({"directory": format!("{directory}/"), "install": install, "port": port});
    (ApplicationKind::StaticSite, "dockerfile/static", values)
}

fn node(tree: &Tree, hints: &RunHints, default_port: Port) -> Option<Recognised> {
    let package: serde_json::Value = serde_json::from_str(&tree.read_prefix("package.json", 1 << 20)?).ok()?;
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
    let in_source = || mentioned_port(&tree.read_prefix(started?, MAX_SOURCE_BYTES)?);
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
    let module = tree.read_prefix("go.mod", MAX_SOURCE_BYTES)?;
    let directory = if main_source(tree, "").is_some() {
        String::new()
    } else {
        let programs: Vec<String> = tree
            .directories("cmd")
            .into_iter()
            .take(MAX_SOURCES)
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
    let texts =
        sources.take(MAX_SOURCES).filter_map(|name| tree.read_prefix(&join(directory, &name), MAX_SOURCE_BYTES));
    texts
        .into_iter()
        .filter(|text| text.lines().any(|line| line.trim_end() == "package main"))
        .find(|text| text.contains("func main()"))
}

fn rust(tree: &Tree, hints: &RunHints, default_port: Port) -> Option<Recognised> {
    let manifest: serde_json::Value = Toml::from_str(&tree.read_prefix("Cargo.toml", 1 << 20)?).ok()?;
    let (package, declared) = (&manifest["package"], manifest["bin"][0]["name"].as_str());
    let name = package["name"].as_str().filter(|_| tree.is_file("src/main.rs"));
    let binary = package["default-run"].as_str().or(declared).or(name).filter(|binary| is_plain(binary))?;
    let source = tree.read_prefix("src/main.rs", MAX_SOURCE_BYTES).unwrap_or_default();
    let port = mentioned_port(&source).or(hints.port).unwrap_or(default_port);
    Some((ApplicationKind::Rust, "dockerfile/rust", json!({"binary": binary, "port": port})))
}
