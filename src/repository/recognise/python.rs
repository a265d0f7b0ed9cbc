//! Python applications: which Python, how their packages are installed, and the command that serves on all addresses.

mod framework;
mod packages;
mod start;
mod version;

use serde_json::json;

use crate::id::Port;
use crate::repository::application::{
    ApplicationKind, Look, MAX_SOURCE_BYTES, Recognised, Sourced, is_plain, said_command, said_port, served_port,
    shell, words,
};
use crate::repository::readme::RunHints;
use crate::repository::tree::{Tree, is_secondary, join, parent};

use super::procfile::Procfile;
use packages::Packages;
use start::{PortIn, Start};

/// Programs that start a Python application in a README.
const STARTERS: [&str; 11] = [
    "python",
    "python3",
    "gunicorn",
    "uvicorn",
    "flask",
    "fastapi",
    "hypercorn",
    "waitress-serve",
    "daphne",
    "streamlit",
    "chainlit",
];
/// What `python -m` runs that is no application.
const TOOLS: [&str; 7] = ["venv", "pip", "pytest", "unittest", "build", "virtualenv", "http.server"];
/// Manifests of other languages: beside one, a file of Python without a manifest of its own is a tool.
const OTHERS: [&str; 8] =
    ["go.mod", "Cargo.toml", "pom.xml", "build.gradle", "build.gradle.kts", "composer.json", "Gemfile", "mix.exs"];
/// Files that are started when nothing else says what is.
const SCRIPTS: [&str; 8] =
    ["main.py", "app.py", "server.py", "wsgi.py", "run.py", "application.py", "__main__.py", "src/main.py"];

/// Takes a clone for a Python application when it says what it needs or has a file to start.
pub(super) fn recognise(tree: &Tree, procfile: &Procfile, hints: &RunHints, default_port: Port) -> Look {
    let packages = Packages::read(tree);
    // What conda installs, only conda can.
    if packages.manifest.is_none() && (tree.is_file("environment.yml") || tree.is_file("environment.yaml")) {
        return Look::Absent;
    }
    let serves_by_python = procfile.web.as_deref().is_some_and(is_python);
    if packages.manifest.is_none() && !serves_by_python && OTHERS.iter().any(|name| tree.is_file(name)) {
        return Look::Absent;
    }
    let Some(start) = start(tree, &packages, procfile, hints, default_port) else {
        return match &packages.manifest {
            Some(manifest) => Look::Lacking(format!(
                "`{manifest}` is that of a Python project, and nothing in it serves: no `Procfile` with a `web` process, no \
                 `manage.py`, no object of FastAPI, Flask, Starlette, Litestar or the like, no Streamlit or Gradio page, \
                 no `main.py` or `app.py`"
            )),
            None => Look::Absent,
        };
    };
    let version = version::choose(tree, &packages);
    // Python as the first process of a container does not hear SIGTERM unless the program asks for it.
    let handles_sigterm = start
        .command
        .iter()
        .any(|word| ["gunicorn", "uvicorn", "hypercorn", "daphne"].iter().any(|it| word.contains(it)));
    let mut choices = vec![version.say(&format!("Python {}", version.value))];
    choices.extend(packages.said());
    choices.extend([format!("{}, started by {}", start.what, said_command(&start.command)), said_port(&start.port)]);
    let mut values = packages.values();
    let own = json!({
        "version": version.value,
        "packages": start.packages,
        "command": start.command,
        "python_path": start.python_path,
        "manage": start.manage,
        "collects_static": start.collects_static,
        "handles_sigterm": handles_sigterm,
        "port": start.port.value,
    });
    if let (Some(values), serde_json::Value::Object(own)) = (values.as_object_mut(), own) {
        values.extend(own);
    }
    let kind = ApplicationKind::Python;
    let migrations =
        "Django's migrations are not run by a deploy: run `python manage.py migrate` against its database.";
    let warnings =
        Some(migrations.to_owned()).filter(|_| start.is_django && procfile.web.is_none()).into_iter().collect();
    Look::Found(Recognised { kind, template: "dockerfile/python", values, choices, warnings })
}

fn start(tree: &Tree, packages: &Packages, procfile: &Procfile, hints: &RunHints, default_port: Port) -> Option<Start> {
    let web = procfile.web.as_deref().filter(|web| packages.manifest.is_some() || is_python(web));
    if let Some(web) = web {
        let port = procfile.port_or(Sourced::usual(default_port));
        let python_path = tree.is_directory("src").then(|| "/app/src".to_owned());
        return Some(Start { python_path, ..Start::new(shell(web), port, "the `web` process of the `Procfile`") });
    }
    let port = |texts: &[(&str, Option<String>)]| served_port(texts, hints.port, default_port);
    django(tree, packages, port(&[]))
        .or_else(|| framework::find(tree, packages, &port))
        .or_else(|| from_readme(tree, hints, default_port))
        .or_else(|| script(tree, &port))
}

