//! EKS clusters: real Terraform with AWS' own provider against the local account, whose EKS is a real cluster with EKS'
//! check of tokens, whose ECR is a real registry and whose load balancers carry traffic.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::account::{Account, calls, credentials, nothing_is_left, order, relent, secrets};
use crate::answer::Answer;
use crate::bed::{Repository, must, variable};
use crate::environment::files_with;
use crate::processes::Watch;
use crate::server::{Server, free_node_ports};

/// The account, empty but for a hosted zone, and a server that has no credentials of its own.
struct World {
    server: Server,
    zone: String,
    _account: Account,
}

impl World {
    async fn start(name: &str, settings: &[(&str, &str)]) -> Self {
        let account = Account::empty().await;
        let (chart, authority) = (chart(), variable("RIG_AWS_CA", "aws"));
        let mut all = vec![
            ("AWS_ACCESS_KEY_ID", ""),
            ("AWS_SECRET_ACCESS_KEY", ""),
            ("INGRESS_CHART", chart.as_str()),
            ("APP_CA_FILE", authority.as_str()),
            ("RETRY_BASE_MS", "50"),
        ];
        all.extend(settings);
        let server = Server::start_with(name, &free_node_ports(2), &all).await;
        Self { server, zone: zone().await, _account: account }
    }

    /// A request on the cluster of this name.
    fn request(&self, action: &str, cluster: &str, name: &str) -> Value {
        json!({
            "action": action, "deployment_mode": "cloud-hosted", "instance_id": cluster, "instance_name": name,
            "target_namespace": "demo", "aws_credentials": credentials(),
        })
    }

    fn deploy(&self, repository: &Repository, cluster: &str, name: &str) -> Value {
        let mut fields = self.request("deploy", cluster, name);
        fields["github_repo_url"] = json!(repository.url());
        fields
    }

    /// With a host name of its own.
    fn named(&self, mut fields: Value, label: &str) -> Value {
        fields["base_hosted_zone_id"] = json!(self.zone);
        fields["app_subdomain_label"] = json!(label);
        fields
    }

    async fn ask(&self, fields: Value) -> Answer {
        self.server.ask(fields).await
    }

    /// No secret in answers, operations, log, processes or files.
    async fn shows_no_secret(&self, watch: &Watch, answers: &[&Answer]) {
        let operations = self.server.get("/v1/operations?limit=100").await.to_string();
        for secret in secrets() {
            assert!(answers.iter().all(|it| !it.text.contains(&secret)), "an answer shows it");
            assert!(!operations.contains(&secret) && !self.server.log().contains(&secret));
            for arguments in watch.arguments() {
                assert!(!arguments.contains(&secret), "a process shows it: {arguments}");
            }
            assert_eq!(files_with(&self.server.workspace(), &secret), [""; 0], "files of the workspace hold it");
        }
    }
}

/// The chart of the ingress controller that the test bed holds.
fn chart() -> String {
    let found = must("sh", &["-c", "ls ${RIG_CACHE:-$HOME/.cache/on-demand-rig}/charts/nginx-ingress-*.tgz"]);
    found.lines().next().expect("`tests/rig/up aws` makes it").to_owned()
}

/// A public hosted zone.
async fn zone() -> String {
    let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    let route53 = aws_sdk_route53::Client::new(&config);
    let made = route53.create_hosted_zone().name("apps.example.test").caller_reference("real").send().await.unwrap();
    made.hosted_zone.unwrap().id.trim_start_matches("/hostedzone/").to_owned()
}

