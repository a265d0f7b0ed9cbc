//! The stories that are kept of every version: see `tests/fixtures/store/README.md` for how they are written.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::fixture::{self, Fixture, Story};
use super::told::{listed, outcome};
use super::waits_for_somebody;
use crate::plans::{Plan, begin, each};
use crate::world::{TargetKind, World, in_time, with};

/// An operation, and where in its middle the server is killed.
struct Case {
    name: &'static str,
    target_kind: TargetKind,
    plan: Plan,
    settings: &'static [(&'static str, &'static str)],
    /// What goes wrong from the beginning.
    wrong: fn(&World),
    failing: &'static [(&'static str, &'static str)],
    held: &'static str,
    /// How its steps stand then.
    steps: &'static [&'static str],
    /// A program works on.
    has_program: bool,
    resume: bool,
    ends: &'static str,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            name: "",
            target_kind: TargetKind::LocalKind,
            plan: Plan::Deploy,
            settings: &[],
            wrong: |_| (),
            failing: &[],
            held: "",
            steps: &[],
            has_program: false,
            resume: false,
            ends: "succeeded",
        }
    }
}

fn cases() -> [Case; 10] {
    [
        Case {
            name: "deploy-local",
            wrong: |world| {
                world.failpoints.fail_times(
                    "git-ls-remote",
                    1,
                    "fatal: unable to access: Could not resolve host: example.test",
                );
            },
            held: "docker-import",
            steps: &["create_cluster succeeded", "load_image running"],
            ..Case::default()
        },
        Case {
            name: "deploy-cloud-local",
            target_kind: TargetKind::Ec2,
            held: "page",
            steps: &["verify_application running"],
            ..Case::default()
        },
        Case {
            name: "deploy-cloud-hosted",
            target_kind: TargetKind::EksWithDomain,
            held: "helm-upgrade",
            steps: &["push_image succeeded", "install_ingress running"],
            has_program: true,
            ..Case::default()
        },
        Case {
            name: "deploy-waiting",
            target_kind: TargetKind::EksWithDomain,
            settings: &[("CERTIFICATE_PATIENCE_S", "1")],
            held: "certificate",
            steps: &["push_image succeeded", "provision_cluster succeeded", "await_certificate running"],
            resume: true,
            ..Case::default()
        },
        Case {
            name: "deploy-unwinding",
            target_kind: TargetKind::EksWithDomain,
            failing: &[("terraform-apply-alias", "InvalidChangeBatch")],
            ends: "undone",
            held: "terraform-destroy-certificate",
            steps: &["request_certificate undoing"],
            has_program: true,
            ..Case::default()
        },
        Case {
            name: "deploy-stuck",
            wrong: |world| world.kube.crash_new_images(true),
            failing: &[("kube-delete-deployments", "forbidden by a policy")],
            ends: "undone",
            steps: &["apply_application undo_failed"],
            resume: true,
            ..Case::default()
        },
        Case {
            name: "redeploy",
            target_kind: TargetKind::Ec2,
            plan: Plan::Redeploy,
            held: "docker-build",
            steps: &["create_cluster succeeded", "preload_base_image succeeded", "build_image running"],
            has_program: true,
            ..Case::default()
        },
        Case {
            name: "scale",
            target_kind: TargetKind::Eks,
            plan: Plan::Scale,
            held: "rollout",
            steps: &["wait_for_rollout running"],
            ..Case::default()
        },
        Case {
            name: "rollback",
            plan: Plan::Rollback,
            held: "kube-patch-deployments",
            steps: &["apply_application running"],
            ..Case::default()
        },
        Case {
            name: "decommission",
            target_kind: TargetKind::EksWithDomain,
            plan: Plan::Decommission,
            held: "terraform-destroy-cluster",
            steps: &[
                "remove_alias succeeded",
                "remove_certificate succeeded",
                "remove_workspace succeeded",
                "destroy_cluster running",
            ],
            has_program: true,
            ..Case::default()
        },
    ]
}

impl Case {
    async fn write(&self, version: &Path) {
        let owned = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let mut story = Story {
            target_kind: self.target_kind,
            settings: owned(self.settings),
            held: Some(self.held.to_owned()).filter(|it| !it.is_empty()).into_iter().collect(),
            failing: owned(self.failing),
            resume: self.resume,
            ..Story::default()
        };
        let mut world = self.plan.world(self.target_kind).await;
        world.set(&story.settings);
        world.kill_and_start_again().await;
        (self.wrong)(&world);
        story.hold(&world);

        let operation = begin(self.plan, &world).await;
        let mut steps = Vec::new();
        let is_there = in_time(async || {
            steps = world.steps(&operation).await;
            self.steps.iter().all(|it| steps.contains(&(*it).to_owned()))
        });
        assert!(is_there.await, "{}: {steps:?}\n{}", self.name, world.server.log());
        if let Some(held) = story.held.first() {
            world.failpoints.reached(held).await;
        }
        if self.resume {
            waits_for_somebody(&world, &operation).await;
        }
        story.operation = Some(operation);
        keep(version.join(self.name), story, &mut world, self.has_program).await;
    }
}

