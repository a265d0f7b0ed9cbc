//! Clients of the APIs that steps talk to, each with an endpoint that can be overridden.

pub mod aws;
pub mod docker;
pub mod kube;
pub mod price;
