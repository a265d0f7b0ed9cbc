//! What the commands that administer a server work on: the one that runs, or its store when none does.

use anyhow::{Context as _, anyhow, bail};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use crate::access::{Caller, Surface};
use crate::config::Settings;
use crate::config::value::Database;
use crate::secret::key_file;
use crate::store::{Store, StoreError};

/// Where a command does its work.
pub(super) enum Connection {
    /// The server that runs.
    Server(Server),
    /// The store, which no server works on.
    Store(Box<Store>),
}

/// A server that runs.
pub(super) struct Server {
    client: Client,
    url: Url,
    key: Option<SecretString>,
}

impl Connection {
    /// Asks whether a server runs; opens the store when none does and none was named. Only what `may_make` one makes a store
    /// that is not there.
    pub(super) async fn open(settings: &Settings, may_make: bool) -> anyhow::Result<Self> {
        let server = Server::of_settings(settings)?;
        let url = &server.url;
        match server.client.get(url.join("/health")?).send().await {
            Ok(_) => Ok(Self::Server(server)),
            Err(error) if settings.client.url.is_some() || !error.is_connect() => {
                Err(anyhow!(error).context(format!("the server at {url} does not answer")))
            }
            Err(_) if !may_make && !is_there(&settings.store.database) => bail!(
                "no server runs at {url}, and there is no store here: run this where the server runs, or name the server \
                 with `ON_DEMAND_INFRA_URL` or its workspace with `PERSISTENT_WORKSPACE_BASE_DIR`"
            ),
            Err(_) => match Store::open(&settings.store.database).await {
                Ok(store) => Ok(Self::Store(Box::new(store))),
                Err(error @ StoreError::Owned(_)) => Err(anyhow!(error)
                    .context(format!("a server runs, but not at {url}: say where with `ON_DEMAND_INFRA_URL`"))),
                Err(error) => Err(error.into()),
            },
        }
    }
}

fn is_there(database: &Database) -> bool {
    match database {
        Database::Sqlite(path) => path.exists(),
        Database::Postgres(_) => true,
    }
}

/// Where the server of these settings listens.
fn own_address(settings: &Settings) -> anyhow::Result<Url> {
    let (host, port) = (settings.server.host, settings.server.port);
    let host = if host.is_unspecified() { "127.0.0.1".to_owned() } else { url_host(host) };
    Url::parse(&format!("http://{host}:{port}")).context("`HOST` and `PORT` make no address")
}

fn url_host(host: std::net::IpAddr) -> String {
    match host {
        std::net::IpAddr::V4(address) => address.to_string(),
        std::net::IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// Whoever works on the store itself.
pub(super) fn local_administrator() -> Caller {
    let principal = format!("user:{}", rustix::process::getuid().as_raw());
    Caller::administrator(principal, "local".to_owned(), Surface::Cli)
}

impl Server {
    /// The one that the settings name, else the one that they are the settings of; whether it runs is not looked at.
    pub(super) fn of_settings(settings: &Settings) -> anyhow::Result<Self> {
        let url = match &settings.client.url {
            Some(url) => url.clone(),
            None => own_address(settings)?,
        };
        // What runs on this machine is never behind a proxy.
        let is_here = matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
        let client = if is_here { Client::builder().no_proxy() } else { Client::builder() }.build()?;
        let key = settings.client.api_key.clone().or_else(|| settings.server.api_keys.first().cloned());
        let key = match key {
            None => key_file::made_api_key(settings)?,
            key => key,
        };
        Ok(Self { client, url, key })
    }

    /// Where it is.
    pub(super) fn address(&self) -> &Url {
        &self.url
    }

    /// A request to a route.
    pub(super) fn request(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
    ) -> anyhow::Result<RequestBuilder> {
        let mut url = self.url.clone();
        url.path_segments_mut().map_err(|()| anyhow!("`{}` cannot have a path", self.url))?.pop_if_empty().extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.client.request(method, url);
        Ok(match &self.key {
            Some(key) => request.bearer_auth(key.expose_secret()),
            None => request,
        })
    }

    /// Sends it; an answer that is an error is one.
    pub(super) async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let response = request.send().await.with_context(|| format!("the server at {} does not answer", self.url))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body: Value = response.json().await.unwrap_or_default();
        let Some(message) = body["error"]["message"].as_str() else {
            bail!("what answers at {} is not this kind of server ({status}); set `ON_DEMAND_INFRA_URL`", self.url);
        };
        if status == StatusCode::UNAUTHORIZED {
            bail!(
                "{message}. Set `ON_DEMAND_INFRA_API_KEY` to the key of an administrator; without one, stop the server: then \
                 this command works on its store"
            );
        }
        bail!("{message}");
    }
}
