//! The sections of the settings: what each holds, and how it is read.

use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use tracing::level_filters::LevelFilter;
use url::Url;

use crate::config::source::Values;
use crate::config::value::{
    self, AllowedHost, BuilderSetting, Database, DockerHost, EncryptionKey, HostName, KindNetwork, MAX_STOP_GRACE_S,
    Origin, PortRange, Quantity,
};
use crate::id::{ClusterName, ImageRef, Namespace, Port, Region};

mod cloud;
mod oidc;

// Every section is found under `section`, whichever file it lives in.
pub use cloud::{Ec2, Eks, Helm, Ingress, Nat, Terraform};
pub use oidc::{Oidc, OidcClient};

/// The HTTP server.
#[derive(Debug, Clone)]
pub struct Server {
    /// `HOST`.
    pub host: IpAddr,
    /// `PORT`; 0 lets the system choose.
    pub port: u16,
    /// `API_KEYS`; when empty and `host` is not loopback, one is made at the first start.
    pub api_keys: Vec<SecretString>,
    /// `RATE_LIMIT_PER_MINUTE`; `None` when off.
    pub rate_limit_per_minute: Option<NonZeroU32>,
    /// `CORS_ALLOWED_ORIGINS`; empty sends no CORS headers.
    pub cors_allowed_origins: Vec<Origin>,
    /// `PUBLIC_URL`.
    pub public_url: Option<Url>,
    /// `ALLOWED_HOSTS`; empty allows any.
    pub allowed_hosts: Vec<HostName>,
    /// `ALLOWED_ORIGINS`.
    pub allowed_origins: Vec<Origin>,
    /// `MAX_OPEN_STREAMS`.
    pub max_open_streams: NonZeroU32,
    /// `CONSOLE`.
    pub console: bool,
    /// `MAX_BODY_BYTES`.
    pub max_body_bytes: u64,
    /// `ANSWER_WITHIN_S`.
    pub answer_within: Duration,
    /// `SHUTDOWN_GRACE_S`.
    pub shutdown_grace: Duration,
}

impl Server {
    pub(super) fn from_values(values: &mut Values) -> Self {
        Self {
            host: values.take("HOST", value::address),
            port: values.take("PORT", |text| text.parse().ok()),
            api_keys: values.list("API_KEYS", value::api_key),
            rate_limit_per_minute: values
                .take("RATE_LIMIT_PER_MINUTE", |text| value::number(text, 0..=1_000_000_u32).map(NonZeroU32::new)),
            cors_allowed_origins: values.list("CORS_ALLOWED_ORIGINS", Origin::parse),
            public_url: values.optional("PUBLIC_URL", value::base_url),
            allowed_hosts: values.list("ALLOWED_HOSTS", HostName::parse),
            allowed_origins: values.list("ALLOWED_ORIGINS", |text| Origin::parse(text).filter(|it| it.as_str() != "*")),
            max_open_streams: values.take("MAX_OPEN_STREAMS", |text| text.parse().ok()),
            console: values.take("CONSOLE", value::yes_or_no),
            max_body_bytes: values.take("MAX_BODY_BYTES", value::bytes),
            answer_within: values.take("ANSWER_WITHIN_S", value::seconds),
            shutdown_grace: values.take("SHUTDOWN_GRACE_S", value::seconds),
        }
    }
}

/// Where things are kept.
#[derive(Debug, Clone)]
pub struct Store {
    /// `PERSISTENT_WORKSPACE_BASE_DIR`, absolute.
    pub workspace: PathBuf,
    /// `DATABASE_URL`.
    pub database: Database,
    /// `AUDIT_RETENTION_DAYS`.
    pub audit_retention: Duration,
    /// `RESPONSES_DAYS`.
    pub responses_retention: Duration,
}

impl Store {
    pub(super) fn from_values(values: &mut Values) -> Self {
        let workspace = values.path("PERSISTENT_WORKSPACE_BASE_DIR");
        let directory = values.directory().to_owned();
        let database = values.optional("DATABASE_URL", |text| Database::parse(text, &directory));
        let days = |text: &str| value::number(text, 1..=36_500_u64).map(|it| Duration::from_hours(24 * it));
        Self {
            database: database.unwrap_or_else(|| Database::Sqlite(workspace.join("store.sqlite"))),
            audit_retention: values.take("AUDIT_RETENTION_DAYS", days),
            responses_retention: values.take("RESPONSES_DAYS", days),
            workspace,
        }
    }
}

