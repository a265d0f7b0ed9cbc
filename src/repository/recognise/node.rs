//! Node applications: which Node, which package manager, and whether it is a server or a page that is built.

mod framework;
mod package;
mod package_manager;
mod start;
mod version;

use serde_json::{Value, json};

use crate::id::Port;
use crate::repository::application::{
    ApplicationKind, Look, Recognised, Sourced, is_plain, said_command, said_port, served_port, shell, words,
};
use crate::repository::readme::{RunHints, mentioned_port};
use crate::repository::tree::{Tree, is_secondary};

use super::page;
use super::procfile::Procfile;
use framework::Framework;
use package::Package;
use package_manager::PackageManager;
use start::Start;

/// The same in TypeScript, which needs a runner.
const TYPESCRIPT_FILES: [&str; 6] =
    ["src/index.ts", "src/server.ts", "src/app.ts", "src/main.ts", "index.ts", "server.ts"];
/// Directories below the root of a workspace in which its members lie.
const MEMBER_DEPTH: usize = 3;
/// Members of a workspace that are looked at.
const MAX_MEMBERS: usize = 200;

/// Whether a server or a page can be made of a package: what a member of a workspace has to be to be meant.
fn is_application(package: &Package<'_>) -> bool {
    let is_server = package.start_script().is_some() || package.main_file().is_some_and(|it| package.is_serving(&it));
    is_server || Framework::of(package).is_some()
}

/// The directories of the workspace's members that are applications.
fn members(tree: &Tree) -> Vec<String> {
    let manifests = tree.files("", MEMBER_DEPTH).into_iter();
    let directories = manifests.filter_map(|path| path.strip_suffix("/package.json").map(str::to_owned));
    let primary = directories.filter(|it| is_plain(it) && !is_secondary(it)).take(MAX_MEMBERS);
    let is_one = |it: &String| matches!(Package::read(tree, Some(it)), Some(Ok(package)) if is_application(&package));
    primary.filter(is_one).collect()
}

/// What a look at a `package.json` finds: a server comes before every other language, a page after them.
pub(super) enum NodeLook {
    Server(Look),
    Page(Look),
}

/// Takes a directory for a Node application, or for a page that Node builds, when its `package.json` says so.
pub(super) fn recognise(
    tree: &Tree,
    member: Option<&str>,
    procfile: &Procfile,
    hints: &RunHints,
    default_port: Port,
) -> NodeLook {
    let package = match Package::read(tree, member) {
        None => return NodeLook::Server(without_manifest(tree, procfile, hints, default_port)),
        Some(Err(what)) => return NodeLook::Server(Look::Lacking(what)),
        Some(Ok(package)) => package.with_root(),
    };
    if member.is_none() && package.has_members() && procfile.web.is_none() && !is_application(&package) {
        let members = members(tree);
        return match members.as_slice() {
            [only] => recognise(tree, Some(only), procfile, hints, default_port),
            [] => NodeLook::Page(Look::Lacking(nothing_starts(&package))),
            several => NodeLook::Page(Look::Lacking(format!(
                "the workspace of `package.json` has several applications: {}. Send `source_directory` with the one to run",
                several.iter().take(10).map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", ")
            ))),
        };
    }
    if procfile.is_foreign_to_node() {
        return NodeLook::Page(Look::Absent);
    }
    let manager = PackageManager::of(tree, &package.root);
    let framework = Framework::of(&package);
    // An export is files, which Next's own server refuses.
    let starts_next =
        package.start_script().and_then(|name| package.script(name)).is_some_and(|it| it.contains("next start"));
    match framework {
        Some(Framework::Refused(why)) => return NodeLook::Server(Look::Lacking(why)),
        Some(Framework::Page { name, directory })
            if procfile.web.is_none() && (package.start_script().is_none() || starts_next) =>
        {
            return NodeLook::Page(Look::Found(built_page(&package, &manager, name, directory, default_port)));
        }
        _ => {}
    }
    let Some(start) = start(&package, &manager, framework.as_ref(), procfile) else {
        return if package.script("build").is_some() && package.is_file("index.html") {
            NodeLook::Page(Look::Found(built_page(&package, &manager, "its build script", None, default_port)))
        } else {
            NodeLook::Page(Look::Lacking(nothing_starts(&package)))
        };
    };
    NodeLook::Server(Look::Found(server(&package, &manager, start, hints, default_port)))
}

