//! What a person says on the page for it: the same conversation as that of a chat page.

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::Method;
use serde_json::json;

use super::{Browser, Page, another_key, first_key};
use crate::world::azure::{self, Azure};
use crate::world::{World, eventually};

/// What would be more than text if it was not escaped.
const EVIL: &str = "<script>alert(1)</script><img src=x onerror=alert(2)> [a](javascript:alert(3)) \u{1b}[31m";

/// Sends a message from a page.
async fn send(browser: &mut Browser, page: &Page, message: &str) -> Page {
    let (chat, turn) = (page.hidden("chat"), page.hidden("turn"));
    browser.send("/chat", page, &[("chat", &chat), ("turn", &turn), ("message", message)]).await
}

/// Sends a message, and follows to the page with its answer.
async fn say(browser: &mut Browser, page: &Page, message: &str) -> Page {
    let sent = send(browser, page, message).await;
    let place = sent.leads_to().to_owned();
    let mut answered = None;
    eventually("the answer", async || {
        let page = browser.open(&place).await;
        let is_answered = !page.says("Being answered");
        answered = Some(page);
        is_answered
    })
    .await;
    answered.unwrap()
}

fn deploy(world: &World) -> String {
    format!("deploy {} locally as notes in namespace team", world.repository("notes"))
}

async fn operations(world: &World) -> usize {
    world.texts("SELECT id FROM operations").await.len()
}

#[tokio::test]
async fn an_application_is_deployed_and_taken_away_by_words_and_a_button() {
    let world = World::start().await;
    let mut browser = Browser::of(&world);
    let empty = browser.open("/chat").await;
    assert!(empty.says("What shall be done?") && !empty.says("hx-sse:connect"), "{}", empty.text);

    let begun = say(&mut browser, &empty, &deploy(&world)).await;
    let operation = world.latest().await;
    assert!(begun.says(&format!("href=\"/operations/{operation}\"")), "{}", begun.text);
    assert_eq!(world.ended(&operation).await["state"], "succeeded");

    let asked = say(&mut browser, &begun, "remove notes").await;
    assert!(asked.says("<code>notes</code> is running") && !asked.says("**"), "{}", asked.text);
    assert!(asked.says("Decommission notes?") && asked.says("value=\"yes\">Yes, do it"), "{}", asked.text);
    assert!(asked.says("<dt>Goes with it</dt><dd>nothing; the cluster "), "{}", asked.text);
    assert_eq!(operations(&world).await, 1);

    let done = say(&mut browser, &asked, "yes").await;
    let removal = world.latest().await;
    assert!(removal != operation && done.says(&removal) && !done.says("Yes, do it"), "{}", done.text);
    assert_eq!(world.ended(&removal).await["state"], "succeeded");
    let settled = say(&mut browser, &done, "what is running?").await;
    assert!(settled.says("Nothing is deployed") && !settled.says("hx-sse:connect"), "{}", settled.text);
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_page_waits_for_no_operation_and_follows_it() {
    let world = World::start().await;
    world.failpoints.hold("kind-create");
    let mut browser = Browser::of(&world);
    let empty = browser.open("/chat").await;

    let begun = say(&mut browser, &empty, &deploy(&world)).await;
    let stream = begun.text.split_once("hx-sse:connect=\"").unwrap().1.split_once('"').unwrap().0.to_owned();
    let live = world.request(Method::GET, &stream).send().await.unwrap();
    world.failpoints.release("kind-create");

    let told = tokio::time::timeout(Duration::from_mins(1), live.text()).await.unwrap().unwrap();
    assert!(told.contains("data-state=\"running\"") && told.contains("is running"), "{told}");
    assert!(told.contains("succeeded") && told.contains("event: last"), "{told}");
}

#[tokio::test]
async fn a_message_that_is_sent_twice_is_said_once_and_an_old_page_says_nothing() {
    let world = World::start().await;
    world.deployed().await;
    let mut browser = Browser::of(&world);
    let empty = browser.open("/chat").await;

    let asked = say(&mut browser, &empty, "remove notes").await;
    let again = send(&mut browser, &empty, "remove notes").await;
    let other = say(&mut browser, &asked, "scale notes to 0").await;
    let yes = send(&mut browser, &asked, "yes").await;

    assert_eq!(again.leads_to().split_once('#').unwrap().1, "turn-0");
    assert!(other.says("Scale notes?") && other.says("<dt>Replicas</dt><dd>from 1 to 0</dd>"), "{}", other.text);
    assert!(yes.status == 409 && yes.says("has gone on") && yes.says("Scale notes?"), "{yes:?}");
    assert_eq!(operations(&world).await, 1);

    let no = say(&mut browser, &other, "no").await;
    assert!(no.says("All right") && !no.says("Yes, do it"), "{}", no.text);
}

#[tokio::test]
async fn what_a_model_says_is_text_and_what_it_wants_to_take_away_is_asked_back() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    world.deployed().await;
    let mut browser = Browser::of(&world);
    azure.will([
        azure::say(&format!("**Hello.** {EVIL}")),
        azure::call("decommission", json!({"instance_name": "notes"})),
    ]);

    let empty = browser.open("/chat").await;
    let greeted = say(&mut browser, &empty, &format!("hi {EVIL}")).await;
    let asked = say(&mut browser, &greeted, "Ich brauche die Notizen nicht mehr.").await;

    assert!(greeted.says("<strong>Hello.</strong>"), "{}", greeted.text);
    for evil in ["<script>alert", "<img src=x", "href=\"javascript", "\u{1b}"] {
        assert!(!asked.says(evil), "{evil}: {}", asked.text);
    }
    assert!(asked.says("Decommission notes?") && asked.says("Yes, do it"), "{}", asked.text);
    let done = say(&mut browser, &asked, "yes").await;
    assert!(done.says(&world.latest().await), "{}", done.text);
}

