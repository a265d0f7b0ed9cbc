//! EC2 instances: real Terraform with AWS' own provider against the local account, real sshd, a real cluster on the
//! host.

use std::fs;
use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::account::{self, Account, access_key, calls, credentials, inject_fault, nothing_is_left, secrets};
use crate::answer::Answer;
use crate::bed::{bed, run};
use crate::cluster::{Cluster, page_with};
use crate::environment::files_with;
use crate::processes::Watch;
use crate::server::{Server, free_node_ports};

const KEY: &str = "real-key";
/// What the stories call the application, and so the instance.
const NAME: &str = "my-test-ec2-instance";
const NAMESPACE: &str = "my-app-cl";

/// The account, empty, and a server that has no credentials of its own.
pub(crate) struct Ec2World {
    pub(crate) server: Server,
    keys: PathBuf,
    /// The instances share this machine's network: no other cluster may have these.
    node_ports: String,
    _account: Account,
}

impl Ec2World {
    pub(crate) async fn start(name: &str, settings: &[(&str, &str)]) -> Self {
        let account = Account::empty().await;
        let keys = bed().root.join(format!("{name}-keys"));
        fs::create_dir_all(&keys).unwrap();
        let pem = keys.join(format!("{KEY}.pem"));
        let made = run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", pem.to_str().unwrap()]);
        assert!(made.status.success(), "{made:?}");
        import_key(&fs::read_to_string(pem.with_extension("pem.pub")).unwrap()).await;
        let node_ports = free_node_ports(8);
        let server = Server::start_with(name, &node_ports, &settings_with(&keys, settings)).await;
        Self { server, keys, node_ports, _account: account }
    }

    /// A server with a workspace of its own, the same account and keys, and credentials in its settings.
    async fn second_server(&self, name: &str) -> Server {
        let [secret, id] = access_key("cloud-local");
        let credentials =
            [("AWS_ACCESS_KEY_ID", &*id), ("AWS_SECRET_ACCESS_KEY", &*secret), ("AWS_REGION", "us-east-1")];
        Server::start_with(name, &self.node_ports, &settings_with(&self.keys, &credentials)).await
    }

    /// A request with the fields that the documentation shows.
    pub(crate) fn request(action: &str) -> Value {
        let mut fields = json!({
            "action": action,
            "deployment_mode": "cloud-local",
            "target_namespace": NAMESPACE,
            "instance_name": NAME,
            "ec2_key_name": KEY,
            "aws_credentials": credentials("cloud-local"),
        });
        if action == "deploy" {
            fields["github_repo_url"] = json!(bed().repository("private/ledger"));
        }
        if ["deploy", "redeploy"].contains(&action) {
            fields["git_token"] = json!(bed().git_token);
        }
        fields
    }

    /// The same on the instance of this name.
    pub(crate) fn request_on(instance: &str, action: &str) -> Value {
        let mut fields = Self::request(action);
        fields["instance_id"] = json!(instance);
        fields
    }

    /// An empty account again.
    async fn again(&self) {
        account::reset();
        import_key(&fs::read_to_string(self.keys.join(format!("{KEY}.pem.pub"))).unwrap()).await;
    }

    /// Deploys, and orders trouble once the account has been looked at; gives the operation when it has ended.
    async fn deploy_with(&self, fault: Value) -> Value {
        let operation = self.server.begin(Self::request("deploy")).await;
        {
            let mut events = std::pin::pin!(self.server.events(&operation).await);
            while events.next().await.is_some_and(|it| it["step"] != "provision_instance") {}
        }
        inject_fault("faults", fault).await;
        self.server.ended(&operation).await
    }

    pub(crate) async fn ask(&self, fields: Value) -> Answer {
        self.server.ask(fields).await
    }
}

/// Settings of a server that has no credentials of its own.
fn settings_with<'a>(keys: &'a Path, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut all = vec![
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_SECRET_ACCESS_KEY", ""),
        ("EC2_PRIVATE_KEY_BASE_PATH", keys.to_str().unwrap()),
        ("EC2_AMI_OWNER", "099720109477"),
        ("EC2_AMI_NAME", "ubuntu/images/hvm-ssd*/ubuntu-*-amd64-server-*"),
        ("SSH_ALLOWED_CIDR", "127.0.0.0/8"),
        ("RETRY_BASE_MS", "50"),
    ];
    all.extend(more);
    all
}