/// What the commands that administer a server talk to.
#[derive(Debug, Clone)]
pub struct Client {
    /// `ON_DEMAND_INFRA_URL`; without, the server on this machine.
    pub url: Option<Url>,
    /// `ON_DEMAND_INFRA_API_KEY`.
    pub api_key: Option<SecretString>,
}

impl Client {
    pub(super) fn from_values(values: &mut Values) -> Self {
        Self {
            url: values.optional("ON_DEMAND_INFRA_URL", value::http_url),
            api_key: values.optional("ON_DEMAND_INFRA_API_KEY", value::bearer),
        }
    }
}

/// Secrets at rest.
#[derive(Debug, Clone)]
pub struct Secret {
    /// `ENCRYPTION_KEY`; without, a key file in the workspace.
    pub encryption_key: Option<EncryptionKey>,
    /// `STUCK_SECRETS_DAYS`.
    pub stuck_retention: Duration,
}

impl Secret {
    pub(super) fn from_values(values: &mut Values) -> Self {
        Self {
            encryption_key: values.optional("ENCRYPTION_KEY", EncryptionKey::parse),
            stuck_retention: values.take("STUCK_SECRETS_DAYS", value::days),
        }
    }
}

/// Lines that the program writes about itself.
#[derive(Debug, Clone)]
pub struct Logging {
    /// `LOG_LEVEL`; overrides the root level of `log_config.toml`.
    pub level: Option<LevelFilter>,
}

impl Logging {
    pub(super) fn from_values(values: &mut Values) -> Self {
        Self { level: values.optional("LOG_LEVEL", value::log_level) }
    }
}

/// Clones of repositories.
#[derive(Debug, Clone)]
pub struct Git {
    /// `GIT_PROGRAM`.
    pub program: PathBuf,
    /// `GIT_ALLOWED_HOSTS`.
    pub allowed_hosts: Vec<AllowedHost>,
    /// `GIT_SSL_CAINFO`, absolute.
    pub ssl_cainfo: Option<PathBuf>,
    /// `CLONE_TIMEOUT_S`.
    pub clone_timeout: Duration,
    /// `CLONE_MAX_BYTES`.
    pub clone_max_bytes: u64,
}

impl Git {
    pub(super) fn from_values(values: &mut Values) -> Self {
        Self {
            program: values.program("GIT_PROGRAM"),
            allowed_hosts: values.list("GIT_ALLOWED_HOSTS", AllowedHost::parse),
            ssl_cainfo: values.optional_path("GIT_SSL_CAINFO"),
            clone_timeout: values.take("CLONE_TIMEOUT_S", value::seconds),
            clone_max_bytes: values.take("CLONE_MAX_BYTES", value::bytes),
        }
    }
}

/// Builds through the Docker API.
#[derive(Debug, Clone)]
pub struct Docker {
    /// `DOCKER_HOST`.
    pub host: DockerHost,
    /// `BUILD_TIMEOUT_S`.
    pub build_timeout: Duration,
    /// `MAX_CONCURRENT_BUILDS`.
    pub max_concurrent_builds: NonZeroU16,
    /// `BUILD_CONTEXT_MAX_BYTES`.
    pub build_context_max_bytes: u64,
    /// `BUILDER`.
    pub builder: BuilderSetting,
    /// `PACK_PROGRAM`.
    pub pack: PathBuf,
    /// `BUILDPACKS_BUILDER`.
    pub buildpacks_builder: ImageRef,
    /// `RAILPACK_PROGRAM`.
    pub railpack: PathBuf,
    /// `BUILD_CONTEXT_GIT`.
    pub build_context_git: bool,
}

