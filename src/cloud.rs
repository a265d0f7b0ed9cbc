//! Clients of the APIs that steps talk to, each with an endpoint that can be overridden.

pub mod aws;
pub mod docker;
pub mod kube;
pub mod message;
pub mod price;

/// Takes what is going on or waited for right now, as one line for a person; it must return at once.
pub type OnProgress<'a> = &'a (dyn Fn(String) + Send + Sync);
