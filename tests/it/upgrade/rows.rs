//! The rows that an earlier version has stored, as this one reads them.

use std::collections::BTreeMap;

use on_demand_infra::config::value::Database;
use on_demand_infra::id::{DeploymentId, OperationId, TargetId};
use on_demand_infra::plan::Plan;
use on_demand_infra::store::Store;
use serde::Serialize;
use serde_json::Value;
use steno::{SagaDag, SagaNodeEventType};

use super::fixture::{self, Fixture};
use super::told::stored_events;
use crate::world::World;

#[tokio::test]
async fn every_row_of_an_earlier_version_is_read_and_no_value_is_lost() {
    for folder in fixture::all() {
        let mut fixture = Fixture::read(folder);
        let mut world = World::start().await;
        let _program = fixture.restore(&mut world).await;
        let events = stored_events(&world).await;
        let store = Store::open(&Database::Sqlite(world.path("workspace/store.sqlite"))).await.unwrap();

        let name = fixture.name();
        for id in world.texts("SELECT id FROM operations").await {
            let read = store.events(OperationId::parse(&id).unwrap(), 0).await.unwrap();
            let read: Vec<Value> = read.iter().map(|it| serde_json::to_value(it).unwrap()).collect();
            assert_eq!(read, events.get(&id).cloned().unwrap_or_default(), "{name}: events of {id}");
            reads_operation(&name, &store, OperationId::parse(&id).unwrap()).await;
        }
        reads_records(&name, &world, &store).await;
    }
}

/// The plan of an operation, the graph that was made of it, and what its steps have left behind.
async fn reads_operation(name: &str, store: &Store, id: OperationId) {
    let operation = store.operation(id).await.unwrap().expect("it is listed");
    let plan: Plan = serde_json::from_value(operation.plan.clone()).unwrap();
    keeps_values(name, &operation.plan, &plan);

    let Some(dag) = store.saga_dag(id).await.unwrap() else { return };
    let dag: SagaDag = serde_json::from_value(dag).unwrap();
    let nodes = dag.get_nodes().map(|node| (node.index().index(), node.name().as_ref().to_owned()));
    let nodes: BTreeMap<usize, String> = nodes.collect();
    for (node, entry) in store.saga_events::<SagaNodeEventType>(id).await.unwrap() {
        let step = nodes.get(&(node as usize)).and_then(|name| plan.find(name));
        let (Some(step), SagaNodeEventType::Succeeded(output)) = (step, entry) else {
            continue;
        };
        // Words are made of what the step has left behind, and there are none when that cannot be read.
        assert!(!step.summary(&output).is_empty(), "{name}: `{}` left {output}", step.name());
    }
}

async fn reads_records(name: &str, world: &World, store: &Store) {
    let json = |text: Option<String>| text.map_or(Value::Null, |it| serde_json::from_str(&it).unwrap());
    for id in world.texts("SELECT id FROM deployments").await {
        let facts = world.texts(&format!("SELECT facts FROM deployments WHERE id = '{id}'")).await.pop();
        let id = DeploymentId::parse(&id).unwrap();
        keeps_values(name, &json(facts), &store.deployment(id).await.unwrap().expect("it is listed").facts);
        let versions = format!("SELECT version FROM versions WHERE deployment_id = '{id}' ORDER BY revision");
        for (then, now) in world.texts(&versions).await.into_iter().zip(store.versions(id).await.unwrap()) {
            keeps_values(name, &json(Some(then)), &now);
        }
    }
    for id in world.texts("SELECT id FROM targets").await {
        let target = store.target(TargetId::parse(&id).unwrap()).await.unwrap().expect("it is listed");
        for (column, now) in
            [("instance", serde_json::to_value(&target.instance)), ("cluster", serde_json::to_value(&target.cluster))]
        {
            let then = world
                .texts(&format!("SELECT {column} FROM targets WHERE id = '{id}' AND {column} IS NOT NULL"))
                .await
                .pop();
            keeps_values(name, &json(then), &now.unwrap());
        }
    }
}

/// Expects each value that was stored in what was read of it, under whatever name.
fn keeps_values(name: &str, then: &Value, now: &impl Serialize) {
    let mut left = values(&serde_json::to_value(now).unwrap());
    for value in values(then) {
        let place = left.iter().position(|it| *it == value);
        let place = place.unwrap_or_else(|| panic!("{name}: {value} of {then:#} is lost"));
        left.swap_remove(place);
    }
}

fn values(of: &Value) -> Vec<Value> {
    match of {
        Value::Null => Vec::new(),
        Value::Array(items) => items.iter().flat_map(values).collect(),
        Value::Object(fields) => fields.values().flat_map(values).collect(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => vec![of.clone()],
    }
}
