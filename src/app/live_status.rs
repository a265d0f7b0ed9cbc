//! How a deployment is right now: what its cluster says, and what AWS says of its instance.

use tokio::time::Instant;

use super::cloud_parts::{CloudStatus, LATE, in_time};
use super::{App, AppError};
use crate::cloud::aws::{AccessKeys, Aws};
use crate::cloud::kube::Kube;
use crate::id::{ClusterName, Mode, cluster_name_of_target};
use crate::intent::AwsCredentials;
use crate::reply::view::LiveStatus;
use crate::step::cluster::eks_client;
use crate::step::context::ssh_address;
use crate::store::record::{Deployment, DeploymentState, Instance};

/// What was reached of a deployment, once for all that is asked there.
#[derive(Debug)]
pub(super) struct Reached {
    /// What AWS says of its instance.
    pub(super) instance: Option<InstanceStatus>,
    /// Its cluster, or why that cannot be asked.
    pub(super) kube: Result<Kube, AppError>,
}

/// What AWS says of an instance.
#[derive(Debug)]
pub(super) struct InstanceStatus {
    /// In one line.
    pub(super) line: String,
    /// As one of the things that a deployment owns.
    pub(super) status: CloudStatus,
}

impl App {
    /// Connects to what a deployment runs on, until a deadline when there is one.
    pub(super) async fn reach(
        &self,
        deployment: &Deployment,
        aws: Option<&AwsCredentials>,
        deadline: Option<Instant>,
    ) -> Reached {
        let unknown = InstanceStatus {
            line: format!("AWS cannot be asked about its EC2 instance: {LATE}"),
            status: CloudStatus::Unknown(LATE.to_owned()),
        };
        let late = AppError::Conflict { message: LATE.to_owned(), param: None };
        let (instance, kube) = tokio::join!(
            Box::pin(in_time(deadline, Some(unknown), self.instance_status(deployment, aws))),
            Box::pin(in_time(deadline, Err(late), self.kube(deployment, aws))),
        );
        Reached { instance, kube }
    }

    pub(super) async fn kube(&self, deployment: &Deployment, aws: Option<&AwsCredentials>) -> Result<Kube, AppError> {
        let folder = self.0.settings.store.workspace.join("targets").join(deployment.target.to_string());
        let conflict = |message: String| AppError::Conflict { message, param: Some("instance_id") };
        match deployment.mode {
            Mode::Local => {
                let cluster =
                    ClusterName::parse(&deployment.target_name).map_err(|error| conflict(error.to_string()))?;
                Ok(self.0.hosts.local().kube(&cluster, &folder).await?)
            }
            Mode::CloudLocal => {
                let instance = self.instance_of(deployment).await?;
                let instance = instance.ok_or_else(|| conflict("its EC2 instance is gone".to_owned()))?;
                let keys = self.0.settings.ssh.private_key_base_path.as_deref();
                let address = ssh_address(&instance, keys, &folder).map_err(|error| conflict(error.to_string()))?;
                let host = self.0.hosts.connect(deployment.target, &address).await;
                let host = host.map_err(|error| conflict(error.to_string()))?;
                Ok(host.kube(&cluster_name_of_target(&deployment.target_name), &folder).await?)
            }
            Mode::CloudHosted => {
                let target = self.0.store.target(deployment.target).await?;
                let cluster = target.and_then(|it| it.cluster);
                let cluster = cluster.ok_or_else(|| conflict("its EKS cluster is gone".to_owned()))?;
                let Some(keys) = self.access_keys(aws) else {
                    return Err(AppError::Invalid {
                        message: "there are no AWS credentials to ask its EKS cluster with: send `aws_credentials`, or set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`".to_owned(),
                        param: "aws_credentials",
                    });
                };
                let aws = Aws::connect(&cluster.region, keys).await.map_err(|error| conflict(error.to_string()))?;
                eks_client(&aws, &cluster).await.map_err(|error| conflict(error.to_string()))
            }
        }
    }