fn is_python(command: &str) -> bool {
    command.split_whitespace().next().is_some_and(|program| STARTERS.contains(&program))
}

fn django(tree: &Tree, packages: &Packages, port: Sourced<Port>) -> Option<Start> {
    // Here, or in the only directory below that has one, with the packages of here.
    let is_django =
        |path: &String| tree.read_prefix(path, MAX_SOURCE_BYTES).is_some_and(|text| text.contains("django"));
    let below =
        tree.directories("").into_iter().filter(|it| is_plain(it) && !is_secondary(it) && packages.manifest.is_some());
    let manage = std::iter::once(String::new()).chain(below).map(|it| join(&it, "manage.py")).find(is_django)?;
    let base = parent(&manage).to_owned();
    let text = tree.read_prefix(&manage, MAX_SOURCE_BYTES)?;
    // `os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")`: the package of the settings holds `wsgi.py`.
    let module = text.split(['"', '\'']).find(|word| word.contains(".settings") && is_plain(word));
    let from_settings =
        module.and_then(|module| module.split(".settings").next()).map(|module| module.replace('.', "/"));
    let has = |directory: &str, name: &str| tree.is_file(&join(&base, &join(directory, name)));
    let beside = tree.directories(&base).into_iter().map(|it| it[base.len()..].trim_start_matches('/').to_owned());
    let package =
        from_settings.into_iter().chain(beside).find(|it| is_plain(it) && (has(it, "wsgi.py") || has(it, "asgi.py")));
    let settings = module.map(|module| module.replace('.', "/"));
    let settings =
        settings.iter().flat_map(|it| [format!("{it}.py"), format!("{it}/__init__.py"), format!("{it}/base.py")]);
    let of_package = package.iter().flat_map(|it| [format!("{it}/settings.py"), format!("{it}/settings/base.py")]);
    let collects_static = settings
        .chain(of_package)
        .filter_map(|path| tree.read_prefix(&join(&base, &path), MAX_SOURCE_BYTES))
        .any(|text| text.lines().any(|line| line.trim_start().starts_with("STATIC_ROOT")));
    let number = port.value;
    let what = format!("Django's `{manage}`");
    let start = match package.map(|it| (it.replace('/', "."), has(&it, "wsgi.py"))) {
        Some((module, false)) => {
            let directory = if base.is_empty() { String::new() } else { format!(" --app-dir {base}") };
            let command = format!("uvicorn --host 0.0.0.0 --port {number}{directory} {module}.asgi:application");
            Start::new(words(&command), port, what).with("uvicorn", packages)
        }
        Some((module, true)) => {
            let directory = if base.is_empty() { String::new() } else { format!(" --chdir {base}") };
            let command = format!("gunicorn --bind 0.0.0.0:{number}{directory} {module}.wsgi");
            Start::new(words(&command), port, what).with("gunicorn", packages)
        }
        None => Start::new(words(&format!("python {manage} runserver 0.0.0.0:{number}")), port, what),
    };
    Some(Start { is_django: true, manage, collects_static, ..start }.with("django", packages))
}

fn from_readme(tree: &Tree, hints: &RunHints, default_port: Port) -> Option<Start> {
    let command = hints.commands.iter().find_map(|command| {
        let command = ["sudo ", "uv run ", "poetry run ", "pipenv run ", "pdm run "]
            .iter()
            .fold(command.as_str(), |command, prefix| command.strip_prefix(prefix).unwrap_or(command));
        // A place-holder is for a person to fill in.
        let (program, arguments) = command.split_once(' ').filter(|(_, it)| !it.contains(['<', '[', '{']))?;
        let program = program.rsplit_once("bin/").map_or(program, |(_, name)| name);
        let starts = match (program, arguments.split_whitespace().collect::<Vec<_>>().as_slice()) {
            ("python" | "python3", ["-m", module, ..]) => !TOOLS.contains(module),
            ("python" | "python3", [file, ..]) => *file != "setup.py" && tree.is_file(file),
            (program, _) => STARTERS.contains(&program),
        };
        starts.then(|| format!("{program} {arguments}").replace("127.0.0.1", "0.0.0.0").replace("localhost", "0.0.0.0"))
    })?;
    let file = command.split_whitespace().find(|word| word.rsplit_once('.').is_some_and(|(_, end)| end == "py"));
    let text = file.and_then(|file| tree.read_prefix(file, MAX_SOURCE_BYTES));
    let texts = [("README", Some(command.clone())), (file.unwrap_or_default(), text)];
    let port = served_port(&texts, hints.port, default_port);
    Some(Start::new(shell(&command), port, "the command of the README"))
}

fn script(tree: &Tree, port: PortIn<'_>) -> Option<Start> {
    let file = SCRIPTS.into_iter().find(|it| tree.is_file(it))?;
    let port = port(&[(file, tree.read_prefix(file, MAX_SOURCE_BYTES))]);
    Some(Start::new(words(&format!("python {file}")), port, format!("`{file}`")))
}
