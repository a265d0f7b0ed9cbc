//! What starts a Node server.

/// What starts a server.
pub(super) struct Start {
    pub(super) command: Vec<String>,
    /// What it was taken for.
    pub(super) what: String,
    /// The file that is started, where its port may stand.
    pub(super) file: Option<String>,
    /// The usual port of its framework.
    pub(super) port: Option<u16>,
    /// A command after the build.
    pub(super) finish: Option<String>,
    /// A command before the build.
    pub(super) prepare: Option<String>,
    pub(super) warning: Option<String>,
    /// Whether it runs from a build even when there is no script of that name.
    pub(super) needs_build: bool,
}

impl Start {
    pub(super) fn new(command: Vec<String>, what: impl Into<String>) -> Self {
        let what = what.into();
        let (file, port, finish, prepare, warning) = (None, None, None, None, None);
        Self { command, what, file, port, finish, prepare, warning, needs_build: false }
    }
}
