//! Fetches the application once, the way a person would.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::LOCATION;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use url::Url;

use super::action::StepAction;
use super::apply_application::ApplyApplication;
use super::clone_repository::CloneRepository;
use super::context::StepContext;
use super::create_alias::CreateAlias;
use super::error::StepError;
use super::facts::facts;
use super::install_ingress::InstallIngress;
use super::pod_concerns::pod_concerns;
use super::socket_tables::socket_tables;
use super::wait_for_rollout::WaitForRollout;
use crate::config::value::KindNetwork;
use crate::diagnosis::refused_host::refused_host;
use crate::diagnosis::rollout;
use crate::id::{ClusterName, Mode};
use crate::store::record::{Concern, Deployment};

/// How long the first answer may take after the pods are ready.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long an ingress controller may take to serve an application whose pods are ready.
const CONTROLLER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a program whose process has ended once, and that does not speak HTTP, is watched for ending again: the kubelet
/// starts it after 10 s ("Pod Lifecycle", `CrashLoopBackOff`).
const REPEATED_END_TIMEOUT: Duration = Duration::from_secs(20);
/// Pause between two tries.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Fetches the application once, the way a person would.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VerifyApplication {
    /// The cluster.
    pub cluster: ClusterName,
    /// How many replicas should serve; nothing is fetched when it is 0.
    pub replicas: u16,
    /// The node port, when no earlier step tells it.
    pub node_port: Option<u16>,
}

/// How the application answers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Verified {
    /// Where a person reaches it.
    pub app_url: Option<String>,
    /// HTTP status of the answer; none when it does not speak HTTP or nothing runs.
    pub http_status: Option<u16>,
    /// What is not well although it runs.
    #[serde(default)]
    pub concerns: Vec<Concern>,
}

impl StepAction for VerifyApplication {
    const NAME: &'static str = "verify_application";
    type Output = Verified;

    fn title(&self) -> String {
        "Fetch the page once".to_owned()
    }

    fn summary(&self, output: &Verified) -> String {
        match (&output.app_url, output.http_status) {
            (Some(url), Some(status)) => format!("{url} answers with HTTP {status}"),
            (Some(url), None) => url.clone(),
            (None, _) => "nothing to fetch".to_owned(),
        }
    }

    fn had_nothing_to_do(&self, output: &Verified) -> bool {
        output.app_url.is_none()
    }

    fn record(&self, output: &Verified, deployment: &mut Deployment) {
        if output.app_url.is_some() {
            deployment.facts.app_url.clone_from(&output.app_url);
        }
        deployment.facts.http_status = output.http_status;
        deployment.facts.concerns.clone_from(&output.concerns);
    }

    async fn run(&self, cx: &StepContext) -> Result<Verified, StepError> {
        if cx.target.mode == Mode::CloudHosted {
            return self.verify_at_host(cx).await;
        }
        let applied = cx.try_output::<ApplyApplication>()?;
        let Some(node_port) = applied.and_then(|applied| applied.node_port).or(self.node_port) else {
            return Ok(Verified::default());
        };
        let address = self.address(cx, node_port).await?;
        if self.replicas == 0 {
            return Ok(Verified { app_url: Some(address.public_url), ..Verified::default() });
        }
        let options = FetchOptions { pod_status: self.pod_status(cx, &address.probe_url).await?, ..Default::default() };
        let mut answer = fetch(cx, &address.probe_url, &options).await?;
        if answer.is_none() && cx.try_output::<WaitForRollout>()?.is_some() {
            answer = self.outlive_first_end(cx, &address.probe_url, &options).await?;
        }
        self.verified(cx, address.public_url, answer).await
    }
}

/// Where a node port is reached.
struct ApplicationUrls {
    probe_url: String,
    public_url: String,
}

impl VerifyApplication {
    /// How the first page of a new pod answers; `None` when nothing was rolled out or the pod cannot be asked.
    async fn pod_status(&self, cx: &StepContext, url: &str) -> Result<Option<StatusCode>, StepError> {
        let rolled_out = cx.try_output::<WaitForRollout>()?;
        let version = cx.deployment.facts.version.as_ref();
        let applied = cx.try_output::<ApplyApplication>()?.map(|it| it.main_port);
        let Some(rolled_out) = rolled_out else { return Ok(None) };
        let port = rolled_out.seen_port.or(applied).or(version.map(|it| it.main_port));
        let (Some(pod), Some(port)) = (rolled_out.pods.into_iter().next(), port) else { return Ok(None) };
        let host = url.split_once("://").map_or(url, |(_, host)| host);
        Ok(cx.kube(&self.cluster).await?.fetch_from_pod(&cx.deployment.namespace, &pod, port, host).await)
    }

