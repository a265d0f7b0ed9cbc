//! Looking without changing anything, and asking in sentences.

use serde_json::json;

use crate::world::{World, say, with};

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let world = World::start().await;

    let plan = world.chat(&with(world.request_for("deploy"), "dry_run", true)).await;

    let steps = plan.text().matches("Build the image").count();
    assert!(plan.text().contains("this is what would be done") && steps == 1, "{}", plan.text());
    assert!(
        world
            .texts("SELECT id FROM operations UNION SELECT id FROM deployments UNION SELECT id FROM targets")
            .await
            .is_empty()
    );
    assert_eq!(world.leftovers().await, Vec::<String>::new());
    assert_eq!(world.count("kind", "create"), 0);
}

#[tokio::test]
async fn a_dry_run_of_what_runs_says_what_is_there_already() {
    let world = World::start().await;
    world.deployed().await;

    let plan = world.chat(&with(world.request_for("redeploy"), "dry_run", true)).await;

    let cluster = "1. Prepare the cluster `on-demand-infra` (nothing to do: it is there)";
    assert!(plan.text().contains(cluster), "{}", plan.text());
    assert_eq!(world.texts("SELECT id FROM operations").await.len(), 1);
}

#[tokio::test]
async fn status_list_and_logs_tell_what_is_there() {
    let world = World::start().await;
    world.chat(&with(world.request_for("deploy"), "scale_replicas", 2)).await;

    let status = world.chat(&world.request_for("status")).await;
    let list = world.chat(&world.request_for("list")).await;
    let logs = world.chat(&world.request_for("logs")).await;

    assert!(status.text().contains("2 of 2 replicas serve"), "{}", status.text());
    assert!(list.text().contains("`notes`"), "{}", list.text());
    assert!(logs.text().contains("the application says hello"), "{}", logs.text());
    assert_eq!(world.texts("SELECT id FROM operations").await.len(), 1);
}

#[tokio::test]
async fn sentences_deploy_scale_and_remove_with_what_was_said_before() {
    let world = World::start().await;
    let deploy = format!("deploy {} locally as notes in namespace team", world.repository("notes"));

    let deployed = world.chat(&say(&deploy)).await;
    let mut talk = say(&deploy);
    let mut turns = vec![
        json!({"role": "user", "content": deploy}),
        json!({"role": "assistant", "content": deployed.text()}),
        json!({"role": "user", "content": "now scale it to 3 replicas"}),
    ];
    talk["messages"] = json!(turns);
    let scaled = world.chat(&talk).await;
    turns.push(json!({"role": "assistant", "content": scaled.text()}));
    turns.push(json!({"role": "user", "content": "remove it again"}));
    talk["messages"] = json!(turns);
    let asked = world.chat(&talk).await;
    turns.push(json!({"role": "assistant", "content": asked.text()}));
    turns.push(json!({"role": "user", "content": "yes"}));
    talk["messages"] = json!(turns);
    let removed = world.chat(&talk).await;

    assert_eq!(deployed.state(), "succeeded", "{}", deployed.text());
    assert_eq!(scaled.state(), "succeeded", "{}", scaled.text());
    assert_eq!(scaled.body["deployment"]["replicas"], 3);
    assert_eq!(removed.state(), "succeeded", "{}", removed.text());
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn an_operation_that_takes_long_is_answered_and_goes_on() {
    let world = World::with(&[("ANSWER_WITHIN_S", "1")]).await;
    world.failpoints.hold("docker-build");

    let answer = world.chat(&world.request_for("deploy")).await;
    world.failpoints.release("docker-build");

    assert_eq!(answer.state(), "running", "{}", answer.text());
    assert!(answer.text().contains(&answer.operation()), "{}", answer.text());
    assert_eq!(world.ended(&answer.operation()).await["state"], "succeeded");
}

#[tokio::test]
async fn a_name_that_another_repository_has_is_refused_before_anything_happens() {
    let world = World::start().await;
    world.deployed().await;
    world.commit("other", "Dockerfile", "FROM base:1\n").await;

    let refused = world.chat(&with(world.request_for("deploy"), "github_repo_url", world.repository("other"))).await;

    assert_eq!((refused.status, refused.code()), (409, "conflict"), "{refused:?}");
    assert_eq!(world.texts("SELECT id FROM operations").await.len(), 1);
}

#[tokio::test]
async fn why_a_deploy_failed_is_known_also_when_nothing_of_it_is_left() {
    let world = World::start().await;
    world.kube.crash_new_images(true);
    world.chat(&world.request_for("deploy")).await;

    let why = world.chat(&say("why is it failing?")).await;
    let by_fields = world.chat(&world.request_for("status")).await;

    assert!(why.text().contains("Why: ") && why.text().contains("What to do: "), "{}", why.text());
    assert_eq!((by_fields.status, by_fields.code()), (404, "deployment_not_found"));
}

#[tokio::test]
async fn a_model_of_the_list_presets_the_mode_and_a_sentence_that_says_another_is_asked_back() {
    let world = World::start().await;
    let sentence = format!("deploy {} as notes in namespace team", world.repository("notes"));

    let deployed = world.chat(&with(say(&sentence), "model", "deploy-local")).await;
    let other = world.chat(&with(say(&sentence), "model", "deploy-cloud-hosted")).await;
    let contradicting = world.chat(&with(say(&format!("{sentence} to local")), "model", "deploy-cloud-hosted")).await;

    assert_eq!(deployed.state(), "succeeded", "{}", deployed.text());
    assert!(other.text().contains("AWS credentials"), "{}", other.text());
    assert!(contradicting.text().contains("`deployment_mode` says `cloud-hosted`"), "{}", contradicting.text());
}
