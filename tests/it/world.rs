//! A world of its own for every story: a temporary workspace, the real program on it, and fakes where it ends: programs
//! on disk, a Docker daemon and a Kubernetes API on sockets, an application that answers. They live in the test, so they
//! outlive a server that is killed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Client, Method, RequestBuilder};
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Connection, Row};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

pub(crate) mod aws;
pub(crate) mod azure;
pub(crate) mod docker;
pub(crate) mod failpoints;
pub(crate) mod issuer;
pub(crate) mod kube;
pub(crate) mod mcp;
pub(crate) mod postgres;
pub(crate) mod programs;
pub(crate) mod server;
pub(crate) mod snapshot;

use aws::Aws;
use docker::Docker;
use failpoints::Failpoints;
use kube::Kube;
use postgres::{Database, Postgres};
use server::Server;

/// What seals secrets where it is not a file: 32 bytes.
const ENCRYPTION_KEY: &str = "aXQtaXQtaXQtaXQtaXQtaXQtaXQtaXQtaXQtaXQtaXQ=";
/// How long anything may take that a story waits for.
const PATIENCE: Duration = Duration::from_mins(8);

/// The world of one story.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) docker: Docker,
    pub(crate) aws: Aws,
    pub(crate) kube: Kube,
    pub(crate) failpoints: Failpoints,
    pub(crate) postgres: Option<Postgres>,
    /// One on a server that others use too.
    database: Option<Database>,
    /// What [`World::request_for`] means.
    pub(crate) target_kind: TargetKind,
    client: Client,
    address: String,
    /// Where every application answers.
    app_port: u16,
    settings: BTreeMap<String, String>,
    folder: TempDir,
    _application: AbortOnDropHandle<()>,
}

/// What an application runs on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum TargetKind {
    /// A kind cluster here.
    #[default]
    LocalKind,
    /// A kind cluster on an EC2 instance.
    Ec2,
    /// An EKS cluster; the application has the load balancer's name.
    Eks,
    /// An EKS cluster; the application has a name of its own. It has no pods, because nothing here answers at that name.
    EksWithDomain,
}

/// An answer of the server.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    /// The text for a person.
    pub(crate) fn text(&self) -> &str {
        self.body["choices"][0]["message"]["content"].as_str().unwrap_or_else(|| panic!("no words: {self:?}"))
    }

    /// Where the operation stood.
    pub(crate) fn state(&self) -> &str {
        self.body["operation"]["state"].as_str().unwrap_or_else(|| panic!("no operation: {self:?}"))
    }

    /// The id of the operation.
    pub(crate) fn operation(&self) -> String {
        self.body["operation"]["id"].as_str().unwrap_or_else(|| panic!("no operation: {self:?}")).to_owned()
    }

    /// The stable name of the error.
    pub(crate) fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_else(|| panic!("no error: {self:?}"))
    }
}

impl World {
    /// A world with a server, an empty cluster list and a repository with a Dockerfile.
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// The same with other settings.
    pub(crate) async fn with(settings: &[(&str, &str)]) -> Self {
        Self::build(settings, None).await
    }

    /// The same on a PostgreSQL of its own.
    pub(crate) async fn on_postgres() -> Self {
        let postgres = Postgres::start().await;
        let url = postgres.url.clone();
        Self::build(&[("DATABASE_URL", &url)], Some(postgres)).await
    }

    /// One of a kind whose store is a database in PostgreSQL and whose key is in the settings: nothing that it cannot do
    /// without is in its workspace. `None` where there is no PostgreSQL.
    pub(crate) async fn without_need_of_its_workspace(target_kind: TargetKind) -> Option<Self> {
        let database = Database::create().await?;
        let url = database.url.clone();
        let settings = [("DATABASE_URL", url.as_str()), ("ENCRYPTION_KEY", ENCRYPTION_KEY)];
        let mut world = Self { target_kind, ..Self::build(&settings, None).await };
        world.database = Some(database);
        fs::write(world.path("ssh-open"), "").unwrap();
        Some(world)
    }