fn start(
    package: &Package<'_>,
    manager: &PackageManager,
    framework: Option<&Framework>,
    procfile: &Procfile,
) -> Option<Start> {
    if let Some(web) = &procfile.web {
        return Some(Start::new(shell(web), "the `web` process of the `Procfile`"));
    }
    let script = package.start_script().map(|name| (name, package.script(name).unwrap_or_default()));
    let file =
        script.and_then(|(_, script)| script.split_whitespace().find(|word| package.is_file(word)).map(str::to_owned));
    // A server of its own that a framework runs in comes before the framework's.
    if let Some(start) = framework.filter(|_| file.is_none()).and_then(|it| it.server(package, manager)) {
        return Some(start);
    }
    if let Some((name, _)) = script {
        return Some(Start { file, ..Start::new(manager.run(name, package.member), format!("the script `{name}`")) });
    }
    // `nodemon server.js` develops, and names what `node` runs.
    let developed = package.script("start").or(package.script("dev")).and_then(|script| {
        let file = script.split_whitespace().find(|word| word.ends_with("js") && package.is_file(word))?;
        Some(file.trim_start_matches("./").to_owned())
    });
    let main = developed.or_else(|| package.main_file().filter(|it| !package.is_library() || package.is_serving(it)));
    if let Some(file) = main.filter(|file| is_plain(file)) {
        let command = words(&format!("{} {}", manager.runtime(), package.path(&file)));
        return Some(Start { file: Some(file.clone()), ..Start::new(command, format!("`{file}`")) });
    }
    let file = TYPESCRIPT_FILES.into_iter().find(|file| package.is_file(file))?;
    let runner = match manager.runtime() {
        "bun" => "bun",
        _ if package.depends_on("tsx") => "npx --no-install tsx",
        _ if package.depends_on("ts-node") => "npx --no-install ts-node",
        _ => return None,
    };
    let command = words(&format!("{runner} {}", package.path(file)));
    Some(Start { file: Some(file.to_owned()), ..Start::new(command, format!("`{file}`")) })
}

fn server(
    package: &Package<'_>,
    manager: &PackageManager,
    start: Start,
    hints: &RunHints,
    default_port: Port,
) -> Recognised {
    let version = version::of(package);
    let usual = start.port.and_then(Port::new).unwrap_or(default_port);
    let text = start.file.as_ref().and_then(|file| package.text(file));
    let script = package.start_script().and_then(|name| package.script(name)).map(str::to_owned);
    let texts = [("package.json", script), (start.file.as_deref().unwrap_or_default(), text)];
    let readme = if start.port.is_some() { None } else { hints.port };
    let command = said_command(&start.command);
    let port = match mentioned_port(&command) {
        Some(port) => Sourced::of(port, "Procfile"),
        None => served_port(&texts, readme, usual),
    };
    let build = package.script("build").map(|_| manager.run("build", package.member).join(" "));
    let build = build.or_else(|| start.needs_build.then(|| manager.exec("next build", package.member).join(" ")));
    // Only a program that `node` alone runs is sure to do without what is there for development.
    let is_plain_node = |script: &str| script.starts_with("node ") && !script.contains(['&', ';', '|']);
    let has_hooks = ["prestart", "poststart"].iter().any(|name| package.script(name).is_some());
    let runs_alone = match package.start_script().and_then(|name| package.script(name)) {
        Some(script) => is_plain_node(script) && !has_hooks,
        None => start.command.first().is_some_and(|it| it == "node"),
    };
    let needs_all = build.is_some() || !runs_alone;
    let from_git = |range: &str| {
        range.starts_with("git") || (range.contains('/') && !range.contains(':') && !range.starts_with('.'))
    };
    let ranges = ["dependencies", "devDependencies"].iter().filter_map(|kind| package.json[kind].as_object());
    let needs_git = ranges.flat_map(|it| it.values()).filter_map(Value::as_str).any(from_git);
    let mut choices = vec![version.say(&format!("Node {}", version.value)), manager.said()];
    choices.extend([format!("{}, started by {command}", start.what), said_port(&port)]);
    let values = json!({
        "version": version.value,
        "suffix": if package.is_native() { "" } else { "-slim" },
        "global": manager.global(),
        "git": needs_git,
        "environment": manager.environment(package.tree),
        "install": manager.install(needs_all),
        "needed": manager.needed(package.tree, &package.root),
        "cache": manager.cache(),
        "prepare": start.prepare,
        "build": build,
        "finish": start.finish,
        "command": start.command,
        "port": port.value,
    });
    let warnings = start.warning.into_iter().chain(manager.warning()).collect();
    Recognised { kind: ApplicationKind::Node, template: "dockerfile/node", values, choices, warnings }
}

