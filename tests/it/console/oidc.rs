//! Signing in at an issuer: the whole way, and every way on which it must not lead in.

use std::sync::Arc;

use jiff::Timestamp;
use reqwest::Method;
use reqwest::header::{COOKIE, LOCATION};
use serde_json::{Value, json};

use super::{Browser, Page};
use crate::world::issuer::{CLIENT, Issuer, PUBLIC_URL, SigningKey};
use crate::world::{World, eventually, with};

/// An issuer with one key, at which Ann has signed in as a deployer.
async fn issuer() -> (Issuer, Arc<SigningKey>) {
    let key = Arc::new(SigningKey::new("a", "ES256"));
    let issuer = Issuer::start(&[&key]).await;
    issuer.has_signed_in(with(issuer.id_claims("ann", "deployer"), "name", "Ann <i>Example</i>"), &key);
    (issuer, key)
}

/// Where the issuer sends a browser back to: a path of the server.
async fn way_back(browser: &Browser, begun: &Page) -> String {
    let response = browser.client.get(begun.leads_to()).send().await.unwrap();
    assert_eq!(response.status(), 303, "{}", response.text().await.unwrap());
    response.headers()[LOCATION].to_str().unwrap().strip_prefix(PUBLIC_URL).unwrap().to_owned()
}

/// The whole way, by somebody who wants to see this page.
async fn sign_in(browser: &mut Browser, next: &str) -> Page {
    let begun = browser.open(&format!("/sign-in/oidc?next={next}")).await;
    let back = way_back(browser, &begun).await;
    browser.open(&back).await
}

/// Status and words of the page at the end of the way with a token that claims this.
async fn told(world: &World, issuer: &Issuer, claims: Value, key: &Arc<SigningKey>) -> (u16, String) {
    issuer.has_signed_in(claims, key);
    let mut browser = Browser::of(world);
    let page = sign_in(&mut browser, "/").await;
    assert_eq!(browser.open("/").await.leads_to(), "/sign-in", "nobody is in");
    (page.status, page.text)
}

#[tokio::test]
async fn a_person_signs_in_at_the_issuer_comes_back_to_the_page_and_signs_out() {
    let (issuer, _) = issuer().await;
    let world = issuer.world_with_client().await;
    let mut browser = Browser::of(&world);

    let refused = browser.open("/operations?state=failed").await;
    let page = browser.open(refused.leads_to()).await;
    let link = "/sign-in/oidc?next=%2Foperations%3Fstate%3Dfailed";
    assert!(page.says(&format!("href=\"{link}\"")) && page.says("Sign in with 127.0.0.1"), "{}", page.text);
    let before = browser.cookie.clone();
    let begun = browser.open(link).await;
    assert!(begun.leads_to().starts_with(&format!("{}/authorize?", issuer.url())), "{begun:?}");
    let back = way_back(&browser, &begun).await;
    let entered = browser.open(&back).await;
    assert_eq!(entered.leads_to(), "/operations?state=failed");
    assert_ne!(browser.cookie, before);
    let cookie = &entered.headers["set-cookie"];
    assert!(cookie.starts_with("__Host-") && cookie.contains("; Secure") && cookie.contains("HttpOnly"), "{cookie}");

    let page = browser.open("/operations").await;
    assert!(page.says("Ann &lt;i&gt;Example&lt;/i&gt;") && page.says("(deployer)"), "{}", page.text);
    let kept = browser.cookie.clone();
    let left = browser.send("/sign-out", &page, &[]).await;
    assert_eq!(left.leads_to(), "/sign-in");
    browser.cookie = kept;
    assert_eq!(browser.open("/").await.leads_to(), "/sign-in");
}

#[tokio::test]
async fn a_sign_in_and_its_session_outlive_the_server() {
    let (issuer, _) = issuer().await;
    let mut world = issuer.world_with_client().await;
    let mut browser = Browser::of(&world);
    let begun = browser.open("/sign-in/oidc").await;
    let back = way_back(&browser, &begun).await;

    world.kill_and_start_again().await;
    browser.url = world.url();
    assert_eq!(browser.open(&back).await.leads_to(), "/");
    world.kill_and_start_again().await;
    browser.url = world.url();

    assert_eq!(browser.open("/").await.status, 200);
    world.set(&[("OIDC_CLIENT_ID".to_owned(), String::new()), ("OIDC_CLIENT_SECRET".to_owned(), String::new())].into());
    world.kill_and_start_again().await;
    browser.url = world.url();
    assert_eq!(browser.open("/").await.leads_to(), "/sign-in", "nobody signs in at an issuer any more");
}

