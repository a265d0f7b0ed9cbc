//! Tokens of an `OpenID` Connect issuer: which are let in, as whom, for how long; and under which names and by which pages the
//! server may be asked.

use aws_lc_rs::hmac;
use futures_util::StreamExt;
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use super::{Key, chat, get, make, record, request};
use crate::world::issuer::{Issuer, PUBLIC_URL, SigningKey, text, unsigned};
use crate::world::{World, eventually, say, with};

const METADATA: &str = "/.well-known/oauth-protected-resource/mcp";

/// A token in the place of a key.
fn bearer(token: impl Into<String>) -> Key {
    Key { id: String::new(), secret: token.into() }
}

/// Status and code of an answer to a token.
async fn told(world: &World, token: impl Into<String>) -> String {
    let answer = get(world, Some(&bearer(token)), "/v1/deployments").await;
    if answer.status == 200 { "200".to_owned() } else { format!("{} {}", answer.status, answer.code()) }
}

/// What a refusal says to a person.
async fn message(world: &World, token: impl Into<String>) -> String {
    let answer = get(world, Some(&bearer(token)), "/v1/deployments").await;
    format!("{} {}", answer.status, answer.body["error"]["message"].as_str().unwrap_or("-"))
}

fn challenge(headers: &HeaderMap) -> &str {
    headers.get(WWW_AUTHENTICATE).map_or("-", |it| it.to_str().unwrap())
}

async fn sent(world: &World, by: Option<&Key>, path: &str, headers: &[(&'static str, &str)]) -> Response {
    let request = request(world, by, Method::GET, path);
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send().await.unwrap()
}

/// Status, and the code of what is no good answer.
async fn code(response: Response) -> String {
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap_or_default();
    body["error"]["code"].as_str().map_or_else(|| status.to_string(), |code| format!("{status} {code}"))
}

fn now() -> i64 {
    Timestamp::now().as_second()
}

#[tokio::test]
async fn a_token_of_every_accepted_algorithm_is_let_in() {
    let keys = ["ES256", "ES384", "EdDSA", "RS256", "PS256"].map(|it| SigningKey::new(it, it));
    let issuer = Issuer::start(&keys.each_ref()).await;
    let world = issuer.world(&[]).await;
    let claims = issuer.claims("ann", "admin");

    let mut answers = Vec::new();
    for key in &keys {
        answers.push(told(&world, key.token(&claims)).await);
        answers.push(told(&world, key.nameless_token(&claims)).await);
    }

    assert_eq!(answers, ["200"; 10]);
    assert_eq!(issuer.asked(), 1);
    let list = with(claims, "aud", json!(["somebody-else", format!("{PUBLIC_URL}/mcp")]));
    assert_eq!(told(&world, keys[0].token(&list)).await, "200");
}

#[tokio::test]
async fn a_token_that_is_wrong_in_any_way_is_refused_and_says_why() {
    let (key, foreign) = (SigningKey::new("a", "ES256"), SigningKey::new("a", "ES256"));
    let rsa = SigningKey::new("r", "RS256");
    let issuer = Issuer::start(&[&key, &rsa]).await;
    let world = issuer.world(&[]).await;
    let claims = issuer.claims("ann", "admin");
    let changed = |name: &str, value: Value| key.token(&with(claims.clone(), name, value));
    let without = |name: &str| {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().remove(name);
        key.token(&claims)
    };
    let with_header = |header: Value| key.token_with(&header, &claims);
    // A key that everybody knows, taken for a shared secret.
    let shared = |secret: &str| {
        let message = unsigned(&json!({"alg": "HS256", "kid": "r"}), &claims);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), message.as_bytes());
        format!("{message}.{}", text(tag.as_ref()))
    };
    let good = key.token(&claims);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let other_claims = unsigned(&json!({"alg": "ES256", "kid": "a"}), &issuer.claims("eve", "admin"));
    let tokens = [
        ("another audience", changed("aud", json!("https://other.example.test/mcp"))),
        ("audiences of others", changed("aud", json!(["a", "b"]))),
        ("no audience", without("aud")),
        ("an audience that is a number", changed("aud", json!(7))),
        ("another issuer", changed("iss", json!("https://login.example.test"))),
        ("the issuer with a slash", changed("iss", json!(format!("{}/", issuer.url())))),
        ("issuers", changed("iss", json!([issuer.url()]))),
        ("no issuer", without("iss")),
        ("expired", changed("exp", json!(now() - 61))),
        ("no end", without("exp")),
        ("an end that is text", changed("exp", json!("tomorrow"))),
        ("an end before all time", changed("exp", json!(-1))),
        ("too early", changed("nbf", json!(now() + 120))),
        ("nobody's", without("sub")),
        ("an empty subject", changed("sub", json!(""))),
        ("alg none", format!("{}.", unsigned(&json!({"alg": "none"}), &claims))),
        ("alg none with a signature", with_header(json!({"alg": "none", "kid": "a"}))),
        ("alg HS256 of the public key", shared(rsa.jwk["n"].as_str().unwrap())),
        ("alg HS256 of nothing", shared("")),
        ("an algorithm of another kind of key", with_header(json!({"alg": "RS256", "kid": "a"}))),
        ("an algorithm of another length", with_header(json!({"alg": "ES384", "kid": "a"}))),
        ("no algorithm", with_header(json!({"kid": "a"}))),
        ("a key of its own", foreign.token_with(&json!({"alg": "ES256", "jwk": foreign.jwk}), &claims)),
        ("what must be understood", with_header(json!({"alg": "ES256", "kid": "a", "crit": ["exp"]}))),
        ("another's signature", foreign.token(&claims)),
        ("no signature", format!("{signed}.")),
        ("other claims", format!("{other_claims}.{signature}")),
        ("no claims", format!("{}..{signature}", signed.split('.').next().unwrap())),
        ("claims that are no object", key.token(&json!(["a"]))),
        ("three parts", "a.b.c".to_owned()),
        ("dots", "..".to_owned()),
        ("two parts", signed.to_owned()),
        ("five parts", format!("{good}.d.e")),
    ];

    let mut table = Vec::new();
    for (what, token) in tokens {
        table.push(format!("{what}: {}", message(&world, token).await));
    }

    insta::assert_snapshot!(table.join("\n").replace(&issuer.url(), "http://the.issuer"));
    assert_eq!(told(&world, good).await, "200", "the same without anything wrong");
    let skewed = with(with(claims.clone(), "exp", now() - 30), "nbf", now() + 30);
    assert_eq!(told(&world, key.token(&skewed)).await, "200", "a minute of skew is borne");
}

