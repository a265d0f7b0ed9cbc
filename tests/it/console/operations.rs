//! What pages tell of operations, and of what came of them.

use serde_json::json;

use super::{Browser, Page};
use crate::world::{Answer, World, with};

async fn deployment_of(world: &World, answer: &Answer) -> String {
    let shown = world.get(&format!("/v1/operations/{}", answer.operation())).await;
    shown.body["deployment"]["id"].as_str().unwrap_or_else(|| panic!("no deployment: {shown:?}")).to_owned()
}

/// What the list of steps says of one of them.
fn step<'a>(page: &'a Page, name: &str) -> &'a str {
    let begin = format!("id=\"step-{name}\"");
    let (_, rest) = page.text.split_once(&begin).unwrap_or_else(|| panic!("no step {name}: {page:?}"));
    rest.split_once("</li>").unwrap().0
}

#[tokio::test]
async fn a_first_deploy_that_failed_is_told_of_where_somebody_looks_for_it() {
    let world = World::start().await;
    world.kube.crash_new_images(true);
    let failed = world.chat(&world.request_for("deploy")).await;
    assert_eq!(failed.state(), "undone", "{}", failed.text());
    let id = deployment_of(&world, &failed).await;
    let operation = format!("href=\"/operations/{}\"", failed.operation());
    let mut browser = Browser::of(&world);

    let overview = browser.open("/").await;
    let narrowed = browser.open("/?q=else").await;
    let deployment = browser.open(&format!("/deployments/{id}")).await;
    world.kube.crash_new_images(false);
    world.deployed().await;
    let again = browser.open("/").await;
    let list = browser.open("/operations?state=failed").await;
    let of_others = browser.open("/operations?state=cancelled").await;

    let told = "1 deployment failed and was removed";
    assert!(overview.says(told) && overview.says(&format!("{operation}>notes</a>")), "{}", overview.text);
    assert!(!narrowed.says(told) && !again.says(told), "{}", again.text);
    assert!(deployment.says("Its first deploy failed") && deployment.says(&operation), "{}", deployment.text);
    assert!(deployment.says("class=\"failure\"") && !deployment.says("It was removed"), "{}", deployment.text);
    assert!(deployment.says("href=\"/new?") && deployment.says(">Try again</a>"), "{}", deployment.text);
    let row = format!("<tr id=\"{}\">", failed.operation());
    assert!(list.says(&row) && list.says("after it failed"), "{}", list.text);
    assert!(!of_others.says(&row), "{}", of_others.text);
}

#[tokio::test]
async fn a_deployment_that_was_removed_says_by_whom() {
    let world = World::start().await;
    let id = deployment_of(&world, &world.deployed().await).await;
    let removed = world.chat(&world.request_for("decommission")).await;
    assert_eq!(removed.state(), "succeeded", "{}", removed.text());

    let page = Browser::of(&world).open(&format!("/deployments/{id}")).await;

    assert!(page.says("It was removed by 127.0.0.1, "), "{}", page.text);
    assert!(!page.says("<dt>Environment</dt>") && !page.says("can be gone back to"), "{}", page.text);
    assert!(page.says(&format!("href=\"/operations/{}\">What happened", removed.operation())), "{}", page.text);
}

#[tokio::test]
async fn an_operation_that_is_cancelled_says_so_at_once() {
    let world = World::start().await;
    world.failpoints.hold("rollout");
    let answer = world.begin(&world.request_for("deploy"));
    world.failpoints.reached("rollout").await;
    let operation = format!("/operations/{}", world.latest().await);
    world.failpoints.hold("kube-delete-deployments");
    let mut browser = Browser::of(&world);

    let running = browser.open(&operation).await;
    let sent = browser.send(&format!("{operation}/cancel"), &running, &[]).await;
    let cancelling = browser.open(&operation).await;
    world.failpoints.release("kube-delete-deployments");
    world.failpoints.release("rollout");

    assert_eq!(answer.await.unwrap().unwrap().state(), "cancelled");
    assert_eq!(sent.leads_to(), operation);
    assert!(running.says("Cancel and take back") && running.says("id=\"progress\""), "{}", running.text);
    assert!(cancelling.says("data-title=\"Cancelling: Deploy notes\""), "{}", cancelling.text);
    assert!(cancelling.says("data-state=\"undoing\">cancelling</span>"), "{}", cancelling.text);
    assert!(!cancelling.says("Cancel and take back") && !cancelling.says("id=\"progress\""), "{}", cancelling.text);
}

#[tokio::test]
async fn what_came_to_nothing_is_tried_again_by_its_form() {
    let world = World::start().await;
    world.kube.crash_new_images(true);
    let body = with(world.request_for("deploy"), "environment", json!({"GREETING": "it-secret-value"}));
    let failed = world.chat(&body).await;
    world.kube.crash_new_images(false);
    let id = deployment_of(&world, &world.deployed().await).await;
    world.commit("notes", "page", "2").await;
    world.kube.crash_new_images(true);
    let broken = world.chat(&world.request_for("redeploy")).await;
    assert_eq!([failed.state(), broken.state()], ["undone", "failed"], "{}", broken.text());
    let mut browser = Browser::of(&world);

    let page = browser.open(&format!("/operations/{}", failed.operation())).await;
    let (_, address) = page.text.split_once("href=\"/new?").unwrap_or_else(|| panic!("no form: {page:?}"));
    let address = address.split_once('"').unwrap().0.replace("&amp;", "&");
    let form = browser.open(&format!("/new?{address}")).await;
    let redeploy = browser.open(&format!("/operations/{}", broken.operation())).await;
    let deployment = browser.open(&format!("/deployments/{id}")).await;

    assert!(page.says("Try again") && page.says("Secrets are kept nowhere"), "{}", page.text);
    assert!(form.says("/repositories/notes\"") && form.says("value=\"team\""), "{}", form.text);
    assert!(!form.says("it-secret-value"), "{}", form.text);
    assert!(redeploy.says(&format!("href=\"/deployments/{id}#redeploy\">Try again")), "{}", redeploy.text);
    assert!(deployment.says("id=\"redeploy\""), "{}", deployment.text);
}