    /// Looks again at a program that opens its port and does not speak HTTP: one whose process ends again and again was never
    /// well, as a server that binds before it imports the application.
    async fn outlive_first_end(
        &self,
        cx: &StepContext,
        url: &str,
        options: &FetchOptions,
    ) -> Result<Option<Answer>, StepError> {
        let (name, namespace) = (&cx.deployment.name, &cx.deployment.namespace);
        let kube = cx.kube(&self.cluster).await?;
        let restarts = async || -> Result<i32, StepError> {
            let snapshot = kube.snapshot(name, namespace).await?;
            Ok(snapshot.map_or(0, |it| it.pods.keys().map(|pod| it.restarts(pod)).max().unwrap_or_default()))
        };
        let deadline = Instant::now() + REPEATED_END_TIMEOUT;
        loop {
            match restarts().await? {
                0 => return Ok(None),
                1 if Instant::now() > deadline => return fetch(cx, url, options).await,
                1 => tokio::select! {
                    () = tokio::time::sleep(Duration::from_secs(1)) => (),
                    () = cx.cancel.cancelled() => return Err(StepError::Cancelled),
                },
                _ => break,
            }
        }
        let applied = cx.try_output::<ApplyApplication>()?;
        let facts = Box::pin(facts(cx, applied.as_ref())).await;
        let (timeout, sockets) = (cx.settings.rollout.timeout, socket_tables(cx));
        let found = rollout::diagnose(&kube, name, namespace, timeout, &cx.redactor, &facts, sockets);
        Err(Box::pin(found).await?.into())
    }

    /// What the answer, and what the pods have done since they became ready, tell.
    async fn verified(&self, cx: &StepContext, url: String, answer: Option<Answer>) -> Result<Verified, StepError> {
        let http_status = answer.as_ref().map(|it| it.status.as_u16());
        let mut concerns = Vec::new();
        if let Some(answer) = &answer {
            if answer.status.is_server_error() {
                concerns.push(Concern::of(format!("its first page answers with HTTP {}", answer.status)));
            }
            if let Some(refusal) = answer.refusal {
                concerns.push(Concern::of(format!("its first page answers with HTTP {}: {refusal}", answer.status)));
            }
            if let Some(host) = &answer.leads_to {
                concerns.push(Concern::of(format!("its first page leads to another host, `{host}`")));
            }
        }
        concerns.extend(cx.try_output::<CloneRepository>()?.and_then(|it| it.concern()));
        if answer.is_none_or(|it| it.refusal.is_none()) {
            concerns.extend(pod_concerns(cx, &self.cluster).await);
        }
        Ok(Verified { app_url: Some(url), http_status, concerns })
    }

    /// An application on EKS has a name of its own, or the load balancer's.
    async fn verify_at_host(&self, cx: &StepContext) -> Result<Verified, StepError> {
        let facts = &cx.deployment.facts;
        let named = cx.try_output::<CreateAlias>()?.map(|it| it.host).or_else(|| facts.host.clone());
        let installed = cx.try_output::<InstallIngress>()?.map(|it| it.dns_name);
        let Some(balancer) = installed.or_else(|| facts.nlb_dns_name.clone()) else {
            return Ok(Verified { app_url: facts.app_url.clone(), ..Verified::default() });
        };
        let url = match &named {
            Some(host) => format!("https://{}", host.name),
            None => format!("http://{balancer}"),
        };
        if self.replicas == 0 {
            return Ok(Verified { app_url: Some(url), ..Verified::default() });
        }
        let mut options =
            FetchOptions { timeout: Some(cx.settings.ingress.load_balancer_timeout), ..FetchOptions::default() };
        if let Some(file) = &cx.settings.rollout.app_ca_file {
            let pem = tokio::fs::read(file).await.unwrap_or_default();
            options.authorities = reqwest::Certificate::from_pem_bundle(&pem).unwrap_or_default();
        }
        if let Some(host) = named
            && tokio::net::lookup_host((host.name.as_str(), 443)).await.is_err()
            && let Some(address) =
                tokio::net::lookup_host((balancer.as_str(), 443)).await.ok().and_then(|mut found| found.next())
        {
            cx.lines
                .warning(format!("The name `{}` is not known everywhere yet; that can take some minutes.", host.name));
            options.resolve_to = Some((host.name, address));
        }
        options.pod_status = self.pod_status(cx, &url).await?;
        let answer = fetch(cx, &url, &options).await?;
        self.verified(cx, url, answer).await
    }

