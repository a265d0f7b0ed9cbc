//! Who is let in, and what a form needs.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, COOKIE, ORIGIN, REFERER};
use reqwest::{Client, Method, redirect};
use serde_json::json;

use super::{Browser, another_key, first_key};
use crate::world::World;

#[tokio::test]
async fn a_server_without_keys_shows_its_own_machine_everything() {
    let world = World::start().await;
    world.deployed().await;

    let page = Browser::of(&world).open("/").await;

    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.says("notes") && !page.says("Sign out"), "{}", page.text);
}

#[tokio::test]
async fn with_keys_a_browser_signs_in_comes_back_to_its_page_and_signs_out() {
    let world = World::start().await;
    let key = first_key(&world).await;
    let mut browser = Browser::of(&world);

    let refused = browser.open("/operations?state=failed").await;
    assert_eq!(refused.leads_to(), "/sign-in?next=%2Foperations%3Fstate%3Dfailed");
    let page = browser.open(refused.leads_to()).await;
    let before = browser.cookie.clone();
    let wrong = browser.send("/sign-in", &page, &[("key", "odi_wrong"), ("next", "/")]).await;
    assert_eq!(wrong.status, 403);
    assert!(wrong.says("not one that this server knows"), "{}", wrong.text);
    let entered = browser.send("/sign-in", &page, &[("key", &key), ("next", &page.hidden("next"))]).await;
    assert_eq!(entered.leads_to(), "/operations?state=failed");
    let cookie = &entered.headers["set-cookie"];
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && cookie.contains("Path=/"), "{cookie}");
    assert_ne!(browser.cookie, before);

    let page = browser.open("/operations").await;
    assert_eq!(page.status, 200);
    let kept = browser.cookie.clone();
    let left = browser.send("/sign-out", &page, &[]).await;
    assert_eq!(left.leads_to(), "/sign-in");
    browser.cookie = kept;
    assert_eq!(browser.open("/operations").await.leads_to(), "/sign-in?next=%2Foperations");
}

#[tokio::test]
async fn nobody_is_led_to_another_server_after_signing_in() {
    let world = World::start().await;
    let key = first_key(&world).await;
    let mut browser = Browser::of(&world);

    for next in ["//evil.example.test", "/\\evil.example.test", "https://evil.example.test", "javascript:alert(1)"] {
        let page = browser.open("/sign-in").await;
        let entered = browser.send("/sign-in", &page, &[("key", &key), ("next", next)]).await;

        assert_eq!(entered.leads_to(), "/", "{next}");
    }
}

#[tokio::test]
async fn a_session_outlives_the_server_and_ends_with_its_key() {
    let mut world = World::start().await;
    let root = first_key(&world).await;
    let ann = another_key(&world, &root, json!({"name": "ann", "role": "viewer"})).await;
    let mut browser = Browser::signed_in(&world, &ann).await;

    world.kill_and_start_again().await;
    browser.url = world.url();
    assert_eq!(browser.open("/").await.status, 200);

    let revoked =
        world.request(Method::POST, "/v1/keys/ann/revoke").bearer_auth(&root).json(&json!({})).send().await.unwrap();
    assert!(revoked.status().is_success());
    assert_eq!(browser.open("/").await.leads_to(), "/sign-in");
}

