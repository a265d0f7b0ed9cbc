//! The store: operations, events, deployments and targets, with the same SQL on SQLite and PostgreSQL.

pub mod record;
