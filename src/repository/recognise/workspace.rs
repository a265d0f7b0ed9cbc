//! Which directory a build begins in when the one that is meant is a member of a workspace: its packages need the others.

use figment::providers::{Format as _, Toml};
use serde_json::Value;

use crate::repository::application::MAX_MANIFEST_BYTES;
use crate::repository::tree::{Tree, has_extension, join, parent};

/// Where a build begins.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::repository) struct Place {
    /// The directory of the context; empty for the root of the clone.
    pub(in crate::repository) context: String,
    /// The member that is meant, from there.
    pub(in crate::repository) member: Option<String>,
}

/// Manifests that make a directory an application of its own.
const MANIFESTS: [&str; 8] = [
    "go.mod",
    "Cargo.toml",
    "package.json",
    "pom.xml",
    "build.gradle",
    "build.gradle.kts",
    "requirements.txt",
    "pyproject.toml",
];

/// Finds the workspace that a directory belongs to: the nearest one above it, of the same language.
pub(in crate::repository) fn place(tree: &Tree, base: &str) -> Place {
    let alone = Place { context: base.to_owned(), member: None };
    let has = |directory: &str, name: &str| tree.is_file(&join(directory, name));
    if base.is_empty() {
        return alone;
    }
    let mut above = parent(base);
    loop {
        let is_of_go_workspace = has(base, "go.mod") && has(above, "go.work");
        let is_of_go = !MANIFESTS.iter().any(|name| has(base, name))
            && tree.names(base).iter().any(|name| has_extension(name, "go"))
            && has(above, "go.mod");
        let is_of_rust = has(base, "Cargo.toml") && !toml(tree, &join(above, "Cargo.toml"))["workspace"].is_null();
        let is_of_node = has(base, "package.json") && is_workspace_of_node(tree, above);
        let is_of_maven = has(base, "pom.xml") && has(above, "pom.xml") && is_module(tree, above, base);
        let is_of_gradle = (has(base, "build.gradle") || has(base, "build.gradle.kts"))
            && (has(above, "settings.gradle") || has(above, "settings.gradle.kts"));
        if is_of_go || is_of_go_workspace || is_of_rust || is_of_node || is_of_maven || is_of_gradle {
            let member = base[above.len()..].trim_start_matches('/').to_owned();
            return Place { context: above.to_owned(), member: Some(member) };
        }
        if above.is_empty() {
            return alone;
        }
        above = parent(above);
    }
}

fn toml(tree: &Tree, path: &str) -> Value {
    tree.read_prefix(path, MAX_MANIFEST_BYTES).and_then(|text| Toml::from_str(&text).ok()).unwrap_or_default()
}

fn is_workspace_of_node(tree: &Tree, directory: &str) -> bool {
    let text = tree.read_prefix(&join(directory, "package.json"), MAX_MANIFEST_BYTES);
    let package: Value = text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    !package["workspaces"].is_null() || tree.is_file(&join(directory, "pnpm-workspace.yaml"))
}

/// Whether a `pom.xml` names a directory below it as a module.
fn is_module(tree: &Tree, above: &str, base: &str) -> bool {
    let text = tree.read_prefix(&join(above, "pom.xml"), MAX_MANIFEST_BYTES).unwrap_or_default();
    let module = base[above.len()..].trim_start_matches('/');
    text.split("<module>").skip(1).filter_map(|it| it.split('<').next()).any(|it| it.trim() == module)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::tests::clone_of;

    #[test]
    fn a_member_is_built_from_its_workspace_and_an_application_of_its_own_is_not() {
        let root = clone_of(&[
            ("go/go.mod", "module x\n"),
            ("go/cmd/api/main.go", "package main\n"),
            ("rust/Cargo.toml", "[workspace]\nmembers = [\"web\"]\n"),
            ("rust/web/Cargo.toml", "[package]\n"),
            ("js/package.json", "{\"workspaces\": [\"apps/*\"]}"),
            ("js/apps/web/package.json", "{}"),
            ("java/pom.xml", "<modules><module>web</module></modules>"),
            ("java/web/pom.xml", "<project/>"),
            ("java/other/pom.xml", "<project/>"),
            ("py/requirements.txt", ""),
            ("works/go.work", ""),
            ("works/api/go.mod", "module api\n"),
        ]);
        let tree = Tree::open(root.path()).unwrap();
        let of = |context: &str, member: Option<&str>| Place {
            context: context.to_owned(),
            member: member.map(str::to_owned),
        };

        assert_eq!(place(&tree, "go/cmd/api"), of("go", Some("cmd/api")));
        assert_eq!(place(&tree, "rust/web"), of("rust", Some("web")));
        assert_eq!(place(&tree, "js/apps/web"), of("js", Some("apps/web")));
        assert_eq!(place(&tree, "java/web"), of("java", Some("web")));
        assert_eq!(place(&tree, "java/other"), of("java/other", None));
        assert_eq!(place(&tree, "works/api"), of("works", Some("api")));
        assert_eq!(place(&tree, "py"), of("py", None));
        assert_eq!(place(&tree, ""), of("", None));
    }
}
