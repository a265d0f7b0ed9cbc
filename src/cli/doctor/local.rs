//! What local mode needs: git, Docker, kind and free node ports.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, TcpListener};

use bollard::models::ContainerSummary;
use bollard::query_parameters::{ListContainersOptionsBuilder, ListImagesOptionsBuilder};
use bollard::{API_DEFAULT_VERSION, Docker};
use tokio::net::{TcpStream, UnixStream};

use super::finding::{Area, CHECK_TIMEOUT, Check, Verdict};
use super::probe;
use crate::config::Settings;
use crate::config::value::{DockerHost, FIRST_NODE_PORT, KindNetwork, LAST_NODE_PORT};

/// Older ones do not speak version 2 of the protocol, which fetches a single commit.
const OLDEST_GIT: (u32, u32) = (2, 18);
/// Older ones do not know the node images of today.
const OLDEST_KIND: (u32, u32) = (0, 20);

pub(super) fn checks(settings: &Settings) -> Vec<Check<'_>> {
    vec![
        (Area::Local, "git", Box::pin(git(settings))),
        (Area::Local, "docker", Box::pin(docker(settings))),
        (Area::Local, "kind", Box::pin(kind(settings))),
        (Area::Local, "node image", Box::pin(node_image(settings))),
        (Area::Local, "node ports", Box::pin(node_ports(settings))),
    ]
}

async fn git(settings: &Settings) -> Verdict {
    let remedy = "install git, or set `GIT_PROGRAM`";
    let version = probe::version(&settings.git.program, &["--version"], remedy).await;
    if let Some(file) = settings.git.ssl_cainfo.as_deref().filter(|it| !it.is_file()) {
        return Verdict::fail(format!("`{}` is not a file", file.display()), "correct `GIT_SSL_CAINFO`");
    }
    recent(version, OLDEST_GIT)
}

async fn kind(settings: &Settings) -> Verdict {
    let remedy = "install kind (https://kind.sigs.k8s.io), or set `KIND_PROGRAM`";
    recent(probe::version(&settings.kind.program, &["version"], remedy).await, OLDEST_KIND)
}

fn recent(version: Result<String, Verdict>, oldest: (u32, u32)) -> Verdict {
    match version {
        Ok(text) if probe::major_minor(&text).is_some_and(|it| it < oldest) => {
            Verdict::fail(text, format!("install {}.{} or newer", oldest.0, oldest.1))
        }
        Ok(text) => Verdict::ok(text),
        Err(verdict) => verdict,
    }
}

async fn docker(settings: &Settings) -> Verdict {
    let docker = match connect(&settings.docker.host).await {
        Ok(docker) => docker,
        Err(verdict) => return verdict,
    };
    match docker.version().await {
        Ok(it) => Verdict::ok(format!(
            "{} (API {}) on {}",
            it.version.unwrap_or_default(),
            it.api_version.unwrap_or_default(),
            settings.docker.host
        )),
        Err(error) => {
            Verdict::fail(format!("{} answers with an error ({error})", settings.docker.host), "see the daemon's log")
        }
    }
}

async fn node_image(settings: &Settings) -> Verdict {
    let Ok(docker) = connect(&settings.docker.host).await else { return Verdict::warn("unknown without Docker", "") };
    if let Some(image) = &settings.kind.node_image {
        return match docker.inspect_image(image.as_str()).await {
            Ok(_) => Verdict::ok(format!("`{image}` is here")),
            Err(_) => Verdict::warn(
                format!("`{image}` is not here"),
                format!("it is pulled at the first deploy; `docker pull {image}` does it now"),
            ),
        };
    }
    let filters = HashMap::from([("reference", vec!["kindest/node"])]);
    let options = ListImagesOptionsBuilder::default().filters(&filters).build();
    match docker.list_images(Some(options)).await {
        Ok(images) if !images.is_empty() => {
            Verdict::ok("a `kindest/node` is here; if kind's own choice is another, it is pulled at the first deploy")
        }
        Ok(_) | Err(_) => Verdict::warn(
            "no `kindest/node` is here",
            "kind pulls its own choice at the first deploy, or set `KIND_NODE_IMAGE`",
        ),
    }
}

