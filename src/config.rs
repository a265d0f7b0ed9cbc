//! Settings: one struct per section, read once, checked once, handed down.
//!
//! `config/catalog.rs` is the one list of all settings, `config/source.rs` finds their values, `config/section.rs` puts
//! them into place, `config/value.rs` holds the types that are peculiar to settings. The environment of the process is read in [`Sources::read`] and nowhere else.

pub mod catalog;
pub mod error;
pub mod section;
pub mod source;
pub mod value;

use crate::config::section::{
    Aws, Bootstrap, Client, Docker, Ec2, Eks, Engine, Git, Helm, Ingress, Kind, Kubernetes, Llm, Logging, Oidc,
    Rollout, Secret, Server, Ssh, Store, Terraform,
};
use crate::config::source::Values;

pub use crate::config::error::ConfigError;
pub use crate::config::source::{Sources, Warning};

/// Every setting of the program, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The HTTP server.
    pub server: Server,
    /// The issuer whose tokens are accepted beside keys, if any.
    pub oidc: Option<Oidc>,
    /// Where things are kept.
    pub store: Store,
    /// What the commands that administer a server talk to.
    pub client: Client,
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
    /// The program that makes and destroys what lies in the cloud.
    pub terraform: Terraform,
    /// What an EC2 instance is made of.
    pub ec2: Ec2,
    /// How EC2 instances are reached.
    pub ssh: Ssh,
    /// Preparing new EC2 instances.
    pub bootstrap: Bootstrap,
    /// What an EKS cluster is made of.
    pub eks: Eks,
    /// The program that installs charts.
    pub helm: Helm,
    /// How applications are reached in cloud-hosted mode.
    pub ingress: Ingress,
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
        if wrong.is_empty() { Ok((settings, warnings)) } else { Err(ConfigError::Invalid(wrong)) }
    }

    fn from_values(values: &mut Values) -> Self {
        let server = Server::from_values(values);
        Self {
            oidc: Oidc::from_values(values, server.public_url.as_ref()),
            server,
            store: Store::from_values(values),
            client: Client::from_values(values),
            secret: Secret::from_values(values),
            logging: Logging::from_values(values),
            git: Git::from_values(values),
            docker: Docker::from_values(values),
            kind: Kind::from_values(values),
            kubernetes: Kubernetes::from_values(values),
            rollout: Rollout::from_values(values),
            engine: Engine::from_values(values),
            llm: Llm::from_values(values),
            aws: Aws::from_values(values),
            terraform: Terraform::from_values(values),
            ec2: Ec2::from_values(values),
            ssh: Ssh::from_values(values),
            bootstrap: Bootstrap::from_values(values),
            eks: Eks::from_values(values),
            helm: Helm::from_values(values),
            ingress: Ingress::from_values(values),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use secrecy::ExposeSecret;

    use super::*;
    use crate::config::value::{AllowedHost, Database, PortRange};

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

        let keys: Vec<&str> = settings.server.api_keys.iter().map(ExposeSecret::expose_secret).collect();
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
