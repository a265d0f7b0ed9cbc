//! A walk of plain sentences, without a model: whatever is deployed, each has an answer that fits, and none is an error.

use crate::conversation::talk;
use crate::world::{World, eventually, say, with};

/// A sentence, and a word that must be in its answer: when nothing is deployed, when only `hello` is, and when `hello` (in
/// the namespace `team`), `web` and `api` (in `demo`) are.
type Case = (&'static str, &'static str, &'static str, &'static str);

/// What is deployed is the same in each line: what would change something is only planned.
const WALK: &[Case] = &[
    // Who are you?
    ("hello", "For example", "**`hello` is running.**", "**`hello` is running.**"),
    ("hi there", "For example", "For example", "For example"),
    ("help", "For example", "For example", "For example"),
    ("what can you do?", "For example", "For example", "For example"),
    ("can you deploy to AWS?", "For example", "For example", "For example"),
    ("thanks!", "For example", "For example", "For example"),
    ("make me a sandwich", "I did not understand", "I did not understand", "I did not understand"),
    ("web", "I did not understand", "I did not understand", "**`web` is running.**"),
    // What is there?
    ("what is running?", "Nothing is deployed", "| `hello` | running", "| `api` | running"),
    ("hello, what is running?", "Nothing is deployed", "| `hello` | running", "| `api` | running"),
    ("show me all apps", "Nothing is deployed", "| `hello` | running", "| `web` | running"),
    ("list", "Nothing is deployed", "| `hello` | running", "| `web` | running"),
    ("what is running in demo?", "Nothing is deployed", "no deployment in namespace `demo`", "| `web` | running"),
    // How is it?
    ("status", "Nothing is deployed", "**`hello` is running.**", "Which one do you mean?"),
    ("status of hello", "no deployment `hello`", "**`hello` is running.**", "**`hello` is running.**"),
    ("how is hello doing?", "no deployment `hello`", "1 of 1 replicas serve", "1 of 1 replicas serve"),
    ("is hello up?", "no deployment `hello`", "**`hello` is running.**", "**`hello` is running.**"),
    ("is it running?", "Nothing is deployed", "**`hello` is running.**", "Which one do you mean?"),
    ("why is hello failing?", "no deployment `hello`", "**`hello` is running.**", "**`hello` is running.**"),
    ("hello is down", "For example", "**`hello` is running.**", "**`hello` is running.**"),
    ("why does it not work?", "Nothing is deployed", "**`hello` is running.**", "Which one do you mean?"),
    ("what is the url of my app?", "Nothing is deployed", "http://localhost:", "Which one do you mean?"),
    ("what is the url of hello?", "no deployment `hello`", "http://localhost:", "http://localhost:"),
    ("what is the url of foo?", "no deployment `foo`", "no deployment `foo`", "no deployment `foo`"),
    ("describe web", "no deployment `web`", "no deployment `web`", "**`web` is running.**"),
    ("what happened to web?", "no deployment `web`", "no deployment `web`", "**`web` is running.**"),
    ("status of notes", "no deployment `notes`", "**`hello` is running.**", "Which one do you mean?"),
    ("status of demo", "no deployment `demo`", "no deployment `demo`", "- `api` in namespace `demo`"),
    // What does it print?
    ("logs", "Nothing is deployed", "the application says hello", "Which one do you mean?"),
    ("hello logs", "Nothing is deployed", "the application says hello", "the application says hello"),
    ("show me the logs of web", "no deployment `web`", "no deployment `web`", "the application says hello"),
    ("last 20 lines of the log of foo", "no deployment `foo`", "no deployment `foo`", "no deployment `foo`"),
    // What does it cost?
    ("what does it cost?", "Nothing is deployed", "**In all: nothing**", "**In all: nothing**"),
    ("how much do I pay in all?", "Nothing is deployed", "**In all: nothing**", "| `web` | local"),
    ("what does web cost?", "Nothing is deployed", "no deployment `web`", "| `web` | local"),
    // Deploy.
    ("deploy", "To deploy I also need", "To deploy I also need", "To deploy I also need"),
    ("deploy https://github.com/a/b", "where it should run", "where it should run", "where it should run"),
    (
        "deploy https://evil.example.test/a/b to local",
        "`evil.example.test`",
        "`evil.example.test`",
        "`evil.example.test`",
    ),
    ("deploy http://github.com/a/b to local", "That cannot be right", "That cannot be right", "That cannot be right"),
    ("deploy https://github.com/a/b to the cloud", "cloud-hosted", "cloud-hosted", "cloud-hosted"),
    ("deploy https://github.com/a/b to eks", "AWS credentials", "AWS credentials", "AWS credentials"),
    ("again", "For example", "For example", "For example"),
    // Change it.
    ("redeploy", "Nothing is deployed", "**Plan for `hello`.**", "Which one do you mean?"),
    ("redeploy hello", "no deployment `hello`", "**Plan for `hello`.**", "**Plan for `hello`.**"),
    ("update web to the latest version", "no deployment `web`", "no deployment `web`", "**Plan for `web`.**"),
    ("scale foo to 3", "no deployment `foo`", "no deployment `foo`", "no deployment `foo`"),
    ("scale it to 3", "Nothing is deployed", "**Plan for `hello`.**", "Which one do you mean?"),
    ("scale hello to 3", "no deployment `hello`", "number of replicas to 3", "number of replicas to 3"),
    ("scale hello", "the number of replicas", "the number of replicas", "the number of replicas"),
    ("scale hello to 5000", "are not from 0 to", "are not from 0 to", "are not from 0 to"),
    ("scale Foo_Bar to 3", "no deployment on `Foo_Bar`", "no deployment on `Foo_Bar`", "no deployment on `Foo_Bar`"),
    ("scale everything to 3", "one at a time", "one at a time", "one at a time"),
    ("restart it", "Nothing is deployed", "Replace its pods", "Which one do you mean?"),
    ("restart hello", "no deployment `hello`", "Replace its pods", "Replace its pods"),
    ("bounce web", "no deployment `web`", "no deployment `web`", "**Plan for `web`.**"),
    ("roll back", "Nothing is deployed", "no earlier version", "Which one do you mean?"),
    ("roll back hello to version 7", "no deployment `hello`", "no such version", "no such version"),
    // Take it back.
    ("undo that", "nothing to undo", "**Plan for `hello`.**", "**Plan for `api`.**"),
    ("undo the last change of hello", "no deployment `hello`", "**Plan for `hello`.**", "**Plan for `hello`.**"),
    ("undo the last change of foo", "no deployment `foo`", "no deployment `foo`", "no deployment `foo`"),
    ("cancel that", "Nothing is deployed", "Nothing is running on `hello`", "Nothing is going on"),
    (
        "cancel the deploy of hello",
        "no deployment `hello`",
        "Nothing is running on `hello`",
        "Nothing is running on `hello`",
    ),
    ("never mind", "Nothing is deployed", "Nothing is running", "Nothing is going on"),
    // Take it down.
    ("take it down", "Nothing is deployed", "**Plan for `hello`.**", "Which one do you mean?"),
    ("take hello down", "no deployment `hello`", "**Plan for `hello`.**", "**Plan for `hello`.**"),
    ("delete foo", "no deployment `foo`", "no deployment `foo`", "no deployment `foo`"),
    ("take everything down", "Nothing is deployed", "**Plan for `hello`.**", "**Plan to decommission 3 deployments.**"),
    ("remove all my apps", "Nothing is deployed", "**Plan for `hello`.**", "**Plan to decommission 3 deployments.**"),
    ("delete everything in namespace demo", "in namespace `demo`", "in namespace `demo`", "2 deployments"),
    ("delete everything in namespace nowhere", "`nowhere`", "`nowhere`", "no deployment in namespace `nowhere`"),
    ("delete everything except hello", "*not* to do", "*not* to do", "*not* to do"),
    ("should I take it down?", "For example", "For example", "For example"),
    ("take it down?", "That was a question", "That was a question", "That was a question"),
    ("don't take hello down", "*not* to do", "*not* to do", "*not* to do"),
];

