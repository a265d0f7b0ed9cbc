//! What pages show, and that whatever is put into them is text.

use std::fs;
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Browser, Page};
use crate::world::aws::{ACCESS_KEY, OTHER_ACCESS_KEY, OTHER_ACCOUNT, SECRET_KEY};
use crate::world::{Answer, World, with};

/// What would be more than text if it was not escaped.
const EVIL: &str = "<script>alert(1)</script><img src=x onerror=alert(2)><svg onload=alert(3)>\u{1b}[31m";

#[tokio::test]
async fn an_empty_console_says_what_to_do_first() {
    let world = World::start().await;

    let page = Browser::of(&world).open("/").await;

    assert!(page.says("href=\"/new\"") && page.says("curl"), "{}", page.text);
}

#[tokio::test]
async fn what_others_have_written_is_text_on_every_page() {
    let world = World::start().await;
    world.commit("notes", "Dockerfile", &format!("FROM busybox:1.36\n{EVIL}\n")).await;
    let mut body = world.request_for("deploy");
    body["environment"] = json!({"GREETING": EVIL});
    let broken = world.chat(&body).await;
    assert_eq!(broken.state(), "undone", "{}", broken.text());
    world.commit("notes", "Dockerfile", "FROM busybox:1.36\nEXPOSE 8080\nCMD [\"serve\"]\n").await;
    world.kube.print(EVIL);
    let deployed = world.deployed().await;
    let mut browser = Browser::of(&world);
    let id = deployed.body["deployment"]["id"].as_str().unwrap().to_owned();
    let query: String = url::form_urlencoded::byte_serialize(EVIL.as_bytes()).collect();

    let paths = [
        "/".to_owned(),
        format!("/?q={query}&namespace={query}"),
        "/operations".to_owned(),
        "/chat".to_owned(),
        format!("/operations/{}", broken.operation()),
        format!("/operations/{}", deployed.operation()),
        format!("/deployments/{id}"),
        format!("/deployments/{id}/health"),
        format!("/deployments/{id}/logs?shown=true&q={query}"),
        format!("/deployments/{id}/logs?shown=true"),
        format!("/new?github_repo_url={query}&instance_name={query}"),
        "/targets".to_owned(),
        "/costs".to_owned(),
        "/audit".to_owned(),
        "/keys".to_owned(),
        "/doctor".to_owned(),
        format!("/sign-in?next={query}"),
        format!("/no-such-page/{query}"),
        format!("/operations?state={query}"),
    ];
    for path in paths {
        let page = browser.open(&path).await;

        assert!(page.headers["content-type"].starts_with("text/html"), "{path}: {page:?}");
        assert_ne!(page.status, 500, "{path}: {}", page.text);
        for evil in ["<script>alert", "<img src=x", "<svg onload"] {
            assert!(!page.says(evil), "{path} has {evil}: {}", page.text);
        }
        // What somebody types comes back as it was.
        assert!(path.contains(&query) || !page.says("\u{1b}"), "{path} has the colours of a terminal: {}", page.text);
    }
}

#[tokio::test]
async fn an_operation_is_followed_through_the_end_of_the_server() {
    let mut world = World::start().await;
    world.failpoints.hold("kind-create");
    let answer = world.begin(&world.request_for("deploy"));
    world.failpoints.reached("kind-create").await;
    let operation = world.latest().await;
    let stream = format!("/operations/{operation}/stream");

    let mut parts = world.request(Method::GET, &stream).send().await.unwrap().bytes_stream();
    let mut seen = String::new();
    while !seen.contains("data-state=\"running\"") || !seen.contains("Clone") {
        seen += &String::from_utf8_lossy(&parts.next().await.unwrap().unwrap());
    }
    world.kill_and_start_again().await;
    drop((parts, answer));
    world.failpoints.release("kind-create");
    world.ended(&operation).await;

    let rest = world.request(Method::GET, &stream).send().await.unwrap();
    let rest = tokio::time::timeout(Duration::from_mins(1), rest.text()).await.unwrap().unwrap();
    assert!(rest.contains("succeeded") && rest.contains("event: last"), "{rest}");
}

