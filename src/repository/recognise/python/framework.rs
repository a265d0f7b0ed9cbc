//! Where the application object of a web framework is made, and the server that it takes.

use crate::repository::application::{MAX_SOURCE_BYTES, is_plain, words};
use crate::repository::tree::{Tree, is_secondary, join, parent};

use super::packages::Packages;
use super::start::{PortIn, Start};

/// Classes whose objects speak ASGI, as their frameworks' documentation names them.
const ASGI: [&str; 7] = ["FastAPI", "Starlette", "Litestar", "Quart", "Sanic", "ASGIApp", "FastHTML"];
/// Classes whose objects speak WSGI.
const WSGI: [&str; 4] = ["Flask", "APIFlask", "Bottle", "Eve"];
/// Names of modules that serve, the likeliest first.
const SERVING: [&str; 10] = ["app", "main", "asgi", "wsgi", "server", "application", "api", "web", "__init__", "run"];
/// Source files that are looked into.
const MAX_FILES: usize = 200;
/// Directories below the one that is looked at.
const DEPTH: usize = 3;

/// Finds the module that makes an application object, or a page of Streamlit or Gradio.
pub(super) fn find(tree: &Tree, packages: &Packages, port: PortIn<'_>) -> Option<Start> {
    // Without a manifest here, what lies in a directory is another application than this one.
    let sources = sources(tree, if packages.manifest.is_some() { DEPTH } else { 0 });
    let found = |look: &dyn Fn(&str, &str) -> Option<Entry>| {
        sources.iter().find_map(|(path, text)| look(path, text).map(|entry| (path.as_str(), text, entry)))
    };
    let (path, text, entry) = found(&|_, text| object(text).or_else(|| page(text)))
        .or_else(|| found(&|_, text| from_factory(text, packages)))
        .or_else(|| found(&|_, text| factory(text, packages)))?;
    let port = port(&[(path, Some(text.clone()))]);
    let number = port.value;
    let is_below_src = path.starts_with("src/") && parent(path) != "src";
    let module = path.strip_prefix("src/").filter(|_| is_below_src).unwrap_or(path).trim_end_matches(".py");
    let module = module.trim_end_matches("/__init__").replace('/', ".");
    let in_file = format!("in `{path}`");
    let start = match entry {
        Entry::Asgi { class, name, is_factory } => {
            let factory = if is_factory { " --factory" } else { "" };
            let command = format!("uvicorn --host 0.0.0.0 --port {number}{factory} {module}:{name}");
            Start::new(words(&command), port, format!("{class} `{name}` {in_file}")).with("uvicorn", packages)
        }
        Entry::Wsgi { class, name } => {
            let command = format!("gunicorn --bind 0.0.0.0:{number} {module}:{name}");
            Start::new(words(&command), port, format!("{class} `{name}` {in_file}")).with("gunicorn", packages)
        }
        Entry::Streamlit => {
            let command =
                format!("streamlit run {path} --server.headless true --server.address 0.0.0.0 --server.port {number}");
            Start::new(words(&command), port, format!("Streamlit {in_file}")).with("streamlit", packages)
        }
        Entry::Chainlit => {
            let command = format!("chainlit run {path} --headless --host 0.0.0.0 --port {number}");
            Start::new(words(&command), port, format!("Chainlit {in_file}")).with("chainlit", packages)
        }
        Entry::Gradio => {
            let start = Start::new(words(&format!("python {path}")), port, format!("Gradio {in_file}"));
            start.with("gradio", packages)
        }
    };
    // Modules beside the one that serves may be imported by their own names.
    let directory = if is_below_src { "src" } else { parent(path) };
    let is_package = !is_below_src && tree.is_file(&join(directory, "__init__.py"));
    let python_path = (!directory.is_empty() && !is_package).then(|| format!("/app/{directory}"));
    Some(Start { python_path, ..start })
}

/// What serves.
#[derive(Debug, PartialEq, Eq)]
enum Entry {
    Asgi { class: String, name: String, is_factory: bool },
    Wsgi { class: String, name: String },
    Streamlit,
    Chainlit,
    Gradio,
}

/// Source files with their beginnings, those that are likelier to serve first.
fn sources(tree: &Tree, depth: usize) -> Vec<(String, String)> {
    let mut paths: Vec<String> = tree
        .files("", depth)
        .into_iter()
        .filter(|path| path.strip_suffix(".py").is_some_and(is_plain) && !is_secondary(parent(path)))
        .collect();
    let rank = |path: &str| {
        let stem = path.trim_end_matches(".py").rsplit('/').next().unwrap_or_default();
        let depth = path.trim_start_matches("src/").matches('/').count();
        (depth, SERVING.iter().position(|it| *it == stem).unwrap_or(SERVING.len()), path.to_owned())
    };
    paths.sort_by_cached_key(|path| rank(path));
    let texts = paths.into_iter().take(MAX_FILES);
    texts.filter_map(|path| tree.read_prefix(&path, MAX_SOURCE_BYTES).map(|text| (path, text))).collect()
}

