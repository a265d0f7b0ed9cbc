//! The life of an application on EC2 and on EKS with nothing of the test bed's account: `make test-aws` runs these on the
//! account of the environment, where they cost money. They run on the local account as well.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bed::{bed, must, run};
use crate::server::{Server, free_node_ports};

/// What tests/real/test-aws says.
fn given(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("`{name}` is not set: this costs money, and `make test-aws` asks before"))
}

/// One of these stories: all that it makes is called so, and lies in one region.
struct Story {
    mode: &'static str,
    name: String,
    region: String,
}

impl Story {
    fn new(mode: &'static str) -> Self {
        Self { mode, name: format!("{}-{}", given("TEST_AWS_PREFIX"), &mode[6..7]), region: given("TEST_AWS_REGION") }
    }

    fn request(&self, action: &str) -> Value {
        json!({"action": action, "deployment_mode": self.mode, "instance_id": self.name, "instance_name": self.name,
            "target_namespace": "demo"})
    }

    async fn server(&self, settings: &[(&str, &str)]) -> Server {
        let repository = given("TEST_AWS_REPOSITORY");
        let host = repository.trim_start_matches("https://").split('/').next().unwrap();
        let has_keys = std::env::var("AWS_ACCESS_KEY_ID").is_ok_and(|it| !it.is_empty());
        let default_credentials = if has_keys { "false" } else { "true" };
        let common = [
            ("AWS_REGION", &*self.region),
            ("AWS_DEFAULT_CREDENTIALS", default_credentials),
            ("GIT_ALLOWED_HOSTS", host),
        ];
        Server::start_with(&self.name, &free_node_ports(2), &[&common[..], settings].concat()).await
    }

    /// From deploy to decommission.
    async fn live(&self, server: &Server, more: Value) {
        let with = |action: &str| {
            let mut fields = self.request(action);
            fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            fields
        };
        let built = |action: &str| {
            let mut fields = with(action);
            fields["github_repo_url"] = json!(given("TEST_AWS_REPOSITORY"));
            fields
        };
        let deployed = server.ask(built("deploy")).await.ended("succeeded");
        answers(&deployed.word("app_url")).await;
        server.ask(built("redeploy")).await.ended("succeeded").says("Nothing was built and nothing was rolled out");
        let mut scale = with("scale");
        scale["scale_replicas"] = json!(2);
        server.ask(scale).await.ended("succeeded").says("2 replicas");
        server.ask(with("status")).await.says("2 of 2 replicas serve");
        let gone = server.ask(with("decommission")).await.ended("succeeded");
        gone.says(&format!("asked AWS in {}", self.region));
        self.nothing_is_left();
    }

    /// The key pair was made by the story, and goes with it.
    fn nothing_is_left(&self) {
        let left = run(&given("TEST_AWS_PYTHON"), &["tests/real/sweep", "--list", &self.region, &self.name]);
        let left = String::from_utf8_lossy(&left.stdout).into_owned();
        let left: Vec<&str> = left.lines().filter(|it| !it.starts_with("key pair ")).collect();
        assert_eq!(left, Vec::<&str>::new(), "the account still holds something");
    }
}

/// Fetches a page until it is there: a load balancer, and its name, take some minutes on AWS.
async fn answers(url: &str) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let began = Instant::now();
    loop {
        let answer = client.get(url).send().await;
        if answer.as_ref().is_ok_and(|it| it.status().is_success()) {
            return;
        }
        assert!(began.elapsed() < Duration::from_mins(5), "`{url}` does not answer: {answer:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test]
async fn an_application_lives_on_an_instance_of_the_account() {
    let story = Story::new("cloud-local");
    let keys = bed().root.join(format!("{}-keys", story.name));
    fs::create_dir_all(&keys).unwrap();
    let pem = keys.join(format!("{}.pem", story.name));
    must("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", pem.to_str().unwrap()]);
    let region = aws_config::Region::new(story.region.clone());
    let config = aws_config::defaults(aws_config::BehaviorVersion::latest()).region(region).load().await;
    let public = aws_sdk_ec2::primitives::Blob::new(fs::read(pem.with_extension("pem.pub")).unwrap());
    let imported =
        aws_sdk_ec2::Client::new(&config).import_key_pair().key_name(&story.name).public_key_material(public);
    imported.send().await.unwrap();

    let server = story.server(&[("EC2_PRIVATE_KEY_BASE_PATH", keys.to_str().unwrap())]).await;

    story.live(&server, json!({"ec2_key_name": story.name})).await;
}

#[tokio::test]
async fn an_application_lives_on_an_eks_cluster_of_the_account() {
    let story = Story::new("cloud-hosted");

    let server = story.server(&[]).await;

    story.live(&server, json!({})).await;
}
