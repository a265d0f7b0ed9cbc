//! Taking away what is not as it should be.

use std::fs;

use serde_json::json;

use crate::world::{World, eventually, with};

#[tokio::test]
async fn what_a_stuck_deploy_has_built_goes_with_it() {
    let world = World::start().await;
    world.kube.crash_new_images(true);
    world.failpoints.fail("kube-delete-services", "forbidden by a policy");
    let stuck = world.chat(&world.request_for("deploy")).await;
    assert_eq!((stuck.state(), world.docker.images().len()), ("stuck", 1), "{}", stuck.text());
    world.failpoints.heal("kube-delete-services");

    let answer = world.chat(&world.request_for("decommission")).await;

    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    assert_eq!(world.docker.images(), Vec::<String>::new());
    assert_eq!(world.docker.node_images(), Vec::<String>::new());
}

#[tokio::test]
async fn a_cluster_that_somebody_made_in_place_of_ours_stays() {
    let world = World::start().await;
    world.deployed().await;
    fs::write(world.path("clusters/on-demand-infra/id"), "made by hand").unwrap();

    let answer = world.chat(&with(world.request_for("decommission"), "delete_cluster", true)).await;

    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    assert!(answer.text().contains("this server did not make it"), "{}", answer.text());
    assert!(world.path("clusters/on-demand-infra/ready").exists());
}

#[tokio::test]
async fn a_node_that_does_not_answer_does_not_keep_a_deploy_from_being_taken_back() {
    let world = World::start().await;
    world.kube.crash_new_images(true);
    world.failpoints.hold("rollout");
    let deploy = world.begin(&world.request_for("deploy"));
    world.failpoints.reached("rollout").await;
    world.failpoints.fail("docker-remove-from-node", "ctr: failed to dial containerd: connection refused");
    world.failpoints.fail("docker-node", "ctr: failed to dial containerd: connection refused");
    world.failpoints.release("rollout");

    let answer = deploy.await.unwrap().expect("an answer");

    assert_eq!(answer.state(), "undone", "{}", answer.text());
}

#[tokio::test]
async fn an_image_that_lost_its_name_on_the_node_goes_too() {
    let world = World::start().await;
    world.deployed().await;
    let [image] = &world.docker.images()[..] else { panic!("one image was built") };
    world.docker.take_name_away("on-demand-infra", image);
    assert_eq!(world.docker.node_images(), [format!("{image} without a name")]);

    let answer = world.chat(&world.request_for("decommission")).await;

    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    assert_eq!(world.docker.node_images(), Vec::<String>::new());
}

#[tokio::test]
async fn a_stuck_redeploy_leaves_no_image_behind_when_its_deployment_goes() {
    let world = World::start().await;
    world.deployed().await;
    world.kube.crash_new_images(true);
    world.commit("notes", "new.txt", "new").await;
    world.failpoints.hold("rollout");
    let redeploy = world.begin(&world.request_for("redeploy"));
    world.failpoints.reached("rollout").await;
    world.failpoints.fail("kube-patch-services", "forbidden by a policy");
    world.failpoints.release("rollout");
    let stuck = redeploy.await.unwrap().expect("an answer");
    assert_eq!((stuck.state(), world.docker.images().len()), ("stuck", 2), "{}", stuck.text());
    world.failpoints.heal("kube-patch-services");

    let answer = world.chat(&world.request_for("decommission")).await;

    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    assert_eq!(world.docker.images(), Vec::<String>::new());
    assert_eq!(world.docker.node_images(), Vec::<String>::new());
}

#[tokio::test]
async fn a_base_image_that_was_loaded_ahead_stays_as_a_cache_with_the_cluster_and_is_named() {
    let world = World::start().await;
    // An image that is built at once needs no base: the build waits until that is loaded.
    let stays = "Stays as a cache until the cluster goes: base image `base:1`.";
    world.failpoints.hold("docker-build");
    let deploy = world.begin(&world.request_for("deploy"));
    eventually("the base image to be on the node", async || world.docker.has_base("on-demand-infra")).await;
    world.failpoints.release("docker-build");
    assert_eq!(deploy.await.unwrap().expect("an answer").state(), "succeeded");

    let gone = world.chat(&world.request_for("decommission")).await;

    assert!(gone.text().contains(stays), "{}", gone.text());
    assert!(world.docker.has_base("on-demand-infra"));
    world.deployed().await;
    let with_cluster = world.chat(&with(world.request_for("decommission"), "delete_cluster", true)).await;
    assert!(!with_cluster.text().contains("Stays as a cache"), "{}", with_cluster.text());
}

