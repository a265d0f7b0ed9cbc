//! The one list of all settings, in the order in which `.env.example` documents them.
//!
//! It feeds the defaults, the check of names, the messages about wrong values, `doctor` and `--help`.

/// What is known about one setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its name, in the files and in the environment.
    pub name: &'static str,
    /// The default as one would write it; empty when there is none.
    pub default: &'static str,
    /// What it is for, as a sentence.
    pub about: &'static str,
    /// What is allowed, as the end of the sentence "it must be ...".
    pub allowed: &'static str,
    /// Whether the value is never shown.
    pub secret: bool,
}

impl Setting {
    const fn new(name: &'static str, default: &'static str, allowed: &'static str, about: &'static str) -> Self {
        Self { name, default, about, allowed, secret: false }
    }

    const fn secret(name: &'static str, allowed: &'static str, about: &'static str) -> Self {
        Self { name, default: "", about, allowed, secret: true }
    }
}

const SECONDS: &str = "a number of seconds from 1 to 86400";
const BYTES: &str = "a number of bytes from 1024, or with a unit such as `512MiB` or `1GiB`";
const QUANTITY: &str = "a Kubernetes quantity above 0 such as `100m`, `0.5`, `128Mi` or `1Gi`";
const TRUE_OR_FALSE: &str = "`true` or `false`";
const NODES: &str = "a number from 1 to 100";
const FILE: &str = "the path of a file";
const PROGRAM: &str = "the name or path of a program";
const TEXT: &str = "text without spaces";
const SECRET: &str = "text without control characters";