/// A page that is built and then served as files, with the fallback to `index.html` that one which routes by itself needs.
fn built_page(
    package: &Package<'_>,
    manager: &PackageManager,
    name: &str,
    directory: Option<String>,
    default_port: Port,
) -> Recognised {
    let version = version::of(package);
    let command = match package.script("build") {
        Some(_) => manager.run("build", package.member).join(" "),
        None => manager.exec(framework::build_command(name), package.member).join(" "),
    };
    let build = page::Build {
        version: version.value,
        global: manager.global(),
        environment: manager.environment(package.tree),
        install: manager.install(true),
        cache: manager.cache(),
        command,
        base: package.member.unwrap_or_default().to_owned(),
        directory: directory.clone(),
    };
    let mut found = page::site("", Some(&build), default_port);
    let places = directory.map_or_else(|| "the directory with its `index.html`".to_owned(), |it| format!("`{it}`"));
    let served = format!("built by {name}, {places} is served with a fallback to `index.html`");
    found.choices = vec![version.say(&format!("Node {}", version.value)), manager.said(), served];
    found.warnings.extend(manager.warning());
    found
}

/// A program without a `package.json`: one that asks for nothing.
fn without_manifest(tree: &Tree, procfile: &Procfile, hints: &RunHints, default_port: Port) -> Look {
    let package = Package { tree, json: Value::Null, root: Value::Null, member: None };
    let is_node = procfile.web.as_deref().is_some_and(|web| web.starts_with("node "));
    let Some(file) = package.main_file().filter(|file| is_node || package.is_serving(file)) else {
        return Look::Absent;
    };
    let version = version::choose(tree, &package.json);
    let command = procfile.web.as_deref().map_or_else(|| words(&format!("node {file}")), shell);
    let texts = [("Procfile", procfile.web.clone()), (file.as_str(), package.text(&file))];
    let port = served_port(&texts, hints.port, default_port);
    let choices = vec![
        version.say(&format!("Node {}", version.value)),
        format!("`{file}`, started by {}", said_command(&command)),
        said_port(&port),
    ];
    let values = json!({
        "version": version.value, "suffix": "-slim", "global": null, "git": false, "environment": null, "install": null, "needed": null, "cache": null,
        "prepare": null, "build": null, "finish": null, "command": command, "port": port.value,
    });
    let (kind, template, warnings) = (ApplicationKind::Node, "dockerfile/node", Vec::new());
    Look::Found(Recognised { kind, template, values, choices, warnings })
}

fn nothing_starts(package: &Package<'_>) -> String {
    let path = package.path("package.json");
    let scripts =
        package.json["scripts"].as_object().map(|it| it.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>());
    let scripts = match scripts.filter(|it| !it.is_empty()) {
        Some(names) => format!("its scripts are {}", names.into_iter().take(12).collect::<Vec<_>>().join(", ")),
        None => "it has no scripts".to_owned(),
    };
    let main = match package.json["main"].as_str() {
        Some(main) if !package.is_file(main) => format!("`main` names `{main}`, which is not there; "),
        _ => String::new(),
    };
    let typescript = TYPESCRIPT_FILES.into_iter().find(|file| package.is_file(file));
    let typescript = typescript.map(|file| format!("; `{file}` needs a build, or `tsx`, to run")).unwrap_or_default();
    format!(
        "`{path}` has nothing that starts in production: {scripts}, {main}and there is no `server.js`, `app.js`, `index.js` \
         or `src/index.js`{typescript}. Add a `start` script"
    )
}
