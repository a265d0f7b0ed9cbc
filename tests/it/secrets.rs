//! Secrets stay secret: sealed at rest, erased at the end, and shown to nobody.

use std::fs;
use std::path::Path;

use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::world::{TargetKind, World, with};

const PASSWORD: &str = "s3cr3t-of-the-application";
const TOKEN: &str = "s3cr3t-of-the-repository";

/// Everything that the store keeps as text of its own.
const DOCUMENTS: [&str; 7] = [
    "SELECT intent || plan || COALESCE(dag, '') || COALESCE(failure, '') || receipt || warnings FROM operations",
    "SELECT event FROM operation_events",
    "SELECT event FROM saga_log",
    "SELECT COALESCE(output, '') || COALESCE(failure, '') || COALESCE(undo_failure, '') FROM operation_steps",
    "SELECT facts FROM deployments",
    "SELECT version FROM versions",
    "SELECT sealed FROM secrets",
];

fn body(world: &World) -> Value {
    with(with(world.request_for("deploy"), "environment", json!({"PASSWORD": PASSWORD})), "git_token", TOKEN)
}

/// Files that hold a part of a secret in clear, each with its first line that does.
fn indiscreet(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(indiscreet(&path));
        } else if let Ok(bytes) = fs::read(&path) {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let line = text.lines().find(|line| line.contains("s3cr3t"));
            found.extend(line.map(|line| format!("{}: {line}", path.display())));
        }
    }
    found
}

async fn is_discreet(world: &World, operation: &str) {
    let events = json!(world.events(operation).await).to_string();
    let shown = world.get(&format!("/v1/operations/{operation}")).await.body.to_string();
    let deployments = world.get("/v1/deployments").await.body.to_string();
    assert!(!format!("{events}{shown}{deployments}").contains("s3cr3t"), "{events}{shown}{deployments}");
    assert_eq!(indiscreet(&world.path("")), Vec::<String>::new());
    // Not every store is a file.
    for documents in DOCUMENTS {
        let stored = world.texts(documents).await.concat();
        assert!(!stored.contains("s3cr3t"), "{documents}: {stored}");
    }
}

#[tokio::test]
async fn secrets_are_in_no_file_while_the_operation_runs_and_erased_when_it_has_ended() {
    let world = World::start().await;
    world.failpoints.hold("docker-build");
    let running = world.begin(&body(&world));
    world.failpoints.reached("docker-build").await;
    assert_eq!(world.texts("SELECT name FROM secrets ORDER BY name").await, ["environment", "git_token"]);
    assert_eq!(indiscreet(&world.path("")), Vec::<String>::new());
    world.failpoints.release("docker-build");

    let answer = running.await.unwrap().unwrap();

    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    assert!(!answer.body.to_string().contains("s3cr3t"));
    assert!(world.texts("SELECT name FROM secrets").await.is_empty());
    is_discreet(&world, &answer.operation()).await;
}

#[tokio::test]
async fn a_variable_that_says_what_the_application_is_called_hides_no_name() {
    let world = World::start().await;
    let environment = json!({"PASSWORD": PASSWORD, "TITLE": "notes"});

    let answer = world.chat(&with(world.request_for("deploy"), "environment", environment)).await;

    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    let events = json!(world.events(&answer.operation()).await).to_string();
    assert!(events.contains("Clone file://") && events.contains("\"notes:") && !events.contains("***"), "{events}");
    is_discreet(&world, &answer.operation()).await;
}

#[tokio::test]
async fn a_server_that_was_killed_opens_the_secrets_again() {
    let mut world = World::start().await;
    world.failpoints.hold("docker-build");
    drop(world.begin(&body(&world)));
    world.failpoints.reached("docker-build").await;
    let operation = world.latest().await;

    world.kill_and_start_again().await;
    world.failpoints.release("docker-build");

    assert_eq!(world.ended(&operation).await["state"], "succeeded");
    assert!(world.kube.objects().iter().any(|it| it.starts_with("secrets team/notes-env-")));
    is_discreet(&world, &operation).await;
}

