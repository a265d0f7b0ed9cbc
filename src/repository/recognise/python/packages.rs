//! What a Python project says that it needs, and the program that installs it.

use figment::providers::{Format as _, Toml};
use serde_json::{Value, json};

use crate::repository::application::{MAX_MANIFEST_BYTES, is_plain};
use crate::repository::tree::Tree;

/// Packages that are compiled against, or that run, libraries of Debian, with Debian's packages: as their own installation
/// guides name them.
const SYSTEM_PACKAGES: [(&str, &[&str]); 14] = [
    ("psycopg2", &["gcc", "libc6-dev", "libpq-dev"]),
    ("psycopg", &["libpq5"]),
    ("mysqlclient", &["gcc", "libc6-dev", "default-libmysqlclient-dev", "pkg-config"]),
    ("uwsgi", &["gcc", "libc6-dev"]),
    ("pycairo", &["gcc", "libc6-dev", "libcairo2-dev", "pkg-config"]),
    ("cairosvg", &["libcairo2"]),
    ("weasyprint", &["libpango-1.0-0", "libpangoft2-1.0-0"]),
    ("opencv-python", &["libgl1", "libglib2.0-0"]),
    ("python-magic", &["libmagic1"]),
    ("python-ldap", &["gcc", "libc6-dev", "libldap2-dev", "libsasl2-dev"]),
    ("pyodbc", &["unixodbc"]),
    ("pydub", &["ffmpeg"]),
    ("pdf2image", &["poppler-utils"]),
    ("pytesseract", &["tesseract-ocr"]),
];
/// Where requirements are looked for.
const REQUIREMENTS: [&str; 4] =
    ["requirements.txt", "requirements/production.txt", "requirements/prod.txt", "requirements/base.txt"];

/// Files that requirements may include.
const MAX_INCLUDED: usize = 20;

/// The program that installs the packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Installer {
    Nothing,
    Pip,
    Setup,
    Uv,
    Poetry,
    Pipenv,
    Pdm,
}

/// What a project needs.
#[derive(Debug)]
pub(super) struct Packages {
    /// The file that says so.
    pub(super) manifest: Option<String>,
    /// `pyproject.toml`; null when there is none.
    pub(super) project: Value,
    /// `Pipfile`; null when there is none.
    pub(super) pipfile: Value,
    installer: Installer,
    is_locked: bool,
    /// Whether the packages can be installed before the sources are there, so that their layer outlives changes of those.
    is_early: bool,
    /// Whether the project itself is installed, as a package.
    is_package: bool,
    /// Everything that names packages, in lower case.
    text: String,
}

impl Packages {
    /// Reads the manifests and lock files of a directory: a lock file says most, and a manifest of one program more than one
    /// of all.
    pub(super) fn read(tree: &Tree) -> Self {
        let toml = |path: &str| -> Value {
            let text = tree.read_prefix(path, MAX_MANIFEST_BYTES);
            text.and_then(|text| Toml::from_str(&text).ok()).unwrap_or_default()
        };
        let (project, pipfile) = (toml("pyproject.toml"), toml("Pipfile"));
        let has = |name: &str| tree.is_file(name);
        let has_project = has("pyproject.toml");
        let requirements = REQUIREMENTS.into_iter().find(|name| has(name));
        let is_poetry = !project["tool"]["poetry"].is_null() && project["project"]["dependencies"].is_null();
        let has_dependencies = !project["project"].is_null() || !project["dependency-groups"].is_null();
        let (installer, manifest, is_locked) = match requirements {
            _ if has_project && has("uv.lock") => (Installer::Uv, Some("uv.lock"), true),
            _ if has_project && has("poetry.lock") => (Installer::Poetry, Some("poetry.lock"), true),
            _ if has_project && has("pdm.lock") => (Installer::Pdm, Some("pdm.lock"), true),
            _ if has("Pipfile") && has("Pipfile.lock") => (Installer::Pipenv, Some("Pipfile.lock"), true),
            Some(requirements) => (Installer::Pip, Some(requirements), false),
            None if has("Pipfile") => (Installer::Pipenv, Some("Pipfile"), false),
            None if is_poetry => (Installer::Poetry, Some("pyproject.toml"), false),
            None if has_dependencies => (Installer::Uv, Some("pyproject.toml"), false),
            None if has("setup.py") => (Installer::Setup, Some("setup.py"), false),
            None => (Installer::Nothing, has_project.then_some("pyproject.toml"), false),
        };
        let names = manifest.iter().chain(["pyproject.toml", "Pipfile"].iter().filter(|_| installer != Installer::Pip));
        let mut text =
            names.filter_map(|name| tree.read_prefix(name, MAX_MANIFEST_BYTES)).collect::<Vec<_>>().join("\n");
        if installer == Installer::Pip {
            text = requirements_of(tree, &text);
        }
        let is_early = match installer {
            Installer::Pip => is_self_contained(&text) && !manifest.is_some_and(|it| it.contains('/')),
            // A version that is read from the sources needs them.
            Installer::Uv => {
                project["tool"]["uv"]["workspace"].is_null()
                    && project["project"]["dynamic"].is_null()
                    && !text.contains("path = ")
            }
            Installer::Poetry | Installer::Pdm | Installer::Pipenv => {
                !text.contains("path = ") && !text.contains("file://")
            }
            Installer::Nothing | Installer::Setup => false,
        };
        Self {
            manifest: manifest.map(str::to_owned),
            is_package: is_package(tree, &project),
            project,
            pipfile,
            installer,
            is_locked,
            is_early,
            text: text.to_lowercase(),
        }
    }

