//! Addresses as people paste them: the page of a branch, a directory, a file or a change is what it shows.
//!
//! `https://git.example.test/team/NAME` is the repository `NAME` of the world.

use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::world::{Answer, World, say, with};

const REPOSITORY: &str = "https://git.example.test/team/notes";

/// A world whose repository has an application in its root, and one in each of two directories, also on a branch with a
/// slash and in a change.
async fn world() -> World {
    let world = World::with(&[("GIT_ALLOWED_HOSTS", "git.example.test")]).await;
    world.commit("notes", "services/api/Dockerfile", "FROM base:1\nEXPOSE 8081\n").await;
    world.commit("notes", "services/web/Dockerfile", "FROM base:1\nEXPOSE 8082\n").await;
    world.git("notes", &["branch", "feature/x"]).await;
    // Hosts know a repository by both names.
    symlink("notes", world.path("repositories/notes.git")).unwrap();
    world.git("notes", &["update-ref", "refs/pull/7/head", "HEAD"]).await;
    world
}

/// A deploy of an address, which names nothing but the mode.
fn deploy(address: &str) -> Value {
    let mut body = say("go");
    body["action"] = json!("deploy");
    body["deployment_mode"] = json!("local");
    body["github_repo_url"] = json!(address);
    body
}

/// Which ref and directory were deployed, and the port that its Dockerfile exposes.
fn deployed(answer: &Answer) -> (Value, Value, Value) {
    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    let it = &answer.body["deployment"];
    assert_eq!(it["github_repo_url"].as_str().unwrap().trim_end_matches(".git"), REPOSITORY);
    (it["git_ref"].clone(), it["source_directory"].clone(), it["ports"][0].clone())
}

async fn names(world: &World) -> Vec<String> {
    world.texts("SELECT name FROM deployments WHERE state <> 'removed' ORDER BY id").await
}

#[tokio::test]
async fn the_page_of_a_directory_deploys_that_directory_of_that_branch() {
    let world = world().await;

    let main = world.chat(&deploy(&format!("{REPOSITORY}/tree/main/services/api/"))).await;
    let branch = world.chat(&say(&format!("deploy {REPOSITORY}/tree/feature/x/services/web to local"))).await;

    assert_eq!(deployed(&main), (json!("main"), json!("services/api"), json!(8081)));
    assert!(main.text().contains(&format!("the directory `services/api` of {REPOSITORY}")), "{}", main.text());
    assert_eq!(deployed(&branch), (json!("feature/x"), json!("services/web"), json!(8082)));
    let again = world.chat(&with(world.request_for("redeploy"), "github_repo_url", format!("{REPOSITORY}.git"))).await;
    assert_eq!(again.status, 404, "the names of another deployment: {again:?}");
}

#[tokio::test]
async fn the_pages_of_a_change_a_file_and_a_tag_are_what_they_show() {
    let world = world().await;
    world.git("notes", &["tag", "v1"]).await;
    let change = world.chat(&deploy(&format!("{REPOSITORY}/pull/7"))).await;
    let file = world.chat(&deploy(&format!("{REPOSITORY}/blob/main/services/web/Dockerfile"))).await;
    let tag = world.chat(&deploy(&format!("{REPOSITORY}/src/tag/v1/services/api"))).await;

    assert_eq!(deployed(&change), (json!("refs/pull/7/head"), Value::Null, json!(8080)));
    assert_eq!(deployed(&file), (json!("main"), json!("services/web"), json!(8082)));
    assert_eq!(deployed(&tag), (json!("refs/tags/v1"), json!("services/api"), json!(8081)));
}

#[tokio::test]
async fn two_directories_of_a_repository_are_two_deployments() {
    let world = world().await;
    let root = world.chat(&deploy(REPOSITORY)).await;
    let api = world.chat(&deploy(&format!("{REPOSITORY}/tree/main/services/api"))).await;
    let web = world.chat(&with(deploy(&format!("{REPOSITORY}.git")), "source_directory", "./services/web/")).await;

    let again = world.chat(&deploy(&format!("{REPOSITORY}/tree/feature/x/services/api"))).await;
    let root_again = world.chat(&deploy(&format!("{REPOSITORY}/"))).await;

    let id = |answer: &Answer| answer.body["deployment"]["id"].clone();
    assert_eq!([&root, &api, &web].map(deployed).map(|it| it.2), [json!(8080), json!(8081), json!(8082)]);
    assert_eq!((id(&again), id(&root_again)), (id(&api), id(&root)));
    assert_eq!(deployed(&again).0, "feature/x");
    assert_eq!(names(&world).await.len(), 3);
}

