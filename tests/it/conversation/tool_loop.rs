//! The model has the word.

use serde_json::json;

use super::{chunks, deploy, talk, words};
use crate::world::azure::{Azure, Turn, call, say};
use crate::world::with;

#[tokio::test]
async fn plain_chat_is_the_models_word_for_word_with_its_usage() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    azure.will([say("The capital is Paris.")]);
    let question = with(with(talk(&["What is the capital of France?"]), "temperature", "0.5"), "seed", 3);
    let question = with(question, "stream_options", json!({"include_usage": true}));

    let chunks = chunks(&world, &question).await;

    assert_eq!(words(&chunks), "The capital is Paris.");
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(chunks[chunks.len() - 2]["choices"][0]["finish_reason"], "stop");
    assert_eq!(chunks[chunks.len() - 1]["usage"]["total_tokens"], 110);
    assert!(chunks.iter().all(|it| it["id"] == chunks[0]["id"] && it["model"] == "app-server-default"));
    let asked = &azure.requests()[0];
    assert_eq!((&asked["temperature"], &asked["seed"]), (&json!(0.5), &json!(3)));
    assert_eq!(asked["messages"][1], json!({"role": "user", "content": "What is the capital of France?"}));
}

#[tokio::test]
async fn a_wish_in_plain_words_is_carried_out_and_told_by_the_model() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    azure.will([call("deploy", deploy(&world)), say("Your notes are up.")]);

    let chunks = chunks(&world, &talk(&["Könntest du bitte meine Notizen starten?"])).await;

    let (text, last) = (words(&chunks), chunks.last().unwrap());
    assert!(text.contains("- ✓ ") && text.ends_with("Your notes are up."), "{text}");
    assert_eq!(
        (&last["operation"]["state"], &last["deployment"]["instance_name"]),
        (&json!("succeeded"), &json!("notes"))
    );
    assert!(azure.offered(0).contains(&"deploy".to_owned()));
    assert_eq!(azure.offered(1), ["status", "list", "logs", "cost"]);
    assert!(azure.told(1)[0].contains("is running"), "{:?}", azure.told(1));
}

#[tokio::test]
async fn an_answer_in_one_piece_has_the_models_words_and_the_usage_of_all_rounds() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    azure.will([call("deploy", deploy(&world)), say("Done.")]);

    let answer = world.chat(&talk(&["start my notes"])).await;

    assert_eq!((answer.text(), answer.state()), ("Done.", "succeeded"), "{:#}", answer.body);
    assert_eq!(answer.body["usage"]["total_tokens"], 220);
}

#[tokio::test]
async fn a_call_that_is_wrong_twice_and_then_right_is_carried_out_once() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    azure.will([
        call("deploy", json!({"github_repo": "x"})),
        Turn::Call("deploy".to_owned(), "{\"deployment_mode\": \"local".to_owned()),
        call("deploy", deploy(&world)),
        say("It runs."),
    ]);

    let answer = world.chat(&talk(&["start my notes"])).await;

    assert_eq!((answer.text(), answer.state()), ("It runs.", "succeeded"));
    assert!(azure.told(1)[0].contains("`github_repo_url`"), "{:?}", azure.told(1));
    assert!(azure.told(2)[1].contains("not JSON"), "{:?}", azure.told(2));
    assert_eq!(world.texts("SELECT id FROM operations").await.len(), 1);
}

#[tokio::test]
async fn a_model_that_never_stops_calling_is_stopped() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    azure.always(call("list", json!({})));

    let answer = world.chat(&talk(&["hm"])).await;

    assert_eq!(answer.status, 200);
    assert!(!answer.text().is_empty());
    assert!((2..=8).contains(&azure.requests().len()), "{}", azure.requests().len());
    assert!(azure.offered(azure.requests().len() - 1).is_empty());
}

#[tokio::test]
async fn a_model_that_calls_with_garbage_is_told_and_changes_nothing() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    azure.always(Turn::Call("decommission".to_owned(), "]{garbage".to_owned()));

    let answer = world.chat(&talk(&["hm"])).await;

    assert!(answer.text().contains("deploy https://"), "{}", answer.text());
    assert!(azure.told(1)[0].contains("not JSON"));
    assert!(world.texts("SELECT id FROM operations").await.is_empty());
}

#[tokio::test]
async fn one_message_makes_one_change() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    world.deployed().await;
    let scale = |count: u16| call("scale", json!({"scale_replicas": count}));
    azure.will([scale(2), scale(3), say("Two, I think.")]);

    let answer = world.chat(&talk(&["scale it up"])).await;

    assert_eq!(answer.body["deployment"]["replicas"], 2);
    assert!(azure.told(2)[1].contains("one change"), "{:?}", azure.told(2));
}

#[tokio::test]
async fn why_it_fails_is_answered_from_the_store_and_the_diagnosis() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    world.kube.crash_new_images(true);
    world.chat(&world.request_for("deploy")).await;
    azure.will([call("status", json!({"instance_name": "notes"})), say("It crashes.")]);

    let answer = world.chat(&talk(&["why does it not run?"])).await;

    assert!(answer.text().starts_with("It crashes."), "{}", answer.text());
    let told = &azure.told(1)[0];
    assert!(told.contains("failed") && told.contains("the application says hello"), "{told}");
}

#[tokio::test]
async fn the_same_message_sent_again_attaches_without_asking_the_model() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    azure.will([call("deploy", deploy(&world)), say("It runs.")]);
    let send = async || {
        let request = world.post_chat(&talk(&["start my notes"])).header("idempotency-key", "k-1");
        request.send().await.unwrap().json::<serde_json::Value>().await.unwrap()
    };

    let (first, second) = (send().await, send().await);

    assert_eq!(first["operation"]["id"], second["operation"]["id"]);
    assert_eq!(azure.requests().len(), 2);
}

#[tokio::test]
async fn a_model_of_the_list_presets_the_mode() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    let mut arguments = deploy(&world);
    arguments.as_object_mut().unwrap().remove("deployment_mode");
    azure.will([call("deploy", arguments), say("It runs.")]);

    let answer = world.chat(&with(talk(&["start my notes"]), "model", "deploy-local")).await;

    assert_eq!(answer.state(), "succeeded", "{}", answer.text());
    assert_eq!(answer.body["model"], "deploy-local");
}

#[tokio::test]
async fn azures_path_without_versions_and_any_other_endpoint_work_too() {
    let azure = Azure::start().await;
    let v1 = azure.world_with(&[("AZURE_OPENAI_API_VERSION", "v1")]).await;
    let other = azure.world_of_another().await;
    azure.always(say("Here."));

    let answers = (v1.chat(&talk(&["hello"])).await, words(&chunks(&other, &talk(&["hello"])).await));

    assert_eq!((answers.0.text(), answers.1.as_str()), ("Here.", "Here."));
}