#[tokio::test]
async fn a_refusal_tells_a_client_how_to_go_on_and_is_on_record_without_the_token() {
    let key = SigningKey::new("a", "ES256");
    let issuer = Issuer::start(&[&key]).await;
    let world = issuer.world(&[("API_KEYS", "a-key-of-the-settings")]).await;
    let (metadata, keys) = (format!("{PUBLIC_URL}{METADATA}"), bearer("a-key-of-the-settings"));
    let expired = key.token(&with(issuer.claims("ann", "admin"), "exp", now() - 61));

    let without = sent(&world, None, "/v1/deployments", &[]).await;
    let wrong = sent(&world, Some(&bearer(expired.as_str())), "/v1/deployments", &[]).await;
    let unknown = sent(&world, Some(&bearer("odi_nobody")), "/v1/deployments", &[]).await;

    assert_eq!(challenge(without.headers()), format!("Bearer resource_metadata=\"{metadata}\""));
    let told = "error=\"invalid_token\", error_description=\"the token has ended\"";
    assert_eq!(challenge(wrong.headers()), format!("Bearer {told}, resource_metadata=\"{metadata}\""));
    assert!(challenge(unknown.headers()).contains("invalid_token"), "{unknown:?}");
    assert_eq!((without.status(), wrong.status(), unknown.status().as_u16()), (wrong.status(), wrong.status(), 401));
    // The log line of a refusal is written after its answer.
    eventually("the refusal to be on record", async || {
        record(&world, &keys).await.iter().any(|it| it["outcome"] == "the token has ended")
    })
    .await;
    let record = json!(record(&world, &keys).await).to_string();
    let (signed, signature) = expired.rsplit_once('.').unwrap();
    let claims = signed.split_once('.').unwrap().1;
    for secret in [signature, claims] {
        assert!(!record.contains(secret) && !world.server.log().contains(secret), "a part of the token is told");
    }
}

