//! External programs: how they are called, here or over ssh, and what is known of each of them.
//!
//! A call that only looks ([`Call::run`]) ends with us. A call that changes the world ([`Call::run_durably`]) writes to files
//! that are followed, so that it outlives a killed server; its process is on record before the program is started, and
//! [`Connection::await_orphans`](connection::Connection::await_orphans) waits for it at the next start.

pub mod builder;
mod call;
pub mod connection;
mod error;
mod files;
pub mod folder;
pub mod git;
pub mod helm;
mod interrupt;
pub mod kind;
mod orphans;
mod output;
mod process;
pub mod program_error;
mod script;
pub mod ssh;
pub mod step_calls;
mod supervise;
pub mod terraform;

pub use crate::tool::call::Call;
pub use crate::tool::error::ToolError;
pub use crate::tool::output::Output;
pub use crate::tool::supervise::missing_requirements;

/// Writes a program that a test calls in place of a real one.
#[cfg(test)]
pub(crate) fn write_executable(path: &std::path::Path, text: &str) {
    std::fs::write(path, text).expect("the folder of a test can be written to");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(path, mode).expect("it has just been written");
}