#[tokio::test]
async fn what_a_model_says_comes_as_it_is_said() {
    let azure = Azure::start().await;
    let world = azure.world_with(&[("LLM_TIMEOUT_S", "60")]).await;
    let mut browser = Browser::of(&world);
    azure.will([azure::Turn::Halting(&["**Hello**", " dear", " world."])]);
    let empty = browser.open("/chat").await;

    let place = send(&mut browser, &empty, "hi").await.leads_to().to_owned();
    let begun = browser.open(&place).await;
    assert!(begun.says("<strong>Hello</strong>") && begun.says("Being answered"), "{}", begun.text);
    let stream = begun.text.split_once("hx-sse:connect=\"").unwrap().1.split_once('"').unwrap().0.to_owned();
    let mut parts = world.request(Method::GET, &stream).send().await.unwrap().bytes_stream();
    let mut told = String::new();
    let mut until = async |text: &str| {
        let read = async {
            while !told.contains(text) {
                told += &String::from_utf8_lossy(&parts.next().await.unwrap().unwrap());
            }
        };
        tokio::time::timeout(Duration::from_mins(1), read).await.unwrap_or_else(|_| panic!("no `{text}`"));
    };
    until("<strong>Hello</strong></p>").await;
    azure.go_on();
    until("<strong>Hello</strong> dear</p>").await;
    azure.go_on();
    until("event: last").await;

    let answered = browser.open(&place).await;
    assert!(answered.says("<strong>Hello</strong> dear world.</p>"), "{}", answered.text);
    assert!(!answered.says("Being answered") && !answered.says("hx-sse:connect"), "{}", answered.text);
    assert_eq!(azure.requests()[0]["stream"], true);
}

#[tokio::test]
async fn lines_that_would_be_followed_are_those_that_are_there() {
    let world = World::start().await;
    world.deployed().await;
    let mut browser = Browser::of(&world);
    let empty = browser.open("/chat").await;

    let answered = say(&mut browser, &empty, "follow the logs of notes").await;

    assert!(answered.says("the application says hello"), "{}", answered.text);
}

#[tokio::test]
async fn a_chat_is_for_whoever_began_it_and_a_viewer_begins_nothing() {
    let world = World::start().await;
    world.deployed().await;
    let root = first_key(&world).await;
    let ann = another_key(&world, &root, json!({"name": "ann", "role": "viewer"})).await;
    let mut ann = Browser::signed_in(&world, &ann).await;
    let mut other = Browser::signed_in(&world, &root).await;

    let empty = ann.open("/chat").await;
    let refused = say(&mut ann, &empty, "remove notes").await;
    let elsewhere = other.open(&format!("/chat/{}", refused.hidden("chat"))).await;

    assert!(!refused.says("Yes, do it"), "{}", refused.text);
    assert!(elsewhere.status == 404 && elsewhere.says("This chat is over"), "{elsewhere:?}");
    assert!(!elsewhere.says("remove notes"), "{}", elsewhere.text);
    assert_eq!(operations(&world).await, 1);
}