#[tokio::test]
async fn the_step_that_has_failed_is_found_while_it_is_taken_back_and_afterwards() {
    let world = World::start().await;
    world.kube.crash_new_images(true);
    world.failpoints.hold("kube-delete-deployments");
    let answer = world.begin(&world.request_for("deploy"));
    world.failpoints.reached("kube-delete-deployments").await;
    let operation = world.latest().await;
    let mut browser = Browser::of(&world);

    let unwinding = browser.open(&format!("/operations/{operation}")).await;
    world.failpoints.release("kube-delete-deployments");
    world.ended(&operation).await;
    let undone = browser.open(&format!("/operations/{operation}")).await;

    drop(answer);
    let page_state = "data-title=\"Taking back: Deploy notes\" data-state=\"failed\"";
    assert!(unwinding.says(page_state), "{}", unwinding.text);
    for told in ["class=\"failure-message\"", "<span class=\"badge\" data-state=\"undoing\">taking back</span>"] {
        assert!(unwinding.says(told), "{told}: {}", unwinding.text);
    }
    assert!(!unwinding.says("Cancel and take back") && !unwinding.says("id=\"progress\""), "{}", unwinding.text);
    assert!(undone.says("class=\"failure-message\"") && !undone.says(">taking back<"), "{}", undone.text);
    assert!(unwinding.says("id=\"step-apply_application\" data-state=\"undoing\""), "{}", unwinding.text);
    for place in ["step", "node"] {
        let failed = format!("id=\"{place}-wait_for_rollout\" data-state=\"failed\"");
        assert!(unwinding.says(&failed) && undone.says(&failed), "{place}: {}", undone.text);
    }
    assert!(undone.says("✕ failed, taken back") && undone.says(", failed</text>"), "{}", undone.text);
    assert!(undone.says("id=\"step-apply_application\" data-state=\"undone\""), "{}", undone.text);
    assert!(undone.says("class=\"edge-undo\""), "{}", undone.text);
}

#[tokio::test]
async fn the_list_is_narrowed_by_its_address() {
    let world = World::start().await;
    world.deployed().await;
    let mut browser = Browser::of(&world);

    for (query, is_there) in [
        ("q=NOT", true),
        ("q=else", false),
        ("q=%25", false),
        ("namespace=team", true),
        ("namespace=other", false),
        ("mode=local", true),
        ("mode=cloud-local", false),
        ("state=running", true),
        ("state=removed", false),
    ] {
        let page = browser.open(&format!("/?{query}")).await;

        assert_eq!(page.says("href=\"/deployments/dep_"), is_there, "{query}: {}", page.text);
    }
}

#[tokio::test]
async fn a_list_is_turned_page_by_page_and_looks_for_the_same() {
    let world = World::start().await;
    world.deployed().await;
    let numbers = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 60)";
    for copies in [
        "INSERT INTO targets (id, mode, name, made_here)
         SELECT printf('tgt_018bcfe568007000%016x', n), 'cloud-local', 'box-' || n, 1 FROM numbers",
        "INSERT INTO operations (id, action, principal, intent, plan, state, progress, deployment_id, target_id, receipt,
             warnings, cancel_asked, created_ms, ended_ms)
         SELECT printf('op_018bcfe568007000%016x', n), action, principal, intent, plan, state, progress, deployment_id,
             target_id, receipt, warnings, cancel_asked, created_ms, ended_ms FROM operations, numbers",
    ] {
        world.change(&format!("{numbers} {copies}")).await;
    }
    let mut browser = Browser::of(&world);

    for (path, row) in [("/targets", "<tr id=\"tgt_"), ("/operations?state=succeeded", "<tr id=\"op_")] {
        let first = browser.open(path).await;
        let second = browser.open(&first.next_page()).await;

        let rows = [&first, &second].map(|it| it.text.matches(row).count());
        assert_eq!(rows, [50, 11], "{path}: {}", second.text);
        assert!(!first.says(">Newest</a>") && !second.says("rel=\"next\""), "{path}: {}", second.text);
        assert!(second.says(&format!("href=\"{path}\">Newest</a>")), "{path}: {}", second.text);
    }
}