/// Fetches a page until it shows this: a load balancer takes a moment until it knows a new backend.
async fn shows(url: &str, words: &str) {
    let authority = std::fs::read(variable("RIG_AWS_CA", "aws")).unwrap();
    let authority = reqwest::Certificate::from_pem(&authority).unwrap();
    let client = reqwest::Client::builder().no_proxy().add_root_certificate(authority).build().unwrap();
    let began = std::time::Instant::now();
    loop {
        let text = match client.get(url).send().await {
            Ok(answer) => answer.text().await.unwrap_or_default(),
            Err(error) => format!("{error:?}"),
        };
        if text.contains(words) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "`{url}` does not show {words:?}: {text}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Where an address sends one to, without going there.
async fn redirect_of(url: &str) -> (u16, String) {
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let answer = client.get(url).send().await.unwrap();
    let to = answer.headers().get("location").map(|it| it.to_str().unwrap().to_owned());
    (answer.status().as_u16(), to.unwrap_or_default())
}

/// When a step of an operation succeeded, in milliseconds since it began.
async fn ended_at(server: &Server, operation: &str, step: &str) -> i64 {
    let events: Vec<Value> = server.events(operation).await.collect().await;
    let at = |it: &Value| it["at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let found = events.iter().find(|it| it["type"] == "step_succeeded" && it["step"] == step);
    at(found.unwrap_or_else(|| panic!("`{step}` has not succeeded: {events:#?}"))) - at(&events[0])
}

#[tokio::test]
async fn two_applications_live_on_one_eks_cluster_from_deploy_to_decommission() {
    let world = World::start("hosted", &[]).await;
    let (shop, blog) = (Repository::page("hosted-shop"), Repository::page("hosted-blog"));
    let watch = Watch::begin();
    // A slow control plane, as on AWS: the image is pushed long before it is there.
    order("latency", json!({"eks.CreateCluster": 45})).await;

    let deployed = world.ask(world.named(world.deploy(&shop, "shop", "shop"), "shop")).await.ended("succeeded");
    assert_eq!(deployed.word("app_url"), "https://shop.apps.example.test");
    shows("https://shop.apps.example.test", "version 1").await;
    let there = redirect_of("http://shop.apps.example.test/seed.txt?a=1").await;
    assert_eq!(there, (308, "https://shop.apps.example.test/seed.txt?a=1".to_owned()));
    for field in ["ecr_repository_url", "eks_cluster_endpoint", "nlb_dns_name", "acm_certificate_arn"] {
        assert!(!deployed.word(field).is_empty());
    }
    assert!(deployed.word("image").contains("@sha256:"), "{}", deployed.word("image"));
    let pushed = ended_at(&world.server, deployed.operation(), "push_image").await;
    let made = ended_at(&world.server, deployed.operation(), "provision_cluster").await;
    assert!(pushed < made, "the image was pushed after {pushed} ms, the cluster was there after {made} ms");
    relent("latency").await;

    // The second one has the load balancer's name; a third one cannot.
    let second = world.ask(world.deploy(&blog, "shop", "blog")).await.ended("succeeded");
    assert_eq!(second.word("app_url"), format!("http://{}", second.word("nlb_dns_name")));
    shows(&second.word("app_url"), "version 1").await;
    let refused = world.ask(world.deploy(&shop, "shop", "third")).await;
    assert_eq!((refused.status, &refused.body["error"]["param"]), (409, &json!("app_subdomain_label")));

    shop.commit(&[("www/index.html", "version 2\n")]);
    let newer = world.ask(world.request("redeploy", "shop", "shop")).await.ended("succeeded");
    shows("https://shop.apps.example.test", "version 2").await;
    let same = world.ask(world.request("redeploy", "shop", "shop")).await.ended("succeeded");
    let same = same.says("Nothing was built and nothing was rolled out");
    let mut scale = world.request("scale", "shop", "shop");
    scale["scale_replicas"] = json!(2);
    world.ask(scale).await.ended("succeeded").says("2 replicas");
    world.ask(world.request("status", "shop", "shop")).await.says("2 of 2 replicas serve");
    let logs = world.ask(world.request("logs", "shop", "shop")).await;
    assert!(logs.words().contains("Output of"), "{}", logs.words());
    world.ask(world.request("rollback", "shop", "shop")).await.ended("succeeded");
    shows("https://shop.apps.example.test", "version 1").await;

    let first = world.ask(world.request("decommission", "shop", "shop")).await.ended("succeeded");
    shows(&second.word("app_url"), "version 1").await;
    let last = world.ask(world.request("decommission", "shop", "blog")).await.ended("succeeded");
    let last = last.says("asked AWS in us-east-1");

    assert_eq!(calls("CreateCluster").await, 1, "nothing is made twice");
    nothing_is_left();
    world.shows_no_secret(&watch, &[&deployed, &second, &newer, &same, &logs, &first, &last]).await;
}

#[tokio::test]
async fn a_certificate_that_nobody_can_validate_is_waited_for_and_looked_at_again() {
    let world = World::start("hosted-waiting", &[("CERTIFICATE_TIMEOUT_S", "3600")]).await;
    let page = Repository::page("hosted-waiting");
    order("faults", json!({"service": "acm", "action": "Validation", "error": "undelegated"})).await;

    let waiting = world.ask(world.named(world.deploy(&page, "waiting", "waiting"), "waiting")).await.ended("waiting");
    assert!(waiting.words().contains("CNAME") && waiting.words().contains("resume"), "{}", waiting.words());
    relent("faults").await;
    world.server.post_to(&format!("/v1/operations/{}/resume", waiting.operation())).await;
    let ended = world.server.ended(waiting.operation()).await;
    assert_eq!(ended["state"], "succeeded", "{ended:#}");
    shows("https://waiting.apps.example.test", "version 1").await;

    world.ask(world.request("decommission", "waiting", "waiting")).await.ended("succeeded");
    nothing_is_left();
}

#[tokio::test]
async fn trouble_at_eks_is_told_and_leaves_nothing() {
    let world = World::start("hosted-faults", &[]).await;
    let page = Repository::page("hosted-faults");
    let code = async |answer: &Answer| {
        let operation = world.server.get(&format!("/v1/operations/{}", answer.operation())).await;
        (operation["state"].as_str().unwrap_or_default().to_owned(), operation["error"]["code"].clone())
    };

    let denied = json!({"service": "eks", "action": "CreateNodegroup", "error": "AccessDeniedException", "status": 403, "times": 50});
    order("faults", denied).await;
    let undone = world.ask(world.deploy(&page, "denied", "denied")).await;
    assert_eq!(code(&undone).await, ("undone".to_owned(), json!("aws_unauthorized")), "{:#}", undone.body);
    nothing_is_left();

    relent("faults").await;
    page.commit(&[("Dockerfile", &crate::bed::dockerfile(crate::bed::CRASHES))]);
    let crashed = world.ask(world.named(world.deploy(&page, "crashing", "crashing"), "crashing")).await;
    assert_eq!(code(&crashed).await.0, "undone", "{:#}", crashed.body);
    assert!(crashed.words().contains("no disk"), "{}", crashed.words());
    nothing_is_left();
}
