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
/// Commands that serve while somebody writes, or that run on another machine than a server: never what runs in production.
const DEVELOPMENT_COMMANDS: [&str; 38] = [
    "vite",
    "react-scripts start",
    "craco start",
    "react-app-rewired start",
    "ng serve",
    "ng s",
    "nx serve",
    "ember serve",
    "ember s",
    "vue-cli-service serve",
    "webpack serve",
    "webpack-dev-server",
    "rsbuild dev",
    "rspack serve",
    "umi dev",
    "next dev",
    "next",
    "nuxt dev",
    "nuxi dev",
    "astro dev",
    "astro preview",
    "gatsby develop",
    "svelte-kit dev",
    "remix dev",
    "react-router dev",
    "docusaurus start",
    "vitepress dev",
    "eleventy --serve",
    "parcel",
    "nodemon",
    "ts-node-dev",
    "tsx watch",
    "node --watch",
    "turbo dev",
    "turbo run dev",
    "expo",
    "electron",
    "electron-forge start",
];
/// What may stand before a command.
const WRAPPERS: [&str; 6] = ["npx", "env", "cross-env", "exec", "dotenv", "--"];
/// Scripts that a script may call one after the other.
const MAX_CALLS: usize = 4;

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
        let path = join(member.unwrap_or_default(), "package.json");
        let limit = if member.is_some() { MAX_SOURCE_BYTES } else { MAX_MANIFEST_BYTES };
        let text = tree.read_prefix(&path, limit)?;
        Some(match serde_json::from_str::<Value>(text.trim_start_matches('\u{feff}')) {
            Ok(json) => Ok(Self { tree, root: json.clone(), json, member }),
            Err(error) => Err(format!("`{path}` is not valid JSON: {error}")),
        })
    }

    /// The same, with the `package.json` of the workspace's root, which says how packages are installed.
    pub(super) fn with_root(self) -> Self {
        let root = self.member.and_then(|_| Some(Self::read(self.tree, None)?.ok()?.json));
        Self { root: root.unwrap_or_else(|| self.json.clone()), ..self }
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
            .find(|name| self.script(name).is_some_and(|script| !is_development(self, script, 0)))
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

/// Whether a command serves only while somebody writes. `package` has the scripts that it may call.
fn is_development(package: &Package<'_>, script: &str, calls: usize) -> bool {
    script.split(['&', ';', '|']).any(|part| {
        let words: Vec<&str> = part.split_whitespace().collect();
        let is_before = |word: &&&str| WRAPPERS.contains(*word) || word.contains('=');
        let words = &words[words.iter().take_while(|word| is_before(word)).count()..];
        let called = match words {
            ["npm" | "pnpm" | "yarn" | "bun", "run", name, ..] | ["npm" | "pnpm" | "yarn", name, ..] => {
                package.script(name)
            }
            _ => None,
        };
        if let Some(called) = called {
            return calls < MAX_CALLS && is_development(package, called, calls + 1);
        }
        let command = words.join(" ");
        let is_at_work = |known: &str| {
            let rest = command.strip_prefix(known);
            // `next` alone develops, `next start` serves.
            rest.is_some_and(|rest| {
                rest.is_empty() || (rest.starts_with(' ') && known != "next" && !rest.starts_with(" build"))
            })
        };
        words.contains(&"--watch") || DEVELOPMENT_COMMANDS.iter().any(|known| is_at_work(known))
    })
}