#[tokio::test]
async fn keys_are_made_and_shown_once() {
    let world = World::start().await;
    let mut browser = Browser::of(&world);
    let page = browser.open("/keys").await;

    let made = browser.send("/keys", &page, &[("name", "root"), ("role", "admin")]).await;

    assert_eq!(made.status, 201, "{}", made.text);
    let secret: String =
        made.text.split_once("odi_").unwrap().1.chars().take_while(char::is_ascii_alphanumeric).collect();
    let listed = world.request(Method::GET, "/v1/keys").bearer_auth(format!("odi_{secret}")).send().await.unwrap();
    let listed: Value = listed.json().await.unwrap();
    assert_eq!(listed["data"][0]["name"], "root");
}

#[tokio::test]
async fn lines_are_followed_and_taken_home() {
    let world = World::start().await;
    world.kube.print("\nanother line");
    let deployed = world.deployed().await;
    let id = deployed.body["deployment"]["id"].as_str().unwrap().to_owned();

    let home = world.request(Method::GET, &format!("/deployments/{id}/logs/download")).send().await.unwrap();
    assert!(home.headers()["content-disposition"].to_str().unwrap().starts_with("attachment"), "{home:?}");
    assert!(home.text().await.unwrap().contains("another line"));
    let mut lines = world
        .request(Method::GET, &format!("/deployments/{id}/logs/stream?tail=100"))
        .send()
        .await
        .unwrap()
        .bytes_stream();
    let first = lines.next().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("the application says hello"), "{first:?}");
}

#[tokio::test]
async fn lines_of_a_pod_are_those_of_an_application_and_a_container_before_needs_one() {
    let world = World::start().await;
    let deployed = world.deployed().await;
    let id = deployed.body["deployment"]["id"].as_str().unwrap().to_owned();
    let mut browser = Browser::of(&world);
    let logs = format!("/deployments/{id}/logs");

    let without = browser.open(&format!("{logs}?previous=true")).await;
    assert!(without.status == 400 && without.says("id=\"pod-error\""), "{without:?}");
    assert!(!without.says("the application says hello"), "{}", without.text);
    let other = browser.open(&format!("{logs}?pod=of-another&shown=true")).await;
    assert!(other.status == 200 && !other.says("the application says hello"), "{other:?}");
    let all = browser.open(&format!("{logs}?shown=true&q=HELLO")).await;
    assert!(all.says("the application says hello"), "{}", all.text);
}

#[tokio::test]
async fn the_list_changes_by_itself() {
    let world = World::start().await;
    let mut parts = world.request(Method::GET, "/overview/stream").send().await.unwrap().bytes_stream();
    let mut seen = String::new();
    let mut until = async |text: &str| {
        let read = async {
            while !seen.contains(text) {
                seen += &String::from_utf8_lossy(&parts.next().await.unwrap().unwrap());
            }
        };
        tokio::time::timeout(Duration::from_mins(1), read).await.unwrap_or_else(|_| panic!("no `{text}`"));
    };

    until("Nothing is deployed yet").await;
    world.deployed().await;

    until("data-state=\"running\" data-of=\"deployment\"").await;
    // What is said of a moment is the same whenever it is sent.
    until(" UTC</time>").await;
}

fn page_of(deployed: &Answer) -> String {
    format!("/deployments/{}", deployed.body["deployment"]["id"].as_str().unwrap())
}

#[tokio::test]
async fn a_version_tells_how_large_its_image_is_and_how_long_its_build_took() {
    let world = World::start().await;
    let first = world.deployed().await;
    let second = world.chat(&with(world.request_for("deploy"), "target_namespace", "other")).await;
    assert_eq!(second.state(), "succeeded", "{}", second.text());
    let mut browser = Browser::of(&world);

    let built = browser.open(&page_of(&first)).await;
    let found = browser.open(&page_of(&second)).await;
    let forget = "UPDATE versions SET version = replace(replace(version, 'size_bytes', 'x'), 'took_ms', 'y')";
    world.change(forget).await;
    let older = browser.open(&page_of(&first)).await;

    let size = "<span title=\"1000 bytes\">1 kB</span>";
    assert!(built.says(size) && built.says(" ms\">"), "{}", built.text);
    assert!(found.says(size) && found.says("title=\"build time not on record\">–"), "{}", found.text);
    assert!(older.says("title=\"not on record\">–") && !older.says(size) && !older.says(" ms\">"), "{}", older.text);
}

