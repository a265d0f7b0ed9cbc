//! The typed request: what a person wants, with every value checked.
//!
//! Three sources lead to it: explicit body fields (`fields`), plain sentences (`sentence`) and tool calls of the chat
//! model (`tool_call`); all collect a `partial` request first.
//! `selection` finds the deployment that is meant, `question` asks for what is missing. Nothing here does IO.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::cloud::aws::AccessKeys;
use crate::id::repository_page::RefPath;
use crate::id::{
    Action, BuildSecretName, DeploymentId, DeploymentName, DockerfilePath, Domain, EnvironmentName, GitRef,
    KeyPairName, Mode, Namespace, PlanHash, Platform, Port, Region, RepositoryUrl, SourceDirectory, StageName,
    TargetName,
};
use crate::secret::redactor::REDACTED;
use crate::store::build_options::BuildOptions;

pub mod fields;
pub mod partial;
pub mod question;
pub mod selection;
pub mod sentence;
pub mod tool_call;

/// What a person wants, without secrets: this is what an operation keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Intent {
    /// Builds a repository and runs it.
    Deploy(Deploy),
    /// Builds the newest (or a given) commit and rolls it out.
    Redeploy(Redeploy),
    /// Sets the number of replicas.
    Scale(Scale),
    /// Replaces the pods by new ones of the same version.
    Restart(Selector),
    /// Goes back to an earlier version.
    Rollback(Rollback),
    /// Removes everything that belongs to a deployment.
    Decommission(Decommission),
    /// Removes several deployments, each by an operation of its own.
    DecommissionAll(Decommission),
    /// Tells how a deployment is.
    Status(Selector),
    /// Tells what is deployed.
    List(Selector),
    /// Shows what an application printed.
    Logs(Logs),
    /// Stops the operation that is running on a deployment.
    Cancel(Selector),
    /// Takes the last change back, by its inverse.
    Undo(Selector),
    /// Tells what the targets of deployments cost.
    Cost(Selector),
}

impl Intent {
    /// The action of this intent.
    #[must_use]
    pub fn action(&self) -> Action {
        match self {
            Self::Deploy(_) => Action::Deploy,
            Self::Redeploy(_) => Action::Redeploy,
            Self::Scale(_) => Action::Scale,
            Self::Restart(_) => Action::Restart,
            Self::Rollback(_) => Action::Rollback,
            Self::Decommission(_) | Self::DecommissionAll(_) => Action::Decommission,
            Self::Status(_) => Action::Status,
            Self::List(_) => Action::List,
            Self::Logs(_) => Action::Logs,
            Self::Cancel(_) => Action::Cancel,
            Self::Undo(_) => Action::Undo,
            Self::Cost(_) => Action::Cost,
        }
    }

    /// The deploy that this is, if it is one.
    #[must_use]
    pub fn deploy(&self) -> Option<&Deploy> {
        if let Self::Deploy(deploy) = self { Some(deploy) } else { None }
    }

    /// The values that say which deployments are meant; `None` for a deploy, which may make a new one.
    #[must_use]
    pub fn selector(&self) -> Option<&Selector> {
        match self {
            Self::Deploy(_) => None,
            Self::Redeploy(it) => Some(&it.deployment),
            Self::Scale(it) => Some(&it.deployment),
            Self::Rollback(it) => Some(&it.deployment),
            Self::Decommission(it) | Self::DecommissionAll(it) => Some(&it.deployment),
            Self::Logs(it) => Some(&it.deployment),
            Self::Restart(it)
            | Self::Status(it)
            | Self::List(it)
            | Self::Cancel(it)
            | Self::Undo(it)
            | Self::Cost(it) => Some(it),
        }
    }
}

/// Whether an intent takes something away from people, or costs money: then a request that was not made by explicit
/// fields is confirmed first.
#[must_use]
pub fn wants_confirmation(intent: &Intent, mode: Mode) -> bool {
    match intent {
        Intent::Decommission(_) | Intent::DecommissionAll(_) => true,
        Intent::Scale(scale) => scale.replicas == 0 || mode != Mode::Local,
        Intent::Deploy(deploy) => deploy.replicas == Some(0) || mode != Mode::Local,
        Intent::Rollback(rollback) => rollback.replicas == Some(0) || mode != Mode::Local,
        Intent::Redeploy(_) => mode != Mode::Local,
        // A restart takes nothing away (the old pods serve until the new ones do), and an undo is judged by what it
        // comes to.
        Intent::Restart(_)
        | Intent::Status(_)
        | Intent::List(_)
        | Intent::Logs(_)
        | Intent::Cancel(_)
        | Intent::Undo(_)
        | Intent::Cost(_) => false,
    }
}

/// An intent with the secrets that came with it and how to carry it out.
#[derive(Debug, Clone)]
pub struct Request {
    /// What to do.
    pub intent: Intent,
    /// Values that are sealed at rest and erased when the operation ends.
    pub secrets: Secrets,
    /// Only show the plan.
    pub dry_run: bool,
    /// How the request was made; a destructive sentence wants a confirmation that a field does not.
    pub source: Source,
    /// What the person has confirmed (`confirm`).
    pub confirmation: Confirmation,
    /// What the address of a page shows; it becomes part of the intent once the remote's refs tell where its ref ends.
    pub ref_path: Option<RefPath>,
}

