//! What is kept, for whom, and what goes on in the background.

use reqwest::Method;
use serde_json::{Value, json};

use super::{ask, ended, events, fields, path_of, read_events, respond, words};
use crate::world::{Answer, World, answer, eventually, with};

const ANN: &str = "key-of-ann-0000001";
const BOB: &str = "key-of-bob-0000001";

async fn by(world: &World, key: &str, method: Method, path: &str) -> Answer {
    answer(world.request(method, path).bearer_auth(key)).await
}

#[tokio::test]
async fn a_response_is_kept_until_it_is_deleted() {
    let world = World::start().await;
    let response = respond(&world, &with(ask("list"), "instructions", "Be short.")).await.body;
    let path = path_of(&response);

    let shown = world.get(&path).await;
    let items = world.get(&format!("{path}/input_items")).await.body;
    let deleted = answer(world.request(Method::DELETE, &path)).await;
    let gone = world.get(&path).await;
    let again = answer(world.request(Method::DELETE, &path)).await;

    assert_eq!(shown.body, response);
    assert_eq!(items["data"][0]["content"][0], json!({"type": "input_text", "text": "list"}));
    assert_eq!((&items["data"][0]["role"], &items["has_more"]), (&json!("user"), &json!(false)));
    assert_eq!(deleted.body["deleted"], true);
    assert_eq!((gone.status, gone.code(), again.status), (404, "response_not_found", 404));
}

#[tokio::test]
async fn what_was_said_is_listed_in_pages() {
    let world = World::start().await;
    let said = json!([{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}, {"role": "user", "content": "list"}]);
    let path = path_of(&respond(&world, &ask(said)).await.body);

    let last = world.get(&format!("{path}/input_items?limit=1")).await.body;
    let after = last["last_id"].as_str().unwrap();
    let rest = world.get(&format!("{path}/input_items?after={after}")).await.body;
    let first = world.get(&format!("{path}/input_items?order=asc&limit=1")).await.body;
    let wrong = world.get(&format!("{path}/input_items?after=none")).await;

    assert_eq!((&last["data"][0]["content"][0]["text"], &last["has_more"]), (&json!("list"), &json!(true)));
    assert_eq!(rest["data"].as_array().unwrap().len(), 2);
    assert_eq!(first["data"][0]["content"][0]["text"], "one");
    assert_eq!(wrong.status, 400);
}

#[tokio::test]
async fn what_is_not_to_be_stored_is_not() {
    let world = World::start().await;

    let response = respond(&world, &with(ask("list"), "store", false)).await.body;
    let streamed = events(&world, &with(ask("list"), "store", false)).await;

    assert_eq!(world.get(&path_of(&response)).await.status, 404);
    assert_eq!(world.get(&path_of(&streamed[0]["response"])).await.status, 404);
    assert!(world.texts("SELECT id FROM stored_answers").await.is_empty());
}

#[tokio::test]
async fn a_response_belongs_to_its_key() {
    let world = World::with(&[("API_KEYS", &format!("{ANN},{BOB}"))]).await;
    let send = async |key: &str, body: &Value| {
        answer(world.request(Method::POST, "/v1/responses").bearer_auth(key).json(body)).await
    };
    let response = send(ANN, &ask("list")).await.body;
    let path = path_of(&response);
    let goes_on = with(ask("and now?"), "previous_response_id", response["id"].clone());

    let mut refused = vec![send(BOB, &goes_on).await];
    for (method, path) in [
        (Method::GET, path.clone()),
        (Method::GET, format!("{path}?stream=true")),
        (Method::GET, format!("{path}/input_items")),
        (Method::POST, format!("{path}/cancel")),
        (Method::DELETE, path.clone()),
    ] {
        refused.push(by(&world, BOB, method, &path).await);
    }

    for answer in refused {
        assert_eq!((answer.status, answer.code()), (404, "response_not_found"));
    }
    assert_eq!(by(&world, ANN, Method::GET, &path).await.status, 200);
    assert_eq!(send(ANN, &goes_on).await.status, 200);
}

