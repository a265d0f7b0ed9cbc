//! Settings: one struct per section, read once, checked once, handed down.
//!
//! `config/catalog.rs` is the one list of all settings, `config/source.rs` finds their values, `config/value.rs` holds
//! the types that are peculiar to settings. The environment of the process is read in [`Sources::read`] and nowhere else.

pub mod catalog;
pub mod source;
pub mod value;

use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

pub use crate::config::source::{Sources, Warning};
use crate::config::source::{Values, Wrong};
use crate::config::value::{
    AllowedHost, Database, DockerHost, EncryptionKey, KindNetwork, LogLevel, Origin, PortRange, Quantity,
};
use crate::id::{ClusterName, ImageRef, Namespace, Port, Region};

/// Every setting of the program, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The HTTP server.
    pub server: Server,
    /// Where things are kept.
    pub store: Store,
    /// Secrets at rest.
    pub secret: Secret,
    /// Lines that the program writes about itself.
    pub logging: Logging,
    /// Clones of repositories.
    pub git: Git,
    /// Builds through the Docker API.
    pub docker: Docker,
    /// Local clusters.
    pub kind: Kind,
    /// What is applied to a cluster.
    pub kubernetes: Kubernetes,
    /// How an application is waited for.
    pub rollout: Rollout,
    /// How operations run.
    pub engine: Engine,
    /// The chat model; the program works without.
    pub llm: Llm,
    /// Credentials of the cloud modes that a request may leave out.
    pub aws: Aws,
    /// How EC2 instances are reached.
    pub ssh: Ssh,
    /// How applications are reached in cloud-hosted mode.
    pub ingress: Ingress,
}

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
    /// `MAX_OPEN_STREAMS`.
    pub max_open_streams: NonZeroU32,
    /// `MAX_BODY_BYTES`.
    pub max_body_bytes: u64,
    /// `ANSWER_WITHIN_S`.
    pub answer_within: Duration,
    /// `SHUTDOWN_GRACE_S`.
    pub shutdown_grace: Duration,
}

/// Where things are kept.
#[derive(Debug, Clone)]
pub struct Store {
    /// `PERSISTENT_WORKSPACE_BASE_DIR`, absolute.
    pub workspace: PathBuf,
    /// `DATABASE_URL`.
    pub database: Database,
}

/// Secrets at rest.
#[derive(Debug, Clone)]
pub struct Secret {
    /// `ENCRYPTION_KEY`; without, a key file in the workspace.
    pub encryption_key: Option<EncryptionKey>,
}

