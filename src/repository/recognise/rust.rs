//! Rust programs: which binary of a package or workspace, and the libraries of the system that its crates link.

use figment::providers::{Format as _, Toml};
use serde_json::{Value, json};

use crate::id::Port;
use crate::repository::application::{
    ApplicationKind, Look, MAX_MANIFEST_BYTES, MAX_SOURCE_BYTES, Recognised, Sourced, first_line, is_plain,
    said_command, said_port, served_port,
};
use crate::repository::readme::RunHints;
use crate::repository::tree::{Tree, is_secondary, join};

use super::procfile::Procfile;

/// Crates that link or run something of the system: what Debian's packages give to the build, and to the program.
const SYSTEM_CRATES: [(&str, &[&str], &[&str]); 11] = [
    ("openssl-sys", &["pkg-config", "libssl-dev"], &["libssl3"]),
    ("pq-sys", &["libpq-dev"], &["libpq5"]),
    ("mysqlclient-sys", &["pkg-config", "default-libmysqlclient-dev"], &["libmariadb3"]),
    ("libsqlite3-sys", &["pkg-config", "libsqlite3-dev"], &["libsqlite3-0"]),
    ("prost-build", &["protobuf-compiler"], &[]),
    ("bindgen", &["clang", "libclang-dev"], &[]),
    ("aws-lc-sys", &["cmake"], &[]),
    ("libz-ng-sys", &["cmake"], &[]),
    ("rdkafka-sys", &["cmake", "g++", "pkg-config", "libssl-dev", "zlib1g-dev"], &["libssl3", "zlib1g"]),
    ("curl-sys", &["pkg-config", "libcurl4-openssl-dev"], &["libcurl4"]),
    ("libgit2-sys", &["cmake", "pkg-config", "libssl-dev"], &["libssl3"]),
];
/// Where the program is in the image.
const PROGRAM: &str = "/usr/local/bin/app";
/// Directories of a workspace below its root that are members at most.
const DEPTH: usize = 3;
/// Members of a workspace that are looked at.
const MAX_MEMBERS: usize = 200;

/// A program that Cargo builds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Binary {
    package: String,
    name: String,
    /// Directory of its package.
    directory: String,
    is_default: bool,
}

/// Takes a package or a workspace for a Rust application. `member` is the package's directory that is meant.
pub(super) fn recognise(
    tree: &Tree,
    member: Option<&str>,
    procfile: &Procfile,
    hints: &RunHints,
    default_port: Port,
) -> Look {
    let Some(text) = tree.read_prefix("Cargo.toml", MAX_MANIFEST_BYTES) else { return Look::Absent };
    if tree.is_file("Trunk.toml") {
        return Look::Lacking("`Trunk.toml` says that it is a page which Trunk builds, for which there is no template: add a `Dockerfile`".to_owned());
    }
    let root: Value = match Toml::from_str(&text) {
        Ok(root) => root,
        Err(error) => return Look::Lacking(format!("`Cargo.toml` is not valid TOML: {error}")),
    };
    let binaries = binaries(tree, &root);
    let binary = match choose(&binaries, member, procfile.program()) {
        Ok(binary) => binary,
        Err(lacking) => return Look::Lacking(lacking),
    };
    let sources =
        [join(&binary.directory, "src/main.rs"), join(&binary.directory, &format!("src/bin/{}.rs", binary.name))];
    let text = |path: &str| tree.read_prefix(path, MAX_SOURCE_BYTES);
    let port =
        served_port(&[(&sources[0], text(&sources[0])), (&sources[1], text(&sources[1]))], hints.port, default_port);
    let (command, port) = (procfile.command_of(PROGRAM), procfile.port_or(port));
    let lock = tree.read_prefix("Cargo.lock", 4 * MAX_MANIFEST_BYTES);
    let names = lock.clone().unwrap_or(text_of_manifests(tree, &binaries));
    let uses = |name: &str| names.contains(&format!("name = \"{name}\"")) || (lock.is_none() && names.contains(name));
    let (mut build, mut run) = (vec!["ca-certificates"], vec!["ca-certificates"]);
    for (_, of_build, of_run) in SYSTEM_CRATES.iter().filter(|(name, ..)| uses(name)) {
        build.extend(*of_build);
        run.extend(*of_run);
    }
    for packages in [&mut build, &mut run] {
        packages.sort_unstable();
        packages.dedup();
    }
    let toolchain = toolchain(tree);
    let is_offline = tree.is_directory(".sqlx") || tree.is_file("sqlx-data.json");
    let mut choices = vec![toolchain.say(&format!("Rust {}", toolchain.value))];
    choices.push(format!("the program `{}`", binary.name));
    if procfile.web.is_some() {
        choices.push(format!("started by {} of the `Procfile`", said_command(&command)));
    }
    choices.push(said_port(&port));
    let values = json!({
        "toolchain": toolchain.value,
        "system": build,
        "runtime": run,
        "package": binary.package,
        "binary": binary.name,
        "locked": lock.is_some(),
        "offline": is_offline,
        "command": command,
        "port": port.value,
    });
    let (kind, template, warnings) = (ApplicationKind::Rust, "dockerfile/rust", Vec::new());
    Look::Found(Recognised { kind, template, values, choices, warnings })
}

