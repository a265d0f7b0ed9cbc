//! Stories about the server as a client sees it.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod decommission;
mod deploy;
mod http;
mod plans;
mod versions;
mod world;
