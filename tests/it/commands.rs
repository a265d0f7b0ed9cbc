//! The commands beside `serve`, as a person meets them in a shell.

use std::process::Output;

use serde_json::Value;

use crate::world::{World, aws};

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What `doctor` found under this name in this area.
fn finding<'a>(report: &'a Value, area: &str, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().unwrap();
    checks.iter().find(|it| it["area"] == area && it["name"] == name).unwrap_or_else(|| panic!("{name}: {report}"))
}

#[tokio::test]
async fn the_description_of_the_routes_is_the_one_that_the_server_gives() {
    let world = World::start().await;

    let output = world.command(&["openapi"], &[]).await;

    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document, world.get("/openapi.json").await.body);
    assert!(output.status.success());
}

#[tokio::test]
async fn a_shell_completes_the_commands_and_the_manual_has_a_page_of_them() {
    let world = World::start().await;

    let completions = world.command(&["completions", "bash"], &[]).await;
    let page = world.command(&["man"], &[]).await;

    assert!(completions.status.success() && page.status.success(), "{completions:?} {page:?}");
    assert!(printed(&completions).contains("doctor") && printed(&page).contains("doctor"));
}

#[tokio::test]
async fn a_store_is_made_ahead_of_the_first_start_and_left_as_it_is_afterwards() {
    let world = World::start().await;
    let place = world.path("ahead");
    let place = [("PERSISTENT_WORKSPACE_BASE_DIR", place.to_str().unwrap())];

    let first = world.command(&["migrate"], &place).await;
    let again = world.command(&["migrate"], &place).await;

    assert!(first.status.success() && again.status.success(), "{first:?} {again:?}");
    assert!(world.path("ahead").read_dir().unwrap().count() > 0);
}

