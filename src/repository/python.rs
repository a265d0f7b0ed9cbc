//! Python applications: what they need installed, and the command that starts them on all addresses.

use serde_json::json;

use super::application::{ApplicationKind, MAX_SOURCE_BYTES, Recognised, is_plain};
use super::readme::{RunHints, mentioned_port};
use super::tree::Tree;
use crate::id::Port;

/// Modules in which an application object is looked for, as Python names them.
const MODULES: [&str; 9] = ["app", "main", "wsgi", "asgi", "server", "application", "app.main", "app.app", "src.main"];
/// Programs that start a Python application in a README.
const STARTERS: [&str; 10] = [
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
];
/// What `python -m` runs that is no application.
const TOOLS: [&str; 6] = ["venv", "pip", "pytest", "unittest", "build", "virtualenv"];

struct Start {
    command: Vec<String>,
    port: Port,
    /// Packages that the command needs and the application does not ask for.
    packages: Vec<&'static str>,
}

/// Takes a clone for a Python application when it says what it needs or has a file to start.
pub(super) fn recognise(tree: &Tree, hints: &RunHints, default_port: Port) -> Option<Recognised> {
    let requirements = tree.read_prefix("requirements.txt", MAX_SOURCE_BYTES);
    let project = tree.read_prefix("pyproject.toml", MAX_SOURCE_BYTES).filter(|_| requirements.is_none());
    let needs = format!("{}\n{}", requirements.as_deref().unwrap_or_default(), project.as_deref().unwrap_or_default());
    let start = start(tree, hints, default_port, &needs.to_ascii_lowercase())?;
    // Python as the first process of a container does not hear SIGTERM unless the program asks for it.
    let handles_sigterm = start.command.iter().any(|word| word.contains("gunicorn") || word.contains("uvicorn"));
    let requirements =
        requirements.map_or("none", |text| if is_self_contained(&text) { "alone" } else { "with sources" });
    Some((
        ApplicationKind::Python,
        "dockerfile/python",
        json!({
            "requirements": requirements,
            "project": project.is_some_and(|text| text.contains("[project]") || text.contains("[tool.poetry]")),
            "packages": start.packages,
            "command": start.command,
            "handles_sigterm": handles_sigterm,
            "port": start.port,
        }),
    ))
}

/// Whether the requirements can be installed before the sources are there, so that the layer outlives their changes.
fn is_self_contained(requirements: &str) -> bool {
    requirements
        .lines()
        .map(str::trim)
        .all(|line| !line.starts_with('-') && !line.starts_with('.') && !line.contains("file:"))
}

fn start(tree: &Tree, hints: &RunHints, default_port: Port, needs: &str) -> Option<Start> {
    let hinted_port = hints.port.unwrap_or(default_port);
    procfile(tree, default_port)
        .or_else(|| django(tree, hinted_port, needs))
        .or_else(|| framework(tree, hinted_port, needs))
        .or_else(|| from_readme(tree, hints, hinted_port))
        .or_else(|| script(tree, hinted_port))
}

fn procfile(tree: &Tree, port: Port) -> Option<Start> {
    let text = tree.read_prefix("Procfile", MAX_SOURCE_BYTES)?;
    let command = text.lines().find_map(|line| line.strip_prefix("web:"))?.trim().to_owned();
    let is_python = STARTERS.contains(&command.split_whitespace().next()?);
    is_python.then(|| Start {
        port: mentioned_port(&command).unwrap_or(port),
        command: shell(&command),
        packages: vec![],
    })
}

fn django(tree: &Tree, port: Port, needs: &str) -> Option<Start> {
    if !tree.read_prefix("manage.py", MAX_SOURCE_BYTES)?.contains("django") {
        return None;
    }
    let wsgi = tree.directories("").into_iter().find(|it| is_plain(it) && tree.is_file(&format!("{it}/wsgi.py")));
    let command = match wsgi {
        Some(package) if needs.contains("gunicorn") => words(&format!("gunicorn --bind 0.0.0.0:{port} {package}.wsgi")),
        _ => words(&format!("python manage.py runserver 0.0.0.0:{port}")),
    };
    Some(Start { command, port, packages: if needs.contains("django") { vec![] } else { vec!["django"] } })
}

