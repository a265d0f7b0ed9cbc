//! What starts a Python application.

use crate::id::Port;
use crate::repository::application::Sourced;

use super::packages::Packages;

/// Finds the port in texts, each with the file that it is from.
pub(super) type PortIn<'a> = &'a dyn Fn(&[(&str, Option<String>)]) -> Sourced<Port>;

/// What starts an application.
pub(super) struct Start {
    pub(super) command: Vec<String>,
    pub(super) port: Sourced<Port>,
    /// What it was taken for, such as ``the Flask application `app` in `main.py` ``.
    pub(super) what: String,
    /// Packages that the command needs and the application does not ask for.
    pub(super) packages: Vec<&'static str>,
    /// A directory in the image, beside the working directory, in which it finds its modules.
    pub(super) python_path: Option<String>,
    /// Path of Django's `manage.py`; empty without one.
    pub(super) manage: String,
    pub(super) is_django: bool,
    /// Whether Django collects static files into a directory.
    pub(super) collects_static: bool,
}

impl Start {
    pub(super) fn new(command: Vec<String>, port: Sourced<Port>, what: impl Into<String>) -> Self {
        let (what, packages) = (what.into(), Vec::new());
        let (python_path, manage) = (None, String::new());
        Self { command, port, what, packages, python_path, manage, is_django: false, collects_static: false }
    }

    /// With a package that serves it, unless the application asks for that itself.
    pub(super) fn with(mut self, package: &'static str, packages: &Packages) -> Self {
        if !packages.asks_for(package) {
            self.packages.push(package);
        }
        self
    }
}