    /// One whose requests mean an EC2 instance, which lets this program in.
    pub(crate) async fn on_instance() -> Self {
        let world = Self { target_kind: TargetKind::Ec2, ..Self::start().await };
        fs::write(world.path("ssh-open"), "").unwrap();
        world
    }

    /// One whose requests mean an EKS cluster.
    pub(crate) async fn on_cluster() -> Self {
        Self { target_kind: TargetKind::Eks, ..Self::start().await }
    }

    /// The same, with a host name of the application's own.
    pub(crate) async fn on_named_cluster() -> Self {
        Self { target_kind: TargetKind::EksWithDomain, ..Self::start().await }
    }

    async fn build(changed: &[(&str, &str)], postgres: Option<Postgres>) -> Self {
        sqlx::any::install_default_drivers();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::create_dir_all(path.join("clusters")).unwrap();
        let failpoints = Failpoints::new(path.join("failpoints"));
        let programs = programs::install(path);
        let keys = path.join("keys");
        fs::create_dir_all(&keys).unwrap();
        fs::write(keys.join("it-key.pem"), "a private key").unwrap();
        fs::set_permissions(keys.join("it-key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
        let application = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let app_port = application.local_addr().unwrap().port();
        let at_page = failpoints.clone();
        let page = axum::Router::new().fallback(async move || {
            let _ = at_page.hit("page").await;
            "hello"
        });
        let serving = tokio::spawn(async move { axum::serve(application, page).await.unwrap() });
        let docker = Docker::start(path, failpoints.clone(), app_port);
        let kube = Kube::start(path, failpoints.clone(), app_port).await;
        let aws = Aws::start(path, failpoints.clone(), &kube.endpoint).await;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let settings = [
            ("PORT", "0".to_owned()),
            ("RATE_LIMIT_PER_MINUTE", "0".to_owned()),
            ("PERSISTENT_WORKSPACE_BASE_DIR", text(&path.join("workspace"))),
            ("GIT_PROGRAM", text(&programs.git)),
            ("KIND_PROGRAM", text(&programs.kind)),
            ("TERRAFORM_PROGRAM", text(&programs.terraform)),
            ("SSH_PROGRAM", text(&programs.ssh)),
            ("HELM_PROGRAM", text(&programs.helm)),
            ("PACK_PROGRAM", text(&path.join("bin/pack"))),
            ("RAILPACK_PROGRAM", text(&path.join("bin/railpack"))),
            ("SSH_TIMEOUT_S", "2".to_owned()),
            ("SSH_ALLOWED_CIDR", "127.0.0.0/8".to_owned()),
            ("EC2_PRIVATE_KEY_BASE_PATH", text(&keys)),
            ("AWS_ENDPOINT_URL", aws.endpoint.clone()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("GIT_ALLOWED_HOSTS", format!("file://{}/", text(&path.join("repositories")))),
            ("DOCKER_HOST", format!("unix://{}", text(&path.join("docker.sock")))),
            ("RETRY_ATTEMPTS", "3".to_owned()),
            ("RETRY_BASE_MS", "20".to_owned()),
            ("AWS_SETTLE_TIMEOUT_S", "30".to_owned()),
            ("SHUTDOWN_GRACE_S", "5".to_owned()),
            ("LOG_LEVEL", "debug".to_owned()),
        ];
        let changed = changed.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let settings: BTreeMap<String, String> =
            settings.into_iter().chain(changed).map(|(name, value)| (name.to_owned(), value)).collect();
        let server = Server::spawn(path, &settings);
        let client = Client::builder().no_proxy().build().unwrap();
        let mut world = Self {
            server,
            docker,
            aws,
            kube,
            failpoints,
            postgres,
            database: None,
            target_kind: TargetKind::LocalKind,
            client,
            address: String::new(),
            app_port,
            settings,
            folder,
            _application: AbortOnDropHandle::new(serving),
        };
        world.commit("notes", "Dockerfile", "FROM base:1\nEXPOSE 8080\nCMD [\"app\"]\n").await;
        world.listening().await;
        world
    }

    async fn listening(&mut self) {
        let address = self.server.address().await;
        self.address = address.unwrap_or_else(|| panic!("the server did not start: {}", self.server.log()));
    }

    /// Starts the server again, which must have ended.
    pub(crate) async fn start_again(&mut self) {
        self.server = Server::spawn(self.folder.path(), &self.settings);
        self.listening().await;
    }

    /// The same, for a server that ignores SIGINT from its start.
    pub(crate) async fn start_again_ignoring_interrupts(&mut self) {
        self.server = Server::spawn_ignoring_interrupts(self.folder.path(), &self.settings);
        self.listening().await;
    }

    /// Changes settings from the next start on.
    pub(crate) fn set(&mut self, changed: &BTreeMap<String, String>) {
        self.settings.extend(changed.clone());
    }

    /// Loses all that the killed server kept in files. What it left at work may be writing there.
    pub(crate) async fn lose_workspace(&self) {
        let workspace = self.path("workspace");
        eventually("the workspace to be gone", async || {
            let _ = fs::remove_dir_all(&workspace);
            !workspace.exists()
        })
        .await;
    }

    /// Backs its database up into a file, as an operator does.
    pub(crate) async fn dump_database(&self, dump: &Path) {
        self.database.as_ref().expect("a world on PostgreSQL").dump(dump).await;
    }

    /// Restores such a backup into a new database, which is the one of the server from its next start on.
    pub(crate) async fn restore_database(&mut self, dump: &Path) {
        let database = Database::create().await.expect("the server that made the first one");
        database.restore(dump).await;
        self.settings.insert("DATABASE_URL".to_owned(), database.url.clone());
        self.database = Some(database);
    }

    /// kill -9, and a new start.
    pub(crate) async fn kill_and_start_again(&mut self) {
        self.server.kill().await;
        self.start_again().await;
    }

    /// Another server on the same workspace and store; gives what it says when it ended.
    pub(crate) async fn second_server(&self) -> Option<String> {
        let mut second = Server::spawn(self.folder.path(), &self.settings);
        match second.address().await {
            Some(_) => None,
            None => Some(second.log()),
        }
    }

    /// Runs another command of the program to its end, with this world's settings and these changes.
    pub(crate) async fn command(&self, arguments: &[&str], changed: &[(&str, &str)]) -> Output {
        self.prepared(arguments).envs(changed.iter().copied()).output().await.unwrap()
    }

    /// The same, not started yet.
    pub(crate) fn prepared(&self, arguments: &[&str]) -> tokio::process::Command {
        let mut command = server::program(self.folder.path(), &self.settings);
        command.args(arguments);
        command
    }

    /// A file or folder of this world.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What a program was called with, one line per call.
    pub(crate) fn calls(&self, program: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(&format!("{program}.calls"))).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// How many calls of a program begin so.
    pub(crate) fn count(&self, program: &str, beginning: &str) -> usize {
        self.calls(program).iter().filter(|it| it.starts_with(beginning)).count()
    }

    /// Address of a repository of this world.
    pub(crate) fn repository(&self, name: &str) -> String {
        format!("file://{}", self.path("repositories").join(name).display())
    }

    /// Runs git in a repository of this world.
    pub(crate) async fn git(&self, repository: &str, arguments: &[&str]) {
        git(&self.path("repositories").join(repository), arguments).await;
    }

    /// Commits one file to a repository, which is made when it is not there.
    pub(crate) async fn commit(&self, repository: &str, file: &str, text: &str) {
        let folder = self.path("repositories").join(repository);
        if !folder.exists() {
            fs::create_dir_all(&folder).unwrap();
            git(&folder, &["init", "--quiet", "--initial-branch=main"]).await;
        }
        fs::create_dir_all(folder.join(file).parent().unwrap()).unwrap();
        fs::write(folder.join(file), text).unwrap();
        git(&folder, &["add", "--all"]).await;
        git(&folder, &["-c", "user.name=it", "-c", "user.email=it@example.test", "commit", "--quiet", "-m", "change"])
            .await;
    }

    /// Where the server is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where something else answers.
    pub(crate) fn page_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.app_port)
    }

    /// A request to the server.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    /// Gets a route that answers with JSON.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        answer(self.request(Method::GET, path)).await
    }

