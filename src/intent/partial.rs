//! What is known about a request before it is complete: single checked values, from fields or from sentences.

use std::collections::BTreeMap;
use std::net::IpAddr;

use secrecy::SecretString;

use crate::id::{
    Action, DeploymentName, DockerfilePath, Domain, EnvironmentName, GitRef, HostedZoneId, KeyPairName, Mode,
    Namespace, Port, RepositoryUrl, SubdomainLabel, TargetName,
};

use super::{
    AwsCredentials, Confirmation, Decommission, Deploy, Intent, Limits, Logs, Redeploy, Request, Rollback, Scale,
    Secrets, Selector, Source, VersionRef,
};

/// How many lines of each pod `logs` shows when nobody says.
pub const DEFAULT_TAIL: u32 = 100;

/// The values of a request that are known so far, each checked against its own rule.
#[derive(Debug, Clone, Default)]
pub struct PartialRequest {
    /// Kind of target.
    pub mode: Option<Mode>,
    /// What to build.
    pub repository: Option<RepositoryUrl>,
    /// Branch, tag or commit.
    pub git_ref: Option<GitRef>,
    /// Namespace on the cluster.
    pub namespace: Option<Namespace>,
    /// Name of the application.
    pub application_name: Option<DeploymentName>,
    /// Name of the target, or the id of a deployment.
    pub target_name: Option<TargetName>,
    /// Public address of the EC2 instance.
    pub public_ip: Option<IpAddr>,
    /// Key pair of the EC2 instance.
    pub key_pair: Option<KeyPairName>,
    /// Credentials for the cloud modes.
    pub aws: Option<AwsCredentials>,
    /// The zone that the application's host name lies in.
    pub zone: Option<HostedZoneId>,
    /// The first part of the application's host name.
    pub label: Option<SubdomainLabel>,
    /// Number of replicas.
    pub replicas: Option<u16>,
    /// Port that the application listens on.
    pub container_port: Option<Port>,
    /// Environment variables of the application.
    pub environment: Option<BTreeMap<EnvironmentName, SecretString>>,
    /// Which Dockerfile of the repository.
    pub dockerfile: Option<DockerfilePath>,
    /// Token for a private repository.
    pub git_token: Option<SecretString>,
    /// The version to go back to.
    pub rollback_to: Option<VersionRef>,
    /// Keeps the target.
    pub keep_target: Option<bool>,
    /// Deletes the local cluster too.
    pub delete_cluster: Option<bool>,
    /// Goes on with new log lines.
    pub follow: Option<bool>,
    /// How many of the last lines.
    pub tail: Option<u32>,
    /// What the person has confirmed.
    pub confirm: Option<Confirmation>,
    /// Only show the plan.
    pub dry_run: Option<bool>,
}

