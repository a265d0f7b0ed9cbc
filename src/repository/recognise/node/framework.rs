//! Frameworks of Node that build what runs: which of it is a server and which a page.

use crate::repository::application::words;

use crate::repository::tree::join;

use super::package::Package;
use super::package_manager::PackageManager;
use super::start::Start;

/// A framework, as the application is set up.
pub(super) enum Framework {
    /// It leaves files.
    Page {
        /// Its name.
        name: &'static str,
        /// The directory with the files; found after the build when it is not known.
        directory: Option<String>,
    },
    /// It leaves a server.
    Next {
        is_standalone: bool,
    },
    Nuxt,
    SvelteKit {
        adapter: SvelteAdapter,
    },
    AstroServer,
    /// It cannot be run as it is set up.
    Refused(String),
}

/// Which adapter an application of `SvelteKit` is built with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SvelteAdapter {
    Node,
    /// `adapter-auto`, which makes nothing outside of the platforms that it knows.
    Auto,
}

impl Framework {
    /// Finds out which one an application uses, the one that stands on others first.
    pub(super) fn of(package: &Package<'_>) -> Option<Self> {
        let page = |name: &'static str, directory: &str| {
            let directory = (!directory.is_empty()).then(|| directory.to_owned());
            Some(Self::Page { name, directory })
        };
        let config = |names: &[&str]| names.iter().find_map(|name| package.text(name)).unwrap_or_default();
        if package.depends_on("next") {
            let text = config(&["next.config.js", "next.config.mjs", "next.config.ts", "next.config.cjs"]);
            let output = setting(&text, "output");
            return match output {
                Some("export") => page("Next.js", "out"),
                output => Some(Self::Next { is_standalone: output == Some("standalone") }),
            };
        }
        if package.depends_on("nuxt") {
            let is_generated = package.script("build").is_some_and(|script| script.contains("generate"));
            return if is_generated { page("Nuxt", ".output/public") } else { Some(Self::Nuxt) };
        }
        if package.depends_on("@sveltejs/kit") {
            let text = config(&["svelte.config.js", "svelte.config.ts", "svelte.config.mjs"]);
            let adapter = text.split(['"', '\'']).find_map(|word| word.strip_prefix("@sveltejs/adapter-"));
            return match adapter {
                Some("static") => page("SvelteKit", "build"),
                Some("node") => Some(Self::SvelteKit { adapter: SvelteAdapter::Node }),
                Some("auto") => Some(Self::SvelteKit { adapter: SvelteAdapter::Auto }),
                other => Some(Self::Refused(format!(
                    "SvelteKit is set up for {}, which leaves nothing that runs in a container. Use `@sveltejs/adapter-node`, \
                     or `@sveltejs/adapter-static` for a page, in `svelte.config.js`",
                    other.map_or_else(
                        || "no adapter that is known here".to_owned(),
                        |it| format!("`@sveltejs/adapter-{it}`")
                    )
                ))),
            };
        }
        if package.depends_on("astro") {
            let text = config(&["astro.config.mjs", "astro.config.js", "astro.config.ts"]);
            return if package.depends_on("@astrojs/node") && !text.contains("middleware") {
                Some(Self::AstroServer)
            } else {
                page("Astro", "dist")
            };
        }
        let pages = [
            ("gatsby", "Gatsby", "public"),
            ("@docusaurus/core", "Docusaurus", "build"),
            ("react-scripts", "Create React App", "build"),
            ("@angular/core", "Angular", ""),
            ("@vue/cli-service", "Vue CLI", "dist"),
            ("@11ty/eleventy", "Eleventy", "_site"),
        ];
        let known = pages.into_iter().find(|(dependency, ..)| package.depends_on(dependency));
        if let Some((_, name, directory)) = known {
            return page(name, directory);
        }
        let script = package.script("build").unwrap_or_default();
        if package.depends_on("vitepress") && !script.is_empty() {
            return page("VitePress", "");
        }
        let has_template = ["public/index.html", "src/index.html"].iter().any(|path| package.is_file(path));
        if script.contains("webpack") && has_template && package.depends_on("webpack") {
            return page("webpack", "dist");
        }
        let is_page = package.is_file("index.html") || script.contains("vite build");
        if package.depends_on("vite") && is_page {
            return page("Vite", "");
        }
        (package.depends_on("parcel") && !script.is_empty())
            .then_some(Self::Page { name: "Parcel", directory: Some("dist".to_owned()) })
    }

    /// What it starts, when it leaves a server.
    pub(super) fn server(&self, package: &Package<'_>, manager: &PackageManager) -> Option<Start> {
        let known = |start: Start| Some(Start { port: Some(3000), ..start });
        let at = |path: &str| package.path(path);
        match self {
            Self::Page { .. } | Self::Refused(_) => None,
            Self::Next { is_standalone: true } => {
                let next = at(".next");
                // In a workspace the server of a member lies below the member's own path.
                let standalone = join(&at(".next/standalone"), package.member.unwrap_or_default());
                // Kubernetes names the pod in `HOSTNAME`, which this server would listen on (Next.js, "output").
                let command = format!("HOSTNAME=0.0.0.0 exec node {standalone}/server.js");
                let finish = format!(
                    "cp -r {next}/static {standalone}/.next/ && if [ -d {public} ]; then cp -r {public} {standalone}/; fi",
                    public = at("public")
                );
                let command = vec!["sh".to_owned(), "-c".to_owned(), command];
                let start = Start::new(command, "Next.js, as a server of its own");
                known(Start { finish: Some(finish), needs_build: true, ..start })
            }
            Self::Next { is_standalone: false } => {
                let command = manager.exec("next start --hostname 0.0.0.0", package.member);
                known(Start { needs_build: true, ..Start::new(command, "Next.js") })
            }
            Self::Nuxt => known(Start::new(words(&format!("node {}", at(".output/server/index.mjs"))), "Nuxt")),
            Self::SvelteKit { adapter } => {
                // The release of the adapter that goes with each of the framework's ("Adapters", Node servers).
                let kit = package.dependency("@sveltejs/kit").unwrap_or_default();
                let version = match kit.trim_start_matches(['^', '~', '>', '=', ' ']).split('.').next() {
                    Some("1") => "@1",
                    Some("2") => "@5",
                    _ => "",
                };
                let start = Start::new(words(&format!("node {}", at("build"))), "SvelteKit");
                known(match adapter {
                    SvelteAdapter::Node => start,
                    SvelteAdapter::Auto => Start {
                        prepare: Some(format!(
                            "npm install --no-save --legacy-peer-deps @sveltejs/adapter-node{version} && sed -i 's/adapter-auto/adapter-node/' {}",
                            at("svelte.config.js")
                        )),
                        warning: Some(
                            "`@sveltejs/adapter-auto` leaves nothing that runs in a container, so the build uses \
                             `@sveltejs/adapter-node`; put that into `svelte.config.js` to keep it."
                                .to_owned(),
                        ),
                        ..start
                    },
                })
            }
            Self::AstroServer => {
                let start =
                    Start::new(words(&format!("node {}", at("dist/server/entry.mjs"))), "Astro with its Node adapter");
                Some(Start { port: Some(4321), ..start })
            }
        }
    }
}

