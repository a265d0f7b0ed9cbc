//! Stub.
use super::{Act, StepContext, StepError};
use crate::id::Region;
use serde::{Deserialize, Serialize};
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CreateAlias {
    pub region: Region,
}
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AliasCreated {
    pub host: crate::store::record::Host,
}
impl Act for CreateAlias {
    const NAME: &'static str = "create_alias";
    type Output = AliasCreated;
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