#[tokio::test]
async fn a_role_limits_what_a_token_may_do_and_without_one_there_is_no_access() {
    let key = SigningKey::new("a", "EdDSA");
    let issuer = Issuer::start(&[&key]).await;
    let world = issuer.world(&[]).await;
    let token = |role: &str| bearer(key.token(&issuer.claims("ann", role)));
    let (viewer, deployer, admin) = (token("viewer"), token("deployer"), token("admin"));

    let refused = chat(&world, &viewer, &world.request_for("deploy")).await;
    let done = chat(&world, &deployer, &world.request_for("deploy")).await;

    assert_eq!((refused.status, refused.code()), (403, "permission_denied"));
    assert_eq!(
        refused.body["error"]["message"],
        "the token (role `viewer`) may not deploy: that needs the role `deployer`"
    );
    assert_eq!(done.state(), "succeeded", "{done:?}");
    for (by, statuses) in [(&viewer, [200, 403]), (&deployer, [200, 403]), (&admin, [200, 200])] {
        assert_eq!(get(&world, Some(by), "/v1/deployments").await.status, statuses[0]);
        assert_eq!(get(&world, Some(by), "/v1/keys").await.status, statuses[1]);
    }
    let record = record(&world, &admin).await;
    let principal = format!("oidc:ann@{}", issuer.url().trim_start_matches("http://"));
    let accepted = record.iter().find(|it| it["event"] == "accepted").unwrap();
    assert_eq!(accepted["principal"], principal);
    let nobody = get(&world, Some(&token("owner")), "/v1/deployments").await;
    assert_eq!((nobody.status, nobody.code()), (403, "permission_denied"));
    assert!(nobody.body["error"]["message"].as_str().unwrap().contains("the claim `roles`"), "{nobody:?}");
    // A key beside tokens may be anybody's, because the issuer has administrators.
    let made = make(&world, Some(&admin), &json!({"name": "eyes", "role": "viewer"})).await;
    assert_eq!(get(&world, Some(&made), "/v1/deployments").await.status, 200);
}

#[tokio::test]
async fn claim_and_audience_are_those_of_the_settings() {
    let key = SigningKey::new("a", "ES256");
    let issuer = Issuer::start(&[&key]).await;
    let settings = [("OIDC_ROLE_CLAIM", "realm_access.roles"), ("OIDC_AUDIENCE", "account, deploy-api")];
    let world = issuer.world(&settings).await;
    let claims = with(issuer.claims("ann", "admin"), "aud", "deploy-api");
    let nested = with(claims.clone(), "realm_access", json!({"roles": ["offline_access", "viewer"]}));

    assert_eq!(told(&world, key.token(&nested)).await, "200");
    assert_eq!(get(&world, Some(&bearer(key.token(&nested))), "/v1/keys").await.code(), "permission_denied");
    assert_eq!(told(&world, key.token(&with(nested, "aud", format!("{PUBLIC_URL}/mcp")))).await, "401 invalid_api_key");
    assert_eq!(told(&world, key.token(&claims)).await, "403 permission_denied");
    let spaced = with(claims, "realm_access.roles", "openid deployer");
    assert_eq!(told(&world, key.token(&spaced)).await, "200");
}