#[tokio::test]
async fn a_role_decides_what_a_person_sees_and_does() {
    let (issuer, key) = issuer().await;
    let world = issuer.world_with_client().await;
    issuer.has_signed_in(issuer.id_claims("eve", "viewer"), &key);
    let mut browser = Browser::of(&world);
    assert_eq!(sign_in(&mut browser, "/").await.leads_to(), "/");

    let page = browser.open("/").await;
    assert!(!page.says("New deployment") && !page.says("href=\"/keys\""), "{}", page.text);
    assert_eq!(browser.open("/keys").await.status, 403);
    issuer.has_signed_in(issuer.id_claims("root", "admin"), &key);
    assert_eq!(sign_in(&mut browser, "/keys").await.leads_to(), "/keys");
    assert_eq!(browser.open("/keys").await.status, 200);
}

#[tokio::test]
async fn what_comes_back_counts_for_the_browser_that_began_and_for_nothing_else() {
    let (issuer, _) = issuer().await;
    let world = issuer.world_with_client().await;
    let (mut browser, mut other) = (Browser::of(&world), Browser::of(&world));
    other.open("/sign-in").await;
    let begun = browser.open("/sign-in/oidc").await;
    let back = way_back(&browser, &begun).await;
    let (_, rest) = back.split_once("state=").unwrap();
    let (state, _) = rest.split_once('&').unwrap();

    let elsewhere = other.open(&back).await;
    let wrong = browser.open(&back.replace(state, &format!("{}AAAA", &state[..state.len() - 4]))).await;
    let none = browser.open(&back.replace("state=", "other=")).await;
    let foreign = browser.open(&back.replace("&iss=", "&iss=https%3A%2F%2Fevil.example.test%2F")).await;

    for page in [&elsewhere, &wrong, &none, &foreign] {
        assert_eq!(page.status, 400, "{page:?}");
        assert!(page.says("begin again") && page.says("Sign in with"), "{}", page.text);
    }
    assert_eq!(other.open("/").await.leads_to(), "/sign-in");
    assert_eq!(browser.open(&back).await.leads_to(), "/", "the right one still counts");
}

#[tokio::test]
async fn what_came_back_once_opens_nothing_a_second_time() {
    let (issuer, _) = issuer().await;
    let world = issuer.world_with_client().await;
    let mut browser = Browser::of(&world);
    let begun = browser.open("/sign-in/oidc").await;
    let (back, before) = (way_back(&browser, &begun).await, browser.cookie.clone());
    assert_eq!(browser.open(&back).await.leads_to(), "/");

    let again = browser.open(&back).await;
    let mut other = Browser::of(&world);
    other.cookie = before;
    let with_the_cookie_of_before = other.open(&back).await;

    assert_eq!(again.status, 400, "{again:?}");
    assert_eq!(with_the_cookie_of_before.status, 403);
    assert!(with_the_cookie_of_before.says("`invalid_grant`"), "{}", with_the_cookie_of_before.text);
    assert_eq!(other.open("/").await.leads_to(), "/sign-in");
    assert_eq!(browser.open("/").await.status, 200, "who is in stays in");
}

#[tokio::test]
async fn a_token_that_is_wrong_lets_nobody_in_and_the_page_says_why() {
    let (issuer, key) = issuer().await;
    let world = issuer.world_with_client().await;
    let foreign = Arc::new(SigningKey::new("a", "ES256"));
    let claims = issuer.id_claims("ann", "admin");
    let changed = |name: &str, value: Value| with(claims.clone(), name, value);
    let wrong = [
        (changed("nonce", json!("guessed")), &key, "issued for another sign-in"),
        (changed("aud", json!(format!("{PUBLIC_URL}/mcp"))), &key, "meant for another audience"),
        (changed("aud", json!(["somebody-else"])), &key, "meant for another audience"),
        (changed("azp", json!("somebody-else")), &key, "meant for another audience"),
        (changed("iss", json!("https://login.example.test")), &key, "not of the issuer"),
        (changed("exp", json!(Timestamp::now().as_second() - 61)), &key, "has ended"),
        (claims.clone(), &foreign, "signature of the token is wrong"),
    ];

    for (claims, key, why) in wrong {
        let (status, text) = told(&world, &issuer, claims, key).await;

        assert_eq!(status, 403, "{why}: {text}");
        assert!(text.contains(why), "{why}: {text}");
    }
}