#[tokio::test]
async fn a_cookie_counts_on_pages_only_and_a_key_elsewhere_only() {
    let world = World::start().await;
    let key = first_key(&world).await;
    let mut browser = Browser::signed_in(&world, &key).await;

    let api = world.request(Method::GET, "/v1/deployments").header(COOKIE, browser.cookie.clone().unwrap());
    assert_eq!(api.send().await.unwrap().status(), 401);
    assert_eq!(browser.open("/").await.status, 200);
    browser.cookie = None;
    let page = world.request(Method::GET, "/operations").bearer_auth(&key).header("hx-request", "true");
    assert_eq!(page.send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn a_form_of_another_page_changes_nothing_on_an_open_server_either() {
    let world = World::start().await;
    world.deployed().await;
    let mut browser = Browser::of(&world);
    let page = browser.open("/new").await;
    let (token, url) = (page.hidden("token"), browser.url.clone());
    let form = |token: &'static str| [("token", token), ("action", "scale"), ("scale_replicas", "0")];

    let foreign = browser.ask(Method::POST, "/plan", &[("token", &token)], Some("https://evil.example.test")).await;
    let nowhere = browser.ask(Method::POST, "/plan", &[("token", &token)], None).await;
    let guessed = browser.ask(Method::POST, "/plan", &form("0000"), Some(&url)).await;
    let without = browser.ask(Method::POST, "/plan", &[("action", "scale")], Some(&url)).await;

    for (refused, heading) in [
        (foreign, "This server does not answer here"),
        (nowhere, "This form is not of this server"),
        (guessed, "This page is out of date"),
        (without, "This page is out of date"),
    ] {
        assert_eq!(refused.status, 403, "{refused:?}");
        assert!(refused.says(&format!("<h1>{heading}</h1>")), "{}", refused.text);
    }
}

#[tokio::test]
async fn a_form_that_is_older_than_the_session_leads_back_to_its_page() {
    let world = World::start().await;
    let key = first_key(&world).await;
    let mut browser = Browser::signed_in(&world, &key).await;
    let page = browser.open("/keys").await;
    let sign_in = browser.open("/sign-in").await;
    browser.send("/sign-in", &sign_in, &[("key", &key)]).await;

    let late = world
        .request(Method::POST, "/keys")
        .header(COOKIE, browser.cookie.clone().unwrap())
        .header(ORIGIN, world.url())
        .header(REFERER, format!("{}/new?git_ref=main", world.url()))
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(format!("token={}&name=sent-late", page.hidden("token")));
    let late = late.send().await.unwrap();

    assert_eq!(late.status(), 403);
    let text = late.text().await.unwrap().replace("&#x2f;", "/");
    for words in ["This page is out of date", "in another tab", "typed again", "href=\"/new?git_ref=main\"", "Sign out"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!browser.open("/keys").await.says("sent-late"));
}

#[tokio::test]
async fn a_form_that_is_sent_after_the_session_leads_back_to_its_page_and_says_that_nothing_was_done() {
    let world = World::start().await;
    let key = first_key(&world).await;
    let mut browser = Browser::signed_in(&world, &key).await;
    let page = browser.open("/new").await;
    browser.send("/sign-out", &page, &[]).await;
    let late = async |path: &str, referer: &str, is_part: bool| {
        let client = Client::builder().redirect(redirect::Policy::none()).build().unwrap();
        let mut request = client.post(format!("{}{path}", world.url())).header(ORIGIN, world.url());
        request = request.header(REFERER, format!("{}{referer}", world.url()));
        request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        if is_part {
            request = request.header("hx-request", "true");
        }
        let response = request.body("draft=d&plan=p").send().await.unwrap();
        let name = if is_part { "hx-redirect" } else { "location" };
        (response.status().as_u16(), response.headers()[name].to_str().unwrap().to_owned())
    };

    let unsent = |page: &str| format!("/sign-in?next={page}&unsent=true");
    assert_eq!(late("/confirm", "/plan/a-draft", false).await, (303, unsent("%2Fplan%2Fa-draft")));
    assert_eq!(late("/plan", "/new?git_ref=main", false).await, (303, unsent("%2Fnew%3Fgit_ref%3Dmain")));
    assert_eq!(late("/plan", "/plan", false).await, (303, "/sign-in?unsent=true".to_owned()));
    assert_eq!(late("/deployments/d/health", "/deployments/d", true).await, (401, unsent("%2Fdeployments%2Fd")));
    assert_eq!(late("/sign-out", "/new", false).await, (303, "/sign-in".to_owned()));

    let sign_in = browser.open(&unsent("%2Fplan%2Fa-draft")).await;
    assert!(sign_in.says("Nothing was done: the session has ended. Sign in and send it again."), "{}", sign_in.text);
    let next = sign_in.hidden("next");
    let entered = browser.send("/sign-in", &sign_in, &[("key", &key), ("next", &next)]).await;
    assert_eq!(entered.leads_to(), "/plan/a-draft");
    assert!(!browser.open("/sign-in").await.says("Nothing was done"));
}

#[tokio::test]
async fn a_page_to_sign_in_on_is_never_too_old_and_always_of_here() {
    let world = World::start().await;
    let key = first_key(&world).await;
    let mut browser = Browser::of(&world);
    let page = browser.open("/sign-in?next=/targets").await;
    browser.send("/sign-in", &page, &[("key", &key)]).await;

    let again = browser.send("/sign-in", &page, &[("key", &key), ("next", &page.hidden("next"))]).await;
    let foreign = browser.ask(Method::POST, "/sign-in", &[("key", &key)], Some("https://evil.example.test")).await;
    let nowhere = browser.ask(Method::POST, "/sign-in", &[("key", &key)], None).await;

    assert_eq!(again.leads_to(), "/targets");
    assert_eq!((foreign.status, nowhere.status), (403, 403), "{foreign:?} {nowhere:?}");
}

#[tokio::test]
async fn a_page_of_elsewhere_whose_name_leads_here_is_shown_nothing() {
    let world = World::start().await;

    let page = world.request(Method::GET, "/").header("host", "rebound.example.test").send().await.unwrap();

    assert_eq!(page.status(), 403);
}

#[tokio::test]
async fn a_name_that_applications_share_leads_to_one_of_its_own() {
    let world = World::start().await;
    let port = world.url().rsplit_once(':').unwrap().1.to_owned();
    let open = world.request(Method::GET, "/").header("host", format!("localhost:{port}")).send().await.unwrap();
    assert_eq!(open.status(), 200);
    first_key(&world).await;
    let mut browser = Browser::of(&world);
    browser.url = format!("http://localhost:{port}");

    let led = browser.open("/operations?state=failed").await;

    assert_eq!(
        (led.status, led.headers["location"].as_str()),
        (307, &*format!("http://127.0.0.1:{port}/operations?state=failed"))
    );
}

#[tokio::test]
async fn a_stream_ends_soon_after_the_session_that_it_is_for() {
    let world = World::with(&[("API_KEYS", "a-key-of-the-settings-1234567890")]).await;
    let mut browser = Browser::signed_in(&world, "a-key-of-the-settings-1234567890").await;
    let page = browser.open("/").await;
    let stream = world.request(Method::GET, "/overview/stream").header(COOKIE, browser.cookie.clone().unwrap());
    let stream = stream.send().await.unwrap();
    assert_eq!(stream.status(), 200);

    browser.send("/sign-out", &page, &[]).await;

    let text = tokio::time::timeout(Duration::from_mins(1), stream.text()).await.expect("the stream ends").unwrap();
    assert!(!text.contains("event: last"), "{text}");
}

#[tokio::test]
async fn pages_are_limited_as_every_route_is_and_say_so() {
    let world = World::with(&[("RATE_LIMIT_PER_MINUTE", "3")]).await;
    let mut browser = Browser::of(&world);

    let mut last = browser.open("/operations").await;
    for _ in 0..3 {
        last = browser.open("/operations").await;
    }

    assert_eq!(last.status, 429, "{last:?}");
    assert!(last.says("<h1>") && last.headers.contains_key("retry-after"), "{last:?}");
    let asset = world.request(Method::GET, "/assets/style.css").send().await.unwrap();
    assert_eq!((asset.status().as_u16(), asset.headers()["cache-control"].to_str().unwrap()), (200, "no-cache"));
}

#[tokio::test]
async fn what_cannot_be_read_is_told_on_a_page() {
    let world = World::start().await;
    let key = first_key(&world).await;
    let mut browser = Browser::of(&world);
    let form = browser.open("/sign-in").await;

    let strange = browser.open("/sign-in?next=/%01").await;
    let no_key = browser.send("/sign-in", &form, &[("next", "/")]).await;
    let entered = browser.send("/sign-in", &form, &[("key", &key), ("next", "/\u{1}")]).await;
    let origin = browser.url.clone();
    let no_form = browser.ask(Method::POST, "/targets", &[], Some(&origin)).await;

    assert_eq!((strange.status, entered.status), (200, 303), "{strange:?} {entered:?}");
    for (page, status) in [(&no_key, 400), (&no_form, 405)] {
        assert_eq!(page.status, status, "{page:?}");
        assert!(page.says("<h1>"), "{page:?}");
    }
}