impl Docker {
    pub(super) fn from_values(values: &mut Values) -> Self {
        Self {
            host: values.take("DOCKER_HOST", DockerHost::parse),
            build_timeout: values.take("BUILD_TIMEOUT_S", value::seconds),
            max_concurrent_builds: values.take("MAX_CONCURRENT_BUILDS", |text| text.parse().ok()),
            build_context_max_bytes: values.take("BUILD_CONTEXT_MAX_BYTES", value::bytes),
            builder: values.take("BUILDER", |text| text.parse().ok()),
            pack: values.program("PACK_PROGRAM"),
            buildpacks_builder: values.take("BUILDPACKS_BUILDER", |text| ImageRef::parse(text).ok()),
            railpack: values.program("RAILPACK_PROGRAM"),
            build_context_git: values.take("BUILD_CONTEXT_GIT", value::yes_or_no),
        }
    }
}

/// Local clusters.
#[derive(Debug, Clone)]
pub struct Kind {
    /// `KIND_PROGRAM`.
    pub program: PathBuf,
    /// `KIND_CLUSTER_NAME`.
    pub cluster_name: ClusterName,
    /// `KIND_NODE_IMAGE`; without, kind's own default.
    pub node_image: Option<ImageRef>,
    /// `KIND_NETWORK`.
    pub network: KindNetwork,
    /// `NODE_PORT_RANGE`.
    pub node_port_range: PortRange,
    /// Whether somebody has given `NODE_PORT_RANGE`; else a new cluster may have other ports.
    pub node_port_range_given: bool,
    /// `CLUSTER_TIMEOUT_S`.
    pub cluster_timeout: Duration,
    /// `DELETE_EMPTY_LOCAL_CLUSTER`.
    pub delete_empty_cluster: bool,
}

impl Kind {
    pub(super) fn from_values(values: &mut Values) -> Self {
        Self {
            program: values.program("KIND_PROGRAM"),
            cluster_name: values.take("KIND_CLUSTER_NAME", |text| ClusterName::parse(text).ok()),
            node_image: values.optional("KIND_NODE_IMAGE", |text| ImageRef::parse(text).ok()),
            network: values.take("KIND_NETWORK", |text| text.parse().ok()),
            node_port_range: values.take("NODE_PORT_RANGE", PortRange::parse),
            node_port_range_given: values.is_given("NODE_PORT_RANGE"),
            cluster_timeout: values.take("CLUSTER_TIMEOUT_S", value::seconds),
            delete_empty_cluster: values.take("DELETE_EMPTY_LOCAL_CLUSTER", value::yes_or_no),
        }
    }
}

/// What is applied to a cluster.
#[derive(Debug, Clone)]
pub struct Kubernetes {
    /// `DEFAULT_NAMESPACE`.
    pub default_namespace: Namespace,
    /// `DEFAULT_CONTAINER_PORT`.
    pub default_container_port: Port,
    /// `MAX_REPLICAS`.
    pub max_replicas: u32,
    /// What a container asks for and may use.
    pub resources: Resources,
}

impl Kubernetes {
    pub(super) fn from_values(values: &mut Values) -> Self {
        Self {
            default_namespace: values.take("DEFAULT_NAMESPACE", |text| Namespace::parse(text).ok()),
            default_container_port: values.take("DEFAULT_CONTAINER_PORT", |text| text.parse().ok()),
            max_replicas: values.take("MAX_REPLICAS", |text| value::number(text, 1..=10_000_u32)),
            resources: Resources::from_values(values),
        }
    }
}

/// What a container asks for and may use; a request is never above its limit.
#[derive(Debug, Clone)]
pub struct Resources {
    /// `CPU_REQUEST`.
    pub cpu_request: Quantity,
    /// `MEMORY_REQUEST`.
    pub memory_request: Quantity,
    /// `CPU_LIMIT`.
    pub cpu_limit: Quantity,
    /// `MEMORY_LIMIT`.
    pub memory_limit: Quantity,
}

impl Resources {
    pub(super) fn from_values(values: &mut Values) -> Self {
        let resources = Self {
            cpu_request: values.take("CPU_REQUEST", Quantity::parse),
            memory_request: values.take("MEMORY_REQUEST", Quantity::parse),
            cpu_limit: values.take("CPU_LIMIT", Quantity::parse),
            memory_limit: values.take("MEMORY_LIMIT", Quantity::parse),
        };
        if resources.cpu_request > resources.cpu_limit {
            values.refuse("CPU_REQUEST", format!("at most `CPU_LIMIT`, which is `{}`", resources.cpu_limit));
        }
        if resources.memory_request > resources.memory_limit {
            values.refuse("MEMORY_REQUEST", format!("at most `MEMORY_LIMIT`, which is `{}`", resources.memory_limit));
        }
        resources
    }
}