/// All settings.
pub const SETTINGS: &[Setting] = &[
    // The HTTP server.
    Setting::new(
        "HOST",
        "127.0.0.1",
        "an IP address of this machine, such as `127.0.0.1` or `0.0.0.0`",
        "The address that the server listens on. On any other than a loopback address `API_KEYS` are needed; without, one is made at the first start and kept in the workspace.",
    ),
    Setting::new(
        "PORT",
        "8000",
        "a port number from 0 (any free one) to 65535",
        "The port that the server listens on.",
    ),
    Setting::secret(
        "API_KEYS",
        "a comma-separated list of keys of 16 to 512 visible ASCII characters",
        "The keys that callers send as `Authorization: Bearer <key>`. Empty on a loopback address: no key is asked for.",
    ),
    Setting::new(
        "RATE_LIMIT_PER_MINUTE",
        "100",
        "a number of requests from 0 (no limit) to 1000000",
        "How many requests one key or address may send in a minute.",
    ),
    Setting::new(
        "CORS_ALLOWED_ORIGINS",
        "",
        "`*`, or a comma-separated list of origins such as `https://chat.example.com`",
        "The web pages, by origin, whose scripts may call this server.",
    ),
    Setting::new(
        "PUBLIC_URL",
        "",
        "an address such as `https://deploy.example.com`, without a query",
        "The address by which clients reach this server. `OIDC_ISSUER` needs it; the metadata for MCP clients is made of it.",
    ),
    Setting::new(
        "ALLOWED_HOSTS",
        "",
        "a comma-separated list of `host` or `host:port`",
        "The names under which callers may ask this server, beside loopback names and the one of `PUBLIC_URL`. Empty: any, once there is a key or an issuer.",
    ),
    Setting::new(
        "ALLOWED_ORIGINS",
        "",
        "a comma-separated list of origins such as `https://chat.example.com`",
        "The web pages, by origin, that may ask `/mcp`, beside those on this machine, of `PUBLIC_URL` and of `CORS_ALLOWED_ORIGINS`.",
    ),
    Setting::new(
        "MAX_OPEN_STREAMS",
        "10000",
        "a number from 1 to 4294967295",
        "How many streaming answers may be open at once.",
    ),
    Setting::new("CONSOLE", "true", TRUE_OR_FALSE, "Whether a browser gets the console, at `/`."),
    Setting::new("MAX_BODY_BYTES", "1MiB", BYTES, "The largest request body."),
    Setting::new(
        "ANSWER_WITHIN_S",
        "240",
        SECONDS,
        "When a request that does not stream is answered at the latest; the operation goes on. SDKs give up at 600.",
    ),
    Setting::new(
        "SHUTDOWN_GRACE_S",
        "20",
        SECONDS,
        "How long running steps may take to reach a safe point after SIGTERM. The next start carries on.",
    ),
    // Tokens of an issuer.
    Setting::new(
        "OIDC_ISSUER",
        "",
        "an https address such as `https://login.example.com/realms/team` (http on a loopback host), exactly as the issuer writes it",
        "The OpenID Connect issuer whose tokens are accepted beside keys. Empty: none.",
    ),
    Setting::new(
        "OIDC_AUDIENCE",
        "",
        "a comma-separated list of texts without spaces",
        "Whom a token must be meant for (`aud`); one of them is enough. Empty: `PUBLIC_URL` followed by `/mcp`.",
    ),
    Setting::new(
        "OIDC_ROLE_CLAIM",
        "roles",
        "the name of a claim such as `roles`, or a path such as `realm_access.roles`",
        "The claim that holds `viewer`, `deployer` or `admin`; the highest counts, and a token without any is refused.",
    ),
    Setting::new(
        "OIDC_CLIENT_ID",
        "",
        TEXT,
        "The client as which the console signs people in at `OIDC_ISSUER`; its redirect URI is `PUBLIC_URL` followed by `/sign-in/callback`. Empty: people sign in with keys alone.",
    ),
    Setting::secret("OIDC_CLIENT_SECRET", SECRET, "The secret of that client. Empty: a public client, which has none."),
    // Where things are kept.
    Setting::new(
        "PERSISTENT_WORKSPACE_BASE_DIR",
        "./app_workspaces",
        "the path of a directory",
        "The directory for the store, clones, kubeconfigs and Terraform states. It holds all that must survive.",
    ),
    Setting::secret(
        "DATABASE_URL",
        "`sqlite:<path>` or `postgres://user:password@host/database`",
        "The store. Without, the file `store.sqlite` in the workspace.",
    ),
    Setting::secret(
        "ENCRYPTION_KEY",
        "32 bytes in base64 (44 characters) or hexadecimal (64 characters), such as `openssl rand -base64 32` prints",
        "The key that seals credentials at rest. Without, the file `encryption.key` in the workspace, made at the first start.",
    ),
    Setting::new(
        "STUCK_SECRETS_DAYS",
        "7",
        "a number of days from 0 (erased at once) to 365",
        "How long a stuck operation keeps its sealed credentials, so that `resume` can take back what it made. A day before they are erased it says so.",
    ),
    Setting::new(
        "AUDIT_RETENTION_DAYS",
        "365",
        "a number of days from 1 to 36500",
        "How long the record of who did what is kept.",
    ),
    Setting::new(
        "RESPONSES_DAYS",
        "30",
        "a number of days from 1 to 36500",
        "How long stored responses and chat completions (`store`) are kept.",
    ),
    // What the commands `audit`, `key` and `mcp` talk to.
    Setting::new(
        "ON_DEMAND_INFRA_URL",
        "",
        "an address such as `http://127.0.0.1:8000` or `https://deploy.example.com`",
        "The server that the commands `audit`, `key` and `mcp` talk to. Empty: the one of `PORT` on this machine, and its store when none runs.",
    ),
    Setting::secret(
        "ON_DEMAND_INFRA_API_KEY",
        "a key or a token of 16 to 8192 visible ASCII characters",
        "The administrator's key, or the token of an issuer, that these commands send. Empty: the first of `API_KEYS`.",
    ),
    Setting::new(
        "LOG_LEVEL",
        "",
        "`trace`, `debug`, `info`, `warn`, `error` or `off`",
        "The root level of the log; overrides the one of `log_config.toml`.",
    ),
    // Clones of repositories.
    Setting::new("GIT_PROGRAM", "git", PROGRAM, "The git program."),
    Setting::new(
        "GIT_ALLOWED_HOSTS",
        "github.com,gitlab.com,bitbucket.org",
        "a comma-separated list of `host`, `host:port` or `file:///path/`",
        "Where repositories may come from; with an absolute `file:///` prefix also from this machine.",
    ),
    Setting::new("GIT_SSL_CAINFO", "", FILE, "A file with certificate authorities that git trusts, in PEM."),
    Setting::new("CLONE_TIMEOUT_S", "300", SECONDS, "How long a clone may take."),
    Setting::new("CLONE_MAX_BYTES", "1GiB", BYTES, "How large a clone may become."),
    // Builds.
    Setting::new(
        "DOCKER_HOST",
        "unix:///var/run/docker.sock",
        "`unix:///path/of/socket` or `tcp://host:port`",
        "The Docker daemon that builds and that holds the local cluster.",
    ),
    Setting::new("BUILD_TIMEOUT_S", "1800", SECONDS, "How long a build may take."),
    Setting::new("MAX_CONCURRENT_BUILDS", "2", "a number from 1 to 65535", "How many builds may run at once."),
    Setting::new(
        "BUILD_CONTEXT_MAX_BYTES",
        "512MiB",
        BYTES,
        "How large a build context may be, after `.dockerignore`.",
    ),
    Setting::new(
        "BUILDER",
        "auto",
        "`auto`, `templates`, `buildpacks` or `railpack`",
        "Who builds a repository without a Dockerfile. `auto` writes a Dockerfile for the languages that it knows, and leaves the others to Cloud Native Buildpacks or Railpack, whichever is installed; the last two build everything without a Dockerfile.",
    ),
    Setting::new("PACK_PROGRAM", "pack", PROGRAM, "The program of Cloud Native Buildpacks."),
    Setting::new(
        "BUILDPACKS_BUILDER",
        "paketobuildpacks/builder-jammy-full",
        "an image reference such as `paketobuildpacks/builder-jammy-full`",
        "The builder image of Cloud Native Buildpacks.",
    ),
    Setting::new(
        "RAILPACK_PROGRAM",
        "railpack",
        PROGRAM,
        "The program of Railpack; it finds its BuildKit by `BUILDKIT_HOST`.",
    ),
    Setting::new(
        "BUILD_CONTEXT_GIT",
        "false",
        TRUE_OR_FALSE,
        "Whether a build context holds the folder `.git` of the clone, for a RUN that asks git: the history is one commit. Every build then copies anew what it copies with `.`.",
    ),
    // Local clusters.
    Setting::new("KIND_PROGRAM", "kind", PROGRAM, "The kind program."),
    Setting::new(
        "KIND_CLUSTER_NAME",
        "on-demand-infra",
        crate::id::ClusterName::RULE,
        "The local cluster. It is created when it is not there.",
    ),
    Setting::new(
        "KIND_NODE_IMAGE",
        "",
        "an image reference such as `kindest/node:v1.34.4`",
        "The node image of a cluster that is created. Without, kind's own choice.",
    ),
    Setting::new(
        "KIND_NETWORK",
        "host",
        "`host` or `kind`",
        "From where the cluster is reached: `host` is this machine's loopback; `kind` is for a server that itself runs in a container on the Docker network `kind`.",
    ),
    Setting::new(
        "NODE_PORT_RANGE",
        "30000-30015",
        "a range within 30000-32767 of at most 256 ports, such as `30000-30015`",
        "The ports on which local applications can be reached. Each costs a little when the cluster is created. When this is not set, a new cluster whose ports are held by another one or by a program takes other ports.",
    ),
    Setting::new("CLUSTER_TIMEOUT_S", "300", SECONDS, "How long the creation of a local cluster may take."),
    Setting::new(
        "DELETE_EMPTY_LOCAL_CLUSTER",
        "false",
        TRUE_OR_FALSE,
        "Whether decommission of the last application also deletes the local cluster, if this server made it.",
    ),
    // What is applied to a cluster.
    Setting::new(
        "DEFAULT_NAMESPACE",
        "default",
        crate::id::Namespace::RULE,
        "The namespace of a request that names none.",
    ),
    Setting::new(
        "DEFAULT_CONTAINER_PORT",
        "8080",
        "a port number from 1 to 65535",
        "The port of an application that neither the request nor its image names.",
    ),
    Setting::new("MAX_REPLICAS", "50", "a number from 1 to 10000", "How many replicas a request may ask for."),
    Setting::new("CPU_REQUEST", "100m", QUANTITY, "The share of a processor that a container is promised."),
    Setting::new("MEMORY_REQUEST", "128Mi", QUANTITY, "The memory that a container is promised."),
    Setting::new("CPU_LIMIT", "500m", QUANTITY, "The share of a processor that a container may use."),
    Setting::new("MEMORY_LIMIT", "512Mi", QUANTITY, "The memory that a container may use."),
    // How an application is waited for.
    Setting::new(
        "ROLLOUT_TIMEOUT_S",
        "180",
        SECONDS,
        "How long an application may take to become ready. Definite causes fail at once.",
    ),
    Setting::new(
        "STOP_PAUSE_S",
        "10",
        "a number of seconds from 0 to 300",
        "How long a pod that is replaced still serves, so that no request is lost while the cluster learns that it goes.",
    ),
    Setting::new(
        "STOP_GRACE_S",
        "10",
        "a number of seconds from 1 to 3600",
        "How long an application may take to end after SIGTERM, unless its request says `stop_grace_s`.",
    ),
    Setting::new(
        "APP_CA_FILE",
        "",
        FILE,
        "A file with certificate authorities, in PEM, that the check of an https application trusts too.",
    ),
    Setting::new(
        "KEEP_VERSIONS",
        "10",
        "a number from 1 to 100",
        "How many versions of a deployment are kept to go back to. Images and environments of older ones are removed.",
    ),
    // How operations run.
    Setting::new(
        "RETRY_ATTEMPTS",
        "5",
        "a number from 0 to 100",
        "How often a step that failed for a passing reason is tried again.",
    ),
    Setting::new(
        "RETRY_BASE_MS",
        "500",
        "a number of milliseconds from 1 to 60000",
        "The pause before the first retry; each later one is twice as long.",
    ),
    Setting::new(
        "AWS_SETTLE_TIMEOUT_S",
        "600",
        SECONDS,
        "How long a step waits for what AWS settles by itself: network interfaces that linger, a cluster that is being made or changed, a new role.",
    ),
    // The chat model.
    Setting::secret(
        "AZURE_OPENAI_API_KEY",
        SECRET,
        "The key of the Azure OpenAI resource. The chat model is optional.",
    ),
    Setting::new(
        "AZURE_OPENAI_ENDPOINT",
        "",
        "an address such as `https://<resource>.openai.azure.com`",
        "The address of the Azure OpenAI resource.",
    ),
    Setting::new(
        "AZURE_OPENAI_API_VERSION",
        "",
        TEXT,
        "The API version, such as `2024-10-21`, which holds without one. With `v1`, or an endpoint that ends in `/openai/v1`, the path without versions is used.",
    ),
    Setting::new("AZURE_OPENAI_DEPLOYMENT", "", TEXT, "The name of the chat model's deployment."),
    Setting::new(
        "AZURE_EMBEDDING_DEPLOYMENT",
        "",
        TEXT,
        "The name of the embedding model's deployment, for `POST /v1/embeddings`.",
    ),
    Setting::new(
        "AZURE_EMBEDDING_API_VERSION",
        "",
        TEXT,
        "The API version of the embedding model. Without, `AZURE_OPENAI_API_VERSION` holds for it too.",
    ),
    Setting::new(
        "LLM_BASE_URL",
        "",
        "an address such as `http://127.0.0.1:11434/v1`",
        "Any other endpoint that speaks OpenAI's API, up to `/chat/completions`; it is used instead of Azure OpenAI for the models that are named at it.",
    ),
    Setting::secret("LLM_API_KEY", SECRET, "The key of the endpoint at `LLM_BASE_URL`, if it asks for one."),
    Setting::new("LLM_MODEL", "", TEXT, "The name of the chat model at `LLM_BASE_URL`."),
    Setting::new(
        "LLM_EMBEDDING_MODEL",
        "",
        TEXT,
        "The name of the embedding model at `LLM_BASE_URL`, for `POST /v1/embeddings`.",
    ),
    Setting::new(
        "LLM_TIMEOUT_S",
        "120",
        SECONDS,
        "How long a model may be silent. An answer in a chat then goes on without it.",
    ),
    // The cloud modes.
    Setting::secret("AWS_ACCESS_KEY_ID", SECRET, "The access key for requests that bring none of their own."),
    Setting::secret("AWS_SECRET_ACCESS_KEY", SECRET, "The secret that belongs to `AWS_ACCESS_KEY_ID`."),
    Setting::secret("AWS_SESSION_TOKEN", SECRET, "The session token, for temporary credentials."),
    Setting::new("AWS_REGION", "", crate::id::Region::RULE, "The region for requests that name none."),
    Setting::new(
        "AWS_DEFAULT_CREDENTIALS",
        "false",
        TRUE_OR_FALSE,
        "Whether a request without credentials may use what AWS' own tools would find here (profile, SSO, role of the machine).",
    ),
    Setting::new("TERRAFORM_PROGRAM", "terraform", PROGRAM, "The terraform program; `tofu` works too."),
    Setting::new("TERRAFORM_TIMEOUT_S", "1800", SECONDS, "How long one call of terraform may take."),
    Setting::new(
        "EC2_INSTANCE_TYPE",
        "t3.medium",
        "an instance type such as `t3.medium`",
        "The type of an EC2 instance that is made. A cluster and an application need 4 GiB of memory.",
    ),
    Setting::new(
        "EC2_AMI_ID",
        "",
        "the id of a machine image such as `ami-0a1b2c3d4e5f60718`",
        "The machine image. Without, the newest of `EC2_AMI_OWNER` and `EC2_AMI_NAME`.",
    ),
    Setting::new(
        "EC2_AMI_OWNER",
        "amazon",
        "`amazon`, `self`, `aws-marketplace` or an account of 12 digits (Ubuntu: `099720109477`, Debian: `136693071363`)",
        "Who made the machine image.",
    ),
    Setting::new(
        "EC2_AMI_NAME",
        "al2023-ami-2023.*",
        "a name of an image, with `*` for any text",
        "The name of the machine image: Amazon Linux 2023, Ubuntu or Debian. The architecture follows the instance type.",
    ),
    Setting::new(
        "EC2_SSH_USER",
        "",
        "a login name such as `ec2-user`",
        "Who logs in. Without, the one that the image's maker chose.",
    ),
    Setting::new(
        "EC2_VOLUME_GIB",
        "30",
        "a number from 8 to 16384",
        "The size of an instance's encrypted volume in GiB.",
    ),
    Setting::new(
        "EC2_SUBNET_ID",
        "",
        "the id of a subnet such as `subnet-0a1b2c3d4e5f60718`",
        "The public subnet for instances. Without, one of the default VPC.",
    ),
    Setting::new(
        "SSH_ALLOWED_CIDR",
        "",
        "a range of IPv4 addresses such as `203.0.113.7/32`",
        "From where instances accept ssh; this server must be in it. Without, the address that `PUBLIC_IP_URL` tells.",
    ),
    Setting::new(
        "PUBLIC_IP_URL",
        "https://checkip.amazonaws.com",
        "an http or https address",
        "Where this server asks under which address it is seen.",
    ),
    Setting::new(
        "EC2_PRIVATE_KEY_BASE_PATH",
        "",
        "the path of a directory",
        "The directory with the private keys of EC2 key pairs, each as `<key name>` or `<key name>.pem`.",
    ),
    Setting::new("SSH_PROGRAM", "ssh", PROGRAM, "OpenSSH's client, by which EC2 instances are reached."),
    Setting::new("SSH_TIMEOUT_S", "300", SECONDS, "How long a new instance may take until it answers by ssh."),
    Setting::secret(
        "BOOTSTRAP_PROXY",
        "an address such as `http://proxy.example.com:3128`",
        "The proxy through which a new instance downloads and its Docker pulls.",
    ),
    Setting::new(
        "BOOTSTRAP_PACKAGE_MIRROR",
        "",
        "an address such as `https://mirror.example.com/ubuntu`",
        "The repository of packages that a new instance uses instead of its distribution's.",
    ),
    Setting::new(
        "BOOTSTRAP_DOWNLOAD_MIRROR",
        "",
        "an address such as `https://mirror.example.com`, below which files lie by host and path",
        "Where a new instance downloads kind, kubectl and BuildKit's plugin, instead of github.com and dl.k8s.io.",
    ),
    Setting::new(
        "BOOTSTRAP_REGISTRY_MIRROR",
        "",
        "an address such as `https://mirror.example.com`",
        "The registry from which the Docker of a new instance pulls what would come from Docker Hub.",
    ),
    Setting::new(
        "EKS_VERSION",
        "",
        "a Kubernetes version such as `1.35`",
        "The Kubernetes version of new EKS clusters; without it, AWS' default, which is in standard support.",
    ),
    Setting::new(
        "EKS_ADMIN_ARNS",
        "",
        "a comma-separated list of ARNs of IAM users and roles such as `arn:aws:iam::111122223333:role/deployers`",
        "Who administers new EKS clusters beside whoever makes them: others of the account are not let in.",
    ),
    Setting::new(
        "EKS_NODE_INSTANCE_TYPE",
        "t3.medium",
        "a type such as `t3.medium`",
        "The type of the nodes of new EKS clusters.",
    ),
    Setting::new("EKS_NODE_VOLUME_GIB", "20", "a number from 20 to 16384", "The size of a node's volume in GiB."),
    Setting::new("EKS_NODES_MIN", "1", NODES, "The fewest nodes of a new EKS cluster."),
    Setting::new("EKS_NODES", "2", NODES, "The nodes that a new EKS cluster begins with."),
    Setting::new("EKS_NODES_MAX", "4", NODES, "The most nodes of a new EKS cluster."),
    Setting::new(
        "EKS_GROW_NODES",
        "true",
        TRUE_OR_FALSE,
        "Whether a cluster that was made here gets another node, up to `EKS_NODES_MAX`, when pods do not fit.",
    ),
    Setting::new("EKS_ZONES", "2", "2 or 3", "The availability zones that a new EKS cluster lies in."),
    Setting::new(
        "EKS_NAT",
        "one",
        "`none`, `one` or `per-zone`",
        "The NAT gateways of a new EKS cluster: with `none` its nodes have public addresses.",
    ),
    Setting::new(
        "EKS_VPC_CIDR",
        "10.0.0.0/16",
        "a range of IPv4 addresses of length 16 to 20 such as `10.0.0.0/16`",
        "The addresses of the network of a new EKS cluster.",
    ),
    Setting::new(
        "EKS_PUBLIC_ACCESS_CIDRS",
        "0.0.0.0/0",
        "a comma-separated list of ranges of IPv4 addresses such as `203.0.113.7/32`",
        "From where the API of a new EKS cluster is reached; this server must be in it.",
    ),
    Setting::new(
        "EKS_LOGS",
        "api,audit,authenticator",
        "a comma-separated list of `api`, `audit`, `authenticator`, `controllerManager` and `scheduler`",
        "The logs of the control plane that a new EKS cluster sends to CloudWatch.",
    ),
    Setting::new(
        "EKS_ENCRYPT_SECRETS",
        "false",
        TRUE_OR_FALSE,
        "Whether a new EKS cluster encrypts its Secrets with a KMS key of its own.",
    ),
    Setting::new("HELM_PROGRAM", "helm", PROGRAM, "Helm, which installs the ingress controller on EKS clusters."),
    Setting::new(
        "HELM_TIMEOUT_S",
        "600",
        "a number of seconds from 1 to 840",
        "How long one run of Helm may take; a token of EKS holds for 15 minutes.",
    ),
    Setting::new(
        "INGRESS_CHART",
        "oci://ghcr.io/nginx/charts/nginx-ingress",
        "an OCI reference, a path, or the name of a chart in `INGRESS_CHART_REPOSITORY`",
        "The chart of the NGINX ingress controller.",
    ),
    Setting::new(
        "INGRESS_CHART_VERSION",
        "2.6.4",
        "a version such as `2.6.4`",
        "The version of the ingress controller's chart; a chart that is a path has its own.",
    ),
    Setting::new(
        "INGRESS_CHART_REPOSITORY",
        "",
        "an http or https address",
        "The repository of the ingress controller's chart, when `INGRESS_CHART` is a name.",
    ),
    Setting::new(
        "INGRESS_VALUES",
        "",
        FILE,
        "A file of Helm values for the ingress controller, which win over those of this server.",
    ),
    Setting::new("LOAD_BALANCER_TIMEOUT_S", "600", SECONDS, "How long a load balancer may take to come up, or to go."),
    Setting::new(
        "CERTIFICATE_TIMEOUT_S",
        "86400",
        SECONDS,
        "How long a certificate may take to be validated before the operation is taken back.",
    ),
    Setting::new(
        "CERTIFICATE_PATIENCE_S",
        "120",
        SECONDS,
        "After how long an operation says what its certificate lacks, and waits for a person.",
    ),
    Setting::new(
        "DEFAULT_DOMAIN_NAME_FOR_APPS",
        "",
        "a domain name such as `apps.example.com`",
        "The domain below which applications in cloud-hosted mode get their names.",
    ),
];