#[tokio::test]
async fn with_an_issuer_nobody_is_let_in_without_a_token() {
    let key = SigningKey::new("a", "ES256");
    let issuer = Issuer::start(&[&key]).await;
    let world = issuer.world(&[]).await;

    assert_eq!(world.get("/v1/deployments").await.code(), "invalid_api_key");
    assert_eq!(told(&world, "anything").await, "401 invalid_api_key");
    assert_eq!(issuer.asked(), 0, "what is no token has no keys fetched");
    let token = bearer(key.token(&issuer.claims("ann", "deployer")));
    let streamed =
        request(&world, Some(&token), Method::POST, "/v1/chat/completions").json(&with(say("list"), "stream", true));
    assert!(streamed.send().await.unwrap().text().await.unwrap().contains("[DONE]"));
    let response = request(&world, Some(&token), Method::POST, "/v1/responses")
        .json(&json!({"model": "app-server-default", "input": "list"}));
    assert_eq!(response.send().await.unwrap().status(), 200);
    let tools = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let refused = request(&world, None, Method::POST, "/mcp").json(&tools).send().await.unwrap();
    assert_eq!(challenge(refused.headers()), format!("Bearer resource_metadata=\"{PUBLIC_URL}{METADATA}\""));
    assert_eq!(refused.status(), 401);
    let called = request(&world, Some(&token), Method::POST, "/mcp").json(&tools).send().await.unwrap();
    assert_eq!(called.status(), 200);
}

#[tokio::test]
async fn a_new_key_is_fetched_and_the_one_that_is_gone_opens_nothing() {
    let (old, new) = (SigningKey::new("old", "ES256"), SigningKey::new("new", "EdDSA"));
    let issuer = Issuer::start(&[&old]).await;
    let world = issuer.world(&[]).await;
    let claims = issuer.claims("ann", "viewer");
    let (before, after) = (old.token(&claims), new.token(&claims));
    assert_eq!(told(&world, before.as_str()).await, "200");

    issuer.publish(&[&new]);

    assert_eq!(told(&world, after).await, "200");
    assert_eq!(told(&world, before).await, "401 invalid_api_key", "also a token that was let in before");
    assert_eq!(issuer.asked(), 2);
    for name in ["x", "y", "z"] {
        assert_eq!(told(&world, SigningKey::new(name, "ES256").token(&claims)).await, "401 invalid_api_key");
    }
    assert_eq!(issuer.asked(), 2, "whoever makes up names of keys has none fetched for a while");
}

#[tokio::test]
async fn another_key_under_the_same_name_is_fetched_too() {
    let (old, new) = (SigningKey::new("key", "ES256"), SigningKey::new("key", "ES256"));
    let issuer = Issuer::start(&[&old]).await;
    let world = issuer.world(&[]).await;
    let claims = issuer.claims("ann", "viewer");
    assert_eq!(told(&world, old.token(&claims)).await, "200");

    issuer.publish(&[&new]);

    assert_eq!(told(&world, new.token(&claims)).await, "200");
    assert_eq!(told(&world, old.token(&claims)).await, "401 invalid_api_key");
}

#[tokio::test]
async fn while_the_issuer_cannot_be_reached_known_keys_count_on() {
    let (key, other) = (SigningKey::new("a", "ES256"), SigningKey::new("b", "ES256"));
    let mut issuer = Issuer::start(&[&key]).await;
    issuer.stop();
    let world = issuer.world(&[]).await;
    let claims = issuer.claims("ann", "viewer");

    let unchecked = sent(&world, Some(&bearer(key.token(&claims))), "/v1/deployments", &[]).await;
    assert_eq!(unchecked.headers()["retry-after"], "5");
    assert_eq!(code(unchecked).await, "503 issuer_unavailable");
    assert_eq!(told(&world, "odi_nobody").await, "401 invalid_api_key", "keys are looked up as ever");
    issuer.start_again().await;
    eventually("the issuer to be found again", async || told(&world, key.token(&claims)).await == "200").await;

    issuer.stop();

    assert_eq!(told(&world, key.token(&issuer.claims("bob", "viewer"))).await, "200");
    assert_eq!(told(&world, other.token(&claims)).await, "503 issuer_unavailable");
}

