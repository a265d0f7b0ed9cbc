//! An OpenAI-compatible server that turns a chat request into a running application.
//!
//! The `mod` lines below are the one order of the layers: a module uses only modules that come after it
//! (`tests/architecture.rs` reads every `use crate::` line and fails on one that points upwards).

pub mod cli;
pub mod logging;

pub mod http;
pub mod app;
pub mod reply;

pub mod executor;
pub mod intent;

pub mod engine;
pub mod plan;
pub mod step;

pub mod diagnosis;
pub mod repository;
pub mod host;
pub mod tool;
pub mod cloud;
pub mod template;

pub mod store;
pub mod event;
pub mod secret;
pub mod config;
pub mod id;
