//! An `OpenID` Connect issuer on this machine: real keys, published as a story wants, and tokens that are signed with them.
//! It signs people in, too (authorisation code with PKCE), and is as strict as it may be.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use axum::extract::{Query, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Redirect;
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::{World, with};

/// Where clients reach the server, as the stories have it.
pub(crate) const PUBLIC_URL: &str = "https://deploy.example.test";

/// The client as which the server signs people in, and its secret.
pub(crate) const CLIENT: (&str, &str) = ("console", "s&cret of the console");

/// The issuer of one story.
#[derive(Debug)]
pub(crate) struct Issuer {
    address: SocketAddr,
    published: Arc<Published>,
    serving: Option<AbortOnDropHandle<()>>,
}

#[derive(Debug)]
struct Published {
    url: String,
    keys: Mutex<Value>,
    asked: AtomicUsize,
    /// Who sits at the browser: what a token for that one claims, and what signs it.
    person: Mutex<Option<(Value, Arc<SigningKey>)>>,
    /// The codes that nobody has brought yet, with what was asked for them.
    codes: Mutex<HashMap<String, HashMap<String, String>>>,
}

impl Issuer {
    /// An issuer with these keys.
    pub(crate) async fn start(keys: &[&SigningKey]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = format!("http://{address}/realms/team");
        let published = Arc::new(Published {
            url,
            keys: Mutex::default(),
            asked: AtomicUsize::new(0),
            person: Mutex::default(),
            codes: Mutex::default(),
        });
        let issuer = Self { address, serving: Some(Self::serve(listener, &published)), published };
        issuer.publish(keys);
        issuer
    }

    fn serve(listener: TcpListener, published: &Arc<Published>) -> AbortOnDropHandle<()> {
        let router = Router::new()
            .route("/realms/team/.well-known/openid-configuration", get(discovery))
            .route("/realms/team/keys", get(keys))
            .route("/realms/team/authorize", get(authorize))
            .route("/realms/team/token", post(token))
            .with_state(Arc::clone(published));
        AbortOnDropHandle::new(tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }))
    }

    /// What tokens name as their issuer.
    pub(crate) fn url(&self) -> String {
        self.published.url.clone()
    }

    /// Publishes these keys and no others.
    pub(crate) fn publish(&self, keys: &[&SigningKey]) {
        self.publish_as_is(json!({"keys": keys.iter().map(|it| it.jwk.clone()).collect::<Vec<_>>()}));
    }

    /// Publishes something in the place of keys.
    pub(crate) fn publish_as_is(&self, keys: Value) {
        *self.published.keys.lock().unwrap() = keys;
    }

    /// How often its keys were asked for.
    pub(crate) fn asked(&self) -> usize {
        self.published.asked.load(Ordering::SeqCst)
    }

    /// Nobody reaches it from now on.
    pub(crate) fn stop(&mut self) {
        self.serving = None;
    }

    /// It is there again, under the same address.
    pub(crate) async fn start_again(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.serving = Some(Self::serve(listener, &self.published));
    }

    /// A world whose server accepts its tokens.
    pub(crate) async fn world(&self, settings: &[(&str, &str)]) -> World {
        let url = self.url();
        let ours = [("OIDC_ISSUER", url.as_str()), ("PUBLIC_URL", PUBLIC_URL)];
        World::with(&[&ours[..], settings].concat()).await
    }

    /// A world whose console signs people in here.
    pub(crate) async fn world_with_client(&self) -> World {
        self.world(&[("OIDC_CLIENT_ID", CLIENT.0), ("OIDC_CLIENT_SECRET", CLIENT.1)]).await
    }

    /// From now on somebody sits at the browser for whom a token claims this; a nonce that is not there is the right one.
    pub(crate) fn has_signed_in(&self, claims: Value, key: &Arc<SigningKey>) {
        *self.published.person.lock().unwrap() = Some((claims, Arc::clone(key)));
    }

    /// The claims of an ID token of this person with this role, which counts for a quarter of an hour.
    pub(crate) fn id_claims(&self, subject: &str, role: &str) -> Value {
        with(with(self.claims(subject, role), "aud", CLIENT.0), "azp", CLIENT.0)
    }

    /// The claims of a token of this person with this role, which counts for a quarter of an hour.
    pub(crate) fn claims(&self, subject: &str, role: &str) -> Value {
        let now = Timestamp::now().as_second();
        json!({
            "iss": self.url(), "aud": format!("{PUBLIC_URL}/mcp"), "sub": subject, "roles": [role],
            "iat": now, "nbf": now, "exp": now + 900,
        })
    }
}

async fn discovery(State(published): State<Arc<Published>>) -> Json<Value> {
    let url = &published.url;
    Json(json!({
        "issuer": url, "jwks_uri": format!("{url}/keys"), "authorization_endpoint": format!("{url}/authorize?audience=x"),
        "token_endpoint": format!("{url}/token"),
    }))
}