    /// A port that the cluster maps is on this machine's loopback, or on the public address of another machine; any other
    /// only on the node's own address.
    async fn address(&self, cx: &StepContext, node_port: u16) -> Result<ApplicationUrls, StepError> {
        let host = cx.host().await?;
        let nodes = host.docker.nodes_of_cluster(self.cluster.as_str()).await?;
        let published = nodes.iter().flat_map(|node| &node.published).find(|it| it.node_port.number.get() == node_port);
        let node_address = nodes.iter().find_map(|node| node.address.clone());
        let on_node = node_address.map(|address| format!("http://{address}:{node_port}"));
        if let (Some(address), Some(port)) = (host.public_address(), published) {
            let at = std::net::SocketAddr::new(address, port.host_port);
            let url = format!("http://{at}");
            return Ok(ApplicationUrls { probe_url: url.clone(), public_url: url });
        }
        let public_url = match (published, &on_node) {
            (Some(port), _) => {
                let host = if port.host_address == "0.0.0.0" || port.host_address == "127.0.0.1" {
                    "localhost"
                } else {
                    &port.host_address
                };
                format!("http://{host}:{}", port.host_port)
            }
            (None, Some(on_node)) => {
                cx.lines.warning(format!(
                    "The cluster `{}` does not map node port {node_port} to this machine. Reach the application at {on_node} (from Linux), or at http://localhost:8080 with `kubectl --context kind-{} --namespace {} port-forward service/{} 8080:{}`.",
                    self.cluster,
                    self.cluster,
                    cx.deployment.namespace,
                    cx.deployment.name,
                    cx.try_output::<ApplyApplication>()?.map_or(80, |applied| applied.main_port.get()),
                ));
                on_node.clone()
            }
            (None, None) => {
                return Err(StepError::transient(
                    "cluster_broken",
                    format!("the cluster `{}` has no node with an address", self.cluster),
                    "Look at it with `docker ps` and `kubectl get nodes`",
                ));
            }
        };
        let probe_url = match (cx.settings.kind.network, published, on_node) {
            (KindNetwork::Kind, _, Some(on_node)) => on_node,
            (_, Some(port), _) => format!("http://127.0.0.1:{}", port.host_port),
            (_, None, _) => public_url.clone(),
        };
        Ok(ApplicationUrls { probe_url, public_url })
    }
}

/// How a page is fetched.
#[derive(Default)]
struct FetchOptions {
    /// How long what stands before the application may take to know it.
    timeout: Option<Duration>,
    /// How a pod itself answers.
    pod_status: Option<StatusCode>,
    /// Authorities that are trusted beside the known ones.
    authorities: Vec<reqwest::Certificate>,
    /// The address of a name that is not known here yet.
    resolve_to: Option<(String, SocketAddr)>,
}

/// What an ingress controller answers with for an application that it has not heard of, or not heard of as ready.
const CONTROLLER_STATUSES: [u16; 4] = [404, 502, 503, 504];

/// What came back.
struct Answer {
    status: StatusCode,
    /// The host of another address that it sends people to.
    leads_to: Option<String>,
    /// Why it refuses the host by which it was called.
    refusal: Option<&'static str>,
}

impl Answer {
    async fn read(mut answer: reqwest::Response) -> Self {
        let location = answer.headers().get(LOCATION).filter(|_| answer.status().is_redirection());
        let location = location.and_then(|it| it.to_str().ok());
        let leads_to = location.and_then(|it| other_host(answer.url(), it));
        let mut page = Vec::new();
        if matches!(answer.status(), StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN) {
            while page.len() < MAX_PAGE_BYTES
                && let Ok(Some(chunk)) = answer.chunk().await
            {
                page.extend_from_slice(&chunk);
            }
        }
        Self { status: answer.status(), leads_to, refusal: refused_host(&String::from_utf8_lossy(&page)) }
    }
}