/// How an application is waited for, and how many of its versions are kept.
#[derive(Debug, Clone)]
pub struct Rollout {
    /// `ROLLOUT_TIMEOUT_S`.
    pub timeout: Duration,
    /// `STOP_PAUSE_S`.
    pub stop_pause_s: u16,
    /// `STOP_GRACE_S`.
    pub stop_grace_s: u16,
    /// `APP_CA_FILE`, absolute.
    pub app_ca_file: Option<PathBuf>,
    /// `KEEP_VERSIONS`.
    pub keep_versions: usize,
}

impl Rollout {
    pub(super) fn from_values(values: &mut Values) -> Self {
        Self {
            timeout: values.take("ROLLOUT_TIMEOUT_S", value::seconds),
            stop_pause_s: values.take("STOP_PAUSE_S", |text| value::number(text, 0..=300_u16)),
            stop_grace_s: values.take("STOP_GRACE_S", |text| value::number(text, 1..=MAX_STOP_GRACE_S)),
            app_ca_file: values.optional_path("APP_CA_FILE"),
            keep_versions: values.take("KEEP_VERSIONS", |text| value::number(text, 1..=100_usize)),
        }
    }
}

/// How operations run.
#[derive(Debug, Clone)]
pub struct Engine {
    /// `RETRY_ATTEMPTS`: how often a transient failure is tried again.
    pub retry_attempts: u32,
    /// `RETRY_BASE_MS`: the pause before the first retry; each later one is twice as long.
    pub retry_base: Duration,
    /// `AWS_SETTLE_TIMEOUT_S`: how long a step waits for what AWS settles by itself.
    pub settle_timeout: Duration,
}

impl Engine {
    pub(super) fn from_values(values: &mut Values) -> Self {
        Self {
            retry_attempts: values.take("RETRY_ATTEMPTS", |text| value::number(text, 0..=100_u32)),
            retry_base: values
                .take("RETRY_BASE_MS", |text| value::number(text, 1..=60_000_u64).map(Duration::from_millis)),
            settle_timeout: values.take("AWS_SETTLE_TIMEOUT_S", value::seconds),
        }
    }
}

/// The chat model; the program works without.
#[derive(Debug, Clone)]
pub struct Llm {
    /// `AZURE_OPENAI_API_KEY`.
    pub api_key: Option<SecretString>,
    /// `AZURE_OPENAI_ENDPOINT`.
    pub endpoint: Option<Url>,
    /// `AZURE_OPENAI_API_VERSION`.
    pub api_version: Option<String>,
    /// `AZURE_OPENAI_DEPLOYMENT`.
    pub deployment: Option<String>,
    /// `AZURE_EMBEDDING_DEPLOYMENT`.
    pub embedding_deployment: Option<String>,
    /// `AZURE_EMBEDDING_API_VERSION`; without, `api_version`.
    pub embedding_api_version: Option<String>,
    /// `LLM_BASE_URL`; wins over Azure for each model that is named beside it.
    pub base_url: Option<Url>,
    /// `LLM_API_KEY`.
    pub base_api_key: Option<SecretString>,
    /// `LLM_MODEL`.
    pub model: Option<String>,
    /// `LLM_EMBEDDING_MODEL`.
    pub embedding_model: Option<String>,
    /// `LLM_TIMEOUT_S`.
    pub timeout: Duration,
}