/// A module that makes an application object of a framework, started by that framework's server.
fn framework(tree: &Tree, port: Port, needs: &str) -> Option<Start> {
    let missing = |package: &'static str| if needs.contains(package) { vec![] } else { vec![package] };
    MODULES.iter().find_map(|module| {
        let file = format!("{}.py", module.replace('.', "/"));
        let text = tree.read_prefix(&file, MAX_SOURCE_BYTES)?;
        let port = mentioned_port(&text).unwrap_or(port);
        let object = |class: &str| {
            let assigned = text.lines().filter_map(|line| line.split_once('='));
            let mut names = assigned.filter(|(_, value)| value.trim_start().starts_with(class)).map(|(name, _)| name);
            names.find_map(|name| {
                name.split(':').next().map(str::trim_end).filter(|name| is_plain(name)).map(str::to_owned)
            })
        };
        if let Some(app) = object("FastAPI(").or_else(|| object("Starlette(")) {
            let command = words(&format!("uvicorn --host 0.0.0.0 --port {port} {module}:{app}"));
            return Some(Start { command, port, packages: missing("uvicorn") });
        }
        if let Some(app) = object("Flask(") {
            let command = words(&format!("gunicorn --bind 0.0.0.0:{port} {module}:{app}"));
            return Some(Start { command, port, packages: missing("gunicorn") });
        }
        let is_streamlit = text.lines().any(|line| line.starts_with("import streamlit"));
        let command = format!("streamlit run {file} --server.address 0.0.0.0 --server.port {port}");
        is_streamlit.then(|| Start { command: words(&command), port, packages: missing("streamlit") })
    })
}

fn from_readme(tree: &Tree, hints: &RunHints, port: Port) -> Option<Start> {
    let command = hints.commands.iter().find_map(|command| {
        let command = ["sudo ", "uv run ", "poetry run ", "pipenv run "]
            .iter()
            .fold(command.as_str(), |command, prefix| command.strip_prefix(prefix).unwrap_or(command));
        let (program, arguments) = command.split_once(' ')?;
        let program = program.rsplit_once("bin/").map_or(program, |(_, name)| name);
        let starts = match (program, arguments.split_whitespace().collect::<Vec<_>>().as_slice()) {
            ("python" | "python3", ["-m", module, ..]) => !TOOLS.contains(module),
            ("python" | "python3", [file, ..]) => *file != "setup.py" && tree.is_file(file),
            (program, _) => STARTERS.contains(&program),
        };
        starts.then(|| format!("{program} {arguments}").replace("127.0.0.1", "0.0.0.0").replace("localhost", "0.0.0.0"))
    })?;
    let file = command.split_whitespace().find(|word| word.rsplit_once('.').is_some_and(|(_, end)| end == "py"));
    let in_source = || mentioned_port(&tree.read_prefix(file?, MAX_SOURCE_BYTES)?);
    let port = mentioned_port(&command).or_else(in_source).unwrap_or(port);
    Some(Start { command: shell(&command), port, packages: vec![] })
}

fn script(tree: &Tree, port: Port) -> Option<Start> {
    let file = ["main.py", "app.py", "server.py", "wsgi.py", "__main__.py"].into_iter().find(|it| tree.is_file(it))?;
    let port = mentioned_port(&tree.read_prefix(file, MAX_SOURCE_BYTES)?).unwrap_or(port);
    Some(Start { command: words(&format!("python {file}")), port, packages: vec![] })
}

fn words(command: &str) -> Vec<String> {
    command.split_whitespace().map(str::to_owned).collect()
}

/// A command that a person wrote for a shell; a single one takes the shell's place, so that it gets the signals.
fn shell(command: &str) -> Vec<String> {
    let is_single = !command.contains(['&', ';', '|', '\n']) && !command.starts_with("exec ");
    let command = if is_single { format!("exec {command}") } else { command.to_owned() };
    vec!["sh".to_owned(), "-c".to_owned(), command]
}