/// What has come to its end: every mode, and a deployment with versions that stays.
async fn write_history(version: &Path) {
    let mut world = World::start().await;
    fs::write(world.path("ssh-open"), "").unwrap();
    for (target_kind, action, changed) in [
        (TargetKind::LocalKind, "deploy", json!({})),
        (TargetKind::LocalKind, "decommission", json!({"delete_cluster": true})),
        (TargetKind::Ec2, "deploy", json!({})),
        (TargetKind::Ec2, "decommission", json!({})),
        (TargetKind::EksWithDomain, "deploy", json!({})),
        (TargetKind::Eks, "deploy", json!({"instance_name": "paper"})),
        (TargetKind::Eks, "decommission", json!({})),
        (TargetKind::Eks, "decommission", json!({"instance_name": "paper"})),
        (TargetKind::LocalKind, "deploy", json!({"environment": {"GREETING": "good morning"}})),
    ] {
        world.target_kind = target_kind;
        let body = changed
            .as_object()
            .unwrap()
            .iter()
            .fold(world.request_for(action), |body, (name, it)| with(body, name, it.clone()));
        assert_eq!(world.chat(&body).await.state(), "succeeded", "{target_kind:?}: {action}");
    }
    // Without EXPOSE there is something to warn of.
    world.commit("notes", "Dockerfile", "FROM base:1\nCMD [\"app\"]\n").await;
    assert_eq!(world.chat(&world.request_for("redeploy")).await.state(), "succeeded");
    world.commit("notes", "new.txt", "new").await;
    world.kube.crash_new_images(true);
    assert_eq!(world.chat(&world.request_for("redeploy")).await.state(), "failed");
    world.kube.crash_new_images(false);
    let story = Story { then: vec!["rollback".to_owned()], ..Story::default() };
    keep(version.join("history"), story, &mut world, false).await;
}

/// What nobody needs to carry on: what the product itself forgets of operations that have ended, their graphs, and all but
/// the first word of each step that still works.
const UNNEEDED: [&str; 4] = [
    "DELETE FROM operation_events WHERE event ->> 'type' IN ('step_progress', 'step_retrying')
         AND operation_id IN (SELECT id FROM operations WHERE ended_ms IS NOT NULL)",
    "DELETE FROM operation_events WHERE event ->> 'type' = 'step_progress' AND sequence NOT IN (
         SELECT MIN(sequence) FROM operation_events WHERE event ->> 'type' = 'step_progress'
         GROUP BY operation_id, event ->> 'step')",
    "DELETE FROM request_keys WHERE operation_id IN (SELECT id FROM operations WHERE ended_ms IS NOT NULL)",
    "UPDATE operations SET dag = NULL WHERE ended_ms IS NOT NULL AND state <> 'stuck'",
];
/// And what one story tells for all.
const TOLD_ELSEWHERE: &str = "DELETE FROM operation_events WHERE operation_id IN (SELECT id FROM operations WHERE ended_ms IS NOT NULL AND id <> '@')";

/// Kills the server and keeps what is there.
async fn keep(folder: PathBuf, mut story: Story, world: &mut World, has_program: bool) {
    for unneeded in UNNEEDED {
        world.change(unneeded).await;
    }
    if let Some(operation) = &story.operation {
        world.change(&TOLD_ELSEWHERE.replace('@', operation)).await;
    }
    story.listed = listed(world).await;
    world.server.kill().await;
    Fixture::new(folder, story).write(world, has_program).await;
}

/// Adds what this version makes of a story that it has written.
async fn conclude(folder: PathBuf, state: &str) {
    let mut fixture = Fixture::read(folder);
    let mut world = World::start().await;
    let _program = fixture.restore(&mut world).await;
    world.start_again().await;
    fixture.story.go_on(&world).await;
    let outcome = outcome(&world, &fixture.story).await;
    assert!(fixture.story.operation.is_none() || outcome["operation"]["state"] == state, "{outcome:#}");
    fixture.story.outcome = outcome;
    fixture.write_story(&world);
}

/// Keeps a story of this version in its folder; the one without an operation when there is no case.
async fn write(version: &Path, case: Option<&Case>) {
    if let Some(case) = case {
        case.write(version).await;
        conclude(version.join(case.name), case.ends).await;
    } else {
        write_history(version).await;
        conclude(version.join("history"), "").await;
    }
}

/// The names of all steps that there are.
fn steps() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/step");
    let texts = fs::read_dir(folder).unwrap().map(|it| fs::read_to_string(it.unwrap().path()).unwrap());
    let name = regex::Regex::new(r#"const NAME: &'static str = "(\w+)";"#).unwrap();
    texts.flat_map(|text| name.captures_iter(&text).map(|it| it[1].to_owned()).collect::<Vec<_>>()).collect()
}

/// Keeps all stories when that is asked for, else two of them to see that it can be done: without and with a program at work.
#[tokio::test]
async fn what_this_version_leaves_unfinished_can_be_kept() {
    let cases = cases();
    if std::env::var_os("WRITE_FIXTURE").is_none() {
        let version = tempfile::tempdir().unwrap();
        let few = cases.iter().filter(|it| ["deploy-local", "redeploy"].contains(&it.name));
        each(few, async |case| write(version.path(), Some(case)).await).await;
        return;
    }
    let version = fixture::root().join(env!("CARGO_PKG_VERSION"));
    assert!(!version.exists(), "{} stays as that version has written it", version.display());

    each(cases.iter().map(Some).chain([None]), async |case| write(&version, case).await).await;

    let rows: String =
        fixture::stories(&version).iter().map(|it| fs::read_to_string(it.join("rows.sql")).unwrap()).collect();
    let is_missing = |step: &String| !rows.contains(&format!("\"type\":\"step_succeeded\",\"step\":\"{step}\""));
    let missing: Vec<String> = steps().into_iter().filter(is_missing).collect();
    assert_eq!(missing, Vec::<String>::new(), "these steps succeed in no story");
}