/// Names that are assigned at the top of a module, with what they are assigned.
fn assigned(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| {
        let (name, value) = line.split_once('=').filter(|(_, value)| !value.starts_with('='))?;
        let name = name.split(':').next().unwrap_or_default().trim_end();
        // `application = app = Flask(__name__)`: each of the names is the object.
        let value = value.rsplit("= ").next().unwrap_or(value);
        (is_plain(name) && !name.contains(['.', '/', '-'])).then_some((name, value.trim_start()))
    })
}

/// The class or function that is called first in an expression: `Flask` in `flask.Flask(__name__)`.
fn called(value: &str) -> Option<&str> {
    let (callee, _) = value.split_once('(')?;
    callee.rsplit('.').next().filter(|name| is_plain(name))
}

/// An application object: `app = FastAPI()`.
fn object(text: &str) -> Option<Entry> {
    assigned(text).find_map(|(name, value)| {
        let class = called(value)?.to_owned();
        let name = name.to_owned();
        match class.as_str() {
            it if ASGI.contains(&it) => Some(Entry::Asgi { class, name, is_factory: false }),
            it if WSGI.contains(&it) => Some(Entry::Wsgi { class, name }),
            // A page of Dash is served by the Flask object that it holds.
            "Dash" => Some(Entry::Wsgi { class, name: format!("{name}.server") }),
            _ => None,
        }
    })
}

/// A page that a program of its own serves.
fn page(text: &str) -> Option<Entry> {
    let imports = |module: &str| {
        text.lines().any(|line| {
            let mut words = line.split([' ', '.', ',', '\t']);
            matches!(words.next(), Some("import" | "from")) && words.next() == Some(module)
        })
    };
    if imports("streamlit") {
        return Some(Entry::Streamlit);
    }
    if imports("chainlit") {
        return Some(Entry::Chainlit);
    }
    (imports("gradio") && text.contains(".launch(")).then_some(Entry::Gradio)
}

/// An object that a factory makes: `app = create_app()`.
fn from_factory(text: &str, packages: &Packages) -> Option<Entry> {
    let (name, class) = assigned(text).find_map(|(name, value)| {
        let is_made = called(value).is_some_and(is_factory_name) && matches!(name, "app" | "application" | "api");
        is_made.then(|| (name.to_owned(), "the application".to_owned()))
    })?;
    Some(made_by(packages, class, name, false))
}

/// A factory that the server calls: `def create_app():`.
fn factory(text: &str, packages: &Packages) -> Option<Entry> {
    let definitions = text.lines().filter_map(|line| line.strip_prefix("def ")?.split_once('('));
    // One that wants something cannot be called by the server.
    let is_callable = |arguments: &str| {
        let arguments = arguments.split(')').next().unwrap_or_default();
        arguments.split(',').all(|it| it.trim().is_empty() || it.contains('=') || it.trim().starts_with('*'))
    };
    let name = definitions.into_iter().find(|(name, it)| is_factory_name(name) && is_callable(it))?.0.to_owned();
    let is_framework = ASGI.iter().chain(&WSGI).any(|class| text.contains(&format!("{class}(")));
    is_framework.then(|| made_by(packages, "the factory".to_owned(), name, true))
}

fn is_factory_name(name: &str) -> bool {
    matches!(name, "create_app" | "make_app" | "get_app" | "create_application" | "get_application" | "build_app")
}

/// What a factory makes is told by the packages alone.
fn made_by(packages: &Packages, class: String, name: String, is_factory: bool) -> Entry {
    let is_asgi = ["fastapi", "starlette", "litestar", "quart", "sanic"].iter().any(|it| packages.needs(it));
    if is_asgi {
        Entry::Asgi { class, name, is_factory }
    } else {
        Entry::Wsgi { class, name: if is_factory { format!("{name}()") } else { name } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_one_that_a_module_assigns_at_its_top() {
        let name = |text: &str| match object(text) {
            Some(Entry::Asgi { name, .. } | Entry::Wsgi { name, .. }) => Some(name),
            _ => None,
        };

        assert_eq!(name("import flask\nweb: flask.Flask = flask.Flask(__name__)\n").as_deref(), Some("web"));
        assert_eq!(name("api = FastAPI(\n  title='x')\n").as_deref(), Some("api"));
        assert_eq!(name("app = Dash(__name__)\n").as_deref(), Some("app.server"));
        assert_eq!(name("def create_app():\n    app = Flask(__name__)\n"), None);
        assert_eq!(name("application = app = Flask(__name__)\n").as_deref(), Some("application"));
        assert_eq!(name("x == Flask(\nself.app = Flask()\nFlaskish = MyFlask()\n"), None);
    }

    #[test]
    fn a_page_is_told_by_what_it_imports() {
        assert_eq!(page("import streamlit as st\n"), Some(Entry::Streamlit));
        assert_eq!(page("from chainlit.server import app\n"), Some(Entry::Chainlit));
        assert_eq!(page("import gradio\ndemo.launch()\n"), Some(Entry::Gradio));
        assert_eq!(page("import gradio\n"), None);
        assert_eq!(page("import streamlit_utils\n"), None);
    }
}