/// What the tree of a page says of the first thing of a kind.
fn part<'a>(page: &'a Page, kind: &str) -> &'a str {
    let (_, rest) = page.text.split_once(&format!(">{kind}</span>")).unwrap_or_else(|| panic!("no {kind}: {page:?}"));
    rest.split_once("</div>").unwrap().0
}

/// What a form holds that lends AWS credentials.
fn lent(access_key: &str) -> [(&str, &str); 2] {
    [("aws_credentials.aws_access_key_id", access_key), ("aws_credentials.aws_secret_access_key", SECRET_KEY)]
}

#[tokio::test]
async fn what_a_deployment_owns_in_aws_is_looked_at_with_credentials_of_its_account() {
    let world = World::on_named_cluster().await;
    let health = page_of(&world.deployed().await) + "/health";
    let mut browser = Browser::of(&world);

    let unasked = browser.open(&health).await;
    let well = browser.send(&health, &unasked, &lent(ACCESS_KEY)).await;
    world.failpoints.hold("balancer-active");
    world.aws.refuse("DescribeCertificate", "AccessDeniedException");
    fs::remove_file(world.path("cloud/alias-notes.apps.example.test")).unwrap();
    let ill = browser.send(&health, &unasked, &lent(ACCESS_KEY)).await;
    let elsewhere = browser.send(&health, &unasked, &lent(OTHER_ACCESS_KEY)).await;

    well.runs_nothing_foreign();
    assert!(unasked.says("AWS was not asked") && !part(&unasked, "Certificate").contains("badge"), "{}", unasked.text);
    for (kind, word) in [
        ("EKS cluster", "answers"),
        ("Load balancer", "active"),
        ("Namespace", "there"),
        ("DNS record", "points to the load balancer"),
        ("Certificate", "issued"),
        ("ECR repository", "there"),
    ] {
        let badge = format!("data-state=\"healthy\">{word}</span>");
        assert!(part(&well, kind).contains(&badge), "{kind}: {}", well.text);
    }
    assert_eq!(ill.status, 200, "{ill:?}");
    for (kind, words) in [
        ("EKS cluster", ">answers<"),
        ("Load balancer", "data-state=\"degraded\">provisioning<"),
        ("DNS record", "data-state=\"degraded\">missing<"),
        ("Certificate", "acm:DescribeCertificate"),
    ] {
        assert!(part(&ill, kind).contains(words), "{kind}: {}", ill.text);
    }
    assert!(part(&elsewhere, "EKS cluster").contains(OTHER_ACCOUNT), "{}", elsewhere.text);
    let certificate = part(&elsewhere, "Certificate");
    let is_unasked = certificate.contains("AWS was not asked") && !certificate.contains(OTHER_ACCOUNT);
    assert!(is_unasked && !certificate.contains("missing"), "{}", elsewhere.text);
}

#[tokio::test]
async fn an_instance_that_aws_does_not_tell_of_hides_nothing_else() {
    let world = World::on_instance().await;
    let health = page_of(&world.deployed().await) + "/health";
    let mut browser = Browser::of(&world);

    let unasked = browser.open(&health).await;
    let well = browser.send(&health, &unasked, &lent(ACCESS_KEY)).await;
    world.aws.refuse("DescribeInstances", "UnauthorizedOperation");
    let refused = browser.send(&health, &unasked, &lent(ACCESS_KEY)).await;

    assert!(part(&well, "EC2 instance").contains("data-state=\"healthy\">running<"), "{}", well.text);
    let instance = part(&refused, "EC2 instance");
    assert!(instance.contains(">unknown<") && instance.contains("UnauthorizedOperation"), "{}", refused.text);
    assert!(part(&refused, "Deployment").contains("data-state=\"healthy\""), "{}", refused.text);
}
