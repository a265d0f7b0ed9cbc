//! EKS clusters: real Terraform with AWS' own provider against the local account, whose EKS is a real cluster with EKS'
//! check of tokens, whose ECR is a real registry and whose load balancers carry traffic.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::account::{Account, calls, clear_fault, credentials, inject_fault, nothing_is_left, secrets};
use crate::answer::Answer;
use crate::bed::{ENDS_AT_ONCE, Repository, dockerfile, must, variable};
use crate::cluster::Cluster;
use crate::environment::files_with;
use crate::processes::Watch;
use crate::readme::curl;
use crate::rollout::{Load, OLD_PODS};
use crate::server::{Server, free_node_ports};

/// The account, empty but for a hosted zone, and a server that has no credentials of its own.
pub(crate) struct EksWorld {
    pub(crate) server: Server,
    zone: String,
    _account: Account,
}

impl EksWorld {
    pub(crate) async fn start(name: &str, settings: &[(&str, &str)]) -> Self {
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
    pub(crate) fn request(action: &str, cluster: &str, name: &str) -> Value {
        json!({
            "action": action, "deployment_mode": "cloud-hosted", "instance_id": cluster, "instance_name": name,
            "target_namespace": "demo", "aws_credentials": credentials("cloud-hosted"),
        })
    }

    pub(crate) fn deploy(repository: &Repository, cluster: &str, name: &str) -> Value {
        let mut fields = Self::request("deploy", cluster, name);
        fields["github_repo_url"] = json!(repository.url());
        fields
    }

    /// With a host name of its own.
    pub(crate) fn named(&self, mut fields: Value, label: &str) -> Value {
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
pub(crate) fn chart() -> String {
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

/// A client that trusts the account's certificates.
fn client() -> reqwest::Client {
    let authority = std::fs::read(variable("RIG_AWS_CA", "aws")).unwrap();
    let authority = reqwest::Certificate::from_pem(&authority).unwrap();
    reqwest::Client::builder().no_proxy().add_root_certificate(authority).build().unwrap()
}

/// Fetches a page until it shows this: a load balancer takes a moment until it knows a new backend.
pub(crate) async fn shows(url: &str, words: &str) {
    let client = client();
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

/// Checks that what could be done at the same time was: the image is pushed before the cluster is there, and all of it
/// takes hardly longer than the longest path through the plan.
async fn is_the_longest_path(server: &Server, operation: &str) {
    let events: Vec<Value> = server.events(operation).await.collect().await;
    let at = |it: &Value| it["at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let of = |kind: &str, step: &str| {
        let found = events.iter().find(|it| it["type"] == kind && it["step"] == step);
        at(found.unwrap_or_else(|| panic!("no `{kind}` of `{step}`: {events:#?}")))
    };
    let path = |steps: &[&str]| -> i64 {
        steps.iter().map(|step| of("step_succeeded", step) - of("step_started", step)).sum()
    };
    let (pushed, made) = (of("step_succeeded", "push_image"), of("step_succeeded", "provision_cluster"));
    assert!(pushed < made, "the image was pushed {} ms after the cluster was there", pushed - made);
    let image = path(&["clone_repository", "analyse_repository", "build_image", "push_image"]);
    let cluster = path(&["provision_cluster", "install_ingress"]);
    let certificate = path(&["request_certificate", "await_certificate", "install_ingress"]);
    let applied = path(&["apply_application", "wait_for_rollout"]);
    let longest = path(&["check_hosted_account", "verify_application", "prune_versions"])
        + image.max(cluster).max(certificate)
        + applied.max(path(&["create_alias"]));
    let total = at(events.last().unwrap()) - at(&events[0]);
    println!(
        "deploy to an empty account: {total} ms, its longest path {longest} ms (image {image}, cluster {cluster})"
    );
    assert!(total * 10 <= longest * 11, "{total} ms is more than 1.1 times the longest path, {longest} ms");
}

/// Terraform finds everything as its modules say.
fn changes_nothing(server: &Server) {
    let states = must(
        "find",
        &[&server.workspace().display().to_string(), "-name", "terraform.tfstate", "-not", "-path", "*/.terraform/*"],
    );
    let folders: Vec<&str> = states.lines().filter_map(|it| it.strip_suffix("/terraform.tfstate")).collect();
    assert_eq!(folders.len(), 4, "cluster, repository, certificate and alias: {states}");
    for folder in folders {
        must("terraform", &[&format!("-chdir={folder}"), "plan", "-detailed-exitcode", "-input=false", "-lock=false"]);
    }
}

/// Credentials of the account itself, whose user no cluster is made by.
fn colleague() -> Value {
    let [id, secret] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(|name| variable(name, "aws"));
    json!({"aws_access_key_id": id, "aws_secret_access_key": secret, "aws_region": "us-east-1"})
}

/// Credentials of another user of the account.
async fn stranger() -> Value {
    let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    let iam = aws_sdk_iam::Client::new(&config);
    iam.create_user().user_name("stranger").send().await.unwrap();
    let key = iam.create_access_key().user_name("stranger").send().await.unwrap().access_key.unwrap();
    json!({"aws_access_key_id": key.access_key_id, "aws_secret_access_key": key.secret_access_key, "aws_region": "us-east-1"})
}

/// What the first application of the story is called, and so its cluster.
const NAME: &str = "my-eks-app-deployment";

/// A request about the first application, with the fields that the documentation shows.
fn first(action: &str, more: Value) -> Value {
    let mut fields = json!({
        "action": action, "deployment_mode": "cloud-hosted", "aws_credentials": credentials("cloud-hosted"),
    });
    if action == "deploy" {
        fields["target_namespace"] = json!("my-app-eks");
        fields["instance_name"] = json!(NAME);
    } else {
        fields["instance_id"] = json!(NAME);
    }
    if let (Value::Object(fields), Value::Object(more)) = (&mut fields, more) {
        fields.extend(more);
    }
    fields
}

#[tokio::test]
async fn applications_live_on_one_eks_cluster_from_deploy_to_decommission() {
    let settings = [
        ("CERTIFICATE_PATIENCE_S", "5"),
        ("DEFAULT_DOMAIN_NAME_FOR_APPS", "team.apps.example.test"),
        ("EKS_ADMIN_ARNS", "arn:aws:iam::123456789012:user/moto"),
        ("EKS_ENCRYPT_SECRETS", "true"),
    ];
    let world = EksWorld::start("hosted", &settings).await;
    let (shop, blog) = (Repository::page("hosted-shop"), Repository::page("hosted-blog"));
    let watch = Watch::begin();
    // A slow control plane, as on AWS: the image is pushed long before it is there.
    inject_fault("latency", json!({"eks.CreateCluster": 20})).await;

    let of_shop = json!({"github_repo_url": shop.url()});
    let deployed = world.ask(world.named(first("deploy", of_shop.clone()), "my-app")).await.ended("succeeded");
    assert_eq!([deployed.word("instance_id"), deployed.word("instance_name")], [NAME; 2]);
    let url = deployed.word("app_url");
    assert_eq!(url, "https://my-app.team.apps.example.test");
    shows(&url, "version 1").await;
    let there = redirect_of("http://my-app.team.apps.example.test/seed.txt?a=1").await;
    assert_eq!(there, (308, "https://my-app.team.apps.example.test/seed.txt?a=1".to_owned()));
    for field in ["ecr_repository_url", "eks_cluster_endpoint", "nlb_dns_name", "acm_certificate_arn"] {
        assert!(!deployed.word(field).is_empty());
    }
    assert!(deployed.word("image").contains("@sha256:"), "{}", deployed.word("image"));
    is_the_longest_path(&world.server, deployed.operation()).await;
    changes_nothing(&world.server);
    clear_fault("latency").await;
    let cluster = Cluster::new(&format!("aws-rig-{NAME}"));
    let kind = cluster.kubectl(&["get", "service", NAME, "-n", "my-app-eks", "-o", "jsonpath={.spec.type}"]);
    assert_eq!(kind, "ClusterIP");

    // The second one has the load balancer's name; a third one cannot.
    let second = world.ask(EksWorld::deploy(&blog, NAME, "blog")).await.ended("succeeded");
    assert_eq!((second.word("instance_id"), second.word("instance_name")), (NAME.to_owned(), "blog".to_owned()));
    assert_eq!(second.word("app_url"), format!("http://{}", second.word("nlb_dns_name")));
    for field in ["ecr_repository_url", "eks_cluster_endpoint"] {
        assert!(!second.word(field).is_empty());
    }
    shows(&second.word("app_url"), "version 1").await;
    let refused = world.ask(EksWorld::deploy(&shop, NAME, "third")).await;
    assert_eq!((refused.status, &refused.body["error"]["param"]), (409, &json!("app_subdomain_label")));

    shop.commit(&[("Dockerfile", &dockerfile(ENDS_AT_ONCE)), ("www/index.html", "version 2\n")]);
    // Others of the account: one whom the cluster does not let in, and one whom the setting names.
    let by_stranger = json!({"instance_name": NAME, "aws_credentials": stranger().await, "scale_replicas": 2});
    let refused = world.ask(first("scale", by_stranger)).await.ended("failed");
    assert!(refused.words().contains("does not let in arn:aws:iam::123456789012:user/stranger; it lets in"));
    assert!(refused.words().contains("user/cloud-hosted") && refused.words().contains("create-access-entry"));
    let by_colleague = json!({"github_repo_url": shop.url(), "aws_credentials": colleague()});
    let newer = world.ask(first("redeploy", by_colleague)).await.ended("succeeded");
    shows(&url, "version 2").await;
    let load = Load::begin(client(), url.clone(), 50);
    let same = world.ask(first("redeploy", of_shop)).await.ended("succeeded");
    let same = same.says("Nothing was built and nothing was rolled out");
    let named = json!({"instance_name": NAME});
    let scale = json!({"instance_name": NAME, "scale_replicas": 2});
    world.ask(first("scale", scale)).await.ended("succeeded").says("2 replicas");
    world.ask(first("status", named.clone())).await.says("2 of 2 replicas serve");
    let logs = world.ask(first("logs", named.clone())).await;
    assert!(logs.words().contains("Output of"), "{}", logs.words());
    world.ask(first("rollback", named)).await.ended("succeeded");
    shows(&url, "version 1").await;
    tokio::time::sleep(OLD_PODS).await;
    load.loses_nothing().await;

    // A certificate that nobody can validate is waited for, and looked at again when somebody says so.
    inject_fault("faults", json!({"service": "acm", "action": "Validation", "error": "undelegated"})).await;
    let places = [("my-cluster", NAME), ("eu-central-1", "us-east-1")];
    let of_deploy = [("https://github.com/owner/name", &*blog.url()), ("Z2FDTNDATAQYW2", &world.zone)];
    let waiting = curl(&world.server, "cloud-hosted", "deploy", &[places, of_deploy].concat()).await.ended("waiting");
    assert!(waiting.words().contains("CNAME") && waiting.words().contains("resume"), "{}", waiting.words());
    clear_fault("faults").await;
    world.server.post_to(&format!("/v1/operations/{}/resume", waiting.operation())).await;
    assert_eq!(world.server.ended(waiting.operation()).await["state"], "succeeded");
    shows("https://shop.team.apps.example.test", "version 1").await;
    shows(&url, "version 1").await;
    curl(&world.server, "cloud-hosted", "scale", &places).await.ended("succeeded").says("3 replicas");

    let by_colleague = json!({"instance_name": NAME, "aws_credentials": colleague()});
    let gone = world.ask(first("decommission", by_colleague)).await.ended("succeeded");
    shows(&second.word("app_url"), "version 1").await;
    shows("https://shop.team.apps.example.test", "version 1").await;
    world.ask(EksWorld::request("decommission", NAME, "shop")).await.ended("succeeded");
    let last = world.ask(EksWorld::request("decommission", NAME, "blog")).await.ended("succeeded");
    let last = last.says("asked AWS in us-east-1");

    assert_eq!(calls("CreateCluster").await, 1, "nothing is made twice");
    nothing_is_left();
    world.shows_no_secret(&watch, &[&deployed, &second, &newer, &same, &logs, &gone, &last]).await;
}

#[tokio::test]
async fn trouble_at_eks_is_told_and_leaves_nothing() {
    let world = EksWorld::start("hosted-faults", &[]).await;
    let page = Repository::page("hosted-faults");
    let denied = json!({"service": "eks", "action": "CreateCluster", "error": "AccessDeniedException", "status": 403, "times": 50});
    inject_fault("faults", denied).await;
    let undone = world.ask(EksWorld::deploy(&page, "denied", "denied")).await;
    let operation = world.server.get(&format!("/v1/operations/{}", undone.operation())).await;
    assert_eq!((&operation["state"], &operation["error"]["code"]), (&json!("undone"), &json!("aws_unauthorized")));
    nothing_is_left();
}