    /// Whether the project asks for a package, or its lock file for it on behalf of another one.
    pub(super) fn needs(&self, package: &str) -> bool {
        self.text.match_indices(package).any(|(at, _)| {
            let behind = &self.text[at + package.len()..];
            let before = &self.text[..at];
            !before.ends_with(is_part)
                && !behind.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        })
    }

    /// Whether the project itself asks for a package in what it is installed with: not in a group for development, and not
    /// only on behalf of another package.
    pub(super) fn asks_for(&self, package: &str) -> bool {
        if self.installer == Installer::Pip {
            return self.needs(package);
        }
        let dependencies =
            self.project["project"]["dependencies"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let names = dependencies.map(|it| it.split(|c: char| !is_part(c)).next().unwrap_or_default());
        let tables = [&self.project["tool"]["poetry"]["dependencies"], &self.pipfile["packages"]];
        let mut keys = tables.iter().filter_map(|it| it.as_object()).flat_map(|it| it.keys().map(String::as_str));
        names.chain(&mut keys).any(|name| name.eq_ignore_ascii_case(package))
    }

    /// Says how they are installed.
    pub(super) fn said(&self) -> Option<String> {
        let program = match self.installer {
            Installer::Nothing => return None,
            Installer::Pip | Installer::Setup => "pip",
            Installer::Uv => "uv",
            Installer::Poetry => "Poetry",
            Installer::Pipenv => "Pipenv",
            Installer::Pdm => "PDM",
        };
        Some(format!("packages by {program} (`{}`)", self.manifest.as_deref()?))
    }

    /// What the template needs to know of them: the program, what it needs before the sources are there, its commands.
    pub(super) fn values(&self) -> Value {
        let manifest = self.manifest.as_deref().unwrap_or_default();
        let frozen = if self.is_locked { " --frozen" } else { "" };
        let own = |command: String| self.is_package.then_some(command);
        let (program, install, install_itself) = match self.installer {
            Installer::Nothing => (None, None, None),
            Installer::Pip => (None, Some(format!("pip install -r {manifest}")), None),
            Installer::Setup => (None, None, Some("pip install .".to_owned())),
            Installer::Uv => (
                Some("uv"),
                Some(format!("uv sync{frozen} --no-dev --no-install-project")),
                own(format!("uv sync{frozen} --no-dev --no-editable --inexact")),
            ),
            Installer::Poetry => (
                Some("poetry"),
                Some("poetry install --no-interaction --only main --no-root".to_owned()),
                own("poetry install --no-interaction --only main".to_owned()),
            ),
            Installer::Pipenv if self.is_locked => (Some("pipenv"), Some("pipenv sync".to_owned()), None),
            Installer::Pipenv => (Some("pipenv"), Some("pipenv install --skip-lock".to_owned()), None),
            Installer::Pdm => (
                // PDM up to 2.29 does not work with hishel 2, which it does not exclude.
                Some("pdm 'hishel<2'"),
                Some("pdm sync --prod --no-self".to_owned()),
                own("pdm sync --prod --no-editable".to_owned()),
            ),
        };
        let needed = match self.installer {
            Installer::Pip => manifest.to_owned(),
            Installer::Pipenv => "Pipfile*".to_owned(),
            Installer::Uv | Installer::Poetry | Installer::Pdm if self.is_locked => {
                format!("pyproject.toml {manifest}")
            }
            Installer::Uv | Installer::Poetry | Installer::Pdm | Installer::Nothing | Installer::Setup => {
                "pyproject.toml".to_owned()
            }
        };
        let system = SYSTEM_PACKAGES.into_iter().filter(|(package, _)| self.needs(package));
        let mut system: Vec<&str> = system.flat_map(|(_, names)| names.iter().copied()).collect();
        if self.text.contains("git+") {
            system.push("git");
        }
        system.sort_unstable();
        system.dedup();
        json!({
            "program": program,
            "install": install,
            "install_itself": install_itself,
            "needed": self.is_early.then_some(needed),
            "system": system,
        })
    }
}

/// Whether a character may be part of a package's name.
fn is_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// The text of requirements without comments, and with that of the files that they include.
fn requirements_of(tree: &Tree, text: &str) -> String {
    let included =
        text.lines().filter_map(|line| line.trim().strip_prefix("-r")).map(str::trim).filter(|it| is_plain(it));
    let included = included.take(MAX_INCLUDED).filter_map(|path| tree.read_prefix(path, MAX_MANIFEST_BYTES));
    let all: Vec<String> = std::iter::once(text.to_owned()).chain(included).collect();
    let lines = all.iter().flat_map(|text| text.lines());
    lines
        .map(|line| line.split(" #").next().unwrap_or(line))
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Whether requirements name nothing that lies in the clone.
fn is_self_contained(requirements: &str) -> bool {
    requirements
        .lines()
        .map(str::trim)
        .all(|line| !line.starts_with('-') && !line.starts_with('.') && !line.contains("file:"))
}

/// Whether a project can be installed as a package of its own name, which its entry points and its version may need.
///
/// One with other directories in its root cannot: setuptools refuses several of them ("Package Discovery and Namespace
/// Packages"), Poetry one that is not there.
fn is_package(tree: &Tree, project: &Value) -> bool {
    let poetry = &project["tool"]["poetry"];
    let is_off = poetry["package-mode"] == false || project["tool"]["uv"]["package"] == false;
    let name = project["project"]["name"].as_str().or(poetry["name"].as_str());
    let Some(name) = name.filter(|name| is_plain(name) && !is_off && !project["build-system"].is_null()) else {
        return false;
    };
    let module = name.to_lowercase().replace(['-', '.'], "_");
    ["", "src/"].iter().any(|above| {
        let path = format!("{above}{module}");
        tree.is_directory(&path) || tree.is_file(&format!("{path}.py"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::tests::clone_of;

    fn packages(files: &[(&str, &str)]) -> Packages {
        let root = clone_of(files);
        Packages::read(&Tree::open(root.path()).unwrap())
    }

    #[test]
    fn a_lock_file_says_which_program_installs() {
        let project = ("pyproject.toml", "[project]\nname = \"x\"\n");
        let poetry = ("pyproject.toml", "[tool.poetry]\nname = \"x\"\n");
        let of = |files: &[(&str, &str)]| packages(files).said().unwrap_or_default();

        assert_eq!(of(&[project, ("uv.lock", ""), ("requirements.txt", "")]), "packages by uv (`uv.lock`)");
        assert_eq!(of(&[poetry, ("poetry.lock", "")]), "packages by Poetry (`poetry.lock`)");
        assert_eq!(of(&[project, ("pdm.lock", "")]), "packages by PDM (`pdm.lock`)");
        assert_eq!(of(&[("Pipfile", ""), ("Pipfile.lock", "{}")]), "packages by Pipenv (`Pipfile.lock`)");
        assert_eq!(of(&[("Pipfile", ""), ("requirements.txt", "")]), "packages by pip (`requirements.txt`)");
        assert_eq!(of(&[poetry]), "packages by Poetry (`pyproject.toml`)");
        assert_eq!(of(&[project]), "packages by uv (`pyproject.toml`)");
        assert_eq!(of(&[("pyproject.toml", "[tool.ruff]\n")]), "");
    }

    #[test]
    fn a_package_is_needed_under_its_whole_name() {
        let packages = packages(&[("requirements.txt", "psycopg2-binary==2.9\nFlask[async]>=3\n# django\n")]);

        assert!(packages.needs("flask") && packages.needs("psycopg2-binary"));
        assert!(!packages.needs("psycopg2") && !packages.needs("gunicorn") && !packages.needs("psycopg"));
    }

    #[test]
    fn a_project_is_a_package_when_its_directory_is_there() {
        let built = "[project]\nname = \"my-shop\"\n[build-system]\nrequires = []\n";

        assert!(packages(&[("pyproject.toml", built), ("src/my_shop/__init__.py", "")]).is_package);
        assert!(packages(&[("pyproject.toml", built), ("my_shop.py", "")]).is_package);
        assert!(!packages(&[("pyproject.toml", built), ("app/main.py", ""), ("tests/x.py", "")]).is_package);
        assert!(!packages(&[("pyproject.toml", "[project]\nname = \"my-shop\"\n"), ("my_shop.py", "")]).is_package);
    }
}