    /// Posts to a route without a body.
    pub(crate) async fn post(&self, path: &str) -> Answer {
        answer(self.request(Method::POST, path)).await
    }

    /// Resumes an operation with secrets.
    pub(crate) async fn resume(&self, operation: &str, secrets: &Value) -> Answer {
        answer(self.request(Method::POST, &format!("/v1/operations/{operation}/resume")).json(secrets)).await
    }

    /// Sends a chat request and waits for its answer.
    pub(crate) async fn chat(&self, body: &Value) -> Answer {
        answer(self.post_chat(body)).await
    }

    /// A chat request that is not sent yet.
    pub(crate) fn post_chat(&self, body: &Value) -> RequestBuilder {
        self.request(Method::POST, "/v1/chat/completions").json(body)
    }

    /// Sends a chat request whose answer comes later.
    pub(crate) fn begin(&self, body: &Value) -> tokio::task::JoinHandle<Option<Answer>> {
        let request = self.post_chat(body);
        tokio::spawn(async move {
            let response = request.send().await.ok()?;
            let status = response.status().as_u16();
            Some(Answer { status, body: response.json().await.ok()? })
        })
    }

    /// An action by fields on the repository `notes`, in the namespace `team`.
    pub(crate) fn request_for(&self, action: &str) -> Value {
        match self.target_kind {
            TargetKind::LocalKind => self.local_request(action),
            TargetKind::Ec2 => self.cloud_local_request(action),
            TargetKind::EksWithDomain if action == "deploy" => {
                let mut body = self.cloud_hosted_request(action);
                body["base_hosted_zone_id"] = json!(aws::hosted::ZONE);
                body["app_subdomain_label"] = json!("notes");
                body["scale_replicas"] = json!(0);
                body
            }
            TargetKind::Eks | TargetKind::EksWithDomain => self.cloud_hosted_request(action),
        }
    }

