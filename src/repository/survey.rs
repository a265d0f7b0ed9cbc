//! What lies in a clone that cannot be built as it is: what a refusal tells, so that a person sees the way out.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::application::MAX_MANIFEST_BYTES;
use super::error::listed;
use super::tree::{Tree, is_secondary, join, parent};

/// Names of the file in which Compose describes an application of several containers.
const COMPOSE: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
/// Services that are listed.
const MAX_SERVICES: usize = 10;
/// Directories below the one that is looked at in which applications are looked for, and how many of them.
const DEPTH: usize = 3;
const MAX_APPLICATIONS: usize = 30;
/// Files that may make a directory an application.
const MANIFESTS: [&str; 20] = [
    "package.json",
    "requirements.txt",
    "pyproject.toml",
    "Pipfile",
    "manage.py",
    "go.mod",
    "Cargo.toml",
    "pom.xml",
    "build.gradle",
    "build.gradle.kts",
    "composer.json",
    "Gemfile",
    "mix.exs",
    "app.py",
    "main.py",
    "server.py",
    "wsgi.py",
    "streamlit_app.py",
    "server.js",
    "index.html",
];

/// Directories below one that may hold an application of their own, the nearest first; those inside of another one are left
/// out.
pub(super) fn application_directories(tree: &Tree, base: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for path in tree.files(base, DEPTH) {
        let (directory, name) = (parent(&path), path.rsplit('/').next().unwrap_or_default());
        let is_inside = |other: &String| {
            directory == other || directory.strip_prefix(other.as_str()).is_some_and(|it| it.starts_with('/'))
        };
        let is_page_of_documents =
            name == "index.html" && is_secondary(directory[base.len()..].trim_start_matches('/'));
        if directory != base
            && !is_page_of_documents
            && MANIFESTS.contains(&name)
            && !found.iter().any(is_inside)
            && found.len() < MAX_APPLICATIONS
        {
            found.push(directory.to_owned());
        }
    }
    found
}

/// What is there, in sentences: applications in directories, Dockerfiles, the services of a Compose file.
pub(super) fn seen(tree: &Tree, base: &str, applications: &[String]) -> Vec<String> {
    let mut seen = Vec::new();
    match applications {
        [] => {}
        [one] => seen.push(format!("There is an application in `{one}`: send it as `source_directory`")),
        several => seen.push(format!("There are applications in {}: send one as `source_directory`", listed(several))),
    }
    let mut dockerfiles = tree.nested_dockerfiles(base);
    dockerfiles.extend(tree.dockerfile_variants(base));
    if !dockerfiles.is_empty() {
        seen.push(format!(
            "There are Dockerfiles in places that are not taken by themselves: {}; send one as `dockerfile_path`",
            listed(&dockerfiles)
        ));
    }
    seen.extend(compose(tree, base));
    seen
}

/// What the Compose file of a directory says: its services, and from what each is made.
pub(super) fn compose(tree: &Tree, base: &str) -> Option<String> {
    let (name, text) =
        COMPOSE.iter().find_map(|name| Some((*name, tree.read_prefix(&join(base, name), MAX_MANIFEST_BYTES)?)))?;
    let Ok(file) = serde_saphyr::from_str::<ComposeFile>(&text) else {
        return Some(format!("`{name}` is not valid YAML; Compose files are not run here"));
    };
    let services =
        file.services.iter().take(MAX_SERVICES).map(|(name, service)| match (service.context(), &service.image) {
            (Some(context), _) => format!("`{name}` (built in `{context}`)"),
            (None, Some(image)) => format!("`{name}` (image `{image}`)"),
            (None, None) => format!("`{name}`"),
        });
    let services = services.collect::<Vec<_>>().join(", ");
    Some(format!(
        "`{name}` describes the services {services}; Compose files are not run here: deploy each by its Dockerfile"
    ))
}

/// The part of a Compose file that matters (Compose Specification, "Services top-level element").
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ComposeFile {
    services: BTreeMap<String, Service>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Service {
    image: Option<String>,
    build: Option<serde_json::Value>,
}

impl Service {
    /// The directory of its build context.
    fn context(&self) -> Option<&str> {
        let build = self.build.as_ref()?;
        build.as_str().or_else(|| build["context"].as_str())
    }
}
