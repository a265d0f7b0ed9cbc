//! Stories about the server as a client sees it.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod cancel;
mod cloud_hosted;
mod cloud_local;
mod commands;
mod concurrency;
mod conversation;
mod decommission;
mod deploy;
mod http;
mod idempotency;
mod lifecycle;
mod plans;
mod postgres;
mod questions;
mod reaper;
mod restart;
mod retries;
mod secrets;
mod stuck;
mod upgrade;
mod versions;
mod world;