/// The instances with this Name tag that are there.
async fn instances_named(name: &str) -> Vec<aws_sdk_ec2::types::Instance> {
    let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    let filter = |name: &str, value: &str| aws_sdk_ec2::types::Filter::builder().name(name).values(value).build();
    let asked = aws_sdk_ec2::Client::new(&config).describe_instances();
    let found = asked.filters(filter("tag:Name", name)).filters(filter("instance-state-name", "running"));
    found.send().await.unwrap().reservations().iter().flat_map(|it| it.instances().to_vec()).collect()
}

async fn import_key(public: &str) {
    let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    let material = aws_sdk_ec2::primitives::Blob::new(public.as_bytes());
    let ec2 = aws_sdk_ec2::Client::new(&config);
    ec2.import_key_pair().key_name(KEY).public_key_material(material).send().await.unwrap();
}

#[tokio::test]
async fn an_application_lives_on_an_instance_from_deploy_to_decommission_and_no_secret_shows() {
    let world = Ec2World::start("cloud", &[]).await;
    let watch = Watch::begin();

    let deployed = world.ask(Ec2World::request("deploy")).await.ended("succeeded").says("is running");
    let (url, address) = (deployed.word("app_url"), deployed.word("public_ip"));
    page_with(&url, "version 1").await;
    assert_eq!(url, format!("http://{address}:{}", deployed.deployment("node_port")));
    assert_eq!([deployed.word("instance_id"), deployed.word("instance_name")], [NAME; 2]);
    assert_eq!(deployed.word("ec2_key_name"), KEY);
    let instances = instances_named(NAME).await;
    assert_eq!(instances.len(), 1, "{instances:?}");
    assert_eq!(instances[0].instance_id(), Some(&*deployed.word("ec2_instance_id")));
    assert_eq!(instances[0].public_ip_address(), Some(&*address));
    let of_service = "jsonpath={.spec.type} {.spec.ports[0].nodePort}";
    let cluster = Cluster::new(NAME);
    assert_eq!(
        cluster.kubectl(&["get", "service", NAME, "-n", NAMESPACE, "-o", of_service]),
        format!("NodePort {}", deployed.deployment("node_port"))
    );
    let ready =
        || cluster.kubectl(&["get", "deployment", NAME, "-n", NAMESPACE, "-o", "jsonpath={.status.readyReplicas}"]);

    let lifecycle = |action: &str| {
        json!({
            "action": action, "deployment_mode": "cloud-local", "instance_id": NAME, "public_ip": address,
            "ec2_key_name": KEY, "aws_credentials": credentials("cloud-local"),
        })
    };
    let redeploy = |mut fields: Value| {
        fields["github_repo_url"] = json!(bed().repository("private/ledger"));
        fields["git_token"] = json!(bed().git_token);
        fields
    };
    let mut newer = redeploy(lifecycle("redeploy"));
    newer["git_ref"] = json!("next");
    let redeployed = world.ask(newer).await.ended("succeeded");
    page_with(&url, "version 2").await;
    let mut scale = lifecycle("scale");
    scale["scale_replicas"] = json!(2);
    world.ask(scale).await.ended("succeeded").says("2 replicas");
    assert_eq!(ready(), "2");
    world.ask(lifecycle("status")).await.says("2 of 2 replicas serve").says("is running");
    let logs = world.ask(lifecycle("logs")).await;
    assert!(logs.words().contains("Output of"), "{}", logs.words());
    world.ask(lifecycle("rollback")).await.ended("succeeded");
    page_with(&url, "version 1").await;

    // To another server the instance is somebody else's, until an action takes it over; its settings have credentials.
    let other = world.second_server("cloud-other").await;
    let without_credentials = |action: &str| {
        let mut fields = lifecycle(action);
        fields.as_object_mut().unwrap().remove("aws_credentials");
        fields
    };
    let theirs = other.ask(Ec2World::request("deploy")).await;
    assert_eq!((theirs.status, &theirs.body["error"]["param"]), (409, &json!("instance_name")), "{:#}", theirs.body);
    let mut elsewhere = lifecycle("status");
    elsewhere["public_ip"] = json!("127.0.0.99");
    let refused = other.ask(elsewhere).await;
    assert_eq!((refused.status, &refused.body["error"]["param"]), (409, &json!("public_ip")), "{:#}", refused.body);
    other.ask(without_credentials("status")).await.says("2 of 2 replicas serve");
    other.ask(redeploy(without_credentials("redeploy"))).await.ended("succeeded");
    page_with(&url, "version 1").await;
    other.ask(without_credentials("decommission")).await.ended("succeeded").says("asked AWS in us-east-1");
    nothing_is_left();
    world.ask(lifecycle("redeploy")).await.ended("failed").says("is gone: somebody terminated it");
    let gone = world.ask(lifecycle("decommission")).await.ended("succeeded").says("asked AWS in us-east-1");

    nothing_is_left();
    assert_eq!(calls("RunInstances").await, 2, "one is the dry run, and nothing is made twice");
    for secret in secrets().into_iter().chain([bed().git_token.clone()]) {
        for answer in [&deployed, &redeployed, &logs, &gone] {
            assert!(!answer.text.contains(&secret), "an answer shows it");
            let operations = world.server.get("/v1/operations?limit=100").await.to_string();
            assert!(!operations.contains(&secret));
        }
        assert!(!world.server.log().contains(&secret), "the log shows it");
        for arguments in watch.arguments() {
            assert!(!arguments.contains(&secret), "a process shows it: {arguments}");
        }
        assert_eq!(files_with(&world.server.workspace(), &secret), [""; 0], "files of the workspace hold it");
    }
    let _ = fs::remove_dir_all(&world.keys);
}

