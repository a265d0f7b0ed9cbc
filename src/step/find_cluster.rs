//! Stub.
use super::{Act, StepContext, StepError};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FindCluster {}
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClusterFound {
    pub cluster: crate::store::record::EksCluster,
}
impl Act for FindCluster {
    const NAME: &'static str = "find_cluster";
    type Output = ClusterFound;
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
