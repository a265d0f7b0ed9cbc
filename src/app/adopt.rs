//! Takes over an instance that an on-demand-infra made and that this store knows nothing of: what runs on it is read from
//! its cluster, so that every action works on it from then on.

use std::net::IpAddr;

use jiff::Timestamp;

use super::{App, AppError};
use crate::access::Caller;
use crate::audit::{AuditEntry, AuditEvent};
use crate::cloud::aws::instance::DescribedInstance;
use crate::cloud::aws::{AccessKeys, Aws, AwsError, CallerIdentity};
use crate::cloud::kube::live::NamedDeployment;
use crate::id::{
    CommitId, DeploymentId, ExposedPort, ImageRef, KeyPairName, Mode, OperationId, Port, Protocol, Region,
    RepositoryUrl, SourceDirectory, TargetId, cluster_name_of_target,
};
use crate::intent::{AwsCredentials, Selector};
use crate::step::context::ssh_address;
use crate::store::build_options::BuildOptions;
use crate::store::record::{Deployment, DeploymentFacts, DeploymentState, Instance, Target, Version, VersionBuild};

impl App {
    /// Takes over the instance that a request names, when it is there and ours by its tag, and address and key pair
    /// are those of the request. False when there is no such instance. Not called under the accept lock: the network may
    /// take its time.
    ///
    /// # Errors
    /// [`AppError`] when the instance is there and something does not belong together, or it cannot be looked at.
    pub(super) async fn adopt(
        &self,
        caller: &Caller,
        selector: &Selector,
        given: Option<&AwsCredentials>,
    ) -> Result<bool, AppError> {
        let settings = &self.0.settings;
        let keys = given.map(AccessKeys::from).or_else(|| settings.aws.credentials.as_ref().map(AccessKeys::from));
        let region = given.and_then(|it| it.region.clone()).or_else(|| settings.aws.region.clone());
        let (Some(Mode::CloudLocal), Some(name), Some(keys), Some(region)) =
            (selector.mode, &selector.target_name, keys, region)
        else {
            return Ok(false);
        };
        if self.0.store.target_by_name(Mode::CloudLocal, name.as_str()).await?.is_some() {
            return Ok(false);
        }
        let aws = Aws::connect(&region, Some(keys)).await.map_err(|error| refused(&error))?;
        let identity = aws.caller_identity().await.map_err(|error| refused(&error))?;
        let Some(found) = only(aws.instances_named(name.as_str()).await.map_err(|error| refused(&error))?)? else {
            return Ok(false);
        };
        let target = found.target.as_deref().and_then(|tag| TargetId::parse(tag).ok()).ok_or_else(|| {
            conflict(format!("the EC2 instance `{}` was not made by this kind of server", found.id), "instance_id")
        })?;
        let image = aws.machine_image(&found.image).await.map_err(|error| refused(&error))?;
        let user = settings.ec2.ssh_user.clone().or_else(|| image.map(|it| it.user().to_owned()));
        let user = user.unwrap_or_else(|| "ec2-user".to_owned());
        let host_keys = aws.host_keys(&found.id).await.unwrap_or_default();
        let instance = verified_instance(&found, selector, &region, &identity, user, host_keys)?;
        let deployments = self.read_cluster(target, &instance).await;
        // Of what is not taken over nothing is kept.
        let deployments = deployments.inspect_err(|_| self.0.hosts.forget(target))?;
        let target = Target {
            id: target,
            mode: Mode::CloudLocal,
            name: instance.name.clone(),
            made_here: true,
            locked_by: None,
            region: Some(region),
            instance: Some(instance),
            cluster: None,
        };
        let _turn = self.0.accept_lock.lock().await;
        // Another request may have taken it over meanwhile, or made one of that name.
        if self.0.store.target_by_name(Mode::CloudLocal, &target.name).await?.is_none() {
            let entry = AuditEntry {
                outcome: Some(format!("`{}` with {} deployments", target.name, deployments.len())),
                ..AuditEntry::by(caller, AuditEvent::TakenOver)
            };
            self.0.store.adopt(&target, &deployments, &entry).await?;
        }
        tracing::info!(target = target.name, count = deployments.len(), "an instance without a record is taken over");
        Ok(true)
    }

    /// What this kind of server has put onto the cluster of an instance.
    async fn read_cluster(&self, target: TargetId, instance: &Instance) -> Result<Vec<Deployment>, AppError> {
        let settings = &self.0.settings;
        let folder = settings.store.workspace.join("targets").join(target.to_string());
        let unseen = |error: &dyn std::error::Error| {
            let id = &instance.id;
            let message = format!("it cannot be seen what runs on the EC2 instance `{id}`: {error}");
            AppError::Conflict { message, param: Some("instance_id") }
        };
        let keys = settings.ssh.private_key_base_path.as_deref();
        let address = ssh_address(instance, keys, &folder).map_err(|error| unseen(&error))?;
        let host = self.0.hosts.connect(target, &address).await.map_err(|error| unseen(&error))?;
        let kube = host.kube(&cluster_name_of_target(&instance.name), &folder).await.map_err(|error| unseen(&error))?;
        let mut deployments = Vec::new();
        for named in kube.managed_deployments().await.map_err(|error| unseen(&error))? {
            let image = ImageRef::parse(named.live.image.clone()).ok();
            let image_id = match &image {
                Some(image) => host.docker.image(image).await.ok().flatten().map(|it| it.id),
                None => None,
            };
            deployments.extend(deployment(named, target, instance, image_id.unwrap_or_default()));
        }
        if deployments.is_empty() {
            return Err(conflict(format!("nothing of ours runs on the EC2 instance `{}`", instance.id), "instance_id"));
        }
        Ok(deployments)
    }
}

