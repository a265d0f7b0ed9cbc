//! What a stream tells of a deploy while it goes on: a line for each step, which names it.

use serde_json::Value;

use crate::world::{World, with};

/// The lines of an answer in chunks.
async fn told(world: &World, body: Value) -> Vec<String> {
    let text = world.post_chat(&with(body, "stream", true)).send().await.unwrap().text().await.unwrap();
    let chunks = text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok());
    let words: Vec<String> =
        chunks.filter_map(|chunk: Value| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned)).collect();
    words.concat().lines().map(str::to_owned).collect()
}

fn begin<'a>(lines: &'a [String], mark: &str) -> Vec<&'a str> {
    lines.iter().filter_map(|line| line.strip_prefix(mark)).collect()
}

#[tokio::test]
async fn every_line_names_its_step_and_those_without_work_share_the_last_one() {
    let world = World::start().await;

    let deploy = told(&world, world.request_for("deploy")).await;
    let redeploy = told(&world, world.request_for("redeploy")).await;

    let done = begin(&deploy, "- \u{2713} ");
    let says = |beginning: &str| done.iter().any(|line| line.starts_with(beginning));
    assert!(says("Prepare the cluster `on-demand-infra`: created ("), "{deploy:#?}");
    assert!(says("Clone file://") && says("Look at the repository: `Dockerfile` ("), "{deploy:#?}");
    assert!(says("Build the image: notes:") && says("Load the image into the cluster: 1 of 1 layers, 1 MB ("));
    assert!(says("Wait until it serves: 1 replica serves (") && says("Fetch the page once: http://localhost:"));
    assert!(deploy.iter().any(|line| line.starts_with("- Nothing to do: ")), "{deploy:#?}");
    let [idle] = begin(&redeploy, "- Nothing to do: ")[..] else { panic!("{redeploy:#?}") };
    assert!(idle.contains("Build the image") && idle.contains("Remove versions that are too old"), "{idle}");
    let place = redeploy.iter().position(|line| line.contains(idle)).unwrap();
    assert!(!redeploy[place..].iter().any(|line| line.starts_with("- \u{2713}")), "{redeploy:#?}");
}