/// Says each sentence in a conversation of its own, and collects what is not as it should be.
async fn walk(world: &World, expected: impl Fn(&Case) -> &'static str) {
    let operations = world.texts("SELECT id FROM operations").await.len();
    let mut wrong = Vec::new();
    for case in WALK {
        let answer = world.chat(&with(say(case.0), "dry_run", true)).await;
        let choice = &answer.body["choices"][0];
        let text = choice["message"]["content"].as_str().unwrap_or_default();
        if answer.status != 200 || choice["finish_reason"] != "stop" || !text.contains(expected(case)) {
            wrong.push(format!("{:?}: wanted {:?}, got {} {}", case.0, expected(case), answer.status, answer.body));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert_eq!(world.texts("SELECT id FROM operations").await.len(), operations);
}

async fn deployed_as(world: &World, name: &str, namespace: &str) {
    let body = with(with(world.request_for("deploy"), "instance_name", name), "target_namespace", namespace);
    assert_eq!(world.chat(&body).await.state(), "succeeded");
}

#[tokio::test]
async fn each_sentence_is_answered_when_nothing_is_deployed() {
    let world = World::start().await;

    walk(&world, |case| case.1).await;
}

#[tokio::test]
async fn each_sentence_is_answered_when_one_is_deployed() {
    let world = World::start().await;
    deployed_as(&world, "hello", "team").await;

    walk(&world, |case| case.2).await;
}

#[tokio::test]
async fn each_sentence_is_answered_when_three_are_deployed() {
    let world = World::start().await;
    for (name, namespace) in [("hello", "team"), ("web", "demo"), ("api", "demo")] {
        deployed_as(&world, name, namespace).await;
    }

    walk(&world, |case| case.3).await;
}

#[tokio::test]
async fn the_question_which_one_is_answered_with_a_name_or_a_place() {
    let world = World::start().await;
    for (name, namespace) in [("hello", "team"), ("hello", "demo"), ("web", "demo")] {
        deployed_as(&world, name, namespace).await;
    }

    let asked = world.chat(&talk(&["scale it to 3"])).await;
    let named = world.chat(&talk(&["scale it to 3", asked.text(), "web"])).await;
    let twice = world.chat(&talk(&["restart hello"])).await;
    let placed = world.chat(&talk(&["restart hello", twice.text(), "the one in demo"])).await;
    let removal = world.chat(&talk(&["take it down", asked.text(), "web"])).await;
    let removed = world.chat(&talk(&["take it down", asked.text(), "web", removal.text(), "yes"])).await;

    assert!(asked.text().starts_with("Which one do you mean?"), "{}", asked.text());
    assert_eq!(named.body["deployment"]["instance_name"], "web", "{}", named.text());
    assert!(twice.text().ends_with("For example: `in namespace team`."), "{}", twice.text());
    assert_eq!(placed.body["deployment"]["target_namespace"], "demo", "{}", placed.text());
    assert!(removal.text().starts_with("**Shall I decommission `web`?**"), "{}", removal.text());
    assert_eq!(removed.state(), "succeeded", "{}", removed.text());
}

#[tokio::test]
async fn a_name_after_something_clear_is_a_question_about_it_and_changes_nothing() {
    let world = World::start().await;
    deployed_as(&world, "hello", "team").await;
    deployed_as(&world, "web", "demo").await;

    let answer = world.chat(&talk(&["scale hello to 0", "done", "web"])).await;

    assert!(answer.text().starts_with("**`web` is running.**"), "{}", answer.text());
    assert_eq!(world.texts("SELECT id FROM operations").await.len(), 2);
}

#[tokio::test]
async fn fields_with_an_action_keep_their_errors() {
    let world = World::start().await;
    let none = world.chat(&world.request_for("restart")).await;
    deployed_as(&world, "hello", "team").await;
    deployed_as(&world, "web", "demo").await;

    let several = world.chat(&with(with(say("go"), "action", "status"), "deployment_mode", "local")).await;

    assert_eq!((none.status, none.code()), (404, "deployment_not_found"));
    assert_eq!((several.status, several.code()), (400, "ambiguous_deployment"));
}

#[tokio::test]
async fn what_is_busy_is_an_answer_to_words_and_an_error_to_fields() {
    let world = World::start().await;
    deployed_as(&world, "hello", "team").await;
    world.failpoints.hold("rollout");
    let scaling = with(with(world.request_for("scale"), "instance_name", "hello"), "scale_replicas", 3);
    let scaled = world.begin(&scaling);
    eventually("the scale to begin", async || world.texts("SELECT id FROM operations").await.len() == 2).await;

    let told = world.chat(&say("restart hello")).await;
    let refused = world.chat(&with(world.request_for("restart"), "instance_name", "hello")).await;
    world.failpoints.release("rollout");

    assert!(told.text().starts_with("`hello` is busy: operation `op_"), "{}", told.text());
    assert_eq!((refused.status, refused.code()), (409, "deployment_busy"));
    assert_eq!(scaled.await.unwrap().unwrap().state(), "succeeded");
}

#[tokio::test]
async fn logs_of_a_cluster_that_does_not_answer_are_words_too() {
    let world = World::start().await;
    deployed_as(&world, "hello", "team").await;
    std::fs::remove_dir_all(world.path("clusters/on-demand-infra")).unwrap();

    let told = world.chat(&say("logs of hello")).await;
    let by_fields = world.chat(&with(world.request_for("logs"), "instance_name", "hello")).await;

    assert_eq!(told.status, 200, "{told:?}");
    assert_eq!(by_fields.status, 409, "{by_fields:?}");
}

#[tokio::test]
async fn what_an_instance_costs_is_told_for_each_and_in_all() {
    let world = World::on_instance().await;
    deployed_as(&world, "hello", "team").await;
    deployed_as(&world, "web", "demo").await;

    let all = world.chat(&say("what does it all cost?")).await;
    let one = world.chat(&with(world.request_for("cost"), "instance_name", "hello")).await;

    assert!(all.text().contains("| `web` | cloud-local, `box` | shares it with the one above |"), "{}", all.text());
    assert!(all.text().contains("**In all about 0.057 USD per hour, 42 USD per month**"), "{}", all.text());
    assert!(one.text().contains("| `hello` | cloud-local, `box` | about 0.057 USD per hour"), "{}", one.text());
}