#[tokio::test]
async fn a_store_that_a_server_works_on_is_nobody_elses() {
    let world = World::start().await;

    let output = world.command(&["migrate"], &[]).await;

    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[tokio::test]
async fn doctor_says_what_local_mode_lacks_and_what_to_do() {
    let world = World::start().await;
    let lacking = [("DOCKER_HOST", "unix:///nowhere/docker.sock"), ("KIND_PROGRAM", "no-such-kind")];

    let lines = world.command(&["doctor"], &lacking).await;
    let report = world.command(&["doctor", "--json"], &lacking).await;

    assert_eq!((lines.status.code(), report.status.code()), (Some(1), Some(1)));
    let text = printed(&lines);
    assert!(text.contains("fail  docker: ") && text.contains("or set `DOCKER_HOST`"), "{text}");
    assert!(text.contains("fail  kind: ") && text.contains("or set `KIND_PROGRAM`"), "{text}");
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!(report["local_works"], false);
    assert_eq!(finding(&report, "local", "docker")["status"], "fail");
    assert_eq!(finding(&report, "local", "git")["status"], "ok");
}

#[tokio::test]
async fn doctor_says_what_the_machine_lacks_to_supervise_programs() {
    let world = World::start().await;
    let (some, none) = (world.path("few-programs"), world.path("no-programs"));
    std::fs::create_dir_all(&some).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    for name in ["cat", "grep", "setsid", "sync", "tail", "timeout", "true"] {
        let program = std::env::split_paths(&path).map(|it| it.join(name)).find(|it| it.is_file()).unwrap();
        std::os::unix::fs::symlink(program, some.join(name)).unwrap();
    }
    let with_path = async |path: &std::path::Path| {
        let output = world.command(&["doctor", "--json"], &[("PATH", path.to_str().unwrap())]).await;
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        finding(&report, "common", "shell").clone()
    };

    assert_eq!(with_path(path.as_ref()).await["status"], "ok");
    let lacking = with_path(&some).await;
    assert_eq!(lacking["status"], "fail");
    let found = lacking["found"].as_str().unwrap();
    assert!(found.contains("`flock -s 0`") && !found.contains("setsid"), "{found}");
    assert!(lacking["advice"].as_str().unwrap().contains("`util-linux`"));
    assert!(with_path(&none).await["found"].as_str().unwrap().contains("`setsid -f true`"));
}

#[tokio::test]
async fn doctor_says_what_the_cloud_modes_would_cost() {
    let world = World::start().await;

    let output = world.command(&["doctor", "--json"], &[("AWS_REGION", "eu-central-1")]).await;

    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for (area, what) in [("cloud-local", "a `t3."), ("cloud-hosted", "a cluster with ")] {
        let found = finding(&report, area, "cost")["found"].as_str().unwrap();
        assert!(found.starts_with(what) && found.contains(" per month"), "{found}");
    }
}

/// What `doctor` finds out about the rights of a mode, and its exit code.
async fn rights(world: &World, mode: &str) -> (Value, Option<i32>) {
    let settings = [
        ("AWS_ACCESS_KEY_ID", aws::ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", aws::SECRET_KEY),
        ("AWS_REGION", "eu-central-1"),
    ];
    let output = world.command(&["doctor", "--mode", mode, "--json"], &settings).await;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["mode"], mode);
    (finding(&report, mode, "AWS rights").clone(), output.status.code())
}

#[tokio::test]
async fn doctor_asks_iam_which_rights_of_a_mode_are_missing() {
    let world = World::start().await;

    let (before, _) = rights(&world, "cloud-hosted").await;
    world.aws.deny("eks:CreateCluster");
    world.aws.deny("ec2:CreateVpc");
    let (missing, code) = rights(&world, "cloud-hosted").await;
    let (other, _) = rights(&world, "cloud-local").await;

    assert_eq!((&before["status"], &other["status"]), (&"ok".into(), &"ok".into()), "{before} {other}");
    assert_eq!((&missing["status"], code), (&"fail".into(), Some(1)));
    assert_eq!(missing["found"], "missing: ec2:CreateVpc, eks:CreateCluster");
    assert!(missing["advice"].as_str().unwrap().contains("`cloud-hosted*.json`"), "{missing}");
}

#[tokio::test]
async fn doctor_tries_what_changes_nothing_when_iam_may_not_be_asked_and_says_what_is_not_known() {
    let world = World::start().await;
    world.aws.refuse("SimulatePrincipalPolicy", "AccessDenied");

    let (seen, _) = rights(&world, "cloud-local").await;
    world.aws.refuse("DescribeKeyPairs", "UnauthorizedOperation");
    let (missing, code) = rights(&world, "cloud-local").await;

    let found = seen["found"].as_str().unwrap();
    assert_eq!(seen["status"], "warn");
    assert!(
        found.starts_with("none is seen to be missing") && found.contains("`iam:SimulatePrincipalPolicy`"),
        "{found}"
    );
    assert!(found.contains("ec2:TerminateInstances") && !found.contains("ec2:DescribeInstances,"), "{found}");
    assert_eq!((&missing["status"], code), (&"fail".into(), Some(1)));
    assert!(missing["found"].as_str().unwrap().starts_with("missing: ec2:DescribeKeyPairs; "), "{missing}");
    assert_eq!(world.aws.things(), Vec::<String>::new());
}

#[tokio::test]
async fn doctor_calls_aws_only_for_a_mode_that_is_named() {
    let world = World::start().await;

    let (_, _) = (world.command(&["doctor"], &[]).await, world.command(&["doctor", "--mode", "local"], &[]).await);

    assert_eq!(world.aws.count("GetCallerIdentity"), 0);
}

#[tokio::test]
async fn a_wrong_setting_stops_the_server_and_is_a_finding_of_doctor() {
    let world = World::start().await;
    let wrong = [("PORT", "many")];

    let serve = world.command(&["serve"], &wrong).await;
    let doctor = world.command(&["doctor"], &wrong).await;

    assert_eq!((serve.status.code(), doctor.status.code()), (Some(2), Some(1)));
    assert!(String::from_utf8_lossy(&serve.stderr).contains("`PORT`"), "{serve:?}");
    assert!(printed(&doctor).contains("`PORT`"), "{doctor:?}");
}

#[tokio::test]
async fn a_wrong_argument_is_answered_with_how_it_is_used() {
    let world = World::start().await;

    let output = world.command(&["deploy"], &[]).await;

    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Usage: on-demand-infra"), "{output:?}");
}