    fn local_request(&self, action: &str) -> Value {
        let mut body = say("go");
        body["action"] = json!(action);
        body["deployment_mode"] = json!("local");
        body["target_namespace"] = json!("team");
        body["instance_name"] = json!("notes");
        if action == "deploy" {
            body["github_repo_url"] = json!(self.repository("notes"));
        }
        body
    }

    /// A deploy of the repository `notes` to an EC2 instance, with the credentials of the account.
    pub(crate) fn cloud_local_request(&self, action: &str) -> Value {
        let mut body = self.local_request(action);
        body["deployment_mode"] = json!("cloud-local");
        body["instance_id"] = json!("box");
        body["aws_credentials"] = json!({
            "aws_access_key_id": aws::ACCESS_KEY,
            "aws_secret_access_key": aws::SECRET_KEY,
            "aws_region": "eu-central-1",
        });
        if action == "deploy" {
            body["ec2_key_name"] = json!("it-key");
        }
        body
    }

    /// The same on an EKS cluster.
    pub(crate) fn cloud_hosted_request(&self, action: &str) -> Value {
        let mut body = self.cloud_local_request(action);
        body["deployment_mode"] = json!("cloud-hosted");
        body.as_object_mut().unwrap().remove("ec2_key_name");
        body
    }

    /// The clusters that are there.
    pub(crate) fn clusters(&self) -> Vec<String> {
        inside(&self.path("clusters"))
    }

    /// Deploys the repository `notes` and expects it to run.
    pub(crate) async fn deployed(&self) -> Answer {
        let answer = self.chat(&self.request_for("deploy")).await;
        assert_eq!(answer.state(), "succeeded", "{}", answer.text());
        answer
    }

    /// Waits until an operation has ended, and gives it.
    pub(crate) async fn ended(&self, operation: &str) -> Value {
        let path = format!("/v1/operations/{operation}");
        let mut found = Value::Null;
        let in_time = in_time(async || {
            found = self.get(&path).await.body;
            !found["ended_at"].is_null()
        })
        .await;
        assert!(in_time, "it does not end: {found:#}\n{}", self.server.log());
        found
    }

