//! kill -9 of the server in the middle of real work: the next start ends in what was wanted.
//!
//! A round deploys on an empty machine, redeploys, and decommissions with the cluster; each is killed once. On an
//! instance it deploys and decommissions.

use std::pin::pin;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::account::{calls, nothing_is_left};
use crate::bed::Repository;
use crate::cloud_hosted;
use crate::cloud_local::Ec2World;
use crate::cluster::page_with;
use crate::processes::Watch;
use crate::server::{Server, free_node_ports};

/// The steps of a deploy and of a redeploy, and about how many milliseconds each takes.
const ROLL_OUT: [(&str, u64); 9] = [
    ("create_cluster", 12_000),
    ("clone_repository", 150),
    ("analyse_repository", 30),
    ("build_image", 700),
    ("preload_base_image", 400),
    ("load_image", 300),
    ("apply_application", 100),
    ("wait_for_rollout", 900),
    ("verify_application", 30),
];
/// The steps of a decommission with the cluster.
const REMOVAL: [(&str, u64); 5] = [
    ("remove_application", 5_000),
    ("remove_images", 300),
    ("remove_workspace", 10),
    ("verify_removal", 100),
    ("delete_cluster", 1_500),
];

/// What comes before on an instance.
const ON_INSTANCE: [(&str, u64); 3] =
    [("check_account", 300), ("provision_instance", 9_000), ("bootstrap_host", 4_000)];
/// The steps of a decommission with the instance.
const REMOVAL_OF_INSTANCE: [(&str, u64); 3] =
    [("destroy_instance", 6_000), ("remove_workspace", 10), ("verify_account", 200)];

/// What comes before and between on an EKS cluster.
const ON_CLUSTER: [(&str, u64); 7] = [
    ("check_hosted_account", 500),
    ("provision_repository", 4_000),
    ("push_image", 500),
    ("request_certificate", 20_000),
    ("provision_cluster", 40_000),
    ("install_ingress", 3_000),
    ("create_alias", 20_000),
];
/// The steps of a decommission with the cluster on EKS.
const REMOVAL_OF_CLUSTER: [(&str, u64); 7] = [
    ("remove_application", 5_000),
    ("uninstall_ingress", 4_000),
    ("remove_alias", 20_000),
    ("remove_certificate", 20_000),
    ("destroy_repository", 3_000),
    ("destroy_cluster", 20_000),
    ("verify_account", 200),
];

/// When the server is killed.
#[derive(Debug, Clone, Copy)]
struct Point {
    step: &'static str,
    /// After the step has begun.
    delay: Duration,
}

