//! Whose lines the log shows.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::Browser;
use crate::world::{World, with};

#[tokio::test]
async fn lines_of_several_pods_say_whose_they_are_and_pods_are_chosen_from_a_list() {
    let world = World::start().await;
    let deployed = world.chat(&with(world.request_for("deploy"), "scale_replicas", 2)).await;
    assert_eq!(deployed.state(), "succeeded", "{}", deployed.text());
    let logs = format!("/deployments/{}/logs", deployed.body["deployment"]["id"].as_str().unwrap());
    let objects = world.kube.objects();
    let pods: Vec<&str> = objects.iter().filter_map(|it| it.strip_prefix("pods team/")).collect();
    assert_eq!(pods.len(), 2, "{objects:?}");
    let mut browser = Browser::of(&world);

    let all = browser.open(&format!("{logs}?shown=true")).await;
    let one = browser.open(&format!("{logs}?shown=true&pod={}", pods[0])).await;
    let home = world.request(Method::GET, &format!("{logs}/download")).send().await.unwrap().text().await.unwrap();
    let choice = browser.open(&format!("{logs}/pods?pod={}", pods[1])).await;
    let api = world.get(&format!("/v1{logs}")).await;

    for pod in &pods {
        let line = format!("[{}] the application says hello", pod.strip_prefix("notes-").unwrap());
        assert!(all.says(&line) && home.contains(&line), "{line}: {home} {}", all.text);
    }
    assert!(one.says("<div>the application says hello</div>") && !one.says("] the application"), "{}", one.text);
    assert!(one.says(&format!("hx-get=\"{logs}/pods?tail=100&amp;pod={}\"", pods[0])), "{}", one.text);
    assert!(choice.says("<select id=\"pod\"") && choice.says(&format!("<option>{}</option>", pods[0])), "{choice:?}");
    assert!(choice.says(&format!("<option selected>{}</option>", pods[1])), "{choice:?}");
    assert_eq!(api.body["lines"], json!(["the application says hello", "the application says hello"]));
}

#[tokio::test]
async fn lines_of_the_only_pod_have_no_name_before_them_and_a_pod_that_is_gone_is_told_of() {
    let world = World::start().await;
    let deployed = world.deployed().await;
    let logs = format!("/deployments/{}/logs", deployed.body["deployment"]["id"].as_str().unwrap());
    let mut browser = Browser::of(&world);

    let all = browser.open(&format!("{logs}?shown=true")).await;
    let choice = browser.open(&format!("{logs}/pods?pod=notes-that-is-gone")).await;
    let gone = browser.open(&format!("{logs}?shown=true&pod=notes-that-is-gone")).await;
    let followed = world.request(Method::GET, &format!("{logs}/stream?pod=notes-that-is-gone")).send().await.unwrap();
    let followed = tokio::time::timeout(Duration::from_mins(1), followed.text()).await.unwrap().unwrap();

    assert!(all.says("<div>the application says hello</div>"), "{}", all.text);
    assert!(choice.says("<option selected>notes-that-is-gone</option>"), "{choice:?}");
    let of_all = format!("<a href=\"{logs}?tail=100\">Lines of all pods</a>");
    for page in [&choice, &gone] {
        assert!(page.says("There is no pod <code>notes-that-is-gone</code>") && page.says(&of_all), "{page:?}");
    }
    assert!(followed.contains("There is no pod `notes-that-is-gone`"), "{followed}");
}