#[tokio::test]
async fn a_directory_is_kept_selects_and_is_changed_by_name_alone() {
    let world = world().await;
    world.chat(&deploy(REPOSITORY)).await;
    let named = with(deploy(&format!("{REPOSITORY}/tree/main/services/api")), "instance_name", "shop");
    let shop = world.chat(&named).await;
    let mut redeploy = with(deploy(REPOSITORY), "action", "redeploy");

    let several = world.chat(&redeploy).await;
    let selected = world.chat(&with(redeploy.clone(), "source_directory", "services/api")).await;
    let unknown = world.chat(&with(redeploy.clone(), "source_directory", "services/web")).await;
    redeploy["instance_name"] = json!("shop");
    let kept = world.chat(&redeploy).await;
    let moved = world.chat(&with(redeploy.clone(), "source_directory", "services/web")).await;
    let back = world.chat(&with(with(redeploy, "action", "rollback"), "rollback_to", 1)).await;

    assert_eq!(deployed(&shop).1, "services/api");
    assert_eq!((several.status, several.body["error"]["param"].as_str()), (400, Some("instance_name")), "{several:?}");
    assert_eq!(deployed(&selected).1, "services/api");
    assert_eq!((unknown.status, unknown.code()), (404, "deployment_not_found"), "{unknown:?}");
    assert_eq!(deployed(&kept).1, "services/api");
    assert_eq!((deployed(&moved).1, deployed(&moved).2), (json!("services/web"), json!(8082)));
    assert_eq!((deployed(&back).1, deployed(&back).2), (json!("services/api"), json!(8081)));
    assert_eq!(names(&world).await.len(), 2);
}

#[tokio::test]
async fn a_conversation_goes_on_with_the_directory_that_it_began_with() {
    let world = world().await;
    world.chat(&deploy(REPOSITORY)).await;
    let said = format!("deploy {REPOSITORY}/tree/feature/x/services/api to local");
    let first = world.chat(&say(&said)).await;
    let looks = world.count("git", "ls-remote");

    let mut talk = say("scale it to 2");
    talk["messages"] = json!([
        {"role": "user", "content": said},
        {"role": "assistant", "content": first.text()},
        {"role": "user", "content": "scale it to 2"},
    ]);
    let scaled = world.chat(&talk).await;

    assert_eq!((deployed(&scaled).1, &scaled.body["deployment"]["replicas"]), (json!("services/api"), &json!(2)));
    assert_eq!(world.count("git", "ls-remote"), looks, "what is on record need not be asked");
}

#[tokio::test]
async fn a_plan_says_which_directory_would_be_built() {
    let world = world().await;

    let plan = world.chat(&with(deploy(&format!("{REPOSITORY}/tree/feature/x/services/api")), "dry_run", true)).await;

    let text = plan.text();
    assert!(text.contains(&format!("Clone {REPOSITORY} at `feature/x`")), "{text}");
    assert!(text.contains("Look at the directory `services/api` of the repository"), "{text}");
}

#[tokio::test]
async fn what_contradicts_an_address_is_refused() {
    let world = world().await;
    let page = || deploy(&format!("{REPOSITORY}/tree/feature/x/services/api"));

    let other_ref = world.chat(&with(page(), "git_ref", "main")).await;
    let other_directory = world.chat(&with(page(), "source_directory", "services/web")).await;
    let no_page = world.chat(&deploy("https://github.com/team/notes/issues/3")).await;
    let same = world.chat(&with(with(page(), "git_ref", "feature/x"), "source_directory", "services/api")).await;
    let sentence = format!("deploy {REPOSITORY}/tree/feature/x/services/api branch main to local");
    let asked = world.chat(&say(&sentence)).await;

    let refused = |answer: &Answer| (answer.status, answer.body["error"]["param"].as_str().map(str::to_owned));
    assert_eq!(refused(&other_ref), (400, Some("git_ref".to_owned())));
    assert_eq!(refused(&other_directory), (400, Some("source_directory".to_owned())));
    assert_eq!(refused(&no_page), (400, Some("github_repo_url".to_owned())));
    assert_eq!(deployed(&same), (json!("feature/x"), json!("services/api"), json!(8081)));
    assert!(asked.text().contains("the address shows `feature/x/services/api`, not `main`"), "{}", asked.text());
}

#[tokio::test]
async fn a_directory_that_the_clone_lacks_is_told_with_those_that_it_has() {
    let world = world().await;

    let answer = world.chat(&deploy(&format!("{REPOSITORY}/tree/main/services/app"))).await;

    assert_eq!(answer.state(), "undone", "{}", answer.text());
    let said = "There is no directory `services/app` in the repository; found: `services/api`, `services/web`";
    assert!(answer.text().contains(said), "{}", answer.text());
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_remote_that_cannot_be_asked_is_told_by_the_deploy() {
    let world = world().await;
    world.failpoints.fail("git-ls-remote", "fatal: repository 'https://git.example.test/team/notes/' not found");

    let answer = world.chat(&deploy(&format!("{REPOSITORY}/tree/main/services/api"))).await;

    assert!(answer.state() == "undone" || answer.state() == "failed", "{}", answer.text());
    assert!(answer.text().contains("Why: "), "{}", answer.text());
}
