//! The Kubernetes cluster that the application runs on, whatever kind it is of, and a client of its API.

use super::cloud_target::cluster_gone;
use super::context::StepContext;
use super::error::StepError;
use crate::cloud::aws::Aws;
use crate::cloud::kube::Kube;
use crate::cloud::kube::error::KubeError;
use crate::id::{ClusterName, Mode};
use crate::store::record::EksCluster;

impl StepContext {
    /// The EKS cluster that the application runs on: as an earlier step of this plan made or found it, else as the record
    /// of the target has it.
    ///
    /// # Errors
    /// A permanent failure when there is none, or what is stored cannot be read.
    pub fn cluster(&self) -> Result<EksCluster, StepError> {
        self.cloud_target()?.ok_or_else(|| cluster_gone(&self.target.name))
    }

    /// A client of the cluster's API.
    ///
    /// # Errors
    /// When kind does not know the cluster or its API does not answer.
    pub async fn kube(&self, cluster: &ClusterName) -> Result<Kube, StepError> {
        match self.target.mode {
            Mode::Local | Mode::CloudLocal => Ok(self.host().await?.kube(cluster, &self.target_folder()).await?),
            Mode::CloudHosted => {
                let known = self.cluster()?;
                Ok(eks_client(&self.aws(&known.region).await?, &known).await?)
            }
        }
    }

    /// Whether the cluster of the application is gone, or on its way: then there is nothing on it to look at or to take
    /// back.
    ///
    /// # Errors
    /// When it is not known.
    pub(super) async fn is_cluster_gone(&self, cluster: &ClusterName) -> Result<bool, StepError> {
        match self.target.mode {
            Mode::Local | Mode::CloudLocal => {
                Ok(self.host().await?.docker.nodes_of_cluster(cluster.as_str()).await?.is_empty())
            }
            Mode::CloudHosted => {
                let Ok(known) = self.cluster() else { return Ok(true) };
                let found = self.aws_on_record(&known.region).await?.cluster(&known.name).await?;
                Ok(found.is_none_or(|it| it.is_being_deleted()))
            }
        }
    }
}

/// A client of an EKS cluster's API.
///
/// # Errors
/// When what is on record of it cannot be used.
pub async fn eks_client(aws: &Aws, cluster: &EksCluster) -> Result<Kube, KubeError> {
    let tokens = aws.tokens(&cluster.name);
    Kube::with_tokens(&cluster.endpoint, &cluster.authority, move || tokens.sign().ok()).await
}
