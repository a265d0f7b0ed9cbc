//! Looks whether the EKS cluster of a deployment is there and works.

use serde::{Deserialize, Serialize};

use super::account::{cluster_gone, expect_owner_of_cluster};
use super::{StepAction, StepContext, StepError};
use crate::store::record::EksCluster;

/// Looks whether the EKS cluster of a deployment is there and works.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FindCluster {}

/// The cluster is there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClusterFound {
    /// The cluster.
    pub cluster: EksCluster,
}

impl StepAction for FindCluster {
    const NAME: &'static str = "find_cluster";
    type Output = ClusterFound;

    fn title(&self) -> String {
        "Look for the EKS cluster".to_owned()
    }

    fn summary(&self, output: &ClusterFound) -> String {
        format!("`{}` is there", output.cluster.name)
    }

    async fn check(&self, _: &StepContext) -> Result<Option<ClusterFound>, StepError> {
        Ok(None)
    }

    async fn run(&self, cx: &StepContext) -> Result<ClusterFound, StepError> {
        let target = cx.store.target(cx.target.id).await?;
        let known = target.and_then(|it| it.cluster).ok_or_else(|| cluster_gone(&cx.target.name))?;
        let aws = cx.aws(&known.region).await?;
        expect_owner_of_cluster(&aws, &known).await?;
        let found = aws.cluster(&known.name).await?.ok_or_else(|| cluster_gone(&known.name))?;
        let cluster =
            EksCluster { endpoint: found.endpoint, authority: found.authority, version: found.version, ..known };
        Ok(ClusterFound { cluster })
    }

    async fn undo(&self, _: &StepContext, _: Option<ClusterFound>) -> Result<Vec<String>, StepError> {
        Ok(Vec::new())
    }
}
