//! Stub.
use super::{Act, StepContext, StepError};
use crate::id::Region;
use serde::{Deserialize, Serialize};
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProvisionCluster {
    pub region: Region,
    pub keep: bool,
}
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClusterProvisioned {
    pub cluster: crate::store::record::EksCluster,
    pub made: bool,
    pub kept: bool,
    pub alone: bool,
}
impl Act for ProvisionCluster {
    const NAME: &'static str = "provision_cluster";
    type Output = ClusterProvisioned;
    fn title(&self) -> String {
        String::new()
    }
    fn summary(&self, _: &Self::Output) -> String {
        String::new()
    }
    async fn check(&self, _: &StepContext) -> Result<Option<Self::Output>, StepError> {
        Ok(None)
    }
    async fn run(&self, _: &StepContext) -> Result<Self::Output, StepError> {
        Err(StepError::Cancelled)
    }
    async fn undo(&self, _: &StepContext, _: Option<Self::Output>) -> Result<Vec<String>, StepError> {
        Ok(Vec::new())
    }
}
