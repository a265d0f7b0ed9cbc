//! Stored chat completions.

use reqwest::Method;
use serde_json::{Value, json};

use crate::world::azure::{Azure, call, say as says};
use crate::world::{World, answer, say, with};

const PATH: &str = "/v1/chat/completions";

fn stored(sentence: &str, tag: &str) -> Value {
    with(with(say(sentence), "store", true), "metadata", json!({"tag": tag}))
}

#[tokio::test]
async fn a_completion_is_kept_when_it_is_asked_for() {
    let world = World::start().await;
    let kept = world.chat(&stored("list", "a")).await.body;
    world.chat(&say("list")).await;
    let path = format!("{PATH}/{}", kept["id"].as_str().unwrap());

    let all = world.get(PATH).await.body;
    let shown = world.get(&path).await.body;
    let messages = world.get(&format!("{path}/messages")).await.body;
    let changed = answer(world.request(Method::POST, &path).json(&json!({"metadata": {"tag": "b"}}))).await.body;
    let deleted = answer(world.request(Method::DELETE, &path)).await.body;
    let gone = world.get(&path).await;

    assert_eq!(all["data"].as_array().unwrap().len(), 1);
    assert_eq!((&shown["choices"], &shown["metadata"]), (&kept["choices"], &json!({"tag": "a"})));
    assert_eq!((&messages["data"][0]["content"], &messages["data"][0]["role"]), (&json!("list"), &json!("user")));
    assert_eq!(changed["metadata"]["tag"], "b");
    assert_eq!((&deleted["deleted"], &deleted["object"]), (&json!(true), &json!("chat.completion.deleted")));
    assert_eq!((gone.status, gone.code()), (404, "completion_not_found"));
}

#[tokio::test]
async fn completions_are_listed_in_pages_and_by_their_metadata() {
    let world = World::start().await;
    for tag in ["a", "b", "a"] {
        world.chat(&stored(&format!("what is {tag}?"), tag)).await;
    }
    let list = async |query: &str| world.get(&format!("{PATH}?{query}")).await.body;

    let first = list("limit=2").await;
    let rest = list(&format!("limit=2&after={}", first["last_id"].as_str().unwrap())).await;
    let tagged = list("metadata[tag]=a").await;
    let none = list("model=chat").await;

    assert_eq!((first["data"].as_array().unwrap().len(), &first["has_more"]), (2, &json!(true)));
    assert_eq!((rest["data"].as_array().unwrap().len(), &rest["has_more"]), (1, &json!(false)));
    assert_eq!(tagged["data"].as_array().unwrap().len(), 2);
    assert_eq!(none["data"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn a_streamed_completion_is_kept_whole() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    azure.will([says("All of it."), call("search", json!({"q": 1}))]);
    let tools = json!([{"type": "function", "function": {"name": "search"}}]);
    let alone = with(with(stored("look", "b"), "tools", tools), "tool_choice", "required");

    world.post_chat(&with(stored("hello", "a"), "stream", true)).send().await.unwrap().text().await.unwrap();
    world.post_chat(&with(alone, "stream", true)).send().await.unwrap().text().await.unwrap();

    let all = world.get(PATH).await.body;
    assert_eq!(all["data"][0]["choices"][0]["message"]["content"], "All of it.");
    assert_eq!(all["data"][1]["choices"][0]["message"]["tool_calls"][0]["function"]["name"], "search");
    assert!(azure.requests().iter().all(|it| it.get("store").is_none()));
}

#[tokio::test]
async fn a_completion_belongs_to_its_key() {
    let world = World::with(&[("API_KEYS", "key-of-ann-0000001,key-of-bob-0000001")]).await;
    let kept = answer(world.post_chat(&stored("list", "a")).bearer_auth("key-of-ann-0000001")).await.body;
    let path = format!("{PATH}/{}", kept["id"].as_str().unwrap());

    let by_bob =
        async |method: Method, path: &str| answer(world.request(method, path).bearer_auth("key-of-bob-0000001")).await;

    assert_eq!(by_bob(Method::GET, &path).await.status, 404);
    assert_eq!(by_bob(Method::DELETE, &path).await.status, 404);
    assert_eq!(by_bob(Method::GET, &format!("{path}/messages")).await.status, 404);
    assert_eq!(by_bob(Method::GET, PATH).await.body["data"].as_array().unwrap().len(), 0);
}