#[tokio::test]
async fn an_application_that_prints_its_secrets_and_crashes_does_not_tell_them() {
    let world = World::start().await;
    world.chat(&with(world.request_for("deploy"), "instance_name", "first")).await;
    world.kube.crash_new_images(true);
    world.kube.print(&format!("; the password is {PASSWORD}"));
    world.commit("notes", "new.txt", "new").await;

    let answer = world.chat(&body(&world)).await;

    assert_eq!(answer.state(), "undone", "{}", answer.text());
    assert!(answer.text().contains("the password is"), "{}", answer.text());
    assert!(!answer.body.to_string().contains("s3cr3t"), "{}", answer.text());
    is_discreet(&world, &answer.operation()).await;
}

#[tokio::test]
async fn secrets_that_are_words_names_and_numbers_take_no_meaning_away() {
    let world = World::start().await;
    let environment = json!({
        "PORT": "3306", "LOG": "line", "DB_PASSWORD": "replica", "API_KEY": "notes", "PIN_SECRET": "8080", "A_TOKEN": "created",
    });

    let answer = world.chat(&with(world.request_for("deploy"), "environment", environment)).await;

    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    let events = json!(world.events(&answer.operation()).await).to_string();
    assert!(events.contains("1 replica serves") && events.contains("\"created\""), "{events}");
    assert!(!format!("{events}{}", answer.body).contains("***"), "{events} {}", answer.body);
}

#[tokio::test]
async fn secrets_that_are_words_names_and_numbers_are_hidden_in_what_the_application_prints() {
    let world = World::start().await;
    let environment =
        json!({"PORT": "3306", "LOG": "line", "DB_PASSWORD": "correct", "API_KEY": "notes", "PIN_SECRET": "4711"});
    world.kube.crash_new_images(true);
    world.kube.print(": line 3306, correct, notes, 4711");

    let answer = world.chat(&with(world.request_for("deploy"), "environment", environment)).await;

    assert_eq!(answer.state(), "undone", "{}", answer.text());
    assert!(answer.text().contains(": line 3306, ***, ***, ***"), "{}", answer.text());
    assert!(!answer.body.to_string().contains("4711") && answer.text().contains("`notes`"), "{}", answer.text());
}

#[tokio::test]
async fn a_build_that_prints_a_secret_does_not_tell_it() {
    let world = World::start().await;
    world.failpoints.fail("docker-build", &format!("The command 'login {TOKEN}' returned a non-zero code: 1"));

    let answer = world.chat(&body(&world)).await;
    world.failpoints.heal("docker-build");

    assert_eq!(answer.state(), "undone", "{}", answer.text());
    assert!(!answer.body.to_string().contains("s3cr3t"), "{}", answer.text());
    is_discreet(&world, &answer.operation()).await;
}

/// The name of the Secret with the environment.
fn environment_secret(world: &World) -> String {
    let objects = world.kube.objects();
    let mut found = objects.iter().filter_map(|it| it.strip_prefix("secrets team/"));
    found.next().unwrap_or_else(|| panic!("no Secret: {objects:?}")).to_owned()
}

#[tokio::test]
async fn the_name_of_the_secret_tells_nothing_of_what_is_in_it() {
    let mut world = World::start().await;
    world.chat(&body(&world)).await;
    let deployment = world.texts("SELECT id FROM deployments").await.remove(0);
    let name = environment_secret(&world);
    let guess = Sha256::digest(format!("{deployment}\0PASSWORD\0{PASSWORD}\0"));

    assert!(!name.ends_with(&HEXLOWER.encode(&guess[..4])), "{name}");
    // The same key makes the same name of the same values, so nothing changes.
    world.kill_and_start_again().await;
    let again = world.chat(&body(&world)).await;
    assert!(again.text().contains("Nothing to do"), "{}", again.text());
    assert_eq!(environment_secret(&world), name);
}

