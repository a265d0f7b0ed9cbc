//! What breaks between the server and an instance in the middle of the work: connections that are cut, a server that is
//! killed. Each deploy still ends in what was wanted, and nothing is done twice.

use std::fs;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::account::{calls, nothing_is_left};
use crate::bed::{Repository, bed, must, run, variable};
use crate::cloud_local::Ec2World;
use crate::cluster::page_with;

/// A repository that instances can reach, with a page whose build takes some seconds, so that there is a middle.
fn slow_page(name: &str) -> String {
    let repository = Repository::page(name);
    let dockerfile = format!(
        "FROM busybox:stable\nRUN for i in 1 2 3 4 5 6; do echo {name} $i; sleep 1; done # {:?}\nCOPY www /www\nUSER 1000\n\
         EXPOSE 8080\nCMD [\"httpd\", \"-f\", \"-p\", \"8080\", \"-h\", \"/www\"]\n",
        SystemTime::now()
    );
    repository.commit(&[("Dockerfile", &dockerfile)]);
    let served = format!("{}/apps/git/{name}.git", variable("RIG_CACHE", "apps"));
    must("rm", &["-rf", &served]);
    must("git", &["clone", "-q", "--bare", &repository.url(), &served]);
    bed().repository(name)
}

fn deploy_of(repository: &str) -> Value {
    let mut fields = Ec2World::request("deploy");
    fields["github_repo_url"] = json!(repository);
    fields.as_object_mut().unwrap().remove("git_token");
    fields
}

/// Waits until an event of an operation says this.
async fn until(world: &Ec2World, operation: &str, what: impl Fn(&Value) -> bool) {
    let mut events = Box::pin(world.server.events(operation).await);
    while let Some(event) = events.next().await {
        if what(&event) {
            return;
        }
    }
    panic!("the operation ended before");
}

/// Whether a build is under way.
fn builds(event: &Value) -> bool {
    event["step"] == "build_image" && event["type"] == "step_progress"
}

/// Kills every sshd that serves a connection, and tells how many.
fn cut_connections() -> usize {
    let mut cut = 0;
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let parent = |path: &str| {
            let stat = fs::read_to_string(format!("{path}/stat")).ok()?;
            let (name, rest) = stat.rsplit_once(')')?;
            Some((name.ends_with("(sshd"), rest.split_whitespace().nth(1)?.to_owned()))
        };
        let Some((true, above)) = parent(&entry.path().display().to_string()) else { continue };
        let pid = entry.file_name().into_string().unwrap();
        if parent(&format!("/proc/{above}")).is_some_and(|(is_sshd, _)| is_sshd)
            && run("kill", &["-9", &pid]).status.success()
        {
            cut += 1;
        }
    }
    cut
}

/// Decommissions and expects nothing to be left.
async fn take_down(world: &Ec2World, instance: &str) {
    world.ask(Ec2World::request_on(instance, "decommission")).await.ended("succeeded");
    nothing_is_left();
}

#[tokio::test]
async fn a_connection_that_is_cut_in_the_middle_of_a_build_is_made_again_and_the_build_runs_once() {
    let world = Ec2World::start("cloud-cut", &[]).await;
    let repository = slow_page("cloud-cut");
    let operation = world.server.begin(deploy_of(&repository)).await;

    until(&world, &operation, builds).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(cut_connections() > 0, "there was no connection to cut");

    let ended = world.server.ended(&operation).await;
    assert_eq!(ended["state"], "succeeded", "{ended:#}");
    let steps = ended["steps"].as_array().unwrap();
    assert!(steps.iter().all(|step| step["state"] == "succeeded"), "{steps:#?}");
    page_with(ended["deployment"]["app_url"].as_str().unwrap(), "version 1").await;
    assert!(!world.server.log().contains("step is tried again"), "a step began twice");
    take_down(&world, ended["deployment"]["instance_id"].as_str().unwrap()).await;
}

#[tokio::test]
async fn a_server_that_is_killed_in_the_middle_of_a_build_carries_on_and_makes_nothing_twice() {
    let world = Ec2World::start("cloud-killed", &[]).await;
    let repository = slow_page("cloud-killed");
    let operation = world.server.begin(deploy_of(&repository)).await;

    until(&world, &operation, builds).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.server.kill();
    world.server.start_again().await;

    let ended = world.server.ended(&operation).await;
    assert_eq!(ended["state"], "succeeded", "{ended:#}");
    page_with(ended["deployment"]["app_url"].as_str().unwrap(), "version 1").await;
    assert_eq!(calls("RunInstances").await, 2, "one is the dry run, and nothing is made twice");
    take_down(&world, ended["deployment"]["instance_id"].as_str().unwrap()).await;
    let of_this_server = format!("[s]sh -F none.*{}", world.server.workspace().display());
    let left = must("sh", &["-c", &format!("pgrep -af '{of_this_server}' || true")]);
    assert_eq!(left, "", "a connection is left behind");
}

#[tokio::test]
async fn an_instance_that_is_stopped_or_moved_is_found_and_one_that_vanished_is_made_anew() {
    let world = Ec2World::start("cloud-gone", &[]).await;
    let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    let ec2 = aws_sdk_ec2::Client::new(&config);
    let deployed = world.ask(Ec2World::request("deploy")).await.ended("succeeded");
    let (name, id) = (deployed.word("instance_id"), deployed.word("ec2_instance_id"));
    let mut scale = Ec2World::request_on(&name, "scale");
    scale["scale_replicas"] = json!(2);

    ec2.stop_instances().instance_ids(&id).send().await.unwrap();
    becomes(&ec2, &id, "stopped").await;
    world.ask(scale.clone()).await.ended("failed").says("is stopped").says("aws ec2 start-instances");
    ec2.start_instances().instance_ids(&id).send().await.unwrap();
    becomes(&ec2, &id, "running").await;
    let moved = world.ask(Ec2World::request_on(&name, "deploy")).await.ended("succeeded");
    page_with(&moved.word("app_url"), "version 1").await;
    let address = moved.word("public_ip");
    assert_eq!(moved.word("app_url"), format!("http://{address}:{}", moved.deployment("node_port")));

    ec2.terminate_instances().instance_ids(&id).send().await.unwrap();
    becomes(&ec2, &id, "terminated").await;
    world.ask(scale).await.ended("failed").says("is gone: somebody terminated it");
    let anew = world.ask(Ec2World::request_on(&name, "deploy")).await.ended("succeeded");
    page_with(&anew.word("app_url"), "version 1").await;
    assert_ne!(anew.word("ec2_instance_id"), id);
    take_down(&world, &name).await;
}

/// Waits until an instance is in this state.
async fn becomes(ec2: &aws_sdk_ec2::Client, id: &str, state: &str) {
    let began = std::time::Instant::now();
    loop {
        let found = ec2.describe_instances().instance_ids(id).send().await.unwrap();
        let now =
            found.reservations()[0].instances()[0].state().and_then(|it| it.name()).map(|it| it.as_str().to_owned());
        if now.as_deref() == Some(state) {
            return;
        }
        assert!(began.elapsed() < Duration::from_mins(5), "`{id}` is {now:?}, not {state}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
