//! Stories about the server as a client sees it.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod access;
mod addresses;
mod beginning;
mod builders;
mod builds;
mod cancel;
mod causes;
mod cloud_hosted;
mod cloud_local;
mod commands;
mod concurrency;
mod console;
mod conversation;
mod decommission;
mod deploy;
mod embeddings;
mod half_made;
mod http;
mod idempotency;
mod lifecycle;
mod mcp;
mod node_ports;
mod plans;
mod postgres;
mod progress;
mod questions;
mod reaper;
mod remains;
mod responses;
mod restart;
mod retries;
mod secrets;
mod sentences;
mod settling;
mod soak;
mod stuck;
mod unreadable;
mod upgrade;
mod versions;
mod world;
