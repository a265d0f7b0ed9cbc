//! Go programs: which of a module's packages is the program, and what it takes to build it.

use serde_json::json;

use crate::id::Port;
use crate::repository::application::{
    ApplicationKind, Look, MAX_MANIFEST_BYTES, MAX_SOURCE_BYTES, Recognised, is_plain, said_command, said_port,
    served_port,
};
use crate::repository::readme::RunHints;
use crate::repository::tree::{Tree, is_secondary, join, parent};

use super::procfile::Procfile;

/// Where the program is in the image.
const PROGRAM: &str = "/usr/local/bin/app";
/// Directories below the module's root in which programs are looked for.
const DEPTH: usize = 4;
/// Source files that are looked into.
const MAX_FILES: usize = 400;
/// Modules that are C underneath.
const CGO_MODULES: [&str; 6] = [
    "github.com/mattn/go-sqlite3",
    "github.com/confluentinc/confluent-kafka-go",
    "github.com/h2non/bimg",
    "github.com/duckdb/duckdb-go",
    "github.com/marcboeker/go-duckdb",
    "github.com/tecbot/gorocksdb",
];
/// Names of a program that serves, beside the module's own.
const SERVING: [&str; 5] = ["server", "web", "api", "app", "main"];
/// Programs that a refusal lists.
const MAX_LISTED: usize = 10;

/// Takes a module, or a directory with a program, for a Go application. `member` is the program's directory that is meant.
pub(super) fn recognise(
    tree: &Tree,
    member: Option<&str>,
    procfile: &Procfile,
    hints: &RunHints,
    default_port: Port,
) -> Look {
    let module = tree.read_prefix("go.mod", MAX_MANIFEST_BYTES);
    let has_workspace = tree.is_file("go.work");
    let is_go = module.is_some() || has_workspace || tree.names("").iter().any(|name| is_source(name));
    if !is_go {
        return Look::Absent;
    }
    let programs = programs(tree);
    let directory = match choose(&programs, member, procfile.program(), module.as_deref().unwrap_or_default()) {
        Ok(directory) => directory,
        Err(_) if module.is_none() && !has_workspace => return Look::Absent,
        Err(lacking) => return Look::Lacking(lacking),
    };
    let source = programs.iter().find(|it| it.directory == directory).map(|it| (it.path.clone(), it.text.clone()));
    let (path, text) = source.unwrap_or_default();
    let package = if directory.is_empty() { ".".to_owned() } else { format!("./{directory}") };
    if !is_plain(&package) {
        return Look::Lacking(format!(
            "the directory of the program `{directory}` has a name that a shell would read otherwise"
        ));
    }
    let port = served_port(&[(&path, Some(text))], hints.port, default_port);
    let (command, port) = (procfile.command_of(PROGRAM), procfile.port_or(port));
    let manifest = module.as_deref().unwrap_or_default();
    let needs_c = CGO_MODULES.iter().any(|it| manifest.contains(it)) || programs.iter().any(|it| it.has_c);
    let has_vendor = tree.is_file("vendor/modules.txt");
    let is_early = module.is_some() && !has_vendor && !has_workspace && !replaces_locally(manifest);
    let mut choices = vec![format!("the program `{package}`"), said_port(&port)];
    if has_vendor {
        choices.insert(0, "packages of `vendor/`".to_owned());
    }
    if needs_c {
        choices.insert(0, "cgo".to_owned());
    }
    if procfile.web.is_some() {
        choices.push(format!("started by {} of the `Procfile`", said_command(&command)));
    }
    let no_module = module.is_none() && !has_workspace;
    let warnings = no_module.then(|| {
        "There is no `go.mod`, so one is made for each build, with the newest versions of what it imports; add one with \
         `go mod init` and `go mod tidy`."
            .to_owned()
    });
    let values = json!({
        "package": package,
        "needed": is_early.then_some(if tree.is_file("go.sum") { "go.mod go.sum" } else { "go.mod" }),
        "no_module": no_module,
        "cgo": needs_c,
        "command": command,
        "port": port.value,
    });
    let warnings = warnings.into_iter().collect();
    Look::Found(Recognised { kind: ApplicationKind::Go, template: "dockerfile/go", values, choices, warnings })
}