/// The command that builds a page whose `package.json` has no build script.
pub(super) fn build_command(name: &str) -> &'static str {
    match name {
        "Next.js" => "next build",
        "Nuxt" => "nuxt generate",
        "Astro" => "astro build",
        "Gatsby" => "gatsby build",
        "Docusaurus" => "docusaurus build",
        "Create React App" => "react-scripts build",
        "Angular" => "ng build",
        "Vue CLI" => "vue-cli-service build",
        "Eleventy" => "eleventy",
        "Parcel" => "parcel build index.html",
        _ => "vite build",
    }
}

/// The text that a configuration in JavaScript gives to a name: `output: 'export'`.
fn setting<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    lines.into_iter().find_map(|line| {
        let (before, behind) = line.split_once(name)?;
        let is_name = !before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let value = behind.trim_start_matches(['"', '\'']).trim_start().strip_prefix([':', '='])?.trim_start();
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\'' | '`'))?;
        value[1..].split(quote).next().filter(|_| is_name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_read_where_it_is_given() {
        assert_eq!(setting("module.exports = {\n  output: 'export',\n}", "output"), Some("export"));
        assert_eq!(setting("{ reactStrictMode: true, output: \"standalone\" }", "output"), Some("standalone"));
        assert_eq!(setting("// output: 'export'\nconst x = {}", "output"), None);
        assert_eq!(setting("outputFileTracing: true", "output"), None);
    }
}