/// Bytes of a page that are read to see why it refuses.
const MAX_PAGE_BYTES: usize = 64 * 1024;

/// The host that a `Location` leads to, when it is another one.
fn other_host(from: &Url, location: &str) -> Option<String> {
    let target = from.join(location).ok()?;
    // Both names of this machine lead to it.
    let plain = |url: &Url| url.host_str().map(|host| if host == "localhost" { "127.0.0.1" } else { host }.to_owned());
    plain(&target).filter(|host| Some(host) != plain(from).as_ref())
}

/// Any HTTP status counts as an answer. Something that does not speak HTTP is a warning: its port is open.
async fn fetch(cx: &StepContext, url: &str, options: &FetchOptions) -> Result<Option<Answer>, StepError> {
    let mut client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(RESPONSE_TIMEOUT)
        .no_proxy()
        .tls_certs_merge(options.authorities.clone());
    if let Some((name, address)) = &options.resolve_to {
        client = client.resolve(name, *address);
    }
    let client = client.build().map_err(|error| unreachable_page(url, None, &error))?;
    let start = Instant::now();
    let deadline = start + options.timeout.unwrap_or(RESPONSE_TIMEOUT);
    loop {
        cx.lines.progress(format!("fetching {url}"));
        let error = match client.get(url).send().await {
            Ok(answer) => {
                let status = answer.status();
                // Where the pod answers otherwise, 404 and 502 to 504 are taken for the controller's answer, within
                // CONTROLLER_TIMEOUT: later they are the application's own status.
                let is_early = options.timeout.is_some() && start.elapsed() < CONTROLLER_TIMEOUT;
                let is_strange = options.pod_status != Some(status);
                if is_early && is_strange && CONTROLLER_STATUSES.contains(&status.as_u16()) {
                    tokio::time::sleep(POLL_INTERVAL).await;
                    continue;
                }
                return Ok(Some(Answer::read(answer).await));
            }
            Err(error) => error,
        };
        if is_untrusted(&error) {
            cx.lines.warning(format!("The certificate of {url} is not trusted by this server; see `APP_CA_FILE`."));
            return Ok(None);
        }
        if error.is_request() && !error.is_connect() && !error.is_timeout() && Instant::now() >= deadline {
            cx.lines.warning(format!("The port is open, but what answers at {url} is not HTTP."));
            return Ok(None);
        }
        if Instant::now() >= deadline {
            return Err(unreachable_page(url, options.pod_status, &error));
        }
        tokio::select! {
            () = tokio::time::sleep(POLL_INTERVAL) => (),
            () = cx.cancel.cancelled() => return Err(StepError::Cancelled),
        }
    }
}

fn is_untrusted(error: &reqwest::Error) -> bool {
    use std::error::Error;
    let mut causes = std::iter::successors(error.source(), |&it| it.source());
    causes.any(|it| it.to_string().contains("invalid peer certificate"))
}

fn unreachable_page(url: &str, pod_status: Option<StatusCode>, error: &reqwest::Error) -> StepError {
    use std::error::Error;
    let cause = std::iter::successors(error.source(), |&it| it.source()).last().map(ToString::to_string);
    let cause = cause.unwrap_or_else(|| error.to_string());
    let (reason, next_step) = match pod_status {
        Some(status) => (
            format!("in its pod the application answers with HTTP {status}, but {url} does not: {cause}"),
            "Something stands between them: a firewall, a proxy, or kube-proxy on the cluster",
        ),
        None => (
            format!("the pods are ready, but {url} does not answer: {cause}"),
            "Does the application listen on 0.0.0.0 at the port that it exposes? Send `container_port` when it is another one",
        ),
    };
    StepError::permanent("application_unreachable", reason, next_step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_on_another_host_leads_elsewhere() {
        let from = Url::parse("http://127.0.0.1:30000/").unwrap();
        let leads_to = |location: &str| other_host(&from, location);

        assert_eq!(leads_to("/login?next=https://other.example"), None);
        assert_eq!(leads_to("http://localhost:30000/"), None);
        assert_eq!(leads_to("https://www.example.com/"), Some("www.example.com".to_owned()));
        assert_eq!(leads_to("//cdn.example.com/x"), Some("cdn.example.com".to_owned()));
        assert_eq!(leads_to("http://["), None);
    }
}