impl Llm {
    pub(super) fn from_values(values: &mut Values) -> Self {
        let base_url = values.optional("LLM_BASE_URL", value::http_url);
        let [model, embedding_model] =
            ["LLM_MODEL", "LLM_EMBEDDING_MODEL"].map(|name| values.optional(name, value::word));
        if base_url.is_some() && model.is_none() && embedding_model.is_none() {
            values.refuse("LLM_BASE_URL", "set together with `LLM_MODEL` or `LLM_EMBEDDING_MODEL`".to_owned());
        }
        Self {
            api_key: values.secret("AZURE_OPENAI_API_KEY"),
            endpoint: values.optional("AZURE_OPENAI_ENDPOINT", value::http_url),
            api_version: values.optional("AZURE_OPENAI_API_VERSION", value::word),
            deployment: values.optional("AZURE_OPENAI_DEPLOYMENT", value::word),
            embedding_deployment: values.optional("AZURE_EMBEDDING_DEPLOYMENT", value::word),
            embedding_api_version: values.optional("AZURE_EMBEDDING_API_VERSION", value::word),
            base_url,
            base_api_key: values.secret("LLM_API_KEY"),
            model,
            embedding_model,
            timeout: values.take("LLM_TIMEOUT_S", value::seconds),
        }
    }
}

/// Credentials of the cloud modes that a request may leave out.
#[derive(Debug, Clone)]
pub struct Aws {
    /// `AWS_ACCESS_KEY_ID` and what belongs to it.
    pub credentials: Option<AwsKeys>,
    /// `AWS_REGION`.
    pub region: Option<Region>,
    /// `AWS_DEFAULT_CREDENTIALS`: without any other, those that AWS' own tools would find here.
    pub default_credentials: bool,
}

impl Aws {
    pub(super) fn from_values(values: &mut Values) -> Self {
        let session_token = values.secret("AWS_SESSION_TOKEN");
        let credentials = match (values.secret("AWS_ACCESS_KEY_ID"), values.secret("AWS_SECRET_ACCESS_KEY")) {
            (Some(access_key_id), Some(secret_access_key)) => {
                Some(AwsKeys { access_key_id, secret_access_key, session_token })
            }
            (Some(_), None) => {
                values.refuse("AWS_ACCESS_KEY_ID", "set together with `AWS_SECRET_ACCESS_KEY`".to_owned());
                None
            }
            (None, Some(_)) => {
                values.refuse("AWS_SECRET_ACCESS_KEY", "set together with `AWS_ACCESS_KEY_ID`".to_owned());
                None
            }
            (None, None) => None,
        };
        Self {
            credentials,
            region: values.optional("AWS_REGION", |text| Region::parse(text).ok()),
            default_credentials: values.take("AWS_DEFAULT_CREDENTIALS", value::yes_or_no),
        }
    }
}

/// One set of AWS credentials.
#[derive(Debug, Clone)]
pub struct AwsKeys {
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: SecretString,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: SecretString,
    /// `AWS_SESSION_TOKEN`.
    pub session_token: Option<SecretString>,
}

/// How EC2 instances are reached.
#[derive(Debug, Clone)]
pub struct Ssh {
    /// `SSH_PROGRAM`.
    pub program: PathBuf,
    /// `SSH_TIMEOUT_S`.
    pub timeout: Duration,
    /// `EC2_PRIVATE_KEY_BASE_PATH`, absolute.
    pub private_key_base_path: Option<PathBuf>,
}

impl Ssh {
    pub(super) fn from_values(values: &mut Values) -> Self {
        Self {
            program: values.program("SSH_PROGRAM"),
            timeout: values.take("SSH_TIMEOUT_S", value::seconds),
            private_key_base_path: values.optional_path("EC2_PRIVATE_KEY_BASE_PATH"),
        }
    }
}

/// How a new EC2 instance gets what it needs.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    /// `BOOTSTRAP_PROXY`.
    pub proxy: Option<SecretString>,
    /// `BOOTSTRAP_PACKAGE_MIRROR`.
    pub package_mirror: Option<Url>,
    /// `BOOTSTRAP_DOWNLOAD_MIRROR`.
    pub download_mirror: Option<Url>,
    /// `BOOTSTRAP_REGISTRY_MIRROR`.
    pub registry_mirror: Option<Url>,
}

impl Bootstrap {
    pub(super) fn from_values(values: &mut Values) -> Self {
        Self {
            proxy: values.secret("BOOTSTRAP_PROXY"),
            package_mirror: values.optional("BOOTSTRAP_PACKAGE_MIRROR", value::http_url),
            download_mirror: values.optional("BOOTSTRAP_DOWNLOAD_MIRROR", value::http_url),
            registry_mirror: values.optional("BOOTSTRAP_REGISTRY_MIRROR", value::http_url),
        }
    }
}
