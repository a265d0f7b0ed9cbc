//! The connection to where programs run and files are: none for this machine, or ssh to another one.

use crate::tool::ssh::Ssh;

/// How programs and files are reached. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub enum Connection {
    /// This machine.
    #[default]
    Local,
    /// A machine that is reached by ssh.
    Ssh(Ssh),
}

impl Connection {
    /// Whether it is this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Local)
    }
}