impl PartialRequest {
    /// These values, and those of `others` where these say nothing.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            mode: self.mode.or(others.mode),
            repository: self.repository.or(others.repository),
            git_ref: self.git_ref.or(others.git_ref),
            namespace: self.namespace.or(others.namespace),
            application_name: self.application_name.or(others.application_name),
            target_name: self.target_name.or(others.target_name),
            public_ip: self.public_ip.or(others.public_ip),
            key_pair: self.key_pair.or(others.key_pair),
            aws: self.aws.or(others.aws),
            zone: self.zone.or(others.zone),
            label: self.label.or(others.label),
            replicas: self.replicas.or(others.replicas),
            container_port: self.container_port.or(others.container_port),
            environment: self.environment.or(others.environment),
            dockerfile: self.dockerfile.or(others.dockerfile),
            git_token: self.git_token.or(others.git_token),
            rollback_to: self.rollback_to.or(others.rollback_to),
            keep_target: self.keep_target.or(others.keep_target),
            delete_cluster: self.delete_cluster.or(others.delete_cluster),
            follow: self.follow.or(others.follow),
            tail: self.tail.or(others.tail),
            confirm: self.confirm.or(others.confirm),
            dry_run: self.dry_run.or(others.dry_run),
        }
    }

    /// Only the values that say which deployment is meant: what a conversation carries from one action to the next.
    #[must_use]
    pub fn identifying(&self) -> Self {
        Self {
            mode: self.mode,
            repository: self.repository.clone(),
            namespace: self.namespace.clone(),
            application_name: self.application_name.clone(),
            target_name: self.target_name.clone(),
            public_ip: self.public_ip,
            key_pair: self.key_pair.clone(),
            ..Self::default()
        }
    }

    /// The values that say which deployment is meant.
    #[must_use]
    pub fn selector(&self) -> Selector {
        Selector {
            mode: self.mode,
            target_name: self.target_name.clone(),
            namespace: self.namespace.clone(),
            application_name: self.application_name.clone(),
            repository: self.repository.clone(),
            public_ip: self.public_ip,
            key_pair: self.key_pair.clone(),
        }
    }

    /// A field of the request and what was said in it that say different things: neither wins, the person does.
    #[must_use]
    pub fn contradiction(&self, fields: &Self) -> Option<String> {
        fn differ<T: PartialEq + ToString>(field: &str, said: Option<&T>, given: Option<&T>) -> Option<String> {
            let (said, given) = said.zip(given).filter(|(said, given)| said != given)?;
            Some(format!("the message says `{}`, the field `{field}` says `{}`", said.to_string(), given.to_string()))
        }
        differ("deployment_mode", self.mode.as_ref(), fields.mode.as_ref())
            .or_else(|| differ("github_repo_url", self.repository.as_ref(), fields.repository.as_ref()))
            .or_else(|| differ("target_namespace", self.namespace.as_ref(), fields.namespace.as_ref()))
            .or_else(|| differ("instance_name", self.application_name.as_ref(), fields.application_name.as_ref()))
            .or_else(|| differ("instance_id", self.target_name.as_ref(), fields.target_name.as_ref()))
            .or_else(|| differ("scale_replicas", self.replicas.as_ref(), fields.replicas.as_ref()))
    }

    /// What `action` needs and these values lack, in the order in which a person would say it.
    ///
    /// A sentence may leave out which deployment is meant (the only one is), a request by fields must at least say the
    /// mode.
    #[must_use]
    pub fn missing(&self, action: Action, source: Source, limits: &Limits) -> Vec<MissingField> {
        let cloud = matches!(self.mode, Some(Mode::CloudLocal | Mode::CloudHosted));
        let by_fields = source == Source::Fields;
        let lifecycle = matches!(action, Action::Redeploy | Action::Scale | Action::Rollback | Action::Decommission);
        let deploy = action == Action::Deploy;
        let needs = [
            (MissingField::Mode, (deploy || lifecycle && by_fields) && self.mode.is_none()),
            (MissingField::Repository, deploy && self.repository.is_none()),
            (MissingField::KeyPair, deploy && self.mode == Some(Mode::CloudLocal) && self.key_pair.is_none()),
            (MissingField::Zone, deploy && self.zone.is_none() && self.label.is_some()),
            (MissingField::Label, deploy && self.label.is_none() && self.zone.is_some()),
            (MissingField::Target, lifecycle && by_fields && cloud && self.target_name.is_none()),
            (MissingField::Replicas, action == Action::Scale && self.replicas.is_none()),
            (
                MissingField::Credentials,
                (deploy || lifecycle) && cloud && self.aws.is_none() && !limits.aws_credentials_in_settings,
            ),
        ];
        needs.into_iter().filter_map(|(need, is_missing)| is_missing.then_some(need)).collect()
    }

    /// Makes the request of these values.
    ///
    /// # Errors
    /// Everything that is missing, at once.
    pub fn request(self, action: Action, source: Source, limits: &Limits) -> Result<Request, Vec<MissingField>> {
        let missing = self.missing(action, source, limits);
        let dry_run = self.dry_run.unwrap_or(false);
        let confirmation = self.confirm.clone().unwrap_or_default();
        let builds = matches!(action, Action::Deploy | Action::Redeploy);
        let secrets = Secrets {
            git_token: self.git_token.clone().filter(|_| builds),
            environment: self.environment.clone().filter(|_| builds),
            aws: self.aws.clone(),
        };
        match self.intent(action) {
            Some(intent) if missing.is_empty() => Ok(Request { intent, secrets, dry_run, source, confirmation }),
            _ => Err(missing),
        }
    }

    /// The intent; `None` when a value is missing without which it cannot be written down.
    fn intent(self, action: Action) -> Option<Intent> {
        let deployment = self.selector();
        let keep_target = self.keep_target.unwrap_or(false);
        Some(match action {
            Action::Deploy => Intent::Deploy(Deploy {
                mode: self.mode?,
                repository: self.repository?,
                git_ref: self.git_ref,
                target_name: self.target_name,
                namespace: self.namespace,
                application_name: self.application_name,
                replicas: self.replicas,
                container_port: self.container_port,
                dockerfile: self.dockerfile,
                keep_target,
                key_pair: self.key_pair,
                domain: self.zone.zip(self.label).map(|(zone, label)| Domain { zone, label }),
            }),
            Action::Redeploy => Intent::Redeploy(Redeploy {
                deployment,
                git_ref: self.git_ref,
                container_port: self.container_port,
                dockerfile: self.dockerfile,
            }),
            Action::Scale => Intent::Scale(Scale { deployment, replicas: self.replicas? }),
            Action::Rollback => Intent::Rollback(Rollback { deployment, to: self.rollback_to }),
            Action::Decommission => Intent::Decommission(Decommission {
                deployment,
                keep_target,
                delete_cluster: self.delete_cluster.unwrap_or(false),
            }),
            Action::Status => Intent::Status(deployment),
            Action::List => Intent::List(deployment),
            Action::Logs => Intent::Logs(Logs {
                deployment,
                tail: self.tail.unwrap_or(DEFAULT_TAIL),
                follow: self.follow.unwrap_or(false),
            }),
            Action::Cancel => Intent::Cancel(deployment),
        })
    }
}

/// A value that an action cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingField {
    /// The kind of target.
    Mode,
    /// The repository to build.
    Repository,
    /// The key pair of an EC2 instance.
    KeyPair,
    /// The hosted zone that goes with a label.
    Zone,
    /// The label that goes with a hosted zone.
    Label,
    /// The name of the target, or the id of the deployment.
    Target,
    /// The number of replicas.
    Replicas,
    /// AWS credentials.
    Credentials,
}

impl MissingField {
    /// The body field that supplies it.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::Mode => "deployment_mode",
            Self::Repository => "github_repo_url",
            Self::KeyPair => "ec2_key_name",
            Self::Zone => "base_hosted_zone_id",
            Self::Label => "app_subdomain_label",
            Self::Target => "instance_id",
            Self::Replicas => "scale_replicas",
            Self::Credentials => "aws_credentials",
        }
    }
}