/// Lines that the program writes about itself.
#[derive(Debug, Clone)]
pub struct Logging {
    /// `LOG_LEVEL`; overrides the root level of `log_config.toml`.
    pub level: Option<LogLevel>,
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
    /// `CLUSTER_TIMEOUT_S`.
    pub cluster_timeout: Duration,
    /// `DELETE_EMPTY_LOCAL_CLUSTER`.
    pub delete_empty_cluster: bool,
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

/// How an application is waited for.
#[derive(Debug, Clone)]
pub struct Rollout {
    /// `ROLLOUT_TIMEOUT_S`.
    pub timeout: Duration,
    /// `APP_CA_FILE`, absolute.
    pub app_ca_file: Option<PathBuf>,
}

/// How operations run.
#[derive(Debug, Clone)]
pub struct Engine {
    /// `RETRY_ATTEMPTS`: how often a transient failure is tried again.
    pub retry_attempts: u32,
    /// `RETRY_BASE_MS`: the pause before the first retry; each later one is twice as long.
    pub retry_base: Duration,
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
    /// `AZURE_EMBEDDING_API_VERSION`.
    pub embedding_api_version: Option<String>,
}

/// Credentials of the cloud modes that a request may leave out.
#[derive(Debug, Clone)]
pub struct Aws {
    /// `AWS_ACCESS_KEY_ID` and what belongs to it.
    pub credentials: Option<AwsCredentials>,
    /// `AWS_REGION`.
    pub region: Option<Region>,
}

/// One set of AWS credentials.
#[derive(Debug, Clone)]
pub struct AwsCredentials {
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
    /// `EC2_PRIVATE_KEY_BASE_PATH`, absolute.
    pub private_key_base_path: Option<PathBuf>,
}

/// How applications are reached in cloud-hosted mode.
#[derive(Debug, Clone)]
pub struct Ingress {
    /// `DEFAULT_DOMAIN_NAME_FOR_APPS`.
    pub default_domain: Option<String>,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A settings file is there and cannot be read.
    #[error("cannot read `{file}`")]
    Unreadable {
        /// The file's name.
        file: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A settings file breaks the rules of its format. The line itself is not shown, it may hold a secret.
    #[error("`{file}`, line {line}: {message}")]
    Malformed {
        /// The file's name.
        file: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// Values that are not allowed: all of them, in the order of the catalog.
    #[error("{}", wrong_list(.0))]
    Wrong(Vec<Wrong>),
}

impl Settings {
    /// Merges defaults, `on-demand-infra.toml`, `.env` and environment (later ones win), and checks every value.
    ///
    /// Pure: it looks at nothing but `sources`. The warnings are for the log, once there is one.
    ///
    /// # Errors
    /// [`ConfigError`] with every wrong value at once, each with its name, where it comes from and what is allowed.
    pub fn load(sources: &Sources) -> Result<(Self, Vec<Warning>), ConfigError> {
        let mut values = Values::merge(sources)?;
        let settings = Self::from_values(&mut values);
        let (wrong, warnings) = values.into_findings();
        if wrong.is_empty() { Ok((settings, warnings)) } else { Err(ConfigError::Wrong(wrong)) }
    }

    fn from_values(values: &mut Values) -> Self {
        let store = Store::from_values(values);
        Self {
            server: Server::from_values(values),
            secret: Secret { encryption_key: values.optional("ENCRYPTION_KEY", EncryptionKey::parse) },
            logging: Logging { level: values.optional("LOG_LEVEL", LogLevel::parse) },
            git: Git::from_values(values),
            docker: Docker::from_values(values),
            kind: Kind::from_values(values),
            kubernetes: Kubernetes::from_values(values),
            rollout: Rollout {
                timeout: values.take("ROLLOUT_TIMEOUT_S", value::seconds),
                app_ca_file: values.optional_path("APP_CA_FILE"),
            },
            engine: Engine {
                retry_attempts: values.take("RETRY_ATTEMPTS", |text| value::number(text, 0..=100_u32)),
                retry_base: values
                    .take("RETRY_BASE_MS", |text| value::number(text, 1..=60_000_u64).map(Duration::from_millis)),
            },
            llm: Llm::from_values(values),
            aws: Aws::from_values(values),
            ssh: Ssh { private_key_base_path: values.optional_path("EC2_PRIVATE_KEY_BASE_PATH") },
            ingress: Ingress { default_domain: values.optional("DEFAULT_DOMAIN_NAME_FOR_APPS", value::domain) },
            store,
        }
    }
}

impl Server {
    fn from_values(values: &mut Values) -> Self {
        Self {
            host: values.take("HOST", value::address),
            port: values.take("PORT", |text| text.parse().ok()),
            api_keys: values.list("API_KEYS", value::api_key),
            rate_limit_per_minute: values
                .take("RATE_LIMIT_PER_MINUTE", |text| value::number(text, 0..=1_000_000_u32).map(NonZeroU32::new)),
            cors_allowed_origins: values.list("CORS_ALLOWED_ORIGINS", Origin::parse),
            max_open_streams: values.take("MAX_OPEN_STREAMS", |text| text.parse().ok()),
            max_body_bytes: values.take("MAX_BODY_BYTES", value::bytes),
            answer_within: values.take("ANSWER_WITHIN_S", value::seconds),
            shutdown_grace: values.take("SHUTDOWN_GRACE_S", value::seconds),
        }
    }
}

impl Store {
    fn from_values(values: &mut Values) -> Self {
        let workspace = values.path("PERSISTENT_WORKSPACE_BASE_DIR");
        let directory = values.directory().to_owned();
        let database = values.optional("DATABASE_URL", |text| Database::parse(text, &directory));
        Self { database: database.unwrap_or_else(|| Database::Sqlite(workspace.join("store.sqlite"))), workspace }
    }
}

impl Git {
    fn from_values(values: &mut Values) -> Self {
        Self {
            program: values.program("GIT_PROGRAM"),
            allowed_hosts: values.list("GIT_ALLOWED_HOSTS", AllowedHost::parse),
            ssl_cainfo: values.optional_path("GIT_SSL_CAINFO"),
            clone_timeout: values.take("CLONE_TIMEOUT_S", value::seconds),
            clone_max_bytes: values.take("CLONE_MAX_BYTES", value::bytes),
        }
    }
}

impl Docker {
    fn from_values(values: &mut Values) -> Self {
        Self {
            host: values.take("DOCKER_HOST", DockerHost::parse),
            build_timeout: values.take("BUILD_TIMEOUT_S", value::seconds),
            max_concurrent_builds: values.take("MAX_CONCURRENT_BUILDS", |text| text.parse().ok()),
            build_context_max_bytes: values.take("BUILD_CONTEXT_MAX_BYTES", value::bytes),
        }
    }
}

impl Kind {
    fn from_values(values: &mut Values) -> Self {
        Self {
            program: values.program("KIND_PROGRAM"),
            cluster_name: values.take("KIND_CLUSTER_NAME", |text| ClusterName::parse(text).ok()),
            node_image: values.optional("KIND_NODE_IMAGE", |text| ImageRef::parse(text).ok()),
            network: values.take("KIND_NETWORK", KindNetwork::parse),
            node_port_range: values.take("NODE_PORT_RANGE", PortRange::parse),
            cluster_timeout: values.take("CLUSTER_TIMEOUT_S", value::seconds),
            delete_empty_cluster: values.take("DELETE_EMPTY_LOCAL_CLUSTER", value::yes_or_no),
        }
    }
}

impl Kubernetes {
    fn from_values(values: &mut Values) -> Self {
        Self {
            default_namespace: values.take("DEFAULT_NAMESPACE", |text| Namespace::parse(text).ok()),
            default_container_port: values.take("DEFAULT_CONTAINER_PORT", |text| text.parse().ok()),
            max_replicas: values.take("MAX_REPLICAS", |text| value::number(text, 1..=10_000_u32)),
            resources: Resources::from_values(values),
        }
    }
}

impl Resources {
    fn from_values(values: &mut Values) -> Self {
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

impl Llm {
    fn from_values(values: &mut Values) -> Self {
        Self {
            api_key: values.secret("AZURE_OPENAI_API_KEY"),
            endpoint: values.optional("AZURE_OPENAI_ENDPOINT", value::http_url),
            api_version: values.optional("AZURE_OPENAI_API_VERSION", value::word),
            deployment: values.optional("AZURE_OPENAI_DEPLOYMENT", value::word),
            embedding_deployment: values.optional("AZURE_EMBEDDING_DEPLOYMENT", value::word),
            embedding_api_version: values.optional("AZURE_EMBEDDING_API_VERSION", value::word),
        }
    }
}

impl Aws {
    fn from_values(values: &mut Values) -> Self {
        let session_token = values.secret("AWS_SESSION_TOKEN");
        let credentials = match (values.secret("AWS_ACCESS_KEY_ID"), values.secret("AWS_SECRET_ACCESS_KEY")) {
            (Some(access_key_id), Some(secret_access_key)) => {
                Some(AwsCredentials { access_key_id, secret_access_key, session_token })
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
        Self { credentials, region: values.optional("AWS_REGION", |text| Region::parse(text).ok()) }
    }
}

/// One sentence for one wrong value, a list for several.
fn wrong_list(wrong: &[Wrong]) -> String {
    match wrong {
        [one] => one.to_string(),
        several => {
            let lines: String = several.iter().map(|it| format!("\n  {it}")).collect();
            format!("{} settings are wrong:{lines}", several.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use secrecy::ExposeSecret;

    use super::*;

    fn load(toml: &str, dotenv: &str, environment: &[(&str, &str)]) -> Result<(Settings, Vec<Warning>), ConfigError> {
        let mut sources = Sources::of(Path::new("/srv"), environment.iter().copied());
        sources.toml = Some(toml.to_owned());
        sources.dotenv = Some(dotenv.to_owned());
        Settings::load(&sources)
    }

    fn message(toml: &str, dotenv: &str, environment: &[(&str, &str)]) -> String {
        load(toml, dotenv, environment).unwrap_err().to_string()
    }

    #[test]
    fn without_any_source_the_defaults_of_the_design_hold() {
        let (settings, warnings) = load("", "", &[]).unwrap();

        assert_eq!(format!("{}:{}", settings.server.host, settings.server.port), "127.0.0.1:8000");
        assert_eq!(settings.store.workspace, Path::new("/srv/app_workspaces"));
        assert!(
            matches!(settings.store.database, Database::Sqlite(path) if path == Path::new("/srv/app_workspaces/store.sqlite"))
        );
        assert_eq!(settings.git.allowed_hosts.len(), 3);
        assert_eq!(settings.kind.node_port_range, PortRange { first: 30_000, last: 30_015 });
        assert_eq!(settings.kubernetes.resources.memory_limit.as_str(), "512Mi");
        assert_eq!(warnings, []);
    }

    #[test]
    fn the_environment_wins_over_dotenv_over_the_file_over_the_default() {
        let toml = "PORT = 1\nMAX_REPLICAS = 2\nRETRY_ATTEMPTS = 3";
        let (settings, _) = load(toml, "PORT=4\nMAX_REPLICAS=5", &[("PORT", "6")]).unwrap();

        assert_eq!((settings.server.port, settings.kubernetes.max_replicas), (6, 5));
        assert_eq!((settings.engine.retry_attempts, settings.docker.max_concurrent_builds.get()), (3, 2));
    }

    #[test]
    fn an_empty_value_is_unset() {
        let (settings, _) = load("PORT = 1", "PORT=\nAWS_REGION=\nAPI_KEYS=", &[("PORT", " ")]).unwrap();

        assert_eq!((settings.server.port, settings.aws.region, settings.server.api_keys.len()), (1, None, 0));
    }

    #[test]
    fn all_wrong_values_are_named_at_once_with_their_source_and_what_is_allowed() {
        let text = message("PORT = 99999\nPROT = 1", "RETRY_ATTEMPTS=often", &[("KIND_NETWORK", "bridge")]);

        insta::assert_snapshot!(text, @r"
        4 settings are wrong:
          `PROT` in `on-demand-infra.toml` must be the name of a setting (`PORT` is one; names are in upper case)
          `PORT` is `99999` in `on-demand-infra.toml`; it must be a port number from 0 (any free one) to 65535
          `KIND_NETWORK` is `bridge` in the environment; it must be `host` or `kind`
          `RETRY_ATTEMPTS` is `often` in `.env`; it must be a number from 0 to 100
        ");
    }

    #[test]
    fn a_wrong_secret_is_not_repeated() {
        let text = message("", "ENCRYPTION_KEY=hunter2", &[("DATABASE_URL", "mysql://root:hunter2@db/app")]);

        assert!(
            text.contains("`ENCRYPTION_KEY` in `.env`") && text.contains("`DATABASE_URL` in the environment"),
            "{text}"
        );
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn a_file_that_breaks_its_format_is_named_with_the_line_and_without_what_it_holds() {
        let toml = message("PORT = 1\nENCRYPTION_KEY = \"hunter2", "", &[]);
        let dotenv = message("", "PORT=1\n\nENCRYPTION_KEY=hunter2 and more", &[]);

        assert!(toml.starts_with("`on-demand-infra.toml`, line 2: "), "{toml}");
        assert!(dotenv.starts_with("`.env`, line 3: "), "{dotenv}");
        assert!(!toml.contains("hunter2") && !dotenv.contains("hunter2"));
    }

    #[test]
    fn a_near_miss_in_dotenv_is_a_warning_and_a_stranger_is_none() {
        let (_, warnings) = load("", "AZURE_OPENAI_KEY=x\nKIND_CLUSTERNAME=x\nSOMETHING_ELSE=1", &[]).unwrap();

        let texts: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 1, "{texts:?}");
        assert!(texts[0].contains("did you mean `KIND_CLUSTER_NAME`?"), "{texts:?}");
    }

    #[test]
    fn a_placeholder_of_an_example_counts_as_unset() {
        let (settings, warnings) = load("", "AZURE_OPENAI_ENDPOINT=\"YOUR_ENDPOINT\"", &[]).unwrap();

        assert_eq!((settings.llm.endpoint, warnings.len()), (None, 1));
    }

    #[test]
    fn the_file_takes_arrays_numbers_and_booleans() {
        let toml = "GIT_ALLOWED_HOSTS = [\"localhost:8443\", \"file:///srv/git\"]\nDELETE_EMPTY_LOCAL_CLUSTER = true";
        let (settings, _) = load(toml, "", &[]).unwrap();

        let hosts = settings.git.allowed_hosts;
        assert!(settings.kind.delete_empty_cluster);
        assert_eq!(hosts, [AllowedHost::HostAndPort("localhost:8443".into()), AllowedHost::File("/srv/git/".into())]);
    }

    #[test]
    fn half_of_a_pair_of_credentials_is_refused() {
        let text = message("", "", &[("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")]);

        assert_eq!(text, "`AWS_ACCESS_KEY_ID` in the environment must be set together with `AWS_SECRET_ACCESS_KEY`");
    }

    #[test]
    fn a_request_above_its_limit_is_refused() {
        let text = message("", "MEMORY_REQUEST=1Gi", &[]);

        assert_eq!(text, "`MEMORY_REQUEST` is `1Gi` in `.env`; it must be at most `MEMORY_LIMIT`, which is `512Mi`");
    }

    #[test]
    fn several_keys_are_a_comma_separated_list() {
        let (settings, _) = load("", "API_KEYS='0123456789abcdef, $123456789abcdef'", &[]).unwrap();

        let keys: Vec<&str> = settings.server.api_keys.iter().map(|it| it.expose_secret()).collect();
        assert_eq!(keys, ["0123456789abcdef", "$123456789abcdef"]);
    }

    #[test]
    fn paths_start_from_the_directory_and_home_is_known() {
        let environment =
            [("HOME", "/home/ann"), ("EC2_PRIVATE_KEY_BASE_PATH", "~/.ssh"), ("KIND_PROGRAM", "./bin/kind")];
        let (settings, _) = load("", "DATABASE_URL=sqlite:data/db", &environment).unwrap();

        assert_eq!(settings.ssh.private_key_base_path.unwrap(), Path::new("/home/ann/.ssh"));
        assert_eq!(settings.kind.program, Path::new("/srv/./bin/kind"));
        assert!(matches!(settings.store.database, Database::Sqlite(path) if path == Path::new("/srv/data/db")));
    }
}
