//! Node ports of a new cluster: the default ones may be another's, then it takes others; those that were given are meant.

use std::fs;

use crate::world::{World, with};

/// The node ports that the cluster maps to this machine, the first and the last.
fn mapped(world: &World, cluster: &str) -> (String, String) {
    let ports = fs::read_to_string(world.path(&format!("clusters/{cluster}/ports"))).unwrap();
    let ports: Vec<&str> = ports.lines().collect();
    (ports.first().unwrap().to_string(), ports.last().unwrap().to_string())
}

fn hold(world: &World, ports: &[u16]) {
    let lines: String = ports.iter().map(|port| format!("{port}\n")).collect();
    fs::write(world.path("held-ports"), lines).unwrap();
}

fn ports(first: &str, last: &str) -> (String, String) {
    (first.to_owned(), last.to_owned())
}

#[tokio::test]
async fn a_second_cluster_takes_the_next_block_and_says_so() {
    let world = World::start().await;
    world.deployed().await;

    // The fake API is that of both clusters.
    let other = with(world.request_for("deploy"), "instance_name", "other");
    let second = world.chat(&with(other, "instance_id", "second")).await;

    assert_eq!(second.state(), "succeeded", "{}", second.text());
    assert_eq!(mapped(&world, "on-demand-infra"), ports("30000", "30015"));
    assert_eq!(mapped(&world, "second"), ports("30016", "30031"));
    assert_eq!(second.body["deployment"]["node_port"], 30016);
    let said = "held by another cluster or program, so the new cluster `second` has 30016-30031";
    assert!(second.text().contains(said), "{}", second.text());
    assert!(world.server.log().contains("the cluster `second` has 30016-30031"), "{}", world.server.log());
    assert_eq!(world.count("kind", "create"), 2, "what Docker knows need not be tried");
}

#[tokio::test]
async fn ports_that_a_program_holds_are_found_out_by_kind_and_the_next_block_is_tried() {
    let world = World::start().await;
    hold(&world, &[30007, 30016]);

    let answer = world.deployed().await;

    assert_eq!(mapped(&world, "on-demand-infra"), ports("30032", "30047"));
    assert_eq!(answer.body["deployment"]["node_port"], 30032);
    assert_eq!(world.count("kind", "create"), 3);
    assert_eq!(world.clusters(), ["on-demand-infra"]);
    hold(&world, &[]);
    let other = world.chat(&with(world.request_for("deploy"), "instance_name", "other")).await;
    assert_eq!(other.body["deployment"]["node_port"], 30033, "the cluster's own block counts: {}", other.text());
}

#[tokio::test]
async fn ports_that_were_given_are_meant() {
    let world = World::with(&[("NODE_PORT_RANGE", "30000-30015")]).await;
    hold(&world, &[30007]);

    let answer = world.chat(&world.request_for("deploy")).await;

    assert_eq!(answer.state(), "undone", "{}", answer.text());
    let text = answer.text();
    assert!(text.contains("Port 30007 of this machine is held by another cluster or program"), "{text}");
    assert!(text.contains("`NODE_PORT_RANGE`"), "{text}");
    assert_eq!((world.count("kind", "create"), world.clusters()), (1, Vec::<String>::new()));
}