async fn node_ports(settings: &Settings) -> Verdict {
    if settings.kind.network == KindNetwork::Kind {
        return Verdict::ok("not mapped: `KIND_NETWORK` is `kind`");
    }
    let range = settings.kind.node_port_range;
    let published = match connect(&settings.docker.host).await {
        Ok(docker) => Published::read(&docker, settings).await,
        Err(_) => Published::default(),
    };
    let Some(mapped) = published.by_cluster else {
        let taken: Vec<u16> = range.ports().filter(|it| is_taken(*it)).collect();
        let holders: BTreeSet<&str> =
            taken.iter().filter_map(|it| published.by_others.get(it)).map(String::as_str).collect();
        return match (taken.first(), holders.first()) {
            (None, _) => Verdict::ok(format!("{range} are free")),
            (Some(first), _) if !settings.kind.node_port_range_given => Verdict::ok(format!(
                "{} of {range} are taken, the first is {first}: a new cluster takes the next free ones",
                taken.len()
            )),
            (Some(first), Some(holder)) => Verdict::fail(
                format!("{} of {range} are taken, {first} and others by the container `{holder}`", taken.len()),
                "set `NODE_PORT_RANGE` to other ports, or set `KIND_CLUSTER_NAME` if that is the cluster to use",
            ),
            (Some(first), None) => Verdict::fail(
                format!("{} of {range} are taken, the first is {first}", taken.len()),
                "end what listens there, or set `NODE_PORT_RANGE` to other ports",
            ),
        };
    };
    if !settings.kind.node_port_range_given && mapped.iter().any(|it| (FIRST_NODE_PORT..=LAST_NODE_PORT).contains(it)) {
        return Verdict::ok(format!("those that the cluster `{}` maps", settings.kind.cluster_name));
    }
    let missing = range.ports().filter(|it| !mapped.contains(it)).count();
    let name = &settings.kind.cluster_name;
    match missing {
        0 => Verdict::ok(format!("{range} are mapped by the cluster `{name}`")),
        some => Verdict::warn(
            format!("the cluster `{name}` does not map {some} of {range}"),
            format!("`kind delete cluster --name {name}` lets the next deploy create it with them"),
        ),
    }
}

/// The host ports that containers publish.
#[derive(Default)]
struct Published {
    /// Those of the cluster's nodes; `None` when there is no such cluster.
    by_cluster: Option<BTreeSet<u16>>,
    /// Those of other containers, with the container's name.
    by_others: HashMap<u16, String>,
}

impl Published {
    async fn read(docker: &Docker, settings: &Settings) -> Self {
        let options = ListContainersOptionsBuilder::default().all(true).build();
        let containers: Vec<ContainerSummary> = docker.list_containers(Some(options)).await.unwrap_or_default();
        let mut published = Self::default();
        for container in containers {
            let cluster = container.labels.as_ref().and_then(|it| it.get("io.x-k8s.kind.cluster"));
            let ports = container.ports.iter().flatten().filter_map(|it| it.public_port);
            if cluster.is_some_and(|it| it == settings.kind.cluster_name.as_str()) {
                published.by_cluster.get_or_insert_default().extend(ports);
            } else {
                let name = container.names.iter().flatten().next().map(|it| it.trim_start_matches('/'));
                published.by_others.extend(ports.map(|port| (port, name.unwrap_or("unnamed").to_owned())));
            }
        }
        published
    }
}

fn is_taken(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

async fn connect(host: &DockerHost) -> Result<Docker, Verdict> {
    let unreachable =
        |error: &dyn fmt::Display, advice: &str| Verdict::fail(format!("{host} cannot be reached ({error})"), advice);
    if let DockerHost::Unix(path) = host {
        UnixStream::connect(path).await.map_err(|error| {
            let (error, advice): (&dyn fmt::Display, _) = if error.kind() == io::ErrorKind::PermissionDenied {
                (&"permission denied", "run `sudo usermod -aG docker $USER` and log in again; in a container add `--group-add` with the socket's group")
            } else if error.kind() == io::ErrorKind::NotFound {
                (&"no such socket", "install and start Docker, or set `DOCKER_HOST`")
            } else {
                (&error, "start Docker (`systemctl start docker`), or set `DOCKER_HOST`")
            };
            unreachable(error, advice)
        })?;
    }
    let seconds = CHECK_TIMEOUT.as_secs();
    let docker = match host {
        DockerHost::Unix(path) => Docker::connect_with_unix(&path.to_string_lossy(), seconds, API_DEFAULT_VERSION),
        DockerHost::Tcp(address) => Docker::connect_with_http(address, seconds, API_DEFAULT_VERSION),
    };
    let advice = "check `DOCKER_HOST`, and that the daemon runs";
    if let DockerHost::Tcp(address) = host {
        TcpStream::connect(address.as_str()).await.map_err(|error| unreachable(&error, advice))?;
    }
    let docker = docker.map_err(|error| unreachable(&error, advice))?;
    docker.negotiate_version().await.map_err(|error| unreachable(&error, advice))
}
