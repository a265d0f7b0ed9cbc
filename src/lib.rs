//! An OpenAI-compatible server that turns a chat request into a running application.
//!
//! ```text
//! request -> http -> conversation -> app -> executor -> plan -> engine -> step -> host | tool | cloud | template
//!                               |                           |
//!                               +---------- store ----------+-- events -> SSE, chat answer
//! ```
//!
//! # The layers
//! The `mod` lines below are their one order: a module uses only modules that come after it (`tests/architecture.rs`
//! reads every `use crate::` line and fails on one that points upwards).
//!
//! - [`cli`] and [`logging`]: the commands of the program (`serve`, `migrate`, `backup`, `openapi`, `doctor`) and its log.
//! - [`http`]: OpenAI's wire format, authentication, limits, streams. A handler extracts, asks, and converts.
//! - [`conversation`]: what is said, with a chat model or without, to what is done and to the words that answer it.
//! - [`app`]: every long-lived handle, built from settings; takes a request in and says what became of it.
//! - [`reply`]: what was done or is, as the Markdown that a person reads.
//! - [`executor`]: what each action means in each mode, as a plan, and what is stored when a plan has ended. Pure.
//! - [`intent`]: the typed request, from body fields or from a sentence, and which deployment it means.
//! - [`llm`]: the chat model and the embedding model, when there are any: a client of Azure OpenAI and of what speaks
//!   like it.
//! - [`engine`]: runs a plan forwards, and backwards when a step fails; carries on after a crash.
//! - [`plan`]: the graph of steps. Data: it is stored, printed (`dry_run`), and never waits.
//! - [`step`]: one unit of work per file, with `check`, `run` and `undo`.
//! - [`diagnosis`], [`repository`]: why an application does not run; what a clone holds.
//! - [`host`], [`tool`], [`cloud`], [`template`]: the tools of one machine, calls of programs, clients of APIs, manifests.
//! - [`store`], [`event`], [`audit`], [`access`], [`secret`], [`config`], [`id`]: used by everyone, and they use nobody above them.
//!
//! # What always holds
//! - A request that changes something is stored before it has any effect, and a step before it works.
//! - Killed at any moment, the next start ends in the intended state or in nothing left (`tests/it`, `tests/real`).
//! - One operation at a time changes a deployment; the same request sent again attaches to it.
//! - Secrets are never in argv, log, events, answers or files that others can read, and are erased when the operation ends.

pub mod cli;
pub mod logging;

pub mod http;
pub mod conversation;
pub mod app;
pub mod reply;

pub mod executor;
pub mod intent;
pub mod llm;

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
pub mod audit;
pub mod access;
pub mod secret;
pub mod config;
pub mod id;