#[tokio::test]
async fn an_issuer_that_tells_nonsense_is_one_that_cannot_be_asked() {
    let key = SigningKey::new("a", "ES256");
    let issuer = Issuer::start(&[]).await;
    let token = key.token(&issuer.claims("ann", "viewer"));
    let mut for_secrets = key.jwk.clone();
    for_secrets["use"] = json!("enc");
    let shared = json!({"kty": "oct", "kid": "a", "alg": "HS256", "k": "AAAA"});
    for nonsense in [json!("no keys"), json!({"keys": []}), json!({"keys": [7, for_secrets, shared, {"kty": "RSA"}]})] {
        issuer.publish_as_is(nonsense);
        let world = issuer.world(&[]).await;
        assert_eq!(told(&world, token.as_str()).await, "503 issuer_unavailable");
    }

    issuer.publish_as_is(json!({"keys": [7, key.jwk, {"kty": "new", "kid": "b"}]}));

    let world = issuer.world(&[]).await;
    assert_eq!(told(&world, token).await, "200", "one key that is none of those leaves the others usable");
}

#[tokio::test]
async fn what_is_open_with_a_token_ends_with_it() {
    let key = SigningKey::new("a", "ES256");
    let issuer = Issuer::start(&[&key]).await;
    let world = issuer.world(&[]).await;
    world.failpoints.hold("page");
    let short = bearer(key.token(&with(issuer.claims("ann", "deployer"), "exp", now() - 57)));
    let open = request(&world, Some(&short), Method::POST, "/v1/chat/completions")
        .json(&with(world.request_for("deploy"), "stream", true))
        .send()
        .await
        .unwrap();
    assert_eq!(open.status(), 200);

    let mut frames = open.bytes_stream();
    let mut last = String::new();
    while let Some(Ok(frame)) = frames.next().await {
        last = String::from_utf8_lossy(&frame).into_owned();
    }

    assert!(last.contains("invalid_api_key") && last.contains("token has ended"), "{last}");
    assert_eq!(told(&world, short.secret.as_str()).await, "401 invalid_api_key");
    world.failpoints.release("page");
}

#[tokio::test]
async fn the_metadata_is_there_only_with_an_issuer() {
    let issuer = Issuer::start(&[]).await;
    let with_issuer = issuer.world(&[("CORS_ALLOWED_ORIGINS", "https://page.example.test")]).await;
    let without = World::with(&[("PUBLIC_URL", PUBLIC_URL), ("API_KEYS", "a-key-of-the-settings")]).await;

    for path in [METADATA, "/.well-known/oauth-protected-resource"] {
        let told = with_issuer.get(path).await;
        assert_eq!(told.status, 200);
        assert_eq!(
            told.body,
            json!({
                "resource": format!("{PUBLIC_URL}/mcp"), "authorization_servers": [issuer.url()],
                "bearer_methods_supported": ["header"], "resource_name": "on-demand-infra",
            })
        );
        assert_eq!(without.get(path).await.code(), "route_not_found");
    }
    let from_page = sent(&with_issuer, None, METADATA, &[("origin", "https://page.example.test")]).await;
    assert_eq!(from_page.headers()["access-control-allow-origin"], "https://page.example.test");
    let refused = sent(&with_issuer, None, "/v1/models", &[("origin", "https://page.example.test")]).await;
    let exposed = refused.headers()["access-control-expose-headers"].to_str().unwrap().to_owned();
    assert!(exposed.contains("www-authenticate"), "{exposed}");
    let plain = sent(&without, None, "/v1/models", &[]).await;
    assert_eq!((plain.status().as_u16(), challenge(plain.headers())), (401, "Bearer"));
}

#[tokio::test]
async fn a_server_answers_under_the_names_of_its_list() {
    let settings = [
        ("API_KEYS", "a-key-of-the-settings"),
        ("PUBLIC_URL", PUBLIC_URL),
        ("ALLOWED_HOSTS", "inner.example.test:8443, other.example.test"),
    ];
    let (world, key) = (World::with(&settings).await, bearer("a-key-of-the-settings"));
    let asked = async |host: &str| code(sent(&world, Some(&key), "/v1/models", &[("host", host)]).await).await;

    for host in ["localhost:1", "127.0.0.1", "deploy.example.test", "inner.example.test:8443", "OTHER.example.test:9"] {
        assert_eq!(asked(host).await, "200", "{host}");
    }
    for host in
        ["inner.example.test", "inner.example.test:1", "rebound.example.test", "a b", "deploy.example.test.evil.test"]
    {
        assert_eq!(asked(host).await, "403 host_not_allowed", "{host}");
    }
    let open = World::with(&[("API_KEYS", "a-key-of-the-settings")]).await;
    let any = sent(&open, Some(&key), "/v1/models", &[("host", "any.example.test")]).await;
    assert_eq!(any.status(), 200, "without a list");
    let health = sent(&world, None, "/health", &[("host", "10.0.0.7:8000")]).await;
    assert_eq!(health.status(), 200, "a probe asks by an address");
}