#[tokio::test]
async fn without_a_role_there_is_no_access_in_the_words_that_a_token_gets() {
    let (issuer, key) = issuer().await;
    let world = issuer.world_with_client().await;

    let (status, text) = told(&world, &issuer, issuer.id_claims("bob", "owner"), &key).await;

    let bearer = key.token(&issuer.claims("bob", "owner"));
    let refused = world.request(Method::GET, "/v1/deployments").bearer_auth(bearer).send().await.unwrap();
    let refused: Value = refused.json().await.unwrap();
    assert_eq!(status, 403);
    assert!(text.contains(refused["error"]["message"].as_str().unwrap()), "{text} {refused}");
}

#[tokio::test]
async fn what_the_issuer_says_instead_of_a_code_is_on_the_page() {
    let key = SigningKey::new("a", "ES256");
    let issuer = Issuer::start(&[&key]).await;
    let world = issuer.world_with_client().await;
    let mut browser = Browser::of(&world);

    let page = sign_in(&mut browser, "/").await;

    assert_eq!(page.status, 403);
    assert!(page.says("`access_denied` (nobody &lt;b&gt;is&lt;/b&gt; here)"), "{}", page.text);
    let forged = browser.open("/sign-in/callback?error=access_denied&error_description=call+0900").await;
    assert!(forged.status == 400 && !forged.says("0900"), "nobody puts words on the page: {}", forged.text);
}

#[tokio::test]
async fn while_the_issuer_is_away_the_page_says_so_and_keys_still_open_it() {
    let (mut issuer, _) = issuer().await;
    issuer.stop();
    let client = [("OIDC_CLIENT_ID", CLIENT.0), ("OIDC_CLIENT_SECRET", CLIENT.1)];
    let settings = [&client[..], &[("API_KEYS", "a-key-of-the-settings")]].concat();
    let world = issuer.world(&settings).await;
    let mut browser = Browser::of(&world);

    let away = browser.open("/sign-in/oidc").await;
    assert_eq!(away.status, 503, "{away:?}");
    assert!(away.says("does not answer") && away.says("Sign in with"), "{}", away.text);
    issuer.start_again().await;
    eventually("the issuer to be found again", async || browser.open("/sign-in/oidc").await.status == 303).await;
    let begun = browser.open("/sign-in/oidc").await;
    let back = way_back(&browser, &begun).await;
    issuer.stop();
    let lost = browser.open(&back).await;

    assert_eq!(lost.status, 503, "{lost:?}");
    assert!(lost.says("signs nobody in now"), "{}", lost.text);
    let entered = browser.send("/sign-in", &lost, &[("key", "a-key-of-the-settings")]).await;
    assert_eq!(entered.leads_to(), "/");
}

#[tokio::test]
async fn a_session_and_what_is_open_with_it_end_with_the_token() {
    let (issuer, key) = issuer().await;
    let world = issuer.world_with_client().await;
    let claims = with(issuer.id_claims("ann", "viewer"), "exp", Timestamp::now().as_second() - 53);
    issuer.has_signed_in(claims, &key);
    let mut browser = Browser::of(&world);
    assert_eq!(sign_in(&mut browser, "/").await.leads_to(), "/");
    assert_eq!(browser.open("/").await.status, 200);

    let stream = browser.ask(Method::GET, "/overview/stream", &[], None).await;

    assert_eq!(stream.status, 200, "it was open, and has ended by itself: {stream:?}");
    eventually("the session to be over", async || browser.open("/").await.status == 303).await;
}

#[tokio::test]
async fn an_id_token_is_no_key_and_a_cookie_of_a_person_is_none_either() {
    let (issuer, key) = issuer().await;
    let world = issuer.world_with_client().await;
    let mut browser = Browser::of(&world);
    sign_in(&mut browser, "/").await;

    let token = key.token(&issuer.id_claims("ann", "admin"));
    let with_token = world.request(Method::GET, "/v1/deployments").bearer_auth(token).send().await.unwrap();
    let with_cookie = world.request(Method::GET, "/v1/deployments").header(COOKIE, browser.cookie.clone().unwrap());
    let page = browser.open("/new").await;
    let forged = browser.ask(Method::POST, "/plan", &[("token", &page.hidden("token"))], None).await;

    assert_eq!(with_token.status(), 401);
    assert_eq!(with_cookie.send().await.unwrap().status(), 401);
    assert_eq!(forged.status, 403, "a form of nowhere changes nothing");
}

#[tokio::test]
async fn without_a_client_there_is_no_way_to_the_issuer() {
    let (issuer, _) = issuer().await;
    let world = issuer.world(&[]).await;
    let mut browser = Browser::of(&world);

    let page = browser.open("/sign-in").await;

    assert!(!page.says("/sign-in/oidc"), "{}", page.text);
    assert_eq!(browser.open("/sign-in/oidc").await.status, 404);
    assert_eq!(browser.open("/sign-in/callback?state=a&code=b").await.status, 404);
}