#[tokio::test]
async fn a_namespace_stays_for_whatever_else_is_in_it_and_it_is_said_what() {
    let world = World::start().await;
    world.deployed().await;
    world.kube.put("resourcequotas", "team", "small", json!({}));
    world.kube.put("roles", "team", "reader", json!({}));
    world.kube.put("widgets", "team", "one", json!({}));
    world.kube.put("configmaps", "team", "kube-root-ca.crt", json!({}));

    let answer = world.chat(&world.request_for("decommission")).await;

    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    let stays = "The namespace `team` stays: it also holds ResourceQuota `small`, Role `reader`, Widget `one`.";
    assert!(answer.text().contains(stays), "{}", answer.text());
    assert_eq!(world.kube.objects().len(), 5, "{:?}", world.kube.objects());
}

#[tokio::test]
async fn a_deploy_that_is_taken_back_leaves_the_namespace_to_what_came_into_it() {
    let world = World::start().await;
    world.kube.crash_new_images(true);
    world.failpoints.hold("rollout");
    let deploy = world.begin(&world.request_for("deploy"));
    world.failpoints.reached("rollout").await;
    world.kube.put("roles", "team", "reader", json!({}));
    world.failpoints.release("rollout");

    let answer = deploy.await.unwrap().expect("an answer");

    assert_eq!(answer.state(), "undone", "{}", answer.text());
    assert!(answer.text().contains("The namespace `team` stays: it also holds Role `reader`."), "{}", answer.text());
    assert_eq!(world.kube.objects(), ["namespaces /team", "roles team/reader"]);
}

#[tokio::test]
async fn a_namespace_stays_when_a_kind_cannot_be_listed() {
    let world = World::start().await;
    world.deployed().await;
    world.failpoints.fail("kube-get-widgets", "forbidden by a policy");
    world.failpoints.fail("kube-get-roles", "the server is currently unable to handle the request, try again");

    let answer = world.chat(&world.request_for("decommission")).await;

    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    for kind in
        ["`widgets.example.com` (our account may not)", "`roles.rbac.authorization.k8s.io` (the server is currently"]
    {
        assert!(answer.text().contains(kind), "{kind}: {}", answer.text());
    }
    assert_eq!(world.kube.objects(), ["namespaces /team"]);
}

#[tokio::test]
async fn what_hangs_by_something_that_is_gone_keeps_no_namespace_and_what_hangs_by_something_else_is_not_named() {
    let world = World::start().await;
    world.deployed().await;
    let owned = |kind: &str, name: &str, uid: &serde_json::Value| {
        let api_version = if kind == "Deployment" { "apps/v1" } else { "rbac.authorization.k8s.io/v1" };
        let owner = json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": uid});
        json!({"metadata": {"ownerReferences": [owner]}})
    };
    let ours = world.kube.object("deployments", "team", "notes")["metadata"]["uid"].clone();
    world.kube.put("widgets", "team", "of-ours", owned("Deployment", "notes", &ours));

    let gone = world.chat(&world.request_for("decommission")).await;

    assert!(gone.text().contains("Namespace team"), "{}", gone.text());
    world.deployed().await;
    world.kube.put("roles", "team", "reader", json!({}));
    let theirs = world.kube.object("roles", "team", "reader")["metadata"]["uid"].clone();
    world.kube.put("widgets", "team", "of-theirs", owned("Role", "reader", &theirs));
    let kept = world.chat(&world.request_for("decommission")).await;
    assert!(kept.text().contains("it also holds Role `reader`."), "{}", kept.text());
}
