//! Which target a deploy is meant for: one that is known, or a new one.

use super::{App, AppError};
use crate::id::{ClusterName, InstanceId, KeyPairName, Mode, Namespace, TargetId, new_cluster_name, new_instance_name};
use crate::intent::{AwsCredentials, Deploy};
use crate::store::record::{Deployment, Instance, Target};

impl App {
    /// The cluster of this machine that a deploy is meant for.
    pub(super) async fn local_target(&self, deploy: &Deploy) -> Result<Target, AppError> {
        let cluster = match &deploy.instance_id {
            Some(id) => ClusterName::parse(id.as_str())
                .map_err(|error| AppError::Invalid { message: error.to_string(), param: "instance_id" })?,
            None => self.0.settings.kind.cluster_name.clone(),
        };
        let known = self.0.store.target_by_name(Mode::Local, cluster.as_str()).await?;
        Ok(known.unwrap_or_else(|| new_target(Mode::Local, cluster.to_string())))
    }

    /// The EC2 instance or EKS cluster that a deploy is meant for: the one that is named, the one on which the same
    /// repository runs in the same namespace, or a new one.
    pub(super) async fn cloud_target(
        &self,
        deploy: &Deploy,
        namespace: &Namespace,
        aws: Option<&AwsCredentials>,
        present: &[Deployment],
    ) -> Result<Target, AppError> {
        let known = self.known_target(deploy, namespace, present).await?;
        let asked = aws.and_then(|it| it.region.clone());
        let is_there = known.as_ref().is_some_and(|it| it.made_here || it.instance.is_some() || it.cluster.is_some());
        let mut target = match known {
            Some(known) => known,
            None => named_target(deploy)?,
        };
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
        target.region.as_ref().ok_or_else(region_missing)?;
        Ok(target)
    }

    /// The target on record that a deploy is meant for.
    async fn known_target(
        &self,
        deploy: &Deploy,
        namespace: &Namespace,
        present: &[Deployment],
    ) -> Result<Option<Target>, AppError> {
        let store = &self.0.store;
        if let Some(name) = &deploy.instance_id {
            return Ok(store.target_by_name(deploy.mode, name.as_str()).await?);
        }
        let same: Vec<&Deployment> = present
            .iter()
            .filter(|it| it.mode == deploy.mode && it.namespace == *namespace)
            .filter(|it| it.repository.identity() == deploy.repository.identity())
            .filter(|it| deploy.name.as_ref().is_none_or(|name| *name == it.name))
            .collect();
        match (same.as_slice(), &deploy.name) {
            ([one], _) => Ok(store.target(one.target).await?),
            // Without an `instance_id` the application's name is the cluster's.
            ([], Some(name)) if deploy.mode == Mode::CloudHosted => {
                Ok(store.target_by_name(Mode::CloudHosted, name.as_str()).await?)
            }
            ([], _) => Ok(None),
            (several, _) => {
                let names: Vec<String> = several.iter().map(|it| format!("`{}`", it.instance_id)).collect();
                Err(AppError::Ambiguous {
                    message: format!("it runs in several places: {}; say in which", names.join(", ")),
                    param: "instance_id",
                })
            }
        }
    }
}

/// A new instance or EKS cluster, with the name that the person gave or one made of the repository's.
fn named_target(deploy: &Deploy) -> Result<Target, AppError> {
    let mut target = new_target(deploy.mode, String::new());
    target.name = match (&deploy.instance_id, deploy.mode) {
        (Some(id), Mode::CloudHosted) => cluster_name(id)?,
        (Some(id), Mode::Local | Mode::CloudLocal) => id.to_string(),
        (None, Mode::CloudHosted) => match &deploy.name {
            Some(name) => name.to_string(),
            None => new_cluster_name(&deploy.repository, target.id).to_string(),
        },
        (None, Mode::Local | Mode::CloudLocal) => new_instance_name(&deploy.repository, target.id).to_string(),
    };
    Ok(target)
}

/// The rule of EKS (CreateCluster in its API reference): letters, digits, `-` and `_`, at most 100 of them.
fn cluster_name(id: &InstanceId) -> Result<String, AppError> {
    if id.as_str().contains('.') {
        return Err(AppError::Invalid {
            message: format!("`{id}` is no name of an EKS cluster: it may hold letters, digits, `-` and `_`"),
            param: "instance_id",
        });
    }
    Ok(id.to_string())
}

fn region_missing() -> AppError {
    AppError::Invalid {
        message: "the region is missing: send `aws_region` in `aws_credentials`, or set `AWS_REGION`".to_owned(),
        param: "aws_credentials.aws_region",
    }
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

/// A key pair that is not the instance's would not get in.
pub(super) fn same_key_pair(asked: &KeyPairName, instance: &Instance) -> Result<(), AppError> {
    if *asked == instance.key_pair {
        return Ok(());
    }
    Err(AppError::Conflict {
        message: format!("the instance `{}` was made with the key pair `{}`", instance.name, instance.key_pair),
        param: Some("ec2_key_name"),
    })
}