/// The setting of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|it| it.name == name)
}

/// The setting that was probably meant by a name that is none.
#[must_use]
pub fn nearest(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_uppercase().replace('-', "_");
    SETTINGS
        .iter()
        .map(|it| (strsim::damerau_levenshtein(it.name, &name), it.name))
        .filter(|(distance, it)| *distance <= it.len().min(12) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, it)| it)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::config::{Settings, Sources};

    #[test]
    fn every_setting_has_a_place_and_every_default_keeps_its_own_rule() {
        let sources = Sources::of(Path::new("/srv"), SETTINGS.iter().map(|it| (it.name, it.default)));

        Settings::load(&sources).unwrap();
    }

    #[test]
    fn the_example_documents_every_setting_and_starts_unchanged() {
        let example = include_str!("../../.env.example");
        let mut sources = Sources::of(Path::new("/srv"), []);
        sources.dotenv = Some(example.to_owned());

        let missing: Vec<String> =
            SETTINGS.iter().map(example_of).filter(|it| !example.contains(it.as_str())).collect();
        let (_, warnings) = Settings::load(&sources).unwrap();

        assert!(missing.is_empty(), "put this into `.env.example`:\n{}", missing.join("\n"));
        assert_eq!(warnings, []);
    }

    fn example_of(setting: &Setting) -> String {
        let default =
            if setting.default.is_empty() { String::new() } else { format!("# Default: {}\n", setting.default) };
        format!("# {}\n# Allowed: {}.\n{default}{}=\n", setting.about, setting.allowed, setting.name)
    }

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<&str> = SETTINGS.iter().map(|it| it.name).collect();

        assert_eq!(names.len(), SETTINGS.len());
    }

    #[test]
    fn a_near_miss_finds_its_setting_and_a_stranger_finds_none() {
        assert_eq!(nearest("kind_cluster_name"), Some("KIND_CLUSTER_NAME"));
        assert_eq!(nearest("AZURE_OPENAI_DEPLOYMNT"), Some("AZURE_OPENAI_DEPLOYMENT"));
        assert_eq!(nearest("PROT"), Some("PORT"));
        assert_eq!(nearest("PATH"), None);
        assert_eq!(nearest("COMPOSE_PROJECT_NAME"), None);
    }
}