/// Variables of a server that are meant for it alone, or for another program than the one that is run.
const KEPT: [(&str, &str); 10] = [
    ("ENCRYPTION_KEY", "s3cr3ts3cr3ts3cr3ts3cr3ts3cr3ts3cr3ts3cr3t8="),
    ("DATABASE_URL", "sqlite:s3cr3t.sqlite"),
    ("LLM_API_KEY", "s3cr3t-of-a-model"),
    ("BOOTSTRAP_PROXY", "http://user:s3cr3t@127.0.0.1:9"),
    ("FOO_SECRET", "s3cr3t-of-another-program"),
    ("AWS_PROFILE", "s3cr3t-profile"),
    ("TF_VAR_region", "s3cr3t-region"),
    ("TF_CLI_ARGS_apply", "-s3cr3t"),
    ("HELM_KUBETOKEN", "s3cr3t-of-another-cluster"),
    ("GIT_CONFIG_PARAMETERS", "'s3cr3t.option=1'"),
];
/// Variables of a server that go on: to all programs, and each to its own.
const HANDED_ON: [(&str, &str); 8] = [
    ("LC_TIME", "C.UTF-8"),
    ("no_proxy", "127.0.0.1"),
    ("SSL_CERT_DIR", "/etc/ssl/certs"),
    ("DOCKER_CONFIG", "/nowhere/docker"),
    ("KIND_EXPERIMENTAL_X", "1"),
    ("TF_CLI_CONFIG_FILE", "/nowhere/terraform.rc"),
    ("HELM_CACHE_HOME", "/nowhere/helm"),
    ("SSH_AUTH_SOCK", "/nowhere/agent"),
];

/// Which of [`HANDED_ON`] these programs get of a server that deploys, as `program: names`.
async fn handed_on(target_kind: TargetKind, programs: &[&str]) -> Vec<String> {
    let mut world = World::with(&[&KEPT[..], &HANDED_ON[..]].concat()).await;
    world.target_kind = target_kind;
    fs::write(world.path("ssh-open"), "").unwrap();
    fs::create_dir(world.path("environments")).unwrap();
    world.deployed().await;
    // On the instance, which gets no more than what is meant for it.
    let _ = fs::remove_file(world.path("environments/bash"));

    assert_eq!(indiscreet(&world.path("environments")), Vec::<String>::new());
    let described = programs.iter().map(|program| {
        let environment = fs::read_to_string(world.path("environments").join(program)).unwrap();
        let has = |name: &str, value: &str| environment.lines().any(|line| line == format!("{name}={value}"));
        let names: Vec<_> = HANDED_ON.iter().filter(|(name, value)| has(name, value)).map(|(name, _)| *name).collect();
        format!("{program}: {}", names.join(" "))
    });
    described.collect()
}

#[tokio::test]
async fn no_program_gets_more_of_the_servers_environment_than_it_needs() {
    let (local, instance, cluster) = tokio::join!(
        handed_on(TargetKind::LocalKind, &["git", "kind"]),
        handed_on(TargetKind::Ec2, &["ssh", "terraform"]),
        handed_on(TargetKind::Eks, &["git", "helm", "terraform"]),
    );

    let git = "git: LC_TIME no_proxy SSL_CERT_DIR SSH_AUTH_SOCK";
    let terraform = "terraform: LC_TIME no_proxy SSL_CERT_DIR TF_CLI_CONFIG_FILE";
    assert_eq!(local, [git, "kind: LC_TIME no_proxy SSL_CERT_DIR DOCKER_CONFIG KIND_EXPERIMENTAL_X"]);
    assert_eq!(instance, ["ssh: LC_TIME no_proxy SSL_CERT_DIR", terraform]);
    assert_eq!(cluster, [git, "helm: LC_TIME no_proxy SSL_CERT_DIR DOCKER_CONFIG HELM_CACHE_HOME", terraform]);
}

#[tokio::test]
async fn the_workspace_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::start().await;
    world.deployed().await;

    for name in ["workspace", "workspace/store.sqlite", "workspace/encryption.key"] {
        let mode = fs::metadata(world.path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}: {mode:o}");
    }
}