/// How a request was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// By explicit body fields.
    Fields,
    /// By a plain sentence.
    Sentence,
    /// By a tool call of the chat model.
    Model,
}

/// What a person has confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Confirmation {
    /// Nothing.
    #[default]
    Missing,
    /// Nothing, and whatever the request leads to has to be asked first: who knows whose wish it is.
    Required,
    /// Whatever the request leads to.
    Given,
    /// One plan, as it was shown.
    OfPlan(PlanHash),
    /// The same, by a person's own yes to it in a conversation.
    Agreed(PlanHash),
}

/// Settings that decide what a request may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest number of replicas (`MAX_REPLICAS`).
    pub max_replicas: u16,
    /// The settings hold AWS credentials, so that a request for a cloud mode need not.
    pub aws_credentials_in_settings: bool,
}

/// Says why a request cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct IntentError {
    /// The field that is wrong; a part of an object has its path (`aws_credentials.aws_region`).
    pub param: Option<Cow<'static, str>>,
    /// What is wrong and what would be right.
    pub message: String,
    /// The kind of fault.
    pub code: IntentErrorCode,
}

/// The kind of fault of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum IntentErrorCode {
    /// A value is out of range, of the wrong kind or against its rule.
    InvalidValue,
    /// The action needs a field that is not there.
    MissingRequiredParameter,
    /// A field is not one of ours, but nearly.
    UnknownParameter,
}

impl IntentErrorCode {
    /// The stable text that clients see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Values of a request that must stay secret.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    /// Token for a private repository.
    pub git_token: Option<SecretString>,
    /// Secrets that RUN lines of the build may mount.
    pub build: Option<BTreeMap<BuildSecretName, SecretString>>,
    /// Environment variables of the application; `None` keeps what is there, an empty map removes all.
    pub environment: Option<BTreeMap<EnvironmentName, SecretString>>,
    /// Credentials for the cloud modes.
    pub aws: Option<AwsCredentials>,
}

impl Secrets {
    /// The field and the name of the first value that is the mark of a secret, and not a secret.
    #[must_use]
    pub fn mark(&self) -> Option<(&'static str, String)> {
        let is_mark = |it: &SecretString| it.expose_secret() == REDACTED;
        if self.git_token.as_ref().is_some_and(is_mark) {
            return Some(("git_token", "git_token".to_owned()));
        }
        let variable = self.environment.iter().flatten().find(|(_, it)| is_mark(it));
        if let Some((name, _)) = variable {
            return Some(("environment", format!("environment.{name}")));
        }
        let of_build = self.build.iter().flatten().find(|(_, it)| is_mark(it));
        if let Some((name, _)) = of_build {
            return Some(("build_secrets", format!("build_secrets.{name}")));
        }
        let aws = self.aws.as_ref()?;
        let keys = [Some(&aws.access_key_id), Some(&aws.secret_access_key), aws.session_token.as_ref()];
        let has_mark = keys.into_iter().flatten().any(is_mark);
        has_mark.then(|| ("aws_credentials", "aws_credentials".to_owned()))
    }
}

/// AWS credentials of one request.
#[derive(Debug, Clone)]
pub struct AwsCredentials {
    /// Access key id.
    pub access_key_id: SecretString,
    /// Secret access key.
    pub secret_access_key: SecretString,
    /// Session token of temporary credentials.
    pub session_token: Option<SecretString>,
    /// Region; the setting `AWS_REGION` without one.
    pub region: Option<Region>,
}

impl From<&AwsCredentials> for AccessKeys {
    fn from(it: &AwsCredentials) -> Self {
        Self {
            access_key_id: it.access_key_id.clone(),
            secret_access_key: it.secret_access_key.clone(),
            session_token: it.session_token.clone(),
        }
    }
}

/// A new deployment, or an update of the one with the same mode, target, namespace and name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deploy {
    /// Kind of target.
    pub mode: Mode,
    /// What to build.
    pub repository: RepositoryUrl,
    /// Branch, tag or commit; the default branch without one.
    pub git_ref: Option<GitRef>,
    /// Name of the target (cluster or instance).
    #[serde(rename = "instance_id")]
    pub target_name: Option<TargetName>,
    /// Namespace on the cluster.
    pub namespace: Option<Namespace>,
    /// Name of the application.
    #[serde(rename = "name")]
    pub application_name: Option<DeploymentName>,
    /// Initial number of replicas.
    pub replicas: Option<u16>,
    /// Port that the application listens on.
    pub container_port: Option<Port>,
    /// Seconds that the application has to end after SIGTERM.
    #[serde(default)]
    pub stop_grace_s: Option<u16>,
    /// The directory of the repository in which the build begins.
    #[serde(default)]
    pub source_directory: Option<SourceDirectory>,
    /// Which Dockerfile of the repository.
    pub dockerfile: Option<DockerfilePath>,
    /// How the build differs from that of the Dockerfile alone.
    #[serde(default)]
    pub build: BuildChange,
    /// Keeps a target that was made for a deploy that failed.
    pub keep_target: bool,
    /// Key pair of the EC2 instance.
    pub key_pair: Option<KeyPairName>,
    /// Own name of the application: zone and label together.
    pub domain: Option<Domain>,
}

