//! Which target a deploy is meant for: one that is known, or a new one.

use std::time::Duration;

use super::{App, AppError};
use crate::cloud::aws::Aws;
use crate::id::{
    ClusterName, KeyPairName, Mode, Namespace, SourceDirectory, TargetId, TargetName, derived_cluster_name,
    derived_instance_name,
};
use crate::intent::{AwsCredentials, Deploy};
use crate::store::record::{Deployment, Instance, Target};

/// How long AWS may take to say whose an instance is. After that the operation finds out (`ProvisionInstance`).
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

impl App {
    /// The cluster of this machine that a deploy is meant for.
    pub(super) async fn local_target(&self, deploy: &Deploy) -> Result<Target, AppError> {
        let cluster = match &deploy.target_name {
            Some(id) => ClusterName::parse(id.as_str())
                .map_err(|error| AppError::Invalid { message: error.to_string(), param: "instance_id" })?,
            None => self.0.settings.kind.cluster_name.clone(),
        };
        let known = self.0.store.target_by_name(Mode::Local, cluster.as_str()).await?;
        Ok(known.unwrap_or_else(|| new_target(Mode::Local, cluster.to_string())))
    }

    /// The EC2 instance or EKS cluster that a deploy is meant for: the one that is named, the one on which the same
    /// repository runs in the same namespace, whatever that one is called, or the one that has the application's name,
    /// which may be a new one.
    pub(super) async fn cloud_target(
        &self,
        deploy: &Deploy,
        namespace: &Namespace,
        aws: Option<&AwsCredentials>,
        present: &[Deployment],
    ) -> Result<Target, AppError> {
        let name = match &deploy.target_name {
            Some(name) if deploy.mode == Mode::CloudHosted => cluster_name(name)?,
            Some(name) => name.to_string(),
            None => match running_deployment(deploy, namespace, present)? {
                Some(running) => running.target_name.clone(),
                None => self.new_name(deploy, namespace).to_string(),
            },
        };
        let known = self.0.store.target_by_name(deploy.mode, &name).await?;
        let asked = aws.and_then(|it| it.region.clone());
        let is_there = known.as_ref().is_some_and(|it| it.made_here || it.instance.is_some() || it.cluster.is_some());
        let mut target = known.unwrap_or_else(|| new_target(deploy.mode, name));
        if let (true, Some(asked), Some(region)) = (is_there, &asked, &target.region)
            && asked != region
        {
            return Err(AppError::Conflict {
                message: format!("`{}` is in {region}, not in {asked}", target.name),
                param: Some("aws_credentials.aws_region"),
            });
        }
        if let (Some(asked), Some(instance)) = (&deploy.key_pair, &target.instance) {
            same_key_pair(asked, instance)?;
        }
        if !is_there {
            target.region = asked.or_else(|| self.0.settings.aws.region.clone());
        }
        if target.region.is_none() {
            return Err(AppError::Invalid {
                message: "the region is missing: send `aws_region` in `aws_credentials`, or set `AWS_REGION`"
                    .to_owned(),
                param: "aws_credentials.aws_region",
            });
        }
        Ok(target)
    }

    /// Refuses a new EC2 instance whose name another one has, whichever server or person made that one: a Name tag is how
    /// people name an instance. Whatever else AWS has against the request is told with the operation's own look at the
    /// account, all at once.
    pub(super) async fn refuse_namesake(
        &self,
        deploy: &Deploy,
        target: &Target,
        aws: Option<&AwsCredentials>,
    ) -> Result<(), AppError> {
        if target.mode != Mode::CloudLocal || target.made_here || target.instance.is_some() {
            return Ok(());
        }
        let (Some(keys), Some(region)) = (self.access_keys(aws), &target.region) else { return Ok(()) };
        let look_up = async { Aws::connect(region, keys).await?.instances_named(&target.name).await };
        let Ok(Ok(found)) = tokio::time::timeout(LOOKUP_TIMEOUT, look_up).await else { return Ok(()) };
        let own = target.id.to_string();
        let Some(namesake) = found.into_iter().find(|it| it.target.as_ref() != Some(&own)) else { return Ok(()) };
        let (id, name) = (namesake.id, &target.name);
        let of_our_kind = namesake.target.is_some_and(|tag| TargetId::parse(&tag).is_ok());
        let (param, remedy) = match &deploy.target_name {
            Some(_) => ("instance_id", "send another `instance_id`, or leave it out"),
            None => {
                ("instance_name", "send another `instance_name`, or beside it the new instance's name as `instance_id`")
            }
        };
        let take_over = if of_our_kind { "; `status` with its name as `instance_id` takes it over" } else { "" };
        Err(AppError::Conflict {
            message: format!(
                "the EC2 instance `{id}` in {region} has the name `{name}`, and is not on record here: {remedy}{take_over}"
            ),
            param: Some(param),
        })
    }