/// The instance, if tag, address and key pair belong together.
fn verified_instance(
    found: &DescribedInstance,
    selector: &Selector,
    region: &Region,
    identity: &CallerIdentity,
    user: String,
    host_keys: Vec<String>,
) -> Result<Instance, AppError> {
    let id = &found.id;
    let public_ip: IpAddr = found.public_ip.ok_or_else(|| {
        conflict(format!("the EC2 instance `{id}` has no public address, it is {}", found.state), "instance_id")
    })?;
    if let Some(asked) = selector.public_ip.filter(|it| *it != public_ip) {
        return Err(conflict(format!("the EC2 instance `{id}` is at {public_ip}, not at {asked}"), "public_ip"));
    }
    let key_pair = found.key_pair.as_deref().and_then(|name| KeyPairName::parse(name).ok());
    let key_pair = key_pair
        .ok_or_else(|| conflict(format!("the EC2 instance `{id}` was made without a key pair"), "ec2_key_name"))?;
    if let Some(asked) = selector.key_pair.as_ref().filter(|it| **it != key_pair) {
        let message = format!("the EC2 instance `{id}` was made with the key pair `{key_pair}`, not `{asked}`");
        return Err(conflict(message, "ec2_key_name"));
    }
    Ok(Instance {
        id: id.clone(),
        name: found.name.clone().unwrap_or_default(),
        public_ip,
        user,
        key_pair,
        region: region.clone(),
        zone: found.zone.clone(),
        image: found.image.clone(),
        account: identity.account.clone(),
        host_keys,
        // A file of an earlier server may pin others: the next operation compares them.
        are_host_keys_confirmed: false,
    })
}

/// A record of what the cluster has; `None` for one that lacks what a record needs.
fn deployment(named: NamedDeployment, target: TargetId, instance: &Instance, image_id: String) -> Option<Deployment> {
    let NamedDeployment { name, namespace, live } = named;
    let operation = live.operation.as_deref().and_then(|it| OperationId::parse(it).ok())?;
    let main_port = Port::new(live.main_port?)?;
    let source_directory = live.source_directory.and_then(|it| SourceDirectory::parse(it).ok());
    let now = Timestamp::now();
    let version = Version {
        revision: 1,
        commit: CommitId::parse(live.commit?).ok()?,
        git_ref: None,
        image: ImageRef::parse(live.image).ok()?,
        image_id,
        main_port,
        ports: vec![ExposedPort { number: main_port, protocol: Protocol::Tcp }],
        port_source: Default::default(),
        container_port: None,
        stop_grace_s: None,
        source_directory: source_directory.clone(),
        dockerfile: None,
        build: VersionBuild::default(),
        build_options: BuildOptions::default(),
        environment_secret: live.environment_secret,
        environment_names: Vec::new(),
        operation,
        deployed_at: now,
    };
    Some(Deployment {
        id: DeploymentId::parse(&live.deployment?).ok()?,
        mode: Mode::CloudLocal,
        state: DeploymentState::Running,
        target,
        target_name: instance.name.clone(),
        name,
        namespace,
        repository: RepositoryUrl::parse(live.repository?).ok()?,
        git_ref: None,
        source_directory,
        operation,
        facts: DeploymentFacts {
            version: Some(version),
            replicas: u16::try_from(live.replicas).ok(),
            app_url: live.node_port.map(|port| format!("http://{}:{port}", instance.public_ip)),
            node_port: live.node_port,
            public_ip: Some(instance.public_ip.to_string()),
            ec2_instance_id: Some(instance.id.clone()),
            ec2_key_name: Some(instance.key_pair.to_string()),
            ..DeploymentFacts::default()
        },
        created_at: now,
        updated_at: now,
    })
}

fn only(mut found: Vec<DescribedInstance>) -> Result<Option<DescribedInstance>, AppError> {
    if found.len() > 1 {
        let ids: Vec<String> = found.iter().map(|it| format!("`{}`", it.id)).collect();
        let message = format!("several EC2 instances have that name: {}", ids.join(", "));
        return Err(AppError::Ambiguous { message, param: "instance_id" });
    }
    Ok(found.pop())
}

fn conflict(message: String, param: &'static str) -> AppError {
    AppError::Conflict { message, param: Some(param) }
}

fn refused(error: &AwsError) -> AppError {
    conflict(format!("AWS cannot be asked for the instance: {error}"), "aws_credentials")
}