/// Values that say which deployment is meant; all that are given must fit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Selector {
    /// Kind of target.
    pub mode: Option<Mode>,
    /// Name of the target, or the id of the deployment.
    #[serde(rename = "instance_id")]
    pub target_name: Option<TargetName>,
    /// Namespace on the cluster.
    pub namespace: Option<Namespace>,
    /// Name of the application.
    #[serde(rename = "name")]
    pub application_name: Option<DeploymentName>,
    /// The repository that it was built from.
    pub repository: Option<RepositoryUrl>,
    /// The directory of the repository that it was built in.
    #[serde(default)]
    pub source_directory: Option<SourceDirectory>,
    /// Public address of the EC2 instance.
    pub public_ip: Option<std::net::IpAddr>,
    /// Key pair of the EC2 instance.
    pub key_pair: Option<KeyPairName>,
}

impl Selector {
    /// Names this deployment and no other.
    ///
    /// # Panics
    /// Never: the id of a deployment keeps the rule.
    #[must_use]
    pub fn of(deployment: DeploymentId) -> Self {
        let id = TargetName::parse(deployment.to_string()).expect("the id of a deployment keeps the rule");
        Self { target_name: Some(id), ..Self::default() }
    }
}

/// A roll-out of the newest (or a given) commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Redeploy {
    /// Which deployment.
    pub deployment: Selector,
    /// Branch, tag or commit; the deployment's own without one.
    pub git_ref: Option<GitRef>,
    /// Changes the port that the application listens on.
    pub container_port: Option<Port>,
    /// Changes how many seconds the application has to end after SIGTERM.
    #[serde(default)]
    pub stop_grace_s: Option<u16>,
    /// Changes the directory in which the build begins; only of a deployment that is named.
    #[serde(default)]
    pub source_directory: Option<SourceDirectory>,
    /// Changes the Dockerfile.
    pub dockerfile: Option<DockerfilePath>,
    /// Changes how the build differs from that of the Dockerfile alone.
    #[serde(default)]
    pub build: BuildChange,
}

impl Redeploy {
    /// Takes a directory for where the named deployment is built from now on; without a name it says which one is meant.
    pub fn set_directory(&mut self, directory: SourceDirectory) {
        let selector = &mut self.deployment;
        let names_id = selector.target_name.as_ref().is_some_and(|it| DeploymentId::parse(it.as_str()).is_ok());
        if selector.application_name.is_some() || names_id {
            self.source_directory = Some(directory);
        } else {
            selector.source_directory = Some(directory);
        }
    }
}

/// What a request says anew of how a build differs from that of the Dockerfile alone; the rest stays as it was.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildChange {
    /// All values of ARG lines, in place of those before.
    pub args: Option<BTreeMap<EnvironmentName, String>>,
    /// The stage that becomes the image.
    pub target: Option<StageName>,
    /// What the image is for.
    pub platform: Option<Platform>,
    /// Names of the secrets that came with it.
    pub secrets: Option<BTreeSet<BuildSecretName>>,
}

impl BuildChange {
    /// What holds after it.
    #[must_use]
    pub fn of(&self, before: &BuildOptions) -> BuildOptions {
        BuildOptions {
            args: self.args.as_ref().unwrap_or(&before.args).clone(),
            target: self.target.clone().or_else(|| before.target.clone()),
            platform: self.platform.clone().or_else(|| before.platform.clone()),
            secrets: self.secrets.as_ref().unwrap_or(&before.secrets).clone(),
        }
    }
}

/// A change of the number of replicas.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    /// Which deployment.
    pub deployment: Selector,
    /// How many, from 0 to `MAX_REPLICAS`.
    pub replicas: u16,
}

/// A return to an earlier version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rollback {
    /// Which deployment.
    pub deployment: Selector,
    /// Which version; the one before the present one without it.
    pub to: Option<VersionRef>,
    /// How many replicas run it; as many as now without it.
    #[serde(default)]
    pub replicas: Option<u16>,
}

/// Names an earlier version of a deployment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionRef {
    /// Its revision number, counted from 1.
    Revision(u32),
    /// Its commit, or the first seven digits or more of it.
    Commit(String),
}

/// The removal of one deployment, or of all that are meant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decommission {
    /// Which deployment, or which deployments.
    pub deployment: Selector,
    /// Keeps the target, also when this was the last deployment on it.
    pub keep_target: bool,
    /// Deletes the local cluster too, when nothing else runs on it.
    pub delete_cluster: bool,
}

/// The output of an application.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Logs {
    /// Which deployment.
    pub deployment: Selector,
    /// How many of the last lines of each pod.
    pub tail: u32,
    /// Goes on with new lines until the client leaves (streams only).
    pub follow: bool,
}
