//! The package manager of a Node application: the one that it names, else the one whose lock file it has.

use serde_json::Value;

use crate::repository::application::{MAX_MANIFEST_BYTES, is_plain};
use crate::repository::tree::Tree;

/// What installs packages and runs scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Npm,
    Pnpm,
    /// Yarn 1.
    YarnClassic,
    /// Yarn 2 and later.
    YarnBerry,
    Bun,
}

/// A package manager, and what it finds in a directory.
#[derive(Debug)]
pub(super) struct PackageManager {
    kind: Kind,
    /// Its exact version, or the one that reads the lock file.
    version: Option<String>,
    /// Yarn's own program in the repository.
    program: Option<String>,
    lock: Option<&'static str>,
    /// The file that names it.
    from: &'static str,
    /// Lock files of others that lie beside.
    others: Vec<&'static str>,
}

/// Lock files, those of the more particular managers first.
const LOCKS: [(&str, Kind); 6] = [
    ("bun.lock", Kind::Bun),
    ("bun.lockb", Kind::Bun),
    ("pnpm-lock.yaml", Kind::Pnpm),
    ("yarn.lock", Kind::YarnClassic),
    ("package-lock.json", Kind::Npm),
    ("npm-shrinkwrap.json", Kind::Npm),
];

impl PackageManager {
    /// Finds out which one the root of an application or of its workspace uses.
    pub(super) fn of(tree: &Tree, package: &Value) -> Self {
        let named = package["packageManager"].as_str().and_then(|named| {
            let (name, version) = named.split_once('@')?;
            // A hash may follow (Node.js Corepack, "packageManager").
            let version = version.split('+').next().unwrap_or_default();
            let is_classic = version.starts_with("0.") || version.starts_with("1.");
            let kind = match name {
                "npm" => Kind::Npm,
                "pnpm" => Kind::Pnpm,
                "yarn" if is_classic => Kind::YarnClassic,
                "yarn" => Kind::YarnBerry,
                "bun" => Kind::Bun,
                _ => return None,
            };
            is_plain(version).then(|| (kind, version.to_owned()))
        });
        let locks: Vec<(&'static str, Kind)> = LOCKS.into_iter().filter(|(name, _)| tree.is_file(name)).collect();
        let is_of = |lock: Kind, kind: Kind| lock == kind || (lock == Kind::YarnClassic && kind == Kind::YarnBerry);
        let (kind, version, from) = match (named, locks.first()) {
            (Some((kind, version)), _) => (kind, Some(version), "package.json"),
            (None, Some((name, kind))) => {
                let text = tree.read_prefix(name, MAX_MANIFEST_BYTES).unwrap_or_default();
                let (kind, version) = of_lock(*kind, &text);
                (kind, version.map(str::to_owned), *name)
            }
            (None, None) => (Kind::Npm, None, "package.json"),
        };
        let lock = locks.iter().find(|(_, lock)| is_of(*lock, kind)).map(|(name, _)| *name);
        let others = locks.iter().filter(|(_, lock)| !is_of(*lock, kind)).map(|(name, _)| *name).collect();
        let program = (kind == Kind::YarnBerry).then(|| yarn_program(tree)).flatten();
        Self { kind, version, program, lock, from, others }
    }

    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Npm => "npm",
            Kind::Pnpm => "pnpm",
            Kind::YarnClassic | Kind::YarnBerry => "yarn",
            Kind::Bun => "bun",
        }
    }

    /// Says which one it is, and from where.
    pub(super) fn said(&self) -> String {
        let version = self.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
        format!("packages by {}{version} (`{}`)", self.name(), self.from)
    }

    /// What a person should know of lock files that are not used.
    pub(super) fn warning(&self) -> Option<String> {
        let others = self.others.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let used = self.lock.map_or("no lock file", |lock| lock);
        (!others.is_empty()).then(|| format!("{others} is not used: `{used}` is, with {}.", self.name()))
    }

    /// The command that installs itself; npm is in the image.
    pub(super) fn global(&self) -> Option<String> {
        let package = match self.kind {
            Kind::Npm => self.version.as_ref().map(|_| "npm")?,
            Kind::YarnBerry if self.program.is_some() => return None,
            Kind::YarnBerry => "@yarnpkg/cli-dist",
            Kind::Pnpm | Kind::YarnClassic | Kind::Bun => self.name(),
        };
        let usual = match self.kind {
            Kind::Npm => "11",
            Kind::Pnpm => "10",
            Kind::YarnClassic | Kind::Bun => "1",
            Kind::YarnBerry => "4",
        };
        Some(format!("npm install --global {package}@{}", self.version.as_deref().unwrap_or(usual)))
    }

    /// The command that installs the packages, with those of the build where one follows.
    pub(super) fn install(&self, build: bool) -> String {
        let yarn = self.yarn();
        match (self.kind, self.lock) {
            (Kind::Npm, Some(_)) if build => "npm ci".to_owned(),
            (Kind::Npm, Some(_)) => "npm ci --omit=dev".to_owned(),
            (Kind::Npm, None) if build => "npm install".to_owned(),
            (Kind::Npm, None) => "npm install --omit=dev".to_owned(),
            (Kind::Pnpm, Some(_)) => "pnpm install --frozen-lockfile".to_owned(),
            (Kind::Pnpm, None) => "pnpm install".to_owned(),
            (Kind::YarnClassic, Some(_)) => "yarn install --frozen-lockfile".to_owned(),
            // Releases of one major version write different lock files: another one than wrote it has to change it.
            (Kind::YarnBerry, Some(_)) if self.changes_lock() => format!("{yarn} install --no-immutable"),
            (Kind::YarnBerry, Some(_)) => format!("{yarn} install --immutable"),
            (Kind::YarnClassic | Kind::YarnBerry, None) => format!("{yarn} install"),
            (Kind::Bun, Some(_)) => "bun install --frozen-lockfile".to_owned(),
            (Kind::Bun, None) => "bun install".to_owned(),
        }
    }

    /// What has to be there to install before the sources are, so that the layer outlives changes of those; nothing when
    /// packages lie in the repository, or their scripts run there.
    pub(super) fn needed(&self, tree: &Tree, package: &Value) -> Option<String> {
        let has_hooks =
            ["preinstall", "install", "postinstall", "prepare"].iter().any(|it| package["scripts"][it].is_string());
        let is_local = ["dependencies", "devDependencies"].iter().any(|kind| {
            package[kind].as_object().is_some_and(|it| {
                it.values().filter_map(Value::as_str).any(|range| {
                    ["file:", "link:", "portal:", "workspace:", "patch:"]
                        .iter()
                        .any(|protocol| range.starts_with(protocol))
                })
            })
        });
        let is_shared = !package["workspaces"].is_null() || tree.is_file("pnpm-workspace.yaml");
        let reads_more = ["patches", ".yarn", ".pnpmfile.cjs"].iter().any(|it| tree.exists(it));
        let files: Vec<&str> = ["package.json", ".npmrc", ".yarnrc.yml"]
            .into_iter()
            .filter(|it| tree.is_file(it))
            .chain(self.lock)
            .collect();
        (!self.changes_lock() && !has_hooks && !is_local && !is_shared && !reads_more).then(|| files.join(" "))
    }

    /// Where it keeps what it has downloaded, in the home directory of the image's user.
    pub(super) fn cache(&self) -> &'static str {
        match self.kind {
            Kind::Npm => ".npm",
            Kind::Pnpm => ".local/share/pnpm/store",
            Kind::YarnClassic => ".cache/yarn",
            Kind::YarnBerry => ".yarn/berry/cache",
            Kind::Bun => ".bun/install/cache",
        }
    }

    /// The command that runs a script, of a member of the workspace where one is meant.
    pub(super) fn run(&self, script: &str, member: Option<&str>) -> Vec<String> {
        let yarn = self.yarn();
        let command = match (self.kind, member) {
            (Kind::Npm, None) if script == "start" => "npm start".to_owned(),
            (Kind::Npm, None) => format!("npm run {script}"),
            (Kind::Npm, Some(member)) => format!("npm run {script} --workspace {member}"),
            (Kind::Pnpm, None) => format!("pnpm run {script}"),
            // Three dots take along what the member depends on.
            (Kind::Pnpm, Some(member)) if script == "build" => format!("pnpm --filter ./{member}... run build"),
            (Kind::Pnpm, Some(member)) => format!("pnpm --dir {member} run {script}"),
            (Kind::YarnClassic | Kind::YarnBerry, None) => format!("{yarn} run {script}"),
            (Kind::YarnClassic | Kind::YarnBerry, Some(member)) => format!("{yarn} --cwd {member} run {script}"),
            (Kind::Bun, None) => format!("bun run {script}"),
            (Kind::Bun, Some(member)) => format!("bun --cwd {member} run {script}"),
        };
        command.split(' ').map(str::to_owned).collect()
    }

    /// The command that runs a program of an installed package, in the directory of the member that is meant.
    pub(super) fn exec(&self, command: &str, member: Option<&str>) -> Vec<String> {
        let yarn = self.yarn();
        let text = match (self.kind, member) {
            (Kind::Npm, None) => format!("npx --no-install {command}"),
            (Kind::Npm, Some(member)) => format!("npm exec --no --workspace {member} -- {command}"),
            (Kind::Pnpm, None) => format!("pnpm exec {command}"),
            (Kind::Pnpm, Some(member)) => format!("pnpm --dir {member} exec {command}"),
            (Kind::YarnClassic | Kind::YarnBerry, None) => format!("{yarn} run {command}"),
            (Kind::YarnClassic | Kind::YarnBerry, Some(member)) => format!("{yarn} --cwd {member} run {command}"),
            (Kind::Bun, None) => format!("bun run {command}"),
            (Kind::Bun, Some(member)) => format!("bun --cwd {member} run {command}"),
        };
        text.split(' ').map(str::to_owned).collect()
    }

    /// A variable that it needs: without it, Yarn from version 2 on links packages in a way that `node` alone does not know.
    pub(super) fn environment(&self, tree: &Tree) -> Option<&'static str> {
        let text = tree.read_prefix(".yarnrc.yml", MAX_MANIFEST_BYTES).unwrap_or_default();
        (self.kind == Kind::YarnBerry && !text.contains("nodeLinker:")).then_some("YARN_NODE_LINKER=node-modules")
    }

    /// What runs a file of JavaScript.
    pub(super) fn runtime(&self) -> &'static str {
        if self.kind == Kind::Bun { "bun" } else { "node" }
    }

    /// Whether an install may write another lock file, which the one of the sources must not replace.
    fn changes_lock(&self) -> bool {
        self.kind == Kind::YarnBerry && self.version.is_none() && self.program.is_none()
    }

    fn yarn(&self) -> String {
        self.program.as_ref().map_or_else(|| "yarn".to_owned(), |program| format!("node {program}"))
    }
}

