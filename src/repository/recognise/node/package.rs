//! A `package.json`: what it says of its scripts, its files and what it depends on.

use serde_json::Value;

use crate::repository::application::{MAX_MANIFEST_BYTES, MAX_SOURCE_BYTES, is_plain};
use crate::repository::tree::{Tree, join};

/// Files that are started when no script says what is.
const MAIN_FILES: [&str; 16] = [
    "server.js",
    "app.js",
    "index.js",
    "main.js",
    "server.mjs",
    "index.mjs",
    "app.mjs",
    "main.mjs",
    "server.cjs",
    "index.cjs",
    "app.cjs",
    "src/server.js",
    "src/index.js",
    "src/app.js",
    "src/main.js",
    "bin/www",
];
/// Commands that serve while somebody writes: never what runs in production.
const DEVELOPMENT_COMMANDS: [&str; 20] = [
    "vite",
    "react-scripts start",
    "ng serve",
    "vue-cli-service serve",
    "webpack serve",
    "webpack-dev-server",
    "next dev",
    "nuxt dev",
    "astro dev",
    "astro preview",
    "gatsby develop",
    "svelte-kit dev",
    "docusaurus start",
    "vitepress dev",
    "eleventy --serve",
    "parcel",
    "nodemon",
    "ts-node-dev",
    "tsx watch",
    "node --watch",
];
/// Packages that are compiled when no binary of theirs fits: they need a compiler and Python (node-gyp, "Installation").
const NATIVE_PACKAGES: [&str; 14] = [
    "argon2",
    "bcrypt",
    "better-sqlite3",
    "canvas",
    "farmhash",
    "libpq",
    "node-pty",
    "node-sass",
    "oracledb",
    "re2",
    "serialport",
    "sqlite3",
    "usb",
    "zeromq",
];

/// A `package.json` with what lies beside it.
pub(super) struct Package<'a> {
    pub(super) tree: &'a Tree,
    pub(super) json: Value,
    /// That of the workspace's root, which says how packages are installed; the same without a member.
    pub(super) root: Value,
    /// The member of the workspace that is meant: its directory, from the root of the workspace.
    pub(super) member: Option<&'a str>,
}

impl<'a> Package<'a> {
    /// Reads the `package.json` of a directory, or of a member of its workspace.
    pub(super) fn read(tree: &'a Tree, member: Option<&'a str>) -> Option<Result<Self, String>> {
        let parsed = |path: &str| {
            let text = tree.read_prefix(path, MAX_MANIFEST_BYTES)?;
            Some(serde_json::from_str::<Value>(text.trim_start_matches('\u{feff}')))
        };
        let path = join(member.unwrap_or_default(), "package.json");
        Some(match parsed(&path)? {
            Ok(json) => {
                let root = member.and_then(|_| parsed("package.json")?.ok()).unwrap_or_else(|| json.clone());
                Ok(Self { tree, json, root, member })
            }
            Err(error) => Err(format!("`{path}` is not valid JSON: {error}")),
        })
    }

    pub(super) fn path(&self, name: &str) -> String {
        join(self.member.unwrap_or_default(), name)
    }

    pub(super) fn is_file(&self, name: &str) -> bool {
        self.tree.is_file(&self.path(name))
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.tree.read_prefix(&self.path(name), MAX_SOURCE_BYTES)
    }

    pub(super) fn script(&self, name: &str) -> Option<&str> {
        self.json["scripts"][name].as_str().map(str::trim).filter(|script| !script.is_empty())
    }

    /// The range under which it depends on a package.
    pub(super) fn dependency(&self, name: &str) -> Option<&str> {
        ["dependencies", "devDependencies"].iter().find_map(|kind| self.json[kind][name].as_str())
    }

    pub(super) fn depends_on(&self, name: &str) -> bool {
        self.dependency(name).is_some()
    }

    pub(super) fn is_native(&self) -> bool {
        NATIVE_PACKAGES.iter().any(|name| self.depends_on(name))
    }

    pub(super) fn has_members(&self) -> bool {
        !self.json["workspaces"].is_null() || self.tree.is_file("pnpm-workspace.yaml")
    }

    /// The script that starts it in production: one that only develops is none.
    pub(super) fn start_script(&self) -> Option<&'static str> {
        ["start:prod", "start:production", "start"]
            .into_iter()
            .find(|name| self.script(name).is_some_and(|script| !is_development(script)))
    }

    /// The file that is its program, where no script says so.
    pub(super) fn main_file(&self) -> Option<String> {
        let declared = self.json["main"].as_str().map(|main| main.trim_start_matches("./").to_owned());
        let declared = declared
            .filter(|main| is_plain(main) && !main.contains(".."))
            .map(|main| if main.contains('.') { main } else { format!("{main}.js") });
        declared.into_iter().chain(MAIN_FILES.map(str::to_owned)).find(|file| self.is_file(file))
    }

    /// Whether it says what others import, or is built before anything runs.
    pub(super) fn is_library(&self) -> bool {
        ["exports", "types", "typings", "module", "files"].iter().any(|field| !self.json[field].is_null())
            || self.script("build").is_some()
    }

    /// Whether a file looks like a server and not like a library.
    pub(super) fn is_serving(&self, file: &str) -> bool {
        self.text(file).is_some_and(|text| {
            [".listen(", "createServer(", "Bun.serve(", "serve("].iter().any(|mark| text.contains(mark))
        })
    }
}

/// Whether a script serves only while somebody writes.
fn is_development(script: &str) -> bool {
    let is_at_work = |part: &str, command: &str| {
        let rest = part.trim().trim_start_matches("npx ").strip_prefix(command);
        rest.is_some_and(|rest| rest.is_empty() || (rest.starts_with(' ') && !rest.starts_with(" build")))
    };
    script.split("&&").any(|part| DEVELOPMENT_COMMANDS.iter().any(|command| is_at_work(part, command)))
}
