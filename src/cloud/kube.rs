//! Kubernetes: what an application is on a cluster, put there, watched, changed and taken away again.
//!
//! Everything is idempotent: applying twice changes nothing, deleting what is absent succeeds. What lacks our label is
//! never changed or deleted. Why a rollout failed in words for a person is `crate::diagnosis`.

pub mod application;
pub mod apply;
pub mod load_balancer_service;
pub mod delete;
pub mod error;
pub mod exec;
mod foreign_objects;
mod holder;
pub mod limit;
pub mod pod_failure;
pub mod live;
pub mod logs;
pub mod namespace;
pub mod node_port;
pub mod nodes;
pub mod parts;
pub mod port_forward;
pub mod ready;
pub mod rollout;
pub mod snapshot;
pub mod stop;
mod watch_cache;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderValue, Request};
use kube::client::{Body, ClientBuilder};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tower::util::MapRequestLayer;

use crate::cloud::kube::error::KubeError;

/// The field manager of everything that we apply, and the value of `app.kubernetes.io/managed-by`.
pub const MANAGER: &str = "on-demand-infra";
/// The label that says who manages an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The label that carries the id of the deployment that an object belongs to.
pub const DEPLOYMENT: &str = "on-demand-infra/deployment";
/// The label of a Deployment (and the annotation of a namespace) that carries the operation that last changed it.
pub const OPERATION: &str = "on-demand-infra/operation";
/// The annotation of a namespace that carries the operation that made it.
pub const CREATED_BY: &str = "on-demand-infra/created-by";
/// The annotation of a Deployment's pods that carries the operation that restarted them: another one is another version
/// of the pods to Kubernetes.
pub const RESTARTED_BY: &str = "on-demand-infra/restarted-by";
/// The annotation of a Deployment that carries what [`RESTARTED_BY`] was before, for an undo.
pub const RESTARTED_BEFORE: &str = "on-demand-infra/restarted-before";
/// The annotation of a Deployment that carries the hash of its manifests.
pub const MANIFEST: &str = "on-demand-infra/manifest";
/// The annotation of a Deployment that carries the repository it was built from.
pub const REPOSITORY: &str = "on-demand-infra/repository";
/// The annotation of a Deployment that carries the directory of the repository it was built in, where it is not the root.
pub const SOURCE_DIRECTORY: &str = "on-demand-infra/source-directory";
/// The annotation of a Deployment and its pods that carries the commit they were built from.
pub const COMMIT: &str = "on-demand-infra/commit";

/// How long a single request to the API may take; watches and log streams are not bounded by it.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A cluster's API. Cheap to clone.
#[derive(Clone)]
pub struct Kube {
    client: Client,
    server: String,
}

impl Kube {
    /// Makes a client from the text of a kubeconfig and its current context. Does not connect yet.
    ///
    /// # Errors
    /// [`KubeError::Kubeconfig`] when the text cannot be used.
    pub async fn from_kubeconfig(yaml: &str) -> Result<Self, KubeError> {
        Self::connect(yaml, None).await
    }

    /// The same through another host and port, such as a port forwarded over ssh; the certificate is still checked
    /// against the name in the kubeconfig.
    ///
    /// # Errors
    /// [`KubeError::Kubeconfig`] when the text or the address cannot be used.
    pub async fn from_kubeconfig_at(yaml: &str, address: SocketAddr) -> Result<Self, KubeError> {
        Self::connect(yaml, Some(address)).await
    }

    /// Makes a client of an API that lets in whoever brings a fresh token; `authority` is its certificate, PEM in base64.
    /// A token is made for each request. Does not connect yet.
    ///
    /// # Errors
    /// [`KubeError::Kubeconfig`] when address or certificate cannot be used.
    pub async fn with_tokens(
        server: &str,
        authority: &str,
        token: impl Fn() -> Option<SecretString> + Clone + Send + 'static,
    ) -> Result<Self, KubeError> {
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster": {"server": server, "certificate-authority-data": authority}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "users": [{"name": "it", "user": {}}],
        });
        let config = config_of(&kubeconfig.to_string()).await?;
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let with_token = MapRequestLayer::new(move |mut request: Request<Body>| {
            let value = token().and_then(|it| format!("Bearer {}", it.expose_secret()).parse::<HeaderValue>().ok());
            if let Some(mut value) = value {
                value.set_sensitive(true);
                request.headers_mut().insert(AUTHORIZATION, value);
            }
            request
        });
        let builder = ClientBuilder::try_from(config).map_err(|error| KubeError::Kubeconfig(error.to_string()))?;
        Ok(Self { client: builder.with_layer(&with_token).build(), server })
    }

    /// The port of the API on its machine, from the text of a kubeconfig.
    ///
    /// # Errors
    /// [`KubeError::Kubeconfig`] when the text names none.
    pub fn port_of(yaml: &str) -> Result<u16, KubeError> {
        let named = Kubeconfig::from_yaml(yaml).ok().and_then(|it| it.clusters.into_iter().next()?.cluster?.server);
        let port = named.and_then(|server| server.trim_end_matches('/').rsplit_once(':')?.1.parse().ok());
        port.ok_or_else(|| KubeError::Kubeconfig("it does not name the port of the API".to_owned()))
    }

    async fn connect(yaml: &str, address: Option<SocketAddr>) -> Result<Self, KubeError> {
        let mut config = config_of(yaml).await?;
        if let Some(address) = address {
            let server = format!("{}://{address}", config.cluster_url.scheme_str().unwrap_or("https"));
            config.tls_server_name =
                config.tls_server_name.take().or_else(|| config.cluster_url.host().map(str::to_owned));
            config.cluster_url = server
                .parse()
                .map_err(|_| KubeError::Kubeconfig(format!("`{server}` is not the address of a server")))?;
        }
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let client = Client::try_from(config).map_err(|error| KubeError::Kubeconfig(error.to_string()))?;
        Ok(Self { client, server })
    }

    /// The address of the API.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Awaits one request: bounded in time, its error in our words.
    async fn call<T>(&self, request: impl Future<Output = Result<T, kube::Error>> + Send) -> Result<T, KubeError> {
        match tokio::time::timeout(REQUEST_TIMEOUT, request).await {
            Ok(answer) => answer.map_err(|error| KubeError::from_client(error, &self.server)),
            Err(_) => Err(self.timed_out(REQUEST_TIMEOUT)),
        }
    }

    fn timed_out(&self, after: Duration) -> KubeError {
        let what = format!("an answer of the Kubernetes API at `{}`", self.server);
        KubeError::Timeout { what, after_s: after.as_secs() }
    }
}

async fn config_of(yaml: &str) -> Result<Config, KubeError> {
    // The parser's own messages quote the text, which holds keys.
    let kubeconfig = Kubeconfig::from_yaml(yaml)
        .map_err(|_| KubeError::Kubeconfig("it is not the YAML of a kubeconfig".to_owned()))?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|error| KubeError::Kubeconfig(error.to_string()))?;
    config.connect_timeout = Some(Duration::from_secs(5));
    Ok(config)
}

impl std::fmt::Debug for Kube {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kube").field("server", &self.server).finish_non_exhaustive()
    }
}
