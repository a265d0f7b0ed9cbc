//! Entry point of the `on-demand-infra` program.

fn main() {}