    /// The name of a target that the person did not name: the application's, when it has one; else one that is the same
    /// as long as the request is, so that the plan that is shown tells the one that is made.
    fn new_name(&self, deploy: &Deploy, namespace: &Namespace) -> TargetName {
        if let Some(name) = &deploy.application_name {
            return TargetName::parse(name.as_str()).expect("the rule of an application's name is the stricter one");
        }
        let directory = directory(deploy).map(|it| format!(" {it}")).unwrap_or_default();
        let repository = deploy.repository.identity();
        let of = |what: &str| self.0.sealer.mac(&format!("{what} {repository} {namespace} {directory}"));
        match deploy.mode {
            Mode::CloudHosted => derived_cluster_name(&deploy.repository, &of("cluster")),
            Mode::Local | Mode::CloudLocal => derived_instance_name(&deploy.repository, &of("instance")),
        }
    }
}

/// The directory that tells a deployment without a name apart from others of its repository; none for the root.
fn directory(deploy: &Deploy) -> Option<SourceDirectory> {
    let directory = deploy.source_directory.clone().filter(|_| deploy.application_name.is_none());
    directory.and_then(SourceDirectory::below_root)
}

/// The deployment of the same repository in the same namespace: of the same name if one is given, else of the same
/// directory.
fn running_deployment<'a>(
    deploy: &Deploy,
    namespace: &Namespace,
    present: &'a [Deployment],
) -> Result<Option<&'a Deployment>, AppError> {
    let same: Vec<&Deployment> = present
        .iter()
        .filter(|it| it.mode == deploy.mode && it.namespace == *namespace)
        .filter(|it| it.repository.identity() == deploy.repository.identity())
        .filter(|it| match &deploy.application_name {
            Some(name) => *name == it.name,
            None => it.source_directory == directory(deploy),
        })
        .collect();
    match same.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        several => {
            let names: Vec<String> = several.iter().map(|it| format!("`{}`", it.target_name)).collect();
            Err(AppError::Ambiguous {
                message: format!("it runs in several places: {}; say in which", names.join(", ")),
                param: "instance_id",
            })
        }
    }
}

/// The rule of EKS (`CreateCluster` in its API reference): letters, digits, `-` and `_`, at most 100 of them.
fn cluster_name(id: &TargetName) -> Result<String, AppError> {
    if id.as_str().contains('.') {
        return Err(AppError::Invalid {
            message: format!("`{id}` is no name of an EKS cluster: it may hold letters, digits, `-` and `_`"),
            param: "instance_id",
        });
    }
    Ok(id.to_string())
}

fn new_target(mode: Mode, name: String) -> Target {
    Target {
        id: TargetId::new(),
        mode,
        name,
        made_here: false,
        locked_by: None,
        region: None,
        instance: None,
        cluster: None,
    }
}

/// An EC2 instance accepts only the key pair that it was launched with: another `ec2_key_name` is refused here, before
/// ssh fails with it.
pub(super) fn same_key_pair(asked: &KeyPairName, instance: &Instance) -> Result<(), AppError> {
    if *asked == instance.key_pair {
        return Ok(());
    }
    Err(AppError::Conflict {
        message: format!("the instance `{}` was made with the key pair `{}`", instance.name, instance.key_pair),
        param: Some("ec2_key_name"),
    })
}