/// All points of a plan: where each step begins, and its middle.
fn points(steps: &[(&'static str, u64)]) -> Vec<Point> {
    steps
        .iter()
        .flat_map(|(step, ms)| [0, ms / 2].map(|delay| Point { step, delay: Duration::from_millis(delay) }))
        .collect()
}

/// Whether all points are wanted, and not a sample of them.
fn all() -> bool {
    ["REAL_ALL", "TEST_KILLS"].iter().any(|it| std::env::var(it).is_ok_and(|it| it == "1" || it == "all"))
}

/// What the sample is made of: `REAL_SEED`, else the time.
static SEED: LazyLock<u64> = LazyLock::new(|| {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let seed = std::env::var("REAL_SEED").ok().and_then(|it| it.parse().ok()).unwrap_or(now);
    println!("kills: REAL_SEED={seed} repeats this sample");
    seed
});

/// Picks points by chance, the same ones for the same seed.
fn picking() -> impl FnMut(&[Point]) -> Point {
    let mut state = *SEED;
    move |points| {
        // Sebastiano Vigna's splitmix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        points[usize::try_from((it ^ (it >> 31)) % points.len() as u64).unwrap()]
    }
}

/// Whether a sample takes its kills in the cloud on an instance, and not on an EKS cluster.
fn takes_instance() -> bool {
    SEED.is_multiple_of(2)
}

/// A round: where its deploy, its redeploy and its decommission are killed.
fn rounds() -> Vec<[Point; 3]> {
    let (roll_out, removal) = (points(&ROLL_OUT), points(&REMOVAL));
    if all() {
        return (0..roll_out.len())
            .map(|it| [roll_out[it], roll_out[(it + 7) % roll_out.len()], removal[it % removal.len()]])
            .collect();
    }
    let mut pick = picking();
    vec![[pick(&roll_out), pick(&roll_out), pick(&removal)]]
}

/// A round on an instance: where its deploy and its decommission are killed.
fn rounds_on_instance() -> Vec<[Point; 2]> {
    let (deploy, removal) = (points(&[ON_INSTANCE.as_slice(), &ROLL_OUT].concat()), points(&REMOVAL_OF_INSTANCE));
    if all() {
        return (0..deploy.len()).map(|it| [deploy[it], removal[it % removal.len()]]).collect();
    }
    let mut pick = picking();
    vec![[pick(&deploy), pick(&removal)]]
}

/// A round on an EKS cluster: where its deploy and its decommission are killed.
fn rounds_on_cluster() -> Vec<[Point; 2]> {
    // What runs as on this machine is killed there.
    let (deploy, removal) = (points(&ON_CLUSTER), points(&REMOVAL_OF_CLUSTER));
    if all() {
        return (0..deploy.len()).map(|it| [deploy[it], removal[it % removal.len()]]).collect();
    }
    let mut pick = picking();
    vec![[pick(&deploy), pick(&removal)]]
}

#[tokio::test]
async fn a_server_that_is_killed_at_any_moment_carries_on() {
    let server = Server::start("kills", &free_node_ports(2)).await;
    let repository = Repository::page("killed");
    let watch = Watch::begin();

    for (round, points) in rounds().into_iter().enumerate() {
        println!("kills: round {round}: {points:?}");
        let version = format!("deploy of round {round}");
        repository.commit(&[("www/index.html", &format!("{version}\n"))]);
        let deployed = killed(&server, request(&repository, "deploy"), points[0]).await;
        let url = deployed["deployment"]["app_url"].as_str().unwrap().to_owned();
        page_with(&url, &version).await;

        let version = format!("redeploy of round {round}");
        repository.commit(&[("www/index.html", &format!("{version}\n"))]);
        let redeployed = killed(&server, request(&repository, "redeploy"), points[1]).await;
        page_with(&url, &version).await;
        assert_eq!(redeployed["deployment"]["id"], deployed["deployment"]["id"]);

        killed(&server, request(&repository, "decommission"), points[2]).await;
        assert!(!server.cluster().exists(), "the cluster is left");
        let id = deployed["deployment"]["id"].as_str().unwrap();
        for folder in ["operations", "targets"] {
            let left = std::fs::read_dir(server.workspace().join(folder)).map_or(0, Iterator::count);
            assert_eq!(left, 0, "there is something left in `{folder}`");
        }
        assert!(!server.workspace().join("deployments").join(id).exists());
        for image in [&deployed, &redeployed].map(|it| it["deployment"]["image"].as_str().unwrap().to_owned()) {
            assert!(!crate::cluster::has_image(&image), "Docker still has `{image}`");
        }
    }
    for of in ["real-kills", "repositories/killed"] {
        assert_eq!(watch.twice(of), [""; 0], "tools ran twice at the same time");
    }
}

#[tokio::test]
async fn a_server_that_is_killed_at_any_moment_carries_on_on_an_instance() {
    if !all() && !takes_instance() {
        return;
    }
    let world = Ec2World::start("kills-cloud", &[]).await;

    for (round, points) in rounds_on_instance().into_iter().enumerate() {
        println!("kills on an instance: round {round}: {points:?}");
        let before = calls("RunInstances").await;
        let deployed = killed(&world.server, Ec2World::request("deploy"), points[0]).await;
        page_with(deployed["deployment"]["app_url"].as_str().unwrap(), "version 1").await;
        let instance = deployed["deployment"]["instance_id"].as_str().unwrap();

        killed(&world.server, Ec2World::request_on(instance, "decommission"), points[1]).await;
        nothing_is_left();
        for folder in ["operations", "targets"] {
            let left = std::fs::read_dir(world.server.workspace().join(folder)).map_or(0, Iterator::count);
            assert_eq!(left, 0, "there is something left in `{folder}`");
        }
        // One is the dry run of the preflight, which a kill may have asked for twice.
        let asked = calls("RunInstances").await - before;
        assert!((2..=3).contains(&asked), "an instance was made twice: {asked} calls");
    }
}

#[tokio::test]
async fn a_server_that_is_killed_at_any_moment_carries_on_on_an_eks_cluster() {
    if !all() && takes_instance() {
        return;
    }
    let world = cloud_hosted::EksWorld::start("kills-hosted", &[]).await;
    let repository = Repository::page("killed-hosted");

    for (round, points) in rounds_on_cluster().into_iter().enumerate() {
        println!("kills on an EKS cluster: round {round}: {points:?}");
        let before = calls("CreateCluster").await;
        let deploy = world.named(cloud_hosted::EksWorld::deploy(&repository, "kills", "kills"), "kills");
        killed(&world.server, deploy, points[0]).await;
        cloud_hosted::shows("https://kills.apps.example.test", "version 1").await;
        assert_eq!(calls("CreateCluster").await - before, 1, "the cluster was made twice");

        killed(&world.server, cloud_hosted::EksWorld::request("decommission", "kills", "kills"), points[1]).await;
        nothing_is_left();
    }
}

fn request(repository: &Repository, action: &str) -> Value {
    json!({
        "action": action, "deployment_mode": "local", "target_namespace": "kills", "instance_name": "kills",
        "github_repo_url": repository.url(), "delete_cluster": action == "decommission",
    })
}

/// Begins an operation, kills the server at that point, starts it again, and waits until the operation has succeeded.
async fn killed(server: &Server, request: Value, point: Point) -> Value {
    let operation = server.begin(request).await;
    {
        let mut events = pin!(server.events(&operation).await);
        while let Some(event) = events.next().await {
            if event["step"] == point.step {
                break;
            }
        }
    }
    tokio::time::sleep(point.delay).await;
    server.kill();
    server.start_again().await;
    let ended = server.ended(&operation).await;
    assert_eq!(ended["state"], "succeeded", "killed at {point:?}: {ended:#}");
    ended
}