    /// The operation that was accepted last.
    pub(crate) async fn latest(&self) -> String {
        self.get("/v1/operations?limit=1").await.body["data"][0]["id"].as_str().expect("an operation").to_owned()
    }

    /// The steps of an operation, as `name state`.
    pub(crate) async fn steps(&self, operation: &str) -> Vec<String> {
        let shown = self.get(&format!("/v1/operations/{operation}")).await.body;
        let steps = shown["steps"].as_array().unwrap().iter();
        steps.map(|it| format!("{} {}", it["step"].as_str().unwrap(), it["state"].as_str().unwrap())).collect()
    }

    /// All stored events of an operation.
    pub(crate) async fn events(&self, operation: &str) -> Vec<Value> {
        let text = self.request(Method::GET, &format!("/v1/operations/{operation}/events")).send().await.unwrap();
        let text = text.text().await.unwrap();
        text.lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .map(|it| serde_json::from_str(it).unwrap())
            .collect()
    }

    fn database_url(&self) -> String {
        let sqlite = || format!("sqlite://{}", self.path("workspace/store.sqlite").display());
        self.settings.get("DATABASE_URL").cloned().unwrap_or_else(sqlite)
    }

    /// Asks the store behind the server's back.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<AnyRow> {
        let mut connection = AnyConnection::connect(&self.database_url()).await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await.unwrap()
    }

    /// Keeps everybody else from writing to the store, as a slow disk does, until what is returned is dropped.
    pub(crate) async fn hold_store(&self) -> AnyConnection {
        let mut connection = AnyConnection::connect(&self.database_url()).await.unwrap();
        sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
        connection
    }

    /// Changes the store behind the server's back.
    pub(crate) async fn change(&self, sql: &str) {
        self.rows(sql).await;
    }

    /// Takes the store away from the server at the moment when such a row would be written.
    pub(crate) async fn fail_store_at(&self, moment: &str) {
        self.fail_store_at_any(&[moment]).await;
    }

    /// The same at whichever of these moments comes first.
    pub(crate) async fn fail_store_at_any(&self, moments: &[&str]) {
        self.restore_store().await;
        for (name, moment) in LOSSES.into_iter().zip(moments) {
            self.change(&format!(
                "CREATE TRIGGER {name} BEFORE {moment} BEGIN SELECT RAISE(ABORT, 'the story takes the store away'); END"
            ))
            .await;
        }
    }

    /// Ends [`World::fail_store_at`].
    pub(crate) async fn restore_store(&self) {
        for name in LOSSES {
            self.change(&format!("DROP TRIGGER IF EXISTS {name}")).await;
        }
    }

    /// Has a step of the server panic at a moment: at its `check`, at the end of its `run`, or at its `undo`.
    pub(crate) fn panic_at(&self, step: &str, moment: &str, text: &str) {
        let folder = self.path("workspace/failpoints");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{step}.{moment}")), text).unwrap();
    }

    /// Ends [`World::panic_at`].
    pub(crate) fn calm(&self) {
        fs::remove_dir_all(self.path("workspace/failpoints")).unwrap();
    }

    /// The first column of all rows.
    pub(crate) async fn texts(&self, sql: &str) -> Vec<String> {
        self.rows(sql).await.iter().map(|row| row.get(0)).collect()
    }

    /// Ends what the killed server left at work, as a power cut would.
    pub(crate) fn kill_programs(&self) {
        for group in self.program_groups() {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }

    /// The process groups of all programs on record on this machine that have not ended.
    pub(crate) fn program_groups(&self) -> Vec<Pid> {
        let mut groups = Vec::new();
        for record in files_with(&self.path("workspace/operations"), "").into_iter().map(PathBuf::from) {
            if record.ends_with("process") && !record.with_file_name("status").exists() {
                // One that is just being written is not on record yet.
                let text = fs::read_to_string(&record).unwrap_or_default();
                groups.extend(text.split(' ').next().and_then(|pid| Pid::from_raw(pid.parse().ok()?)));
            }
        }
        groups
    }

    /// Installs a builder: `pack` or `railpack`.
    pub(crate) fn install_builder(&self, name: &str) {
        programs::install_builder(self.folder.path(), name);
    }

    /// The files of this world that hold a text.
    pub(crate) fn files_with(&self, text: &str) -> Vec<String> {
        files_with(self.folder.path(), text)
    }

    /// Everything that must not be there once nothing is deployed and nothing runs.
    pub(crate) async fn leftovers(&self) -> Vec<String> {
        let mut left = Vec::new();
        let named =
            |kind: &str, names: Vec<String>| names.into_iter().map(|name| format!("{kind} {name}")).collect::<Vec<_>>();
        left.extend(named("image", self.docker.images()));
        left.extend(named("volume", inside(&self.path("volumes"))));
        left.extend(named("image on a node", self.docker.node_images()));
        left.extend(named("object", self.kube.objects()));
        left.extend(named("thing on AWS", self.aws.things()));
        left.extend(named("folder", inside(&self.path("workspace/deployments"))));
        left.extend(named("state", inside(&self.path("schemas"))));
        left.extend(named("workspace on record", self.texts("SELECT module FROM terraform_workspaces").await));
        left.extend(named("deployment", self.texts("SELECT name FROM deployments WHERE state <> 'removed'").await));
        left.extend(self.unfinished_leftovers().await);
        left
    }

    /// Of how many Terraform workspaces the server knows.
    pub(crate) async fn terraform_states(&self) -> usize {
        self.texts("SELECT module FROM terraform_workspaces").await.len()
    }

    /// Everything that must not be there once nothing runs, whatever is deployed.
    pub(crate) async fn unfinished_leftovers(&self) -> Vec<String> {
        let mut left = Vec::new();
        let named =
            |kind: &str, names: Vec<String>| names.into_iter().map(|name| format!("{kind} {name}")).collect::<Vec<_>>();
        left.extend(named("operation's folder", inside(&self.path("workspace/operations"))));
        let clusters = inside(&self.path("clusters")).into_iter();
        left.extend(named(
            "half-made cluster",
            clusters.filter(|it| !self.path(&format!("clusters/{it}/ready")).exists()).collect(),
        ));
        left.extend(named("secret", self.texts("SELECT operation_id FROM secrets").await));
        left.extend(named("call", self.texts("SELECT name FROM calls").await));
        left.extend(named("saga log", self.texts("SELECT DISTINCT operation_id FROM saga_log").await));
        left.extend(named("lock", self.texts("SELECT name FROM targets WHERE locked_by IS NOT NULL").await));
        left.extend(named("unfinished", self.texts("SELECT id FROM operations WHERE ended_ms IS NULL").await));
        left
    }
}