#[tokio::test]
async fn trouble_at_aws_is_told_and_leaves_nothing() {
    let world = Ec2World::start("cloud-faults", &[]).await;
    let fault = |action: &str, error: &str, status: u16, times: u32| json!({"service": "ec2", "action": action, "error": error, "status": status, "times": times});
    let code = async |answer: &Answer| {
        let operation = world.server.get(&format!("/v1/operations/{}", answer.operation())).await;
        operation["error"]["code"].as_str().unwrap_or_default().to_owned()
    };

    inject_fault("faults", fault("RunInstances", "UnauthorizedOperation", 403, 50)).await;
    let unauthorized = world.ask(Ec2World::request("deploy")).await;
    assert_eq!(code(&unauthorized).await, "aws_unauthorized", "{:#}", unauthorized.body);
    nothing_is_left();

    world.again().await;
    let refused = fault("AuthorizeSecurityGroupIngress", "UnauthorizedOperation", 403, 50);
    let half_made = world.deploy_with(refused).await;
    assert_eq!(
        (&half_made["state"], &half_made["error"]["code"]),
        (&json!("undone"), &json!("aws_unauthorized")),
        "{half_made:#}"
    );
    nothing_is_left();

    world.again().await;
    let none = fault("RunInstances", "InsufficientInstanceCapacity", 400, 50);
    let no_capacity = world.deploy_with(none).await;
    assert_eq!(
        (&no_capacity["state"], &no_capacity["error"]["code"]),
        (&json!("undone"), &json!("aws_no_capacity")),
        "{no_capacity:#}"
    );
    nothing_is_left();

    world.again().await;
    let down = json!({"service": "ec2", "action": "Describe*", "error": "InternalError", "status": 503, "times": 12});
    let outage = world.deploy_with(down).await;
    assert_eq!(outage["state"], "succeeded", "an outage of some seconds is waited for: {outage:#}");
    let instance = outage["deployment"]["instance_id"].as_str().unwrap();
    world.ask(Ec2World::request_on(instance, "decommission")).await.ended("succeeded");
    nothing_is_left();

    world.again().await;
    let mut wrong = Ec2World::request("deploy");
    wrong["ec2_key_name"] = json!("no-such-key");
    wrong["aws_credentials"]["aws_secret_access_key"] = json!("not-the-secret-not-the-secret");
    let several = world.ask(wrong).await;
    assert_eq!(code(&several).await, "preflight_failed", "{:#}", several.body);
    nothing_is_left();
}