    /// The keys of a request, else those of the settings. `None` when there are no credentials; `Some(None)` when the
    /// default provider chain of the AWS SDK has to find them (`AWS_DEFAULT_CREDENTIALS`).
    #[expect(
        clippy::option_option,
        reason = "`None` is no credentials at all, `Some(None)` leaves them to the default provider chain of the SDK"
    )]
    pub(super) fn access_keys(&self, given: Option<&AwsCredentials>) -> Option<Option<AccessKeys>> {
        let aws = &self.0.settings.aws;
        match (given, &aws.credentials) {
            (Some(it), _) => Some(Some(AccessKeys::from(it))),
            (None, Some(it)) => Some(Some(AccessKeys::from(it))),
            (None, None) => aws.default_credentials.then_some(None),
        }
    }

    async fn instance_of(&self, deployment: &Deployment) -> Result<Option<Instance>, AppError> {
        Ok(self.0.store.target(deployment.target).await?.and_then(|it| it.instance))
    }

    /// What AWS says of the instance that a deployment runs on; nothing without credentials.
    async fn instance_status(&self, deployment: &Deployment, given: Option<&AwsCredentials>) -> Option<InstanceStatus> {
        let instance = self.instance_of(deployment).await.ok()??;
        let keys = self.access_keys(given)?;
        let found = match Aws::connect(&instance.region, keys).await {
            Ok(aws) => aws.instance(&instance.id).await,
            Err(error) => Err(error),
        };
        let id = &instance.id;
        let line = match &found {
            Ok(None) => format!("the EC2 instance `{id}` is gone: somebody terminated it"),
            Ok(Some(it)) if it.public_ip.is_some_and(|ip| ip != instance.public_ip) => format!(
                "the EC2 instance `{id}` is {}, and has another address than before: {}; any change takes it over",
                it.state,
                it.public_ip.map(|ip| ip.to_string()).unwrap_or_default()
            ),
            Ok(Some(it)) => format!("the EC2 instance `{id}` is {}", it.state),
            Err(error) => format!("AWS cannot be asked about the EC2 instance `{id}`: {error}"),
        };
        let status = match found {
            Ok(None) => CloudStatus::missing(),
            Ok(Some(it)) => CloudStatus::new(&it.state, it.state == "running", None),
            Err(error) => CloudStatus::Unknown(error.to_string()),
        };
        Some(InstanceStatus { line, status })
    }

    /// How a deployment is right now.
    pub(super) async fn live_status(&self, deployment: &Deployment, reached: &Reached) -> LiveStatus {
        let mut status = LiveStatus::default();
        let lines = &mut status.lines;
        lines.extend(reached.instance.as_ref().map(|it| it.line.clone()));
        if let Ok(Some(id)) = self.0.store.running_operation(deployment.id).await {
            lines.push(format!("operation `{id}` is running on it"));
        }
        let is_changing = matches!(deployment.state, DeploymentState::Deploying | DeploymentState::Removing);
        let live = match &reached.kube {
            Ok(kube) => kube.live_deployment(&deployment.name, &deployment.namespace).await,
            Err(error) => {
                lines.push(format!("its cluster cannot be asked: {error}"));
                return status;
            }
        };
        match live {
            Ok(Some(live)) => {
                lines.push(format!("{} of {} replicas serve", live.ready, live.replicas));
                if !live.is_rolled_out {
                    lines.push(
                        "the cluster is still rolling out a change, or a pod is not well; look at its logs".into(),
                    );
                }
                status.serving = Some((live.ready, live.replicas));
            }
            Ok(None) => {
                if !is_changing {
                    lines.push("it is not on the cluster: somebody deleted it there; deploy it again".to_owned());
                }
                status.is_gone = true;
            }
            Err(error) => lines.push(format!("its cluster cannot be asked: {error}")),
        }
        status
    }
}
