//! Terraform (or OpenTofu): typed calls on one workspace per target, and on one for each thing of an application.
//!
//! Credentials are in the environment of the calls and nowhere else; what changes the world outlives a killed server and
//! gets one SIGINT and a long grace, because a second one, or SIGKILL, would leave things that the state does not know.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::cloud::aws::AccessKeys;
use crate::config::Settings;
use crate::event::{Line, Lines};
use crate::id::Region;
use crate::store::terraform::WorkspaceRecord;
use crate::tool::step_calls::StepCalls;
use crate::tool::{Call, Output, ToolError};

pub mod error;
pub mod module;
mod json_output;

pub use error::TerraformError;
use json_output::JsonOutput;

/// How long a call may take to end after its one SIGINT: an instance that is being made is waited for.
const GRACE: Duration = Duration::from_mins(10);
/// How long looking at a state or an output may take.
const QUERY_TIMEOUT: Duration = Duration::from_mins(1);
/// How often the turn to fetch providers is asked for.
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(200);
/// The plan that is applied.
const PLAN: &str = "next.tfplan";
/// The values of the module's variables.
const VARIABLES: &str = "terraform.tfvars.json";

/// What Terraform gets of the server's environment: its own configuration and logins of registries, and how AWS is reached.
/// Credentials are those of the request.
const INHERITED: &[&str] = &[
    "TF_*",
    "XDG_*",
    "AWS_CA_BUNDLE",
    "AWS_CONFIG_FILE",
    "AWS_EC2_METADATA_*",
    "AWS_ENDPOINT_URL*",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_MAX_ATTEMPTS",
    "AWS_RETRY_MODE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_STS_REGIONAL_ENDPOINTS",
    "AWS_USE_*",
];
/// The same for a state in PostgreSQL: what its address does not say, such as certificates, where the store reads it too.
const POSTGRES: &[&str] = &["PG*"];
/// Switches and values that would change what a module does or where its state is, or have credentials printed.
const WITHHELD: &[&str] = &["TF_VAR_*", "TF_CLI_ARGS*", "TF_LOG*", "TF_WORKSPACE", "TF_DATA_DIR"];

/// The terraform program as the settings say.
#[derive(Debug, Clone)]
pub struct Terraform {
    program: PathBuf,
    timeout: Duration,
    /// Providers that all workspaces share.
    providers: PathBuf,
}

/// Where a state is kept.
#[derive(Debug, Clone)]
pub enum Backend {
    /// In the folder of the target.
    Folder,
    /// In PostgreSQL, where any machine can carry on.
    Postgres {
        /// Address with its password.
        url: SecretString,
        /// One schema per target.
        schema: String,
    },
}

impl Backend {
    /// The PostgreSQL schema that holds the state.
    #[must_use]
    pub fn schema(&self) -> Option<&str> {
        match self {
            Self::Folder => None,
            Self::Postgres { schema, .. } => Some(schema),
        }
    }
}

/// One module with its variables and its state.
#[derive(Debug)]
pub struct Workspace<'a> {
    /// Name of the module.
    pub module: &'static str,
    /// The program.
    pub terraform: &'a Terraform,
    /// Folder of module and state.
    pub folder: PathBuf,
    /// Where the calls of this step are on record (see [`Call::run_durably`]).
    pub calls: StepCalls,
    /// Where the state is kept.
    pub backend: Backend,
    /// What the store knows of it: with its variables the folder can be made again, wherever this is.
    pub record: Option<WorkspaceRecord>,
    /// Whose account it is.
    pub keys: &'a AccessKeys,
    /// Region.
    pub region: &'a Region,
    /// Where progress is told.
    pub lines: &'a Lines,
    /// Interrupts the call at work.
    pub cancel: &'a CancellationToken,
}

impl Terraform {
    /// Terraform as the settings say, with its providers in the workspace.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self {
            program: settings.terraform.program.clone(),
            timeout: settings.terraform.timeout,
            providers: settings.store.workspace.join("terraform-providers"),
        }
    }

    /// The program's version.
    ///
    /// # Errors
    /// [`TerraformError`] when it cannot be run.
    pub async fn version(&self) -> Result<String, TerraformError> {
        #[derive(Deserialize)]
        struct Version {
            terraform_version: String,
        }
        let call = Call::new(&self.program).args(["version", "-json"]).env("CHECKPOINT_DISABLE", "1");
        let output = call.run(&Lines::none(), &CancellationToken::new()).await?;
        let version: Version = parse("version", &output.stdout)?;
        Ok(version.terraform_version)
    }

    /// Waits until nobody else fetches providers: a plugin cache is not safe for two `terraform init` at the same time
    /// (Terraform's documentation of the CLI configuration, "Provider Plugin Cache").
    async fn lock_providers(&self, lines: &Lines, cancel: &CancellationToken) -> Result<std::fs::File, TerraformError> {
        super::folder::make_private(&self.providers).map_err(TerraformError::Folder)?;
        let path = self.providers.join("lock");
        let open = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(path);
        let file = open.map_err(TerraformError::Folder)?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(std::fs::TryLockError::WouldBlock) => (),
                Err(std::fs::TryLockError::Error(source)) => return Err(TerraformError::Folder(source)),
            }
            lines.progress("another operation fetches Terraform's providers; waiting for it");
            tokio::select! {
                () = tokio::time::sleep(LOCK_POLL_INTERVAL) => (),
                () = cancel.cancelled() => return Err(TerraformError::Tool(ToolError::Cancelled { program: "terraform init".into() })),
            }
        }
    }
}

