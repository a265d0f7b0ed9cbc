//! What is known about a request before it is complete: single checked values, from fields or from sentences.

use std::collections::BTreeMap;
use std::net::IpAddr;

use secrecy::SecretString;

use crate::id::repository_page::{RefPath, RepositoryPage, Shown};
use crate::id::{
    Action, BuildSecretName, DeploymentName, DockerfilePath, Domain, EnvironmentName, GitRef, HostedZoneId,
    KeyPairName, Mode, Namespace, Platform, Port, RepositoryUrl, SourceDirectory, StageName, SubdomainLabel,
    TargetName,
};

use super::{
    AwsCredentials, BuildChange, Confirmation, Decommission, Deploy, Intent, Limits, Logs, Redeploy, Request, Rollback,
    Scale, Secrets, Selector, Source, VersionRef,
};

/// How many lines of each pod `logs` shows when nobody says.
pub const DEFAULT_TAIL: u32 = 100;
/// How many there are at the most.
pub const MAX_TAIL: u32 = 5000;

/// The values of a request that are known so far, each checked against its own rule.
#[derive(Debug, Clone, Default)]
pub struct PartialRequest {
    /// Kind of target.
    pub mode: Option<Mode>,
    /// What to build.
    pub repository: Option<RepositoryUrl>,
    /// Branch, tag or commit.
    pub git_ref: Option<GitRef>,
    /// What the address of a page shows of the repository.
    pub ref_path: Option<RefPath>,
    /// The directory of the repository in which the build begins.
    pub source_directory: Option<SourceDirectory>,
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
    /// Seconds that the application has to end after SIGTERM.
    pub stop_grace_s: Option<u16>,
    /// Environment variables of the application.
    pub environment: Option<BTreeMap<EnvironmentName, SecretString>>,
    /// Which Dockerfile of the repository.
    pub dockerfile: Option<DockerfilePath>,
    /// Values of the Dockerfile's ARG lines.
    pub build_args: Option<BTreeMap<EnvironmentName, String>>,
    /// Secrets that RUN lines of the build may mount.
    pub build_secrets: Option<BTreeMap<BuildSecretName, SecretString>>,
    /// The stage of the Dockerfile that becomes the image.
    pub build_target: Option<StageName>,
    /// What the image is for.
    pub build_platform: Option<Platform>,
    /// Token for a private repository.
    pub git_token: Option<SecretString>,
    /// The version to go back to.
    pub rollback_to: Option<VersionRef>,
    /// Keeps the target.
    pub keep_target: Option<bool>,
    /// Deletes the local cluster too.
    pub delete_cluster: Option<bool>,
    /// All deployments that fit are meant, not the one that does. Only words can say so.
    pub all: Option<bool>,
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
    /// Takes in the address of a repository, with what its page shows.
    pub fn set_page(&mut self, page: RepositoryPage) {
        self.repository = Some(page.repository);
        match page.shows {
            Some(Shown::Ref(git_ref)) => self.git_ref = Some(git_ref),
            Some(Shown::Path(path)) => self.ref_path = Some(path),
            None => {}
        }
    }

    /// Takes in a branch, tag or commit that was given by itself.
    ///
    /// # Errors
    /// What it contradicts: to build another state than the address shows would be noticed when it runs, if at all.
    pub fn set_git_ref(&mut self, git_ref: GitRef) -> Result<(), String> {
        let shown = match (&self.git_ref, &self.ref_path) {
            (Some(shown), _) if shown.short() != git_ref.short() => Some(shown.to_string()),
            (_, Some(path)) if path.contradicts(&git_ref) => Some(path.text()),
            (_, _) => None,
        };
        if let Some(shown) = shown {
            return Err(format!("the address shows `{shown}`, not `{git_ref}`; give the one or the other"));
        }
        self.git_ref = Some(git_ref);
        Ok(())
    }

