//! Files that nginx serves: those of a directory, or those that a build leaves.

use serde_json::json;

use crate::id::Port;
use crate::repository::application::{ApplicationKind, Look, MAX_SOURCE_BYTES, Recognised};
use crate::repository::tree::{Tree, join};

/// Directories in which a page lies that nothing has to build, the likeliest first.
const PLACES: [&str; 11] = ["", "public", "dist", "site", "_site", "build", "out", "www", "html", "static", "src"];

/// How a page is built.
pub(super) struct Build {
    /// Node's major version.
    pub(super) version: u64,
    /// The command that installs the package manager, when it is not in the image.
    pub(super) global: Option<String>,
    /// A variable that the package manager needs, as `NAME=value`.
    pub(super) environment: Option<&'static str>,
    pub(super) install: String,
    /// The package manager's cache, in the home directory.
    pub(super) cache: &'static str,
    /// The command that builds.
    pub(super) command: String,
    /// The directory of the application in the context; empty for the root.
    pub(super) base: String,
    /// The directory that the build leaves its files in, from that of the application, when it is known.
    pub(super) directory: Option<String>,
}

/// Takes a directory for a page when there is an `index.html` in one of its usual places.
pub(super) fn recognise(tree: &Tree, default_port: Port) -> Look {
    let is_page = |directory: &&&str| {
        // A page with front matter is the source of one that Jekyll makes.
        let text = tree.read_prefix(&join(directory, "index.html"), MAX_SOURCE_BYTES);
        text.is_some_and(|text| !text.starts_with("---"))
    };
    match PLACES.iter().find(is_page) {
        Some(directory) => {
            let mut found = site(if directory.is_empty() { "." } else { directory }, None, default_port);
            found.choices = vec![match *directory {
                "" => "its root is served, with `index.html`".to_owned(),
                directory => format!("the directory `{directory}` is served"),
            }];
            Look::Found(found)
        }
        None => Look::Absent,
    }
}

/// Serves a directory of the context, or what a build leaves.
pub(super) fn site(directory: &str, build: Option<&Build>, default_port: Port) -> Recognised {
    // The image runs nginx as a user that is not root, which may not listen on ports below 1024.
    let port = if default_port.get() < 1024 { 8080 } else { default_port.get() };
    let build = build.map(|it| {
        let left = [
            "dist",
            "build",
            "out",
            "public",
            "_site",
            "dist/*/browser",
            "dist/*",
            "build/client",
            ".output/public",
            "*/.vitepress/dist",
        ];
        let left = it.directory.as_deref().map_or_else(|| left.to_vec(), |directory| vec![directory]);
        let left: Vec<String> = left.into_iter().map(|directory| join(&it.base, directory)).collect();
        json!({
            "version": it.version, "global": it.global, "environment": it.environment, "install": it.install, "cache": it.cache, "command": it.command,
            "left": left,
        })
    });
    let values = json!({"directory": format!("{directory}/"), "build": build, "port": port});
    let (choices, warnings) = (Vec::new(), Vec::new());
    Recognised { kind: ApplicationKind::StaticSite, template: "dockerfile/static", values, choices, warnings }
}