#[tokio::test]
async fn a_step_that_found_everything_there_is_not_taken_back() {
    let world = World::start().await;
    world.deployed().await;
    world.commit("notes", "page", "2").await;
    world.kube.crash_new_images(true);
    let failed = world.chat(&with(world.request_for("deploy"), "target_namespace", "other")).await;
    assert_eq!(failed.state(), "undone", "{}", failed.text());

    let page = Browser::of(&world).open(&format!("/operations/{}", failed.operation())).await;

    let cluster = step(&page, "create_cluster");
    assert!(cluster.starts_with(" data-state=\"succeeded\"") && cluster.contains("nothing to do"), "{cluster}");
    assert!(step(&page, "analyse_repository").contains("nothing to take back"), "{}", page.text);
    let applied = step(&page, "apply_application");
    assert!(applied.starts_with(" data-state=\"undone\"") && applied.contains(">taken back<"), "{applied}");
}

#[tokio::test]
async fn an_operation_says_what_was_asked_in_the_words_of_the_form() {
    let world = World::start().await;
    let deployed = world.chat(&with(world.request_for("deploy"), "scale_replicas", 2)).await;

    let page = Browser::of(&world).open(&format!("/operations/{}", deployed.operation())).await;

    for fact in ["<dt>Name of the application</dt><dd>notes</dd>", "<dt>Replicas</dt><dd>2</dd>"] {
        assert!(page.says(fact), "{fact}: {}", page.text);
    }
    assert!(page.says("<dt>Repository</dt>") && !page.says("<dt>repository</dt>"), "{}", page.text);
    assert!(page.says("<strong>1. ") && page.says("<strong>2. "), "{}", page.text);
}

#[tokio::test]
async fn a_rollback_is_called_by_its_verb() {
    let world = World::start().await;
    let id = deployment_of(&world, &world.deployed().await).await;
    world.commit("notes", "page", "2").await;
    assert_eq!(world.chat(&world.request_for("redeploy")).await.state(), "succeeded");
    let back = world.chat(&world.request_for("rollback")).await;
    assert_eq!(back.state(), "succeeded", "{}", back.text());
    let mut browser = Browser::of(&world);

    let operation = browser.open(&format!("/operations/{}", back.operation())).await;
    let operations = browser.open("/operations").await;
    let deployment = browser.open(&format!("/deployments/{id}")).await;

    assert!(operation.says("<h1>Roll back notes</h1>"), "{}", operation.text);
    assert!(operations.says(">roll back<span"), "{}", operations.text);
    assert!(deployment.says("Plan to roll back") && deployment.says(">roll back</a>"), "{}", deployment.text);
    assert!(!deployment.says("Plan a rollback") && !deployment.says(">rollback<"), "{}", deployment.text);
}

#[tokio::test]
async fn a_version_says_what_its_commit_is_about() {
    let world = World::start().await;
    let message = "Fix <b>the</b> page\n\nAt last.";
    let (name, address) = ("user.name=it", "user.email=it@example.test");
    let amend = ["-c", name, "-c", address, "commit", "--quiet", "--amend", "--message", message];
    world.git("notes", &amend).await;
    let id = deployment_of(&world, &world.deployed().await).await;
    let mut browser = Browser::of(&world);

    let page = browser.open(&format!("/deployments/{id}")).await;
    world.change("UPDATE versions SET version = json_remove(version, '$.build.commit')").await;
    let older = browser.open(&format!("/deployments/{id}")).await;

    assert!(page.says("<p>Fix &lt;b&gt;the&lt;/b&gt; page</p>") && !page.says("At last"), "{}", page.text);
    assert!(older.says("id=\"version-1\"") && !older.says("Fix "), "{}", older.text);
}

#[tokio::test]
async fn a_pod_that_was_told_to_end_is_not_ready() {
    let world = World::start().await;
    let id = deployment_of(&world, &world.deployed().await).await;
    let pod = json!({
        "metadata": {"labels": {"app": "notes"}, "deletionTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"containers": []},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    });
    world.kube.put("pods", "team", "a-pod-that-ends", pod);

    let page = Browser::of(&world).open(&format!("/deployments/{id}/health")).await;

    let (_, pod) = page.text.split_once("a-pod-that-ends</span>").unwrap_or_else(|| panic!("no pod: {page:?}"));
    let pod = pod.split_once("</div>").unwrap().0;
    assert!(pod.contains("data-state=\"unknown\">stopping<") && !pod.contains(">ready<"), "{pod}");
    assert!(page.says("data-state=\"healthy\">ready<"), "{}", page.text);
}