#[tokio::test]
async fn only_pages_of_the_lists_ask_for_mcp() {
    let settings = [
        ("API_KEYS", "a-key-of-the-settings"),
        ("PUBLIC_URL", PUBLIC_URL),
        ("ALLOWED_ORIGINS", "https://page.example.test"),
        ("CORS_ALLOWED_ORIGINS", "https://chat.example.test"),
    ];
    let (world, key) = (World::with(&settings).await, bearer("a-key-of-the-settings"));
    let asked =
        async |path: &str, origin: &str| code(sent(&world, Some(&key), path, &[("origin", origin)]).await).await;
    let called = async |origin: &str| {
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
        let request = request(&world, Some(&key), Method::POST, "/mcp").header("origin", origin);
        let answer: Value = request.json(&call).send().await.unwrap().json().await.unwrap();
        answer["error"]["data"]["code"].as_str().map(str::to_owned)
    };

    let allowed = [
        "https://page.example.test",
        "https://chat.example.test",
        PUBLIC_URL,
        "http://localhost:3000",
        "http://[::1]:5",
    ];
    for origin in allowed {
        assert_eq!(called(origin).await, None, "{origin}");
    }
    for origin in ["https://evil.example.test", "null", "http://page.example.test", "https://localhost.evil.test", ""] {
        assert_eq!(called(origin).await.as_deref(), Some("origin_not_allowed"), "{origin}");
        assert_eq!(asked("/v1/models", origin).await, "200", "elsewhere the key is what counts");
    }
    let none = sent(&world, Some(&key), "/mcp", &[]).await;
    assert_ne!(none.status(), 403, "what is no page names none");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_header_makes_a_fault() {
    let key = SigningKey::new("a", "ES256");
    let issuer = Issuer::start(&[&key]).await;
    let world = issuer.world(&[]).await;
    let claims = issuer.claims("ann", "viewer");
    let good = key.token(&claims);
    assert_eq!(told(&world, good.as_str()).await, "200");
    let status = |header: Vec<u8>| {
        let request = request(&world, None, Method::GET, "/v1/models").header("authorization", header);
        let sending = async { request.send().await.map(|it| it.status().as_u16()) };
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(sending))
    };
    let part = prop_oneof![
        "[A-Za-z0-9_-]{0,60}",
        any::<Vec<u8>>().prop_map(|it| text(&it)),
        "\\{\"alg\":\"(ES256|RS256|none|EdDSA)\",\"kid\":\"[a-c]\"\\}".prop_map(|it| text(it.as_bytes())),
        any::<i64>().prop_map({
            let claims = claims.clone();
            move |it| text(with(claims.clone(), "exp", it).to_string().as_bytes())
        }),
        any::<f64>().prop_map(move |it| text(with(claims.clone(), "nbf", it).to_string().as_bytes())),
    ];
    let wild = prop_oneof![
        prop::collection::vec(part, 1..5).prop_map(|it| format!("Bearer {}", it.join(".")).into_bytes()),
        (0..good.len(), any::<char>()).prop_map(move |(at, it)| {
            let mut token = good.clone();
            token.replace_range(at..=at, &it.to_string());
            format!("Bearer {token}").into_bytes()
        }),
        "[Bb]earer [ -~]{0,80}".prop_map(String::into_bytes),
        prop::collection::vec(128..=255_u8, 0..40),
    ];

    TestRunner::new(Config::with_cases(300))
        .run(&wild, |header| {
            // What the client itself does not send is none of the server's.
            let Ok(status) = status(header) else { return Ok(()) };
            prop_assert!(status < 500, "{status}");
            Ok(())
        })
        .unwrap();
}
