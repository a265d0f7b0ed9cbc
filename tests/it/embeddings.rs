//! Embeddings: what a chat page needs for documents, by the connection that it has anyway.

use reqwest::Method;
use serde_json::{Value, json};

use crate::world::azure::{Azure, EMBEDDING_DEPLOYMENT, EMBEDDINGS, Turn, refuse};
use crate::world::{Answer, World, answer, say, with};

async fn embed(world: &World, body: &Value) -> Answer {
    answer(world.request(Method::POST, "/v1/embeddings").json(body)).await
}

fn two_texts() -> Value {
    json!({"model": EMBEDDING_DEPLOYMENT, "input": ["one text", "another"]})
}

async fn listed(world: &World) -> Vec<String> {
    let models = world.get("/v1/models").await.body;
    models["data"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn texts_become_vectors_by_a_deployment_of_their_own() {
    let azure = Azure::start().await;
    let world = azure.world_with(&EMBEDDINGS).await;
    let mut body = two_texts();
    body["dimensions"] = json!("2");
    body["input_type"] = json!("query");

    let answer = embed(&world, &body).await;

    let one = |index| json!({"object": "embedding", "index": index, "embedding": [0.25, -0.5]});
    assert_eq!((answer.status, &answer.body["data"]), (200, &json!([one(0), one(1)])), "{answer:?}");
    assert_eq!(answer.body["usage"]["total_tokens"], 3);
    let asked = json!({"model": EMBEDDING_DEPLOYMENT, "input": ["one text", "another"], "dimensions": 2});
    assert_eq!(azure.requests(), [asked]);
    assert!(listed(&world).await.contains(&EMBEDDING_DEPLOYMENT.to_owned()));
    let shown = world.get(&format!("/v1/models/{EMBEDDING_DEPLOYMENT}")).await;
    assert_eq!((shown.status, &shown.body["id"]), (200, &json!(EMBEDDING_DEPLOYMENT)));
}

#[tokio::test]
async fn texts_become_vectors_on_the_path_without_versions_and_by_any_other_endpoint() {
    let azure = Azure::start().await;
    let deployment = ("AZURE_EMBEDDING_DEPLOYMENT", EMBEDDING_DEPLOYMENT);
    let v1 = azure.world_with(&[deployment, ("AZURE_EMBEDDING_API_VERSION", "v1")]).await;
    let another = azure.world_of_another().await;

    for world in [v1, another] {
        // There is but one such model: it need not be named.
        let answer = embed(&world, &json!({"input": "one text"})).await;

        assert_eq!((answer.status, &answer.body["data"][0]["embedding"]), (200, &json!([0.25, -0.5])), "{answer:?}");
        assert!(listed(&world).await.contains(&EMBEDDING_DEPLOYMENT.to_owned()));
    }
}

#[tokio::test]
async fn without_a_model_for_it_the_settings_that_name_one_are_named() {
    let azure = Azure::start().await;
    let world = azure.world().await;

    let answer = embed(&world, &two_texts()).await;

    assert_eq!((answer.status, answer.code()), (404, "no_embedding_model"));
    let message = answer.body["error"]["message"].as_str().unwrap();
    assert!(message.contains("`AZURE_EMBEDDING_DEPLOYMENT`") && message.contains("`LLM_EMBEDDING_MODEL`"), "{message}");
    assert!(!listed(&world).await.contains(&EMBEDDING_DEPLOYMENT.to_owned()));
    assert_eq!(azure.requests(), [""; 0]);
}

#[tokio::test]
async fn each_model_is_for_its_own_route() {
    let azure = Azure::start().await;
    let world = azure.world_with(&EMBEDDINGS).await;

    let unknown = embed(&world, &with(two_texts(), "model", "text-embedding-ada-002")).await;
    let of_chats = embed(&world, &with(two_texts(), "model", "app-server-default")).await;
    let in_chat = world.chat(&with(say("help"), "model", EMBEDDING_DEPLOYMENT)).await;

    assert_eq!((unknown.status, unknown.code()), (404, "model_not_found"));
    for refused in [of_chats, in_chat] {
        assert_eq!((refused.status, &refused.body["error"]["param"]), (400, &json!("model")), "{refused:?}");
        let message = refused.body["error"]["message"].as_str().unwrap();
        assert!(message.contains(EMBEDDING_DEPLOYMENT) && message.contains("app-server-default"), "{message}");
    }
    assert_eq!(azure.requests(), [""; 0]);
}

#[tokio::test]
async fn the_door_and_the_limits_are_those_of_the_chat() {
    let azure = Azure::start().await;
    let key = "s3cr3t-key-of-a-caller";
    let limits = [("API_KEYS", key), ("MAX_BODY_BYTES", "2KiB"), ("RATE_LIMIT_PER_MINUTE", "3")];
    let world = azure.world_with(&[&EMBEDDINGS[..], &limits].concat()).await;
    let post = |body: &Value| world.request(Method::POST, "/v1/embeddings").bearer_auth(key).json(body);

    let stranger = embed(&world, &two_texts()).await;
    let large = answer(post(&json!({"input": "x".repeat(4096)}))).await;
    let wrong = answer(post(&json!({"input": 3}))).await;
    let right = answer(post(&two_texts())).await;
    let often = answer(post(&two_texts())).await;

    assert_eq!((stranger.status, stranger.code()), (401, "invalid_api_key"));
    assert_eq!((large.status, large.code()), (413, "body_too_large"));
    assert_eq!((wrong.status, &wrong.body["error"]["param"]), (400, &json!("input")));
    assert_eq!(right.status, 200, "{right:?}");
    assert_eq!((often.status, often.code()), (429, "rate_limit_exceeded"));
}

#[tokio::test]
async fn secrets_in_a_text_stay_here() {
    let azure = Azure::start().await;
    let world = azure.world_with(&EMBEDDINGS).await;
    let texts = ["DB_PASSWORD=s3cr3t-of-a-document", "data: ghp_s3cr3t0123456789abcdef", "nothing to hide"];

    embed(&world, &json!({"input": texts})).await;

    let asked = serde_json::to_string(&azure.requests()).unwrap();
    assert!(!asked.contains("s3cr3t") && asked.contains("DB_PASSWORD=[secret-1]"), "{asked}");
    assert!(asked.contains("nothing to hide"));
}

#[tokio::test]
async fn what_the_model_lacks_is_told_as_in_a_chat() {
    let azure = Azure::start().await;
    let world = azure.world_with(&EMBEDDINGS).await;
    let missing = azure.world_with(&[("AZURE_EMBEDDING_DEPLOYMENT", "gone")]).await;
    let refusal = json!({"error": {"code": "invalid_dimensions", "message": "too many", "param": "dimensions"}});
    azure.will([
        Turn::Refuse(429, Some(("retry-after-ms", "20")), json!({"error": {"code": "429", "message": "wait"}})),
        Turn::Say(String::new()),
        Turn::Refuse(400, None, refusal),
        Turn::Die("<html>no list</html>".to_owned()),
    ]);

    let waited = embed(&world, &two_texts()).await;
    let refused = embed(&world, &two_texts()).await;
    let malformed = embed(&world, &two_texts()).await;
    let nowhere = embed(&missing, &json!({"input": "a"})).await;

    assert_eq!(waited.status, 200, "{waited:?}");
    assert_eq!((refused.status, refused.code()), (400, "invalid_dimensions"));
    assert_eq!(refused.body["error"]["param"], "dimensions");
    assert_eq!((malformed.status, malformed.code()), (503, "model_unavailable"));
    assert_eq!((nowhere.status, nowhere.code()), (503, "model_unavailable"));
    let message = nowhere.body["error"]["message"].as_str().unwrap();
    assert!(message.contains("`gone`") && message.contains("`AZURE_EMBEDDING_DEPLOYMENT`"), "{message}");
}

#[tokio::test]
async fn a_model_that_is_down_is_left_alone_and_the_one_for_chats_is_not() {
    let azure = Azure::start().await;
    let world = azure.world_with(&EMBEDDINGS).await;
    azure.always(refuse(503, "ServiceUnavailable", "down"));
    for _ in 0..5 {
        embed(&world, &two_texts()).await;
    }
    let asked = azure.requests().len();
    azure.always(Turn::Say("Here I am.".to_owned()));

    let alone = embed(&world, &two_texts()).await;
    let chat = world.chat(&say("hello there")).await;

    assert_eq!((alone.status, alone.code()), (503, "model_unavailable"));
    assert!(alone.body["error"]["message"].as_str().unwrap().contains("is asked again in"), "{alone:?}");
    assert_eq!(chat.text(), "Here I am.");
    assert_eq!(azure.requests().len(), asked + 1);
}

#[tokio::test]
async fn doctor_asks_the_model_for_a_vector() {
    let azure = Azure::start().await;
    let world = azure.world_with(&EMBEDDINGS).await;
    let finding = async |changed: &[(&str, &str)]| {
        let output = world.command(&["doctor", "--json"], changed).await;
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let checks = report["checks"].as_array().unwrap().clone();
        checks.into_iter().find(|it| it["name"] == "embedding model").unwrap()
    };

    let answers = finding(&[]).await;
    let keyless = finding(&[("AZURE_OPENAI_API_KEY", "")]).await;

    assert_eq!(answers["status"], "ok", "{answers}");
    assert!(answers["found"].as_str().unwrap().contains(EMBEDDING_DEPLOYMENT));
    assert_eq!(keyless["status"], "warn", "{keyless}");
    assert!(keyless["advice"].as_str().unwrap().contains("`AZURE_OPENAI_API_KEY`"));
}
