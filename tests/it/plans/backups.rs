//! A backup in the middle of an operation, a server that is lost, and a start from the backup on another machine: the
//! operation ends as intended.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use super::kills::{KillPoint, hold_at};
use super::{Ec2, EksWithDomain, LocalKind, Plan, TargetKind, begin, each};
use crate::world::World;

/// Backs the SQLite store up in the middle, loses the server with its workspace, and starts another one from the backup.
/// The fakes go on meanwhile.
async fn restore_in_the_middle(plan: Plan, middle: KillPoint, world: &mut World) -> String {
    let operation = hold_at(plan, middle, world).await;
    let (backup, workspace) = (world.path("backup"), world.path("workspace"));
    let key = fs::read(workspace.join("encryption.key")).unwrap();

    let output = world.command(&["backup", backup.to_str().unwrap()], &[]).await;
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("encryption.key"), "{output:?}");
    assert!(!backup.join("encryption.key").exists(), "the key is kept elsewhere");

    world.server.kill().await;
    world.lose_workspace().await;
    fs::rename(&backup, &workspace).unwrap();
    fs::write(workspace.join("encryption.key"), key).unwrap();
    fs::set_permissions(workspace.join("encryption.key"), fs::Permissions::from_mode(0o600)).unwrap();
    start_elsewhere(middle, world).await;
    operation
}

/// The same with the database in PostgreSQL, and nothing of the workspace.
async fn restore_database_in_the_middle(plan: Plan, middle: KillPoint, world: &mut World) -> String {
    let operation = hold_at(plan, middle, world).await;
    let dump = world.path("store.dump");

    world.dump_database(&dump).await;

    world.server.kill().await;
    world.lose_workspace().await;
    world.restore_database(&dump).await;
    start_elsewhere(middle, world).await;
    operation
}

async fn start_elsewhere(middle: KillPoint, world: &mut World) {
    world.change("UPDATE calls SET boot_id = 'another machine'").await;
    world.failpoints.release(middle.1);
    world.start_again().await;
}

/// Ends a story: the plan is done, and what was deployed can be removed without a rest.
async fn ends_as_intended(plan: Plan, operation: &str, world: &World) {
    let operation: Value = world.ended(operation).await;
    plan.is_done(world, &operation).await;
    if plan != Plan::Decommission {
        let removal = begin(Plan::Decommission, world).await;
        let removed = world.ended(&removal).await;
        Plan::Decommission.is_done(world, &removed).await;
    }
}

#[tokio::test]
async fn an_operation_goes_on_from_a_copy_of_the_store() {
    let cases: [(TargetKind, Plan, KillPoint); 5] = [
        (LocalKind, Plan::Deploy, ("build_image", "docker-build")),
        (LocalKind, Plan::Deploy, ("apply_application", "kube-patch-secrets")),
        (LocalKind, Plan::Redeploy, ("wait_for_rollout", "rollout")),
        (LocalKind, Plan::Decommission, ("remove_images", "docker-remove")),
        // Terraform's state of the instance is in the copy.
        (Ec2, Plan::Deploy, ("load_image", "docker-import")),
    ];
    each(cases, async |(target_kind, plan, middle)| {
        let mut world = plan.world(target_kind).await;

        let operation = restore_in_the_middle(plan, middle, &mut world).await;

        ends_as_intended(plan, &operation, &world).await;
        if target_kind == Ec2 {
            assert_eq!(world.calls("made").len(), 1, "{:?}", world.calls("made"));
        }
    })
    .await;
}

#[tokio::test]
async fn an_operation_goes_on_from_a_dump_of_the_database() {
    let cases: [(TargetKind, Plan, KillPoint); 3] = [
        (LocalKind, Plan::Deploy, ("build_image", "docker-build")),
        (LocalKind, Plan::Decommission, ("remove_images", "docker-remove")),
        (EksWithDomain, Plan::Redeploy, ("push_image", "docker-push")),
    ];
    each(cases, async |(target_kind, plan, middle)| {
        let Some(world) = World::without_need_of_its_workspace(target_kind).await else { return };
        let mut world = plan.prepared(world).await;

        let operation = restore_database_in_the_middle(plan, middle, &mut world).await;

        ends_as_intended(plan, &operation, &world).await;
    })
    .await;
}

#[tokio::test]
async fn a_backup_replaces_nothing_and_is_of_a_store_in_a_file() {
    let world = World::start().await;
    let (there, new) = (world.path("there"), world.path("new"));
    fs::create_dir(&there).unwrap();

    let onto = world.command(&["backup", there.to_str().unwrap()], &[]).await;
    let database = [("DATABASE_URL", "postgres://nobody@127.0.0.1:9/none")];
    let of_postgres = world.command(&["backup", new.to_str().unwrap()], &database).await;

    for (output, words) in [(&onto, "is there already"), (&of_postgres, "pg_dump")] {
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(words), "{output:?}");
    }
    assert!(!new.exists());
}