/// What stands in for a lock file: the manifests.
fn text_of_manifests(tree: &Tree, binaries: &[Binary]) -> String {
    let paths = binaries.iter().map(|it| join(&it.directory, "Cargo.toml"));
    paths.filter_map(|path| tree.read_prefix(&path, MAX_MANIFEST_BYTES)).collect::<Vec<_>>().join("\n")
}

/// Every binary of a package and of the members of its workspace.
fn binaries(tree: &Tree, root: &Value) -> Vec<Binary> {
    let mut binaries = of_package(tree, root, "");
    if root["workspace"].is_null() {
        return binaries;
    }
    let excluded: Vec<&str> =
        root["workspace"]["exclude"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let manifests =
        tree.files("", DEPTH).into_iter().filter_map(|path| path.strip_suffix("/Cargo.toml").map(str::to_owned));
    for directory in manifests.filter(|it| !excluded.contains(&it.as_str())).take(MAX_MEMBERS) {
        let text = tree.read_prefix(&join(&directory, "Cargo.toml"), MAX_MANIFEST_BYTES).unwrap_or_default();
        let manifest: Value = Toml::from_str(&text).unwrap_or_default();
        binaries.extend(of_package(tree, &manifest, &directory));
    }
    binaries
}

fn of_package(tree: &Tree, manifest: &Value, directory: &str) -> Vec<Binary> {
    let Some(package) = manifest["package"]["name"].as_str().filter(|name| is_plain(name)) else { return Vec::new() };
    let default = manifest["package"]["default-run"].as_str();
    let declared = manifest["bin"].as_array().into_iter().flatten().filter_map(|it| it["name"].as_str());
    let mut names: Vec<String> = declared.map(str::to_owned).collect();
    let declares_main = manifest["bin"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|it| it["path"].as_str().is_none_or(|path| path == "src/main.rs"));
    if tree.is_file(&join(directory, "src/main.rs")) && !declares_main {
        names.push(package.to_owned());
    }
    let of_folder = tree.names(&join(directory, "src/bin")).into_iter().filter_map(|name| {
        let path = join(directory, &format!("src/bin/{name}/main.rs"));
        name.strip_suffix(".rs").map(str::to_owned).or_else(|| tree.is_file(&path).then(|| name.clone()))
    });
    let more: Vec<String> = of_folder.filter(|name| !names.contains(name)).collect();
    names.extend(more);
    let is_default = |name: &str| default.map_or(name == package, |it| it == name);
    let names = names.into_iter().filter(|name| is_plain(name));
    let binary = |name: String| {
        let is_default = is_default(&name);
        Binary { package: package.to_owned(), name, directory: directory.to_owned(), is_default }
    };
    names.map(binary).collect()
}

/// The binary that is meant: that of the member, that of the root, the only one.
fn choose(binaries: &[Binary], member: Option<&str>, started: Option<&str>) -> Result<Binary, String> {
    let of_member: Vec<&Binary> =
        binaries.iter().filter(|it| member.is_some_and(|member| it.directory == member)).collect();
    if let Some(binary) = binaries.iter().find(|it| member.is_none() && started == Some(it.name.as_str())) {
        return Ok(binary.clone());
    }
    let of_root: Vec<&Binary> = binaries.iter().filter(|it| it.directory.is_empty()).collect();
    let primary: Vec<&Binary> =
        binaries.iter().filter(|it| !is_secondary(&it.directory) && it.name != "xtask").collect();
    for candidates in [&of_member, &of_root, &primary] {
        let default = candidates.iter().copied().filter(|it| it.is_default).collect::<Vec<_>>();
        match (candidates.as_slice(), default.as_slice()) {
            ([], _) => {}
            ([only], _) | (_, [only]) => return Ok((*only).clone()),
            (several, _) => {
                let listed = several.iter().take(10).map(|it| {
                    let place = if it.directory.is_empty() { "." } else { &it.directory };
                    format!("`{}` (in `{place}`)", it.name)
                });
                return Err(format!(
                    "`Cargo.toml` has several programs: {}. Send `source_directory` with the directory of the one to run, or \
                     name it as `default-run` of its package",
                    listed.collect::<Vec<_>>().join(", ")
                ));
            }
        }
    }
    Err("`Cargo.toml` is that of a library: there is no `src/main.rs` and no `[[bin]]`".to_owned())
}

/// The toolchain that is asked for, as the image names it. Rustup in the image fetches one that is not a version.
fn toolchain(tree: &Tree) -> Sourced<String> {
    let of_toml = || {
        let text = tree.read_prefix("rust-toolchain.toml", MAX_SOURCE_BYTES)?;
        let parsed: Value = Toml::from_str(&text).ok()?;
        Some(Sourced::of(parsed["toolchain"]["channel"].as_str()?.to_owned(), "rust-toolchain.toml"))
    };
    let of_line = || Some(Sourced::of(first_line(tree, "rust-toolchain")?, "rust-toolchain"));
    let is_version = |it: &Sourced<String>| it.value.starts_with(|c: char| c.is_ascii_digit()) && is_plain(&it.value);
    of_toml().or_else(of_line).filter(is_version).unwrap_or_else(|| Sourced::usual("1".to_owned()))
}