#[tokio::test]
async fn what_is_kept_is_sealed_and_has_no_secret_in_it() {
    let world = World::start().await;
    let body = with(fields(&world, "deploy"), "environment", json!({"DB_PASSWORD": "hunter2-of-the-database"}));
    let body = with(body, "input", "deploy it with hunter2-of-the-database, password=of-another-thing");

    let response = respond(&world, &body).await.body;
    let items = world.get(&format!("{}/input_items", path_of(&response))).await.body;

    let text = items["data"][0]["content"][0]["text"].as_str().unwrap();
    assert_eq!(text, "deploy it with ***, password=***");
    assert!(world.files_with("hunter2-of-the-database").iter().all(|it| it.contains("kube") || it.contains("objects")));
    let sealed = world.texts("SELECT sealed FROM stored_answers").await;
    assert!(sealed.len() == 1 && sealed[0].starts_with("v1."), "{sealed:?}");
}

#[tokio::test]
async fn a_response_in_the_background_has_the_state_of_its_operation() {
    let world = World::start().await;
    world.failpoints.hold("docker-build");

    let begun = respond(&world, &with(fields(&world, "deploy"), "background", true)).await.body;
    world.failpoints.reached("docker-build").await;
    let same = respond(&world, &with(fields(&world, "deploy"), "background", true)).await.body;
    let between = world.get(&path_of(&begun)).await.body;
    world.failpoints.release("docker-build");
    let done = ended(&world, &begun).await;

    assert!(["queued", "in_progress"].contains(&begun["status"].as_str().unwrap()), "{begun:#}");
    assert_eq!((&same["id"], &begun["background"]), (&begun["id"], &json!(true)));
    assert_eq!((&between["status"], &between["operation"]["state"]), (&json!("in_progress"), &json!("running")));
    assert_eq!((&done["status"], &done["operation"]["state"]), (&json!("completed"), &json!("succeeded")));
    assert!(words(&done).contains("notes"), "{done:#}");
    assert_eq!(world.texts("SELECT id FROM operations").await.len(), 1);
}

#[tokio::test]
async fn a_response_in_the_background_survives_a_kill() {
    let mut world = World::start().await;
    world.failpoints.hold("docker-build");
    let begun = respond(&world, &with(fields(&world, "deploy"), "background", true)).await.body;
    world.failpoints.reached("docker-build").await;

    world.kill_and_start_again().await;
    let between = world.get(&path_of(&begun)).await.body;
    world.failpoints.release("docker-build");
    let path = format!("{}?stream=true", path_of(&begun));
    let followed = world.request(Method::GET, &path).send().await.unwrap().text().await.unwrap();
    let done = ended(&world, &begun).await;

    assert_eq!(between["status"], "in_progress", "{between:#}");
    let followed = read_events(&followed);
    assert_eq!(followed.last().unwrap()["response"], done);
    assert_eq!((&done["status"], &done["operation"]["state"]), (&json!("completed"), &json!("succeeded")));
}

#[tokio::test]
async fn a_response_whose_operation_ended_while_nobody_was_there_is_completed() {
    let mut world = World::start().await;
    world.failpoints.hold("docker-build");
    let begun = respond(&world, &with(fields(&world, "deploy"), "background", true)).await.body;
    world.failpoints.reached("docker-build").await;

    world.kill_and_start_again().await;
    world.failpoints.release("docker-build");
    world.ended(begun["operation"]["id"].as_str().unwrap()).await;
    let done = world.get(&path_of(&begun)).await.body;

    assert_eq!((&done["status"], &done["operation"]["state"]), (&json!("completed"), &json!("succeeded")), "{done:#}");
}

#[tokio::test]
async fn a_stream_in_the_background_goes_on_without_its_client() {
    let world = World::start().await;
    world.failpoints.hold("docker-build");
    let body = with(with(fields(&world, "deploy"), "background", true), "stream", true);
    let response = world.request(Method::POST, "/v1/responses").json(&body).send().await.unwrap();
    world.failpoints.reached("docker-build").await;
    drop(response);
    let id = world.texts("SELECT id FROM stored_answers").await.remove(0);
    let path = format!("/v1/responses/{id}?stream=true&starting_after=1");
    let follower = tokio::spawn(world.request(Method::GET, &path).send());
    world.failpoints.release("docker-build");

    let events = read_events(&follower.await.unwrap().unwrap().text().await.unwrap());

    assert_eq!(events[0]["sequence_number"], 2);
    let last = events.last().unwrap();
    assert_eq!(
        (&last["type"], &last["response"]["operation"]["state"]),
        (&json!("response.completed"), &json!("succeeded"))
    );
}