/// Which manager wrote a lock file: the versions of its format are not read by all of its own.
fn of_lock(kind: Kind, text: &str) -> (Kind, Option<&'static str>) {
    let version = |mark: &str| {
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix(mark))?;
        line.trim_matches(|c: char| !c.is_ascii_digit()).split('.').next()?.parse::<u32>().ok()
    };
    match kind {
        Kind::Pnpm => match version("lockfileVersion:") {
            Some(..=5) => (kind, Some("7")),
            Some(6) => (kind, Some("8")),
            _ => (kind, None),
        },
        Kind::YarnClassic if text.contains("__metadata:") => match version("version:") {
            Some(..=6) => (Kind::YarnBerry, Some("3")),
            _ => (Kind::YarnBerry, None),
        },
        Kind::Npm | Kind::YarnClassic | Kind::YarnBerry | Kind::Bun => (kind, None),
    }
}

/// The program that `yarnPath` of `.yarnrc.yml` names, when it is there.
fn yarn_program(tree: &Tree) -> Option<String> {
    let text = tree.read_prefix(".yarnrc.yml", MAX_MANIFEST_BYTES)?;
    let path = text.lines().find_map(|line| line.strip_prefix("yarnPath:"))?.trim().trim_matches(['"', '\'']);
    (is_plain(path) && tree.is_file(path)).then(|| path.trim_start_matches("./").to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::repository::tests::clone_of;

    fn of(files: &[(&str, &str)], package: &Value) -> PackageManager {
        let root = clone_of(files);
        PackageManager::of(&Tree::open(root.path()).unwrap(), package)
    }

    #[test]
    fn the_lock_file_tells_the_manager_and_its_version() {
        let found = |file: &str, text: &str| {
            let it = of(&[(file, text)], &json!({}));
            (it.global().unwrap_or_default(), it.install(true))
        };
        let of = |global: &str, install: &str| (global.to_owned(), install.to_owned());

        assert_eq!(found("package-lock.json", "{}"), of("", "npm ci"));
        assert_eq!(
            found("pnpm-lock.yaml", "lockfileVersion: '9.0'\n"),
            of("npm install --global pnpm@10", "pnpm install --frozen-lockfile")
        );
        assert_eq!(found("pnpm-lock.yaml", "lockfileVersion: 5.4\n").0, "npm install --global pnpm@7");
        assert_eq!(
            found("yarn.lock", "# yarn lockfile v1\n"),
            of("npm install --global yarn@1", "yarn install --frozen-lockfile")
        );
        assert_eq!(
            found("yarn.lock", "__metadata:\n  version: 8\n"),
            of("npm install --global @yarnpkg/cli-dist@4", "yarn install --no-immutable")
        );
        assert_eq!(found("bun.lock", "{}"), of("npm install --global bun@1", "bun install --frozen-lockfile"));
        assert_eq!(found("readme", ""), of("", "npm install"));
    }

    #[test]
    fn the_exact_version_that_is_named_comes_first() {
        let it = of(
            &[("package-lock.json", "{}"), ("pnpm-lock.yaml", "")],
            &json!({"packageManager": "pnpm@9.1.2+sha512.abc"}),
        );

        assert_eq!(it.global().as_deref(), Some("npm install --global pnpm@9.1.2"));
        assert_eq!(it.said(), "packages by pnpm 9.1.2 (`package.json`)");
        assert_eq!(it.warning().as_deref(), Some("`package-lock.json` is not used: `pnpm-lock.yaml` is, with pnpm."));
    }

    #[test]
    fn yarn_of_the_repository_is_run_from_there() {
        let files = [
            ("yarn.lock", "__metadata:\n"),
            (".yarnrc.yml", "yarnPath: .yarn/releases/yarn-4.5.0.cjs\n"),
            (".yarn/releases/yarn-4.5.0.cjs", ""),
        ];
        let it = of(&files, &json!({}));

        assert_eq!(it.global(), None);
        assert_eq!(it.run("start", None).join(" "), "node .yarn/releases/yarn-4.5.0.cjs run start");
    }

    #[test]
    fn packages_are_installed_early_unless_they_lie_in_the_repository() {
        let needed = |files: &[(&str, &str)], package: Value| {
            let root = clone_of(files);
            let tree = Tree::open(root.path()).unwrap();
            PackageManager::of(&tree, &package).needed(&tree, &package)
        };
        let lock = ("package-lock.json", "{}");

        assert_eq!(
            needed(&[lock, ("package.json", "{}")], json!({})).as_deref(),
            Some("package.json package-lock.json")
        );
        assert_eq!(needed(&[lock], json!({"dependencies": {"a": "file:./a"}})), None);
        assert_eq!(needed(&[lock], json!({"scripts": {"postinstall": "x"}})), None);
        assert_eq!(needed(&[lock], json!({"workspaces": ["a"]})), None);
    }
}