/// A directory with a program, and the file that makes it one.
struct Program {
    directory: String,
    path: String,
    text: String,
    has_c: bool,
}

fn is_source(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(stem, end)| end == "go" && !stem.ends_with("_test"))
}

/// Every program of a module, the nearest first; tools that others only run (`//go:build ignore`) are none.
fn programs(tree: &Tree) -> Vec<Program> {
    let mut paths: Vec<String> = tree.files("", DEPTH).into_iter().filter(|path| is_source(path)).collect();
    paths.sort_by_cached_key(|path| (path.matches('/').count(), path.clone()));
    let mut programs: Vec<Program> = Vec::new();
    let mut has_c = false;
    for path in paths.into_iter().take(MAX_FILES) {
        let Some(text) = tree.read_prefix(&path, MAX_SOURCE_BYTES) else { continue };
        has_c |= text.lines().any(|line| line.trim() == "import \"C\"");
        let is_ignored = text.lines().take(20).any(|line| line.starts_with("//go:build ignore"));
        let is_main = text.lines().any(|line| line.split("//").next().unwrap_or_default().trim_end() == "package main");
        let directory = parent(&path).to_owned();
        let is_known = programs.iter().any(|it| it.directory == directory);
        if is_main && !is_ignored && !is_known && text.contains("func main()") {
            programs.push(Program { directory, path, text, has_c: false });
        }
    }
    if let Some(first) = programs.first_mut() {
        first.has_c = has_c;
    }
    programs
}

/// The directory of the program that is meant.
fn choose(programs: &[Program], member: Option<&str>, started: Option<&str>, module: &str) -> Result<String, String> {
    let has = |directory: &str| programs.iter().any(|it| it.directory == directory);
    if let Some(member) = member.filter(|it| has(it)) {
        return Ok(member.to_owned());
    }
    let is_started = |it: &&Program| started.is_some() && it.directory.rsplit('/').next() == started;
    if let Some(program) = programs.iter().find(is_started) {
        return Ok(program.directory.clone());
    }
    if has("") {
        return Ok(String::new());
    }
    let primary: Vec<&Program> = programs.iter().filter(|it| !is_secondary(&it.directory)).collect();
    let own_name = module.lines().find_map(|line| line.strip_prefix("module "));
    let own_name = own_name.and_then(|line| line.trim().rsplit('/').next());
    let is_named = |it: &&&Program| it.directory.rsplit('/').next() == own_name;
    let by_name = primary.iter().find(is_named).or_else(|| {
        let serving = SERVING.iter().map(|name| join("cmd", name));
        serving.into_iter().find_map(|path| primary.iter().find(|it| it.directory == path))
    });
    match (primary.as_slice(), by_name) {
        ([only], _) => Ok(only.directory.clone()),
        (_, Some(named)) => Ok(named.directory.clone()),
        ([], None) if programs.is_empty() => {
            Err("`go.mod` is that of a library: no package `main` is there".to_owned())
        }
        ([], None) => Err(format!("`go.mod` is that of a library: programs are only in {}", listed(programs.iter()))),
        (several, None) => Err(format!(
            "`go.mod` has several programs: {}. Send `source_directory` with the one to run",
            listed(several.iter().copied())
        )),
    }
}

fn listed<'p>(programs: impl Iterator<Item = &'p Program>) -> String {
    programs.take(MAX_LISTED).map(|it| format!("`{}`", it.directory)).collect::<Vec<_>>().join(", ")
}

/// Whether a module takes another one from a directory, which has to be there to download anything.
fn replaces_locally(module: &str) -> bool {
    module.lines().any(|line| line.split_once("=>").is_some_and(|(_, to)| to.trim_start().starts_with(['.', '/'])))
}