#[tokio::test]
async fn a_cancelled_response_takes_back_what_it_began() {
    let world = World::start().await;
    world.failpoints.hold("docker-build");
    let begun = respond(&world, &with(fields(&world, "deploy"), "background", true)).await.body;
    world.failpoints.reached("docker-build").await;

    let cancelled = world.post(&format!("{}/cancel", path_of(&begun))).await.body;
    world.failpoints.release("docker-build");
    let operation = world.ended(begun["operation"]["id"].as_str().unwrap()).await;
    let again = world.post(&format!("{}/cancel", path_of(&begun))).await;

    assert_eq!(cancelled["status"], "cancelled", "{cancelled:#}");
    assert_eq!(operation["state"], "cancelled");
    assert_eq!((again.status, &again.body["status"]), (200, &json!("cancelled")));
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn an_unknown_response_is_not_there() {
    let world = World::start().await;

    let unknown = with(ask("yes"), "previous_response_id", "resp_unknown");
    let unknown = respond(&world, &unknown).await;

    assert_eq!((unknown.status, unknown.code()), (404, "response_not_found"));
    assert_eq!(unknown.body["error"]["param"], "previous_response_id");
    assert_eq!(world.get("/v1/responses/resp_unknown").await.status, 404);
}

#[tokio::test]
async fn an_equal_request_after_another_one_is_another_request() {
    let world = World::start().await;
    let key = |request: reqwest::RequestBuilder| request.header("idempotency-key", "k-1");
    let send = async |body: &Value| answer(key(world.request(Method::POST, "/v1/responses").json(body))).await;
    let first = respond(&world, &ask("list")).await.body;
    let deploy = fields(&world, "deploy");

    let done = send(&deploy).await;
    let same = send(&deploy).await;
    let other = send(&with(deploy, "previous_response_id", first["id"].clone())).await;

    assert_eq!((done.status, &done.body["id"]), (200, &same.body["id"]));
    assert_eq!((other.status, other.code()), (422, "idempotency_key_reused"));
}

#[tokio::test]
async fn what_is_too_old_is_forgotten() {
    let mut world = World::start().await;
    let old = respond(&world, &ask("list")).await.body;
    world.change("UPDATE stored_answers SET created_ms = created_ms - 31 * 86400000").await;
    let new = respond(&world, &ask("what is running?")).await.body;

    world.kill_and_start_again().await;

    eventually("the old one to be forgotten", async || world.get(&path_of(&old)).await.status == 404).await;
    assert_eq!(world.get(&path_of(&new)).await.status, 200);
}

#[tokio::test]
async fn a_client_that_leaves_a_stream_finds_its_response_again() {
    let world = World::start().await;
    world.failpoints.hold("docker-build");
    let body = with(fields(&world, "deploy"), "stream", true);
    let response = world.request(Method::POST, "/v1/responses").json(&body).send().await.unwrap();
    world.failpoints.reached("docker-build").await;
    drop(response);
    let id = world.texts("SELECT id FROM stored_answers").await.remove(0);
    let between = world.get(&format!("/v1/responses/{id}")).await.body;
    world.failpoints.release("docker-build");

    let done = ended(&world, &between).await;

    assert_eq!(between["status"], "in_progress", "{between:#}");
    assert_eq!((&done["status"], &done["operation"]["state"]), (&json!("completed"), &json!("succeeded")), "{done:#}");
}

#[tokio::test]
async fn what_goes_on_cannot_be_gone_on_from() {
    let world = World::start().await;
    world.failpoints.hold("docker-build");
    let begun = respond(&world, &with(fields(&world, "deploy"), "background", true)).await.body;
    world.failpoints.reached("docker-build").await;

    let early = respond(&world, &with(ask("and now?"), "previous_response_id", begun["id"].clone())).await;
    world.failpoints.release("docker-build");
    ended(&world, &begun).await;
    let later = respond(&world, &with(ask("and now?"), "previous_response_id", begun["id"].clone())).await;

    assert_eq!((early.status, early.code()), (409, "conflict"));
    assert_eq!(later.status, 200);
}