    /// These values, and those of `others` where these say nothing.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            mode: self.mode.or(others.mode),
            repository: self.repository.or(others.repository),
            git_ref: self.git_ref.or(others.git_ref),
            ref_path: self.ref_path.or(others.ref_path),
            source_directory: self.source_directory.or(others.source_directory),
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
            stop_grace_s: self.stop_grace_s.or(others.stop_grace_s),
            environment: self.environment.or(others.environment),
            dockerfile: self.dockerfile.or(others.dockerfile),
            build_args: self.build_args.or(others.build_args),
            build_secrets: self.build_secrets.or(others.build_secrets),
            build_target: self.build_target.or(others.build_target),
            build_platform: self.build_platform.or(others.build_platform),
            git_token: self.git_token.or(others.git_token),
            rollback_to: self.rollback_to.or(others.rollback_to),
            keep_target: self.keep_target.or(others.keep_target),
            delete_cluster: self.delete_cluster.or(others.delete_cluster),
            all: self.all.or(others.all),
            follow: self.follow.or(others.follow),
            tail: self.tail.or(others.tail),
            confirm: self.confirm.or(others.confirm),
            dry_run: self.dry_run.or(others.dry_run),
        }
    }

    /// These values, and those that were said before where these say nothing. An address that is given anew also says
    /// where in the repository.
    #[must_use]
    pub fn or_earlier(self, mut earlier: Self) -> Self {
        if self.repository.is_some() {
            earlier.ref_path = None;
            earlier.source_directory = None;
        }
        self.or(earlier)
    }

    /// Only the values that say which deployment is meant: what a conversation carries from one action to the next.
    #[must_use]
    pub fn identifying(&self) -> Self {
        Self {
            mode: self.mode,
            repository: self.repository.clone(),
            ref_path: self.ref_path.clone().map(RefPath::without_ref),
            source_directory: self.source_directory.clone(),
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
            source_directory: self.source_directory.clone(),
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
        let shown =
            self.ref_path.as_ref().zip(fields.git_ref.as_ref()).filter(|(shown, given)| shown.contradicts(given));
        let page = |values: &Self| values.ref_path.as_ref().map(RefPath::text);
        let same_repository = self.repository.as_ref().map(RepositoryUrl::identity)
            == fields.repository.as_ref().map(RepositoryUrl::identity);
        let repositories = (self.repository.as_ref(), fields.repository.as_ref());
        let (said, given) = if same_repository { (None, None) } else { repositories };
        differ("deployment_mode", self.mode.as_ref(), fields.mode.as_ref())
            .or_else(|| differ("github_repo_url", said, given))
            .or_else(|| differ("github_repo_url", page(self).as_ref(), page(fields).as_ref()))
            .or_else(|| differ("source_directory", self.source_directory.as_ref(), fields.source_directory.as_ref()))
            .or_else(|| differ("git_ref", self.git_ref.as_ref(), fields.git_ref.as_ref()))
            .or_else(|| {
                shown.and_then(|(shown, given)| differ("git_ref", Some(&shown.text()), Some(&given.to_string())))
            })
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
        let lifecycle = matches!(
            action,
            Action::Redeploy | Action::Scale | Action::Restart | Action::Rollback | Action::Decommission
        );
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
            build: self.build_secrets.clone().filter(|_| builds),
            environment: self.environment.clone().filter(|_| builds),
            aws: self.aws.clone(),
        };
        let ref_path = self.ref_path.clone();
        match self.intent(action) {
            Some(intent) if missing.is_empty() => {
                Ok(Request { intent, secrets, dry_run, source, confirmation, ref_path })
            }
            _ => Err(missing),
        }
    }

    /// What is said of how the build differs from that of the Dockerfile alone; of secrets their names.
    fn build_change(&self) -> BuildChange {
        BuildChange {
            args: self.build_args.clone(),
            target: self.build_target.clone(),
            platform: self.build_platform.clone(),
            secrets: self.build_secrets.as_ref().map(|it| it.keys().cloned().collect()),
        }
    }

    /// The intent; `None` when a value is missing without which it cannot be written down.
    fn intent(self, action: Action) -> Option<Intent> {
        let deployment = self.selector();
        let build = self.build_change();
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
                stop_grace_s: self.stop_grace_s,
                source_directory: self.source_directory,
                dockerfile: self.dockerfile,
                build,
                keep_target,
                key_pair: self.key_pair,
                domain: self.zone.zip(self.label).map(|(zone, label)| Domain { zone, label }),
            }),
            Action::Redeploy => {
                let mut redeploy = Redeploy {
                    deployment: Selector { source_directory: None, ..deployment },
                    git_ref: self.git_ref,
                    container_port: self.container_port,
                    stop_grace_s: self.stop_grace_s,
                    source_directory: None,
                    dockerfile: self.dockerfile,
                    build,
                };
                if let Some(directory) = self.source_directory {
                    redeploy.set_directory(directory);
                }
                Intent::Redeploy(redeploy)
            }
            Action::Scale => Intent::Scale(Scale { deployment, replicas: self.replicas? }),
            Action::Restart => Intent::Restart(deployment),
            Action::Rollback => Intent::Rollback(Rollback { deployment, to: self.rollback_to, replicas: None }),
            Action::Decommission => {
                let delete_cluster = self.delete_cluster.unwrap_or(false);
                let decommission = Decommission { deployment, keep_target, delete_cluster };
                if self.all == Some(true) {
                    Intent::DecommissionAll(decommission)
                } else {
                    Intent::Decommission(decommission)
                }
            }
            Action::Status => Intent::Status(deployment),
            Action::List => Intent::List(deployment),
            Action::Logs => Intent::Logs(Logs {
                deployment,
                tail: self.tail.unwrap_or(DEFAULT_TAIL),
                follow: self.follow.unwrap_or(false),
            }),
            Action::Cancel => Intent::Cancel(deployment),
            Action::Undo => Intent::Undo(deployment),
            Action::Cost => Intent::Cost(deployment),
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
