//! What is told when something does not work: in words of pages, within the navigation, whatever was sent.

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Browser, another_key, first_key};
use crate::world::World;

#[tokio::test]
async fn what_is_wrong_is_told_of_pages_and_within_the_navigation() {
    let world = World::start().await;
    let root = first_key(&world).await;
    let ann = another_key(&world, &root, json!({"name": "ann", "role": "viewer"})).await;
    let mut browser = Browser::signed_in(&world, &ann).await;

    for (path, status, heading) in [
        ("/keys", 403, "This is not yours to do"),
        ("/no-such-page", 404, "There is no such page"),
        ("/operations/op_018bcfe5680070008000000000000fff", 404, "There is nothing here"),
    ] {
        let page = browser.open(path).await;

        assert_eq!(page.status, status, "{path}: {page:?}");
        assert!(page.says(&format!("<h1>{heading}</h1>")), "{path}: {}", page.text);
        let navigation = ["href=\"/operations\"", "Sign out", "(viewer)"];
        assert!(navigation.iter().all(|it| page.says(it)) && !page.says("href=\"/audit\""), "{path}: {}", page.text);
        assert!(!page.says("GET ") && !page.says("openapi"), "{path}: {}", page.text);
        page.runs_nothing_foreign();
    }
}

#[tokio::test]
async fn a_form_that_is_sent_to_a_page_without_forms_gets_a_page_too() {
    let world = World::start().await;
    let mut browser = Browser::of(&world);
    let origin = browser.url.clone();

    let page = browser.ask(Method::POST, "/targets", &[], Some(&origin)).await;

    assert_eq!(page.status, 405, "{page:?}");
    assert!(page.says("This page takes no form") && page.says("href=\"/operations\""), "{}", page.text);
    assert!(page.says("nothing was done") && !page.says("mistyped"), "{}", page.text);
}

#[tokio::test]
async fn an_address_that_only_takes_a_form_leads_to_the_page_that_has_it() {
    let world = World::start().await;
    let mut browser = Browser::of(&world);

    for (path, page) in [
        ("/plan", "/new"),
        ("/confirm", "/"),
        ("/operations/op_1/cancel", "/operations/op_1"),
        ("/operations/op_1/resume", "/operations/op_1"),
        ("/keys/key_1/rotate", "/keys"),
        ("/keys/key_1/revoke", "/keys"),
        ("/sign-out", "/"),
    ] {
        assert_eq!(browser.open(path).await.leads_to(), page, "{path}");
    }
}

#[tokio::test]
async fn a_stranger_sees_no_navigation_and_the_api_answers_as_ever() {
    let world = World::start().await;
    first_key(&world).await;

    let page = Browser::of(&world).open("/no-such-page").await;
    let api = Browser::of(&world).open("/v1/no-such-route").await;

    assert_eq!((page.status, api.status), (404, 404));
    assert!(page.says("There is no such page") && !page.says("href=\"/operations\""), "{}", page.text);
    assert!(api.says("\"route_not_found\"") && api.says("GET /v1/no-such-route"), "{}", api.text);
}

/// What comes back over a connection for an address.
async fn answer(world: &World, address: &str) -> String {
    let host = world.url().strip_prefix("http://").unwrap().to_owned();
    let mut stream = TcpStream::connect(&host).await.unwrap();
    let head = format!("GET {address} HTTP/1.1\r\nhost: {host}\r\naccept: text/html\r\nconnection: close\r\n\r\n");
    // What is far too long is not read to its end.
    let _ = stream.write_all(head.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn an_address_of_any_length_is_answered() {
    let world = World::start().await;

    for (path, length, status, words) in [
        ("/operations", 8_000, 200, "<h1>Operations</h1>"),
        ("/operations", 15_000, 200, "<h1>Operations</h1>"),
        ("/operations", 17_000, 431, "<h1>That does not work</h1>"),
        ("/operations", 60_000, 431, "<h1>That does not work</h1>"),
        ("/v1/operations", 17_000, 431, "\"header_too_large\""),
        ("/v1/operations", 60_000, 431, "\"header_too_large\""),
        ("/operations", 70_000, 414, ""),
        ("/operations", 200_000, 431, ""),
    ] {
        let answer = answer(&world, &format!("{path}?q={}", "q".repeat(length))).await;

        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path} {length}: {answer}");
        assert!(answer.contains(words), "{path} {length}: {answer}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_key_is_told_in_the_words_of_its_form() {
    let world = World::start().await;
    let mut browser = Browser::of(&world);
    let form = browser.open("/keys").await;

    let where_to = browser.send("/keys", &form, &[("name", "ci"), ("rights", "nowhere:team")]).await;
    let role = browser.send("/keys", &form, &[("name", "ci"), ("role", "viewer")]).await;

    assert_eq!((where_to.status, role.status), (400, 400), "{where_to:?} {role:?}");
    assert!(where_to.says("“Where”: <code>nowhere:team</code> is no mode and namespace"), "{}", where_to.text);
    assert!(role.says("“Role”: there is no administrator yet"), "{}", role.text);
}
