//! `/mcp`: the same requests as tools, for agents and their clients.

use serde_json::{Value, json};

use crate::world::World;
use crate::world::mcp::Mcp;

mod changes;
mod confirmation;
mod protocol;
mod resources;
mod stdio;
mod tasks;

/// The arguments of a deploy.
fn notes(world: &World) -> Value {
    json!({"deployment_mode": "local", "github_repo_url": world.repository("notes"), "instance_name": "notes",
        "target_namespace": "team"})
}

/// Names what [`notes`] has deployed.
fn named() -> Value {
    json!({"instance_name": "notes"})
}

/// Deploys it and expects it to run.
async fn deployed(world: &World, client: &Mcp<'_>) -> Value {
    let operation = client.change("deploy", notes(world)).await;
    assert_eq!(operation["state"], "succeeded", "{operation:#}");
    operation
}
