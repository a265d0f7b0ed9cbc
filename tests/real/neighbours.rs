//! Two deployments of one repository on one cluster: they share an image and nothing else.

use serde_json::{Value, json};

use crate::bed::Repository;
use crate::cluster::{nothing_is_left, page_with};
use crate::server::shared;

fn request(repository: &Repository, action: &str, namespace: &str) -> Value {
    json!({
        "action": action, "deployment_mode": "local", "target_namespace": namespace, "instance_name": "neighbour",
        "github_repo_url": repository.url(),
    })
}

#[tokio::test]
async fn a_removal_does_not_take_the_image_from_a_neighbour_that_is_just_coming() {
    let server = shared().await;
    let repository = Repository::page("neighbours");
    let old = server.ask(request(&repository, "deploy", "old-neighbour")).await.ended("succeeded");

    let (gone, new) = tokio::join!(
        server.ask(request(&repository, "decommission", "old-neighbour")),
        server.ask(request(&repository, "deploy", "new-neighbour")),
    );

    nothing_is_left(server, &gone.ended("succeeded"), None);
    let new = new.ended("succeeded");
    page_with(&new.word("app_url"), "version 1").await;
    assert_eq!(new.deployment("image"), old.deployment("image"));

    let gone = server.ask(request(&repository, "decommission", "new-neighbour")).await.ended("succeeded");
    nothing_is_left(server, &gone, Some(old.deployment("image")));
}