impl Workspace<'_> {
    /// Whether anything may have been made with it that is not taken back.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.record.is_some()
    }

    /// The value that a variable of text was given before.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.record.as_ref()?.variable(name)
    }

    /// Writes the values of the module's variables, as they are on record.
    ///
    /// # Errors
    /// [`TerraformError::Folder`] when the folder cannot be written.
    pub fn write_variables(&self) -> Result<(), TerraformError> {
        let Some(record) = &self.record else { return Ok(()) };
        let io = TerraformError::Folder;
        super::folder::make_private(&self.folder).map_err(io)?;
        let text = serde_json::to_string_pretty(&record.variables).map_err(|error| io(error.into()))?;
        std::fs::write(self.folder.join(VARIABLES), text).map_err(io)
    }

    /// The values that files alone hold, where a version that knew no records has left them in a folder.
    #[must_use]
    pub fn unrecorded_variables(folder: &Path) -> Option<Map<String, Value>> {
        let text = std::fs::read_to_string(folder.join(VARIABLES)).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Makes the folder usable and validates all of it.
    ///
    /// # Errors
    /// [`TerraformError`] with the cause.
    pub async fn prepare(&self) -> Result<(), TerraformError> {
        self.init().await?;
        let output = self.query("validate", &["validate", "-json"]).await;
        match output {
            Ok(output) => {
                let validated: Validated = parse("validate", &output.stdout)?;
                if validated.valid { Ok(()) } else { Err(invalid(&validated.diagnostics)) }
            }
            Err(error) => Err(error),
        }
    }

    /// Makes the folder, or makes it usable again: unpacks the module, writes its variables, and fetches the providers.
    ///
    /// # Errors
    /// [`TerraformError`] with the cause.
    pub async fn init(&self) -> Result<(), TerraformError> {
        super::folder::make_private(&self.folder).map_err(TerraformError::Folder)?;
        self.write_variables()?;
        module::unpack(self.module, &self.folder).map_err(TerraformError::Folder)?;
        let backend = self.folder.join("backend.tf.json");
        match &self.backend {
            Backend::Folder => {
                let _ = std::fs::remove_file(backend);
            }
            Backend::Postgres { schema, .. } => {
                let text = json!({"terraform": {"backend": {"pg": {"schema_name": schema}}}}).to_string();
                std::fs::write(backend, text).map_err(TerraformError::Folder)?;
            }
        }
        let turn = self.terraform.lock_providers(self.lines, self.cancel).await?;
        self.lines.progress("fetching Terraform's providers");
        let done = self.mutate("init", &["init", "-input=false", "-json"]).await;
        drop(turn);
        done.map(drop)
    }

    /// Plans what brings the world to the variables; [`Workspace::apply`] does it.
    ///
    /// # Errors
    /// [`TerraformError`] with the cause.
    pub async fn plan(&self) -> Result<(), TerraformError> {
        self.lines.progress("planning");
        let out = format!("-out={PLAN}");
        self.mutate("plan", &["plan", "-input=false", "-json", &self.lock_wait(), &out]).await.map(drop)
    }

    /// Does what was planned.
    ///
    /// # Errors
    /// [`TerraformError`] with the cause.
    pub async fn apply(&self) -> Result<(), TerraformError> {
        self.mutate("apply", &["apply", "-input=false", "-json", &self.lock_wait(), PLAN]).await.map(drop)
    }

    /// Removes everything that the state knows.
    ///
    /// # Errors
    /// [`TerraformError`] with the cause.
    pub async fn destroy(&self) -> Result<(), TerraformError> {
        let args = ["destroy", "-auto-approve", "-input=false", "-json", &self.lock_wait()];
        self.mutate("destroy", &args).await.map(drop)
    }

    /// The module's outputs.
    ///
    /// # Errors
    /// [`TerraformError`] when one is missing or the state cannot be read.
    pub async fn outputs<T: DeserializeOwned>(&self) -> Result<T, TerraformError> {
        let output = self.query("output", &["output", "-json"]).await?;
        let values: Map<String, Value> = parse("output", &output.stdout)?;
        let flat: Map<String, Value> =
            values.into_iter().map(|(name, it)| (name, it.get("value").cloned().unwrap_or_default())).collect();
        parse("output", &Value::from(flat).to_string())
    }

    /// The ids of all resources that the state knows.
    ///
    /// # Errors
    /// [`TerraformError`] when the state cannot be read.
    pub async fn resource_ids(&self) -> Result<Vec<String>, TerraformError> {
        let output = self.query("state", &["state", "pull"]).await?;
        if output.stdout.trim().is_empty() {
            return Ok(Vec::new());
        }
        let state: Value = parse("state", &output.stdout)?;
        let resources = state["resources"].as_array().into_iter().flatten().filter(|it| it["mode"] == "managed");
        let instances = resources.flat_map(|it| it["instances"].as_array().into_iter().flatten());
        Ok(instances.filter_map(|it| it["attributes"]["id"].as_str().map(str::to_owned)).collect())
    }

    /// How long a call waits for a state that another one has locked: as long as that one may take. It may be at work on
    /// another machine, where nothing but the lock is known of it.
    fn lock_wait(&self) -> String {
        format!("-lock-timeout={}s", self.terraform.timeout.as_secs())
    }

    /// A call that changes the world, or the folder.
    async fn mutate(&self, name: &'static str, args: &[&str]) -> Result<Output, TerraformError> {
        let json = Arc::new(Mutex::new(JsonOutput::default()));
        let lines = {
            let (json, lines) = (Arc::clone(&json), self.lines.clone());
            Lines::new(move |line| match line {
                Line::Output(text) => {
                    if let Some(progress) = json.lock().expect("nobody panics while holding this lock").take(&text) {
                        lines.progress(progress);
                    }
                    lines.output(text);
                }
                Line::Progress(text) => lines.progress(text),
                Line::QuotedProgress(text) => lines.quoted_progress(text),
                Line::Warning(text) => lines.warning(text),
            })
        };
        // Its own time begins when it has the lock.
        let timeout = self.terraform.timeout * 2;
        let call = self.call(args).timeout(timeout).grace(GRACE).stream_stdout();
        let result = call.run_durably(&self.calls, &format!("terraform-{name}"), &lines, self.cancel).await;
        let json = std::mem::take(&mut *json.lock().expect("nobody panics while holding this lock"));
        result.map_err(|error| TerraformError::from_tool(name, error, json.errors))
    }

    async fn query(&self, name: &'static str, args: &[&str]) -> Result<Output, TerraformError> {
        let call = self.call(args).timeout(QUERY_TIMEOUT);
        call.run(self.lines, self.cancel).await.map_err(|error| TerraformError::from_tool(name, error, Vec::new()))
    }

    fn call(&self, args: &[&str]) -> Call {
        let call = Call::new(&self.terraform.program)
            .args(args)
            .directory(&self.folder)
            .inherit(INHERITED)
            .withhold(WITHHELD)
            .env("TF_IN_AUTOMATION", "1")
            .env("TF_INPUT", "0")
            .env("CHECKPOINT_DISABLE", "1")
            .env("TF_PLUGIN_CACHE_DIR", &self.terraform.providers)
            .env("TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE", "1")
            .env("AWS_REGION", self.region)
            .secret_env("AWS_ACCESS_KEY_ID", &self.keys.access_key_id)
            .secret_env("AWS_SECRET_ACCESS_KEY", &self.keys.secret_access_key);
        let call = match &self.keys.session_token {
            Some(token) => call.secret_env("AWS_SESSION_TOKEN", token),
            None => call,
        };
        match &self.backend {
            Backend::Folder => call,
            Backend::Postgres { url, .. } => call.inherit(POSTGRES).secret_env("PG_CONN_STR", url),
        }
    }
}

/// What `validate` answers.
#[derive(Deserialize)]
struct Validated {
    valid: bool,
    diagnostics: Vec<Value>,
}

fn parse<T: DeserializeOwned>(command: &'static str, text: &str) -> Result<T, TerraformError> {
    serde_json::from_str(text).map_err(|error| {
        TerraformError::Tool(ToolError::Unexpected { program: format!("terraform {command}"), what: error.to_string() })
    })
}

fn invalid(diagnostics: &[Value]) -> TerraformError {
    let text = |it: &Value| {
        let part = |name: &str| it[name].as_str().unwrap_or_default().to_owned();
        format!("{}: {}", part("summary"), part("detail"))
    };
    let errors = diagnostics.iter().filter(|it| it["severity"] == "error").map(text).collect();
    let tool = ToolError::Failed { program: "terraform validate".into(), status: "errors".into(), lines: Vec::new() };
    TerraformError::from_tool("validate", tool, errors)
}

#[cfg(test)]
mod tests;
