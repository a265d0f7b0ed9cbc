//! An operation that an earlier version left unfinished is carried on by this one, and what earlier versions have stored is
//! told as they told it. What they left is in `tests/fixtures/store`, a folder for each version; see its README.

use std::path::PathBuf;

use serde_json::Value;

use crate::plans::each;
use crate::world::{TargetKind, World, eventually};

mod cases;
mod fixture;
mod rows;
mod told;

use fixture::{Fixture, Story};
use told::{expect, listed, outcome, stored_events};

#[tokio::test]
async fn what_an_earlier_version_left_unfinished_is_carried_on() {
    each(fixture::all(), async |folder| is_carried_on(folder, World::start().await).await).await;
}

#[tokio::test]
async fn what_an_earlier_version_left_in_postgres_is_carried_on() {
    let is_local = |folder: &PathBuf| Fixture::read(folder.clone()).story.target_kind == TargetKind::LocalKind;
    let local = fixture::all().into_iter().filter(is_local);
    each(local, async |folder| is_carried_on(folder, World::on_postgres().await).await).await;
}

#[tokio::test]
async fn what_an_earlier_version_left_unfinished_can_be_cancelled() {
    each(fixture::all(), is_cancelled).await;
}

/// Earlier versions knew what they had made in a cloud by files alone.
#[tokio::test]
async fn what_an_earlier_version_made_in_a_cloud_is_on_record_after_the_start() {
    // One that is being taken back forgets them one after the other.
    let in_cloud = |folder: &PathBuf| {
        let story = Fixture::read(folder.clone()).story;
        story.target_kind != TargetKind::LocalKind && story.failing.is_empty()
    };
    each(fixture::all().into_iter().filter(in_cloud), async |folder| {
        let mut fixture = Fixture::read(folder);
        let mut world = World::start().await;
        let _program = fixture.restore(&mut world).await;
        let made =
            "SELECT id FROM targets WHERE made_here = 1 UNION SELECT id FROM deployments WHERE state <> 'removed'";
        let owners = world.texts(made).await;
        let with_files = world.files_with("on-demand-infra:operation").into_iter();
        let with_files: Vec<String> = with_files.filter(|it| it.ends_with("terraform.tfvars.json")).collect();

        world.start_again().await;

        let recorded = world.texts("SELECT owner FROM terraform_workspaces WHERE operation_id IS NOT NULL").await;
        assert!(recorded.iter().all(|it| owners.contains(it)), "{}: {recorded:?}", fixture.name());
        assert_eq!(recorded.len(), with_files.len(), "{}: {with_files:?}", fixture.name());
    })
    .await;
}

async fn is_carried_on(folder: PathBuf, mut world: World) {
    let mut fixture = Fixture::read(folder);
    let program = fixture.restore(&mut world).await;
    let (name, story) = (fixture.name(), &fixture.story);
    let stored = stored_events(&world).await;

    world.start_again().await;
    expect(&format!("{name}: before"), &listed(&world).await, &story.listed);
    if let (Some(_), Some(operation)) = (program, &story.operation) {
        is_waited_for(&world, operation, &stored[operation].last().unwrap()["sequence"]).await;
    }
    story.go_on(&world).await;

    expect(&format!("{name}: afterwards"), &outcome(&world, story).await, &story.outcome);
    for (operation, events) in stored {
        let told = world.events(&operation).await;
        for event in events {
            let same = told.iter().find(|it| it["sequence"] == event["sequence"]).cloned().unwrap_or_default();
            expect(&format!("{name}: an event of {operation}"), &same, &event);
        }
    }
    for action in &story.then {
        let answer = world.chat(&world.request_for(action)).await;
        assert_eq!(answer.state(), "succeeded", "{name}: {}", answer.text());
    }
    goes_without_a_trace(&name, &world).await;
}

async fn is_cancelled(folder: PathBuf) {
    let mut fixture = Fixture::read(folder);
    let Some(operation) = fixture.story.cancellable() else { return };
    let mut world = World::start().await;
    let _program = fixture.restore(&mut world).await;

    world.start_again().await;
    let asked = world.post(&format!("/v1/operations/{operation}/cancel")).await;
    fixture.story.release(&world);

    let (name, ended) = (fixture.name(), world.ended(&operation).await);
    assert_eq!(asked.status, 200, "{name}: {asked:?}");
    // One that was being taken back already has failed.
    assert!(ended["state"] == "cancelled" || ended["state"] == "undone", "{name}: {ended:#}");
    assert_eq!(world.unfinished_leftovers().await, Vec::<String>::new(), "{name}");
    goes_without_a_trace(&name, &world).await;
}

/// Expects that the server says something about a program that works on, and does not start another one.
async fn is_waited_for(world: &World, operation: &str, last_event: &Value) {
    let begun = || ["terraform", "helm"].map(|it| (it, world.calls(it)));
    let is_new = format!("operation_id = '{operation}' AND sequence > {last_event}");
    let said = format!("SELECT event FROM operation_events WHERE {is_new} AND event LIKE '%step_progress%'");
    eventually("the server to wait for a program", async || !world.texts(&said).await.is_empty()).await;
    let has_changed = |call: &String| !call.starts_with("version");
    for (program, calls) in begun() {
        let calls: Vec<String> = calls.into_iter().filter(has_changed).collect();
        assert!(calls.len() <= 1, "{program} is called again while it works: {calls:?}");
    }
}

/// Takes what is still deployed away; then nothing of it must be left.
async fn goes_without_a_trace(name: &str, world: &World) {
    let deployments = world.get("/v1/deployments").await.body;
    if deployments["data"].as_array().unwrap().iter().any(|it| it["state"] != "removed") {
        let answer = world.chat(&world.request_for("decommission")).await;
        assert_eq!(answer.state(), "succeeded", "{name}: {}", answer.text());
    }
    assert_eq!(world.leftovers().await, Vec::<String>::new(), "{name}");
}

/// Waits until an operation goes on only when somebody resumes it.
async fn waits_for_somebody(world: &World, operation: &str) {
    let path = format!("/v1/operations/{operation}");
    eventually("the operation to wait for somebody", async || {
        let state = world.get(&path).await.body["state"].clone();
        state == "waiting" || state == "stuck"
    })
    .await;
}

impl Story {
    /// The operation, if it has not ended and what it has done can be taken back.
    fn cancellable(&self) -> Option<String> {
        let listed = |id: &String| self.listed["operations"][id].clone();
        self.operation.clone().filter(|id| listed(id)["ended_at"].is_null() && listed(id)["action"] != "decommission")
    }

    /// Lets the next server, which has started, come to the end of the operation.
    async fn go_on(&self, world: &World) {
        let Some(operation) = &self.operation else { return };
        if self.resume {
            waits_for_somebody(world, operation).await;
        }
        self.release(world);
        if self.resume {
            let resumed = world.post(&format!("/v1/operations/{operation}/resume")).await;
            assert_eq!(resumed.status, 200, "{resumed:?}");
        }
        world.ended(operation).await;
    }

    /// Holds the fakes, and lets them fail.
    fn hold(&self, world: &World) {
        self.held.iter().for_each(|it| world.failpoints.hold(it));
        self.failing.iter().for_each(|(point, text)| world.failpoints.fail(point, text));
    }

    /// Lets the fakes go on, and fail no more.
    fn release(&self, world: &World) {
        self.held.iter().for_each(|it| world.failpoints.release(it));
        self.failing.keys().for_each(|it| world.failpoints.heal(it));
    }
}