/// Sends the browser back: with a code, or without when nobody signs in.
async fn authorize(
    State(published): State<Arc<Published>>,
    Query(asked): Query<HashMap<String, String>>,
) -> Result<Redirect, (StatusCode, String)> {
    let redirect_uri = format!("{PUBLIC_URL}/sign-in/callback");
    let is_right = [
        ("audience", "x"),
        ("response_type", "code"),
        ("client_id", CLIENT.0),
        ("redirect_uri", redirect_uri.as_str()),
        ("scope", "openid profile"),
        ("code_challenge_method", "S256"),
    ]
    .iter()
    .all(|(name, value)| asked.get(*name).is_some_and(|it| it == value));
    if !is_right || asked["nonce"].len() < 32 || asked["code_challenge"].len() != 43 {
        return Err((StatusCode::BAD_REQUEST, format!("{asked:?}")));
    }
    let mut back = Url::parse(&asked["redirect_uri"]).unwrap();
    back.query_pairs_mut().append_pair("state", &asked["state"]).append_pair("iss", &published.url);
    if published.person.lock().unwrap().is_none() {
        let description = "nobody <b>is</b> here";
        back.query_pairs_mut().append_pair("error", "access_denied").append_pair("error_description", description);
    } else {
        let mut codes = published.codes.lock().unwrap();
        let code = format!("code-{}", text(&Sha256::digest(asked["state"].as_bytes())));
        back.query_pairs_mut().append_pair("code", &code);
        codes.insert(code, asked);
    }
    Ok(Redirect::to(back.as_str()))
}

/// Gives a token for a code, once, to whoever has asked for it.
async fn token(
    State(published): State<Arc<Published>>,
    headers: HeaderMap,
    Form(brought): Form<HashMap<String, String>>,
) -> (StatusCode, Json<Value>) {
    let refused = |error: &str| (StatusCode::BAD_REQUEST, Json(json!({"error": error})));
    let (id, secret) = CLIENT;
    let secret = secret.replace('&', "%26").replace(' ', "+");
    let basic = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
    if headers.get(AUTHORIZATION).is_none_or(|it| it.to_str().unwrap() != basic) {
        return refused("invalid_client");
    }
    let asked = brought.get("code").and_then(|it| published.codes.lock().unwrap().remove(it));
    let Some(asked) = asked else { return refused("invalid_grant") };
    let challenge = text(&Sha256::digest(brought["code_verifier"].as_bytes()));
    let is_theirs = asked["code_challenge"] == challenge
        && asked["redirect_uri"] == brought["redirect_uri"]
        && brought["grant_type"] == "authorization_code";
    let (claims, key) = published.person.lock().unwrap().clone().unwrap();
    if !is_theirs {
        return refused("invalid_grant");
    }
    let claims = if claims["nonce"].is_null() { with(claims, "nonce", asked["nonce"].as_str()) } else { claims };
    (StatusCode::OK, Json(json!({"access_token": "opaque", "token_type": "Bearer", "id_token": key.token(&claims)})))
}

async fn keys(State(published): State<Arc<Published>>) -> (StatusCode, Json<Value>) {
    published.asked.fetch_add(1, Ordering::SeqCst);
    (StatusCode::OK, Json(published.keys.lock().unwrap().clone()))
}

/// A key that signs tokens.
#[derive(Debug)]
pub(crate) struct SigningKey {
    header: Value,
    /// As it is published.
    pub(crate) jwk: Value,
    pair: Pair,
}

#[derive(Debug)]
enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
}

impl SigningKey {
    /// A key with a name, for one of the algorithms `ES256`, `ES384`, `EdDSA`, `RS256` and `PS256`.
    pub(crate) fn new(name: &str, algorithm: &str) -> Self {
        let (pair, parameters) = match algorithm {
            "ES256" => ecdsa(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(), "P-256"),
            "ES384" => ecdsa(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(), "P-384"),
            "EdDSA" => {
                let pair = Ed25519KeyPair::generate().unwrap();
                let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref())});
                (Pair::Ed25519(pair), jwk)
            }
            "RS256" => rsa(&RSA_PKCS1_SHA256),
            "PS256" => rsa(&RSA_PSS_SHA256),
            other => panic!("no key for {other}"),
        };
        let mut jwk = parameters;
        jwk["kid"] = json!(name);
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(algorithm);
        Self { header: json!({"alg": algorithm, "kid": name, "typ": "at+jwt"}), jwk, pair }
    }

    /// A token with these claims.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.token_with(&self.header, claims)
    }

    /// The same without the name of the key.
    pub(crate) fn nameless_token(&self, claims: &Value) -> String {
        let mut header = self.header.clone();
        header.as_object_mut().unwrap().remove("kid");
        self.token_with(&header, claims)
    }

    /// A token with another header.
    pub(crate) fn token_with(&self, header: &Value, claims: &Value) -> String {
        let signed = unsigned(header, claims);
        format!("{signed}.{}", text(&self.sign(signed.as_bytes())))
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ecdsa(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }
}

fn ecdsa(pair: EcdsaKeyPair, curve: &str) -> (Pair, Value) {
    let point = pair.public_key().as_ref()[1..].to_vec();
    let (x, y) = point.split_at(point.len() / 2);
    (Pair::Ecdsa(pair), json!({"kty": "EC", "crv": curve, "x": text(x), "y": text(y)}))
}

fn rsa(encoding: &'static dyn RsaEncoding) -> (Pair, Value) {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let (n, e) = (pair.public_key().modulus(), pair.public_key().exponent());
    let jwk = json!({
        "kty": "RSA", "n": text(n.big_endian_without_leading_zero()), "e": text(e.big_endian_without_leading_zero()),
    });
    (Pair::Rsa(pair, encoding), jwk)
}

/// The part of a token that is signed.
pub(crate) fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", text(header.to_string().as_bytes()), text(claims.to_string().as_bytes()))
}

/// Bytes as a token writes them.
pub(crate) fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
