//! The console, as a browser without scripts sees it.

use std::collections::BTreeMap;

use reqwest::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use reqwest::{Client, Method, redirect};
use serde_json::json;
use url::form_urlencoded;

use crate::world::World;

mod changes;
mod chat;
mod costs;
mod errors;
mod logs;
mod oidc;
mod operations;
mod pages;
mod readers;
mod sessions;

/// A browser: it keeps its cookie, and follows nothing by itself.
struct Browser {
    client: Client,
    url: String,
    cookie: Option<String>,
}

/// What a browser gets.
#[derive(Debug)]
struct Page {
    status: u16,
    text: String,
    headers: BTreeMap<String, String>,
}

impl Page {
    /// Where it leads on.
    fn leads_to(&self) -> &str {
        assert_eq!(self.status, 303, "{self:?}");
        &self.headers[LOCATION.as_str()]
    }

    /// What a field of a form holds that is not shown.
    fn hidden(&self, name: &str) -> String {
        let field = format!("name=\"{name}\" value=\"");
        let rest = self.text.split_once(&field).unwrap_or_else(|| panic!("no field `{name}`: {self:?}")).1;
        rest.split_once('"').unwrap().0.to_owned()
    }

    /// Where the next page of a list is.
    fn next_page(&self) -> String {
        let (before, _) = self.text.split_once("\" rel=\"next\"").unwrap_or_else(|| panic!("no next page: {self:?}"));
        before.rsplit_once("href=\"").unwrap().1.replace("&amp;", "&")
    }

    /// A browser runs nothing for it that is not of here.
    fn runs_nothing_foreign(&self) {
        let policy = &self.headers[CONTENT_SECURITY_POLICY.as_str()];
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{self:?}");
        for inline in ["<script>", " style=", " onclick=", "javascript:"] {
            assert!(!self.says(inline), "{inline} in {self:?}");
        }
    }

    fn says(&self, text: &str) -> bool {
        self.text.contains(text)
    }
}

impl Browser {
    fn of(world: &World) -> Self {
        let client = Client::builder().redirect(redirect::Policy::none()).build().unwrap();
        Self { client, url: world.url(), cookie: None }
    }

    /// A browser that has signed in with a key.
    async fn signed_in(world: &World, key: &str) -> Self {
        let mut browser = Self::of(world);
        let page = browser.open("/sign-in").await;
        let entered = browser.send("/sign-in", &page, &[("key", key)]).await;
        assert_eq!(entered.leads_to(), "/");
        browser
    }

    async fn open(&mut self, path: &str) -> Page {
        self.ask(Method::GET, path, &[], None).await
    }

    /// Sends a form of a page.
    async fn send(&mut self, path: &str, page: &Page, fields: &[(&str, &str)]) -> Page {
        // Every form has one but that of signing in.
        let token = page.says("name=\"token\"").then(|| page.hidden("token"));
        let mut all: Vec<(&str, &str)> = token.iter().map(|it| ("token", it.as_str())).collect();
        all.extend(fields);
        let origin = self.url.clone();
        self.ask(Method::POST, path, &all, Some(&origin)).await
    }

    async fn ask(&mut self, method: Method, path: &str, fields: &[(&str, &str)], origin: Option<&str>) -> Page {
        let mut request = self.client.request(method.clone(), format!("{}{path}", self.url));
        if let Some(cookie) = &self.cookie {
            request = request.header(COOKIE, cookie);
        }
        if let Some(origin) = origin {
            request = request.header(ORIGIN, origin);
        }
        if method == Method::POST {
            let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
        }
        let response = request.header("accept", "text/html").send().await.unwrap();
        if let Some(cookie) = response.headers().get(SET_COOKIE) {
            let (cookie, _) = cookie.to_str().unwrap().split_once(';').unwrap();
            self.cookie = Some(cookie.to_owned());
        }
        let status = response.status().as_u16();
        let header = |(name, value): (&reqwest::header::HeaderName, &reqwest::header::HeaderValue)| {
            (name.to_string(), value.to_str().unwrap().to_owned())
        };
        let headers = response.headers().iter().map(header).collect();
        // As a browser reads it, but for what would be markup then.
        let text = response.text().await.unwrap().replace("&#x2f;", "/").replace("&#x27;", "'");
        Page { status, text, headers }
    }
}

/// The secret of a world's first key.
async fn first_key(world: &World) -> String {
    secret(world.request(Method::POST, "/v1/keys").json(&json!({"name": "root"}))).await
}

/// That of another one.
async fn another_key(world: &World, root: &str, wanted: serde_json::Value) -> String {
    secret(world.request(Method::POST, "/v1/keys").bearer_auth(root).json(&wanted)).await
}

async fn secret(request: reqwest::RequestBuilder) -> String {
    let made = request.send().await.unwrap().json::<serde_json::Value>().await.unwrap();
    made["secret"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_console_that_is_switched_off_is_not_there() {
    let world = World::with(&[("CONSOLE", "false")]).await;

    let page = Browser::of(&world).open("/").await;

    assert_eq!(page.status, 404);
    assert!(page.says("\"code\""), "{page:?}");
}

#[tokio::test]
async fn pages_run_nothing_that_is_not_of_here() {
    let world = World::start().await;
    world.deployed().await;
    let mut browser = Browser::of(&world);

    for path in ["/", "/operations", "/chat", "/new", "/targets", "/costs", "/sign-in", "/no-such-page"] {
        browser.open(path).await.runs_nothing_foreign();
    }
}
