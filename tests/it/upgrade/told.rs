//! What a server tells of its store, in a form in which two versions can be compared.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sqlx::Row;

use super::fixture::Story;
use crate::world::World;

/// What the API lists. Of an operation that has not ended only what stays as it is.
pub(super) async fn listed(world: &World) -> Value {
    let operations = world.get("/v1/operations?limit=100").await.body;
    let operations = operations["data"].as_array().unwrap().iter().map(|it| (id(it), in_short(it)));
    json!({"operations": operations.collect::<Map<_, _>>(), "deployments": deployments(world).await})
}

async fn deployments(world: &World) -> Map<String, Value> {
    let mut deployments = Map::new();
    for query in ["limit=100", "limit=100&state=removed"] {
        let found = world.get(&format!("/v1/deployments?{query}")).await.body;
        deployments.extend(found["data"].as_array().unwrap().iter().map(|it| (id(it), it.clone())));
    }
    deployments
}

fn id(object: &Value) -> String {
    object["id"].as_str().unwrap().to_owned()
}

/// An operation without words that may be others tomorrow.
fn in_short(operation: &Value) -> Value {
    let mut short = json!({});
    let (always, at_its_end) = (["action", "created_at", "ended_at"], ["state", "progress", "error"]);
    let has_ended = !operation["ended_at"].is_null();
    for field in always.iter().chain(at_its_end.iter().filter(|_| has_ended)) {
        short[field] = operation[field].clone();
    }
    let steps = operation["steps"].as_array().unwrap().iter();
    short["steps"] = steps
        .map(|it| (it["step"].as_str().unwrap().to_owned(), if has_ended { it["state"].clone() } else { json!({}) }))
        .collect::<Map<_, _>>()
        .into();
    short
}

/// What has become of the operation and of everything else.
pub(super) async fn outcome(world: &World, story: &Story) -> Value {
    let mut operation = Value::Null;
    if let Some(id) = &story.operation {
        operation = in_short(&world.get(&format!("/v1/operations/{id}")).await.body);
        operation.as_object_mut().unwrap().remove("ended_at");
    }
    let mut deployments = deployments(world).await;
    for deployment in deployments.values_mut() {
        deployment.as_object_mut().unwrap().remove("updated_at");
    }
    json!({
        "operation": operation,
        "deployments": deployments,
        "unfinished_leftovers": world.unfinished_leftovers().await,
        "builds": world.docker.builds(),
        "made": world.calls("made").len(),
        "world": things(world),
    })
}

/// What there is, but for what a controller makes of it.
fn things(world: &World) -> Vec<String> {
    let objects =
        world.kube.objects().into_iter().filter(|it| !it.starts_with("pods ") && !it.starts_with("replicasets "));
    let of = |kind: &str, names: Vec<String>| names.into_iter().map(|it| format!("{kind} {it}")).collect::<Vec<_>>();
    let mut things = [
        objects.collect(),
        of("cluster", world.clusters()),
        of("image", world.docker.images()),
        of("image on a node", world.docker.node_images()),
        of("thing on AWS", world.aws.things()),
    ]
    .concat();
    things.sort();
    things
}

/// All events as they are stored, by operation, in the form of the API.
pub(super) async fn stored_events(world: &World) -> BTreeMap<String, Vec<Value>> {
    let mut events: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for row in world.rows("SELECT operation_id, sequence, at_ms, event FROM operation_events ORDER BY sequence").await {
        let mut event: Value = serde_json::from_str(row.get("event")).unwrap();
        event["sequence"] = json!(row.get::<i64, _>("sequence"));
        let at = jiff::Timestamp::from_millisecond(row.get("at_ms")).unwrap();
        event["at"] = json!(at);
        events.entry(row.get("operation_id")).or_default().push(event);
    }
    events
}

/// Expects everything that there was, as it was; more may have come.
pub(super) fn expect(what: &str, now: &Value, then: &Value) {
    match (now, then) {
        (Value::Object(now), Value::Object(then)) => {
            for (name, then) in then {
                let now = now.get(name).unwrap_or_else(|| panic!("{what}: `{name}` is not there any more: {now:#?}"));
                expect(&format!("{what}: {name}"), now, then);
            }
        }
        _ => assert_eq!(now, then, "{what}"),
    }
}
