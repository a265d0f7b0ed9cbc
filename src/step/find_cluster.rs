//! Looks whether the EKS cluster of a deployment is there and works.

use serde::{Deserialize, Serialize};

use super::action::StepAction;
use super::cloud_target::{CloudTarget, ClusterFound, cluster_gone};
use super::cluster_entry::require_entry;
use super::context::StepContext;
use super::error::StepError;
use crate::store::record::{Deployment, EksCluster};

/// Looks whether the EKS cluster of a deployment is there and works.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FindCluster {}

impl StepAction for FindCluster {
    const NAME: &'static str = EksCluster::FOUND_BY;
    type Output = ClusterFound;

    fn title(&self) -> String {
        "Look for the EKS cluster".to_owned()
    }

    fn summary(&self, output: &ClusterFound) -> String {
        format!("`{}` is there", output.cluster.name)
    }

    fn record(&self, output: &ClusterFound, deployment: &mut Deployment) {
        output.record(&mut deployment.facts);
    }

    async fn run(&self, cx: &StepContext) -> Result<ClusterFound, StepError> {
        let target = cx.store.target(cx.target.id).await?;
        let known = target.and_then(|it| it.cluster).ok_or_else(|| cluster_gone(&cx.target.name))?;
        let aws = cx.aws_of(&known).await?;
        let found = aws.cluster(&known.name).await?.filter(|it| !it.is_being_deleted());
        let found = found.ok_or_else(|| cluster_gone(&known.name))?;
        let cluster =
            EksCluster { endpoint: found.endpoint, authority: found.authority, version: found.version, ..known };
        require_entry(&aws, &cluster).await?;
        Ok(ClusterFound { cluster })
    }
}