/// The triggers that take the store away from the server.
const LOSSES: [&str; 2] = ["lost", "lost_too"];

/// A request that says one sentence.
pub(crate) fn say(sentence: &str) -> Value {
    json!({"model": "app-server-default", "messages": [{"role": "user", "content": sentence}]})
}

/// The same request with one more field.
pub(crate) fn with(mut body: Value, name: &str, value: impl Into<Value>) -> Value {
    body[name] = value.into();
    body
}

/// Sends a request whose answer is JSON.
pub(crate) async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    Answer { status, body: response.json().await.unwrap() }
}

/// Waits until something is so, and says what when it takes too long.
pub(crate) async fn eventually(what: &str, is_so: impl AsyncFnMut() -> bool) {
    assert!(in_time(is_so).await, "waited in vain for {what}");
}

/// Waits until something is so; false when it takes too long.
pub(crate) async fn in_time(mut is_so: impl AsyncFnMut() -> bool) -> bool {
    let begin = Instant::now();
    while !is_so().await {
        if begin.elapsed() >= PATIENCE {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    true
}

fn inside(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|it| it.file_name().to_string_lossy().into_owned()).collect()
}

/// The files below a folder that hold a text.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if fs::read(&path).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text)) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[expect(clippy::disallowed_methods, reason = "a story commits as a person does")]
async fn git(folder: &Path, arguments: &[&str]) {
    let mut command = tokio::process::Command::new("git");
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).env("GIT_CONFIG_GLOBAL", "/dev/null");
    assert!(command.status().await.unwrap().success());
}
